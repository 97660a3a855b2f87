"""Correcting an image: what changes, what is kept, and that a copy that differs is seen."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from dicom_worklist.errors import PacsError
from dicom_worklist.status.correction import corrected, differences
from dicom_worklist.status.records import BookingRecord
from dicom_worklist.status.repair import values_of
from support.images import synthetic_image
from support.sample_entry import BOOKED

NOW = datetime(2026, 11, 25, 12, 30, tzinfo=UTC)
VALUES = values_of(BOOKED)


@pytest.fixture
def image(tmp_path: Path) -> Dataset:
    image = dcmread(synthetic_image(tmp_path / "image.dcm"))
    image.PatientID, image.PatientName = "typed", "typed"
    return image


def written(image: Dataset) -> bytes:
    buffer = BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(content: bytes) -> Dataset:
    return dcmread(BytesIO(content))


def test_what_changes_is_kept_in_the_image_and_nothing_else_changes(image: Dataset) -> None:
    request = Dataset()
    request.AccessionNumber, request.ScheduledProcedureStepID, request.StudyInstanceUID = "40", "ses-mri01", "1.2"
    image.RequestAttributesSequence = Sequence([request])
    image.StudyDescription = "Language"
    copy = read(content := corrected(written(image), VALUES, NOW))
    assert differences(written(image), content, VALUES) == []
    (trace,) = copy.OriginalAttributesSequence
    (was,) = trace.ModifiedAttributesSequence
    assert [element.keyword for element in was] == ["PatientName", "PatientID", "RequestAttributesSequence"]
    assert (was.PatientName, was.PatientID) == ("typed", "typed")
    assert was.RequestAttributesSequence == Sequence([request])
    assert trace.AttributeModificationDateTime == "20261125123000+0000"
    del copy.OriginalAttributesSequence
    (item,) = copy.RequestAttributesSequence
    assert (item.AccessionNumber, item.ScheduledProcedureStepID, item.StudyInstanceUID) == ("41", "ses-mri02", "1.2")
    assert "RequestedProcedureDescription" not in item
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "RequestedProcedureDescription"):
        assert copy[keyword].value == VALUES[keyword]
        image[keyword] = copy[keyword]
    image.RequestAttributesSequence = copy.RequestAttributesSequence
    assert copy == image


def test_an_interim_patientid_leaves_no_trace(image: Dataset) -> None:
    image.PatientID = "sub-007"
    held = VALUES | {"PatientID": f"repair-{'-'.join(['0123abcd'] * 5)}"}
    interim = corrected(written(image), held, NOW)
    final = read(corrected(interim, VALUES, NOW))
    assert final.PatientID == "sub-007"
    (trace,) = final.OriginalAttributesSequence
    assert [element.keyword for element in trace.ModifiedAttributesSequence[0]] == ["PatientName"]
    image.PatientID = "repair-kit"
    (trace,) = read(corrected(written(image), VALUES, NOW)).OriginalAttributesSequence
    assert trace.ModifiedAttributesSequence[0].PatientID == "repair-kit"


def test_a_booking_that_says_nothing_changes_nothing(image: Dataset) -> None:
    image.AccessionNumber, image.StudyDescription = "40", "Memory"
    values = values_of(BookingRecord(booking_id="1", day=BOOKED.day, patient_id="a", patient_name="b"))
    copy = read(corrected(written(image), values, NOW))
    assert (copy.AccessionNumber, copy.StudyDescription) == ("40", "Memory")
    assert "RequestedProcedureDescription" not in copy


@pytest.mark.parametrize(
    ("charset", "title", "said"),
    [
        (None, "Zoë's", "Zoe's"),
        ("ISO_IR 100", "Zoë's", "Zoë's"),
        ("ISO_IR 192", "語言", "語言"),
        ("ISO_IR 100", "語言", "YuYan"),
        (["", "ISO 2022 IR 87"], "語言", "語言"),
    ],
)
def test_a_description_is_spelled_as_the_images_can_write_it(
    charset: str | list[str] | None, title: str, said: str, image: Dataset
) -> None:
    if charset:
        image.SpecificCharacterSet = charset
    values = VALUES | {"StudyDescription": title}
    content = corrected(written(image), values, NOW)
    assert read(content).StudyDescription == said
    assert differences(written(image), content, values) == []


def test_an_identifier_that_the_images_can_not_write_is_refused(image: Dataset) -> None:
    with pytest.raises(PacsError, match="PatientID 'Zoë' can't be written in the images' character set, ISO_IR 6"):
        corrected(written(image), VALUES | {"PatientID": "Zoë"}, NOW)


def test_images_in_implicit_vr_and_with_odd_values_stay_as_they_are(image: Dataset) -> None:
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    image = read(written(image))
    image.add_new(0x00280107, "US", 4095)  # US or SS, as PixelRepresentation says
    image.add_new(0x00181030, "LO", "x" * 80)  # too long
    image.add_new(0x00080020, "DA", "")
    image.add_new(0x00081140, "SQ", [])
    content = written(image)
    with_float = read(content)
    with_float.add_new(0x00180080, "DS", "NaN")
    for one in (content, written(with_float)):
        assert differences(one, corrected(one, VALUES, NOW), VALUES) == []


def test_a_sequence_that_another_has_written_is_compared_by_what_it_says(image: Dataset) -> None:
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3"
    image.ReferencedImageSequence = Sequence([inner])
    content = corrected(written(image), VALUES, NOW)
    copy = read(content)
    copy["ReferencedImageSequence"].is_undefined_length = True
    assert written(copy) != content
    assert differences(written(image), written(copy), VALUES) == []
    copy.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.4"
    assert differences(written(image), written(copy), VALUES) == ["(0008,1140) ReferencedImageSequence differs"]


def drop_trace(copy: Dataset) -> None:
    del copy.OriginalAttributesSequence[0]


def set_uid(copy: Dataset) -> None:
    copy.SeriesInstanceUID = "1.9"


def set_bytes(copy: Dataset) -> None:
    copy.PixelData = copy.PixelData[:-2] + b"xy"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_trace, "OriginalAttributesSequence differs"),
        (set_uid, "(0020,000E) SeriesInstanceUID differs"),
        (set_bytes, "(7FE0,0010) PixelData differs"),
    ],
)
def test_a_copy_that_differs_is_seen(change: Callable[[Dataset], None], said: str, image: Dataset) -> None:
    old = Dataset()
    old.ReasonForTheAttributeModification = "COERCE"
    image.OriginalAttributesSequence = Sequence([old])
    copy = read(corrected(written(image), VALUES, NOW))
    assert differences(written(image), written(copy), VALUES) == []
    change(copy)
    assert differences(written(image), written(copy), VALUES) == [said]
