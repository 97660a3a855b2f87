"""Writing the pages of usage: each once, and again only while its time can still change.

They are in the page's folder, in `past/usage/`: a page for each day, week and month, and index.html, which lists the
months. A run makes the sums of some days or some pages, so that each run stays a short one.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.settings import Config, Status
from dicom_worklist.status import history
from dicom_worklist.status.evidence import ONE_DAY
from dicom_worklist.status.layout import HTML, STATES, layout
from dicom_worklist.status.past.write import INDEX, NIGHT, Place, kept_in
from dicom_worklist.status.usage import report
from dicom_worklist.status.usage.figures import Entry, Figures, tally, total
from dicom_worklist.status.usage.periods import Per, Period, period, periods

#: What makes sums and pages: after an update that changed it, all are made again.
MADE_BY = ("usage/*.*", "past/style.html.j2", *HTML, *STATES)
LAYOUT = layout(*MADE_BY)
#: How sums were made; those of a day which runs still see are made once more when they don't.
FOR_GOOD, FOR_NOW = LAYOUT, f"{LAYOUT} for now"
#: As many days, and pages, are made in a run at most.
DAYS, PAGES = 4, 2
#: Where a page leads to, in addition to the one before and the one after.
LONGER: Mapping[Per, Sequence[Per]] = {"day": ("week", "month"), "week": ("month",), "month": ()}


def update(config: Config, status: Status, now: datetime) -> None:
    """Make what is next of the pages that are not as the history is, and remove those that are too old.

    Raises:
        OSError, sqlite3.Error, PacsError: a page can't be written, or the history not be read. The next run goes on.
    """
    path, zone, where = history.path_beside(status.state), ZoneInfo(config.site.timezone), kept_in(config)
    if not where or not path.exists():
        return
    ended = (now.astimezone(UTC) - NIGHT).astimezone(zone).date()
    with history.opened(path) as connection:
        first = _forget(connection, history.oldest_day(connection, now, status.history_days), where)
        if first is None:
            return
        made = {day: of for day, *of in connection.execute("SELECT day, made, digest FROM used")}
        days = _next_days(made, first, ended - ONE_DAY)
        if not days:
            kind = f"{LAYOUT} {'with' if status.usage_people else 'without'} people"
            for wanted in islice(_stale(connection, made, (first, ended - ONE_DAY), kind), PAGES):
                _make(connection, config.site.name, wanted, where, people=status.usage_people)
            return
    used = report.read(config, status, days[0], days[-1], now)
    sums = tally(used.entries, lambda entry: (entry.day, entry.scanner, entry.project, entry.person))
    said: dict[date, list[Entry]] = {day: [] for day in days}
    for (each, scanner, project, person), figures in sums.items():
        said[each].append(Entry(each, scanner, project, person, figures))
    with history.opened(path) as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?)",
            [
                (str(day), FOR_GOOD if day < ended - ONE_DAY else FOR_NOW, _digest(some), some.decode())
                for day, some in ((day, msgspec.json.encode(of_day)) for day, of_day in said.items())
            ],
        )


def _forget(connection: sqlite3.Connection, oldest: date, where: Sequence[Place]) -> date | None:
    """Remove the pages that have a day which the history has forgotten, and return the first day that it knows."""
    (first,) = connection.execute("SELECT min(day) FROM version").fetchone()
    first = max(oldest, date.fromisoformat(first)) if first else None
    limit = (first or oldest).isoformat()
    connection.execute("DELETE FROM used WHERE day < ?", (limit,))
    # a week or a month of which some days are forgotten is made again without them
    for (name,) in connection.execute("SELECT name FROM used_page WHERE last < ?", (limit,)).fetchall():
        for place in where:
            place.remove(_file(name))
        connection.execute("DELETE FROM used_page WHERE name = ?", (name,))
    return first


def _next_days(made: Mapping[str, Sequence[str]], first: date, yesterday: date) -> list[date]:
    """Return the newest days in a row whose sums have to be made, as many as a run makes."""
    days: list[date] = []
    day = yesterday
    while day >= first and len(days) < DAYS:
        how, _ = made.get(day.isoformat(), ("", ""))
        if how not in {FOR_GOOD, FOR_NOW if day == yesterday else FOR_GOOD}:
            days.insert(0, day)
        elif days:
            break
        day -= ONE_DAY
    return days


def _stale(
    connection: sqlite3.Connection, made: Mapping[str, Sequence[str]], span: tuple[date, date], kind: str
) -> Iterator[tuple[Period, Mapping[str, Period], str]]:
    """Return the pages that are not of the sums that there are, the months first.

    Each is with those that it leads to, and with that of which it will be.
    """
    pages = dict(connection.execute("SELECT name, made FROM used_page").fetchall())
    for one in periods(*span):
        digests, around = [made[day][1] for day in map(str, one.days) if day in made], _around(one, *span)
        leads = [f"{relation}={other.name}" for relation, other in around.items()]
        of = _digest(" ".join([kind, *digests, *leads]).encode())
        if digests and pages.get(one.name) != of:
            yield one, around, of


def _around(one: Period, first: date, last: date) -> dict[str, Period]:
    """Return the pages that one leads to, by their relation to it: those that have one of these days."""
    others = {"before": one.next(-1), "after": one.next(1)}
    others |= {per: period(per, one.first) for per in LONGER[one.per]}
    return {relation: other for relation, other in others.items() if other.last >= first and other.first <= last}


def _make(
    connection: sqlite3.Connection,
    site: str,
    wanted: tuple[Period, Mapping[str, Period], str],
    where: Sequence[Place],
    *,
    people: bool,
) -> None:
    from dicom_worklist.status.usage import pages  # noqa: PLC0415 - a run with nothing to make pays nothing

    one, around, of = wanted
    span = (one.first.isoformat(), one.last.isoformat())
    rows = connection.execute("SELECT day, entries FROM used WHERE day BETWEEN ? AND ?", span).fetchall()
    days = {date.fromisoformat(day): msgspec.json.decode(said, type=list[Entry]) for day, said in rows}
    if not people:
        days = {day: [replace(entry, person="") for entry in entries] for day, entries in days.items()}
    content = pages.period_page(site, one, days, around).encode()
    for place in where:
        place.put(_file(one.name), content)
    said = msgspec.json.encode(total([entry.figures for some in days.values() for entry in some])).decode()
    sums = dict(connection.execute("SELECT name, figures FROM used_page WHERE length(name) IN (7, 21)").fetchall())
    if one.per != "day":
        sums[one.name] = said
    says = _digest("\n".join([LAYOUT, site, *(f"{name} {figures}" for name, figures in sorted(sums.items()))]).encode())
    index = Path(INDEX).stem
    if connection.execute("SELECT made FROM used_page WHERE name = ?", (index,)).fetchone() != (says,):
        connection.execute("DELETE FROM used_page WHERE name = ?", (index,))  # until it is there
        months, weeks = dict[date, Figures](), dict[date, Figures]()
        for name, figures in sums.items():
            listed, first = (months, f"{name}-01") if len(name) == len("2026-10") else (weeks, name[:10])
            listed[date.fromisoformat(first)] = msgspec.json.decode(figures, type=Figures)
        content = pages.index_page(site, months, weeks).encode()
        for place in where:
            place.put(_file(index), content)
    # only now: nobody else can write while another host takes its time
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT OR REPLACE INTO used_page VALUES (?, ?, ?, ?)",
        [(one.name, span[1], of, said), (index, date.max.isoformat(), says, "")],
    )
    connection.execute("COMMIT")


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _file(name: str) -> str:
    return f"usage/{name}.html"
