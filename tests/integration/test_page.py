"""The page in Chromium, behind Orthanc's real login."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from dicom_worklist.status import page
from support import browser, live, sample_day
from support.browser import Scheme, Visitor

RICH = sample_day.rich()
#: What can be read on any screen: each state, each oddity, each day, each problem.
TEXTS = [
    "Worklist of DCCN", "the list has not been updated for 2 hours 5 minutes", "not since", "each run renews it",
    "1 in progress", "2 rejected", "on the console", "6 series, 1184 images", "study 2 in Orthanc",
    "There are 2 studies for this booking.", "The PatientID was edited", "It was scanned on SKYRA",
    "Studies without a booking", "Phantom^QA", "Yesterday", "sub-053_ses-01", "Tomorrow", "sub-063_ses-01",
    " ".join(sample_day.HARMLESS.split()),
]  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture
def visitor(chromium: Browser, site: live.Site) -> Iterator[Visitor]:
    """Somebody with Orthanc's password, on a day on which everything is there once."""
    folder = Path(live.VARIABLES["orthanc_page_dir"])
    index = folder / "index.html"
    before = index.read_bytes() if index.exists() else None
    page.write(folder, RICH)
    yield Visitor(chromium, f"{site.orthanc_url}/worklist/index.html", site.login)
    if before is None:
        index.unlink()
    else:
        index.write_bytes(before)


def test_the_page_is_behind_the_login(visitor: Visitor) -> None:
    browser.needs_a_login(visitor)


@pytest.mark.parametrize("scheme", browser.SCHEMES)
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_everybody_can_read_it_on_any_screen(visitor: Visitor, width: int, scheme: Scheme) -> None:
    browser.fits(visitor, width, scheme, RICH.now)


def test_the_page_needs_no_script(visitor: Visitor) -> None:
    browser.needs_no_script(visitor, RICH.now, TEXTS)


def test_the_page_reports_its_own_age(visitor: Visitor) -> None:
    browser.tells_its_age(visitor, RICH.now)


def test_the_printed_page_has_the_sheets_of_today(visitor: Visitor) -> None:
    browser.prints(visitor, ["PRISMA", "3010000.01_sub-005_ses-01", "in progress", "Tuesday 24 November 2026"])


def test_the_link_of_a_study_is_orthancs_own_page(visitor: Visitor) -> None:
    browser.leads_to_orthanc(visitor)
