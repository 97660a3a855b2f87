"""What an entry says, and what rejects its booking."""

import re
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_worklist.bookings.booking import SIZES, WEIGHTS, Booking
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Scanner
from dicom_worklist.worklist.attributes import CODECS, EMPTY_SEQUENCES
from dicom_worklist.worklist.dataset import attributes_of, encode
from dicom_worklist.worklist.entry import describe
from support.sample_entry import BOOKING, SCANNER, SITE, bytes_of, charset, entry_of
from support.worklist_folder import read_dicom

#: The attributes of mwl-attributes (PS3.4 table K.6-1) with return key type 1 or 2.
TYPE_1_OF_STEP = {
    "ScheduledStationAETitle": "PRISMA",
    "ScheduledProcedureStepStartDate": "20261124",
    "ScheduledProcedureStepStartTime": "090507",
    "Modality": "MR",
    "ScheduledProcedureStepID": "ses-mri02",
}
TYPE_2_OF_STEP = ["ScheduledPerformingPhysicianName", "ScheduledStationName", "ScheduledProcedureStepLocation"]
TYPE_2_OF_ROOT = [
    "ReferencedStudySequence",
    "RequestedProcedurePriority",
    "PatientTransportArrangements",
    "AccessionNumber",
    "RequestingPhysician",
    "ReferringPhysicianName",
    "AdmissionID",
    "CurrentPatientLocation",
    "ReferencedPatientSequence",
    "PatientBirthDate",
    "PatientSex",
    "PatientWeight",
    "ConfidentialityConstraintOnPatientDataDescription",
    "PatientState",
    "PregnancyStatus",
    "MedicalAlerts",
    "Allergies",
    "SpecialNeeds",
]
#: Text as people type it, worse: anything at all, and much of what DICOM forbids or gives a meaning.
HOSTILE = st.text(max_size=80) | st.text(
    st.sampled_from("\\^=\r\n\t\x00\x1b\x85\u2028 \u3000\"'[]{}%/.-~ëß日\U0001f9e0")
)
TIMES = st.datetimes(datetime(1999, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001
#: A person's data, as a row is read.
PERSON: dict[str, st.SearchStrategy[object]] = {
    "birth_date": st.none() | st.dates(date(1890, 1, 1), date(2099, 12, 31)),
    "sex": st.none() | st.sampled_from("MFO"),
    "weight": st.none() | st.floats(*WEIGHTS),
    "size": st.none() | st.floats(*SIZES),
    "columns": st.just({}),
}
BOOKINGS = st.builds(
    Booking,
    **dict.fromkeys(Booking.__slots__, HOSTILE)
    | {"session": st.integers(0, 99), "start": TIMES, "end": st.none() | TIMES, "warnings": st.just(())}
    | PERSON,
)
#: The same, with the identifiers of an orderly calendar: what is rejected then is so for a description.
TITLED = st.builds(
    replace, st.just(BOOKING), project_title=HOSTILE, user_first_name=HOSTILE, user_last_name=HOSTILE
)  # fmt: skip
SCANNERS = st.sampled_from(
    [replaced for name in CODECS if (replaced := msgspec.structs.replace(SCANNER, charset=name))]
)


def warnings_of(booking: Booking, scanner: Scanner = SCANNER) -> str:
    return "\n".join(describe(booking, scanner, SITE, {})[1])


@pytest.mark.parametrize(
    ("keyword", "text"),
    {
        "PatientID": "3010000.01_sub-007",
        "PatientName": "3010000.01_sub-007_ses-02",
        "AccessionNumber": "4711",
        "RequestedProcedureID": "ses-mri02",
        "RequestedProcedureDescription": "Language and the brain",
        "RequestingPhysician": "Lovelace^Ada",
        "ReferringPhysicianName": "Lovelace^Ada",
        "SpecificCharacterSet": "ISO_IR 192",
        "StudyInstanceUID": "2.25.83025511231867404389475885978174405600",
    }.items(),
)
def test_what_an_entry_says_at_the_root(keyword: str, text: str) -> None:
    assert str(entry_of()[keyword].value) == text


@pytest.mark.parametrize(
    ("keyword", "text"),
    {
        **TYPE_1_OF_STEP,
        "ScheduledProcedureStepDescription": "MR session 02",
        "ScheduledStationName": "MR1",
        "ScheduledProcedureStepLocation": "Trigon",
    }.items(),
)
def test_what_an_entry_says_in_its_one_scheduled_procedure_step(keyword: str, text: str) -> None:
    [step] = entry_of().ScheduledProcedureStepSequence
    assert step[keyword].value == text


def test_an_entry_says_nothing_else() -> None:
    entry = entry_of()
    assert len(attributes_of(entry)) == 17
    assert {element.keyword for element in entry if element.VR == "SQ"} == {
        *EMPTY_SEQUENCES,
        "ScheduledProcedureStepSequence",
    }


@pytest.mark.parametrize("keyword", TYPE_2_OF_ROOT)
def test_an_attribute_of_type_2_is_there(keyword: str) -> None:
    assert keyword in entry_of()


@pytest.mark.parametrize("keyword", TYPE_2_OF_STEP)
def test_an_attribute_of_type_2_is_there_in_the_step(keyword: str) -> None:
    assert keyword in entry_of().ScheduledProcedureStepSequence[0]


@pytest.mark.parametrize(
    "keyword", ["ReferencedStudySequence", "ReferencedPatientSequence", "PatientBirthDate", "PregnancyStatus"]
)
def test_an_unknown_attribute_is_empty(keyword: str) -> None:
    assert entry_of()[keyword].is_empty


def test_midnight_is_written_in_full() -> None:
    [step] = entry_of(replace(BOOKING, start=datetime(2026, 1, 2))).ScheduledProcedureStepSequence  # noqa: DTZ001
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20260102", "000000")


def test_what_is_known_of_the_subject_is_in_the_entry() -> None:
    entry = entry_of(replace(BOOKING, birth_date=date(1990, 2, 3), sex="F", weight=72.55, size=1.8))
    assert (entry.PatientBirthDate, entry.PatientSex) == ("19900203", "F")
    assert (entry.PatientWeight, entry.PatientSize) == (72.55, 1.8)


def test_a_plain_identity_is_the_subject_and_a_step_of_its_own() -> None:
    booking = replace(BOOKING, project_id="", project_title="", subject="MRN-0012", booking_id="f" * 40)
    entry, warnings = describe(booking, SCANNER, SITE, {}, plain=True)
    assert (entry.values["PatientID"], entry.values["PatientName"]) == ("MRN-0012", "MRN-0012_ses-02")
    assert entry.values["ScheduledProcedureStepID"] == entry.values["AccessionNumber"]
    assert len(entry.values["ScheduledProcedureStepID"]) == 16
    assert entry.values["RequestedProcedureDescription"] == "MR session 02"
    assert warnings == []
    other, _ = describe(replace(booking, booking_id="g" * 40), SCANNER, SITE, {}, plain=True)
    assert other.values["ScheduledProcedureStepID"] != entry.values["ScheduledProcedureStepID"]
    with pytest.raises(Rejected, match="PatientID: the booking has no project_id; the PatientID begins with it"):
        describe(booking, SCANNER, SITE, {})


def assert_broker_shows(entry: Dataset) -> None:
    """Check what `wlmscpfs -efr` demands of a file."""
    [step] = entry.ScheduledProcedureStepSequence
    for keyword in TYPE_1_OF_STEP:
        assert step[keyword].value, keyword
    for keyword in ("RequestedProcedureID", "StudyInstanceUID", "PatientName", "PatientID"):
        assert entry[keyword].value, keyword
    for part, description, sequence in (
        (step, "ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence"),
        (entry, "RequestedProcedureDescription", "RequestedProcedureCodeSequence"),
    ):
        there = [part[keyword] for keyword in (description, sequence) if keyword in part]
        assert there
        assert not [element for element in there if element.is_empty]
    for keyword in EMPTY_SEQUENCES:
        assert len(entry[keyword].value) == 0


@given(BOOKINGS | TITLED, SCANNERS)
@example(replace(BOOKING, project_title="\\" * 80), SCANNER)
@example(replace(BOOKING, project_title="e\u0301" * 80), charset("ISO_IR 100"))
def test_the_broker_shows_every_entry_and_a_scanner_reads_what_was_promised(booking: Booking, scanner: Scanner) -> None:
    try:
        entry, _ = describe(booking, scanner, SITE, {})
        content = encode(entry)
    except Rejected as rejected:
        assert re.match(r"[A-Z]\w+\b", str(rejected)), "the reason begins with the keyword"
        return
    read = read_dicom(content)
    assert_broker_shows(read)
    charset = {} if scanner.charset == "ISO_IR 6" else {"SpecificCharacterSet": scanner.charset}
    assert attributes_of(read) == {**charset, **entry.values}
    assert (read.PatientID, read.AccessionNumber) == (
        f"{booking.project_id}_sub-{booking.subject}",
        booking.booking_id if len(booking.booking_id) <= 16 else entry.values["AccessionNumber"],
    )
    assert str(read.PatientName) == f"{read.PatientID}_ses-{booking.session:02}"
    assert read.PatientName.given_name == ""


@given(TITLED, SCANNERS)
def test_text_people_type_never_rejects_a_booking_that_has_a_title(booking: Booking, scanner: Scanner) -> None:
    assume(re.search(r"[^\W_]", booking.project_title))
    entry, warnings = describe(booking, scanner, SITE, {})
    kept = entry.values["RequestedProcedureDescription"] == booking.project_title
    assert kept != any(warning.startswith("RequestedProcedureDescription") for warning in warnings)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it counts bytes, where PS3.5 counts characters
@given(HOSTILE, HOSTILE, SCANNERS)
@example("Love\uff3elace\uff1d\u2227", "A\uff3cda", charset("ISO_IR 6"))  # spelled ^, =, ^ and a backslash
def test_a_person_s_name_has_no_more_parts_than_last_and_first(last: str, first: str, scanner: Scanner) -> None:
    assume(len(last) + len(first) < 60)
    who = entry_of(replace(BOOKING, user_last_name=last, user_first_name=first), scanner).RequestingPhysician
    assert str(who or "").count("^") <= 1
    assert "=" not in str(who or "")


@pytest.mark.parametrize(
    ("last", "first", "expected"),
    [
        ("Lovelace", "Ada", "Lovelace^Ada"),
        ("adalov", "", "adalov"),
        ("", "Ada", "^Ada"),
        ("", "", ""),
        ("O'Brien-Smith", "Éva", "O'Brien-Smith^Éva"),
    ],
)
def test_who_booked_is_last_and_first_name(last: str, first: str, expected: str) -> None:
    who = entry_of(replace(BOOKING, user_last_name=last, user_first_name=first)).RequestingPhysician
    assert str(who or "") == expected


def test_what_would_split_a_person_s_name_is_replaced_with_a_warning() -> None:
    booking = replace(BOOKING, user_last_name="Love^lace=X", user_first_name="A\\da")
    assert str(entry_of(booking).RequestingPhysician) == "Love lace X^A da"
    assert "RequestingPhysician" in warnings_of(booking)


@pytest.mark.parametrize(
    ("keyword", "changes"),
    [
        ("PatientID", {"project_id": ""}),
        ("PatientID", {"project_id": "3" * 60}),
        ("PatientID", {"subject": "7\\8"}),
        ("PatientID", {"subject": "7\n8"}),
        ("PatientID", {"subject": "s" * 50}),
        ("PatientName", {"subject": "s" * 45}),
        ("PatientName", {"subject": "7^8"}),
        ("PatientName", {"project_id": "30=1"}),
        ("AccessionNumber", {"booking_id": "1" * 17 + "\\"}),
        ("AccessionNumber", {"booking_id": "1\\2"}),
        ("AccessionNumber", {"booking_id": "\x1b[31m"}),
        ("AccessionNumber", {"booking_id": "\udcff"}),
    ],
)
def test_an_identifier_that_does_not_fit_rejects_the_booking(keyword: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=f"^{keyword}"):
        describe(replace(BOOKING, **changes), SCANNER, SITE, {})


def test_an_identifier_that_just_fits_is_kept() -> None:
    booking = replace(BOOKING, subject="s" * (64 - len("3010000.01_sub-_ses-02")), booking_id="1" * 16)
    assert len(entry_of(booking).PatientName) == 64
    assert len(entry_of(booking).AccessionNumber) == 16


@pytest.mark.parametrize("name", ["ISO_IR 6", "ISO_IR 100"])
def test_an_identifier_that_the_charset_can_not_write_rejects_the_booking(name: str) -> None:
    with pytest.raises(Rejected, match=f"^PatientID: .*{name}"):
        bytes_of(replace(BOOKING, subject="日本"), charset(name))


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 64),
        ("x" * 63 + " y", "x" * 63),
        ("C:\\brain", "C: brain"),
        ("two\r\nlines", "two lines"),
        ("a ^ b = [c] \"d\" 'e'", "a ^ b = [c] \"d\" 'e'"),
        ("bad \udcff byte", "bad ? byte"),
        ("", "3010000.01"),
    ],
)
def test_a_description_is_made_to_fit_with_a_warning(title: str, expected: str) -> None:
    booking = replace(BOOKING, project_title=title, columns={"project_title": title})
    assert entry_of(booking).RequestedProcedureDescription == expected
    assert ("RequestedProcedureDescription" in warnings_of(booking)) == (title != expected)


