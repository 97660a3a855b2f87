"""The whole way of the bookings: fetch, convert, publish, report."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

from dicom_worklist import folder as folders
from dicom_worklist.booking import Row, counts, printable, read_booking, read_date, text
from dicom_worklist.config import Config, Scanner
from dicom_worklist.entry import Entry, describe
from dicom_worklist.errors import ConfigError, FolderError, Rejected, SourceError
from dicom_worklist.seal import is_sealed
from dicom_worklist.watch import Watch, watch

#: A row of the calendar, and the scanner that it is for.
Scheduled = tuple[Row, Scanner]


class Published(TypedDict):
    """One entry, and the name of its file in the worklist's folder."""

    booking_id: str
    ae_title: str
    file: str


class Rejection(TypedDict):
    """A booking that has no entry, and why."""

    booking_id: str
    reason: str


@dataclass
class Report:
    """What a run did, or with `dry_run` would do; `as_dict` is the object of `--json`."""

    day: date
    published: list[Published] = field(default_factory=list)
    updated: list[Published] = field(default_factory=list)
    removed: list[Published] = field(default_factory=list)
    unchanged: list[Published] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Tell whether a scanner sees something else than before."""
        return bool(self.published or self.updated or self.removed)

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "day": self.day.isoformat(),
            "published": self.published,
            "updated": self.updated,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "warnings": self.warnings,
        }

    def as_text(self) -> tuple[str, str]:
        """Return the changed entries before and after, as lists for people."""
        return _as_text(self.before), _as_text(self.after)


def _track(items: Sequence[str], description: str) -> Iterable[str]:  # noqa: ARG001 - a Track that shows nothing
    return items


def today(config: Config) -> date:
    """Return the day at the site."""
    return datetime.now(ZoneInfo(config.site.timezone)).date()


def run(config: Config, day: date | None = None, *, dry_run: bool = False, track: folders.Track = _track) -> Report:
    """Make the worklist equal to the calendar around `day` (default: today at the site).

    With `dry_run` nothing is written, and the report is that of the run that would.

    Raises:
        SourceError: the bookings can't be read; only entries of days before the window were removed.
        FolderError: a folder can't be written or locked; nothing was changed.
    """
    report = Report(day or today(config))
    # another day's entries are for a moment: page and metrics go on telling today
    with watch(config, report.day, record=not dry_run and report.day == today(config)) as watching:
        _run(config, report, watching, dry_run=dry_run, track=track)
    if watching:
        report.warnings += watching.failures
    return report


def _run(config: Config, report: Report, watching: Watch | None, *, dry_run: bool, track: folders.Track) -> None:
    timeout = config.worklist.lock_timeout
    with ExitStack() as stack:
        # held while the calendar is read, so that a slower run can't put an older state over a newer one
        for folder in config.folders():
            stack.enter_context(folders.one_writer(folder, timeout))
        try:
            scheduled = _scheduled(config, report, watching)
        except SourceError as error:
            if not dry_run:
                try:
                    _expire(config, report.day, track)
                except FolderError as also:
                    raise SourceError(f"{error}. Besides, {also}") from error
            raise
        present = {folder.name: folders.Ours(folder) for folder in config.folders()}
        wanted = _wanted(config, scheduled, present, report, watching)
        pending: dict[Path, folders.Changes] = {}
        for folder in config.folders():
            changes = folders.compare(present[folder.name], wanted[folder.name])
            pending[folder] = changes
            report.published += map(_published, changes.published)
            report.updated += map(_published, changes.updated)
            report.removed += map(_published, changes.removed)
            report.unchanged += map(_published, changes.unchanged)
            report.before |= {f"{folder.name}/{name}": content for name, content in changes.before.items()}
            report.after |= {f"{folder.name}/{name}": content for name, content in changes.after.items()}
        if not dry_run:
            folders.apply(pending, timeout, track)
    left = watching.left if watching else 0
    if report.removed and not (report.published or report.updated or report.unchanged or left):
        report.warnings.append("the worklist is empty now: the calendar has no booking for any scanner in these days")


def _window(config: Config, day: date) -> tuple[date, date]:
    try:
        return day - timedelta(days=config.window.days_back), day + timedelta(days=config.window.days_ahead)
    except OverflowError as error:
        raise ConfigError(f"the window around {day} leaves the years 1 to 9999") from error


def unmatched_labs(config: Config, day: date) -> tuple[int, list[str]]:
    """Return how many bookings the window around a day has, and the labs among them that no scanner matches.

    Raises:
        SourceError: the bookings can't be read.
    """
    rows = [row for row in config.source.rows(*_window(config, day)) if counts(row)]
    labs = {text(row, "lab") for row in rows}
    return len(rows), sorted(lab for lab in labs if not any(scanner.matches(lab) for scanner in config.scanners))


def _expire(config: Config, day: date, track: folders.Track) -> None:
    """Remove the entries of days before the window: without the calendar, they are all that is known to be wrong."""
    from dicom_worklist import dataset  # noqa: PLC0415 - only when the calendar fails

    first_day = f"{_window(config, day)[0]:%Y%m%d}"
    pending: dict[Path, folders.Changes] = {}
    for folder in config.folders():
        # what is no regular file is none of an entry; a run with a calendar replaces it
        present = {name: content for name, content in folders.Ours(folder).items() if content is not None}
        kept: dict[str, bytes] = {}
        for name, content in present.items():
            try:
                [step] = dataset.decode(content).ScheduledProcedureStepSequence
                past = str(step.ScheduledProcedureStepStartDate) < first_day
            except (AttributeError, ValueError):
                past = False
            if not past:
                kept[name] = content
        pending[folder] = folders.compare(present, kept)
    folders.apply(pending, config.worklist.lock_timeout, track)


def _wanted(
    config: Config,
    scheduled: list[Scheduled],
    present: Mapping[str, Mapping[str, bytes | None]],
    report: Report,
    watching: Watch | None,
) -> dict[str, dict[str, bytes | None]]:
    """Return worklist → file name → content, None for what is there already; bookings that have none are reported.

    It empties `scheduled`: of many bookings not all rows and all entries have to fit the memory at once.
    """
    wanted: dict[str, dict[str, bytes | None]] = {worklist: {} for worklist in present}
    scheduled.reverse()
    while scheduled:
        row, scanner = scheduled.pop()
        booking_id = text(row, "booking_id")
        try:
            booking = read_booking(row)
            entry, warnings = describe(booking, scanner, config.site, config.attributes)
            name = folders.file_name(booking_id, scanner.ae_title)
            if watching and not watching.book(row, entry, booking.start, in_window=True):
                continue
            content = _content(entry, present[scanner.worklist].get(name))
        except Rejected as rejected:
            _reject(row, scanner, str(rejected), report, watching)
            continue
        report.warnings += [f"booking {printable(booking_id)}: {warning}" for warning in warnings]
        wanted[scanner.worklist][name] = content
    return wanted


def _content(entry: Entry, old: bytes | None) -> bytes | None:
    """Return the entry's file; None if the old one holds it."""
    if old is not None and is_sealed(old, entry):
        return None
    from dicom_worklist import dataset  # noqa: PLC0415 - a run with nothing to change needs no pydicom

    return dataset.encode(entry)


