"""The pages of usage in a browser: accessible, and whole, at every width, light and dark."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser

from dicom_worklist.status.usage import pages
from dicom_worklist.status.usage.figures import Entry, Estimate, Figures, total
from dicom_worklist.status.usage.periods import Per, period
from support.browser import SCHEMES, Scheme, chromium
from support.sample_day import HOSTILE

DAY, MINUTE = date(2026, 11, 24), timedelta(minutes=1)
WIDTHS = (390, 1440)
#: No text of the picture may be cut off by its edge.
CUT_OFF = """() => {
    const edge = document.querySelector("svg").getBoundingClientRect();
    return [...document.querySelectorAll("svg text")].filter(text => {
        const box = text.getBoundingClientRect();
        return box.left < edge.left || box.right > edge.right || box.top < edge.top || box.bottom > edge.bottom;
    }).map(text => text.textContent);
}"""


def entries(day: date) -> list[Entry]:
    """Return a day of eight scanners, the names of which are as long as they can be."""
    length = (day.day % 7 + 1) * 50 * MINUTE
    figures = Figures(
        sessions=9,
        booked=length,
        scanned=Estimate(length / 2, length * 0.8, length),
        idle=Estimate(MINUTE, length / 5, length / 2),
        overrun=Estimate(MINUTE * 0, 10 * MINUTE, 12 * MINUTE),
        no_shows=1,
        unclear=1,
    )
    names = [f"SCANNER_NAME_16_{at}" for at in range(8)]
    return [Entry(day, name, HOSTILE, f"Lovelace^Ada{at}", figures) for at, name in enumerate(names)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("name", ["day", "week", "month", "index"])
def test_it_is_accessible_and_whole(name: str, browser: Browser, tmp_path: Path) -> None:
    if name == "index":
        sums = total([entry.figures for entry in entries(DAY)])
        months = {date(2026, month, 1): sums for month in range(1, 13)}
        weeks = {period("week", DAY - timedelta(weeks=number)).first: sums for number in range(12)}
        html = pages.index_page("DCCN", months, weeks)
    else:
        pers: dict[str, Per] = {"day": "day", "week": "week", "month": "month"}
        one = period(pers[name], DAY)
        html = pages.period_page("DCCN", one, {day: entries(day) for day in one.days}, {"before": one.next(-1)})
    path = tmp_path / "page.html"
    path.write_text(html)
    for width in WIDTHS:
        for scheme in SCHEMES:
            assert faults(browser, path, width, scheme) == [], (width, scheme)


def faults(browser: Browser, path: Path, width: int, scheme: Scheme) -> list[object]:
    """Return what is not accessible, cut off or wider than the screen, and what the browser complains of."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found: list[object] = []
    page.on("console", lambda message: found.append(message.text))
    page.goto(path.as_uri())
    found += [one["id"] for one in Axe().run(page).response["violations"]]
    found += page.evaluate(CUT_OFF)
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("wider than the screen")
    page.close()
    return found