def test_a_warning_has_nothing_that_turns_its_line_around() -> None:
    columns = {"project_title": ""}
    said = warnings_of(replace(BOOKING, project_id="3010\u2066", project_title="", columns=columns))
    assert "give it one in the calendar" in said
    assert said.isprintable()


def test_a_calendar_without_titles_gets_no_warning_for_each_booking() -> None:
    booking = replace(BOOKING, project_title="", columns={"booking_id": "1"})
    assert entry_of(booking).RequestedProcedureDescription == "3010000.01"
    assert warnings_of(booking) == ""


@pytest.mark.parametrize(
    ("name", "title", "expected"),
    [
        ("ISO_IR 192", "Zürich 日本 🧠", "Zürich 日本 🧠"),
        ("ISO_IR 100", "Zürich", "Zürich"),
        ("ISO_IR 100", "Zu\u0308rich", "Zürich"),
        ("ISO_IR 100", "Łódź", "Lódz"),
        ("ISO_IR 6", "Zürich", "Zurich"),
        ("ISO_IR 6", "\u1361\u1361", "3010000.01"),  # spelled as blanks
        ("ISO_IR 6", "\u201cquoted\u201d \u2013 dash", '"quoted" - dash'),
    ],
)
def test_a_description_is_written_in_the_scanner_s_charset(name: str, title: str, expected: str) -> None:
    entry = entry_of(replace(BOOKING, project_title=title), charset(name))
    assert entry.get("SpecificCharacterSet", "ISO_IR 6") == name
    assert entry.RequestedProcedureDescription == expected


