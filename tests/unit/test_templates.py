"""The operator's attribute templates: what is refused when the configuration is loaded."""

from dataclasses import replace

import pytest

from dicom_worklist import cli, pipeline
from dicom_worklist.config import load
from dicom_worklist.errors import ConfigError, Rejected
from dicom_worklist.worklist.entry import describe
from support.calendar import DAY, NOW, Calendar
from support.configuration import Configure
from support.sample_entry import BOOKING, SCANNER, SITE


def error_of(configure: Configure, keyword: str, template: str) -> str:
    with pytest.raises(ConfigError, match=keyword) as caught:
        load(configure({f"attributes.{keyword}": template}))
    return str(caught.value)


@pytest.mark.parametrize("keyword", ["PatientComment", "patientcomments", "(0010,4000)", "Patient's Name"])
def test_a_name_that_is_not_a_dicom_keyword_is_refused(keyword: str, configure: Configure) -> None:
    assert "is not a DICOM keyword" in error_of(configure, keyword, "x")


@pytest.mark.parametrize("keyword", ["SpecificCharacterSet", "StudyInstanceUID"])
def test_an_attribute_that_can_not_be_a_template_is_refused(keyword: str, configure: Configure) -> None:
    assert "can't be a template" in error_of(configure, keyword, "x")


@pytest.mark.parametrize(
    "keyword", ["ScheduledProtocolCodeSequence", "ScheduledProcedureStepSequence", "EncapsulatedDocument"]
)
def test_a_value_that_is_not_text_is_refused(keyword: str, configure: Configure) -> None:
    assert "its value is not text or a number" in error_of(configure, keyword, "x")


def test_a_name_that_no_booking_has_may_be_a_column_of_the_source() -> None:
    attributes = {"PatientComments": "{{ coil }} {{ room.name }} {{ room_floor }}"}
    columns = {"coil": "head", "room": {"name": "M1", "floor": 2}, "subject": "not what was read"}
    entry, _ = describe(replace(BOOKING, columns=columns), SCANNER, SITE, attributes)
    assert entry.values["PatientComments"] == "head M1 2"
    assert entry.values["PatientID"] == "3010000.01_sub-007"
    with pytest.raises(Rejected, match=r"there is no column coil, room, room_floor among accession_number, .*subject"):
        describe(BOOKING, SCANNER, SITE, attributes)


@pytest.mark.parametrize(
    "template",
    [
        "{{ booking.subjet }}",
        "{{ scanner.nothing }}",
        "{{ subject",
        "{% for %}",
        "{{ subject | nofilter }}",
        "{{ subject + 1 }}",
        "{{ 1 // 0 }}",
        "{{ subject() }}",
        "{{ start.strftime(5) }}",
        "{{ range(1000000) | list }}",
    ],
)
def test_a_template_with_a_fault_is_refused(template: str, configure: Configure) -> None:
    assert "attributes.PatientComments" in error_of(configure, "PatientComments", template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ booking.__class__.__mro__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ '{0.__class__.__mro__}'.format(booking) }}",
        "{{ booking | attr('__class__') }}",
        "{{ start.__reduce__() }}",
        "{{ booking.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% set x = booking.__setattr__('subject', '1') %}{{ x }}",
        "{{ scanner.__struct_fields__ }}",
    ],
)
def test_no_template_gets_out_of_its_sandbox(template: str, configure: Configure) -> None:
    error_of(configure, "PatientComments", template)


def test_no_template_reads_a_file(configure: Configure) -> None:
    error_of(configure, "PatientComments", "{% include '/etc/passwd' %}")


@pytest.mark.parametrize(
    "keyword",
    [
        "TransferSyntaxUID",
        "MediaStorageSOPInstanceUID",
        "FileMetaInformationVersion",
        "AffectedSOPClassUID",
        "CommandField",
        "CommandGroupLength",
        "LengthToEnd",
        "PixelData",
        "FloatPixelData",
        "OverlayData",
        "LUTData",
        "SmallestImagePixelValue",
        "FrameIncrementPointer",
        "ExtendedOffsetTable",
        "SelectorSVValue",
        "SelectorUVValue",
        "SelectorOLValue",
        "Item",
        "ItemDelimitationItem",
        "DataSetTrailingPadding",
        "PatientAge",
        "PatientSize",
        "RetrieveURL",
        "InstanceNumber",
        "RecommendedDisplayFrameRateInFloat",
        "SOPInstanceUID",
    ],
)
@pytest.mark.parametrize("template", ["7", "-1", "99999999999999999999"])
def test_no_attribute_can_stop_the_other_bookings(
    keyword: str, template: str, calendar: Calendar, configure: Configure
) -> None:
    calendar.book(1)
    try:
        config = load(configure({f"attributes.{keyword}": template}))
    except ConfigError as error:
        assert keyword in str(error)
        return
    report = pipeline.run(config, DAY, now=NOW)
    assert len(report.published) + len(report.rejected) == 1
    assert pipeline.run(config, DAY, now=NOW).changed is False


def test_the_command_names_a_faulty_template(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", "-c", str(configure({"attributes.PatientComments": "{{ subject"}))]) == 2
    assert "attributes.PatientComments: the template '{{ subject' has a fault" in capsys.readouterr().err
