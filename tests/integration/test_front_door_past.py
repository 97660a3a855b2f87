"""The pages of past days at the front door: a sync on another host sends them, and a person's browser uses them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser

from dicom_worklist.settings import Config, Pacs
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.past import pages, write
from support import browser, inside, sample_day
from support.browser import Scheme, Visitor
from support.front_door import DOOR, OTHER, Door, door

PEOPLE = {"vera": "viewer", "olga": "operator", "paul": "page"}
READER = "worklist-reader"
FOLDER = "/var/log/front-door/page"
DAYS = 20


@dataclass(frozen=True)
class Sent:
    """A front door, and the site whose runs send their pages there."""

    front_door: Door
    config: Config

    def status(self, who: str, path: str, *options: str) -> int:
        return self.front_door.ask(OTHER, f"/worklist/past/{path}", "-u", f"{who}:right", *options)

    @property
    def there(self) -> list[str]:
        """The pages in the folder."""
        return inside.run(self.front_door.container, "ls", f"{FOLDER}/past").stdout.decode().split()

    def update(self, now: datetime) -> None:
        assert self.config.status
        write.update(self.config, self.config.status, now)


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    folder, state = tmp_path_factory.mktemp("past"), tmp_path_factory.mktemp("state")
    people = [{"name": name, "role": role} for name, role in PEOPLE.items()]
    given = {"orthanc_page_dir": "/somewhere", "__front_door_page": FOLDER, "__front_door_sync_elsewhere": True}
    (state / "password").write_text("right\n")
    for ahead in range(DAYS):
        day = sample_day.DAY + timedelta(days=ahead)
        booked = [sample_day.booked(100 * ahead + number, f"{9 + number:02}:00", day=day) for number in range(8)]
        booked.append(sample_day.booked(100 * ahead + 9, "20:00", day=day, title=sample_day.HOSTILE))
        studies = [msgspec.structs.replace(sample_day.study(1, booked[0]), orthanc_id="zip")] if ahead == 0 else []
        now = sample_day.NOW + timedelta(days=ahead)
        history.record(state / "status.history.sqlite", now, News(booked, studies), 400)
    with door(folder, dict.fromkeys([*PEOPLE, READER], "right"), front_door_people=people, **given) as found:
        inside.run(found.container, "install", "-d", "-m", "777", FOLDER)
        pacs = Pacs(
            url=f"http://{DOOR}:8080",
            user=READER,
            password_file=str(state / "password"),
            page="/worklist/index.html",
        )
        site = sample_day.config()
        assert site.status
        status = msgspec.structs.replace(site.status, state=str(state / "status.json"))
        yield Sent(found, msgspec.structs.replace(site, pacs=pacs, status=status))


@pytest.fixture(scope="module")
def all_sent(sent: Sent) -> Sent:
    for _ in range(DAYS // write.MOST + 2):
        sent.update(sample_day.NOW + timedelta(days=DAYS))
    return sent


def test_the_sync_sends_them_and_a_person_with_any_role_sees_them(all_sent: Sent) -> None:
    days = [f"{sample_day.DAY + timedelta(days=ahead)}.html" for ahead in range(DAYS)]
    assert all_sent.there == [*days, "index.html"]
    for who in PEOPLE:
        for page in ("index.html", days[0]):
            assert all_sent.status(who, page) == 200, (who, page)
    assert all_sent.status(READER, "index.html") == 403
    assert all_sent.front_door.ask(OTHER, "/worklist/past/index.html") == 401
    written_down = [line for line in all_sent.front_door.audit if line["status"] < 300]
    assert written_down == [], "a look, and what the sync does on its own"


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_no_person_can_change_them(who: str, method: str, all_sent: Sent) -> None:
    assert all_sent.status(who, "index.html", "-X", method, "-d", "x") == 403
    assert "index.html" in all_sent.there


def test_who_may_see_images_opens_them_from_there(all_sent: Sent) -> None:
    study = "/studies/4f9c1d2e-4f9c1d2e-4f9c1d2e-4f9c1d2e-4f9c1d2e"
    before = len(all_sent.front_door.audit)
    for who, status in (("vera", 200), ("olga", 200)):
        assert all_sent.front_door.ask(OTHER, f"{study}/view", "-u", f"{who}:right") == status
    assert len(all_sent.front_door.audit) == before, "a list of series is a look"
    for path in ("view", "archive"):
        assert all_sent.front_door.ask(OTHER, f"{study}/{path}", "-u", "paul:right") == 403


@pytest.mark.parametrize("path", ["x.html", "2026-11-24.html/x", "2026-11-24.js", "a/2026-11-24.html", "../x.html", ""])
def test_the_sync_sends_nothing_else(path: str, all_sent: Sent) -> None:
    assert all_sent.status(READER, path, "--path-as-is", "-X", "PUT", "-d", "x") == 403
    assert all_sent.status(READER, path, "--path-as-is", "-X", "DELETE") == 403


def test_a_year_of_lines_is_not_too_much(all_sent: Sent, tmp_path: Path) -> None:
    large = "x" * 8_000_000
    host = write.Host(all_sent.config.pacs or pytest.fail(), "/worklist/index.html")
    host.put("2026-01.html", large.encode())
    host.remove("2026-01.html")
    host.remove("2026-01.html")  # it is gone already
    assert "2026-01.html" not in all_sent.there


def test_they_are_sent_small(all_sent: Sent) -> None:
    url = f"http://{DOOR}:8080/worklist/past/index.html"
    line = ["curl", "-s", "-u", "vera:right", "-w", "%{size_download}", "-o", "/dev/null", url]
    whole, small = (int(all_sent.front_door.run(OTHER, *line, *more)) for more in ((), ("--compressed",)))
    assert small < whole / 2


def test_what_is_older_than_the_history_goes_there_too(all_sent: Sent) -> None:
    assert all_sent.config.status
    short = msgspec.structs.replace(all_sent.config.status, history_days=DAYS - 5)
    Sent(all_sent.front_door, msgspec.structs.replace(all_sent.config, status=short)).update(
        sample_day.NOW + timedelta(days=DAYS)
    )
    assert all_sent.there[0] == "2026-11-29.html"
    for _ in range(DAYS // write.MOST):  # with 400 days they are made again
        all_sent.update(sample_day.NOW + timedelta(days=DAYS))
    assert all_sent.there[0] == "2026-11-24.html"


def test_a_folder_that_was_lost_is_filled_again_with_the_next_day(all_sent: Sent) -> None:
    inside.run(all_sent.front_door.container, "rm", "-r", f"{FOLDER}/past")
    with history.opened(history.path_beside(all_sent.config.status.state if all_sent.config.status else "")) as opened:
        opened.execute("DELETE FROM page WHERE day = ?", (sample_day.DAY.isoformat(),))  # as a change of it does
    for _ in range(DAYS // write.MOST + 1):
        all_sent.update(sample_day.NOW + timedelta(days=DAYS))
    assert len(all_sent.there) == DAYS + 1


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


def visitor(chromium: Browser, page: str) -> Visitor:
    return Visitor(chromium, f"http://{DOOR}:8080/worklist/past/{page}", ("vera", "right"))


def faults(seen: browser.Visit) -> list[str]:
    """Return what went wrong; one of its headers needs HTTPS."""
    return [fault for fault in seen.faults if "Cross-Origin-Opener-Policy" not in fault]


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
@pytest.mark.parametrize("page", ["index.html", "2026-11-24.html"])
def test_everybody_can_read_them_on_any_screen(
    page: str, width: int, scheme: Scheme, all_sent: Sent, chromium: Browser
) -> None:
    with browser.visit(visitor(chromium, page), width=width, scheme=scheme) as seen:
        if page == "index.html":
            seen.page.get_by_role("searchbox").fill("ses-01")
            assert seen.page.get_by_role("status").inner_text().startswith("180 sessions, the newest 100 of them")
        widths = seen.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1], widths
        found = Axe().run(seen.page)
        assert not found.violations_count, found.generate_report()
        assert seen.requests == [f"http://{DOOR}:8080/worklist/past/{page}"]
        assert faults(seen) == []


def test_without_a_script_there_are_the_days(all_sent: Sent, chromium: Browser) -> None:
    with browser.visit(visitor(chromium, "index.html"), script=False) as seen:
        assert "Find a session" not in seen.text
        seen.page.get_by_role("link", name="24 November, 9 sessions").click()
        assert "Tuesday 24 November 2026" in seen.text
        assert "3010000.01_sub-000_ses-01" in seen.text


def test_a_day_that_was_made_before_it_had_links_is_found(chromium: Browser, tmp_path: Path) -> None:
    """After an update a day is made again only after hours."""
    before = b'["2026-11-23", ["PRISMA"], ["QA"], [["09:00", 0, "sub-001", 0, "1", "arrived"]]]'
    (tmp_path / "index.html").write_text(pages.index_page("DCCN", [before]))
    with browser.opened(chromium, (tmp_path / "index.html").as_uri(), sample_day.NOW) as opened:
        opened.get_by_role("searchbox").fill("sub-001")
        assert opened.get_by_role("status").inner_text() == "1 session"
        assert opened.locator("#found a").all_inner_texts() == ["2026-11-23 09:00"]


def test_hostile_text_is_text_in_the_search(all_sent: Sent, chromium: Browser) -> None:
    with browser.visit(visitor(chromium, "index.html")) as seen:
        seen.page.get_by_role("searchbox").fill("ONERROR 2026-11-25")
        row = seen.page.locator("#found li")
        assert row.count() == 1
        assert " ".join(sample_day.HARMLESS.split()) in row.inner_text()
        assert seen.page.locator("#found img, #found script").count() == 0
        seen.page.get_by_role("searchbox").fill("<script>alert(9)</script>")
        assert (
            seen.page.get_by_role("status").inner_text()
            == "0 sessions; those of today and tomorrow are on the page of today"
        )
        assert faults(seen) == []


def test_the_keyboard_alone_finds_a_session(all_sent: Sent, chromium: Browser) -> None:
    with browser.visit(visitor(chromium, "index.html")) as seen:
        for key in ("Tab", "Tab"):
            seen.page.keyboard.press(key)
        seen.page.keyboard.type("2026-11-24 09:00")
        seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_url("**/2026-11-24.html#s0")


def test_a_session_that_was_found_leads_to_its_images(all_sent: Sent, chromium: Browser) -> None:
    """Within what the front door lets the page do: one click from the search to the images."""
    with browser.visit(visitor(chromium, "index.html")) as seen:
        seen.page.get_by_role("searchbox").fill("sub-000 ses-01 2026-11-24")
        seen.page.get_by_role("link", name="images of 3010000.01_sub-000_ses-01", exact=True).click()
        assert seen.page.url.endswith("/studies/zip/view")
        seen.page.go_back()
        with seen.page.expect_download(timeout=10_000) as download:
            seen.page.get_by_role("link", name="download of 3010000.01_sub-000_ses-01", exact=True).click()
        assert download.value.url.endswith("/studies/zip/archive")
        assert faults(seen) == []


def test_a_day_leads_to_the_images_of_a_session(all_sent: Sent, chromium: Browser) -> None:
    with browser.visit(visitor(chromium, "index.html")) as seen:
        seen.page.get_by_role("searchbox").fill("sub-000 ses-01 2026-11-24")
        seen.page.get_by_role("link", name="2026-11-24 09:00").click()
        card = seen.page.locator(":target")
        assert "sub-000_ses-01" in card.inner_text()
        with seen.page.expect_download(timeout=10_000) as download:
            card.get_by_role("link", name="download").click()
        assert download.value.url.endswith("/studies/zip/archive")
        seen.page.go_back()
        assert seen.page.get_by_role("searchbox").input_value() == "sub-000 ses-01 2026-11-24"
        assert faults(seen) == []
