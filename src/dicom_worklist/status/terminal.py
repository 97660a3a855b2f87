"""How the worklist and the overview look in a terminal, or in a pipe."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_worklist.bookings import printable
from dicom_worklist.delivery import Copied
from dicom_worklist.status.booking_status import BookingStatus, State, Unscheduled
from dicom_worklist.status.oddities import Oddity, Weight
from dicom_worklist.status.overview import Day, Level, Overview, spell
from dicom_worklist.status.records import BookingRecord

if TYPE_CHECKING:
    from dicom_worklist.status.past.sessions import Session
    from dicom_worklist.status.repair import Plan  # which needs pydicom

LEVELS = {Level.OK: "bold green", Level.WARNING: "bold yellow", Level.CRITICAL: "bold red"}
VERDICTS = {Level.OK: "ok    ", Level.WARNING: "WARN  ", Level.CRITICAL: "FAILED"}
STATES = {
    State.SCHEDULED: "cyan",
    State.IN_PROGRESS: "bold blue",
    State.ARRIVED: "bold green",
    State.ODD: "bold magenta",
    State.MISSING: "bold yellow",
    State.OVER: "dim",
    State.REJECTED: "bold red",
    State.CANCELLED: "bold magenta",
}
#: What an entry always says, and what other columns of a preview say.
USUAL = {
    "AccessionNumber",
    "Modality",
    "ReferringPhysicianName",
    "RequestedProcedureID",
    "ScheduledProcedureStepDescription",
    "ScheduledProcedureStepID",
    "ScheduledProcedureStepLocation",
    "ScheduledProcedureStepStartDate",
    "ScheduledProcedureStepStartTime",
    "ScheduledStationAETitle",
    "ScheduledStationName",
    "StudyInstanceUID",
}
#: The columns of prose, which may be broken into lines, and how narrow one may be.
PROSE = {"project", "booked by", "remarks", "read as", "entry, or why there is none"}
FREE = 20
OUTCOMES = {"entry": "bold green", "rejected": "bold red", "ignored": "dim", "other day": "dim"}


def show_entries(entries: Sequence[Mapping[str, object]]) -> None:
    """Print worklist entries, keyword → value, as a table."""
    headings = {
        "scanner": "bold cyan",
        "start": "bold",
        "patient name": "bold green",
        "project": "",
        "booked by": "",
        "booking": "dim",
    }
    rows = (
        (
            entry.get("ScheduledStationAETitle"),
            _start(entry),
            entry.get("PatientName"),
            entry.get("RequestedProcedureDescription"),
            entry.get("RequestingPhysician"),
            entry.get("AccessionNumber"),
        )
        for entry in entries
    )
    _print(_console(), f"{len(entries)} worklist entries", headings, rows)


def show_preview(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print what becomes of the rows of a calendar, each a `PreviewRow`, as a table."""
    headings = {
        "becomes": "",
        "scanner": "bold cyan",
        "booking": "dim",
        "read as": "",
        "entry, or why there is none": "",
    }
    _print(_console(), title, headings, (_previewed(row) for row in rows), lines=True)  # a row takes several lines


def _previewed(row: Mapping[str, Any]) -> tuple[object, ...]:
    columns: Mapping[str, str] = row["columns"]
    origins: Mapping[str, str] = row["origins"]
    read = [
        f"{name}: {value}{f'  ({origins[name]})' if origins.get(name) else ''}"
        for name, value in columns.items()
        if name != "booking_id" or name in origins
    ]
    entry = row["attributes"]
    said = [
        *([row["reason"]] if row["reason"] else []),
        *([f"start: {_start(entry)}"] if entry else []),
        *(f"{keyword}: {value}" for keyword, value in entry.items() if keyword not in USUAL),
        *(f"{what} assumed" for what in row["assumed"]),
        *(f"warning: {warning}" for warning in row["warnings"]),
    ]
    outcome = Text(row["outcome"], OUTCOMES[row["outcome"]])
    return outcome, row["ae_title"], row["booking_id"], _lines(read), _lines(said)


