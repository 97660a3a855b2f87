"""Asking Orthanc, through its REST interface, which studies it has: three questions, however many studies there are."""

import json
import re
import ssl
import time
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from dicom_worklist.bookings import printable
from dicom_worklist.errors import PacsError
from dicom_worklist.settings import Pacs
from dicom_worklist.status.records import BookingRecord, Study

#: No answer takes as many reads, of 64 KiB at the most.
LARGEST = 1 << 14
#: What is asked of each series in addition to Orthanc's main tags.
TAGS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "PatientID",
    "PatientName",
    "TimezoneOffsetFromUTC",
    "NumberOfSeriesRelatedInstances",
)
#: How many values one question has at the most.
MOST = 1000


def studies(
    pacs: Pacs, first_day: date, last_day: date, zone: tzinfo = UTC, bookings: Collection[BookingRecord] = ()
) -> tuple[Study, ...]:
    """Return the studies whose StudyDate is one of these days, both included, and those of these bookings.

    A console whose clock is wrong dates its studies elsewhere. So the bookings without a study are asked for by
    StudyInstanceUID, and then by AccessionNumber, which counts only with the PatientID: others number studies, too.
    Series are asked for, because only they know the AE title that stored them, and whether they grow. `zone` is the
    site's.

    Raises:
        PacsError: they can't be had.
    """
    found = _find(pacs, zone, "StudyDate", f"{first_day:%Y%m%d}-{last_day:%Y%m%d}")
    uids = [booked.study_instance_uid for booked in _sought(bookings, found)]
    for one in _named(pacs, zone, "StudyInstanceUID", uids):
        found[one.orthanc_id] = one
    sought = {(booked.accession_number, booked.patient_id) for booked in _sought(bookings, found)}
    for one in _named(pacs, zone, "AccessionNumber", {number for number, _ in sought}):
        if (one.accession_number, one.patient_id) in sought:
            found[one.orthanc_id] = one
    return tuple(found[orthanc_id] for orthanc_id in sorted(found))


def _sought(bookings: Iterable[BookingRecord], found: Mapping[str, Study]) -> Iterable[BookingRecord]:
    """Return the bookings of which no study was found."""
    uids = {study.study_instance_uid for study in found.values()}
    numbers = {(study.accession_number, study.patient_id) for study in found.values()}
    for booked in bookings:
        if booked.study_instance_uid not in uids and (booked.accession_number, booked.patient_id) not in numbers:
            yield booked


def _named(pacs: Pacs, zone: tzinfo, keyword: str, values: Iterable[str]) -> Iterable[Study]:
    """Return the studies with one of these values, many of which make one question (PS3.4 C.2.2.2.2)."""
    names = sorted({value for value in values if value and not {*value} & {*"*?\\"}})  # no wildcards
    for at in range(0, len(names), MOST):
        yield from _find(pacs, zone, keyword, "\\".join(names[at : at + MOST])).values()


