"""The whole way of the bookings: select, describe, publish, record.

Each step is a function of what it is given; `run` is the only place that knows their order.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist import bookings
from dicom_worklist.bookings import Booking, Days, Row, SelectedRow, Selection, printable, text
from dicom_worklist.errors import FolderError, Rejected, SourceError, WorklistError
from dicom_worklist.report import Published, Rejection, Report
from dicom_worklist.settings import Config, Scanner
from dicom_worklist.status import memory
from dicom_worklist.status.doubles import doubles, shared_identities
from dicom_worklist.status.finished import finished
from dicom_worklist.status.memory import Memory
from dicom_worklist.status.record import Outcome, ask, record
from dicom_worklist.status.records import BookingRecord
from dicom_worklist.worklist import folder as folders
from dicom_worklist.worklist.checksum import holds
from dicom_worklist.worklist.entry import Entry, describe

#: Worklist → file name → content; None stands for the content that is there already.
Files = dict[str, dict[str, bytes | None]]


def at_site(config: Config, now: datetime) -> datetime:
    """Return an aware time as the naive one at the site."""
    return now.astimezone(ZoneInfo(config.site.timezone)).replace(tzinfo=None)


def _silent(names: Sequence[str], description: str) -> Iterable[str]:  # noqa: ARG001 - a Progress that shows nothing
    return names


def run(
    config: Config,
    day: date | None = None,
    *,
    now: datetime,
    dry_run: bool = False,
    progress: folders.Progress = _silent,
) -> Report:
    """Make the worklist equal to the calendar around `day` (default: the day at the site at `now`, an aware time).

    With `dry_run` nothing is written, and the report is that of the run that would.

    Raises:
        SourceError: the bookings can't be read; only entries of days before the window were removed.
        FolderError: a folder can't be written or locked; nothing was changed.
    """
    began, clock = now.astimezone(UTC), time.monotonic()
    local = at_site(config, now)
    report = Report(day or local.date())
    is_today = report.day == local.date()
    days = bookings.days(config, report.day, local if is_today else None)
    known, answer = memory.recall(config, days, began), None

    def present() -> datetime:
        return began + timedelta(seconds=time.monotonic() - clock)

    def recorded(outcome: Outcome) -> list[str]:
        """Record the outcome, and return what else failed."""
        # another day's entries are for a moment: page and metrics go on showing today
        if dry_run or not is_today or config.status is None:
            return [*known.failures]
        return record(known, answer or ask(known), outcome, present)

    try:
        with ExitStack() as stack:
            # held while the calendar is read, so that a slower run can't put an older state over a newer one
            for folder in config.folders():
                stack.enter_context(folders.one_writer(folder, config.worklist.lock_timeout))
            selection = _select(known, dry_run=dry_run, progress=progress)
            known = memory.remember(known, {text(one.row, "booking_id") for one in selection.selected})
            if config.status and config.status.leave_after is not None:
                answer = ask(known)
            done = finished(config, known.last, answer.studies if answer else None, began)
            leftovers = folders.others(Path(config.worklist.root), config.folders())
            old = {folder.name: folders.EntryFiles(folder) for folder in config.folders()}
            described = _describe(selection, known, done, old)
            changes = _publish(config, old, described.files, dry_run=dry_run, progress=progress)
    except WorklistError as error:
        if failures := recorded(Outcome(failure=str(error))):
            raise type(error)(str(error), failures) from error
        raise
    _report(report, selection, described, changes)
    report.warnings += recorded(
        Outcome(
            bookings=described.bookings,
            cancelled=selection.cancelled,
            withdrawn=selection.withdrawn,
            labs=selection.labs,
            statuses=selection.statuses,
            leftovers=tuple(map(printable, leftovers)),
            doubles=described.doubles,
            remarks=tuple(report.remarks()),
            made=selection.made,
        )
    )
    return report


# --- select ---


def _select(known: Memory, *, dry_run: bool, progress: folders.Progress) -> Selection:
    """Return what becomes of each row of the calendar; without a calendar, entries of days before the window go.

    Raises:
        SourceError: the bookings can't be read.
    """
    try:
        return bookings.read(known.config, known.days, memory.expected(known))
    except SourceError as error:
        if not dry_run:
            try:
                _expire(known, progress)
            except FolderError as also:
                raise SourceError(f"{error}. In addition: {also}") from error
        raise


def _expire(known: Memory, progress: folders.Progress) -> None:
    """Remove the entries of days before the window that don't go on: nothing else is known to be wrong."""
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - only when the calendar fails

    config, first_day = known.config, f"{known.days.first:%Y%m%d}"
    entered, going_on = (
        {folders.file_name(booked.booking_id, booked.ae_title) for booked in some}
        for some in (memory.entered(known), memory.going_on(known))
    )
    pending: dict[Path, folders.Changes] = {}
    for folder in config.folders():
        # what is not a regular file can't be an entry; a run with a calendar replaces it
        present = {name: content for name, content in folders.EntryFiles(folder).items() if content is not None}
        kept: dict[str, bytes] = {}
        for name, content in present.items():
            try:
                [step] = dataset.decode(content).ScheduledProcedureStepSequence
                day, clock = str(step.ScheduledProcedureStepStartDate), str(step.ScheduledProcedureStepStartTime)
                past = day < first_day and (name in entered or _has_ended(f"{day}{clock}", known))
            except (AttributeError, ValueError):
                past = False
            if not past or name in going_on:
                kept[name] = content
        pending[folder] = folders.compare(present, kept)
    folders.apply(pending, config.worklist.lock_timeout, progress)


