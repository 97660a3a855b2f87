"""What Orthanc says of single series and of their images: read from its index, in few questions, each series once."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from dicom_worklist.orthanc import ask, failure
from dicom_worklist.settings import Pacs
from dicom_worklist.status import looks, whole
from dicom_worklist.status.looks import Image
from dicom_worklist.status.records import Look, Series

#: So many images are asked for in a run. A larger series is never looked into: its answer could take longer than
#: pacs.timeout, in each run, so that no series would be looked into.
MOST_IMAGES = 10_000


def listed(answer: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Series, ...]]:
    """Return the series that Orthanc lists, by the study that they are of; those that it doesn't name are left out."""
    found: dict[str, list[Series]] = {}
    for one in answer:
        if isinstance(one.get("ID"), str) and one["ID"]:
            found.setdefault(_text(one["ParentStudy"]), []).append(_series(one))
    return {study: tuple(some) for study, some in found.items()}


def _series(one: Mapping[str, Any]) -> Series:
    tags, metadata = one["MainDicomTags"], one["Metadata"]
    number = _text(tags.get("SeriesNumber")).strip()
    return Series(
        orthanc_id=_text(one["ID"]),
        study=_text(one["ParentStudy"]),
        uid=_text(tags.get("SeriesInstanceUID")),
        number=_number(number) if number else None,
        name=(_text(tags.get("SeriesDescription")) or _text(tags.get("ProtocolName"))).strip(),
        modality=_text(tags.get("Modality")).strip(),
        images=_number(one["RequestedTags"].get("NumberOfSeriesRelatedInstances")),
        stable=one["IsStable"] is True,
        updated=_updated(metadata),
        in_acquisition=_number(tags.get("ImagesInAcquisition")),
        temporal_positions=_number(tags.get("NumberOfTemporalPositions")),
        expected=_number(metadata.get("ExpectedNumberOfInstances")),
    )


def looked_into(pacs: Pacs, series: Iterable[Series], known: Mapping[str, Look]) -> tuple[Series, ...]:
    """Return the series with how they look: as is `known` by their Orthanc id, or as Orthanc says of their images.

    Only the images of series that are stable, and are new or have changed, are asked for, the latest series first. What
    is too much for a run comes in the next ones.

    Raises:
        PacsError: they can't be had.
    """
    series = tuple(msgspec.structs.replace(one, look=_known(one, known)) for one in series)
    some: list[Series] = []
    room = MOST_IMAGES
    for one in sorted(series, key=lambda one: one.updated or datetime.min.replace(tzinfo=UTC), reverse=True):
        wanted = one.look is None and one.stable and one.uid and 0 < one.images <= room
        if wanted and not {*one.uid} & {*"*?\\"}:
            some.append(one)
            room -= one.images
    if not some:
        return series
    images = _images(pacs, [one.uid for one in some])
    new = {one.orthanc_id: looks.look(images.get(one.orthanc_id, ())) for one in some}
    series = tuple(msgspec.structs.replace(one, look=new.get(one.orthanc_id, one.look)) for one in series)
    few = [one.uid for one in series if one.orthanc_id in new and (whole.announced(one) or 0) > one.images]
    if few:
        copied = _derived(pacs, few)
        series = tuple(
            msgspec.structs.replace(one, look=msgspec.structs.replace(one.look, derived=True))
            if one.look and one.orthanc_id in copied
            else one
            for one in series
        )
    return series


def _known(one: Series, known: Mapping[str, Look]) -> Look | None:
    look = known.get(one.orthanc_id)
    return look if look and look.images == one.images else None


def _images(pacs: Pacs, uids: Iterable[str]) -> dict[str, list[Image]]:
    """Return the images of these series, by Orthanc's names for them."""
    question = {
        "Level": "Instance",
        "Query": {"SeriesInstanceUID": "\\".join(uids)},
        "ResponseContent": ["MainDicomTags", "Parent"],  # all of it is in the index: no file is read
    }
    answer = ask(pacs, "/tools/find", question)
    try:
        found: dict[str, list[Image]] = {}
        for one in answer:
            found.setdefault(one["ParentSeries"], []).append(_image(one["MainDicomTags"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise failure(pacs, f"answers with something other than images ({error!r})") from error
    return found


def _image(tags: Mapping[str, Any]) -> Image:
    number = _text(tags.get("InstanceNumber")).strip()
    places = [_place(_text(tags.get(name))) for name in ("ImagePositionPatient", "ImageOrientationPatient")]
    frames = _number(tags.get("NumberOfFrames"))
    return Image(_number(number) if number else None, "/".join(places) if places[0] else "", max(frames, 1))


def _place(value: str) -> str:
    """Return a position or an orientation without what rounding makes different."""
    with suppress(ValueError):
        return "\\".join(f"{float(part):.2f}" for part in value.split("\\"))
    return ""


def _derived(pacs: Pacs, uids: Iterable[str]) -> set[str]:
    """Return those of these series that the console computed of others: ImageType (0008,0008), out of one file each."""
    question = {
        "Level": "Series",
        "Query": {"SeriesInstanceUID": "\\".join(uids)},
        "ResponseContent": ["RequestedTags"],
        "RequestedTags": ["ImageType"],
    }
    return set(_computed(ask(pacs, "/tools/find", question)))


def _computed(answer: Any) -> Iterator[str]:
    for one in answer if isinstance(answer, list) else ():
        with suppress(AttributeError, KeyError, TypeError):
            if _text(one["RequestedTags"].get("ImageType")).strip().startswith("DERIVED"):
                yield one["ID"]


def _updated(metadata: Mapping[str, Any]) -> datetime | None:
    with suppress(KeyError, TypeError, ValueError):
        return datetime.strptime(metadata["LastUpdate"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return None


def _number(value: object) -> int:
    """Return a number of the answer; 0 for anything else, or one that is too large."""
    with suppress(ValueError):
        number = int(_text(value).strip()[:20])
        return number if -(1 << 31) <= number < 1 << 31 else 0
    return 0


def _text(value: object) -> str:
    """Return a value of the answer as text that can be written down: no null, no half of a surrogate pair."""
    return str(value or "").encode("utf-8", "replace").decode()
