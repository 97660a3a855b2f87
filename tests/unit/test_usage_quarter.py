"""A quarter with known truth: each figure of usage is right to the minute, or an estimate whose bounds hold."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from dicom_worklist.status.usage import report
from dicom_worklist.status.usage.figures import By, Estimate, Figures
from dicom_worklist.status.usage.periods import Per, period
from dicom_worklist.status.usage.report import COUNTS, ESTIMATES, Usage
from support.calendar import Calendar
from support.configuration import changed, settings, write_yaml
from support.quarter import DAYS, FIRST, KINDS, NO_RUN, Quarter
from support.timed_site import Site

LAST = FIRST + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quarter]:
    """The quarter, played to its end."""
    root = tmp_path_factory.mktemp("quarter")
    folder = root / "wlbroker/WLBROKER"
    folder.mkdir(parents=True)
    (folder / "lockfile").touch()

    def configure(changes: dict[str, object]) -> Path:
        return write_yaml(root / "config.yml", changed(settings(root / "calendar.sqlite", folder.parent), changes))

    site = Site(Calendar(root / "calendar.sqlite"), configure, folder, root / "field")
    quarter = Quarter(site)
    quarter.plan()
    try:
        for site.now in quarter.play():
            pass
        yield quarter
    finally:
        site.pacs.close()


@pytest.fixture(scope="module")
def usage(quarter: Quarter) -> Usage:
    config = quarter.site.config
    assert config.status is not None
    return report.read(config, config.status, FIRST, LAST, quarter.site.now)


def truth(quarter: Quarter, by: By, per: Per) -> tuple[dict[tuple[str, str], Counter[str]], set[tuple[str, str]]]:
    """Return the true figures, and the rows in which no image shows when a scan ended."""
    rows: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    vague = set()
    for one, figures in quarter.facts():
        key = (period(per, one.day).label, getattr(one, by))
        rows[key].update(figures)
        if not one.prompt:
            vague.add((period(per, one.day).label, one.scanner) if by == "scanner" else key)
    return dict(rows), vague


def wrong(usage: Usage, quarter: Quarter, by: By, per: Per) -> list[str]:
    """Return the figures that are not the truth, and the bounds that don't hold."""
    found = {key: report.flat(figures) for key, figures in usage.rows(by, per).items()}
    true, vague = truth(quarter, by, per)
    said = [f"{key}: there is a row" for key in found.keys() - true.keys()]
    for key, row in true.items():
        ours = found.get(key) or report.flat(Figures())
        said += [
            f"{key} {name}: {ours[name]}, and the truth is {row[name]}"
            for name in ("sessions", "booked", *COUNTS)
            if ours[name] != row[name]
        ]
        for name in ESTIMATES:
            if not ours[f"{name}_at_least"] <= row[name] <= ours[f"{name}_at_most"]:
                said.append(
                    f"{key} {name}: {ours[f'{name}_at_least']} to {ours[f'{name}_at_most']}, and it is {row[name]}"
                )
            # images that come at once are a minute late
            if key not in vague and abs(ours[name] - row[name]) > row["sessions"] + row["unbooked_scans"]:
                said.append(f"{key} {name}: {ours[name]}, and the truth is {row[name]}")
    return said


def test_everything_happens_in_the_quarter(quarter: Quarter) -> None:
    assert {kind for kind, count in quarter.happened.items() if count >= 5} >= KINDS.keys()
    assert sum(quarter.happened.values()) > 1000


@pytest.mark.parametrize("per", ["day", "week", "month"])
@pytest.mark.parametrize("by", ["scanner", "project", "person"])
def test_every_figure_is_true_or_has_bounds_that_hold(usage: Usage, quarter: Quarter, by: By, per: Per) -> None:
    assert wrong(usage, quarter, by, per) == []


@pytest.mark.parametrize("name", ["sessions", "booked", "scanned", "idle", "overrun", *COUNTS])
def test_a_figure_that_is_wrong_is_seen(usage: Usage, quarter: Quarter, name: str) -> None:
    [one, *_] = [one for one in usage.entries if one.figures.booked and not one.figures.unclear]
    times = {"booked": timedelta(minutes=1), **dict.fromkeys(ESTIMATES, Estimate(*[timedelta(hours=20)] * 3))}
    more = replace(one, figures=Figures(**{name: times.get(name, 1)}))  # type: ignore[arg-type]
    assert wrong(replace(usage, entries=[*usage.entries, more]), quarter, "scanner", "day")


def test_the_days_without_a_run_are_named(usage: Usage) -> None:
    assert [*usage.unknown] == [date(2026, 12, 19)], "of the 20th the run of the next day knows"
    assert NO_RUN[1] == date(2026, 12, 20)
