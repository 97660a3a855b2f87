"""Asking the web server of a calendar (RFC 9110): bounded in time and bytes, the login for that server only."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import quote_plus, urlencode, urljoin, urlsplit

import msgspec

from dicom_worklist.bookings.booking import printable
from dicom_worklist.bookings.sources import _secrets, _tls
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError

if TYPE_CHECKING:
    import requests

    from dicom_worklist.bookings.sources._transport import Unanswered

#: Seconds before a request is repeated.
PAUSE = 1.0
MOST_REDIRECTS = 5
#: Statuses of an answer that has everything; 207 is WebDAV's (RFC 4918 11.1).
GOOD = {200, 203, 207}
#: Statuses of a server that may answer the next time.
LATER = {429, 502, 503, 504}
#: How much of a server's own words about an error a message has, in characters.
MOST_WORDS = 200
REMEDIES = {
    403: "Let the calendar's administrator allow this login to read the bookings; or the login is wrong",
    407: "The proxy wants a login: let it accept this host without one; or write one into the environment's "
    "https_proxy, or name this server in no_proxy",
    429: "This is asked too often: let the server's administrator allow a request a minute for each page",
}
#: The settings that may be wrong beside the address, where a source has them.
TO_CHECK = {
    **dict.fromkeys((400, 422), ("headers", "body")),
    **dict.fromkeys((404, 410), ()),
    405: ("method",),
    406: ("headers",),
    415: ("headers", "body"),
}
Word = Annotated[str, msgspec.Meta(min_length=1)]
#: Of an HTTP proxy: a login would be in messages.
Proxy = Annotated[str, msgspec.Meta(pattern=r"^http://[^\s/@{}?#]+\Z")]
Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/@{}?#]+(/[^\s#]*)?\Z")]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=3600)]


class _Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """How a source shows the server who it is."""


class Basic(_Login, frozen=True, tag="basic"):
    """A user and a password (RFC 7617)."""

    user: Word
    password_file: str


class Bearer(_Login, frozen=True, tag="bearer"):
    """A token that doesn't change (RFC 6750)."""

    token_file: str


class OAuth2(_Login, frozen=True, tag="oauth2"):
    """A token that `token_url` gives, by OAuth 2's client credentials (RFC 6749 4.4), and that ends."""

    token_url: Address
    client_id: Word
    client_secret_file: str
    scope: str | None = None


Auth = Basic | Bearer | OAuth2


@dataclass(frozen=True)
class Answer:
    """What a server sent, decompressed. `url` is the address that gave it.

    `media_type` is in lower case, without parameters; `made` is Last-Modified, aware, in UTC.
    """

    url: str
    content: bytes
    media_type: str
    made: datetime | None


