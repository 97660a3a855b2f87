"""The whole way of the bookings: fetch, convert, publish, report."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.bookings import selection
from dicom_worklist.bookings.booking import Row, printable, read_booking, read_date, read_start, text
from dicom_worklist.bookings.selection import Days, SelectedRow
from dicom_worklist.errors import FolderError, Rejected, SourceError
from dicom_worklist.settings import Config, Scanner
from dicom_worklist.status import oddities, reconcile
from dicom_worklist.status.records import BookingRecord
from dicom_worklist.watch import Seen, Watch, watch
from dicom_worklist.worklist import folder as folders
from dicom_worklist.worklist.checksum import is_sealed
from dicom_worklist.worklist.entry import Entry, describe

#: How far away a booking is looked for that was moved after its scan.
FURTHER = timedelta(days=92)


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

    def changes(self, *, dry_run: bool = False) -> list[str]:
        """Return a line for each entry that changed."""
        would = "would be " if dry_run else ""
        return [
            f"{would}{verb} booking {printable(entry['booking_id'])} on {entry['ae_title']}"
            for verb, entries in (("published", self.published), ("updated", self.updated), ("removed", self.removed))
            for entry in entries
        ]

    def remarks(self) -> list[str]:
        """Return a line for each booking that was rejected, and each warning."""
        rejected = [f"rejected booking {one['booking_id']}: {one['reason']}" for one in self.rejected]
        return [*rejected, *(f"warning: {warning}" for warning in self.warnings)]

    def summary(self, *, dry_run: bool = False) -> str:
        """Return how much changed, in one line."""
        would = "would be " if dry_run else ""
        return (
            f"{self.day}: {len(self.published)} {would}published, {len(self.updated)} updated, "
            f"{len(self.removed)} removed, {len(self.unchanged)} unchanged, "
            f"{len(self.rejected)} rejected, {len(self.warnings)} warnings"
        )

    def as_text(self) -> tuple[str, str]:
        """Return the changed entries before and after, as lists for people."""
        return _as_text(self.before), _as_text(self.after)


def _track(items: Sequence[str], description: str) -> Iterable[str]:  # noqa: ARG001 - a Progress that shows nothing
    return items


def here(config: Config, now: datetime) -> datetime:
    """Return an aware time as the naive one at the site."""
    return now.astimezone(ZoneInfo(config.site.timezone)).replace(tzinfo=None)


def run(
    config: Config, day: date | None = None, *, now: datetime, dry_run: bool = False, track: folders.Progress = _track
) -> Report:
    """Make the worklist equal to the calendar around `day` (default: the day at the site at `now`, an aware time).

    With `dry_run` nothing is written, and the report is that of the run that would.

    Raises:
        SourceError: the bookings can't be read; only entries of days before the window were removed.
        FolderError: a folder can't be written or locked; nothing was changed.
    """
    local = here(config, now)
    report = Report(day or local.date())
    is_today = report.day == local.date()
    days = selection.days(config, report.day, local if is_today else None)
    # another day's entries are for a moment: page and metrics go on telling today
    with watch(config, days, now, record=not dry_run and is_today) as watching:
        watching.seen = _publish(_Run(config, days, report, watching), dry_run=dry_run, track=track)
        watching.said = report.remarks()
    report.warnings += watching.failures
    return report


@dataclass(frozen=True, slots=True)
class _Run:
    """A run: what it is given, and what it fills."""

    config: Config
    days: Days
    report: Report
    watching: Watch
    seen: Seen = field(default_factory=Seen)
    #: File name → booking id, where the name has only the beginning of a long one.
    long_ids: dict[str, str] = field(default_factory=dict)

    def published(self, name: str) -> Published:
        """Return what is reported of an entry's file."""
        item = folders.parse_file_name(name)
        assert item is not None, name  # noqa: S101 - publish only returns names of file_name
        return {"booking_id": self.long_ids.get(name, item[0]), "ae_title": item[1], "file": name}

    def reject(self, row: Row, scanner: Scanner | None, reason: str, *, shown: bool) -> None:
        """Report a booking that has no entry, with as much of it as can be read."""
        booking_id = printable(text(row, "booking_id"))
        if shown:
            self.report.rejected.append({"booking_id": booking_id, "reason": reason})
        day, start = self.report.day, None
        with suppress(Rejected):
            day = read_date(row, self.config.reading)
            start = read_start(row, self.config.reading)
        self.seen.bookings.append(
            BookingRecord(
                booking_id=booking_id,
                day=day,
                ae_title=scanner.ae_title if scanner else "",
                start=start,
                project=printable(text(row, "project_title") or text(row, "project_id")),
                booked_by=printable(f"{text(row, 'user_last_name')}^{text(row, 'user_first_name')}".strip("^")),
                reason=reason,
            )
        )


