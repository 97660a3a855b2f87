"""What a browser sees of the page: Debian's Chromium, without a network but the page itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, sync_playwright

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
WIDTHS = (360, 768, 1280)
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


#: What Chromium says of any such policy; the page's own scripts are all that may run, by their checksums.
SANDBOX = (
    "An iframe which has both allow-scripts and allow-same-origin for its sandbox attribute can escape its sandboxing."
)


@dataclass(frozen=True)
class Visitor:
    """Somebody who opens the page with a name and a password."""

    browser: Browser
    url: str
    login: tuple[str, str]


@dataclass(frozen=True)
class Visit:
    """A page that is open, what it asked for, and what went wrong."""

    page: Page
    status: int
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What can be read, hidden parts left out."""
        return self.page.inner_text("body")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, at: datetime, scheme: Scheme = "light") -> Iterator[Page]:
    """Open a page that needs no login; `at` is the time by the visitor's clock."""
    context = browser.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.clock.install(time=at)
        page.goto(url)
        yield page
    finally:
        context.close()


@contextmanager
def visit(
    visitor: Visitor, *, width: int = 1280, scheme: Scheme = "light", script: bool = True, at: datetime | None = None
) -> Iterator[Visit]:
    """Open the page, on a screen of this width; `at` is the time by the visitor's clock."""
    user, password = visitor.login
    context = visitor.browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        java_script_enabled=script,
        http_credentials={"username": user, "password": password},
    )
    try:
        page = context.new_page()
        if at:
            page.clock.install(time=at)
        requests: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on(
            "console",
            lambda said: (
                faults.append(said.text) if said.type in {"error", "warning"} and said.text != SANDBOX else None
            ),
        )
        page.on("pageerror", lambda error: faults.append(str(error)))

        def dialog(opened: object) -> None:
            faults.append("a dialog was opened")

        page.on("dialog", dialog)
        response = page.goto(visitor.url)
        assert response
        yield Visit(page, response.status, requests, faults)
    finally:
        context.close()


def needs_a_login(visitor: Visitor) -> None:
    stranger = visitor.browser.new_context()
    answer = stranger.request.get(visitor.url)
    assert answer.status == 401
    assert "Worklist" not in answer.text()
    stranger.close()
    with visit(visitor) as seen:
        assert seen.status == 200
        assert "Worklist of" in seen.text


def fits(visitor: Visitor, width: int, scheme: Scheme, written: datetime, picture: Path | None = None) -> None:
    """Check that a screen of this width shows it without sideways scrolling, everybody can read it, and it is alone."""
    with visit(visitor, width=width, scheme=scheme, at=written) as seen:
        if picture:
            seen.page.screenshot(path=picture, full_page=True)
        widths = seen.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths[0] <= widths[1], widths
        assert seen.page.locator(".times").first.is_visible() == (width > 704)
        found = Axe().run(seen.page)
        assert not found.violations_count, found.generate_report()
        assert seen.requests == [visitor.url]
        assert seen.faults == [], seen.faults


def needs_no_script(visitor: Visitor, written: datetime, texts: list[str]) -> None:
    """Check that all of these can be read with and without JavaScript, and are the same."""
    with visit(visitor, at=written) as seen:
        with_script = seen.text
    with visit(visitor, script=False) as seen:
        assert [text for text in texts if text not in seen.text] == []
        assert seen.text == with_script


def tells_its_age(visitor: Visitor, written: datetime) -> None:
    """Check that the page says that it is old when it is, also while it stays open, and not before."""
    for minutes, old in ((-2, True), (0, False), (4, False), (6, True), (600, True)):
        with visit(visitor, at=written + timedelta(minutes=minutes)) as seen:
            assert seen.page.get_by_role("alert").is_visible() == old, minutes
            assert not Axe().run(seen.page).violations_count
    with visit(visitor, at=written) as seen:
        alert = seen.page.get_by_role("alert")
        for _ in range(4):
            with seen.page.expect_response(visitor.url):  # each minute it asks for itself
                seen.page.clock.run_for(60_000)
        seen.page.clock.run_for(50_000)
        assert not alert.is_visible()
        seen.page.clock.run_for(20_000)
        assert alert.is_visible()
        assert "old" in alert.inner_text()


def prints(visitor: Visitor, texts: list[str], picture: Path | None = None) -> None:
    """Check that paper has these, and is dark ink on white, in the screen's dark scheme too."""
    with visit(visitor, width=720, scheme="dark") as seen:
        seen.page.emulate_media(media="print")
        if picture:
            seen.page.screenshot(path=picture, full_page=True)
            seen.page.pdf(path=picture.with_suffix(".pdf"))
        assert [text for text in texts if text not in seen.text] == []
        tints = seen.page.evaluate(
            "[...document.querySelectorAll('body, .card, .badge')].map(one => getComputedStyle(one).backgroundColor)"
        )
        assert set(tints) <= {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}


def leads_to_orthanc(visitor: Visitor) -> None:
    """Check that the link of a study opens it where Orthanc shows it, with the same login."""
    with visit(visitor) as seen:
        link = seen.page.get_by_role("link", name="study in Orthanc").first
        with seen.page.expect_response(lambda answer: "/app/explorer.html" in answer.url) as answer:
            link.click()
        assert answer.value.status == 200
