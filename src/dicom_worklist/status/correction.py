"""Correcting the identity in an image, and comparing the copy with the original: bytes in, bytes out."""

import re
import warnings
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime
from io import BytesIO

from pydicom import dcmread
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag

from dicom_worklist import __version__
from dicom_worklist.errors import PacsError

#: The PatientID of an interim copy; Orthanc's id of the original follows.
INTERIM = "repair-"
ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")
REQUEST, TRACES = "RequestAttributesSequence", "OriginalAttributesSequence"
#: What is corrected in a study's images; and in the items of RequestAttributesSequence, where it is there.
IDENTITY = ("PatientID", "PatientName", "AccessionNumber", "StudyDescription", "RequestedProcedureDescription")
REQUESTED = ("AccessionNumber", "RequestedProcedureDescription", "ScheduledProcedureStepID")
#: What may be spelled in ASCII where an image's character set doesn't have it.
DESCRIPTIONS = {"StudyDescription", "RequestedProcedureDescription"}


def original_of(patient_id: str) -> str:
    """Return Orthanc's id of the study that an interim copy with this PatientID is of; empty for any other."""
    rest = patient_id.removeprefix(INTERIM)
    return rest if rest != patient_id and ORTHANC_ID.fullmatch(rest) else ""


def corrected(content: bytes, values: Mapping[str, str], now: datetime) -> bytes:
    """Return an image with these values, and what they were in OriginalAttributesSequence (PS3.3 C.12.1).

    All else is as it was, byte for byte, apart from group lengths.

    Raises:
        PacsError: an identifier has characters that the image's character set can't write.
    """
    image, before = _read(content), Dataset()
    interim = original_of(_value(image, "PatientID")) or original_of(values["PatientID"])
    for keyword in IDENTITY:
        if keyword in values and _value(image, keyword) != (text := _spelled(image, keyword, values[keyword])):
            if keyword in image and not (keyword == "PatientID" and interim):
                before.add(deepcopy(image[keyword]))
            setattr(image, keyword, text)
    request = deepcopy(image.get(REQUEST))
    if _correct_request(image, values):
        before.RequestAttributesSequence = request
    if before:
        trace = Dataset()
        trace.ModifiedAttributesSequence = Items([before])
        trace.AttributeModificationDateTime = f"{now:%Y%m%d%H%M%S%z}"
        trace.ModifyingSystem = f"dicom-worklist {__version__}"
        trace.SourceOfPreviousValues = ""
        trace.ReasonForTheAttributeModification = "CORRECT"
        image.OriginalAttributesSequence = Items([*(image.get(TRACES) or ()), trace])
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values of the scanner's that pydicom doubts stay as they are
        image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def differences(original: bytes, copy: bytes, values: Mapping[str, str]) -> list[str]:
    """Return what of a copy is not as in the original, or not as these values say: nothing, if all is well."""
    one, other = _read(original), _read(copy)
    corrected_ones = [keyword for keyword in IDENTITY if keyword in values]
    found = [
        f"{keyword} is {_value(other, keyword)!r:.80} instead of {values[keyword]!r}"
        for keyword in corrected_ones
        if _value(other, keyword) != _spelled(one, keyword, values[keyword])
    ]
    if one.file_meta.TransferSyntaxUID != other.file_meta.TransferSyntaxUID:
        found.append(f"its transfer syntax is {other.file_meta.TransferSyntaxUID.name}")
    traces = [list(image.get(TRACES) or ()) for image in (one, other)]
    if traces[0] != traces[1][: len(traces[0])]:
        found.append(f"{TRACES} differs")
    _correct_request(one, values)
    compared = {*one.keys(), *other.keys()} - {tag_for_keyword(keyword) for keyword in (*corrected_ones, TRACES)}
    found += [
        f"{tag} {keyword_for_tag(tag)}".rstrip() + " differs"
        for tag in sorted(compared)
        if tag.element and not _same(one, other, tag)
    ]
    return found


def _correct_request(image: Dataset, values: Mapping[str, str]) -> bool:
    """Correct what the items of RequestAttributesSequence say; return whether anything was wrong."""
    changed = False
    for item in image.get(REQUEST) or ():
        for keyword in REQUESTED:
            if keyword in item and keyword in values and _value(item, keyword) != values[keyword]:
                setattr(item, keyword, _spelled(image, keyword, values[keyword]))
                changed = True
    return changed


def _value(image: Dataset, keyword: str) -> str:
    return str(image.get(keyword) or "")


def _same(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    """Return whether an element is the same in both: as it was read, or, if it was written otherwise, its value."""
    if tag not in one or tag not in other:
        return False
    first, second = one.get_item(tag), other.get_item(tag)
    if isinstance(first, RawDataElement) and isinstance(second, RawDataElement):
        if (first.VR, first.value or b"") == (second.VR, second.value or b""):
            return True
    elif isinstance(first, DataElement) and isinstance(second, DataElement) and first.VR == second.VR == "SQ":
        return len(first.value) == len(second.value) and all(map(_alike, first.value, second.value))
    return bool(one[tag] == other[tag])


def _alike(one: Dataset, other: Dataset) -> bool:
    tags = {*one.keys()}
    return tags == {*other.keys()} and all(_same(one, other, tag) for tag in tags)


def _spelled(image: Dataset, keyword: str, text: str) -> str:
    """Return a text as the image's character set can write it: a description, if need be, in ASCII."""
    charsets = image.get("SpecificCharacterSet") or "ISO_IR 6"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encodings = convert_encodings(charsets)
    for encoding in encodings:
        try:
            text.encode("ascii" if encoding == default_encoding else encoding)
        except (UnicodeEncodeError, LookupError):
            continue
        return text
    if keyword in DESCRIPTIONS:
        from anyascii import anyascii  # noqa: PLC0415 - rarely needed

        return anyascii(text)[:64].rstrip()
    raise PacsError(
        f"{keyword} {text!r} can't be written in the images' character set, {charsets}: nothing was removed"
    )


def _read(content: bytes) -> FileDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(BytesIO(content))
