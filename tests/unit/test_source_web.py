"""What the sources on the web share: asking a server that is slow, endless, cut off, hostile, or wants a login."""

import gzip
import html
import json
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus

import msgspec
import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.sources import _web
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.bookings.sources._web import Answer, Auth, Basic, Bearer, OAuth2, Web
from dicom_worklist.errors import SourceError
from support.web import Asked, Certificates, Reply, as_json, certificates, serving

WORDS = '["' + "booking " * 20 + '"]'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests without a pause; no proxies but the test's own."""
    monkeypatch.setattr(_web, "PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def ask(url: str, method: str = "GET", most_bytes: int = 10**6, timeout: float = 20, **options: Any) -> Answer:
    request = {name: options.pop(name) for name in ("headers", "body") if name in options}
    with Web("the calendar", timeout=timeout, most_bytes=most_bytes, **options) as web:
        return web.ask(method, url, **request)


def refused(url: str, **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        ask(url, **options)
    assert str(caught.value).startswith("the calendar can't be read: ")
    return str(caught.value)


def secret(folder: Path, text: str = "s3cr3t +/ü", name: str = "secret") -> str:
    (folder / name).write_text(text + "\n", encoding="utf-8")
    return str(folder / name)


def chunked(*parts: str, end: bytes = b"0\r\n\r\n") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"
    return head + b"".join(f"{len(part):x}\r\n{part}\r\n".encode() for part in parts) + end


def test_an_answer_has_its_content_its_kind_and_when_it_was_made() -> None:
    made = {"Last-Modified": "Tue, 24 Nov 2026 08:00:00 GMT", "Content-Type": "Application/JSON; charset=utf-8"}
    with serving(Reply(WORDS, headers=made)) as server:
        answer = ask(f"{server.url}/a?b=c", headers={"X-Own": "1"})
        assert answer == Answer(
            f"{server.url}/a?b=c", WORDS.encode(), "application/json", datetime(2026, 11, 24, 8, tzinfo=UTC)
        )
        [asked] = server.asked
        assert (asked.method, asked.target, asked.headers["X-Own"]) == ("GET", "/a?b=c", "1")
        assert asked.headers["Authorization"] is None


@pytest.mark.parametrize("written", ["", "yesterday", "Tue, 99 Nov 2026 08:00:00 GMT"])
def test_a_date_that_is_not_one_is_not_used(written: str) -> None:
    with serving(Reply("[]", headers={"Last-Modified": written})) as server:
        assert ask(server.url).made is None


def test_a_body_is_sent_as_it_is() -> None:
    with serving(Reply("[]")) as server:
        ask(server.url, "POST", body="ü=1".encode(), headers={"Content-Type": "text/plain"})
        [asked] = server.asked
        assert (asked.method, asked.body, asked.headers["Content-Type"]) == ("POST", "ü=1".encode(), "text/plain")


def test_chunks_and_gzip_are_read_whole() -> None:
    packed = gzip.compress(WORDS.encode())
    with serving(chunked(WORDS[:30], WORDS[30:]), Reply(packed, headers={"Content-Encoding": "gzip"})) as server:
        assert ask(server.url).content == WORDS.encode()
        assert ask(server.url).content == WORDS.encode()
        assert server.asked[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "whole",
    [
        Reply(WORDS).raw,
        chunked(WORDS[:30], WORDS[30:]),
        Reply(gzip.compress(WORDS.encode()), headers={"Content-Encoding": "gzip"}).raw,
    ],
    ids=["Content-Length", "chunks", "gzip"],
)
def test_an_answer_that_is_cut_off_at_any_byte_is_an_error_or_whole(whole: bytes) -> None:
    length = Reply(WORDS).raw.index(b"Content-Length")  # before it a cut answer may be one without a length
    with serving(b"") as server:
        for at in range(len(whole)):
            server.answer = lambda asked, at=at: whole[:at]  # type: ignore[misc]
            try:
                got = ask(server.url).content
            except SourceError:
                continue
            assert got == WORDS.encode() or (got == b"" and at < length + 30), at


def test_a_compressed_answer_that_ends_early_is_an_error_although_its_length_is_right() -> None:
    packed = gzip.compress(WORDS.encode())
    with serving(b"") as server:
        for at in range(1, len(packed)):
            server.answer = (
                lambda asked, at=at: Reply(  # type: ignore[misc]
                    packed[:at], headers={"Content-Encoding": "gzip"}
                )
            )
            assert "cut its answer off, or sent it broken" in refused(server.url)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Reply(WORDS, headers={"Content-Length": "100000"}), "cut its answer off"),
        (chunked(WORDS, end=b""), "cut its answer off"),
        (chunked(WORDS, end=b"zz\r\n"), "cut its answer off"),
        (Reply("[]", headers={"Content-Encoding": "gzip"}), "cut its answer off, or sent it broken (BadGzipFile)"),
        (Reply("[]", headers={"Content-Encoding": "br"}), "answers in the coding br"),
        (b"hello, I am a mail server\r\n", "gets no answer of HTTP from http://127.0.0.1:"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "gets no answer of HTTP from http://127.0.0.1:"),
        (b"", "Remote end closed connection without response. Check that the server runs"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]", "(InvalidHeader)"),
    ],
)
def test_what_is_not_a_whole_answer_is_an_error(answer: Any, said: str) -> None:
    with serving(answer) as server:
        assert said in refused(server.url)


