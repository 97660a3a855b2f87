"""What a run makes of the PACS's answers: it asks once, and a failure is reported and never stops publishing."""

import html
import json
import re
import socket
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from dicom_worklist.status import updates
from support.calendar import NOW
from support.local_site import RecordedSite

UPDATES, BACKUP = "/updates.json", "/backup.json"


@pytest.fixture
def site(recorded_site: RecordedSite) -> RecordedSite:
    return recorded_site


class _Answer(BaseHTTPRequestHandler):
    """Gives every request the server's one answer."""

    def do_POST(self) -> None:
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        status, body = self.server.told[self.path]  # type: ignore[attr-defined]
        self.server.got.append(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.sent.append((self.path, sent.decode()))  # type: ignore[attr-defined]
        self.send_response(self.server.takes)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Any:
    """A web server that is not Orthanc."""
    server: Any = HTTPServer(("127.0.0.1", 0), _Answer)
    server.asked, server.got, server.sent, server.takes = [], [], [], 201
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.told = {"/refused-sop-classes": (200, b"[]"), "/disk-space": (200, b'{"free": 1, "size": 2}')}
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, b""), "answers 401 .* compare 'reader' and the password in .*/password with Orthanc's"),
        ((500, {}, b""), "answers 500"),
        ((302, {"Location": "http://192.0.2.1/"}, b""), "answers 302"),
        ((200, {}, b"<html>"), "can't be asked"),
        ((200, {}, b"{}x"), "can't be asked"),
        ((200, {}, b'{"HttpError": "no"}'), "answers with something other than studies"),
        ((200, {}, b'[{"ID": "1"}]'), "answers with something other than studies"),
        ((200, {"Content-Length": "10"}, b"[]"), "can't be asked"),
        ((200, {}, b"[" * 200_000), "can't be asked"),
    ],
)
def test_a_server_that_is_not_orthanc_is_reported_and_the_list_published(
    answer: tuple[int, dict[str, str], bytes], said: str, stranger: Any, site: RecordedSite
) -> None:
    site.book("1")
    stranger.answer = answer
    report = site.run(site.pacs(stranger.server_port))
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    (warning,) = report.warnings
    where = f"what arrived is not known: Orthanc at http://127.0.0.1:{stranger.server_port} "
    assert re.match(re.escape(where) + said, warning)
    assert stranger.asked == ["/tools/find"]
    assert "secret" not in warning
    assert site.found.pacs_failure in warning


def test_the_pacs_is_asked_once_a_run_whatever_is_booked(stranger: Any, site: RecordedSite) -> None:
    for booking_id in range(20):
        site.book(booking_id, subj_ses=f"{booking_id}-1", time=f"{booking_id:02}:00:00")
    stranger.answer = (200, {}, b"[]")
    assert site.run({**site.pacs(stranger.server_port), "status.leave_after": 10}).warnings == []
    assert stranger.asked == ["/tools/find"]


def test_a_pacs_that_is_not_there_or_silent_delays_nothing_for_longer_than_its_timeout(site: RecordedSite) -> None:
    site.book("1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began, port = time.monotonic(), silent.getsockname()[1]
        report = site.run(site.pacs(port, timeout=0.3))
        assert time.monotonic() - began < 5
    assert "timed out" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    report = site.run(site.pacs(port))
    assert "Connection refused" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.unchanged] == ["1"]


def test_the_page_is_sent_to_a_pacs_on_another_host(stranger: Any, site: RecordedSite) -> None:
    site.book("1")
    stranger.answer = (200, {}, b"[]")
    there = {**site.pacs(stranger.server_port, page="/worklist/index.html"), "status.page": None}
    assert site.run(there).warnings == []
    ((path, sent),) = stranger.sent
    assert path == "/worklist/index.html"
    assert "Worklist of" in sent
    assert not (site.root / "page/index.html").exists()
    stranger.takes = 403
    (warning,) = site.run(there).warnings
    assert "pacs.page /worklist/index.html can't be sent" in warning
    assert "answers 403" in warning
    assert len(stranger.sent) == 2
    # the front door takes the page while Orthanc is down; who doesn't answer at all is reported once
    stranger.takes, stranger.answer = 201, (503, {}, b"")
    (warning,) = site.run(there).warnings
    assert "what arrived is not known" in warning
    assert len(stranger.sent) == 3
    assert "answers 503" in stranger.sent[-1][1]
    (warning,) = site.run({**there, "pacs.url": "http://127.0.0.1:1"}).warnings
    assert "Connection refused" in warning


