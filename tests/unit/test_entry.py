"""What an entry says, and what can't be one."""

import json
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_worklist.bookings.booking import Booking
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Scanner, Site
from dicom_worklist.worklist.attributes import CODECS, EMPTY_SEQUENCES
from dicom_worklist.worklist.checksum import PREAMBLE, holds, with_checksum
from dicom_worklist.worklist.dataset import attributes_of, decode, encode
from dicom_worklist.worklist.entry import Entry, accession_number, describe, uid
from support.local import read_dicom

SITE = Site(name="DCCN", timezone="Europe/Amsterdam")
SCANNER = Scanner(ae_title="PRISMA", lab="PRISMA", station_name="MR1", location="Trigon", modality="MR")
BOOKING = Booking(
    booking_id="4711",
    project_id="3010000.01",
    project_title="Language and the brain",
    subject="007",
    session=2,
    start=datetime(2026, 11, 24, 9, 5, 7),  # noqa: DTZ001 - a booking's start is naive
    lab="Siemens PRISMA 3T",
    user_first_name="Ada",
    user_last_name="Lovelace",
    status="CONFIRMED",
)
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
BOOKINGS = st.builds(
    Booking,
    **dict.fromkeys(Booking.__slots__, HOSTILE)
    | {"session": st.integers(0, 99), "start": TIMES, "end": st.none() | TIMES, "warnings": st.just(())},
)
#: The same, with the identifiers of an orderly calendar: what is rejected then is so for a description.
TITLED = st.builds(
    replace, st.just(BOOKING), project_title=HOSTILE, user_first_name=HOSTILE, user_last_name=HOSTILE
)  # fmt: skip
SCANNERS = st.sampled_from(
    [replaced for name in CODECS if (replaced := msgspec.structs.replace(SCANNER, charset=name))]
)


def entry_of(
    booking: Booking = BOOKING,
    scanner: Scanner = SCANNER,
    site: Site = SITE,
    attributes: dict[str, str] | None = None,
) -> Dataset:
    """Return the entry as a scanner reads it."""
    return read_dicom(encode(describe(booking, scanner, site, attributes or {})[0]))


def warnings_of(booking: Booking, scanner: Scanner = SCANNER) -> str:
    return "\n".join(describe(booking, scanner, SITE, {})[1])


def bytes_of(booking: Booking = BOOKING, scanner: Scanner = SCANNER, site: Site = SITE) -> bytes:
    return encode(describe(booking, scanner, site, {})[0])


def charset(name: str) -> Scanner:
    return msgspec.structs.replace(SCANNER, charset=name)


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
def test_what_is_unknown_is_empty(keyword: str) -> None:
    assert entry_of()[keyword].is_empty


def test_midnight_is_written_in_full() -> None:
    [step] = entry_of(replace(BOOKING, start=datetime(2026, 1, 2))).ScheduledProcedureStepSequence  # noqa: DTZ001
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20260102", "000000")


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
    booking = replace(BOOKING, project_title=title)
    assert entry_of(booking).RequestedProcedureDescription == expected
    assert ("RequestedProcedureDescription" in warnings_of(booking)) == (title != expected)


def test_a_warning_has_nothing_that_turns_its_line_around() -> None:
    assert warnings_of(replace(BOOKING, project_id="3010\u2066", project_title="")).isprintable()


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


# --- the same booking, the same bytes ---


def test_the_same_booking_gives_the_same_bytes() -> None:
    assert bytes_of() == bytes_of(replace(BOOKING))


def test_the_bytes_are_those_that_folders_hold_already() -> None:
    # A change here (another pydicom, another encoder) leaves files of the old bytes in every folder, because a
    # file whose entry is the same is kept: raise checksum.FORMAT together with this digest.
    assert sha256(bytes_of()).hexdigest() == "2ed2dd44ea5608e32b9b8b3b58a267a80521de4cec47bffa71b1530bcbeb86ae"


