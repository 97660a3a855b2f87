"""What the operator's attribute templates make of an entry."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.errors import Rejected
from dicom_worklist.worklist.attributes import CODE_SEQUENCES, EMPTY_SEQUENCES
from dicom_worklist.worklist.checksum import holds
from dicom_worklist.worklist.dataset import attributes_of, encode
from dicom_worklist.worklist.entry import describe
from support.sample_entry import BOOKING, SCANNER, SITE, charset, entry_of
from support.worklist_folder import read_dicom


def test_a_template_overrides_a_default() -> None:
    assert entry_of(attributes={"PatientID": "{{ project_id }}/{{ subject }}"}).PatientID == "3010000.01/007"


def test_a_template_adds_an_attribute_where_it_belongs() -> None:
    entry = entry_of(
        attributes={
            "PatientComments": "{{ booking.lab }} on {{ scanner.ae_title }}",
            "CommentsOnTheScheduledProcedureStep": "{{ start.strftime('%H:%M') }}",
            "PatientSize": "1.75",
            "PregnancyStatus": "4",
        }
    )
    [step] = entry.ScheduledProcedureStepSequence
    assert entry.PatientComments == "Siemens PRISMA 3T on PRISMA"
    assert step.CommentsOnTheScheduledProcedureStep == "09:05"
    assert (entry.PatientSize, entry.PregnancyStatus) == (1.75, 4)


@pytest.mark.parametrize(
    "template", ["{{ weight }}kg", "{{ weight ~ 'kg' }}", "{{ '%skg' % weight }}", "{{ booking.weight }}kg"]
)
def test_what_is_not_known_of_a_booking_is_an_empty_text(template: str) -> None:
    assert entry_of(attributes={"PatientComments": template}).PatientComments == "kg"


def test_a_template_may_empty_what_is_not_required() -> None:
    assert entry_of(attributes={"RequestingPhysician": ""})["RequestingPhysician"].is_empty


@pytest.mark.parametrize(
    ("keyword", "template"),
    [
        ("PatientID", "{{ project_id * 10 }}"),
        ("PatientID", ""),
        ("RequestedProcedureDescription", " "),
        ("PatientBirthDate", "{{ subject }}"),
        ("PatientSex", "female"),
        ("PatientWeight", "heavy"),
        ("PregnancyStatus", "no"),
        ("PregnancyStatus", "70000"),
        ("PregnancyStatus", "-1"),
        ("RecommendedDisplayFrameRateInFloat", "1e39"),
        ("ScheduledStationAETitle", "A" * 17),
        ("IssuerOfPatientID", "I" * 65),
        ("StudyDate", "2026-11-24"),
        ("PatientComments", "{{ booking_id.nothing() }}"),
        ("PatientComments", "{{ project_id.split('.')[9] + 'x' }}"),
    ],
)
def test_a_template_s_value_that_the_vr_forbids_rejects_the_booking(keyword: str, template: str) -> None:
    with pytest.raises(Rejected, match=f"^{keyword}"):
        entry_of(attributes={keyword: template})


def test_a_template_s_description_is_made_to_fit_with_a_warning() -> None:
    entry, warnings = describe(BOOKING, SCANNER, SITE, {"SpecialNeeds": "{{ 'x' * 65 }}"})
    assert entry.values["SpecialNeeds"] == "x" * 64
    assert any(warning.startswith("SpecialNeeds") for warning in warnings)


HEAD = {"CodeValue": "HEAD", "CodingSchemeDesignator": "99DCCN", "CodeMeaning": "Head"}
#: The calendar's column chooses the protocol; some bookings have a second one.
PROTOCOL = {
    "CodeValue": "{{ protocol | default('') }}",
    "CodingSchemeDesignator": "99DCCN",
    "CodingSchemeVersion": "{{ version }}",
    "CodeMeaning": "{{ meaning }}",
}
ROW = {"protocol": "T1", "version": "2026", "meaning": "Größe, T1 weighted"}


def codes_of(keyword: str, codes: Sequence[Mapping[str, str]], **columns: object) -> tuple[list[dict[str, str]], Any]:
    """Return the items of the sequence as a scanner reads them, and the entry."""
    entry = entry_of(replace(BOOKING, columns=ROW | columns), attributes={keyword: codes})
    part = entry.ScheduledProcedureStepSequence[0] if keyword.startswith("Scheduled") else entry
    return [{element.keyword: element.value for element in item} for item in part.get(keyword, ())], entry


@pytest.mark.parametrize("keyword", CODE_SEQUENCES)
def test_codes_stand_where_they_belong_in_their_order(keyword: str) -> None:
    codes, entry = codes_of(keyword, [PROTOCOL, HEAD])
    assert codes == [
        {
            "CodeValue": "T1",
            "CodingSchemeDesignator": "99DCCN",
            "CodingSchemeVersion": "2026",
            "CodeMeaning": "Größe, T1 weighted",
        },
        HEAD,
    ]
    texts = describe(replace(BOOKING, columns=ROW), SCANNER, SITE, {keyword: [PROTOCOL, HEAD]})[0].texts()
    assert attributes_of(entry) == texts | {"SpecificCharacterSet": "ISO_IR 192"}
    assert texts[keyword] == '(T1, 99DCCN [2026], "Größe, T1 weighted"), (HEAD, 99DCCN, "Head")'
    assert [element.tag for element in entry] == sorted(element.tag for element in entry)


@pytest.mark.parametrize("keyword", CODE_SEQUENCES)
def test_a_code_without_a_value_is_left_out(keyword: str) -> None:
    codes, _ = codes_of(keyword, [PROTOCOL, HEAD], protocol="", meaning=None)
    assert codes == [HEAD]
    _, entry = codes_of(keyword, [PROTOCOL], protocol=" ")
    assert keyword not in {element.keyword for element in entry.iterall()}  # the broker skips one that is there, empty


@pytest.mark.parametrize(
    ("part", "columns"),
    [
        ("CodingSchemeVersion", {"version": "2" * 17}),
        ("CodeMeaning", {"meaning": ""}),
    ],
)
def test_a_code_that_does_not_fit_rejects_the_booking(part: str, columns: dict[str, object]) -> None:
    with pytest.raises(Rejected, match=rf"^ScheduledProtocolCodeSequence\[1\]\.{part}\b"):
        codes_of("ScheduledProtocolCodeSequence", [HEAD, PROTOCOL], **columns)


@pytest.mark.parametrize("keyword", CODE_SEQUENCES)
@pytest.mark.parametrize(
    ("protocol", "why"), [("T" * 17, "has 17 characters; SH allows 16"), ("T\\1", "SH allows no backslash")]
)
def test_a_code_whose_value_does_not_fit_is_left_out_with_a_warning(protocol: str, why: str, keyword: str) -> None:
    codes, _ = codes_of(keyword, [HEAD, PROTOCOL], protocol=protocol, meaning="")
    assert codes == [HEAD]
    booking = replace(BOOKING, columns=ROW | {"protocol": protocol})
    entry, [warning] = describe(booking, SCANNER, SITE, {keyword: [PROTOCOL]})
    assert keyword not in entry.codes
    assert warning.startswith(f"{keyword}[0].CodeValue: {protocol!r} has ")
    assert why in warning
    assert warning.endswith(". The code is left out, so the console doesn't choose by it")


def test_a_column_that_the_row_does_not_have_rejects_the_booking_by_its_name() -> None:
    attributes = {"RequestedProcedureCodeSequence": [HEAD | {"CodeValue": "{{ procedure }}"}]}
    with pytest.raises(Rejected, match=r"^RequestedProcedureCodeSequence\[0\]\.CodeValue: .*no column procedure among"):
        describe(BOOKING, SCANNER, SITE, attributes)


def test_a_meaning_is_made_to_fit_and_written_in_the_scanner_s_charset_with_a_warning() -> None:
    attributes = {"ScheduledProtocolCodeSequence": [HEAD | {"CodeMeaning": "{{ meaning }}"}]}
    booking = replace(BOOKING, columns={"meaning": "Größe " + "x" * 64})
    entry, warnings = describe(booking, charset("ISO_IR 6"), SITE, attributes)
    [code] = entry.codes["ScheduledProtocolCodeSequence"]
    assert code["CodeMeaning"] == ("Grosse " + "x" * 64)[:64]
    assert [warning.partition(":")[0] for warning in warnings] == ["ScheduledProtocolCodeSequence[0].CodeMeaning"]
    attributes = {"ScheduledProtocolCodeSequence": [HEAD | {"CodingSchemeDesignator": "99Größe"}]}
    with pytest.raises(Rejected, match="CodingSchemeDesignator: '99Größe' has characters that ISO_IR 6 can't write"):
        describe(BOOKING, charset("ISO_IR 6"), SITE, attributes)


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\\", categories=["L", "N", "P"]), min_size=1, max_size=16
)
CODES = st.fixed_dictionaries(
    {"CodeValue": WORDS, "CodingSchemeDesignator": WORDS, "CodeMeaning": WORDS},
    optional={"CodingSchemeVersion": WORDS},
)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it counts bytes, where PS3.5 counts characters
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(CODE_SEQUENCES, st.lists(CODES, min_size=1, max_size=3))))
def test_the_same_codes_give_the_same_bytes_and_others_another_checksum(
    codes: dict[str, list[dict[str, str]]],
) -> None:
    raw = {keyword: [{k: "{% raw %}" + v + "{% endraw %}" for k, v in code.items()} for code in some]
           for keyword, some in codes.items()}  # fmt: skip
    entry, warnings = describe(BOOKING, SCANNER, SITE, raw)
    content = encode(entry)
    assert content == encode(describe(BOOKING, SCANNER, SITE, raw)[0])
    assert (warnings, holds(content, entry)) == ([], True)
    assert holds(content, describe(BOOKING, SCANNER, SITE, {})[0]) == (not codes)
    read = read_dicom(content)
    for part in (read, read.ScheduledProcedureStepSequence[0]):
        for element in part:
            if element.VR == "SQ" and element.keyword not in {*EMPTY_SEQUENCES, "ScheduledProcedureStepSequence"}:
                assert [{e.keyword: e.value for e in item} for item in element.value] == codes.pop(element.keyword)
    assert codes == {}


def test_any_change_of_a_code_breaks_the_checksum() -> None:
    def entry(code: Mapping[str, str]) -> Any:
        return describe(BOOKING, SCANNER, SITE, {"ScheduledProtocolCodeSequence": [code]})[0]

    content = encode(entry(HEAD))
    assert holds(content, entry(dict(reversed(HEAD.items()))))
    for part in (*HEAD, "CodingSchemeVersion"):
        assert not holds(content, entry(HEAD | {part: "X"}))


def test_the_step_s_id_can_be_of_one_booking_only() -> None:
    attributes = {"ScheduledProcedureStepID": "{{ accession_number }}"}
    ids = [
        describe(replace(BOOKING, booking_id=booking_id), SCANNER, SITE, attributes)[0].values
        for booking_id in ("1", "2", "f" * 40, "f" * 41)
    ]
    assert [values["ScheduledProcedureStepID"] for values in ids] == [values["AccessionNumber"] for values in ids]
    assert len({values["ScheduledProcedureStepID"] for values in ids}) == 4
    assert {values["RequestedProcedureID"] for values in ids} == {"ses-mri02"}
