"""What Orthanc Explorer has in addition: all series of a study in the web viewer, and the way back to its booking."""

from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
import requests
from playwright.sync_api import Browser, Page, Route
from pydicom.uid import UID

from support import browser, role_pacs
from support.images import synthetic_image
from support.sample_day import HOSTILE
from support.waiting import wait_until

SUBNET = "198.18.221.0/24"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[role_pacs.Pacs]:
    with role_pacs.pacs(tmp_path_factory.mktemp("explorer"), "test-explorer", SUBNET, []) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def page(chromium: Browser, pacs: role_pacs.Pacs) -> Iterator[Page]:
    user, password = pacs.login
    context = chromium.new_context(http_credentials={"username": user, "password": password})
    context.set_default_timeout(10_000)
    yield context.new_page()
    context.close()


def ask(pacs: role_pacs.Pacs, path: str, **more: object) -> requests.Response:
    return requests.request(str(more.pop("method", "GET")), pacs.url + path, auth=pacs.login, timeout=30, **more)  # type: ignore[arg-type]


@pytest.fixture
def study(pacs: role_pacs.Pacs, tmp_path: Path) -> str:
    """A study of two series, of 24 November 2020, with hostile names."""
    for number, description in ((10, "T1"), (2, HOSTILE)):
        path = synthetic_image(tmp_path / f"{number}.dcm")
        image = pydicom.dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = UID("1.2.3"), UID(f"1.2.3.{number}")
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{number}.1")
        image.StudyDate, image.PatientName = "20201124", "<script>document.title = 'x'</script>"
        image.PatientID, image.SeriesNumber = "phantom & co", number
        image.SeriesDescription = "".join(letter for letter in description if letter.isprintable())[:64]
        image.save_as(path)
        answer = ask(pacs, "/instances", method="POST", data=path.read_bytes())
        answer.raise_for_status()
    found: str = answer.json()["ParentStudy"]
    return found


def open_study(page: Page, pacs: role_pacs.Pacs, study: str) -> None:
    """Open the page of a study; Chromium drops what it loads when a container of another test comes or goes."""

    def whole() -> None:
        failed: list[str] = []
        page.on("requestfailed", lambda request: failed.append(request.failure or ""))
        page.goto("about:blank")
        page.goto(f"{pacs.url}/app/explorer.html#study?uuid={study}")
        assert not [one for one in failed if "ERR_NETWORK_CHANGED" in one]

    wait_until(whole)


def test_all_series_of_a_study_are_in_the_viewer(pacs: role_pacs.Pacs, study: str, page: Page) -> None:
    open_study(page, pacs, study)
    page.get_by_role("link", name="Look at all series").click()
    page.wait_for_url(f"**/studies/{study}/view")
    assert page.locator("li").all_inner_texts()[0].startswith("2 · <script>alert")
    assert page.locator("li").all_inner_texts()[1] == "10 · T1 · MR · 1 image"
    assert page.locator("h1").inner_text() == "<script>document.title = 'x'</script>"
    assert page.locator("script, img").count() == 0
    first, second = (link.get_attribute("href") or "" for link in page.locator("li a").all())
    assert page.locator("iframe").get_attribute("src") == first
    series = second.partition("=")[2]
    with page.expect_response(f"**/web-viewer/series/{series}*") as answer:
        page.locator("li a").nth(1).click()
    assert answer.value.ok
    assert page.frame_locator("iframe").locator("canvas").count()


def test_a_study_that_is_not_there_has_no_page(pacs: role_pacs.Pacs, study: str) -> None:
    assert ask(pacs, f"/studies/{study}/view").ok
    assert ask(pacs, f"/studies/{study}/view", method="POST").status_code == 405
    for path in ("/studies/00000000-00000000-00000000-00000000-00000000/view", "/studies/x/view"):
        assert ask(pacs, path).status_code == 404


def pages(page: Page, *there: str) -> list[str]:
    """Let these pages of the worklist be there, and no other; return what is opened of them."""
    opened: list[str] = []

    def answer(route: Route) -> None:
        path = route.request.url.partition("/worklist/")[2].partition("#")[0]
        opened.extend([route.request.url.partition("/worklist/")[2]] if route.request.method == "GET" else [])
        route.fulfill(status=200 if path in there else 403, body="a page")

    page.route("**/worklist/**", answer)
    return opened


@pytest.mark.parametrize(
    ("day", "opened"),
    [
        pytest.param(["past/2020-11-24.html"], "past/2020-11-24.html#{study}", id="its day"),
        pytest.param([], "past/index.html#q=phantom%20%26%20co", id="the search, where its day has none"),
    ],
)
def test_a_study_leads_back_to_its_booking(
    day: list[str], opened: str, pacs: role_pacs.Pacs, study: str, page: Page
) -> None:
    pages(page, "past/index.html", "index.html", *day)
    open_study(page, pacs, study)
    page.get_by_role("link", name="Show its booking").click()
    page.wait_for_url("**/worklist/**")
    assert page.url.partition("/worklist/")[2] == opened.format(study=study)


def test_a_site_without_a_page_has_no_way_there(pacs: role_pacs.Pacs, study: str, page: Page) -> None:
    pages(page)
    open_study(page, pacs, study)
    page.get_by_role("link", name="Look at all series").wait_for()
    assert not page.get_by_text("Show its booking").is_visible()
