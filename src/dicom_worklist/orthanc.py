"""Sending one request to Orthanc's REST interface."""

import json
import ssl
import time
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from dicom_worklist.bookings import printable
from dicom_worklist.errors import PacsError
from dicom_worklist.settings import Pacs

#: The largest answer in bytes, unless it is a DICOM file.
LARGEST = 1 << 30


def ask(pacs: Pacs, path: str, content: object = None, method: str | None = None, largest: int = LARGEST) -> Any:
    """Send one request to Orthanc, and return its answer: bytes if it is a DICOM file, else what its JSON says.

    `content` is sent as it is if it is bytes, else as JSON; without any it is a GET. JSON of more than `largest` bytes
    is an error.

    Raises:
        PacsError: there is no such answer.
    """
    try:
        password = Path(pacs.password_file).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise PacsError(
            f"pacs.password_file {pacs.password_file} can't be read: {error}; site.yml writes it"
        ) from error
    login = b64encode(f"{pacs.user}:{password}".encode()).decode()
    sent = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
    kind = "application/octet-stream" if sent is content else "application/json"
    request = Request(  # noqa: S310 - the configuration allows http and https only
        pacs.url.rstrip("/") + path,
        sent,
        {"Authorization": f"Basic {login}", "Content-Type": kind},
        method=method,
    )
    try:
        with _opener(pacs).open(request, timeout=pacs.timeout) as answer:
            file = answer.headers.get_content_type() == "application/dicom"
            body = _read(answer, time.monotonic() + pacs.timeout, None if file else largest)
            return body if file or not body else json.loads(body)
    except HTTPError as error:
        with error:
            remedy, (details, status) = "", _details(pacs, error)
            if error.code in {401, 403}:
                remedy = f"; compare {pacs.user!r} and the password in {pacs.password_file} with Orthanc's"
            failed = failure(pacs, f"answers {error.code} {error.reason}{details}{remedy}")
            failed.orthanc_status = status
            raise failed from error
    except (OSError, HTTPException, ValueError, RecursionError) as error:  # URLError is an OSError
        reason = error.reason if isinstance(error, URLError) else error
        remedy = "check that its container runs, and pacs.url"
        if isinstance(reason, ssl.SSLError):
            remedy = "pacs.url must have a name that is in its certificate, and pacs.ca_file what has signed that"
        elif isinstance(reason, TimeoutError):
            remedy += "; on another host, that orthanc_http_allowed_addresses has this one"
        raise failure(pacs, f"can't be asked: {reason}; {remedy}") from error


def _details(pacs: Pacs, error: HTTPError) -> tuple[str, int | None]:
    """Return what Orthanc says about an error, in brackets, and its number of it."""
    with suppress(OSError, HTTPException, ValueError, RecursionError, LookupError, AttributeError):
        said = json.loads(_read(error, time.monotonic() + pacs.timeout, LARGEST))
        return f" ({printable(str(said.get('Details') or said['Message']))})", int(said["OrthancStatus"])
    return "", None


def _read(answer: Any, deadline: float, largest: int | None) -> bytes:
    """Read an answer to its end: one that trickles, or never ends, must not keep the run."""
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took longer than pacs.timeout")
        if largest and size > largest:
            raise ValueError("the answer is too large for what was asked")
    if answer.length:  # what was promised and did not come
        raise IncompleteRead(b"".join(parts), answer.length)
    return b"".join(parts)


class _NoRedirect(HTTPRedirectHandler):
    """The login is for this address and no other."""

    def redirect_request(self, *_: object) -> None:
        return None


@lru_cache(maxsize=8)  # reading the certificates takes longer than most questions
def _opener(pacs: Pacs) -> OpenerDirector:
    """Return what asks this PACS: no proxy of the environment's, no redirect, its certificate checked."""
    handlers: list[Any] = [ProxyHandler({}), _NoRedirect]
    if pacs.url.startswith("https:"):
        try:
            context = ssl.create_default_context(cafile=pacs.ca_file)
        except (OSError, ValueError) as error:
            raise PacsError(f"pacs.ca_file {pacs.ca_file} can't be used: {error}; site.yml writes it") from error
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # of a given one the root may not be there
        context.check_hostname = pacs.check_hostname
        handlers.append(HTTPSHandler(context=context))
    return build_opener(*handlers)


def failure(pacs: Pacs, what: str) -> PacsError:
    """Return the error that says what this Orthanc does."""
    return PacsError(f"Orthanc at {pacs.url} {what}")