class Web:
    """Asks one server for one reading of a source; a context manager.

    `place` is the source, for messages, which name its settings auth, tls, timeout and max_megabytes, and those in
    `asked_by`. `timeout`
    (seconds) and `most_bytes` are for all its requests together, those for tokens, too. `tls` is for the calendar's
    server and the one that gives tokens; without it the system's authorities count. A secret is sent over TLS only, or
    on this machine, or where `tls` is false. A .netrc is never read.
    """

    #: The source's settings that say what is asked; the first has the address.
    asked_by: Sequence[str] = ("url", "method", "headers", "body")
    #: The HTTP proxy that is asked, for https too; None: those of the environment (https_proxy, no_proxy).
    proxy: str | None = None

    def __init__(
        self, place: object, *, auth: Auth | None = None, tls: TLS | bool | None = None, timeout: float, most_bytes: int
    ) -> None:
        """Prepare; nothing is sent yet."""
        self._place, self._auth = place, auth
        self._tls = tls if isinstance(tls, TLS) else None
        self._may_be_plain = tls is False
        self._timeout, self._most_bytes, self._bytes = timeout, most_bytes, 0
        self._origin = self._token = ""
        self._answered = False
        self._hidden: set[str] = set()

    def __enter__(self) -> Self:
        """Start the time.

        Raises:
            SourceError: a file of `tls` can't be read.
        """
        from dicom_worklist.bookings.sources._transport import Transport  # noqa: PLC0415 - a file doesn't need it

        _tls.check_files(self._tls, self._place)
        self._transport = Transport(self._tls, self._timeout, self.proxy)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self._transport.close()

    def hide(self, secret: str) -> None:
        """Keep a secret that the source sends out of the messages, where a server repeats it."""
        if secret:
            self._hidden.add(secret)

    def ask(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send a request, and return the whole answer.

        It is sent a second time after a pause where it can't have been answered (no connection) or the server asks for
        that (429 with Retry-After, 502, 503, 504), and with a new token where OAuth 2's has ended. All addresses of a
        reading are of the same server, those of redirects too.

        Raises:
            SourceError: there is no such answer, or not the whole of it.
        """
        self._origin = self._origin or origin(url)
        for _ in range(1 + MOST_REDIRECTS):
            if origin(url) != self._origin:
                raise self._failure(
                    f"names another server, {_server(url)}", "Only the one in source.url is asked: check source.url"
                )
            with self._with_login(method, url, headers or {}, body) as response:
                if response.is_redirect:
                    url = self._redirected(method, url, response)
                    continue
                if response.status_code not in GOOD:
                    raise self._refused(response, self._remedy(response))
                content = self._content(response)
                media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                return Answer(url, content, media_type, _moment(response.headers.get("Last-Modified")))
        raise self._failure(f"answers with more than {MOST_REDIRECTS} redirects", "Check source.url")

    def _remaining(self) -> float:
        """Return the seconds that are left.

        Raises:
            SourceError: no time is.
        """
        if remaining := self._transport.remaining():
            return remaining
        if not self._answered:
            raise self._failure(
                f"got no answer within {self._timeout:g} seconds (source.timeout)",
                "See whether the server is up, and is reached from this host",
            )
        raise self._failure(
            f"took longer than source.timeout, {self._timeout:g} seconds",
            "Ask for fewer bookings, or raise source.timeout",
        )

    def _with_login(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> "requests.Response":
        """Send it with the login; once more if the token, which was good before, is refused."""
        had = self._token
        response = self._exchange(method, url, {**headers, **self._login()}, body)
        if response.status_code == HTTPStatus.UNAUTHORIZED and had:
            response.close()
            self._token = ""
            response = self._exchange(method, url, {**headers, **self._login()}, body)
        return response

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> "requests.Response":
        """Send a request, a second time if that can help; the body of the answer is still to be read."""
        from dicom_worklist.bookings.sources._transport import Unanswered  # noqa: PLC0415

        plain = urlsplit(url).scheme == "http" and not _tls.is_here(_host(url))
        if plain and self._hidden and not self._may_be_plain:
            raise self._failure(
                f"would send a login to {_server(url)} without TLS, so that everybody on the way could read it",
                f"Write https in that address, {_tls.WITHOUT}",
            )
        for last in (False, True):
            self._remaining()
            try:
                response = self._transport.send(method, url, headers, body)
            except Unanswered as error:
                self._remaining()  # the time may be the reason
                if last or not error.again:
                    raise self._broken(error, url) from error
                pause = PAUSE
            else:
                self._answered = True
                after = _pause(response)
                if last or after is None or after >= self._remaining():
                    return response
                response.close()
                pause = after
            time.sleep(min(pause, self._remaining()))
        raise AssertionError

    def _content(self, response: "requests.Response") -> bytes:
        """Read an answer to its end."""
        from dicom_worklist.bookings.sources._transport import Unanswered, parts  # noqa: PLC0415

        coding = response.headers.get("Content-Encoding", "").strip().lower()
        if coding not in {"", "identity", "gzip", "x-gzip"}:
            raise self._failure(
                f"answers in the coding {printable(coding)[:40]}", "Let the server send it plain or in gzip"
            )
        content: list[bytes] = []
        try:
            for part in parts(response):
                self._bytes += len(part)
                if self._bytes > self._most_bytes:
                    raise self._failure(
                        f"sends more than {self._most_bytes / 1e6:g} MB, the most that is read",
                        "Ask for fewer days and columns, or raise source.max_megabytes",
                    )
                content.append(part)
        except Unanswered as error:
            self._remaining()  # the time may be the reason
            raise self._failure(
                f"cut its answer off, or sent it broken ({error.name})",
                "The next run tries again; if it stays so, look at the server and the proxies before it",
            ) from error
        self._remaining()  # a connection that was cut then looks like the end of an answer without a length
        return b"".join(content)

    def _redirected(self, method: str, url: str, response: "requests.Response") -> str:
        """Return where a redirect leads.

        Raises:
            SourceError: it is not followed.
        """
        target = joined(url, response.headers["Location"])
        here, there = origin(url), origin(target)
        # the address of a host is often given without TLS, and its web server sends to the one with it
        host = urlsplit(url).hostname
        if here != there and (here, there) != (f"http://{host}:80", f"https://{host}:443"):
            raise self._failure(
                f"sends the request on to {_server(target)}",
                "The login is for one server only, and never without TLS if source.url has it. "
                "A page that asks for a login may be the reason: set source.auth. "
                "If the calendar has moved, write its new address into source.url",
            )
        # a browser makes a GET of these (RFC 9110 15.4), without what was to be sent
        if (response.status_code == 303 and method != "GET") or (method == "POST" and response.status_code < 303):
            raise self._refused(response, "What is sent would be lost there: write the new address into source.url")
        self._origin = there
        return target

    def _login(self) -> dict[str, str]:
        """Return the header of `auth`."""
        match self._auth:
            case None:
                return {}
            case Basic(user=user, password_file=path):
                password = _secrets.read(path, f"the password for {self._place}")
                self.hide(password)
                return self._basic(f"{user}:{password}")
            case Bearer(token_file=path):
                token = _secrets.read(path, f"the token for {self._place}")
                if not token.isascii() or not token.isprintable() or not token:
                    raise SourceError(
                        f"{self._place} can't be read: {path} holds no token. Write it there, on one line"
                    )
                self.hide(token)
                return {"Authorization": f"Bearer {token}"}
            case OAuth2():
                self._token = self._token or self._new_token(self._auth)
                return {"Authorization": f"Bearer {self._token}"}

    def _basic(self, login: str) -> dict[str, str]:
        encoded = b64encode(login.encode()).decode()
        self.hide(encoded)
        return {"Authorization": f"Basic {encoded}"}

    def _new_token(self, auth: OAuth2) -> str:
        """Ask for a token: the client's name and secret go in the header, or, if that is refused, in the body."""
        secret = _secrets.read(auth.client_secret_file, f"the client's secret for {self._place}")
        self.hide(secret)
        form = {"grant_type": "client_credentials"} | ({"scope": auth.scope} if auth.scope else {})
        ways: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
            (self._basic(f"{quote_plus(auth.client_id)}:{quote_plus(secret)}"), form),
            ({}, {**form, "client_id": auth.client_id, "client_secret": secret}),
        )
        remedy = f"Check source.auth: token_url, client_id, scope, and the secret in {auth.client_secret_file}"
        kinds = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        for headers, sent in ways:
            with self._exchange("POST", auth.token_url, kinds | headers, urlencode(sent).encode()) as response:
                if response.status_code in {400, 401} and sent is form:
                    continue
                if response.status_code != HTTPStatus.OK:
                    raise self._refused(response, remedy)
                try:
                    answer = json.loads(self._content(response))
                    token, kind = answer["access_token"], answer.get("token_type", "Bearer")
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    token = kind = None
            if not isinstance(token, str) or not re.fullmatch("[!-~]+", token) or str(kind).lower() != "bearer":
                raise self._failure(f"gets no bearer token from {_server(auth.token_url)}", remedy)
            self.hide(token)
            return token
        raise AssertionError

    def _refused(self, response: "requests.Response", remedy: str) -> SourceError:
        """Return the error of a status, with the server's own words if it has some for programs."""
        from dicom_worklist.bookings.sources._transport import Unanswered, parts  # noqa: PLC0415

        words = ""
        if "json" in response.headers.get("Content-Type", "").lower():
            with suppress(Unanswered):
                words = next(parts(response), b"").decode("utf-8", "replace")
        self._remaining()
        words = self.shown(words)
        reason = printable(response.reason or "")[:40]
        status = f"{response.status_code} {reason}".strip()
        return self._failure(f"gets {status} from {_server(response.url)}{f' ({words})' if words else ''}", remedy)

    def shown(self, words: str) -> str:
        """Return a server's words for a message: short, printable, without what is secret."""
        words = printable(" ".join(_secrets.hidden(words, self._hidden).split()))
        return words if len(words) <= MOST_WORDS else f"{words[:MOST_WORDS]}…"

    def _remedy(self, response: "requests.Response") -> str:
        status = response.status_code
        if status == HTTPStatus.UNAUTHORIZED:
            return self._login_remedy(response)
        if status in TO_CHECK:
            also = [f"source.{setting}" for setting in TO_CHECK[status] if setting in self.asked_by]
            return f"Check {' and '.join(['source.url', *also])}"
        if status in REMEDIES:
            return REMEDIES[status]
        if status >= 500:
            return "The server has a fault: look at its log. The next run tries again"
        return "Check source.url: this is not an answer with bookings"

    def _login_remedy(self, response: "requests.Response") -> str:
        match self._auth:
            case None:
                wanted = printable(response.headers.get("WWW-Authenticate", "").partition(" ")[0])[:40]
                return f"It wants a login{f' ({wanted})' if wanted else ''}: set source.auth"
            case Basic(user=user, password_file=path):
                return f"Compare the user {user!r} and the password in {path} with the calendar's"
            case Bearer(token_file=path):
                return f"Write a token that the calendar accepts into {path}"
            case OAuth2(client_id=client):
                return f"The calendar doesn't accept the token: let it allow {client!r}, and check source.auth.scope"

    def _broken(self, error: "Unanswered", url: str) -> SourceError:
        """Return the error of a request without an answer."""
        server = _server(url)
        if error.tls:
            what = getattr(error.tls, "verify_message", "") or error.tls.reason or str(error.tls)
            setting = "source.url" if origin(url) == self._origin else "source.auth.token_url"
            return self._failure(
                f"has no safe connection to {server} ({printable(what)})",
                f"The server doesn't speak TLS at this port: check {setting}"
                if error.tls.reason == "WRONG_VERSION_NUMBER"
                else _tls.remedy(error.tls, setting, _host(url)),
            )
        if error.by_proxy:
            if self.proxy:
                return self._failure(f"does not reach {server} through the proxy {self.proxy}", "Check source.proxy")
            return self._failure(
                f"does not reach {server} through the proxy of the environment",
                "Check https_proxy, http_proxy and no_proxy there",
            )
        return self._failure(
            f"gets no answer from {server}: {error.words[:MOST_WORDS]}"
            if error.words
            else f"gets no answer of HTTP from {server} ({error.name})",
            "Check that the server runs and is reached from this host, and source.url",
        )

    def _failure(self, what: str, remedy: str) -> SourceError:
        remedy = remedy.replace("source.url", f"source.{self.asked_by[0]}")
        return SourceError(f"{self._place} can't be read: it {what}. {remedy}")


def origin(url: str) -> str:
    """Return scheme, host and port of an address: what has to be the same for a login to go there."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def joined(url: str, target: str) -> str:
    """Return the address of a target, which may be relative to `url`; one that is not valid stays as it is."""
    try:
        return urljoin(url, target)
    except ValueError:
        return target


def _server(url: str) -> str:
    """Return an address for a message: without a login, a path or a query, each of which may hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that is not valid"
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")[:MOST_WORDS]


def _pause(response: "requests.Response") -> float | None:
    """Return after how many seconds the request is sent again; None if it is not."""
    after = response.headers.get("Retry-After", "").strip()
    if response.status_code not in LATER or (response.status_code == HTTPStatus.TOO_MANY_REQUESTS and not after):
        return None
    return max(float(after), PAUSE) if re.fullmatch("[0-9]{1,6}", after) else PAUSE


def _moment(written: str | None) -> datetime | None:
    """Return a date of a header (RFC 9110 5.6.7)."""
    try:
        moment = parsedate_to_datetime(written or "")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