def test_an_endless_answer_is_cut_off_at_most_bytes() -> None:
    def endless() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        while True:
            yield b"[" * 65536

    with serving(lambda asked: endless()) as server:
        said = refused(server.url, most_bytes=1_000_000)
        assert "sends more than 1 MB, the most that is read. Ask for fewer days" in said
        assert "source.max_megabytes" in said


def test_what_is_unpacked_counts_and_so_do_all_answers_of_a_reading() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    with serving(Reply(bomb, headers={"Content-Encoding": "gzip"})) as server:
        assert "sends more than 1 MB" in refused(server.url, most_bytes=1_000_000)
    with serving(Reply("0" * 600)) as server, Web("the calendar", timeout=20, most_bytes=1000) as web:
        web.ask("GET", server.url)
        with pytest.raises(SourceError, match="sends more than"):
            web.ask("GET", server.url)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
UNANSWERED = "got no answer within 0.4 seconds (source.timeout). See whether the server is up"
SLOW = "took longer than source.timeout, 0.4 seconds. Ask for fewer bookings, or raise source.timeout"


@pytest.mark.parametrize(
    ("begin", "drop", "said"),
    [
        (b"", b"", UNANSWERED),
        (b"", b"H", UNANSWERED),
        (HEAD + b"X: ", b"y", SLOW),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", UNANSWERED),
        (HEAD + b"\r\n", b"1", SLOW),
        (HEAD + b"Content-Length: 10000\r\n\r\n", b"1", SLOW),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n", SLOW),
        (b"HTTP/1.1 500 Error\r\nContent-Type: application/json\r\n\r\n", b"1", SLOW),
    ],
    ids=["silent", "status", "headers", "continue", "body", "length", "chunks", "error"],
)
def test_a_server_that_trickles_is_given_up_after_the_timeout(begin: bytes, drop: bytes, said: str) -> None:
    over = threading.Event()

    def trickle() -> Iterator[bytes]:
        yield begin
        while not over.wait(0.05):
            yield drop

    with serving(lambda asked: trickle()) as server:
        assert said in refused(server.url, timeout=0.4)
        over.set()


def test_the_time_is_for_all_requests_together() -> None:
    over = threading.Event()

    def slow() -> Iterator[bytes]:
        over.wait(0.15)
        yield Reply("[]").raw

    with serving(lambda asked: slow()) as server, Web("the calendar", timeout=0.4, most_bytes=1000) as web:
        with pytest.raises(SourceError, match=r"source[.]timeout"):
            for _ in range(100):
                web.ask("GET", server.url)
        assert len(server.asked) < 100
        over.set()


def test_a_server_that_does_not_listen_is_named_and_tried_twice(closed_port: int) -> None:
    said = refused(f"http://127.0.0.1:{closed_port}/a?token=hush")
    assert f"gets no answer from http://127.0.0.1:{closed_port}: Connection refused. Check that the server runs" in said
    assert "hush" not in said
    assert "Name or service not known" in refused("http://calendar.invalid/a?token=hush")