def test_a_file_is_dicom_with_its_seal_in_the_preamble() -> None:
    content = bytes_of()
    assert content[PREAMBLE : PREAMBLE + 4] == b"DICM"
    assert content[64:PREAMBLE] == bytes(64)
    assert read_dicom(content).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    "changes",
    [{"project_title": "Another"}, {"subject": "008"}, {"session": 3}, {"user_first_name": "A"}, {"booking_id": "1"}],
)
def test_a_seal_is_broken_by_any_change_of_the_entry(changes: dict[str, Any]) -> None:
    entry, _ = describe(replace(BOOKING, **changes), SCANNER, SITE, {})
    assert not holds(bytes_of(), entry)


def test_a_seal_is_broken_by_another_charset() -> None:
    assert not holds(bytes_of(), describe(BOOKING, charset("ISO_IR 100"), SITE, {})[0])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_seal_is_broken_by_any_change_of_the_file(at: int, difference: int) -> None:
    content = bytearray(bytes_of())
    content[at % len(content)] ^= difference
    assert not holds(bytes(content), describe(BOOKING, SCANNER, SITE, {})[0])


@pytest.mark.parametrize("length", [0, 64, 128, 132, -1])
def test_a_seal_is_broken_when_the_file_is_cut(length: int) -> None:
    assert not holds(bytes_of()[:length], describe(BOOKING, SCANNER, SITE, {})[0])


def test_what_holds_is_known_again() -> None:
    assert holds(bytes_of(), describe(BOOKING, SCANNER, SITE, {})[0])


# --- UIDs ---


def study(booking: Booking, site: Site = SITE) -> str:
    return str(entry_of(booking, site=site).StudyInstanceUID)


def test_a_booking_keeps_its_study_instance_uid_when_it_moves() -> None:
    moved = replace(BOOKING, start=datetime(2026, 12, 1), lab="SKYRA", subject="x002", project_id="1")  # noqa: DTZ001
    other = msgspec.structs.replace(SCANNER, ae_title="SKYRA", charset="ISO_IR 100")
    assert entry_of(moved, other).StudyInstanceUID == study(BOOKING)


@pytest.mark.parametrize("root", [None, "1.2.826.0.1", "1." + "1" * 41])
@given(ids=st.sets(st.text(min_size=1, max_size=16), min_size=2, max_size=2))
def test_two_bookings_never_share_a_uid(root: str | None, ids: set[str]) -> None:
    assume(all(text == text.encode("utf-8", "ignore").decode() for text in ids))
    assert len({uid(root, "DCCN", text) for text in ids}) == 2


def test_two_sites_never_share_a_uid() -> None:
    assert study(BOOKING) != study(BOOKING, Site(name="Other", timezone="UTC"))
    assert uid(None, "DCCN1", "1") != uid(None, "DCCN", "11")


@pytest.mark.parametrize("root", [None, "1.2", "1.2.826.0.1", "1." + "1" * 41])
@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_uid_has_the_form_of_one(root: str | None, name: str) -> None:
    made = uid(root, "DCCN", name)
    assert re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", made)
    assert len(made) <= 64
    assert made.startswith(f"{root or '2.25'}.")


def test_a_uid_root_keeps_most_of_the_digest() -> None:
    assert len(uid("1.2.826.0.1", "DCCN", "1")) > 55


# --- the operator's templates ---


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


# --- cases 8 to 10 of the field ---


def test_case_8_the_default_character_set_is_not_named() -> None:
    # PS3.3 C.12.1.1.2: it has no defined term where no other set is used
    content = bytes_of(scanner=charset("ISO_IR 6"))
    assert "SpecificCharacterSet" not in read_dicom(content)
    assert b"ISO_IR 6" not in content


@pytest.mark.parametrize("name", sorted(CODECS.keys() - {"ISO_IR 6"}))
def test_case_8_every_other_character_set_is_named(name: str) -> None:
    assert read_dicom(bytes_of(scanner=charset(name))).SpecificCharacterSet == name


