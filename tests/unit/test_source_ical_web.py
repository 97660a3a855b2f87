"""iCalendar texts from the web: a published feed, and a calendar on a real CalDAV server, Radicale, with a login."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
import pytest
import radicale.app
import radicale.config
import requests

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.sources import _caldav, _web
from dicom_worklist.errors import SourceError
from support.calendar import DAY
from support.ical import DAILY, NINE, calendar, event, ids, only
from support.sources import TODAY, error_of
from support.web import Reply, serving

SECRET = "private-0123456789abcdef"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests without a pause; no proxies but the test's own."""
    monkeypatch.setattr(_web, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def source(**settings: Any) -> sources.Source:
    made: sources.Source = msgspec.convert(settings, sources.source_class("ical"))
    return made


def feed(content: str, **headers: str) -> Reply:
    return Reply(content, headers={"Content-Type": "text/calendar; charset=utf-8", **headers})


def test_a_feed_is_read_and_its_secret_address_is_in_no_message() -> None:
    with serving(feed(calendar(event(NINE))), Reply("no", 404), Reply("<html>Log in</html>"), feed("")) as server:
        made = source(url=f"{server.url}/ical/{SECRET}/basic.ics?token={SECRET}")
        assert ids(made.rows(**TODAY)) == ["a"]
        assert (server.asked[0].method, server.asked[0].target.count(SECRET)) == ("GET", 2)
        messages = [error_of(made) for _ in range(3)]
        assert server.url in str(made)
    for said, message in zip(["404", "web page, such as one that asks for a login", "is empty"], messages, strict=True):
        assert said in message
    assert SECRET not in "".join([*messages, str(made)])


def test_the_secret_address_of_a_feed_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "feed.secret"
    made = source(url_file=str(file))
    assert "Write it there, readable by this user" in error_of(made)
    file.write_text(f"webcal://example.org/{SECRET}\n")
    said = error_of(made)
    assert f"{file} has no address. Write it there, on one line; it begins with https://" in said
    words = f"/ical/{SECRET}/basic.ics, {SECRET.removeprefix('private-')} is not there"
    answers = [
        Reply(json.dumps({"error": words}), 404),
        feed(words),
        feed(f"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:{words}"),
    ]
    with serving(feed(calendar(event(NINE))), *answers) as server:
        file.write_text(f"{server.url}/ical/{SECRET}/basic.ics\n")
        assert ids(made.rows(**TODAY)) == ["a"]
        messages = [error_of(made) for _ in answers]
    assert all("… is not there" in message for message in messages), messages
    assert SECRET.removeprefix("private-") not in said + "".join(messages) + str(made)


@pytest.mark.parametrize("setting", ["url", "url_file", "caldav"])
def test_a_remedy_names_only_settings_that_the_source_has(setting: str, closed_port: int, tmp_path: Path) -> None:
    def at(address: str) -> sources.Source:
        (tmp_path / "address").write_text(f"{address}\n")
        return source(**{setting: str(tmp_path / "address") if setting == "url_file" else address})

    answers = [Reply("no", status) for status in (400, 404, 405, 406, 415, 204)]
    moved = [Reply(status=302, headers={"Location": f"http://localhost:{closed_port}/"})]
    with serving(*answers, *moved) as server:
        made = at(f"{server.url}/a")
        said = [error_of(made) for _ in (*answers, *moved)]
    said.append(error_of(at(f"http://127.0.0.1:{closed_port}/a")))
    for message in said:
        names = {word.strip(".,:") for word in message.split() if word.startswith("source.")}
        assert f"source.{setting}" in names, message
        assert names <= {f"source.{setting}", "source.auth"}, message


def test_a_feed_that_is_cut_off_is_never_read_in_part() -> None:
    whole = calendar(event(NINE), event(NINE, uid="b"))
    for cut in range(0, len(whole) - 2, 7):
        with serving(feed(whole[:cut]), feed(whole[:cut], **{"Content-Length": str(len(whole))})) as server:
            made = source(url=server.url + "/a.ics")
            assert "is not whole" in (message := error_of(made)) or "is empty" in message or "is not an" in message
            assert "cut its answer off" in error_of(made)


def test_a_feed_says_how_old_it_is() -> None:
    stamped = event(NINE, "DTSTAMP:20261124T070000Z", "LAST-MODIFIED:20261101T070000Z")
    later = {"Last-Modified": "Tue, 24 Nov 2026 08:00:00 GMT"}
    earlier = {"Last-Modified": "Tue, 24 Nov 2026 06:00:00 GMT"}
    for method, headers, hour in (
        ("PUBLISH", {}, 7), ("PUBLISH", earlier, 7), ("PUBLISH", later, 7), ("", earlier, 6), ("", {}, None),
    ):  # fmt: skip
        with serving(feed(calendar(stamped, method=method), **headers)) as server:
            made = getattr(source(url=server.url + "/a.ics").rows(**TODAY), "made")  # noqa: B009
        assert made == (None if hour is None else datetime(2026, 11, 24, hour, tzinfo=UTC))


def test_a_feed_that_is_too_large_is_an_error_with_the_limit() -> None:
    with serving(feed(calendar(event(NINE, "SUMMARY:" + "x" * 1_000_000)))) as server:
        assert "sends more than 1 MB" in error_of(source(url=server.url + "/a.ics", max_megabytes=1))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "one of path, url, url_file and caldav"),
        ({"path": "/a", "url": "https://example.org/a"}, "one of path, url, url_file and caldav"),
        ({"url": "https://example.org/a", "caldav": "https://example.org/a"}, "one of path, url, url_file and caldav"),
        ({"path": "/a", "auth": {"type": "bearer", "token_file": "/t"}}, "auth, tls and proxy are for url"),
        ({"url": "webcal://example.org/a"}, "matching regex"),
        ({"path": "/a", "max_megabytes": 0}, ">= 1"),
        ({"path": "/a", "uri": "x"}, "unknown field `uri`"),
    ],
)
def test_settings_that_can_not_be_meant_are_refused(settings: Mapping[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        source(**settings)


# CalDAV


@dataclass(frozen=True)
class Server:
    """A Radicale with the calendar of a user."""

    url: str
    login: tuple[str, str]
    password_file: Path

    @property
    def source(self) -> sources.Source:
        auth = {"type": "basic", "user": self.login[0], "password_file": str(self.password_file)}
        return source(caldav=self.url, auth=auth)

    def put(self, name: str, *components: str) -> None:
        content = calendar(*(part.replace("\nUID", "\nDTSTAMP:20261101T000000Z\nUID") for part in components)).encode()
        answer = requests.put(f"{self.url}{name}.ics", content, auth=self.login, timeout=30)
        assert answer.status_code == 201, answer.text


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "users").write_text("worklist:s3cr3t\nother:0th3r\n")
    (tmp_path / "password").write_text("s3cr3t\n")
    settings = {
        "auth": {
            "type": "htpasswd",
            "htpasswd_filename": str(tmp_path / "users"),
            "htpasswd_encryption": "plain",
            "delay": "0",
        },
        "storage": {"filesystem_folder": str(tmp_path / "collections")},
        "logging": {"level": "critical"},
    }
    configuration = radicale.config.load()
    configuration.update(settings, "the test")
    with make_server("127.0.0.1", 0, radicale.app.Application(configuration), handler_class=_Quiet) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        made = Server(
            f"http://127.0.0.1:{web.server_port}/worklist/mri/", ("worklist", "s3cr3t"), tmp_path / "password"
        )
        assert requests.request("MKCALENDAR", made.url, auth=made.login, timeout=30).status_code == 201
        yield made
        web.shutdown()
        thread.join()


def test_a_calendar_on_a_server_gives_the_days_that_are_asked_for(server: Server) -> None:
    assert server.source.rows(**TODAY) == []
    server.put("today", event(NINE, "LOCATION:PRISMA", "SUMMARY:Größe"))
    server.put("past", event(NINE.replace("2026", "2016"), uid="b"))
    server.put(
        "series", event(*DAILY, uid="c"), event("RECURRENCE-ID:20261124T080000Z", NINE.replace("T09", "T11"), uid="c")
    )
    rows = server.source.rows(**TODAY)
    today = [row for row in rows if row["start"].date() == DAY]  # type: ignore[attr-defined]
    assert sorted(map(str, ids(today))) == ["a", "c/20261124T080000Z"]
    assert {row["summary"] for row in today} == {"Größe", None}
    assert "b" not in ids(rows)
    assert getattr(rows, "made") is None  # noqa: B009


def test_a_moved_instance_is_found_on_a_server_too(server: Server) -> None:
    moved = event("RECURRENCE-ID:20261124T080000Z", "DTSTART:20270224T080000Z", "DTEND:20270224T090000Z")
    server.put("series", event(*DAILY), moved)
    there = date(2027, 2, 24)
    assert only(server.source.rows(there, there))["booking_id"] == "a/20261124T080000Z"
    assert "a/20261124T080000Z" not in ids(server.source.rows(**TODAY))


def test_an_endless_series_and_ninety_two_days_are_asked_of_a_server(server: Server) -> None:
    server.put("series", event(NINE.replace("2026", "2016"), "DURATION:PT1H", "RRULE:FREQ=WEEKLY"))
    rows = server.source.rows(DAY + timedelta(days=2), DAY + timedelta(days=93))
    assert 13 <= len(rows) <= 14


def test_a_login_that_the_server_refuses_is_an_error_without_the_password(server: Server) -> None:
    server.put("today", event(NINE))
    server.password_file.write_text("wr0ng\n")
    message = error_of(server.source)
    assert "401" in message or "403" in message
    assert "wr0ng" not in message
    assert "401" in error_of(source(caldav=server.url))


def test_an_address_that_is_no_calendar_is_an_error(server: Server) -> None:
    server.put("today", event(NINE))
    for url in (server.url + "nothing/", server.url.replace("mri/", ""), server.url.replace("worklist/mri/", "")):
        auth = {"type": "basic", "user": "worklist", "password_file": str(server.password_file)}
        message = error_of(source(caldav=url, auth=auth))
        assert "404" in message or "403" in message or "there is something else than a calendar" in message


ANSWER = '<?xml version="1.0"?><multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">{}</multistatus>'
FOUND = (
    "<response><href>/{0}.ics</href><propstat><prop><C:calendar-data>{1}</C:calendar-data></prop>"
    "<status>HTTP/1.1 200 OK</status></propstat></response>"
)


def found(name: str, text: str) -> str:
    return FOUND.format(name, text.replace("&", "&amp;").replace("<", "&lt;"))


def test_an_answer_with_several_events_is_read_as_a_whole() -> None:
    texts = [calendar(event(NINE, f"SUMMARY:{name} & <more>", uid=name)) for name in ("a", "b")]
    answer = ANSWER.format("".join(map(found, "ab", texts))).encode()
    assert [href for href, _ in _caldav.events(answer, "it")] == ["/a.ics", "/b.ics"]
    with serving(Reply(answer, 207)) as server:
        rows = source(caldav=server.url + "/c/").rows(**TODAY)
        assert [row["summary"] for row in rows] == ["a & <more>", "b & <more>"]
        assert (server.asked[0].method, server.asked[0].headers["Depth"]) == ("REPORT", "1")
        for cut in range(0, len(answer), 11):
            with pytest.raises(SourceError, match="gives no answer of CalDAV"):
                list(_caldav.events(answer[:cut], "it"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "gives no answer of CalDAV"),
        (b"<html><body>Log in</body></html>", "its root is html"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "it has a document type"),
        ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'.encode("utf-16"), "it has a document type"),
        (ANSWER.format("<response><href>/a</href><status>HTTP/1.1 507 Insufficient</status></response>"), "/a .*507"),
        (ANSWER.format(found("a", calendar(event(NINE))) + found("b", "")), "/b.ics comes without its event"),
        (ANSWER.format(found("a", calendar()) + FOUND.format("b", "x").replace("200 OK", "404 Gone")), "/b.ics .*404"),
        (ANSWER.format(found("a", calendar(event(NINE))[:-9])), "in /a.ics, is not whole"),
    ],
)
def test_an_answer_that_is_not_one_or_lacks_an_event_is_an_error(answer: str | bytes, said: str) -> None:
    with serving(Reply(answer, 207)) as server, pytest.raises(SourceError, match=said):
        source(caldav=server.url + "/c/").rows(**TODAY)


@pytest.mark.parametrize("day", [date.min, date.max])
def test_the_first_and_the_last_day_that_there_are_can_be_asked_for(day: date) -> None:
    assert b"<C:time-range start=" in _caldav.query(day, day)
