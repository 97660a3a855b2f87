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


def error_of(configure: Configure, keyword: str, template: object) -> str:
    with pytest.raises(ConfigError, match=keyword) as caught:
        load(configure({f"attributes.{keyword}": template}))
    return str(caught.value)


@pytest.mark.parametrize("keyword", ["PatientComment", "patientcomments", "(0010,4000)", "Patient's Name"])
def test_a_name_that_is_not_a_dicom_keyword_is_refused(keyword: str, configure: Configure) -> None:
    assert "is not a DICOM keyword" in error_of(configure, keyword, "x")


@pytest.mark.parametrize("keyword", ["SpecificCharacterSet", "StudyInstanceUID"])
def test_an_attribute_that_can_not_be_a_template_is_refused(keyword: str, configure: Configure) -> None:
    assert "can't be a template" in error_of(configure, keyword, "x")


@pytest.mark.parametrize("keyword", ["ScheduledProcedureStepSequence", "EncapsulatedDocument"])
def test_a_value_that_is_not_text_is_refused(keyword: str, configure: Configure) -> None:
    assert "its value is not text or a number" in error_of(configure, keyword, "x")


#: What each VR forbids, and what the message says of it.
CONSTANTS = [
    ("SmokingStatus", "yes", "at most 16 of upper-case letters"),
    ("PatientBirthDate", "2026-13-01", "a date such as 20261124"),
    ("PatientBirthDate", "20261301", "a date such as 20261124"),
    ("PatientWeight", "1,5", "such as 72.5"),
    ("PatientAge", "30", "such as 030Y"),
    ("PatientSex", "female", "attributes.PatientSex: 'female' is not one of M, F, O"),
    ("PatientSex", "FEMALE", "attributes.PatientSex: 'FEMALE' is not one of M, F, O"),
    ("ScheduledProcedureStepEndTime", "9 o'clock", "a time such as 093000"),
    ("ScheduledStationAETitle", "PRISMA-AND-17-CHA", "at most 16"),
    ("InstanceNumber", "1.5", "a whole number"),
    ("SOPInstanceUID", "1.2.x", "at most 64 digits and dots"),
    ("PregnancyStatus", "-1", "is not a valid US"),
    ("IssuerOfPatientID", "I" * 65, "has 65 characters; LO allows 64"),
    ("ScheduledProcedureStepID", "{{ 's' * 17 }}", "has 17 characters; SH allows 16"),
    ("AccessionNumber", "1\\2", "no backslash"),
    ("PatientID", "", "is empty: no scanner would be shown the entry"),
    ("SpecialNeeds", "n" * 65, "has 65 characters; LO allows 64"),
    ("SpecialNeeds", "\\", "no backslash"),
    ("RequestingPhysician", "a=b=c=d", "has 4 groups"),
]


@pytest.mark.parametrize(("keyword", "template", "rule"), CONSTANTS)
def test_a_constant_that_its_vr_forbids_is_refused(
    keyword: str, template: str, rule: str, configure: Configure
) -> None:
    said = error_of(configure, keyword, template)
    assert f"attributes.{keyword}" in said
    assert rule in said
    assert said.endswith("It is the same for every booking: correct it")


@pytest.mark.parametrize(
    ("keyword", "template"),
    [
        ("PatientSex", "O"),
        ("PatientBirthDate", "19000101"),
        ("PatientWeight", "72.5"),
        ("PregnancyStatus", "4"),
        ("RequestingPhysician", ""),
        ("PatientSex", "{{ sex_of_the_subject }}"),
        ("PatientID", "{{ project_id * 10 }}"),
        ("SpecialNeeds", "Fauteuil près de la porte"),
    ],
)
def test_a_constant_that_fits_and_what_only_a_booking_knows_are_taken(
    keyword: str, template: str, configure: Configure
) -> None:
    assert load(configure({f"attributes.{keyword}": template, "scanners.2.charset": "ISO_IR 6"})).attributes


