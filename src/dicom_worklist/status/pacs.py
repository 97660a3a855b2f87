"""Asking Orthanc, through its REST interface, for studies (in three questions), what it refused, and its disk.

What it says of single series and images is read by `pacs_series`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, tzinfo
from typing import Any, NamedTuple

from dicom_worklist.errors import PacsError
from dicom_worklist.orthanc import ask, failure
from dicom_worklist.settings import Pacs
from dicom_worklist.status import pacs_series
from dicom_worklist.status.records import BookingRecord, DiskSpace, Refused, Series, Study

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
#: Orthanc's number of an address that it doesn't know.
UNKNOWN = 17
#: Whose private classes begin so.
MAKERS = {"1.2.840.113619.": "GE", "1.3.12.2.1107.": "Siemens", "1.3.46.670589.": "Philips"}


class Found(NamedTuple):
    """Studies, and their series."""

    studies: tuple[Study, ...]
    series: tuple[Series, ...]


def studies(
    pacs: Pacs, first_day: date, last_day: date, zone: tzinfo = UTC, bookings: Collection[BookingRecord] = ()
) -> Found:
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
    found |= _named(pacs, zone, "StudyInstanceUID", uids)
    sought = {(booked.accession_number, booked.patient_id) for booked in _sought(bookings, found)}
    for orthanc_id, one in _named(pacs, zone, "AccessionNumber", {number for number, _ in sought}).items():
        if (one[0].accession_number, one[0].patient_id) in sought:
            found[orthanc_id] = one
    ordered = [found[orthanc_id] for orthanc_id in sorted(found)]
    return Found(tuple(study for study, _ in ordered), tuple(one for _, series in ordered for one in series))


_ByStudy = dict[str, tuple[Study, tuple[Series, ...]]]


def _sought(bookings: Iterable[BookingRecord], found: _ByStudy) -> Iterable[BookingRecord]:
    """Return the bookings of which no study was found."""
    uids = {study.study_instance_uid for study, _ in found.values()}
    numbers = {(study.accession_number, study.patient_id) for study, _ in found.values()}
    for booked in bookings:
        if booked.study_instance_uid not in uids and (booked.accession_number, booked.patient_id) not in numbers:
            yield booked


def _named(pacs: Pacs, zone: tzinfo, keyword: str, values: Iterable[str]) -> _ByStudy:
    """Return the studies with one of these values, many of which make one question (PS3.4 C.2.2.2.2)."""
    names = sorted({value for value in values if value and not {*value} & {*"*?\\"}})  # no wildcards
    found: _ByStudy = {}
    for at in range(0, len(names), MOST):
        found |= _find(pacs, zone, keyword, "\\".join(names[at : at + MOST]))
    return found


def _find(pacs: Pacs, zone: tzinfo, keyword: str, value: str) -> _ByStudy:
    """Return the studies that match, each with its series, by Orthanc's names for them."""
    question = {
        "Level": "Series",
        "Query": {keyword: value},
        "ResponseContent": ["MainDicomTags", "Metadata", "IsStable", "Parent", "RequestedTags"],
        "RequestedTags": TAGS,
    }
    answer = ask(pacs, "/tools/find", question)
    try:
        series = pacs_series.listed(answer)
        return {study.orthanc_id: (study, series.get(study.orthanc_id, ())) for study in gathered(answer, zone)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"answers with something other than studies ({error!r}); is it Orthanc 1.12.5 or newer?"
        raise failure(pacs, what) from error


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
        last_series=_last_series(parts, tags, zone),
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


def _last_series(parts: Iterable[Mapping[str, Any]], tags: Mapping[str, str], zone: tzinfo) -> datetime | None:
    """Return when the last series began; `tags` are the study's."""
    begins = []
    for part in parts:
        main = part["MainDicomTags"]
        said = {"StudyDate": _text(main.get("SeriesDate")), "StudyTime": _text(main.get("SeriesTime"))}
        start, timed = _start({**tags, **said}, zone)
        begins += [start] if start and timed else []
    return max(begins, default=None)


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


def refused(pacs: Pacs) -> tuple[Refused, ...]:
    """Return the classes of objects that were refused to scanners; none from an Orthanc that doesn't keep them.

    Raises:
        PacsError: they can't be had.
    """
    answer = _ask_script(pacs, "/refused-sop-classes")
    if answer is None:
        return ()
    try:
        named = ((one, _class_name(str(one["sop_class"]))) for one in answer)
        return tuple(_refused(one, name) for one, name in named if name)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise failure(pacs, f"answers with something other than what it refused ({error!r})") from error


def _refused(one: Mapping[str, Any], name: str) -> Refused:
    return Refused(
        ae_title=_text(one["scanner"]),
        sop_class=_text(one["sop_class"]),
        name=name,
        first=datetime.fromtimestamp(one["first"], UTC),
        last=datetime.fromtimestamp(one["last"], UTC),
        count=_number(one["count"]),
        reason="syntax" if one["syntax"] else "stored" if one["stored"] else "class",
    )


def _number(value: Any) -> int:
    """Return a number as the state can keep it."""
    if not 0 <= (number := int(value)) < 1 << 62:
        raise ValueError(f"{number} is no number of such a thing")
    return number


def _class_name(uid: str) -> str:
    """Return what a class is called; nothing if it is known, and not one of objects, such as one of a query."""
    from pydicom import config  # noqa: PLC0415 - it takes as long as a run, and is seldom needed
    from pydicom.uid import UID  # noqa: PLC0415

    if (name := UID(uid, config.IGNORE).name) != uid:
        return name if "Storage" in name and "Commitment" not in name else ""
    maker = next((maker for root, maker in MAKERS.items() if uid.startswith(root)), "")
    return f"a private class of {maker}" if maker else "an unknown class"


def disk_space(pacs: Pacs, now: datetime) -> DiskSpace | None:
    """Return how much room its disk has `now`; None from an Orthanc that doesn't know.

    Raises:
        PacsError: it can't be had.
    """
    answer = _ask_script(pacs, "/disk-space")
    if answer is None:
        return None
    try:
        return DiskSpace(at=now, free=_number(answer["free"]), size=_number(answer["size"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise failure(pacs, f"answers with something other than the room on its disk ({error!r})") from error


def _ask_script(pacs: Pacs, path: str) -> Any:
    """Return what our scripts in Orthanc answer; None if they aren't there: an image or a script of the site's own."""
    try:
        return ask(pacs, path)
    except PacsError as error:
        if error.orthanc_status == UNKNOWN:
            return None
        raise
