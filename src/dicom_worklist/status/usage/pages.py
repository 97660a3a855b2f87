"""The pages of usage: a day, a week or a month, and the list of the months; HTML, each file whole in itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_worklist.status import oddities
from dicom_worklist.status.rendering import rendered
from dicom_worklist.status.usage.figures import Entry, Estimate, Figures, tally, total
from dicom_worklist.status.usage.periods import Per, Period, period
from dicom_worklist.status.usage.report import COUNTS, ESTIMATES, NAMELESS

#: The height of a picture of bars, and the width of the place for one.
HEIGHT, STEP = 160, 28
#: So many weeks are in the list.
WEEKS = 9
#: The counts that a table always has.
ALWAYS = {"no_shows", "late_cancellations", "unbooked_scans"}


@dataclass(frozen=True, slots=True)
class Bar:
    """The parts of a bar, from below: what each is, where it begins and how high it is."""

    label: str
    left: float
    parts: Sequence[tuple[str, float, float]]
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars beside each other; `top` is what the highest stands for, in hours, `foot` the room below for their names."""

    bars: Sequence[Bar]
    width: int
    top: int
    foot: int


def period_page(site: str, one: Period, days: Mapping[date, Sequence[Entry]], around: Mapping[str, Period]) -> str:
    """Return the page of a period; `around` are those that it leads to, by their relation to it.

    `days` are those of it that are known; each has a page.
    """
    entries = [entry for of_day in days.values() for entry in of_day]
    scanners, everything = tally(entries, lambda entry: entry.scanner), total([entry.figures for entry in entries])
    tables = [("scanner", scanners), ("project", _most(tally(entries, lambda entry: entry.project)))]
    if any(entry.person for entry in entries):
        tables.append(("person", _most(tally(entries, lambda entry: oddities.person(entry.person)))))
    if one.per == "day":
        chart = _chart(list(scanners.items()))
    else:
        sums = tally(entries, lambda entry: entry.day)
        tables.append(("day", {str(day): sums.get(day, Figures()) for day in days}))
        chart = _chart([(_day(day, one), sums.get(day, Figures())) for day in one.days])
    return rendered(
        "period.html.j2",
        site=site,
        one=one,
        around=around,
        tables=tables,
        all=everything,
        chart=chart,
        **_words(everything),
    )


def index_page(site: str, months: Mapping[date, Figures], weeks: Mapping[date, Figures]) -> str:
    """Return the page that lists the months and the latest weeks, with the figures of each, by their first days."""

    def rows(per: Per, sums: Mapping[date, Figures], most: int) -> list[tuple[Period, Figures]]:
        return [(period(per, day), sums[day]) for day in sorted(sums, reverse=True)[:most]]

    return rendered(
        "months.html.j2",
        site=site,
        tables=[("week", rows("week", weeks, WEEKS)), ("month", rows("month", months, len(months)))],
        chart=_chart([(period("month", day).label, months[day]) for day in sorted(months)[-24:]]),
        **_words(total([*months.values()])),
    )


def _most(sums: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return them in another order: what was scanned most is first."""
    return dict(sorted(sums.items(), key=lambda item: item[1].scanned.time, reverse=True))


def _words(everything: Figures) -> dict[str, object]:
    return {
        "ESTIMATES": ESTIMATES,
        # what is 0 everywhere and seldom isn't would only make the tables wider
        "counts": tuple(name for name in COUNTS if name in ALWAYS or getattr(everything, name)),
        "NAMELESS": NAMELESS,
        "HEIGHT": HEIGHT,
        "STEP": STEP,
        "clock": clock,
        "percent": _percent,
    }


def _day(day: date, one: Period) -> str:
    return f"{day:%a} {day.day}" if one.per == "week" else str(day.day)


def _chart(named: Sequence[tuple[str, Figures]]) -> Chart:
    """Return bars of what was scanned in its time, overran, and was idle."""
    spans = [
        (
            name or NAMELESS,
            (
                ("scanned", max(figures.scanned.time - figures.overrun.time, timedelta())),
                ("overrun", figures.overrun.time),
                ("idle", figures.idle.time),
            ),
        )
        for name, figures in named
    ]
    highest = max((sum((span for _, span in parts), timedelta()) for _, parts in spans), default=timedelta())
    top = max(-(-highest // timedelta(hours=1)), 1)
    bars = []
    for at, (name, parts) in enumerate(spans):
        foot, placed = float(HEIGHT), []
        for kind, span in parts:
            height = round(span / timedelta(hours=top) * HEIGHT, 1)
            foot = round(foot - height, 1)
            placed.append((kind, foot, height))
        text = ", ".join(f"{clock(span)} h {kind}" for kind, span in parts)
        bars.append(Bar(name, at * STEP + 3, placed, f"{name}: {text}"))
    longest = max((len(bar.label) for bar in bars), default=0)
    return Chart(bars, max(len(bars), 1) * STEP, top, 32 + 6 * longest)


def clock(span: timedelta) -> str:
    """Return a time as hours and minutes."""
    minutes = round(span / timedelta(minutes=1))
    return f"{minutes // 60}:{minutes % 60:02}"


def _percent(part: Estimate, whole: timedelta) -> str:
    return f"{part.time / whole:.0%}" if whole else "0%"
