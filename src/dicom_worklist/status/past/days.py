"""What became of the bookings of some days, by what the history knows: pure logic."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dicom_worklist.settings import Config, Status
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


def past_days(config: Config, status: Status, past: Past, now: datetime) -> dict[date, PastDay]:
    """Return each day that has something, as it is known at `now` (aware)."""
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