def _scheduled(config: Config, report: Report, watching: Watch | None) -> list[Scheduled]:
    """Return the bookings that count, of the window, each with its one scanner; others are reported.

    Raises:
        SourceError: they can't be read.
    """
    first_day, last_day = _window(config, report.day)
    asked = (
        (min(first_day, watching.first_day), max(last_day, watching.last_day)) if watching else (first_day, last_day)
    )
    scheduled: list[Scheduled] = []
    rows = config.source.rows(*asked)
    report.warnings += getattr(rows, "warnings", ())
    for row in rows:
        if not counts(row):
            continue
        lab = text(row, "lab")
        scanners = [scanner for scanner in config.scanners if scanner.matches(lab)]
        if not scanners:
            continue
        try:
            if not first_day <= read_date(row) <= last_day:
                if watching:
                    _look(row, scanners, config, watching)
                continue
            scanner = _only(scanners, lab)
        except Rejected as rejected:
            _reject(row, scanners[0] if len(scanners) == 1 else None, str(rejected), report, watching)
            continue
        scheduled.append((row, scanner))
    times = Counter(text(row, "booking_id") for row, _ in scheduled)
    once: list[Scheduled] = []
    for row, scanner in scheduled:
        booking_id = text(row, "booking_id")
        if not booking_id or times[booking_id] == 1:
            once.append((row, scanner))
        elif times[booking_id] > 1:  # told at the first of them
            reason = f"the calendar has {times[booking_id]} bookings with this booking_id"
            _reject(row, scanner, reason, report, watching)
            times[booking_id] = 0
    return once


def _only(scanners: Sequence[Scanner], lab: str) -> Scanner:
    if len(scanners) > 1:
        titles = " and ".join(scanner.ae_title for scanner in scanners)
        raise Rejected(f"lab {lab!r} matches the scanners {titles}: narrow scanners[].lab")
    return scanners[0]


def _look(row: Row, scanners: Sequence[Scanner], config: Config, watching: Watch) -> None:
    """Take note of a booking of a day that the worklist doesn't have."""
    try:
        booking = read_booking(row)
        entry, _ = describe(booking, _only(scanners, text(row, "lab")), config.site, config.attributes)
    except Rejected as rejected:
        watching.reject(row, scanners[0] if len(scanners) == 1 else None, str(rejected))
    else:
        watching.book(row, entry, booking.start, in_window=False)


def _reject(row: Row, scanner: Scanner | None, reason: str, report: Report, watching: Watch | None) -> None:
    report.rejected.append({"booking_id": printable(text(row, "booking_id")), "reason": reason})
    if watching:
        watching.reject(row, scanner, reason)


def _published(name: str) -> Published:
    item = folders.parse_file_name(name)
    assert item is not None, name  # noqa: S101 - publish only returns names of file_name
    return {"booking_id": item[0], "ae_title": item[1], "file": name}


def _as_text(contents: dict[str, bytes]) -> str:
    from dicom_worklist import dataset  # noqa: PLC0415 - only a diff needs it

    lines: list[str] = []
    for name, content in sorted(contents.items()):
        lines.append(f"{name}:")
        try:
            attributes = dataset.attributes_of(dataset.decode(content))
        except ValueError as error:
            lines.append(f"  ({error})")
        else:
            lines += [f"  {keyword}: {value}" for keyword, value in attributes.items()]
    return "".join(f"{line}\n" for line in lines)
