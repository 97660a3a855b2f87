"""What became of the bookings of some days, by what the history knows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dicom_worklist.settings import Config, Status
from dicom_worklist.status import history
from dicom_worklist.status.booking_status import BookingStatus, Unscheduled
from dicom_worklist.status.evidence import Times
from dicom_worklist.status.history import Past
from dicom_worklist.status.reconcile import reconcile
from dicom_worklist.status.records import Version

ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PastDay:
    """A day: its bookings, those that it has no more and that have no images, and the studies without a booking."""

    day: date
    lines: Sequence[BookingStatus] = ()
    ended: Sequence[Version] = ()
    unscheduled: Sequence[Unscheduled] = ()


def known(config: Config, status: Status, days: tuple[date, date], now: datetime) -> list[PastDay]:
    """Return each of these days, both included, of which the history has something.

    Raises:
        OSError, sqlite3.Error: the history can't be read.
    """
    first, last = days
    # what belongs to a day can be found on the one before, and the one after
    past = history.read(history.path_beside(status.state), (), _plus(first, -ONE_DAY), _plus(last, ONE_DAY))
    return [of_one for day, of_one in past_days(config, status, past, now).items() if first <= day <= last]


def ranges(days: Iterable[date]) -> list[tuple[date, date]]:
    """Return days as ranges, those that are near each other as one."""
    found: list[tuple[date, date]] = []
    for day in sorted(days):
        if found and day - found[-1][1] <= 3 * ONE_DAY and day - found[-1][0] < timedelta(days=30):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def _plus(day: date, span: timedelta) -> date:
    return day + span if date.min < day < date.max else day


def past_days(config: Config, status: Status, past: Past, now: datetime) -> dict[date, PastDay]:
    """Return each day that has something, as it is known at `now` (aware): pure logic."""
    zone = ZoneInfo(config.site.timezone)
    times = Times(
        asked=now.astimezone(zone).replace(tzinfo=None),
        session=timedelta(minutes=status.session),
        missing_after=timedelta(minutes=status.missing_after),
        zone=zone,
    )
    studies = [study for of_one in past.studies.values() for study in of_one]
    versions = [version for of_one in past.versions.values() for version in of_one]
    found = reconcile([*past.current.values()], studies if config.pacs else None, times, versions)
    lines, unscheduled = defaultdict[date, list[BookingStatus]](list), defaultdict[date, list[Unscheduled]](list)
    for line in found.lines:
        lines[line.booked.day].append(line)
    for one in found.unscheduled:
        if one.day:
            unscheduled[one.day].append(one)
    shown = {(day, line.booked.booking_id) for day, of_one in lines.items() for line in of_one}
    ended = defaultdict[date, list[Version]](list)
    for of_one in past.versions.values():
        for day, version in {version.booked.day: version for version in of_one}.items():  # the last of each day
            if (day, version.booked.booking_id) not in shown:
                ended[day].append(version)
    return {
        day: PastDay(day, lines[day], sorted(ended[day], key=_place), unscheduled[day])
        for day in sorted({*lines, *ended, *unscheduled})
    }


def _place(version: Version) -> tuple[str, str]:
    return version.booked.ae_title, str(version.booked.start or "")