def _lines(texts: Iterable[str]) -> Text:
    return Text("\n".join(map(printable, texts)))


def show_overview(overview: Overview) -> None:
    """Print what is wrong, and today scanner by scanner."""
    console = _console()
    console.print(Text(f"{printable(overview.site)}, {overview.now:%Y-%m-%d %H:%M %Z}", "bold"))
    for problem in overview.problems:
        console.print(Text(f"{problem.level.name:8}", LEVELS[problem.level]), Text(printable(problem.said)))
    console.print(Text(summary(overview), LEVELS[overview.level]))
    for day in (overview.yesterday, overview.today, overview.tomorrow):
        shown = day.lines or day.unscheduled
        if day is overview.today or shown or (overview.good and not overview.is_known(day)):
            name = {overview.yesterday.day: "yesterday", overview.today.day: "today"}.get(day.day, "tomorrow")
            title = f"{name}, {day.day}: {booked_on(overview, day)}"
            if shown or overview.is_known(day):
                _show_day(console, overview, day, title)
            else:
                console.print(Text(title, LEVELS[Level.WARNING]))
    for backup in overview.backups:
        console.print(Text(printable(f"Last good backup of {backup.host}: {overview.saved(backup)}.")))
    for line in _updates(overview):
        console.print(Text(printable(line)))


def show_sessions(sessions: Sequence["Session"]) -> None:
    """Print sessions that were found, each study with Orthanc's id of it."""
    headings = {
        "day": "bold",
        "start": "bold",
        "scanner": "bold cyan",
        "subject": "bold green",
        "project": "",
        "booked by": "",
        "booking": "dim",
        "state": "",
        "images": "",
        "study": "dim",
    }
    rows = (
        (
            one.day,
            one.time,
            one.ae_title,
            one.subject,
            one.project,
            one.booked_by,
            one.booking_id,
            Text(one.state, STATES[State(one.state)] if one.state in [*State] else ""),
            sum(study.instances for study in one.studies) or "",
            " ".join(study.orthanc_id for study in one.studies),
        )
        for one in sessions
    )
    title = "1 session" if len(sessions) == 1 else f"{len(sessions)} sessions"
    _print(_console(), title, headings, rows)


def _updates(overview: Overview) -> Iterator[str]:
    """Return which of Debian's updates each container has, and which wait."""
    for name, built in overview.images.items():
        waiting = overview.updates.containers.get(name) if overview.updates else None
        said = ""
        if waiting and waiting.unknown:
            said = f"; what waits is not known ({waiting.unknown})"
        elif waiting and waiting.security is None:
            said = f"; {len(waiting.other)} to come, and Debian doesn't say which are for security"
        elif waiting and waiting.security:
            said = f"; {len(waiting.security)} for security to come: {', '.join(waiting.security)}"
        elif waiting:
            said = "; none for security waits"
        yield f"{name} has Debian's updates up to {built:%Y-%m-%d %H:%M}{said}."
    if overview.updates:
        yield f"Debian was last asked on {overview.updates.asked.astimezone(overview.now.tzinfo):%Y-%m-%d %H:%M}."


def show_check(name: str, found: str, level: Level) -> None:
    """Print in one line what a check found."""
    verdict = Text(VERDICTS[level], LEVELS[level])
    _console(soft_wrap=True).print(verdict, Text(printable(f"{name}: {found}")))


