"""Asking Orthanc for the series that changed, for their images, and for the bytes of each."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any, NamedTuple

import msgspec

from dicom_worklist.errors import PacsError
from dicom_worklist.orthanc import ask, failure
from dicom_worklist.settings import Pacs

#: How many series one question has at the most.
PAGE = 200
#: A series that Orthanc never calls stable, because it was killed, is complete after that time without an image.
QUIET = timedelta(hours=1)
#: When an image came to a series of which Orthanc doesn't say it.
NEVER = "19700101T000000"
#: Tag → what it is called in templates and rules.
NAMES = {
    "PatientID": "patient_id",
    "PatientName": "patient_name",
    "StudyDate": "study_date",
    "StudyTime": "study_time",
    "StudyInstanceUID": "study_instance_uid",
    "StudyDescription": "study_description",
    "AccessionNumber": "accession_number",
    "Modality": "modality",
    "SeriesNumber": "series_number",
    "SeriesInstanceUID": "series_instance_uid",
    "SeriesDescription": "series_description",
    "ProtocolName": "protocol_name",
}
#: PatientName of an entry with `identity: dccn`; PatientID is what stands before _ses-.
_IDENTITY = re.compile(r"(?P<project_id>.+)_sub-(?P<subject>[^_]+)_ses-(?P<session>[0-9]+)")


class Image(NamedTuple):
    """An image of a series: Orthanc's id, its SOPInstanceUID, its file's checksum as it was received, and its name."""

    id: str
    uid: str
    md5: str
    file: str = ""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """A series as Orthanc has it. `updated` is when the last image came (UTC), `stable` that no more are expected.

    `values` are what templates and rules can use.
    """

    id: str
    study: str
    images: int
    updated: datetime
    stable: bool
    values: dict[str, str | int]

    @property
    def version(self) -> str:
        """What changes with each image that comes or goes."""
        return f"{self.images} {self.updated:%Y%m%dT%H%M%S}"


class Damaged(Exception):  # noqa: N818 - a verdict on one image
    """The PACS's own file of an image isn't what was received."""


def changed(pacs: Pacs, since: datetime) -> Iterator[Series]:
    """Yield the series to which an image came after a time (UTC), the newest first.

    Raises:
        PacsError: they can't be had.
    """
    for start in range(0, 1 << 31, PAGE):
        page = _find(pacs, {"OrderBy": [_NEWEST], "Since": start, "Limit": PAGE})
        yield from (one for one in page if one.updated >= since)
        if len(page) < PAGE or page[-1].updated < since:
            return


_NEWEST = {"Type": "Metadata", "Key": "LastUpdate", "Direction": "DESC"}


def of_study(pacs: Pacs, study: str) -> list[Series]:
    """Return the series of a study: Orthanc's id of it, or its StudyInstanceUID.

    Raises:
        PacsError: they can't be had.
    """
    return _find(pacs, {"ParentStudy": study} if "-" in study else {"Query": {"StudyInstanceUID": study}})


def _find(pacs: Pacs, question: Mapping[str, Any]) -> list[Series]:
    answer = ask(
        pacs,
        "/tools/find",
        {
            "Level": "Series",
            "Query": {},
            "ResponseContent": ["Metadata", "IsStable", "Parent", "RequestedTags", "Children"],
            "RequestedTags": [*NAMES],
            **question,
        },
    )
    try:
        return [_series(one) for one in answer]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"answers with something other than series ({error!r}); is it Orthanc 1.12.5 or newer?"
        raise failure(pacs, what) from error


def _series(one: Mapping[str, Any]) -> Series:
    given = one["RequestedTags"] or {}
    tags = {name: str(value or "").encode("utf-8", "replace").decode() for name, value in given.items()}
    metadata = one["Metadata"] or {}
    values: dict[str, str | int] = {called: tags.get(tag, "").strip() for tag, called in NAMES.items()}
    values["ae_title"] = str(metadata.get("RemoteAET") or "")
    number = str(values["series_number"])
    values["series_number"] = int(number) if re.fullmatch("[0-9]{1,12}", number) else ""
    name = tags.get("PatientName", "").partition("=")[0].rstrip("^ ").strip()  # PS3.5 6.2: groups, and empty parts
    named = _IDENTITY.fullmatch(name)
    if named and name.rpartition("_ses-")[0] == values["patient_id"]:
        values |= named.groupdict()
    return Series(
        id=str(one["ID"]),
        study=str(one["ParentStudy"]),
        images=len(one.get("Instances") or ()),
        updated=datetime.strptime(metadata.get("LastUpdate") or NEVER, "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
        stable=one["IsStable"] is True,
        values=values,
    )


def images(pacs: Pacs, series: str) -> tuple[Image, ...]:
    """Return the images of a series (Orthanc's id), in the order of their UIDs; none if there is no such series.

    Raises:
        PacsError: they can't be had.
    """
    answer = ask(
        pacs,
        "/tools/find",
        {
            "Level": "Instance",
            "Query": {},
            "ParentSeries": series,
            "ResponseContent": ["MainDicomTags", "Attachments"],
        },
    )
    try:
        found = [
            Image(one["ID"], one["MainDicomTags"]["SOPInstanceUID"], file["UncompressedMD5"], file["Uuid"])
            for one in answer
            for file in one["Attachments"]
            if file["ContentType"] == 1  # the DICOM file
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise failure(pacs, f"answers with something other than images ({error!r})") from error
    return tuple(sorted(found, key=lambda image: image.uid))


def read(pacs: Pacs, image: Image, wait: Callable[[], None] = lambda: None) -> bytes:
    """Return the file of an image, when `wait` has returned.

    Raises:
        Damaged: it isn't what was received.
        PacsError: it can't be had.
    """
    wait()
    with _damaged(image):
        file: bytes = ask(pacs, f"/instances/{image.id}/file")
    if md5(file, usedforsecurity=False).hexdigest() != image.md5:
        raise Damaged(image.uid)
    return file


def verify(pacs: Pacs, found: Iterable[Image], wait: Callable[[], None] = lambda: None) -> None:
    """Let Orthanc read the file of each image from its disk, and compare it with what was received.

    It waits before each image until `wait` has returned.

    Raises:
        Damaged: one isn't what was received, or is gone.
        PacsError: Orthanc can't be asked, or answers from its memory.
    """
    kept = ask(pacs, "/system").get("Performance", {}).get("MaximumStorageCacheSize")
    if kept != 0:  # even a file that is gone would be called good
        raise failure(
            pacs,
            "keeps images in memory, and so doesn't say what is on its disk: set MaximumStorageCacheSize to 0 there "
            "(orthanc_settings)",
        )
    for image in found:
        wait()
        with _damaged(image):
            ask(pacs, f"/instances/{image.id}/attachments/dicom/verify-md5", b"")


@contextmanager
def _damaged(image: Image) -> Iterator[None]:
    """An error that Orthanc itself answers is of the file: it compares what it reads."""
    try:
        yield
    except PacsError as error:
        if error.orthanc_status is None:
            raise
        raise Damaged(image.uid) from error


def alive(pacs: Pacs) -> None:
    """Ask whether Orthanc answers at all.

    Raises:
        PacsError: it doesn't.
    """
    ask(pacs, "/system")


def digest(found: Iterable[Image]) -> str:
    """Return one checksum of a series: of the UIDs and the checksums of its images."""
    lines = "".join(f"{image.uid} {image.md5}\n" for image in sorted(found, key=lambda image: image.uid))
    return md5(lines.encode(), usedforsecurity=False).hexdigest()
