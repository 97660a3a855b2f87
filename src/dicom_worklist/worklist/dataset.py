"""An entry as a pydicom Dataset, and as the bytes of a DICOM file (PS3.10)."""

import struct
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from io import BytesIO

from pydicom import config as pydicom_config
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicom_worklist.worklist.attributes import (
    CODE_SEQUENCES,
    DEFAULT_CHARSET,
    EMPTY_SEQUENCES,
    STEP,
    STEP_CODE_SEQUENCES,
    TYPE_2,
    vr_of,
)
from dicom_worklist.worklist.checksum import PREAMBLE, with_checksum
from dicom_worklist.worklist.entry import Entry, codes_text, uid
from dicom_worklist.worklist.values import as_vr

#: Modality Worklist Information Model - FIND (PS3.4 K.6.1.4).
MODALITY_WORKLIST_FIND = UID("1.2.840.10008.5.1.4.31")
#: This program, in the files that it writes (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = UID("2.25.224418170867303905387229352213866461337")
IMPLEMENTATION_VERSION_NAME = "DICOM_WORKLIST"


def encode(entry: Entry) -> bytes:
    """Return the entry as a DICOM file with its checksum; the same entry gives the same bytes.

    What is of type 2 and unknown is there and empty.

    Raises:
        Rejected: the VR forbids a value; the reason names the keyword.
    """
    texts = {**dict.fromkeys(TYPE_2, ""), **entry.values}
    root = {keyword: _element(keyword, text, entry.charset) for keyword, text in texts.items() if keyword not in STEP}
    step = {keyword: _element(keyword, text, entry.charset) for keyword, text in texts.items() if keyword in STEP}
    root |= {keyword: _sequence(keyword, ()) for keyword in EMPTY_SEQUENCES}
    for keyword, codes in entry.codes.items():
        items = [{part: _element(part, text, entry.charset) for part, text in code.items()} for code in codes]
        (step if keyword in STEP_CODE_SEQUENCES else root)[keyword] = _sequence(keyword, map(_in_order, items))
    root["ScheduledProcedureStepSequence"] = _sequence("ScheduledProcedureStepSequence", [_in_order(step)])
    if entry.charset != DEFAULT_CHARSET:
        root["SpecificCharacterSet"] = _element("SpecificCharacterSet", entry.charset, entry.charset)
    file = _explicit_little_endian()
    file.write(bytes(PREAMBLE) + b"DICM")
    file.write(_file_meta(entry.values["StudyInstanceUID"]))
    file.write(_in_order(root))
    return with_checksum(file.getvalue(), entry)


def decode(content: bytes) -> Dataset:
    """Return the entry that a worklist file holds, ours or another program's.

    Raises:
        ValueError: it holds none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(BytesIO(content), force=True)
            dataset.decode()
        items = len(dataset.ScheduledProcedureStepSequence)
    except Exception as error:
        raise ValueError(f"it is not a worklist entry: {error}") from error
    if items != 1:
        raise ValueError(f"it has {items} items in ScheduledProcedureStepSequence, not one")
    return dataset


def attributes_of(dataset: Dataset) -> dict[str, str]:
    """Return keyword → text of what is not empty, the scheduled procedure step's attributes included.

    Of sequences only those of codes have a text, as `codes_text` writes it.
    """
    return {
        element.keyword: codes_text(map(_texts, element.value)) if element.VR == "SQ" else str(element.value)
        for part in (dataset.ScheduledProcedureStepSequence[0], dataset)
        for element in part
        if not element.is_empty and (element.VR != "SQ" or element.keyword in CODE_SEQUENCES)
    }


def _texts(item: Dataset) -> dict[str, str]:
    return {element.keyword: str(element.value) for element in item if not element.is_empty}


@lru_cache
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - attributes and templates have only known ones
    return tag


@lru_cache(maxsize=4096)
def _element(keyword: str, text: str, charset: str) -> bytes:
    """Return the attribute in Explicit VR Little Endian. Remembered, as most are the same in all entries."""
    value = as_vr(keyword, text) if text else None
    element = DataElement(_tag(keyword), vr_of(keyword), value, validation_mode=pydicom_config.IGNORE)  # it is checked
    buffer = _explicit_little_endian()
    write_data_element(buffer, element, charset)
    return buffer.getvalue()


def _sequence(keyword: str, items: Iterable[bytes]) -> bytes:
    """Return a sequence of items whose elements are encoded already (PS3.5 7.5)."""
    content = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    buffer = _explicit_little_endian()
    write_data_element(buffer, RawDataElement(BaseTag(_tag(keyword)), "SQ", len(content), content, 0, False, True))
    return buffer.getvalue()


def _in_order(elements: Mapping[str, bytes]) -> bytes:
    """Return the elements in the order of their tags (PS3.5 7.1)."""
    return b"".join(elements[keyword] for keyword in sorted(elements, key=_tag))


def _file_meta(study: str) -> bytes:
    """Return the file meta information (PS3.10 7.1) of the entry of a study."""
    texts = {
        "FileMetaInformationVersion": "\0\1",
        "MediaStorageSOPClassUID": MODALITY_WORKLIST_FIND,
        "MediaStorageSOPInstanceUID": uid(None, study, "entry"),
        "TransferSyntaxUID": ExplicitVRLittleEndian,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
        "ImplementationVersionName": IMPLEMENTATION_VERSION_NAME,
    }
    content = _in_order({keyword: _element(keyword, text, DEFAULT_CHARSET) for keyword, text in texts.items()})
    return _element("FileMetaInformationGroupLength", str(len(content)), DEFAULT_CHARSET) + content


def _explicit_little_endian() -> DicomBytesIO:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    return buffer
