"""What another web page, a mailed link or a file in the page's folder makes an administrator's browser do: nothing.

The other page is at localhost, and the front door at 127.0.0.1: two sites for a browser.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Error

from support import browser, clients, live
from support.firefox import Firefox, firefox
from support.images import synthetic_image
from support.web import Reply, serving

V = live.VARIABLES
FOLDER = Path(V["orthanc_page_dir"])
PLANTED = FOLDER / "planted.html"
#: Seconds in which each attack has long succeeded on a PACS without a front door.
STAY = 1.2
#: Each makes a browser ask for {url}: with another method, from another page, without being asked.
ATTACKS = {
    "a picture": "<img src='{url}?_method=DELETE'>",
    "a frame": "<iframe src='{url}?_method=DELETE'></iframe>",
    "a style sheet": "<link rel=stylesheet href='{url}?_method=DELETE'>",
    "a move to another page": "<script>location = '{url}?_method=DELETE'</script>",
    "a refresh": "<meta http-equiv=refresh content='0;url={url}?_method=DELETE'>",
    "a form": "<form method=post action='{root}/tools/bulk-delete' enctype=text/plain>"
    "<input name='{{\"Resources\": [\"{id}\"], \"a\": \"' value='\"}}'></form>"
    "<script>document.forms[0].submit()</script>",
    "a form with a hidden method": "<form method=post action='{url}?_method=DELETE'></form>"
    "<script>document.forms[0].submit()</script>",
    "a request that needs no leave": "<script>fetch('{root}/tools/bulk-delete', {{method: 'POST', mode: 'no-cors', "
    "credentials: 'include', headers: {{'Content-Type': 'text/plain'}}, "
    "body: '{{\"Resources\": [\"{id}\"]}}'}})</script>",
    "a request that needs leave": "<script>fetch('{url}', {{method: 'DELETE', credentials: 'include'}})</script>",
    "a beacon": "<script>navigator.sendBeacon('{root}/tools/bulk-delete', '{{\"Resources\": [\"{id}\"]}}')</script>",
    "a script of Orthanc's own origin": "<script>fetch('{path}', {{method: 'DELETE'}}); "
    "let x = new XMLHttpRequest(); x.open('DELETE', '{path}'); x.send()</script>",
    "a frame of Orthanc's": "<iframe id=f src='/app/explorer.html'></iframe>"
    "<script>f.onload = () => f.contentWindow.fetch('{path}', {{method: 'DELETE'}})</script>",
    "a window of Orthanc's": "<script>let w = open('/app/explorer.html'); "
    "setTimeout(() => w.fetch('{path}', {{method: 'DELETE'}}), 700)</script>",
}  # fmt: skip


class Administrator(Protocol):
    """A browser in which the administrator has logged in."""

    def look(self, url: str) -> None:
        """Open an address, and stay for a while."""

    def evaluate(self, script: str) -> Any:
        """Return what an expression in the open page gives, or brings."""


class InChromium:
    def __init__(self, context: BrowserContext) -> None:
        self.page = context.new_page()

    def look(self, url: str) -> None:
        with suppress(Error):  # an attack leads elsewhere while the page is loaded
            self.page.goto(url)
        self.page.wait_for_timeout(STAY * 1000)

    def evaluate(self, script: str) -> Any:
        return self.page.evaluate(script)


class InFirefox:
    def __init__(self, window: Firefox) -> None:
        self.window = window

    def look(self, url: str) -> None:
        with suppress(RuntimeError):
            self.window.goto(url)
        time.sleep(STAY)

    def evaluate(self, script: str) -> Any:
        return self.window.evaluate(f"return {script}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module", params=["Chromium", "Firefox"])
def administrator(
    request: pytest.FixtureRequest, deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Administrator]:
    site = live.Site()
    user, password = site.login
    with ExitStack() as stack:
        opened: Administrator
        if request.param == "Chromium":
            chromium: Browser = request.getfixturevalue("chromium")
            opened = InChromium(chromium.new_context(http_credentials={"username": user, "password": password}))
        else:
            opened = InFirefox(stack.enter_context(firefox(tmp_path_factory.mktemp("firefox"))))
            opened.look(site.orthanc_url.replace("//", f"//{user}:{password}@") + "/app/explorer.html")
        yield opened


@pytest.fixture
def study(site: live.Site, tmp_path: Path) -> Iterator[str]:
    assert clients.storescu("PRISMA", synthetic_image(tmp_path / "image.dcm")) == 0
    (found,) = site.orthanc("/studies").json()
    yield found
    site.orthanc(f"/studies/{found}", method="DELETE")


@pytest.fixture
def written(site: live.Site, study: str) -> Callable[[str], str]:
    """Write an attack down as a page."""

    def write(attack: str) -> str:
        places = {"root": site.orthanc_url, "url": f"{site.orthanc_url}/studies/{study}", "path": f"/studies/{study}"}
        return "<!doctype html><title>Photographs</title>" + ATTACKS[attack].format(**places, id=study)

    return write


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_page_elsewhere_deletes_nothing(
    administrator: Administrator, site: live.Site, study: str, written: Callable[[str], str], attack: str
) -> None:
    with serving(Reply(body=written(attack).encode(), headers={"Content-Type": "text/html"})) as server:
        administrator.look(server.url.replace("127.0.0.1", "localhost"))
    assert site.orthanc("/studies").json() == [study]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_page_in_the_folder_deletes_nothing(
    administrator: Administrator, site: live.Site, study: str, written: Callable[[str], str], attack: str
) -> None:
    PLANTED.write_text(written(attack))
    PLANTED.chmod(0o644)
    try:
        administrator.look(f"{site.orthanc_url}/worklist/planted.html")
    finally:
        PLANTED.unlink()
    assert site.orthanc("/studies").json() == [study]


def test_a_mailed_link_deletes_nothing(administrator: Administrator, site: live.Site, study: str) -> None:
    administrator.look(f"{site.orthanc_url}/studies/{study}?_method=DELETE")
    assert "Refused" in administrator.evaluate("document.body.textContent")
    assert site.orthanc("/studies").json() == [study]


def test_a_page_elsewhere_reads_nothing(administrator: Administrator, site: live.Site, study: str) -> None:
    script = f"fetch('{site.orthanc_url}/studies/{study}', {{credentials: 'include'}}).then(r => r.text())"
    html = f"<script>{script}.then(t => document.title = t, e => document.title = 'refused')</script>"
    with serving(Reply(body=html.encode(), headers={"Content-Type": "text/html"})) as server:
        administrator.look(server.url.replace("127.0.0.1", "localhost"))
        assert administrator.evaluate("document.title") == "refused"


def test_orthanc_s_own_pages_go_on_working(administrator: Administrator, site: live.Site, study: str) -> None:
    """So the tests above show what they seem to: this administrator can delete, and is logged in."""
    administrator.look(f"{site.orthanc_url}/app/explorer.html#study?uuid={study}")
    assert "Delete this study" in administrator.evaluate("document.body.textContent")
    asked = f"fetch('/studies/{study}', {{method: 'DELETE'}}).then(answer => answer.status)"
    assert administrator.evaluate(asked) == 200
    assert site.orthanc("/studies").json() == []


def test_a_viewer_s_browser_shows_studies(chromium: Browser, site: live.Site, study: str) -> None:
    context = chromium.new_context(http_credentials={"username": "vera", "password": "the-password-of-vera"})
    page = context.new_page()
    page.goto(f"{site.orthanc_url}/app/explorer.html#study?uuid={study}")
    page.wait_for_selector("text=phantom")
    asked = f"fetch('/studies/{study}', {{method: 'DELETE'}}).then(answer => answer.status)"
    assert page.evaluate(asked) == 403
    series = json.loads(site.orthanc(f"/studies/{study}").content)["Series"][0]
    viewer = page.goto(f"{site.orthanc_url}/web-viewer/app/viewer.html?series={series}")
    assert viewer
    assert viewer.status == 200
    page.wait_for_selector("canvas")
    context.close()