def _find(pacs: Pacs, zone: tzinfo, keyword: str, value: str) -> dict[str, Study]:
    """Return the studies that match, by Orthanc's names for them."""
    question = {
        "Level": "Series",
        "Query": {keyword: value},
        "ResponseContent": ["MainDicomTags", "Metadata", "IsStable", "Parent", "RequestedTags"],
        "RequestedTags": TAGS,
    }
    answer = ask(pacs, "/tools/find", question)
    try:
        return {study.orthanc_id: study for study in gathered(answer, zone)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"answers with something other than studies ({error!r}); is it Orthanc 1.12.5 or newer?"
        raise _failure(pacs, what) from error


def gathered(series: Iterable[Mapping[str, Any]], zone: tzinfo = UTC) -> tuple[Study, ...]:
    """Return the studies that these series, as Orthanc lists them, make; `zone` is the site's.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the answer is something else.
    """
    by_study: dict[str, list[Mapping[str, Any]]] = {}
    for one in series:
        by_study.setdefault(_text(one["ParentStudy"]), []).append(one)
    return tuple(_study(orthanc_id, parts, zone) for orthanc_id, parts in sorted(by_study.items()))


def _text(value: object) -> str:
    """Return a value of the answer as text that can be written down: no null, no half of a surrogate pair."""
    return str(value or "").encode("utf-8", "replace").decode()


def _study(orthanc_id: str, parts: list[Mapping[str, Any]], zone: tzinfo) -> Study:
    tags = {name: _text(value) for name, value in parts[0]["RequestedTags"].items()}
    metadata = [part["Metadata"] for part in parts]
    steps = [
        _text(item.get("ScheduledProcedureStepID"))
        for part in parts
        for item in part["MainDicomTags"].get("RequestAttributesSequence") or ()
    ]
    start, timed = _start(tags, zone)
    return Study(
        orthanc_id=orthanc_id,
        study_instance_uid=tags.get("StudyInstanceUID", ""),
        patient_id=tags.get("PatientID", ""),
        patient_name=tags.get("PatientName", ""),
        accession_number=tags.get("AccessionNumber", ""),
        step_ids=tuple(sorted({*steps} - {""})),
        ae_titles=tuple(sorted({_text(one.get("RemoteAET")) for one in metadata} - {""})),
        start=start,
        timed=timed,
        description=tags.get("StudyDescription", ""),
        series=len(parts),
        instances=sum(int(part["RequestedTags"].get("NumberOfSeriesRelatedInstances") or 0) for part in parts),
        stable=all(part["IsStable"] is True for part in parts),
        updated=max(
            (
                datetime.strptime(one["LastUpdate"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
                for one in metadata
                if "LastUpdate" in one
            ),
            default=None,
        ),
    )


def _start(tags: Mapping[str, str], zone: tzinfo) -> tuple[datetime | None, bool]:
    """Return StudyDate and StudyTime at the site, and whether there is a time; midnight without one.

    DA and TM are those of PS3.5 6.2, HH, HHMM or HHMMSS, and HH:MM:SS of ACR-NEMA. With a TimezoneOffsetFromUTC (PS3.3
    C.12.1.1.8) they are of that zone, else of the site's.
    """
    day = tags.get("StudyDate", "").strip().replace(".", "")
    clock = tags.get("StudyTime", "").strip().partition(".")[0].replace(":", "")
    offset = tags.get("TimezoneOffsetFromUTC", "").strip()
    for text, timed in ((f"{day}T{clock.ljust(6, '0')}", clock != ""), (f"{day}T000000", False)):
        if re.fullmatch("[0-9]{8}T[0-9]{6}", text):
            with suppress(ValueError, OverflowError):
                start = datetime.strptime(text, "%Y%m%dT%H%M%S")  # noqa: DTZ007 - the scanner's own time, the site's
                with suppress(ValueError, OverflowError):  # what is not an offset says nothing
                    if timed and re.fullmatch("[+-][0-9]{4}", offset):
                        there = datetime.strptime(f"{text}{offset}", "%Y%m%dT%H%M%S%z")
                        start = there.astimezone(zone).replace(tzinfo=None)
                return start, timed
    return None, False


def ask(pacs: Pacs, path: str, content: object = None, method: str | None = None) -> Any:
    """Send one request to Orthanc, and return its answer: bytes if it is a DICOM file, else what its JSON says.

    `content` is sent as it is if it is bytes, else as JSON; without any it is a GET.

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
            body = _read(answer, time.monotonic() + pacs.timeout, None if file else LARGEST)
            return body if file or not body else json.loads(body)
    except HTTPError as error:
        with error:
            remedy = ""
            if error.code in {401, 403}:
                remedy = f"; compare {pacs.user!r} and the password in {pacs.password_file} with Orthanc's"
            raise _failure(pacs, f"answers {error.code} {error.reason}{_details(pacs, error)}{remedy}") from error
    except (OSError, HTTPException, ValueError, RecursionError) as error:  # URLError is an OSError
        reason = error.reason if isinstance(error, URLError) else error
        remedy = "check that its container runs, and pacs.url"
        if isinstance(reason, ssl.SSLError):
            remedy = "pacs.url must have a name that is in its certificate, and pacs.ca_file what has signed that"
        elif isinstance(reason, TimeoutError):
            remedy += "; on another host, that orthanc_http_allowed_addresses has this one"
        raise _failure(pacs, f"can't be asked: {reason}; {remedy}") from error


def _details(pacs: Pacs, error: HTTPError) -> str:
    """Return what Orthanc says about an error, in brackets."""
    with suppress(OSError, HTTPException, ValueError, RecursionError, LookupError, AttributeError):
        said = json.loads(_read(error, time.monotonic() + pacs.timeout, LARGEST))
        return f" ({printable(str(said.get('Details') or said['Message']))})"
    return ""


def _read(answer: Any, deadline: float, largest: int | None) -> bytes:
    """Read an answer to its end: one that trickles, or never ends, must not keep the run."""
    parts: list[bytes] = []
    while part := answer.read1(1 << 16):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took longer than pacs.timeout")
        if largest and len(parts) > largest:
            raise ValueError("the answer is too large for a list of studies")
    if answer.length:  # what was promised and did not come
        raise IncompleteRead(b"".join(parts), answer.length)
    return b"".join(parts)


class _NoRedirect(HTTPRedirectHandler):
    """The login is for this address and no other."""

    def redirect_request(self, *_: object) -> None:
        return None


@lru_cache(maxsize=1)  # reading the certificates takes longer than most questions
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


def _failure(pacs: Pacs, what: str) -> PacsError:
    return PacsError(f"Orthanc at {pacs.url} {what}")