@pytest.mark.parametrize(
    "first",
    [b"", Reply(status=502), Reply(status=503), Reply(status=504), Reply(status=429, headers={"Retry-After": "0"})],
)
def test_a_request_is_repeated_once_where_that_can_help(first: Any) -> None:
    with serving(first, Reply("[]")) as server:
        assert ask(server.url, "POST", body=b"q").content == b"[]"
        assert [asked.body for asked in server.asked] == [b"q", b"q"]
    with serving(first) as server:
        refused(server.url)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "Check source.url and source.headers and source.body"),
        (401, "It wants a login (Negotiate): set source.auth"),
        (403, "Let the calendar's administrator allow this login to read the bookings"),
        (404, "Check source.url"),
        (405, "Check source.url and source.method"),
        (415, "Check source.url and source.headers and source.body"),
        (429, "asked too often"),
        (500, "The server has a fault: look at its log"),
        (501, "The server has a fault"),
        (204, "this is not an answer with bookings"),
        (206, "this is not an answer with bookings"),
        (304, "this is not an answer with bookings"),
    ],
)
def test_a_status_that_brings_no_bookings_is_named_with_the_remedy_and_not_repeated(status: int, remedy: str) -> None:
    with serving(Reply(status=status, headers={"WWW-Authenticate": "Negotiate abc"})) as server:
        said = refused(f"{server.url}/path?token=hush")
        assert f"gets {status} Status from {server.url}. " in said
        assert remedy in said
        assert "hush" not in said
        assert len(server.asked) == 1


def test_a_pause_that_is_longer_than_the_time_is_not_waited_for() -> None:
    with serving(Reply(status=503, headers={"Retry-After": "3600"})) as server:
        assert "gets 503" in refused(server.url)
        assert len(server.asked) == 1


def test_the_words_of_a_server_are_in_the_message_without_the_secrets(tmp_path: Path) -> None:
    password = secret(tmp_path, 'very "secret"')
    answer = as_json({"error": 'no "very "secret"" here\x1b[0m', "more": "x" * 1000}, 403)
    with serving(answer) as server:
        said = refused(server.url, auth=Basic(user="reader", password_file=password))
    assert "gets 403 Status from" in said
    assert '{"error": "no \\"…\\" here' in said
    assert "\x1b" not in said
    assert len(said) < 600
    with serving(Reply("<html>", 403, {"Content-Type": "text/html"})) as server:
        assert "html" not in refused(server.url)


def test_basic_sends_the_login_in_utf_8(tmp_path: Path) -> None:
    with serving(Reply("[]"), Reply(status=401)) as server:
        auth = Basic(user="reader", password_file=secret(tmp_path))
        ask(server.url, auth=auth)
        assert server.asked[0].headers["Authorization"] == "Basic " + b64encode("reader:s3cr3t +/ü".encode()).decode()
        said = refused(server.url, auth=auth)
        assert f"Compare the user 'reader' and the password in {tmp_path}/secret with the calendar's" in said
        assert "s3cr3t" not in said


def test_bearer_sends_the_token(tmp_path: Path) -> None:
    with serving(Reply("[]"), Reply(status=401)) as server:
        auth = Bearer(token_file=secret(tmp_path, "t0ken"))
        ask(server.url, auth=auth)
        assert server.asked[0].headers["Authorization"] == "Bearer t0ken"
        assert f"Write a token that the calendar accepts into {tmp_path}/secret" in refused(server.url, auth=auth)
        for bad in ("two\nlines", "ünicode"):
            with pytest.raises(SourceError, match="secret holds no token") as caught:
                ask(server.url, auth=Bearer(token_file=secret(tmp_path, bad)))
            assert "nicode" not in str(caught.value)


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        (Basic(user="u", password_file="/nowhere/at/all"), "the password for the calendar can't be read from /nowhere"),
        (Basic(user="u", password_file="/dev/null"), "can't be read from /dev/null: it is empty"),
        (Bearer(token_file="/nowhere/at/all"), "the token for the calendar can't be read from /nowhere"),
        (
            OAuth2(token_url="http://127.0.0.1:1/", client_id="c", client_secret_file="/nowhere/at/all"),
            "the client's secret for the calendar can't be read from /nowhere",
        ),
    ],
)
def test_a_secret_that_is_missing_is_named(auth: Auth, named: str, closed_port: int) -> None:
    with pytest.raises(SourceError, match=named):
        ask(f"http://127.0.0.1:{closed_port}/", auth=auth)