def test_a_title_of_another_script_is_spelled_in_letters() -> None:
    entry = entry_of(replace(BOOKING, project_title="日本"), charset("ISO_IR 6"))
    assert re.fullmatch("[A-Za-z ]+", entry.RequestedProcedureDescription)


@pytest.mark.parametrize("name", sorted(CODECS.keys() - {"ISO_IR 6", "ISO_IR 192"}))
def test_every_character_of_a_charset_is_written_in_it(name: str) -> None:
    codec = CODECS[name]
    upper_half = bytes(range(0xA0, 0x100)).decode(codec, "ignore")
    for title in (f"x{upper_half[:48]}", f"x{upper_half[48:]}"):
        assert title.encode(codec) in bytes_of(replace(BOOKING, project_title=title), charset(name))


def named(template: str, keyword: str = "PatientName", scanner: Scanner = SCANNER) -> str:
    return str(entry_of(attributes={keyword: template}, scanner=scanner)[keyword].value)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # it counts bytes, where PS3.5 counts characters
@pytest.mark.parametrize("keyword", ["PatientName", "RequestingPhysician", "ScheduledPerformingPhysicianName"])
@pytest.mark.parametrize(
    "name",
    [
        "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
        "=".join("abc"[at] * 64 for at in range(3)),
        "a=b",
        "=b",
        "a==c",
        "\u5c71" * 64 + "=" + "\u7530" * 64,
    ],
    ids=ascii,
)
def test_case_9_a_name_has_64_characters_a_group_and_three_groups(name: str, keyword: str) -> None:
    if keyword == "ScheduledPerformingPhysicianName":
        [step] = entry_of(attributes={keyword: name}).ScheduledProcedureStepSequence
        assert step[keyword].value == name
    else:
        assert named(name, keyword) == name


