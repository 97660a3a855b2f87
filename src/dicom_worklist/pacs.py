"""Asking Orthanc, through its REST interface, which studies it has: one question, whatever their number."""

import json
import ssl
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from dicom_worklist.config import Pacs
from dicom_worklist.errors import PacsError
from dicom_worklist.reconcile import Study

#: What is asked of each series besides Orthanc's main tags of it.
TAGS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "PatientID",
    "PatientName",
    "NumberOfSeriesRelatedInstances",
)


def studies(pacs: Pacs, first_day: date, last_day: date) -> tuple[Study, ...]:
    """Return the studies whose StudyDate is one of these days, both included.

    Series are asked for, because only they know the AE title that stored them, and whether they grow.

    Raises:
        PacsError: they can't be had.
    """
    question = {
        "Level": "Series",
        "Query": {"StudyDate": f"{first_day:%Y%m%d}-{last_day:%Y%m%d}"},
        "ResponseContent": ["MainDicomTags", "Metadata", "IsStable", "Parent", "RequestedTags"],
        "RequestedTags": TAGS,
    }
    answer = _ask(pacs, "/tools/find", question)
    try:
        return _gathered(answer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _failure(
            pacs, f"answers something else than studies ({error!r}); is it Orthanc 1.12.5 or newer?"
        ) from error


def _gathered(series: Iterable[Mapping[str, Any]]) -> tuple[Study, ...]:
    """Return the studies that these series make."""
    by_study: dict[str, list[Mapping[str, Any]]] = {}
    for one in series:
        by_study.setdefault(one["ParentStudy"], []).append(one)
    return tuple(_study(orthanc_id, parts) for orthanc_id, parts in sorted(by_study.items()))


def _study(orthanc_id: str, parts: list[Mapping[str, Any]]) -> Study:
    tags = parts[0]["RequestedTags"]
    metadata = [part["Metadata"] for part in parts]
    steps = [
        str(item.get("ScheduledProcedureStepID", ""))
        for part in parts
        for item in part["MainDicomTags"].get("RequestAttributesSequence") or ()
    ]
    return Study(
        orthanc_id=orthanc_id,
        study_instance_uid=tags.get("StudyInstanceUID", ""),
        patient_id=tags.get("PatientID", ""),
        patient_name=tags.get("PatientName", ""),
        accession_number=tags.get("AccessionNumber", ""),
        step_ids=tuple(sorted({*steps} - {""})),
        ae_titles=tuple(sorted({one.get("RemoteAET", "") for one in metadata} - {""})),
        start=_start(tags),
        description=tags.get("StudyDescription", ""),
        series=len(parts),
        instances=sum(int(part["RequestedTags"].get("NumberOfSeriesRelatedInstances") or 0) for part in parts),
        stable=all(part["IsStable"] for part in parts),
        updated=max(
            (
                datetime.strptime(one["LastUpdate"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
                for one in metadata
                if "LastUpdate" in one
            ),
            default=None,
        ),
    )


def _start(tags: Mapping[str, str]) -> datetime | None:
    """Return StudyDate and StudyTime (PS3.5 6.2, DA and TM); midnight where the time can't be read."""
    day, clock = tags.get("StudyDate", ""), tags.get("StudyTime", "").partition(".")[0]
    for text, form in ((day + clock, "%Y%m%d%H%M%S"), (day + clock, "%Y%m%d%H%M"), (day, "%Y%m%d")):
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the scanner's own time, which is the site's
        except ValueError:
            continue
    return None


def _ask(pacs: Pacs, path: str, question: object) -> Any:
    try:
        password = Path(pacs.password_file).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, ValueError) as error:
        raise PacsError(
            f"pacs.password_file {pacs.password_file} can't be read: {error}; site.yml writes it"
        ) from error
    login = b64encode(f"{pacs.user}:{password}".encode()).decode()
    request = Request(  # noqa: S310 - the configuration allows http and https only
        pacs.url.rstrip("/") + path,
        json.dumps(question).encode(),
        {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
    )
    try:
        with _opener(pacs).open(request, timeout=pacs.timeout) as answer:
            return json.load(answer)
    except HTTPError as error:
        with error:
            remedy = "; compare pacs.user and its password with Orthanc's" if error.code in {401, 403} else ""
            raise _failure(pacs, f"answers {error.code} {error.reason}{remedy}") from error
    except URLError as error:
        raise _failure(pacs, f"can't be asked: {error.reason}; check that its container runs, and pacs.url") from error
    except (OSError, HTTPException, ValueError) as error:  # TimeoutError is an OSError
        raise _failure(pacs, f"can't be asked: {error}; check that its container runs, and pacs.url") from error


class _NoRedirect(HTTPRedirectHandler):
    """The login is for this address and no other."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener(pacs: Pacs) -> OpenerDirector:
    """Return what asks this PACS: no proxy of the environment's, no redirect, its certificate checked."""
    handlers: list[Any] = [ProxyHandler({}), _NoRedirect]
    if pacs.url.startswith("https:"):
        try:
            context = ssl.create_default_context(cafile=pacs.ca_file)
        except (OSError, ValueError) as error:
            raise PacsError(f"pacs.ca_file {pacs.ca_file} can't be used: {error}; site.yml writes it") from error
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # of a given one the root may not be there
        # a site's own certificate has the names that others call the host by
        context.check_hostname = pacs.ca_file is None or not _is_loopback(urlsplit(pacs.url).hostname or "")
        handlers.append(HTTPSHandler(context=context))
    return build_opener(*handlers)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _failure(pacs: Pacs, what: str) -> PacsError:
    return PacsError(f"Orthanc at {pacs.url} {what}")
