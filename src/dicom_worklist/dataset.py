"""An entry as a pydicom Dataset, and as the bytes of a DICOM file (PS3.10)."""

import struct
import warnings
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

from pydicom import config as pydicom_config
from pydicom import dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import validate_value

from dicom_worklist.attributes import EMPTY_SEQUENCES, STEP, TYPE_2, vr_of
from dicom_worklist.entry import Entry, uid
from dicom_worklist.errors import Rejected
from dicom_worklist.seal import sealed

#: Modality Worklist Information Model - FIND (PS3.4 K.6.1.4).
MODALITY_WORKLIST_FIND = UID("1.2.840.10008.5.1.4.31")
#: This program, in the files that it writes (PS3.7 D.3.3.2).
IMPLEMENTATION_CLASS_UID = UID("2.25.224418170867303905387229352213866461337")
IMPLEMENTATION_VERSION_NAME = "DICOM_WORKLIST"
NUMBERS: dict[str, Callable[[str], int | float]] = {
    "US": int,
    "SS": int,
    "UL": int,
    "SL": int,
    "FL": float,
    "FD": float,
}


def build(entry: Entry) -> Dataset:
    """Return the entry as a dataset, with what is of type 2 and unknown there and empty.

    Raises:
        Rejected: the VR forbids a value; the reason names the keyword.
    """
    dataset, step = Dataset(), Dataset()
    dataset.SpecificCharacterSet = entry.charset
    for keyword in EMPTY_SEQUENCES:
        setattr(dataset, keyword, Sequence())
    for keyword in TYPE_2 - entry.values.keys():
        (step if keyword in STEP else dataset).add(_empty(keyword))
    for keyword, text in entry.values.items():
        tag, vr = _tag(keyword), vr_of(keyword)
        element = DataElement(tag, vr, _value(keyword, text), validation_mode=pydicom_config.IGNORE)  # it is checked
        (step if keyword in STEP else dataset).add(element)
    dataset.ScheduledProcedureStepSequence = Sequence([step])
    return dataset


def encode(entry: Entry) -> bytes:
    """Return the entry as a sealed DICOM file; the same entry gives the same bytes.

    Raises:
        Rejected: the VR forbids a value; the reason names the keyword.
    """
    dataset = build(entry)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = MODALITY_WORKLIST_FIND
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid(None, dataset.StudyInstanceUID, "entry"))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return sealed(buffer.getvalue(), entry)


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
        raise ValueError(f"it is no worklist entry: {error}") from error
    if items != 1:
        raise ValueError(f"it has {items} items in ScheduledProcedureStepSequence, not one")
    return dataset


def attributes_of(dataset: Dataset) -> dict[str, str]:
    """Return keyword → text of what is not empty, the scheduled procedure step's attributes included."""
    return {
        element.keyword: str(element.value)
        for part in (dataset.ScheduledProcedureStepSequence[0], dataset)
        for element in part
        if element.VR != "SQ" and not element.is_empty
    }


@lru_cache
def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword  # noqa: S101 - attributes and templates have only known ones
    return tag


@lru_cache
def _empty(keyword: str) -> DataElement:
    """Return the attribute without a value: one for all entries, as nothing changes it."""
    return DataElement(_tag(keyword), vr_of(keyword), None)


def _value(keyword: str, text: str) -> str | int | float:
    vr = vr_of(keyword)
    try:
        if vr in NUMBERS:
            number = NUMBERS[vr](text)
            validate_value(vr, number, pydicom_config.RAISE)
            struct.pack("<f" if vr == "FL" else "<d", number)
            return number
        validate_value(vr, text, pydicom_config.RAISE)
    except (OverflowError, ValueError) as error:
        raise Rejected(f"{keyword}: {text!r} is no {vr}: {error}") from error
    return text
