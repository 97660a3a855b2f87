"""What becomes of each row of the calendar, and what it was read as: for a site that sets its calendar up."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TypedDict

from dicom_worklist import bookings, pipeline
from dicom_worklist.bookings import Row, text
from dicom_worklist.errors import Rejected
from dicom_worklist.report import count
from dicom_worklist.settings import Config, Reading
from dicom_worklist.status import memory
from dicom_worklist.status.doubles import doubles, shared_identities


class PreviewRow(TypedDict):
    """A row and what becomes of it.

    `outcome` is entry, rejected, ignored or other day; `reason` says why there is no entry. `columns` is what the
    columns of a booking say, times as they are at the site; for each of them that the site's rules made, `origins`
    names the columns of the row that it is made of. `row` has the row's own columns, as text. `attributes` is what the
    entry says, keyword → text; `assumed` what the calendar doesn't say of it, and `warnings` what was changed or not
    used for it.
    """

    booking_id: str
    outcome: str
    reason: str
    ae_title: str
    attributes: dict[str, str]
    assumed: list[str]
    warnings: list[str]
    columns: dict[str, str]
    origins: dict[str, str]
    row: dict[str, str]


class Preview(TypedDict):
    """The rows for these days, both included, at the site, in the order of the calendar; and its own remarks.

    `made` is when what it gave was made (ISO 8601, UTC), as far as it can know. `not_given` are the known columns that
    no row has. `fault` is why no row at all can be read, and empty if some can.
    """

    source: str
    first_day: str
    last_day: str
    made: str | None
    rows: list[PreviewRow]
    warnings: list[str]
    not_given: list[str]
    fault: str


def preview(config: Config, day: date | None = None, *, now: datetime) -> Preview:
    """Read the rows for the window around `day` (default: the day at the site at `now`, an aware time).

    Nothing is written, and neither the broker nor the PACS is asked.

    Raises:
        SourceError: the rows can't be read.
    """
    local = pipeline.at_site(config, now)
    days = bookings.days(config, day or local.date(), local if day in {None, local.date()} else None)
    known = memory.recall(config, days, now.astimezone(UTC))
    rows = bookings.rows(config, days.since, days.last)
    passed: list[tuple[Row, str, str]] = []
    row_of = partial(_row, config.reading)
    selection = bookings.select(rows, config, days, passed=passed)
    became = {id(row): row_of(row, outcome, reason) for row, outcome, reason in passed}
    for row, scanner, shown, reason in selection.rejected:
        # the sync doesn't report those of yesterday that are over
        outcome = "rejected" if shown or not _is_before(row, days.first, config) else "other day"
        became[id(row)] = row_of(row, outcome, reason, scanner.ae_title if scanner else "")
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - cron needs none of it

    people = []
    for one in selection.selected:
        title = one.scanner.ae_title
        try:
            described = pipeline.describe_row(one, known)
            if one.shown:
                dataset.encode(described.entry)  # what its attributes allow, as the sync does
        except Rejected as rejected:
            outcome = "rejected" if one.shown or one.day >= days.first else "other day"
            became[id(one.row)] = row_of(one.row, outcome, str(rejected), title)
            continue
        if one.shown:
            became[id(one.row)] = row_of(one.row, "entry", "", title)
            people.append((described.booked, described.person))
        else:
            became[id(one.row)] = row_of(one.row, "other day", f"it is on {one.day}", title)
        became[id(one.row)]["attributes"] = described.entry.texts()
        became[id(one.row)]["assumed"] = [] if bookings.names_session(one.row) else ["session 1"]
        became[id(one.row)]["warnings"] = described.warnings
    booked = [booked for booked, _ in people]
    return Preview(
        source=str(config.source),
        first_day=f"{days.first}",
        last_day=f"{days.last}",
        made=rows.made.isoformat() if rows.made else None,
        rows=[became[id(row)] for row in rows],
        warnings=[*rows.warnings, *shared_identities(people), *doubles(booked, bookings.session_length(config))],
        not_given=bookings.not_given(rows),
        fault=rows.fault,
    )


def remarks(shown: Preview) -> list[str]:
    """Return what holds for all rows, and how many there are of each outcome, for people."""
    return [
        *([f"every row: {shown['fault']}"] if shown["fault"] else []),
        *shown["warnings"],
        *([bookings.lacking(shown["not_given"])] if shown["not_given"] else []),
        counted(shown["rows"]) if shown["rows"] else _nothing(shown),
    ]


def _nothing(shown: Preview) -> str:
    days = " to ".join(dict.fromkeys((shown["first_day"], shown["last_day"])))
    return (
        f"The calendar gave nothing for {days}. If bookings are there: look at the days in source.query or source.url, "
        "at the address, and at what this login may see."
    )


def counted(rows: Sequence[PreviewRow]) -> str:
    """Return how many rows there are of each outcome, for people."""
    counts = Counter(row["outcome"] for row in rows)
    names = {"entry": "with an entry", "rejected": "rejected", "ignored": "ignored", "other day": "of other days"}
    said = {outcome: f"{counts[outcome]} {name}" for outcome, name in names.items()}
    bookings_rejected = len({row["booking_id"] for row in rows if row["outcome"] == "rejected"})
    if bookings_rejected != counts["rejected"]:  # the sync names each once
        said["rejected"] += f" ({count(bookings_rejected, 'booking')})"
    return f"{count(len(rows), 'row')}: {', '.join(said.values())}"


def _is_before(row: Row, first: date, config: Config) -> bool:
    """Return whether the row is readably of a day before the window."""
    try:
        return bookings.read_date(row, config.reading) < first
    except Rejected:
        return False


def _row(reading: Reading, row: Row, outcome: str, reason: str, ae_title: str = "") -> PreviewRow:
    columns = {name: bookings.shown(row, name, reading) for name in bookings.KNOWN_COLUMNS if text(row, name)}
    origins = getattr(row, "origins", {})
    return PreviewRow(
        booking_id=text(row, "booking_id"),
        outcome=outcome,
        reason=reason,
        ae_title=ae_title,
        attributes={},
        assumed=[],
        warnings=[],
        columns=columns,
        origins={name: origins[name] for name in columns if name in origins},
        row={str(name): text(row, name) for name in row if name not in origins},
    )