def _has_ended(start: str, known: Memory) -> bool:
    """Return whether an entry of which no more is known than when it begins has ended, and the grace after it."""
    config, now = known.config, known.days.now
    end = datetime.strptime(start, "%Y%m%d%H%M%S") + bookings.session_length(config)  # noqa: DTZ007 - the site's
    return now is None or bookings.is_over(end, config, now)


# --- describe ---


@dataclass(slots=True)
class _Described:
    """The files of the worklists, and what is recorded of each booking.

    `long_ids` has file name → booking id, where the name has only the beginning of a long one. `finished` is how many
    entries leave the console because their scans are finished.
    """

    files: Files
    bookings: list[BookingRecord] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    doubles: tuple[str, ...] = ()
    finished: int = 0
    long_ids: dict[str, str] = field(default_factory=dict)


def _describe(
    selection: Selection,
    known: Memory,
    done: Mapping[str, BookingRecord],
    present: Mapping[str, Mapping[str, bytes | None]],
) -> _Described:
    """Return the entry of each selected row, or why it has none; `done` are the bookings that are finished.

    It empties `selection.selected`: of many bookings not all rows and all entries have to fit the memory at once.
    """
    config, days = known.config, known.days
    described = _Described({worklist: {} for worklist in present})
    people: list[tuple[BookingRecord, tuple[str, str]]] = []

    def reject(row: Row, scanner: Scanner | None, reason: str, *, shown: bool) -> None:
        rejected = _rejected(row, scanner, reason, config, days)
        described.bookings.append(rejected)
        if shown:
            described.rejected.append({"booking_id": rejected.booking_id, "reason": reason})

    for row, scanner, shown, reason in selection.rejected:
        reject(row, scanner, reason, shown=shown)
    selection.selected.reverse()
    while selection.selected:
        one = selection.selected.pop()
        booking_id = text(one.row, "booking_id")
        try:
            entry, warnings, booked, person = describe_row(one, known)
            is_finished = one.shown and booking_id in done and done[booking_id].same(booked)
            on_console = one.shown and not is_finished
            name = folders.file_name(booking_id, one.scanner.ae_title)
            if on_console:
                content = _content(entry, present[one.scanner.worklist].get(name))
        except Rejected as rejected:
            reject(one.row, one.scanner, str(rejected), shown=one.shown)
            continue
        described.finished += is_finished
        if one.shown:
            people.append((booked, person))
        if days.is_near(one.day) or booking_id in known.past.current:
            described.bookings.append(msgspec.structs.replace(booked, on_console=on_console))
        if on_console:
            described.warnings += [f"booking {printable(booking_id)}: {warning}" for warning in warnings]
            described.files[one.scanner.worklist][name] = content
            if "+" in name:  # a long id's; no other name has one
                described.long_ids[name] = booking_id
    there = {booked.booking_id for booked in described.bookings}
    described.bookings += memory.moved_away(known, there)
    on_days = [booked for booked, _ in people]
    described.doubles = (*shared_identities(people), *doubles(on_days, bookings.session_length(config)))
    return described


class DescribedRow(NamedTuple):
    """The entry of a booking, a warning for each value that was changed or not used, and what is recorded of it.

    `person` is the project and the subject; the project is empty where the subject says alone who it is.
    """

    entry: Entry
    warnings: list[str]
    booked: BookingRecord
    person: tuple[str, str]