class TokenServer:
    """Gives tokens, and answers only who has the newest."""

    def __init__(self, in_body: bool = False, good_for: int = 1000) -> None:
        self.given, self.left, self.in_body, self.good_for = 0, 0, in_body, good_for

    def __call__(self, asked: Asked) -> Reply:
        if asked.target == "/token":
            form = {name: value for name, [value] in parse_qs(asked.body.decode()).items()}
            basic = "Basic " + b64encode(b"client+1:s3cr3t+%2B%2F%C3%BC").decode()
            as_form = (form.get("client_id"), form.get("client_secret")) == ("client 1", "s3cr3t +/ü")
            if not (as_form if self.in_body else asked.headers["Authorization"] == basic):
                return as_json({"error": "invalid_client"}, 401)
            assert (form["grant_type"], form["scope"]) == ("client_credentials", "read")
            self.given, self.left = self.given + 1, self.good_for
            return as_json({"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": 3600})
        if asked.headers["Authorization"] != f"Bearer token-{self.given}" or self.left <= 0:
            return Reply(status=401)
        self.left -= 1
        return Reply("[]")


def oauth2(url: str, folder: Path) -> OAuth2:
    return OAuth2(token_url=f"{url}/token", client_id="client 1", client_secret_file=secret(folder), scope="read")


@pytest.mark.parametrize("in_body", [False, True])
def test_oauth2_gets_a_token_once_for_all_pages(in_body: bool, tmp_path: Path) -> None:
    calendar = TokenServer(in_body)
    with serving(calendar) as tokens, serving(calendar) as server:
        auth = oauth2(tokens.url, tmp_path)
        with Web("the calendar", auth=auth, timeout=20, most_bytes=10000) as web:
            for _ in range(3):
                assert web.ask("POST", server.url, body=b"{}").content == b"[]"
        assert (calendar.given, len(server.asked), len(tokens.asked)) == (1, 3, 1 + in_body)


def test_a_token_that_ends_between_two_pages_is_renewed_and_the_page_asked_again(tmp_path: Path) -> None:
    calendar = TokenServer(good_for=2)
    with serving(calendar) as server:
        with Web("the calendar", auth=oauth2(server.url, tmp_path), timeout=20, most_bytes=10000) as web:
            for number in range(5):
                assert web.ask("POST", f"{server.url}/{number}", body=b"{}").content == b"[]"
        assert calendar.given == 3
        assert [asked.target for asked in server.asked if asked.target != "/token"] == "/0 /1 /2 /2 /3 /4 /4".split()


def test_a_new_token_that_is_refused_is_not_renewed(tmp_path: Path) -> None:
    calendar = TokenServer(good_for=0)
    with serving(calendar) as server:
        said = refused(server.url, auth=oauth2(server.url, tmp_path))
    assert "gets 401" in said
    assert "let it allow 'client 1', and check source.auth.scope" in said
    assert calendar.given == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (as_json({"error": "invalid_client"}, 401), "gets 401 Status from"),
        (as_json({"error": "s3cr3t +/ü is wrong"}, 400), '({"error": "… is wrong"})'),
        (Reply("<html>"), "gets no bearer token from"),
        (as_json([]), "gets no bearer token from"),
        (as_json({"access_token": "a\nb"}), "gets no bearer token from"),
        (as_json({"access_token": 7}), "gets no bearer token from"),
        (as_json({"access_token": "a", "token_type": "mac"}), "gets no bearer token from"),
        (Reply(status=302, headers={"Location": "/elsewhere"}), "gets 302"),
        (Reply("[", headers={"Content-Length": "9"}), "cut its answer off"),
    ],
)
def test_a_server_that_gives_no_token_is_named(answer: Any, said: str, tmp_path: Path) -> None:
    with serving(answer) as tokens, serving(Reply("[]")) as server:
        message = refused(server.url, auth=oauth2(tokens.url, tmp_path))
        assert said in message
        if "cut" not in said:
            assert tokens.url in message
            assert f"the secret in {tmp_path}/secret" in message
        assert "s3cr3t" not in message
        assert server.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_the_same_server_is_followed_with_the_login(status: int, tmp_path: Path) -> None:
    with serving(Reply(status=status, headers={"Location": "../new?x=1"}), Reply("[]")) as server:
        answer = ask(f"{server.url}/old/place", auth=Bearer(token_file=secret(tmp_path, "t")))
        assert answer.url == f"{server.url}/new?x=1"
        assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer t"] * 2


