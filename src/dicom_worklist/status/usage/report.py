"""The usage of some days, read from the history and summed up; as a table, JSON and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dicom_worklist.settings import Config, Status
from dicom_worklist.status import history
from dicom_worklist.status.evidence import ONE_DAY, Times
from dicom_worklist.status.usage.figures import By, Entry, Estimate, Figures, entries, tally
from dicom_worklist.status.usage.periods import Per, period
from dicom_worklist.status.usage.sessions import seen

#: A study is found for a booking, and a slot for a session, up to so many days apart.
APART = 2 * ONE_DAY
ESTIMATES = ("scanned", "idle", "overrun")
COUNTS = ("no_shows", "late_cancellations", "unbooked_scans", "rejected", "unclear", "without_end")
#: What a table calls some of them.
HEADINGS = {"late_cancellations": "cancelled late", "unbooked_scans": "unbooked", "without_end": "no end"}
#: What stands for the name of scans without a booking, and of bookings that name nobody.
NAMELESS = "(none)"
#: Every figure, in the order in which it is shown.
COLUMNS = (
    "sessions",
    "booked",
    *(column for name in ESTIMATES for column in (name, f"{name}_at_least", f"{name}_at_most")),
    *COUNTS,
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used from `first` to `last`, both included.

    `unknown` are days up to today of which no run saw the PACS; the history `begins` on a day, if it has one.
    """

    first: date
    last: date
    entries: Sequence[Entry]
    unknown: Sequence[date]
    today: date
    begins: date | None

    def rows(self, by: By, per: Per | None = None) -> dict[tuple[str, str], Figures]:
        """Return the figures of each period and name; without `per` the period is empty."""
        return tally(self.entries, lambda entry: (period(per, entry.day).label if per else "", getattr(entry, by)))

    @property
    def total(self) -> Figures:
        """The figures of all."""
        return tally(self.entries, lambda _: "").get("", Figures())


