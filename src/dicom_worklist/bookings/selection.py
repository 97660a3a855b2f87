"""Which rows of the calendar become entries, of which scanner, and which don't count."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dicom_worklist import expressions
from dicom_worklist.bookings.booking import (
    Row,
    counts,
    local_time,
    not_given,
    printable,
    read_date,
    read_end,
    read_start,
    text,
)
from dicom_worklist.bookings.columns import Rules, shared_fault
from dicom_worklist.bookings.identity import hidden
from dicom_worklist.bookings.sources import Rows
from dicom_worklist.errors import ConfigError, Rejected, SourceError
from dicom_worklist.settings import Config, Scanner

ONE_DAY = timedelta(days=1)
#: How far away a booking is looked for that was moved after its scan.
FURTHER = timedelta(days=92)
#: Statuses that people give what doesn't take place; others that don't count are reported.
CANCELLING = {
    "CANCELLED",
    "CANCELED",
    "CANCELLATION",
    "DENIED",
    "DECLINED",
    "REJECTED",
    "DELETED",
    "NO SHOW",
    "NO-SHOW",
}


@dataclass(frozen=True, slots=True)
class Days:
    """The day of a run; its window, both days included; the days around it to look at; and the time at the site.

    `now` is naive, and None for a run of another day than today: then no booking of before is still going on.
    """

    day: date
    first: date
    last: date
    near: tuple[date, date]
    now: datetime | None

    @property
    def all(self) -> tuple[date, date]:
        """The first and the last day whose rows are needed."""
        return min(self.first, self.near[0]), max(self.last, self.near[1])

    @property
    def since(self) -> date:
        """The first day whose bookings may be shown: those of the day before the window may still be going on."""
        return self.first - ONE_DAY if self.now is not None and self.first > date.min else self.first

    def is_near(self, day: date) -> bool:
        """Return whether this is yesterday, today or tomorrow."""
        return self.near[0] <= day <= self.near[1]


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """A row, the scanner that it is for, and whether the scanner is shown it."""

    row: Row
    scanner: Scanner
    day: date
    shown: bool


@dataclass(slots=True)
class Selection:
    """What became of the rows.

    `rejected` are rows of the window and the near days with the reason; `cancelled` the ids of rows that don't count,
    `withdrawn` those of them that somebody cancelled explicitly; `labs` and `statuses` say how many rows of these
    days have a lab without a scanner, and a status that doesn't count. `warnings` are the source's, in sentences, and
    `made` is when it says that its rows were made (UTC). `not_given` are the known columns that no row has, and `fault`
    is why no row at all can be read.
    """

    selected: list[SelectedRow] = field(default_factory=list)
    rejected: list[tuple[Row, Scanner | None, bool, str]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    labs: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    warnings: tuple[str, ...] = ()
    made: datetime | None = None
    not_given: Sequence[str] = ()
    fault: str = ""


def days(config: Config, day: date, now: datetime | None) -> Days:
    """Return the days of a run for `day`; `now` (naive, at the site) is None if that is not today.

    Raises:
        ConfigError: the window leaves the years that there are.
    """
    try:
        first = day - timedelta(days=config.window.days_back)
        last = day + timedelta(days=config.window.days_ahead)
    except OverflowError as error:
        raise ConfigError(f"the window around {day} leaves the years 1 to 9999") from error
    return Days(day, first, last, (max(day, date.min + ONE_DAY) - ONE_DAY, min(day, date.max - ONE_DAY) + ONE_DAY), now)


def read(config: Config, days: Days, expected: Collection[str] = ()) -> Selection:
    """Read the calendar around these days, and return what becomes of each row.

    Bookings that were `expected` and are not there may have been moved further away: they are looked for there.

    Raises:
        SourceError: the rows can't be read.
    """
    first, last = days.all
    read_as = rows(config, min(first, days.since), last)
    selection = select(read_as, config, days, expected)
    selection.warnings, selection.made = read_as.warnings, read_as.made
    selection.not_given, selection.fault = not_given(read_as), read_as.fault
    there = {text(one.row, "booking_id") for one in selection.selected} | selection.cancelled
    there |= {text(row, "booking_id") for row, *_ in selection.rejected}
    gone = {*expected} - there
    if gone and last <= date.max - FURTHER:
        with suppress(SourceError):
            further = select(rows(config, last + ONE_DAY, last + FURTHER), config, days, gone)
            selection.selected += [one for one in further.selected if text(one.row, "booking_id") in gone]
    return selection


def rows(config: Config, first_day: date, last_day: date) -> Rows:
    """Return the rows of these days, both included, with the columns that the site's rules make of their own.

    Raises:
        SourceError: they can't be read.
    """
    rules = Rules(config.booking)
    try:
        given: Rows = config.source.rows(first_day, last_day, rules.needed)
        read_as = Rows(map(rules.read, given))
    except MemoryError as error:
        raise SourceError(
            f"{config.source} gives more than fits into the memory that this run may use. Ask for fewer days and "
            "columns, or raise worklist_sync_memory"
        ) from error
    read_as.warnings, read_as.made = given.warnings, given.made or _made(read_as, config)
    read_as.fault = shared_fault(read_as)
    return read_as


def _made(rows: Iterable[Row], config: Config) -> datetime | None:
    """Return the newest time in the column `made` (UTC), which a source may give; None where there is none."""
    given = (local_time(row, "made", config.reading) for row in rows if row.get("made") is not None)
    newest = max(filter(None, given), default=None)
    return newest and newest.replace(tzinfo=config.reading.zone).astimezone(UTC)


def select(
    rows: Iterable[Row],
    config: Config,
    days: Days,
    known: Collection[str] = (),
    passed: list[tuple[Row, str, str]] | None = None,
) -> Selection:
    """Return what becomes of each row; those of other days are passed over, unless their ids are `known`.

    `passed` gets the rows that are passed over, each with `ignored` or `other day`, and why.
    """
    selection = Selection()
    times: Counter[str] = Counter()
    matched: list[SelectedRow] = []
    for row in rows:
        if not counts(row, config.reading):
            _pass_over(row, config, days, selection)
            _note(passed, row, "ignored", _why_it_does_not_count(row, config))
            continue
        lab, fault = text(row, "lab"), getattr(row, "fault", "")
        scanners, ignored, unread = _of_lab(lab, config)
        fault = "; ".join(filter(None, (fault, unread)))
        if not scanners and not unread and not (fault and not lab):
            if not ignored and _is_near(row, config, days):
                selection.labs[printable(lab)] += 1
            _note(passed, row, "ignored", _why_no_scanner(lab, ignored=ignored))
            continue
        times[text(row, "booking_id")] += 1
        try:
            day = read_date(row, config.reading)
            shown = days.first <= day <= days.last or _goes_on(row, day, config, days)
            if shown or days.is_near(day) or text(row, "booking_id") in known:
                if fault:
                    raise Rejected(fault)
                matched.append(SelectedRow(row, _only(scanners, lab), day, shown))
            else:
                _note(passed, row, "other day", f"it is on {day}")
        except Rejected as rejected:
            # a day that can't be read may be today
            shown, reason = not _is_far(row, config, days), fault or str(rejected)
            selection.rejected.append((row, scanners[0] if len(scanners) == 1 else None, shown, reason))
    _once(matched, times, config, selection)
    return selection


def _of_lab(lab: str, config: Config) -> tuple[list[Scanner], bool, str]:
    """Return the scanners of a lab, whether it is one of ignored_labs, and why the expressions can't say that."""
    if len(lab) > expressions.LONGEST_TEXT:
        return [], False, f"lab has {len(lab)} characters: scanners[].lab reads at most {expressions.LONGEST_TEXT}"
    try:
        with expressions.in_time("scanners[].lab or ignored_labs", Rejected):
            scanners = [scanner for scanner in config.scanners if scanner.matches(lab)]
            return scanners, not scanners and config.ignores(lab), ""
    except Rejected as rejected:
        return [], False, f"lab {lab[:100]!r}: {rejected}"