@pytest.mark.parametrize("name", ["a" * 65, "a=" + "b" * 65, "a=b=" + "c" * 65, "a=b=c=d", "a=b=c=", "==="])
def test_case_9_a_longer_name_is_rejected(name: str) -> None:
    with pytest.raises(Rejected, match=r"^PatientName: .*PN allows"):
        named(name)


@pytest.mark.parametrize(
    ("name", "fitted"),
    [
        ("a" * 65 + "=b", "a" * 64 + "=b"),
        ("a=" + "b" * 63 + " c", "a=" + "b" * 63),
        ("a=b=c=d", "a=b=c"),
    ],
)
def test_case_9_a_longer_name_of_somebody_else_is_made_to_fit_with_a_warning(name: str, fitted: str) -> None:
    entry, warnings = describe(BOOKING, SCANNER, SITE, {"RequestingPhysician": name})
    assert entry.values["RequestingPhysician"] == fitted
    assert warnings[0].startswith("RequestingPhysician")


@pytest.mark.parametrize("modality", ["PT", "CT", "MEG", "MR"])
def test_case_9_the_step_is_of_the_scanner_s_modality(modality: str) -> None:
    entry = entry_of(scanner=msgspec.structs.replace(SCANNER, modality=modality))
    [step] = entry.ScheduledProcedureStepSequence
    assert (step.ScheduledProcedureStepDescription, step.ScheduledProcedureStepID) == (
        f"{modality} session 02",
        "ses-mri02",
    )


def test_warnings_of_how_a_booking_was_read_come_with_those_of_its_entry() -> None:
    assert describe(replace(BOOKING, warnings=("minutes '-1'",)), SCANNER, SITE, {})[1] == ["minutes '-1'"]