def _publish(run: _Run, *, dry_run: bool, track: folders.Progress) -> Seen:
    config, report, watching, seen = run.config, run.report, run.watching, run.seen
    timeout = config.worklist.lock_timeout
    with ExitStack() as stack:
        # held while the calendar is read, so that a slower run can't put an older state over a newer one
        for folder in config.folders():
            stack.enter_context(folders.one_writer(folder, timeout))
        try:
            selected = read(config, run.days, report, watching.expected())
        except SourceError as error:
            if not dry_run:
                try:
                    _expire(run, track)
                except FolderError as also:
                    raise SourceError(f"{error}. Besides, {also}") from error
            raise
        watching.remember({text(one.row, "booking_id") for one in selected.scheduled})
        seen.cancelled, seen.withdrawn = selected.cancelled, selected.withdrawn
        seen.labs, seen.statuses = dict(selected.labs), dict(selected.statuses)
        seen.leftovers = tuple(map(printable, folders.others(Path(config.worklist.root), config.folders())))
        for row, scanner, shown, reason in selected.rejected:
            run.reject(row, scanner, reason, shown=shown)
        present = {folder.name: folders.EntryFiles(folder) for folder in config.folders()}
        wanted = _wanted(run, selected.scheduled, present)
        pending: dict[Path, folders.Changes] = {}
        for folder in config.folders():
            changes = folders.compare(present[folder.name], wanted[folder.name])
            pending[folder] = changes
            report.published += map(run.published, changes.published)
            report.updated += map(run.published, changes.updated)
            report.removed += map(run.published, changes.removed)
            report.unchanged += map(run.published, changes.unchanged)
            report.before |= {f"{folder.name}/{name}": content for name, content in changes.before.items()}
            report.after |= {f"{folder.name}/{name}": content for name, content in changes.after.items()}
        if not dry_run:
            folders.apply(pending, timeout, track)
    if report.removed and not (report.published or report.updated or report.unchanged or seen.left):
        counts = (
            (len(report.rejected), "were rejected"),
            (sum(seen.statuses.values()), "have statuses that don't count"),
            (sum(seen.labs.values()), "have labs that no scanner has"),
        )
        why = ", ".join(f"{count} {what}" for count, what in counts if count) or "the calendar has none for any scanner"
        report.warnings.append(f"the worklist is empty now: of the bookings of these days {why}")
    return seen


def read(config: Config, days: Days, report: Report, expected: Collection[str] = ()) -> selection.Selection:
    """Return what became of the rows of the calendar around these days.

    Bookings that were `expected` and are not there may have been moved further away: they are looked for there.

    Raises:
        SourceError: the rows can't be read.
    """
    first, last = days.all
    if days.now is not None and first > date.min:
        first = min(first, days.first - selection.ONE_DAY)
    rows = config.source.rows(first, last)
    report.warnings += getattr(rows, "warnings", ())
    selected = selection.select(rows, config, days, expected)
    there = {text(one.row, "booking_id") for one in selected.scheduled} | selected.cancelled
    there |= {text(row, "booking_id") for row, *_ in selected.rejected}
    gone = {*expected} - there
    if gone and last <= date.max - FURTHER:
        with suppress(SourceError):
            further = config.source.rows(last + selection.ONE_DAY, last + FURTHER)
            found = selection.select(further, config, days, gone)
            selected.scheduled += [one for one in found.scheduled if text(one.row, "booking_id") in gone]
    return selected


def _expire(run: _Run, track: folders.Progress) -> None:
    """Remove the entries of days before the window that don't go on: nothing else is known to be wrong."""
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - only when the calendar fails

    config, first_day = run.config, f"{run.days.first:%Y%m%d}"
    seen, going_on = (
        {folders.file_name(booked.booking_id, booked.ae_title) for booked in bookings}
        for bookings in (run.watching.entered(), run.watching.going_on())
    )
    pending: dict[Path, folders.Changes] = {}
    for folder in config.folders():
        # what is no regular file is none of an entry; a run with a calendar replaces it
        present = {name: content for name, content in folders.EntryFiles(folder).items() if content is not None}
        kept: dict[str, bytes] = {}
        for name, content in present.items():
            try:
                [step] = dataset.decode(content).ScheduledProcedureStepSequence
                day, clock = str(step.ScheduledProcedureStepStartDate), str(step.ScheduledProcedureStepStartTime)
                past = day < first_day and (name in seen or _has_ended(f"{day}{clock}", run))
            except (AttributeError, ValueError):
                past = False
            if not past or name in going_on:
                kept[name] = content
        pending[folder] = folders.compare(present, kept)
    folders.apply(pending, config.worklist.lock_timeout, track)