def describe_row(one: SelectedRow, known: Memory) -> DescribedRow:
    """Read a row as a booking, and return its entry.

    Raises:
        Rejected: it can't have one.
    """
    config = known.config
    booking = bookings.read_booking(one.row, config.reading)
    entry, warnings = describe(booking, one.scanner, config.site, config.attributes, plain=config.reading.plain)
    booked = memory.with_since(_record_of(booking, entry), known)
    if reason := memory.used_before(booked, known):
        raise Rejected(reason)
    person = ("" if config.reading.plain else booking.project_id, booking.subject)
    return DescribedRow(entry, warnings, booked, person)


def _rejected(row: Row, scanner: Scanner | None, reason: str, config: Config, days: Days) -> BookingRecord:
    """Return what is recorded of a booking that has no entry: as much of it as can be read."""
    day, start = days.day, None
    with suppress(Rejected):
        day = bookings.read_date(row, config.reading)
        start = bookings.read_start(row, config.reading)
    return BookingRecord(
        booking_id=printable(text(row, "booking_id")),
        day=day,
        ae_title=scanner.ae_title if scanner else "",
        start=start,
        project=printable(text(row, "project_title") or text(row, "project_id")),
        booked_by=printable(f"{text(row, 'user_last_name')}^{text(row, 'user_first_name')}".strip("^")),
        reason=reason,
    )


def _record_of(booking: Booking, entry: Entry) -> BookingRecord:
    """Return what is recorded of a booking: what its entry says."""
    values = entry.values
    return BookingRecord(
        booking_id=booking.booking_id,
        day=booking.start.date(),
        ae_title=values["ScheduledStationAETitle"],
        start=booking.start,
        end=booking.end,
        patient_id=values["PatientID"],
        patient_name=values["PatientName"],
        study_instance_uid=values["StudyInstanceUID"],
        accession_number=values.get("AccessionNumber", ""),
        step_id=values["ScheduledProcedureStepID"],
        project=values["RequestedProcedureDescription"],
        booked_by=values.get("RequestingPhysician", ""),
    )


def _content(entry: Entry, old: bytes | None) -> bytes | None:
    """Return the entry's file; None if the old one holds it."""
    if old is not None and holds(old, entry):
        return None
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - a run with nothing to change needs no pydicom

    return dataset.encode(entry)


# --- publish ---


def _publish(
    config: Config,
    present: Mapping[str, folders.EntryFiles],
    wanted: Files,
    *,
    dry_run: bool,
    progress: folders.Progress,
) -> dict[Path, folders.Changes]:
    """Make the folders hold these files, all at once, and return what changed in each."""
    changes = {folder: folders.compare(present[folder.name], wanted[folder.name]) for folder in config.folders()}
    if not dry_run:
        folders.apply(changes, config.worklist.lock_timeout, progress)
    return changes


def _report(
    report: Report,
    selection: Selection,
    described: _Described,
    changes: Mapping[Path, folders.Changes],
) -> None:
    """Fill the report."""

    def published(names: Collection[str]) -> Iterable[Published]:
        for name in names:
            item = folders.parse_file_name(name)
            assert item is not None, name  # noqa: S101 - publish only returns names of file_name
            yield {"booking_id": described.long_ids.get(name, item[0]), "ae_title": item[1], "file": name}

    for folder, changed in changes.items():
        report.published += published(changed.published)
        report.updated += published(changed.updated)
        report.removed += published(changed.removed)
        report.unchanged += published(changed.unchanged)
        report.before |= {f"{folder.name}/{name}": content for name, content in changed.before.items()}
        report.after |= {f"{folder.name}/{name}": content for name, content in changed.after.items()}
    report.fault = selection.fault
    report.rejected += described.rejected
    report.warnings += [*selection.warnings, *described.warnings, *described.doubles]
    if "status" in selection.not_given:
        report.warnings.append(
            "the calendar gives no status, so every booking counts, a cancelled one too: if it has one, give it that "
            "name in booking.columns; if not, write booking.columns.status: CONFIRMED"
        )
    if report.removed and not (report.published or report.updated or report.unchanged or described.finished):
        counts = (
            (len(report.rejected), "were rejected"),
            (sum(selection.statuses.values()), "have statuses that don't count"),
            (sum(selection.labs.values()), "have labs that no scanner has"),
        )
        why = ", ".join(f"{count} {what}" for count, what in counts if count) or "the calendar has none for any scanner"
        report.warnings.append(f"this run leaves the worklist empty: of the bookings of these days {why}")