def _note(passed: list[tuple[Row, str, str]] | None, row: Row, outcome: str, reason: str) -> None:
    if passed is not None:
        passed.append((row, outcome, reason))


def _why_no_scanner(lab: str, *, ignored: bool) -> str:
    if ignored:
        return f"lab {lab!r} is one of ignored_labs"
    if not lab:
        return "the booking has no lab (of an event: its location is empty): write the scanner's name there"
    return f"lab {lab!r} matches no scanner: {hidden(lab) or 'correct scanners[].lab, or name it in ignored_labs'}"


def _why_it_does_not_count(row: Row, config: Config) -> str:
    status = text(row, "status")
    if "status" in row and status.casefold() not in config.reading.statuses:
        return f"status {status!r} is not one of {', '.join(config.booking.statuses)}, which booking.statuses counts"
    return "it names no subject"


def is_over(end: datetime, config: Config, now: datetime) -> bool:
    """Return whether an end and the grace are over, `end` and `now` naive, at the site; its clock may change between.

    Of the hour that comes twice the first is meant, unless `now` has `fold`.
    """
    ended, there = (moment.replace(tzinfo=config.reading.zone).astimezone(UTC) for moment in (end, now))
    return ended + timedelta(minutes=config.window.grace) <= there


def session_length(config: Config) -> timedelta:
    """Return how long a session lasts where the calendar has no end."""
    return timedelta(minutes=config.status.session if config.status else 60)