def test_an_identifier_that_a_scanner_s_charset_can_not_write_is_refused(configure: Configure) -> None:
    changes = {"attributes.IssuerOfPatientID": "Zürich"}
    assert load(configure(changes)).attributes
    with pytest.raises(ConfigError, match=r"attributes\.IssuerOfPatientID: 'Zürich' has characters that ISO_IR 6"):
        load(configure(changes | {"scanners.2.charset": "ISO_IR 6"}))


#: A code, as the configuration has it.
HEAD = {"CodeValue": "HEAD", "CodingSchemeDesignator": "99DCCN", "CodeMeaning": "Head"}


@pytest.mark.parametrize("keyword", ["ScheduledProtocolCodeSequence", "RequestedProcedureCodeSequence"])
@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ("HEAD", " is 'HEAD': write a list of mappings of CodeValue, CodingSchemeDesignator, CodeMeaning"),
        (HEAD, "write a list of mappings"),
        (["HEAD"], "[0] is 'HEAD': write a list of mappings"),
        ([HEAD, {"CodeValue": "A", "CodeMeaning": "B"}], "[1] has no CodingSchemeDesignator"),
        ([HEAD | {"Meaning": "B"}], "[0] has Meaning: a code has CodeValue, CodingSchemeDesignator"),
        ([HEAD | {1: "B"}], "[0] has 1: a code has CodeValue"),
        ([HEAD | {"CodeValue": 70551}], "[0].CodeValue is 70551: write a template, in quotes"),
        ([HEAD | {"CodeValue": "{{ protocol"}], "[0].CodeValue: the template '{{ protocol' has a fault"),
        ([HEAD | {"CodeValue": " "}], "[0].CodeValue is empty"),
        ([HEAD | {"CodeValue": "V" * 17}], "[0].CodeValue: 'VVVVVVVVVVVVVVVVV' has 17 characters; SH allows 16"),
        ([HEAD | {"CodingSchemeDesignator": "D" * 17}], "[0].CodingSchemeDesignator: "),
        ([HEAD | {"CodingSchemeVersion": "D" * 17}], "[0].CodingSchemeVersion: "),
        ([HEAD, HEAD | {"CodeMeaning": "M" * 65}], "[1].CodeMeaning: "),
        ([HEAD | {"CodeValue": "A\\B"}], "no backslash"),
    ],
)
def test_a_code_that_can_not_be_used_is_refused(keyword: str, codes: object, said: str, configure: Configure) -> None:
    assert f"attributes.{keyword}" in error_of(configure, keyword, codes)
    assert said in error_of(configure, keyword, codes)


def test_only_sequences_that_the_broker_shows_have_codes(configure: Configure) -> None:
    said = error_of(configure, "ReasonForRequestedProcedureCodeSequence", [HEAD])
    assert "only ScheduledProtocolCodeSequence and RequestedProcedureCodeSequence have codes" in said


def test_a_name_that_no_booking_has_may_be_a_column_of_the_source() -> None:
    attributes = {"PatientComments": "{{ coil }} {{ room.name }} {{ room_floor }}"}
    columns = {"coil": "head", "room": {"name": "M1", "floor": 2}, "subject": "not what was read"}
    entry, _ = describe(replace(BOOKING, columns=columns), SCANNER, SITE, attributes)
    assert entry.values["PatientComments"] == "head M1 2"
    assert entry.values["PatientID"] == "3010000.01_sub-007"
    with pytest.raises(
        Rejected, match=r"fails: .*; there is no column coil, room, room_floor among accession_number, .*subject"
    ):
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


@pytest.mark.parametrize(
    "template", ["{{ birth_date.year }}", "{{ sex.lower() }}", "{{ weight * 2 }}", "{{ '%.2f' % size }}"]
)
def test_what_a_booking_may_have_can_be_used(template: str, configure: Configure) -> None:
    load(configure({"attributes.PatientComments": template}))