@pytest.mark.parametrize(("status", "asked"), [(301, 1), (302, 1), (303, 1), (307, 2), (308, 2)])
def test_what_is_sent_is_never_lost_by_a_redirect(status: int, asked: int) -> None:
    with serving(Reply(status=status, headers={"Location": "/new"}), Reply("[]")) as server:
        try:
            ask(server.url, "POST", body=b"query")
        except SourceError as error:
            assert "What is sent would be lost there: write the new address into source.url" in str(error)
        assert [one.body for one in server.asked] == [b"query"] * asked


def test_no_redirect_leads_to_another_server(tmp_path: Path) -> None:
    auth = Bearer(token_file=secret(tmp_path, "t"))
    with serving(Reply("[]")) as other, serving(b"") as server:
        for target in (
            f"{other.url}/login?session=hush",
            f"//localhost:{server.port}/",
            "ftp://127.0.0.1/",
            "//127.0.0.1:99999/",
            f"http://user:hush@localhost:{server.port}/",
        ):
            server.answer = lambda asked, to=target: Reply(  # type: ignore[misc]
                status=302, headers={"Location": to}
            )
            said = refused(server.url, auth=auth)
            assert "sends the request on to" in said
            assert "A page that asks for a login may be the reason" in said
            assert "hush" not in said
        assert other.asked == []


def test_redirects_without_end_are_an_error() -> None:
    with serving(Reply(status=302, headers={"Location": "/again"})) as server:
        assert "more than 5 redirects" in refused(server.url)
        assert len(server.asked) == 6


def test_the_second_address_of_a_reading_is_of_the_same_server() -> None:
    with serving(Reply("[]")) as other, serving(Reply("[]")) as server, Web("it", timeout=9, most_bytes=99) as web:
        web.ask("GET", server.url)
        web.ask("GET", f"{server.url}/2")
        with pytest.raises(SourceError, match=f"names another server, {other.url}"):
            web.ask("GET", f"{other.url}/3")
        assert other.asked == []


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def test_tls_checks_the_server_with_ca(tls: Certificates, tmp_path: Path) -> None:
    with serving(Reply("[]"), context=tls.server()) as server:
        assert ask(server.url, tls=TLS(ca=str(tls.ca))).content == b"[]"
        other = certificates(tmp_path / "other")
        for wrong in (None, TLS(ca=str(other.ca))):
            said = refused(server.url, tls=wrong)
            assert f"has no safe connection to {server.url} (" in said
            assert "Put the CA that signed the server's certificate into source.tls.ca" in said
        assert len(server.asked) == 1


def test_tls_checks_the_name_unless_it_must_not(tmp_path: Path) -> None:
    named = certificates(tmp_path / "named", "calendar.example.org")
    with serving(Reply("[]"), context=named.server()) as server:
        said = refused(server.url, tls=TLS(ca=str(named.ca)))
        assert "Put the name that the server's certificate is for into source.url, in place of 127.0.0.1" in said
        assert ask(server.url, tls=TLS(ca=str(named.ca), verify_hostname=False)).content == b"[]"
        other = certificates(tmp_path / "other")
        refused(server.url, tls=TLS(ca=str(other.ca), verify_hostname=False))


def test_a_certificate_that_has_expired_is_its_administrator_s_to_renew(tmp_path: Path) -> None:
    old = certificates(tmp_path / "old", expired=True)
    with serving(Reply("[]"), context=old.server()) as server:
        said = refused(server.url, tls=TLS(ca=str(old.ca)))
    assert said.endswith(
        "The server's certificate has expired: its administrator must renew it. If it has not expired, compare this "
        "host's clock"
    )