def _goes_on(row: Row, day: date, config: Config, days: Days) -> bool:
    """Return whether a booking of the day before the window is still going on."""
    if days.now is None or day != days.first - ONE_DAY:
        return False
    try:
        start = read_start(row, config.reading)
    except Rejected:
        return False
    end = read_end(row, start, config.reading, [])
    return not is_over(end or start + session_length(config), config, days.now)


def _pass_over(row: Row, config: Config, days: Days, selection: Selection) -> None:
    if _is_near(row, config, days) and _of_lab(text(row, "lab"), config)[0]:
        booking_id, status = text(row, "booking_id"), text(row, "status")
        selection.cancelled.add(booking_id)
        counted = "status" not in row or status.casefold() in config.reading.statuses
        if counted or status.upper() in CANCELLING:
            selection.withdrawn.add(booking_id)
        if not counted:
            selection.statuses[printable(status)] += 1


def _is_near(row: Row, config: Config, days: Days) -> bool:
    try:
        day = read_date(row, config.reading)
    except Rejected:
        return False
    return days.first <= day <= days.last or days.is_near(day)


def _is_far(row: Row, config: Config, days: Days) -> bool:
    """Return whether the row is readably of another day than those of the window."""
    try:
        day = read_date(row, config.reading)
    except Rejected:
        return False
    return not days.first <= day <= days.last


def _only(scanners: Sequence[Scanner], lab: str) -> Scanner:
    if len(scanners) > 1:
        titles = " and ".join(scanner.ae_title for scanner in scanners)
        raise Rejected(f"lab {lab!r} matches the scanners {titles}: narrow scanners[].lab")
    return scanners[0]


def _once(matched: Sequence[SelectedRow], times: Counter[str], config: Config, selection: Selection) -> None:
    """Reject the bookings whose id another row of any day has, too: they would share a StudyInstanceUID."""
    told: set[str] = set()
    reported = {text(one.row, "booking_id") for one in matched if one.shown}
    starts: dict[str, list[str]] = {}
    for one in matched:
        if times[booking_id := text(one.row, "booking_id")] > 1:
            with suppress(Rejected):
                start = read_start(one.row, config.reading)
                starts.setdefault(booking_id, []).append(f"{start:%Y-%m-%d %H:%M}")
    for one in matched:
        booking_id = text(one.row, "booking_id")
        if not booking_id or times[booking_id] == 1:
            selection.selected.append(one)
            continue
        found = ", ".join(starts.get(booking_id, []))
        reason = (
            f"the calendar has {times[booking_id]} bookings with this booking_id{f' ({found})' if found else ''}: "
            "give each an id of its own"
        )
        # the report has each id once, at the first of them
        shown = booking_id in reported and booking_id not in told
        told.add(booking_id)
        selection.rejected.append((one.row, one.scanner, shown, reason))
