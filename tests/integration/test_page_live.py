"""The open page in Chromium: it becomes the new one, keeps what its reader does, and says when it can't.

It is served as the front door serves it: with the same policy. That is read from the role's template.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from jinja2 import Template
from playwright.sync_api import Browser, Page

from dicom_worklist.status import page
from dicom_worklist.status.overview import Overview, overview
from support import browser, busy_day, sample_day
from support.sample_day import NOW
from support.web import Asked, Reply, WebServer, serving

ROLE = Path(__file__).parents[2] / "roles/front_door"
NGINX = (ROLE / "templates/nginx.conf.j2").read_text(encoding="utf-8")
POLICY = re.search(r'^ *unix:/tmp/page.sock: "(default-src.*)";$', NGINX, re.MULTILINE)
MINUTE = timedelta(minutes=1)


class Site:
    """A front door with the page, which tests exchange, break and repair."""

    def __init__(self) -> None:
        assert POLICY
        self.policy = Template(POLICY[1]).render(yaml.safe_load((ROLE / "vars/main.yml").read_text()))
        self.html = ""
        self.status = 200

    def answer(self, asked: Asked) -> Reply:
        policy = self.policy.replace("$outer_scheme://$http_host", f"http://{asked.headers['Host']}")
        headers = {"Content-Type": "text/html", "Content-Security-Policy": policy, "Cache-Control": "no-store"}
        return Reply(self.html if self.status == 200 else "Log in.", self.status, headers)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


@contextmanager
def visited(chromium: Browser, site: Site) -> Iterator[tuple[Page, WebServer]]:
    with serving(site.answer) as server, browser.opened(chromium, f"{server.url}/worklist/index.html", NOW) as opened:
        yield opened, server


def wait(opened: Page, minutes: int = 1) -> None:
    """Let minutes pass by the visitor's clock, and what they start come to its end."""
    with opened.expect_response("**/index.html"):
        opened.clock.run_for(minutes * 60_000)
    opened.wait_for_timeout(200)


def later(minutes: int, *, without: str = "") -> Overview:
    """Return the day some minutes later: a booking may have been cancelled, and a problem is new."""
    found = sample_day.found()
    now = NOW + minutes * MINUTE
    bookings = tuple(one for one in found.bookings if one.booking_id != without)
    new = sample_day.booked(77, "14:10", "SKYRA")
    found = msgspec.structs.replace(found, bookings=(*bookings, new), good=now, asked=now, began=now)
    return overview(sample_day.config(), found, now)


@pytest.fixture
def site() -> Site:
    site = Site()
    site.html = page.render(overview(sample_day.config(), sample_day.found(), NOW))
    return site


def test_the_open_page_follows_and_is_not_loaded_anew(chromium: Browser, site: Site) -> None:
    with visited(chromium, site) as (opened, server):
        opened.evaluate("window.mine = 'still here'")
        assert "sub-077" not in opened.inner_text("body")
        site.html = page.render(later(1, without="41012"))
        wait(opened)
        text = opened.inner_text("body")
        assert "sub-077" in text
        assert "sub-012" not in text
        assert "14:21:05" in text
        assert opened.evaluate("window.mine") == "still here"
        assert [asked.target for asked in server.asked if asked.target != "/favicon.ico"] == [
            "/worklist/index.html"
        ] * 2


def test_what_it_becomes_is_what_is_served(chromium: Browser, site: Site) -> None:
    """Element by element, but for what the reader opened and what the script says of the counts."""
    with visited(chromium, site) as (opened, _):
        for seen in (later(1), replace(later(2), problems=[]), busy_day.busy("quiet-3", NOW + 3 * MINUTE), later(4)):
            site.html = page.render(seen)
            wait(opened)
            same = opened.evaluate(
                """async (html) => {
                  const tidy = (main) => {
                    for (const one of main.querySelectorAll("*"))
                      for (const name of ["open", "role", "aria-pressed"]) one.removeAttribute(name);
                    return main.innerHTML;
                  };
                  const now = document.querySelector("main").cloneNode(true);
                  return tidy(now) === tidy(new DOMParser().parseFromString(html, "text/html").querySelector("main"));
                }""",
                site.html,
            )
            assert same


@pytest.mark.parametrize("gone", ["", "41001"])
def test_scroll_focus_and_what_is_opened_stay(chromium: Browser, site: Site, gone: str) -> None:
    with visited(chromium, site) as (opened, _):
        opened.set_viewport_size({"width": 390, "height": 700})
        details = opened.locator(".verdict details:not([open])").first
        name = details.get_attribute("id")
        details.evaluate("one => one.open = true")
        link = opened.locator("#today .card a").last
        link.focus()
        target = link.get_attribute("href")
        before = link.bounding_box()
        site.html = page.render(later(1, without=gone))
        wait(opened)
        assert opened.evaluate("document.activeElement.getAttribute('href')") == target
        after = opened.locator(":focus").bounding_box()
        assert before
        assert after
        assert abs(before["y"] - after["y"]) < 2
        assert opened.locator(f"#{name}").evaluate("one => one.open")