def test_case_8_files_that_named_it_are_written_again_and_no_others() -> None:
    def digest(entry: Entry) -> bytes:
        return sha256(json.dumps([1, entry.charset, sorted(entry.values.items())]).encode()).digest()

    for name in CODECS:
        entry, _ = describe(BOOKING, charset(name), SITE, {})
        assert with_checksum(bytes(PREAMBLE), entry).startswith(digest(entry)) == (name != "ISO_IR 6")


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


#: An ObjectId, a UUID, iCalendar UIDs of Google and of Outlook, one of a bad program; letters of more than one byte.
LONG_IDS = [
    "507f1f77bcf86cd799439011",
    "123e4567-e89b-12d3-a456-426614174000",
    "0t5bq2k7m1r8v3c6n9x4z0a2d1@google.com",
    "040000008200E00074C5B7101A82E00800000000" + "5" * 72,
    "x" * 500,
    "Buchung-f\u00fcr-Z\u00fcrich",
    "1" * 17,
]


@pytest.mark.parametrize("booking_id", LONG_IDS)
@pytest.mark.parametrize("name", ["ISO_IR 192", "ISO_IR 6"])
def test_case_10_a_long_id_has_a_short_accession_number_that_stays(booking_id: str, name: str) -> None:
    booking = replace(BOOKING, booking_id=booking_id)
    entry = entry_of(booking, charset(name))
    assert re.fullmatch("[A-Z2-7]{16}", entry.AccessionNumber)
    assert entry.StudyInstanceUID == uid(None, "DCCN", booking_id)
    moved = replace(booking, start=datetime(2027, 1, 2), subject="008", project_id="1")  # noqa: DTZ001
    assert entry_of(moved, SCANNER).AccessionNumber == entry.AccessionNumber


def test_case_10_the_short_accession_number_is_the_same_for_ever() -> None:
    assert accession_number(LONG_IDS[0]) == "BI24I62PIP2E3IKJ"


def test_case_10_two_long_ids_have_two_accession_numbers() -> None:
    ids = [*LONG_IDS, *(f"{'x' * 499}{number}" for number in range(1000)), "X" * 500]
    assert len({accession_number(booking_id) for booking_id in ids}) == len(ids)


@given(st.text(max_size=16))
def test_case_10_an_id_that_fits_is_the_accession_number(booking_id: str) -> None:
    assert accession_number(booking_id) == booking_id


@pytest.mark.parametrize("booking_id", [*LONG_IDS, "1\\2", "\x1b[31m" + "x" * 20])
def test_case_10_what_is_written_is_checked_not_what_it_was_made_of(booking_id: str) -> None:
    booking = replace(BOOKING, booking_id=booking_id)
    assert entry_of(booking, attributes={"AccessionNumber": "A1"}).AccessionNumber == "A1"
    with pytest.raises(Rejected, match=r"^AccessionNumber: .*has 17 characters; SH allows 16"):
        entry_of(booking, attributes={"AccessionNumber": "A" * 17})


def test_case_10_an_id_that_is_not_text_is_rejected_all_the_same() -> None:
    with pytest.raises(Rejected, match=r"^AccessionNumber and StudyInstanceUID"):
        describe(replace(BOOKING, booking_id="\udcff" * 20), SCANNER, SITE, {"AccessionNumber": "A1"})


def test_warnings_of_how_a_booking_was_read_come_with_those_of_its_entry() -> None:
    assert describe(replace(BOOKING, warnings=("minutes '-1'",)), SCANNER, SITE, {})[1] == ["minutes '-1'"]


# --- files of others ---


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(200), bytes_of()[:300]])
def test_what_is_no_entry_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        decode(content)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_damaged_entry_is_read_or_told(at: int, damage: bytes) -> None:
    content = bytes_of()
    at %= len(content)
    with suppress(ValueError):
        attributes_of(decode(content[:at] + damage + content[at + len(damage) :]))
