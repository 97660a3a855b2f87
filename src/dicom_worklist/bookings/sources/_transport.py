"""Requests over HTTP whose connections all end at one time; the only module that knows requests and urllib3."""

import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from dicom_worklist.bookings.booking import printable
from dicom_worklist.bookings.sources._tls import TLS

#: Seconds that a server may take to accept a connection.
CONNECT = 10.0
#: What a request, or reading its answer, can fail with.
_FAILURES = (
    *(requests.RequestException, urllib3.exceptions.HTTPError, HTTPException),
    *(OSError, EOFError, ValueError, zlib.error),
)


class Unanswered(Exception):  # noqa: N818 - the caller makes the error that people see
    """There is no whole answer.

    `words` says why, without what may be secret: the text of requests' own errors has the address. `tls` is the reason
    if TLS is; `by_proxy` says that a proxy wasn't reached or refused; `again` that a second try can help.
    """

    def __init__(self, error: Exception) -> None:
        """Find out what the error began with."""
        cause = _cause(error)
        # a server that closes a connection it kept looks like a fault of TLS
        closed = isinstance(cause, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError))
        self.tls = cause if isinstance(cause, ssl.SSLError) and not closed else None
        self.by_proxy = isinstance(error, requests.exceptions.ProxyError)
        self.again = isinstance(error, requests.ConnectTimeout) or closed
        self.name = type(cause).__name__
        self.words = ""
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            self.words = printable(cause.strerror or str(cause))
        super().__init__(self.words or self.name)


class Transport:
    """Sends requests, for so many seconds in all; then its connections are cut."""

    def __init__(self, tls: TLS | None, seconds: float, proxy: str | None = None) -> None:
        """Start the time; without a `proxy` those of the environment count."""
        self._tls, self._over, self._proxy = tls, False, proxy
        self._connections: list[Any] = []
        self._sockets: list[socket.socket] = []
        self._session = _session(self._watched)
        if tls:
            self._session.verify = tls.ca
            if tls.certificate:
                self._session.cert = (tls.certificate, tls.key) if tls.key else tls.certificate
        else:  # what this host trusts, and not what requests brings
            system = ssl.get_default_verify_paths()
            self._session.verify = system.cafile or system.capath or True
        self._deadline = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Close the connections."""
        self._timer.cancel()
        self._session.close()

    def remaining(self) -> float:
        """Return the seconds that are left; 0 is the end."""
        return 0 if self._over else max(self._deadline - time.monotonic(), 0)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> requests.Response:
        """Send a request, without a login of requests' own; the body of the answer, and a redirect, are the caller's.

        Raises:
            Unanswered: there is no answer.
        """
        left = max(self.remaining(), 0.001)
        given = dict.fromkeys(("http", "https"), self._proxy) if self._proxy else None
        try:
            return self._session.request(
                method,
                url,
                headers=headers,
                data=body,
                proxies=given or requests.utils.get_environ_proxies(url),
                timeout=(min(CONNECT, left), left),
                allow_redirects=False,
                stream=True,
            )
        except _FAILURES as error:
            raise Unanswered(error) from None

    def _watched(self, kind: Callable[..., Any]) -> Callable[..., Any]:
        """Return what makes connections that `_end` can cut."""

        def connection(*arguments: Any, **options: Any) -> Any:
            if "assert_hostname" in options and self._tls and not self._tls.verify_hostname:
                options["assert_hostname"] = False
            made = kind(*arguments, **options)
            connect = made.connect

            def connected() -> None:
                connect()
                self._sockets.append(made.sock)  # the connection forgets it before the answer is read
                if self._over:
                    self._end()

            made.connect = connected
            self._connections.append(made)
            return made

        return connection

    def _end(self) -> None:
        """Cut the connections, in whichever state they are: only this ends a server that trickles its headers."""
        self._over = True
        for one in [*self._sockets, *(connection.sock for connection in self._connections)]:
            with suppress(OSError):
                if one is not None:
                    socket.socket.shutdown(one, socket.SHUT_RDWR)


def parts(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of an answer in parts, unpacked if it is in gzip.

    Content-Length, the last chunk and the end of gzip's data have to confirm its end.

    Raises:
        Unanswered: it is cut off, or broken.
    """
    # requests leaves it as it is; its own decoder doesn't notice a compressed answer that is cut off
    packed = response.headers.get("Content-Encoding", "").strip().lower() in {"gzip", "x-gzip"}
    body = gzip.GzipFile(fileobj=response.raw) if packed else response.raw
    try:
        while part := body.read(1 << 16):
            yield part
    except _FAILURES as error:
        raise Unanswered(error) from None


def _session(watched: Callable[[Callable[..., Any]], Callable[..., Any]]) -> requests.Session:
    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
            pool: Any = super().get_connection_with_tls_context(*arguments, **options)
            pool.ConnectionCls = watched(type(pool).ConnectionCls)
            return pool

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> None:
            """Look at no redirect: the caller does, and requests would read all that comes with it."""

    session = Session()
    session.trust_env = False  # no .netrc, no REQUESTS_CA_BUNDLE; the proxies are given with each request
    session.headers = requests.structures.CaseInsensitiveDict(
        {"User-Agent": "dicom-worklist", "Accept-Encoding": "gzip"}
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session


def _cause(error: BaseException) -> BaseException:
    """Return what an error of requests or urllib3 began with."""
    while inner := error.__cause__ or next((one for one in error.args if isinstance(one, BaseException)), None):
        error = inner
    return error