def test_tls_shows_a_certificate_where_the_server_asks(tls: Certificates) -> None:
    with serving(Reply("[]"), context=tls.server(client_ca=tls.ca)) as server:
        ours = TLS(ca=str(tls.ca), certificate=str(tls.certificate), key=str(tls.key))
        assert ask(server.url, tls=ours).content == b"[]"
        refused(server.url, tls=TLS(ca=str(tls.ca)))
        assert len(server.asked) == 1


def test_tls_that_can_not_be_is_named(tls: Certificates, tmp_path: Path, closed_port: int) -> None:
    url = f"https://127.0.0.1:{closed_port}"
    assert f"source.tls names {tmp_path}/absent.pem" in refused(url, tls=TLS(ca=f"{tmp_path}/absent.pem"))
    (tmp_path / "bad.pem").write_text("no certificate")
    with serving(Reply("[]"), context=tls.server()) as server:
        said = refused(server.url, tls=TLS(ca=f"{tmp_path}/bad.pem"))
        assert "Check source.tls: ca, certificate and key are PEM files" in said
    with serving(Reply("[]")) as server:
        said = refused(server.url.replace("http:", "https:"), tls=TLS(ca=str(tls.ca)))
        assert "The server doesn't speak TLS at this port: check source.url" in said


def test_tls_that_the_server_closes_is_tried_again(tls: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def close() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.recv(10_000)
                connection.close()
                accepted.append(1)

        thread = threading.Thread(target=close, daemon=True)
        thread.start()
        said = refused(f"https://127.0.0.1:{server.getsockname()[1]}", tls=TLS(ca=str(tls.ca)))
        thread.join(timeout=20)
    assert len(accepted) == 2
    assert "gets no answer from https://127.0.0.1" in said
    assert "Check that the server runs" in said


def test_no_redirect_leads_from_tls_to_plain_http(tls: Certificates) -> None:
    with serving(Reply("[]")) as plain, serving(b"", context=tls.server()) as server:
        for target in (f"{plain.url}/", f"http://127.0.0.1:{server.port}/"):
            server.answer = lambda asked, to=target: Reply(  # type: ignore[misc]
                status=302, headers={"Location": to}
            )
            assert "sends the request on to http://" in refused(server.url, tls=TLS(ca=str(tls.ca)))
        assert plain.asked == []


def test_a_netrc_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with serving(Reply("[]")) as server:
        ask(server.url)
        ask(server.url, auth=Bearer(token_file=secret(tmp_path, "t")))
        assert [asked.headers["Authorization"] for asked in server.asked] == [None, "Bearer t"]


@pytest.mark.parametrize("kind", ["basic", "bearer", "oauth2"])
def test_a_login_is_sent_without_tls_only_to_this_machine_or_where_the_site_says_so(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, away = secret(tmp_path, "t"), "http://calendar.example.org"
    ways: dict[str, Auth] = {
        "basic": Basic(user="u", password_file=path),
        "bearer": Bearer(token_file=path),
        "oauth2": OAuth2(token_url=f"{away}/token", client_id="c", client_secret_file=path),
    }
    auth = ways[kind]
    with serving(as_json({"access_token": "fresh"})) as server:
        monkeypatch.setenv("http_proxy", server.url)
        for tls in (None, True, TLS(ca=path)):
            said = refused(f"{away}/a", auth=auth, tls=tls)
            assert f"would send a login to {away} without TLS" in said
            assert "Write https in that address, or set source.tls: false" in said
        assert server.asked == []
        ask(f"{away}/a", auth=auth, tls=False)
        assert server.asked[-1].headers["Authorization"]


def test_a_secret_in_a_header_counts_as_a_login() -> None:
    with Web("the calendar", timeout=5, most_bytes=9) as web, pytest.raises(SourceError, match="would send a login"):
        web.hide("hush")
        web.ask("GET", "http://192.0.2.1/", headers={"X-Token": "hush"})


def test_the_proxy_of_the_environment_is_used_except_for_no_proxy(
    monkeypatch: pytest.MonkeyPatch, closed_port: int, tls: Certificates
) -> None:
    with serving(Reply('["by proxy"]')) as proxy, serving(Reply("[]")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask("http://calendar.example.org/a").content == b'["by proxy"]'
        assert [asked.target for asked in proxy.asked] == ["http://calendar.example.org/a"]
        monkeypatch.setenv("no_proxy", "127.0.0.1,.example.net")
        assert ask(server.url).content == b"[]"
        monkeypatch.setenv("http_proxy", f"http://somebody:hush@127.0.0.1:{closed_port}")
        said = refused("http://calendar.example.org/a")
        assert "does not reach http://calendar.example.org through the proxy of the environment" in said
        assert "hush" not in said
    with serving(Reply(status=407)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert "through the proxy" in refused("https://calendar.example.org/a", tls=TLS(ca=str(tls.ca)))
        assert proxy.asked[0].method == "CONNECT"


def with_proxy(kind: str, proxy: str) -> sources.Source:
    settings = {"url": "http://calendar.example.org/a", "proxy": proxy, "tls": False}
    made: sources.Source = msgspec.convert(settings, sources.source_class(kind))
    return made


@pytest.mark.parametrize("kind", ["http", "ical"])
def test_the_proxy_of_a_source_is_asked_in_place_of_the_environment_s(
    kind: str, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("no_proxy", "calendar.example.org")
    day = date(2026, 11, 24)
    with serving(Reply("by proxy")) as proxy:
        with suppress(SourceError):  # an answer that is not a calendar
            with_proxy(kind, proxy.url).rows(day, day)
        assert [asked.target for asked in proxy.asked] == ["http://calendar.example.org/a"]
    with pytest.raises(SourceError, match=rf"through the proxy {proxy.url}\. Check source\.proxy"):
        with_proxy(kind, proxy.url).rows(day, day)


@pytest.mark.parametrize("kind", ["http", "ical"])
@pytest.mark.parametrize("proxy", ["proxy.example.org:3128", "http://me:hush@proxy.example.org:3128"])
def test_a_proxy_has_an_address_without_a_login(kind: str, proxy: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.proxy") as caught:
        with_proxy(kind, proxy)
    assert "hush" not in str(caught.value)


def test_an_authority_of_the_environment_does_not_count_where_tls_has_one(
    tls: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.ca))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tls.ca))
    with serving(Reply("[]"), context=tls.server()) as server:
        refused(server.url, tls=TLS(ca=str(certificates(tmp_path / "other").ca)))
        refused(server.url)


def test_words_about_an_error_that_are_cut_off_leave_its_status() -> None:
    broken = chunked(end=b"zz\r\n").replace(b"200 OK", b"500 Status")
    with serving(broken) as server:
        assert "gets 500 Status from" in refused(server.url)


def test_the_words_about_an_error_are_not_read_without_end() -> None:
    with serving(Reply(gzip.compress(json.dumps("x" * 10**7).encode()), 500, {"Content-Encoding": "gzip"})) as server:
        assert len(refused(server.url)) < 500


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON of UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON of PHP": lambda secret: json.dumps(secret).replace("/", "\\/"),
    "JSON in capitals": lambda secret: re.sub(r"\\u(....)", lambda match: f"\\u{match[1].upper()}", json.dumps(secret)),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "escaped throughout": lambda secret: "".join(f"\\u{ord(character):04x}" for character in secret),
    "an address": quote,
    "a part of an address": lambda secret: quote(secret, safe=""),
    "an address in small letters": lambda secret: re.sub("%..", lambda match: match[0].lower(), quote(secret)),
    "a form": quote_plus,
    "HTML": html.escape,
    "HTML of numbers": lambda secret: "".join(f"&#{ord(character)};" for character in secret),
    "with other blanks": lambda secret: re.sub(" +", "   ", secret),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "secret", ["abc/def+GHI==", 'p\u00e4"ss\\word', "p&ss<w>'rd", "two  words /", "a+b c%20d", "…\t.*[x]{3}"]
)
def test_a_secret_is_hidden_in_whatever_form_a_server_repeats_it(form: str, secret: str) -> None:
    web = Web("The calendar", timeout=1, most_bytes=1)
    web.hide(secret)
    assert web.shown(f"bad <{FORMS[form](secret)}> token").replace('"', "").replace("\\", "") == "bad <…> token"