def _has_ended(start: str, run: _Run) -> bool:
    """Return whether an entry of which no more is known than when it begins has ended, and the grace after it."""
    end = datetime.strptime(start, "%Y%m%d%H%M%S") + selection.session(run.config)  # noqa: DTZ007 - the site's
    return run.days.now is None or selection.is_over(end, run.config, run.days.now)


def _wanted(
    run: _Run, scheduled: list[SelectedRow], present: Mapping[str, Mapping[str, bytes | None]]
) -> dict[str, dict[str, bytes | None]]:
    """Return worklist → file name → content, None for what is there already; bookings that have none are reported.

    It empties `scheduled`: of many bookings not all rows and all entries have to fit the memory at once.
    """
    config, watching = run.config, run.watching
    wanted: dict[str, dict[str, bytes | None]] = {worklist: {} for worklist in present}
    shown: list[BookingRecord] = []
    scheduled.reverse()
    while scheduled:
        one = scheduled.pop()
        booking_id = text(one.row, "booking_id")
        try:
            booking = read_booking(one.row, config.reading)
            entry, warnings = describe(booking, one.scanner, config.site, config.attributes)
            name = folders.file_name(booking_id, one.scanner.ae_title)
            booked = watching.known(_booked(booking_id, entry, booking.start, booking.end))
            if reason := watching.reused(booked):
                raise Rejected(reason)
            done = one.shown and watching.is_done(booked)
            on_console = one.shown and not done
            content = _content(entry, present[one.scanner.worklist].get(name)) if on_console else None
        except Rejected as rejected:
            run.reject(one.row, one.scanner, str(rejected), shown=one.shown)
            continue
        run.seen.left += done
        shown += [booked] if one.shown else []
        if run.days.is_near(one.day) or watching.is_known(booking_id):
            run.seen.bookings.append(msgspec.structs.replace(booked, on_console=on_console))
        if on_console:
            run.report.warnings += [f"booking {printable(booking_id)}: {warning}" for warning in warnings]
            wanted[one.scanner.worklist][name] = content
            if "+" in name:  # a long id's; no other name has one
                run.long_ids[name] = booking_id
    run.seen.bookings += watching.elsewhere({booked.booking_id for booked in run.seen.bookings})
    run.seen.doubles = tuple(_doubles(shown, config))
    run.report.warnings += run.seen.doubles
    return wanted


def _booked(booking_id: str, entry: Entry, start: datetime, end: datetime | None) -> BookingRecord:
    values = entry.values
    return BookingRecord(
        booking_id=booking_id,
        day=start.date(),
        ae_title=values["ScheduledStationAETitle"],
        start=start,
        end=end,
        patient_id=values["PatientID"],
        patient_name=values["PatientName"],
        study_instance_uid=values["StudyInstanceUID"],
        accession_number=values.get("AccessionNumber", ""),
        step_id=values["ScheduledProcedureStepID"],
        project=values["RequestedProcedureDescription"],
        booked_by=values.get("RequestingPhysician", ""),
    )


def _doubles(bookings: Sequence[BookingRecord], config: Config) -> Iterable[str]:
    """Return a warning for each two bookings of one session, and each two at one time on one scanner."""
    sessions: defaultdict[tuple[str, str], list[BookingRecord]] = defaultdict(list)
    together: list[list[BookingRecord]] = []
    ends = reconcile.ends(bookings, selection.session(config))
    for booked in sorted(bookings, key=lambda booked: (booked.ae_title, str(booked.start), booked.booking_id)):
        sessions[booked.patient_id, booked.patient_name].append(booked)
        if together and _overlaps(booked, together[-1], ends):
            together[-1].append(booked)
        else:
            together.append([booked])
    moments: defaultdict[tuple[str, datetime | None], list[BookingRecord]] = defaultdict(list)
    for booked in bookings:
        moments[booked.patient_id, booked.start].append(booked)
    for (patient, _), same in moments.items():
        if len({booked.patient_name for booked in same}) > 1:
            yield printable(f"{oddities.named(same)} have one PatientID, {patient}, at one time")
    for (_, name), same in sessions.items():
        if len(same) > 1:
            yield printable(f"{oddities.named(same)} are of one subject and session, {name}")
    for at_once in together:
        if len(at_once) > 1:
            yield printable(f"{oddities.named(at_once)} are at the same time on one scanner")


def _overlaps(booked: BookingRecord, others: Sequence[BookingRecord], ends: Mapping[BookingRecord, datetime]) -> bool:
    same = others[-1].ae_title == booked.ae_title
    return same and booked.start is not None and booked.start < max(ends[other] for other in others)


def _content(entry: Entry, old: bytes | None) -> bytes | None:
    """Return the entry's file; None if the old one holds it."""
    if old is not None and is_sealed(old, entry):
        return None
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - a run with nothing to change needs no pydicom

    return dataset.encode(entry)


def _as_text(contents: dict[str, bytes]) -> str:
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - only a diff needs it

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
