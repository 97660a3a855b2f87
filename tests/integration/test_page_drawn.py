"""What Chromium draws of the page, from a quiet day to one of twelve scanners: measured, on screens and on paper."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from dicom_worklist.bookings import printable
from dicom_worklist.status import page
from dicom_worklist.status.overview import Overview
from support import browser, busy_day, geometry, sample_day
from support.browser import Scheme
from support.sample_day import NOW

#: The width and the height of a telephone, a tablet, a small and a usual screen, and a large one.
SCREENS = [(390, 844), (768, 1024), (1100, 800), (1440, 900), (2560, 1440)]
#: A sheet of A4, within its margins.
PAPER = {"width": 718, "height": 1047}
NIGHT, EVENING = timedelta(hours=-12), timedelta(hours=8)


def days() -> dict[str, Overview]:
    """Return the days that are measured: hostile text, long subjects, and each hour at which somebody looks."""
    busy = {name: busy_day.busy(name) for name in busy_day.DAYS}
    return busy | {
        "everything": sample_day.rich(),
        "long subjects": busy_day.busy("eight", subjects="HC-00{:06}"),
        "at night": busy_day.busy("eight", NOW + NIGHT),
        "in the evening": busy_day.busy("eight", NOW + EVENING),
    }


DAYS = days()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


SCHEMES: list[tuple[str, Scheme]] = [
    *((name, "light") for name in DAYS),
    *((name, "dark") for name in busy_day.DAYS),
]


@pytest.fixture(scope="module", params=SCHEMES, ids=" ".join)
def shown(
    request: pytest.FixtureRequest, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """One of the days, open at the time at which it was written, in light or dark colours."""
    name, scheme = request.param
    seen = DAYS[name]
    file = tmp_path_factory.mktemp("page") / "index.html"
    file.write_text(page.render(seen))
    with look(chromium, file, seen, scheme) as opened:
        yield opened


def look(chromium: Browser, file: Path, seen: Overview, scheme: Scheme = "light") -> Any:
    return browser.opened(chromium, file.as_uri(), seen.now, scheme)


@pytest.mark.parametrize(("width", "height"), SCREENS)
def test_nothing_is_cut_off_and_the_first_screen_has_the_worst_and_the_present(
    shown: Page, width: int, height: int
) -> None:
    shown.set_viewport_size({"width": width, "height": height})
    found = geometry.measured(shown)
    faults = {name: found[name] for name in ("clipped", "overlapping", "blocks", "sideways")}
    assert faults == {"clipped": [], "overlapping": [], "blocks": [], "sideways": 0}
    assert [title for title in found["mute"] if "<script>" not in title] == []  # which is longer than any name
    assert found["now"] <= height
    assert width <= 704 or found["list"] <= height  # on a telephone it begins there
    assert found["worst"] is None or found["worst"] <= height
    assert width <= 704 or found["drawn"] > 0


def test_the_hours_stay_when_one_scrolls(shown: Page) -> None:
    shown.set_viewport_size({"width": 1100, "height": 400})
    last = shown.locator("#today .track").last
    last.evaluate("one => scrollTo(0, one.getBoundingClientRect().bottom + scrollY - 150)")
    head, hours = (shown.locator(what).bounding_box() for what in ("header", "#today .times >> nth=-1 >> .hours"))
    shown.evaluate("scrollTo(0, 0)")
    assert head
    assert hours
    assert 0 <= hours["y"] - head["y"] - head["height"] < 60


def test_a_sheet_for_each_scanner_of_today_and_no_more(shown: Page, request: pytest.FixtureRequest) -> None:
    name, _ = request.node.callspec.params["shown"]
    today = DAYS[name].today
    shown.set_viewport_size(PAPER)  # type: ignore[arg-type]
    shown.emulate_media(media="print")
    found = geometry.measured(shown)
    sheets = shown.pdf(format="A4", prefer_css_page_size=True)
    text = shown.inner_text("body")
    colours = shown.evaluate(
        "[...new Set([...document.querySelectorAll('body, h3, .card, .card *')].filter(one => one.checkVisibility())"
        ".flatMap(one => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]))]"
    )
    shown.emulate_media(media="screen")
    assert (found["clipped"], found["overlapping"], found["sideways"]) == ([], [], 0)
    assert len(re.findall(rb"/Type\s*/Page\b", sheets)) == sum(bool(lane.lines) for lane in today.lanes)
    assert {*colours} <= {"rgb(0, 0, 0)", "rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
    for line in today.lines:
        assert " ".join(printable(line.booked.patient_name).split()) in " ".join(text.split())
    assert "Yesterday" not in text


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", [390, 1100])
def test_everybody_can_read_it(chromium: Browser, tmp_path: Path, width: int, scheme: Scheme) -> None:
    file, seen = tmp_path / "index.html", DAYS["everything"]
    file.write_text(page.render(seen, [("Find earlier", "./past/index.html")]))
    with look(chromium, file, seen, scheme) as opened:
        opened.set_viewport_size({"width": width, "height": 800})
        for details in opened.locator("details").all():
            details.evaluate("one => one.open = true")
        found = Axe().run(opened)
        assert not found.violations_count, found.generate_report()


def test_what_is_odd_is_never_green_and_has_a_mark_and_a_count(chromium: Browser, tmp_path: Path) -> None:
    seen = DAYS["eight"]
    file = tmp_path / "index.html"
    file.write_text(page.render(seen))
    colours = "one => { const of = getComputedStyle(one); return [of.borderTopColor, of.backgroundColor] }"
    with look(chromium, file, seen) as opened:
        green, odd = (opened.locator(f"#today .block.{state}").first.evaluate(colours) for state in ("arrived", "odd"))
        assert green[0] != odd[0]
        assert green[1] != odd[1]
        marks = opened.locator("#today .block.odd .mark").all_inner_texts()
        assert {*marks} <= {"◆", ""}
        assert "◆" in marks
        assert opened.locator("#today .counts .odd").inner_text().split() == ["◆", f"{len(marks)}", "odd", "today"]


def test_the_keyboard_alone_reaches_all_of_it(chromium: Browser, tmp_path: Path) -> None:
    """In the order in which it is read: the days, the problems, the counts, the time line, the bookings."""
    seen = DAYS["quiet-3"]
    file = tmp_path / "index.html"
    file.write_text(page.render(seen))
    with look(chromium, file, seen) as opened:
        places = []
        for _ in range(60):
            opened.keyboard.press("Tab")
            places.append(
                opened.evaluate(
                    "(() => { const one = document.activeElement, outline = getComputedStyle(one).outlineWidth; "
                    "return [one.closest('nav, .verdict, .counts, .times, .lanes')?.className "
                    "|| one.closest('nav')?.nodeName || '', outline] })()"
                )
            )
        order = list(dict.fromkeys(place.split()[0] for place, _ in places if place))
        assert order[:4] == ["NAV", "verdict", "counts", "times"]
        assert {outline for place, outline in places if place} == {"3px"}
        opened.locator(".verdict summary").first.focus()
        opened.keyboard.press("Enter")
        assert not opened.locator(".verdict details").first.evaluate("one => one.open")


def test_a_count_shows_the_bookings_of_its_state_alone(chromium: Browser, tmp_path: Path) -> None:
    seen = replace(DAYS["eight"])
    file = tmp_path / "index.html"
    file.write_text(page.render(seen))
    odd = sum(line.state == "odd" for day in (seen.today, seen.yesterday, seen.tomorrow) for line in day.lines)
    with look(chromium, file, seen) as opened:
        count = opened.locator("#today .counts .odd a")
        everything = opened.locator(".lanes .card:visible").count()
        for press in (count.click, lambda: count.press("Enter"), lambda: count.press(" ")):
            press()
            assert opened.locator(".lanes .card:visible").count() == odd
            assert count.get_attribute("aria-pressed") == "true"
            assert opened.get_by_role("status").inner_text().startswith("Only what is odd is shown.")
            opened.get_by_role("button", name="Show all").click()
            assert opened.locator(".lanes .card:visible").count() == everything


def test_a_count_leads_to_the_first_of_its_state_without_a_script(chromium: Browser, tmp_path: Path) -> None:
    seen = DAYS["eight"]
    file = tmp_path / "index.html"
    file.write_text(page.render(seen))
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(file.as_uri())
    opened.locator("#today .counts .missing a").click()
    target = opened.locator(opened.url.partition("#")[2].join("# ").strip())
    assert "missing" in target.inner_text()
    assert target.bounding_box()["y"] < 720  # type: ignore[index]
    context.close()