def read(config: Config, status: Status, first: date, last: date, now: datetime) -> Usage:
    """Return the usage of these days, as it is known at `now`.

    Raises:
        OSError, sqlite3.Error: the history can't be read.
    """
    path, zone = history.path_beside(status.state), ZoneInfo(config.site.timezone)
    times = Times(
        asked=now.astimezone(zone).replace(tzinfo=None),
        session=timedelta(minutes=status.session),
        missing_after=timedelta(minutes=status.missing_after),
        zone=zone,
    )
    titles = [scanner.ae_title for scanner in config.scanners]
    begins = history.begins(path, now, status.history_days)
    found: list[Entry] = []
    known: set[date] = set()
    for start, end in _months(first, last):
        chronicle = history.chronicle(path, start - APART, end + APART)
        known |= chronicle.asked.keys()
        found += [entry for entry in entries(seen(chronicle, titles, times)) if start <= entry.day <= end]
    today = times.asked.date()
    days = [first + number * ONE_DAY for number in range((min(last, today) - first).days + 1)]
    return Usage(first, last, found, [day for day in days if day not in known], today, begins)


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Return the months of these days, each with its first and its last day of them."""
    while first <= last:
        end = min((first.replace(day=1) + timedelta(days=31)).replace(day=1) - ONE_DAY, last)
        yield first, end
        first = end + ONE_DAY


def flat(figures: Figures) -> dict[str, int]:
    """Return the figures by the names of `COLUMNS`, times in minutes."""
    values = {"sessions": figures.sessions, "booked": figures.minutes}
    for name in ESTIMATES:
        estimate = getattr(figures, name)
        values |= {
            name: estimate.minutes,
            f"{name}_at_least": estimate.at_least,
            f"{name}_at_most": estimate.at_most,
        }
    return values | {name: getattr(figures, name) for name in COUNTS}


def as_dict(usage: Usage, by: By, per: Per | None) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "from": usage.first.isoformat(),
        "to": usage.last.isoformat(),
        "by": by,
        "rows": [
            ({"period": when} if per else {}) | {by: name} | flat(figures)
            for (when, name), figures in usage.rows(by, per).items()
        ],
        "total": flat(usage.total),
        "unknown_days": [day.isoformat() for day in usage.unknown],
    }


def as_csv(usage: Usage, by: By, per: Per | None) -> str:
    """Return what `--csv` prints (RFC 4180)."""
    out = io.StringIO()
    rows: Iterable[Mapping[str, Any]] = as_dict(usage, by, per)["rows"]
    writer = csv.DictWriter(out, [*(["period"] if per else []), by, *COLUMNS])
    writer.writeheader()
    writer.writerows({**row, by: _cell(str(row[by]))} for row in rows)
    return out.getvalue()


def _cell(name: str) -> str:
    """Return a name that a spreadsheet shows as text: what somebody typed is not a formula of theirs."""
    return f"'{name}" if name[:1] in {"=", "+", "-", "@", "\t", "\r"} else name


def as_table(usage: Usage, by: By, per: Per | None) -> tuple[str, dict[str, str], list[tuple[str, ...]]]:
    """Return the title, the headings with their styles, and the rows of a table, without the figures that are all 0."""
    figures = ["sessions", "booked", *ESTIMATES, *(HEADINGS.get(name, name.replace("_", " ")) for name in COUNTS)]
    rows = [((when, name or NAMELESS), [*shown(of_one)]) for (when, name), of_one in usage.rows(by, per).items()]
    used = [at for at in range(len(figures)) if any(of_one[at] != "0" for _, of_one in rows)]
    if len(rows) > 1:
        rows.append((("", "all"), [*shown(usage.total)]))
    headings = {**({"period": ""} if per else {}), by: "bold cyan", **dict.fromkeys((figures[at] for at in used), "")}
    begins = 0 if per else 1
    return (
        f"{usage.first} to {usage.last}, in minutes",
        headings,
        [(*names[begins:], *(of_one[at] for at in used)) for names, of_one in rows],
    )


def shown(figures: Figures) -> Iterator[str]:
    """Return the figures as people are shown them."""
    yield str(figures.sessions)
    yield str(figures.minutes)
    for name in ESTIMATES:
        yield estimated(getattr(figures, name))
    for name in COUNTS:
        yield str(getattr(figures, name))


def estimated(estimate: Estimate) -> str:
    """Return a time in minutes, and where no image proves it, its bounds."""
    if estimate.exact:
        return str(estimate.minutes)
    return f"≈ {estimate.minutes} ({estimate.at_least} to {estimate.at_most})"


def remarks(usage: Usage) -> Iterator[str]:
    """Return what people have to know about the figures."""
    yield "≈ is an estimate, with the least and the longest time that it can be: docs/usage.md."
    yield from _not_known(usage)
    if usage.last > usage.today:
        days = f"The days from {usage.today + ONE_DAY} on" if usage.first <= usage.today else "These days"
        yield f"{days} are still to come: what is booked may change."
    if unclear := usage.total.unclear:
        which, they, their = ("1 session", "it", "its") if unclear == 1 else (f"{unclear} sessions", "they", "their")
        yield (
            f"Of {which} it is not known, or not yet, whether {they} took place: {their} time is booked and nothing "
            "else."
        )


def _not_known(usage: Usage) -> Iterator[str]:
    """Return of which days nothing is known, and of which only what was booked."""
    if usage.begins is None:
        yield "The history is empty: nothing is known."
        return
    if usage.first < usage.begins:
        yield f"The history begins on {usage.begins}; before that nothing is known."
    if unknown := [day for day in usage.unknown if day >= usage.begins]:
        have = "has" if len(unknown) == 1 else "have"
        days = ", ".join(map(str, unknown[:5])) + (" and others" if len(unknown) > 5 else "")
        yield (f"{len(unknown)} of these days {have} no answer of the PACS, so what was scanned is not known: {days}.")