def test_the_place_that_is_looked_at_stays_also_without_focus(chromium: Browser, site: Site) -> None:
    with visited(chromium, site) as (opened, _):
        opened.set_viewport_size({"width": 390, "height": 700})
        card = opened.locator(".lanes .card").nth(9)
        opened.evaluate("y => scrollTo(0, y)", card.bounding_box()["y"] - 300)  # type: ignore[index]
        before = card.bounding_box()
        name = card.get_attribute("id")
        site.html = page.render(later(1, without="41002"))
        wait(opened)
        after = opened.locator(f"#{name}").bounding_box()
        assert before
        assert after
        assert abs(before["y"] - after["y"]) < 2


def test_a_filter_stays(chromium: Browser, site: Site) -> None:
    with visited(chromium, site) as (opened, _):
        opened.locator("#today .counts .odd a").click()
        shown = opened.locator(".lanes .card:visible").count()
        site.html = page.render(later(1))
        wait(opened)
        assert opened.locator(".lanes .card:visible").count() == shown
        assert opened.locator("#today .counts .odd a").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("status", [0, 401, 502])
def test_a_page_that_can_t_reach_its_server_says_so_and_looks_so(chromium: Browser, site: Site, status: int) -> None:
    with visited(chromium, site) as (opened, _):
        away = opened.locator("#away")
        colour = "getComputedStyle(document.querySelector('main')).filter"
        assert not away.is_visible()
        assert opened.evaluate(colour) == "none"
        site.status = status or 200
        if not status:
            opened.route("**/index.html", lambda route: route.abort())
        opened.clock.run_for(61_000)
        away.wait_for()
        assert re.search(r"can't reach its server since 1[34]:21, ", away.inner_text())
        assert opened.evaluate(colour) == "grayscale(1)"
        assert "sub-005" in opened.inner_text("body")  # what it knows stays
        opened.unroute("**/index.html")
        site.status, site.html = 200, page.render(later(3))
        wait(opened)
        assert not away.is_visible()
        assert opened.evaluate(colour) == "none"


def test_a_page_that_is_not_written_any_more_says_that_it_is_old(chromium: Browser, site: Site) -> None:
    with visited(chromium, site) as (opened, _):
        for _minute in range(6):
            wait(opened)
        assert opened.locator("#stale").is_visible()
        assert not opened.locator("#away").is_visible()


def test_a_new_version_of_the_page_is_loaded(chromium: Browser, site: Site) -> None:
    with visited(chromium, site) as (opened, _):
        opened.evaluate("window.mine = 'still here'")
        site.html = page.render(later(1)).replace("<script>", "<script>//")
        with opened.expect_navigation():
            opened.clock.run_for(61_000)
        assert opened.evaluate("window.mine") is None


@pytest.mark.parametrize(
    "attack",
    [
        "<script>document.title = 'taken'</script>",
        "<img src=x onerror=\"document.title = 'taken'\">",
        "<iframe src='/app/explorer.html'></iframe>",
        "<script src='evil.js'></script>",
    ],
)
def test_a_file_in_the_folder_runs_nothing_of_its_own(chromium: Browser, site: Site, attack: str) -> None:
    """Nor does what an open page becomes."""
    planted = site.html.replace("<main>", f"<main>{attack}")
    for first, second in ((planted, planted), (site.html, planted)):
        site.html = first
        with visited(chromium, site) as (opened, server):
            site.html = second
            wait(opened)
            assert opened.title() != "taken"
            assert {asked.target for asked in server.asked} <= {"/worklist/index.html", "/favicon.ico"}


def test_a_link_in_the_folder_sends_nothing_to_orthanc(chromium: Browser, site: Site) -> None:
    """`ping` is a POST with the login of who follows the link, and needs no script."""
    site.html = "<meta name=referrer content=same-origin><a href='index.html' ping='/tools/shutdown'>Today</a>"
    with visited(chromium, site) as (opened, server):
        opened.click("a")
        opened.wait_for_timeout(500)
        assert {asked.target for asked in server.asked} <= {"/worklist/index.html", "/favicon.ico"}


def test_without_a_script_it_is_loaded_anew_each_minute(chromium: Browser, site: Site) -> None:
    assert '<noscript><meta http-equiv="refresh" content="60"></noscript>' in site.html


def test_a_page_in_a_file_is_loaded_anew(chromium: Browser, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(site.html)
    with browser.opened(chromium, file.as_uri(), NOW) as opened:
        opened.evaluate("window.mine = 'still here'")
        with opened.expect_navigation():
            opened.clock.run_for(61_000)
        assert opened.evaluate("window.mine") is None
        assert not opened.locator("#away").is_visible()


def test_a_clock_that_is_behind_makes_no_page_of_the_future(chromium: Browser, site: Site) -> None:
    with serving(site.answer) as server, browser.opened(chromium, server.url, NOW - timedelta(minutes=5)) as opened:
        assert opened.locator("#stale").is_visible()
