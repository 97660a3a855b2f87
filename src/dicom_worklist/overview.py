"""What there is to see at a glance: of the last runs, the bookings and the studies, for page, terminal and metrics."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.config import Config, Status
from dicom_worklist.reconcile import Line, Reconciled, State, Times, Unscheduled, reconcile
from dicom_worklist.state import Found


class Level(IntEnum):
    """How bad it is; the numbers are the exit statuses of Nagios' plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that somebody has to look at, in a sentence; with the booking that it is about, if it is."""

    level: Level
    text: str
    booking_id: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A scanner's bookings of a day, in the order of their time; "" is the scanner of those that have none."""

    ae_title: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Day:
    """A day, scanner by scanner, and the studies of no booking."""

    day: date
    lanes: Sequence[Lane]
    unscheduled: Sequence[Unscheduled]

    @property
    def lines(self) -> list[Line]:
        """All bookings of the day."""
        return [line for lane in self.lanes for line in lane.lines]

    @property
    def counts(self) -> dict[State, int]:
        """How many bookings are in each state, in the order of the states."""
        counter = Counter(line.state for line in self.lines)
        return {state: counter[state] for state in State}


@dataclass(frozen=True, slots=True)
class Overview:
    """All there is to tell. The times are aware, in the site's time zone.

    `good` is the end of the last run that published, `frozen` for how long the list has been as it is (None: it
    isn't frozen), `asked` when the PACS last answered; `pacs` tells whether there is one to ask. Without a good run for
    `frozen_after` it is critical.
    """

    site: str
    now: datetime
    good: datetime | None
    frozen: timedelta | None
    failure: str
    pacs: bool
    asked: datetime | None
    pacs_failure: str
    frozen_after: timedelta
    problems: Sequence[Problem]
    yesterday: Day
    today: Day
    tomorrow: Day

    @property
    def level(self) -> Level:
        """The worst of the problems."""
        return max((problem.level for problem in self.problems), default=Level.OK)

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: the fields, times in ISO 8601, spans in seconds, levels by name."""
        return {
            **msgspec.to_builtins(self),
            "level": self.level.name,
            "frozen": None if self.frozen is None else int(self.frozen.total_seconds()),
            "frozen_after": int(self.frozen_after.total_seconds()),
            "problems": [msgspec.to_builtins(problem) | {"level": problem.level.name} for problem in self.problems],
        }


def overview(config: Config, found: Found, now: datetime) -> Overview:
    """Return what is to be told at `now` (an aware time) of what the runs found."""
    zone = ZoneInfo(config.site.timezone)
    now = now.astimezone(zone)
    reconciled = seen(config, config.status, found) if config.status else Reconciled()
    days = [_day(config, now.date() + timedelta(days=ahead), reconciled) for ahead in (-1, 0, 1)]
    good = found.good.astimezone(zone) if found.good else None
    # in UTC: Python subtracts times of one zone by the clock on the wall, an hour off when that is changed
    since = now.astimezone(UTC) - (found.good or found.began or now).astimezone(UTC)
    limit = timedelta(minutes=config.status.frozen_after) if config.status else timedelta()
    frozen = since if found.failure or good is None or since > limit else None
    asked = found.asked.astimezone(zone) if found.asked else None
    return Overview(
        site=config.site.name,
        now=now,
        good=good,
        frozen=frozen,
        failure=found.failure,
        pacs=config.pacs is not None,
        asked=asked,
        pacs_failure=found.pacs_failure,
        frozen_after=limit,
        problems=sorted(
            [*_frozen(found, good, frozen, limit), *_unknown(found), *_shown(days[1], frozen), *_odd(days)],
            key=lambda problem: -problem.level,
        ),
        yesterday=days[0],
        today=days[1],
        tomorrow=days[2],
    )


def seen(config: Config, status: Status, found: Found) -> Reconciled:
    """Return the bookings and the studies that were found, reconciled."""
    zone = ZoneInfo(config.site.timezone)
    times = Times(
        asked=(found.asked or datetime.now(zone)).astimezone(zone).replace(tzinfo=None),
        session=timedelta(minutes=status.session),
        missing_after=timedelta(minutes=status.missing_after),
    )
    return reconcile(found.bookings, found.studies if config.pacs and found.asked else None, times)


def _day(config: Config, day: date, reconciled: Reconciled) -> Day:
    lines = [line for line in reconciled.lines if line.booked.day == day]
    titles = [scanner.ae_title for scanner in config.scanners]
    strays = sorted({line.booked.ae_title for line in lines} - {*titles})
    return Day(
        day,
        [Lane(title, [line for line in lines if line.booked.ae_title == title]) for title in (*titles, *strays)],
        [one for one in reconciled.unscheduled if one.day == day],
    )


def _frozen(found: Found, good: datetime | None, frozen: timedelta | None, limit: timedelta) -> Iterable[Problem]:
    if frozen is None:
        return
    since = f"The list is frozen since {good:%Y-%m-%d %H:%M}, for {spell(frozen)}" if good else "There is no list yet"
    why = found.failure or (
        "no run has been recorded since; see the log: does cron run, and is there room for the file status.state?"
    )
    # one run that fails may be the database's nightly dump
    yield Problem(Level.CRITICAL if good is None or frozen > limit else Level.WARNING, f"{since}: {why}")


def _unknown(found: Found) -> Iterable[Problem]:
    if found.pacs_failure:
        yield Problem(Level.WARNING, f"What arrived is not known: {found.pacs_failure}")
    for failure in found.failures:
        yield Problem(Level.WARNING, failure)


def _shown(today: Day, frozen: timedelta | None) -> Iterable[Problem]:
    """After midnight with a calendar that can't be read, today's entries may never have been published."""
    waiting = [line for line in today.lines if line.state is State.SCHEDULED]
    if frozen is not None and waiting and not any(line.booked.on_console for line in waiting):
        yield Problem(Level.CRITICAL, f"None of today's {len(waiting)} bookings that wait is on a console.")


def _odd(days: Sequence[Day]) -> Iterable[Problem]:
    yesterday, today, tomorrow = days
    for line in today.lines:
        if line.state is State.REJECTED:
            text = f"{_named(line)}, is not on the console: {line.booked.reason}"
            yield Problem(Level.CRITICAL, text, line.booked.booking_id)
    for line in tomorrow.lines:
        if line.state is State.REJECTED:
            text = f"{_named(line)}, will not be on the console: {line.booked.reason}"
            yield Problem(Level.WARNING, text, line.booked.booking_id)
    for line in [*today.lines, *yesterday.lines]:
        if line.state is State.MISSING:
            text = (
                f"{_named(line)}: no images, long after its time. If it was scanned, send them from the console again; "
            )
            yield Problem(Level.WARNING, f"{text}if not, cancel it in the calendar.", line.booked.booking_id)
        for oddity in line.oddities:
            yield Problem(Level.WARNING, f"{_named(line)}: {oddity}", line.booked.booking_id)
    for one in [*today.unscheduled, *yesterday.unscheduled]:
        if one.hint:
            text = f'The study of PatientID "{one.study.patient_id}" is of no booking. {one.hint}'
            yield Problem(Level.WARNING, text)


def _named(line: Line) -> str:
    booked = line.booked
    when = f" {booked.start:%Y-%m-%d %H:%M}" if booked.start else f" {booked.day}"
    return f"Booking {booked.booking_id}, {booked.ae_title or 'no scanner'}{when}"


def spell(span: timedelta) -> str:
    """Return a span of time in its largest whole units, such as `3 minutes` or `2 hours 5 minutes`."""
    minutes = max(int(span.total_seconds()) // 60, 0)  # below 0 where the clock was set back
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [(days, "day"), (hours, "hour"), (minutes % 60, "minute")]
    said = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(said[:2]) or "less than a minute"