def show_table(title: str, headings: Mapping[str, str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table; `headings` are the columns, each with its style."""
    _print(_console(), title, headings, rows)


def show_repair(plan: "Plan", booked: BookingRecord, *, applied: bool) -> None:
    """Print what a repair changes, and what it leaves."""
    console = _console()
    of = f"study {plan.study} ({plan.series} series, {plan.images} images) and booking {booked.booking_id}"
    if plan.right:
        console.print(Text(f"Nothing to do: {printable(of)} agree."))
        return
    if plan.stale:
        console.print("Orthanc shows another identity for it than its images have, and will read them again.")
    rows = [(change.attribute, change.old, change.new) for change in plan.changes]
    console.print(Text(printable(f"{of} ({booked.ae_title} {booked.start or booked.day:%Y-%m-%d %H:%M})"), "bold"))
    if rows:
        _print(console, "", {"attribute": "bold", "in the study": "yellow", "booked": "bold green"}, rows)
    if plan.interim:
        console.print(f"An earlier repair was not completed: its copy, study {plan.interim}, will be moved, too.")
    console.print(
        "Everything else stays, such as UIDs, dates, pixels and private attributes. Each image keeps a note of its "
        "former values."
    )
    if not plan.stable:
        console.print("Images may still be coming: wait until no image has come for 45 seconds.")
    if not applied:
        console.print("Nothing was changed. To do it, add --apply.")


def summary(overview: Overview) -> str:
    """Return in one line how things are."""
    good = f"last good run {overview.good:%Y-%m-%d %H:%M:%S}" if overview.good else "no good run yet"
    if overview.frozen is not None:
        good += f", not updated for {spell(overview.frozen)}"
    pacs = "no PACS is asked"
    if overview.pacs:
        pacs = (
            f"PACS answered {overview.asked:%Y-%m-%d %H:%M:%S}" if overview.asked else "the PACS has not answered yet"
        )
    return f"{overview.level.name}: {good}; {pacs}; today {booked_on(overview, overview.today)}"


def plugin(overview: Overview) -> Iterator[str]:
    """Return the lines of a Nagios plug-in: the first says how things are, the others what is wrong."""
    first = overview.problems[0].said if overview.problems else summary(overview).partition(": ")[2]
    yield f"WORKLIST {overview.level.name} - {printable(first)}"
    for problem in overview.problems[1:]:
        yield f"{problem.level.name}: {printable(problem.said)}"


def booked_on(overview: Overview, day: Day) -> str:
    """Return how many bookings of a day are in which state, or that it is not known."""
    if overview.is_known(day):
        return counted(day)
    read = f"was last read {overview.good:%Y-%m-%d %H:%M}" if overview.good else "has not been read yet"
    some = f"; {counted(day)}" if day.lines or day.unscheduled else ""
    return f"not known: the calendar {read}{some}"


def counted(day: Day) -> str:
    """Return how many bookings of a day are in which state."""
    states = [f"{count} {state}" for state, count in day.counts.items() if count]
    states += [f"{len(day.unscheduled)} studies without a booking"] if day.unscheduled else []
    return ", ".join(states) or "nothing booked"


def _show_day(console: Console, overview: Overview, day: Day, title: str) -> None:
    # what has to be typed on a console must stand here as it is
    typed = day is overview.today and any(problem.kind == "console" for problem in overview.problems)
    names = {"PatientID": "bold", "PatientName": "bold"} if typed else {"patient name": "bold"}
    headings = {
        "scanner": "bold cyan",
        "start": "bold",
        "state": "",
        "console": "",
        **names,
        "series": "",
        "images": "",
        "booking": "dim",
        "remarks": "",
    }
    rows = [*(_cells(overview, line, typed=typed) for line in day.lines)]
    rows += [_unscheduled(one, typed=typed) for one in day.unscheduled]
    _print(console, title, headings, rows)


def _cells(overview: Overview, line: BookingStatus, *, typed: bool) -> tuple[object, ...]:
    booked = line.booked
    return (
        booked.ae_title,
        f"{booked.start:%H:%M}" if booked.start else "",
        Text(line.state, STATES[line.state]),
        "shown" if booked.on_console else "not shown",
        *([booked.patient_id, booked.patient_name] if typed else [_subject(booked)]),
        line.series or "",
        line.instances or "",
        booked.booking_id,
        " ".join(
            [
                *([booked.reason] if booked.reason else []),
                *map(_remark, line.oddities),
                *(_copied(one) for study in line.studies if (one := overview.copied(study))),
            ]
        ),
    )


def _subject(booked: BookingRecord) -> str:
    """Return the PatientName, and the PatientID unless that is in it: both can be typed from here."""
    apart = booked.patient_id and booked.patient_id not in booked.patient_name
    return f"{booked.patient_name} (PatientID {booked.patient_id})" if apart else booked.patient_name


def _remark(oddity: Oddity) -> str:
    """Return what is odd; a hint is marked, and has its remedy, as no problem above has it."""
    return f"Hint: {oddity.text} {oddity.remedy}" if oddity.level is Weight.HINT else oddity.text


def _copied(one: Copied) -> str:
    places = ", ".join(one.places)
    return f"Safe to delete on the console if that shows {one.images} images, too: compared at the PACS and {places}."


def _unscheduled(one: Unscheduled, *, typed: bool) -> tuple[object, ...]:
    study = one.study
    return (
        ", ".join(study.ae_titles),
        f"{study.start:%H:%M}" if study.start else "",
        Text("unscheduled", "bold magenta"),
        "",
        *([study.patient_id] if typed else []),
        study.patient_name,
        study.series,
        study.instances,
        "",
        " ".join([f"PatientID {study.patient_id}.", *map(_remark, one.oddities)]),
    )


def _print(
    console: Console,
    title: str,
    headings: Mapping[str, str],
    rows: Iterable[Iterable[object]],
    *,
    lines: bool = False,
) -> None:
    """Print a table, or where it is wider than the terminal, a paragraph a row: a number or an id is never broken."""
    cells = [[*map(_text, row)] for row in rows]
    widest = [
        min(FREE, longest) if heading in PROSE else longest
        for at, heading in enumerate(headings)
        for longest in [max(map(cell_len, [heading, *(row[at].plain for row in cells)]))]
    ]
    if sum(widest) + 3 * len(widest) + 1 > console.width:
        _print_paragraphs(console, title, headings, cells)
        return
    table = Table(title=Text(title, "italic"), title_justify="left", show_lines=lines)
    for (heading, style), width in zip(headings.items(), widest, strict=True):
        prose = heading in PROSE
        table.add_column(heading, style=style, overflow="fold", no_wrap=not prose, min_width=None if prose else width)
    for row in cells:
        table.add_row(*row)
    console.print(table)


def _print_paragraphs(
    console: Console, title: str, headings: Mapping[str, str], cells: Iterable[Sequence[Text]]
) -> None:
    if title:
        console.print(Text(title, "italic"))
    for row in cells:
        said = [(heading, "; ".join(cell.plain.split("\n"))) for heading, cell in zip(headings, row, strict=True)]
        parts = [
            (text if at == 0 else f"{heading} {text}", heading in PROSE)
            for at, (heading, text) in enumerate(said)
            if text
        ]
        first, *others = _paragraph(parts, console.width - 2)
        console.print(Text(first, "bold"), *(Text(f"  {line}") for line in others), sep="\n", soft_wrap=True)


def _paragraph(parts: Iterable[tuple[str, bool]], width: int) -> list[str]:
    """Return texts as lines of this width; only those that are prose are broken, and only at a space."""
    lines = [""]
    for part, prose in parts:
        joined = f"{lines[-1]} · {part}" if lines[-1] else part
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines += wrap(part, width, break_long_words=False, break_on_hyphens=False) if prose else [part]
    return [line for line in lines if line] or [""]


def _text(value: object) -> Text:
    return value if isinstance(value, Text) else Text(printable(str(value or "")))


def _start(entry: Mapping[str, object]) -> str:
    """Return a DICOM date and time as people write them, or unchanged if it isn't one."""
    text = f"{entry.get('ScheduledProcedureStepStartDate')} {entry.get('ScheduledProcedureStepStartTime')}"
    try:
        return datetime.strptime(text, "%Y%m%d %H%M%S").isoformat(" ", "minutes")  # noqa: DTZ007 - the site's own
    except ValueError:
        return text


def _console(*, soft_wrap: bool = False) -> Console:
    # a pipe has no width: what reads it gets whole lines
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False, soft_wrap=soft_wrap)