def waits(asked: datetime, *packages: str, of: str = "somebody-else-s") -> bytes:
    containers = {"door": {"security": packages or ["nginx 1 -> 2"], "other": []}, of: {"security": ["x 1 -> 2"]}}
    return json.dumps({"asked": f"{asked.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "containers": containers}).encode()


@pytest.fixture
def there(stranger: Any, site: RecordedSite) -> dict[str, object]:
    """What the configuration says of a PACS on another host, where an image waits for updates."""
    site.book("1")
    stranger.answer, stranger.told[UPDATES] = (200, {}, b"[]"), (204, b"")
    images = {"door": f"{NOW - timedelta(days=9):%Y-%m-%dT%H:%M:%SZ}"}
    return {**site.pacs(stranger.server_port, updates=UPDATES), "status.images": images}


def metric(site: RecordedSite, name: str) -> list[str]:
    lines = (site.root / "metrics/dicom_worklist.prom").read_text().splitlines()
    return [line.split()[-1] for line in lines if line.startswith(f"dicom_worklist_{name}")]


def test_what_waits_for_the_images_of_a_pacs_on_another_host_is_asked_once_a_day(
    stranger: Any, site: RecordedSite, there: dict[str, object]
) -> None:
    assert site.run(there).warnings == []  # no night has passed yet
    assert metric(site, "security_updates") == []
    asked = NOW - timedelta(hours=5)
    stranger.told[UPDATES] = (200, waits(asked))
    assert site.run(there).warnings == []
    assert "1 security update to come: <bdi>nginx 1 -&gt; 2</bdi>" in site.page
    assert metric(site, "security_updates") == ["1.0"]
    assert "somebody-else-s" not in site.page
    assert [float(at) for at in metric(site, "updates_asked_timestamp")] == [asked.timestamp()]
    stranger.got.clear()
    site.run(there)
    assert UPDATES not in stranger.got
    assert metric(site, "security_updates") == ["1.0"]
    site.now = NOW + timedelta(hours=20)
    stranger.told[UPDATES] = (200, waits(asked + timedelta(days=1), "nginx 1 -> 3"))
    site.run(there)
    assert "nginx 1 -&gt; 3" in site.page


@pytest.mark.parametrize(
    "given",
    [
        (403, b"no"),
        (200, b"<html>"),
        (200, b"[" * 200_000),
        (200, b"null"),
        (200, waits(NOW, "x" * 401)),
        (200, waits(NOW + timedelta(days=3000))),
        (200, waits(NOW, of="x" * 401)),
        (200, waits(NOW, *["x"] * 2001)),
        (200, waits(NOW) + b" " * updates.LARGEST),
    ],
)
def test_an_answer_that_makes_no_sense_leaves_what_was_known(
    given: tuple[int, bytes], stranger: Any, site: RecordedSite, there: dict[str, object]
) -> None:
    stranger.told[UPDATES] = (200, waits(NOW - timedelta(days=2)))
    site.run(there)
    before = site.found.updates
    assert before
    stranger.told[UPDATES] = given
    assert site.run(there).warnings == []
    assert stranger.got[-1] == UPDATES
    assert site.found.updates == before


def test_what_the_backup_of_a_pacs_on_another_host_did_is_asked_each_time(stranger: Any, site: RecordedSite) -> None:
    def says(ended: datetime, **more: object) -> tuple[int, bytes]:
        when = f"{ended.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        run = {"ended": when, "ok": True, "good": when}
        return 200, json.dumps({"host": "pacs-of-two", "since": when, "run": run, **more}).encode()

    site.book("1")
    stranger.answer, stranger.told[BACKUP] = (200, {}, b"[]"), (404, b"no")
    there = site.pacs(stranger.server_port, backup=BACKUP)
    assert site.run(there).warnings == []
    assert "What the backup of the PACS's host did is not known" in html.unescape(site.page)
    stranger.told[BACKUP] = says(NOW - timedelta(hours=5))
    site.run(there)
    assert "Last good backup of <bdi>pacs-of-two</bdi>" in site.page
    assert "5 hours ago" in site.page
    known = site.found.backup
    for nonsense in ((403, b"no"), (200, b"null"), says(NOW + timedelta(days=9)), says(NOW, host="x" * 1001)):
        stranger.told[BACKUP] = nonsense
        assert site.run(there).warnings == []
        assert stranger.got[-1] == BACKUP
        assert site.found.backup == known
    site.now = NOW + timedelta(days=2)
    site.run(there)
    assert "pacs-of-two has not been saved for more than 2 days." in site.page
    site.run(site.pacs(stranger.server_port))
    assert "pacs-of-two" not in site.page


def test_a_pacs_that_does_not_answer_is_not_asked_twice(
    stranger: Any, site: RecordedSite, there: dict[str, object]
) -> None:
    stranger.answer = (503, {}, b"")
    site.run(there)
    assert (stranger.asked, stranger.got) == (["/tools/find"], [])


def test_a_password_that_can_not_be_read_is_named(site: RecordedSite) -> None:
    site.book("1")
    report = site.run(site.pacs(1, password_file=str(site.root / "nowhere")))
    assert "pacs.password_file" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.published] == ["1"]


def test_a_site_that_records_nothing_does_not_ask_the_pacs(stranger: Any, site: RecordedSite) -> None:
    site.book("1")
    stranger.answer = (500, {}, b"")
    site.changes = {}
    report = site.run(site.pacs(stranger.server_port))
    assert ([entry["booking_id"] for entry in report.published], report.warnings) == (["1"], [])
    assert stranger.asked == []


@pytest.mark.parametrize("path", ["/refused-sop-classes", "/disk-space"])
@pytest.mark.parametrize(
    ("answer", "warned"),
    [
        ((404, b'{"HttpStatus": 404, "Message": "Unknown resource", "OrthancStatus": 17}'), False),
        ((404, b"<html>"), True),
        ((403, b"Refused"), True),
    ],
    ids=["an Orthanc without the script", "another server", "a front door of before"],
)
def test_an_orthanc_without_our_scripts_is_no_fault(
    stranger: Any, site: RecordedSite, path: str, answer: tuple[int, bytes], warned: bool
) -> None:
    site.book("1")
    stranger.answer, stranger.told[path] = (200, {}, b"[]"), answer
    warnings = site.run(site.pacs(stranger.server_port)).warnings
    assert [f"is not known: Orthanc at {stranger.url} answers {answer[0]}" in one for one in warnings] == [
        True
    ] * warned
    assert not site.found.pacs_failure
