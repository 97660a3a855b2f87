"""Who a booking is for: the tables of docs/identity.md, the cases from the field, and what must hold of any text."""

import re
import unicodedata
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from dicom_worklist.bookings.booking import Row, read_booking
from dicom_worklist.bookings.identity import check_characters, read_subject, read_subject_session
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import CHARACTERS, Reading, Scanner, Site
from dicom_worklist.worklist.entry import describe

READING = Reading(ZoneInfo("Europe/Amsterdam"))
SCANNER = Scanner(ae_title="PRISMA", lab="PRISMA", station_name="MR1", location="Trigon")
SITE = Site(name="DCCN", timezone="Europe/Amsterdam")
START = datetime(2026, 11, 24, 9, 5, 7)  # noqa: DTZ001 - a booking's start is naive
PROJECT = "3010000.01"


def row(**columns: object) -> Row:
    return {
        "booking_id": 4711,
        "project_id": PROJECT,
        "project_title": "Language",
        "subject_session": None,
        "start_date": "2026-11-24",
        "start_time": "09:05:07",
        "lab": "SKYRA",
        "user_first_name": "Ada",
        "user_last_name": "Lovelace",
        "status": "CONFIRMED",
    } | columns


def identity(reading: Reading = READING, /, **columns: object) -> tuple[str, str]:
    """Return PatientID and PatientName of the entry."""
    values = describe(read_booking(row(**columns), reading), SCANNER, SITE, {})[0].values
    return values["PatientID"], values["PatientName"]


def reason(reading: Reading = READING, /, **columns: object) -> str:
    with pytest.raises(Rejected) as caught:
        identity(reading, **columns)
    assert str(caught.value).isprintable()
    return str(caught.value)


USUAL = Reading(ZoneInfo("Europe/Amsterdam"))


def allowing(characters: str) -> Reading:
    check_characters(characters)
    return Reading(ZoneInfo("Europe/Amsterdam"), characters=characters)


# --- docs/identity.md ---


def documented() -> list[tuple[dict[str, str], str, str]]:
    """Return the columns of each row of the tables, its PatientID or `rejected`, and its PatientName or the reason."""
    lines = (Path(__file__).parents[2] / "docs/identity.md").read_text(encoding="utf-8").splitlines()
    rows, names = [], []
    for line in lines:
        cells = [re.sub(r"\\u(....)", lambda code: chr(int(code[1], 16)), cell.strip(" `")) for cell in line.split("|")]
        if line.startswith("| ") and "PatientID" in cells:
            names = cells[1:-3]
        elif line.startswith("| ") and "---" not in cells:
            columns = dict(zip(names, cells[1:-3], strict=True))
            rows.append((columns if "project_id" not in columns else columns | {"subject": "7"}, cells[-3], cells[-2]))
    assert len(rows) > 50
    return rows


@pytest.mark.parametrize(("columns", "patient_id", "said"), documented(), ids=ascii)
def test_the_documentation_says_what_a_booking_is_read_as(columns: dict[str, str], patient_id: str, said: str) -> None:
    if patient_id == "rejected":
        assert said in reason(**columns)
    else:
        assert identity(**columns) == (patient_id, said)


# --- the cases from the field, with all their inputs, and their neighbours ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sub-007_ses-01", "sub-008_ses-02"),
        ("sub-007", "sub-008"),
        ("P-012-2", "P-013-1"),
        ("78-A-1", "78-B-1"),
        ("7-pilot-3", "7-main-3"),
        ("subject-7", "subject-8"),
        ("SUB-007_SES-01", "SUB-008_SES-01"),
        ("7\u20131\u20132", "7\u20133\u20132"),
    ],
)
def test_case_2_two_people_are_not_one(one: str, other: str) -> None:
    found = []
    for typed in (one, other):
        try:
            found.append(identity(subject_session=typed)[0])
        except Rejected as rejected:
            assert re.search(r"sub-007_ses-02", str(rejected)), "the reason shows the forms that are right"
            found.append(typed)
    assert found[0] != found[1]


@pytest.mark.parametrize("dash", "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d")
@pytest.mark.parametrize("typed", ["7{}1", "7 {} 1", "sub{}7_ses{}1"])
def test_case_3_a_unicode_dash_is_a_dash(typed: str, dash: str) -> None:
    assert identity(subject_session=typed.format(dash, dash))[0] == f"{PROJECT}_sub-007"


@pytest.mark.parametrize("column", ["subject_session", "subject", "project_id"])
@pytest.mark.parametrize(
    "typed",
    [
        "7\u200b", "\u200f7", "\uff17", "../../etc", "$(id)", "a*?",
        "7\u2060", "\ufeff7", "7\u00ad", "7\u202e1", "7\u0007", "7\x1b[2J", "7\t1", "7\n1", "7\u00a01", "7 1", "7\x7f",
        "\u0667", "\u2167", "\u00b2", "\u3164", "a\ufe0fb", "a\u034fb", "Zoe\u0308", "\udcff", "\ue000",
        ".", "..", ".7", "7.", "+", "_", "~root", "a/b", "a\\b", "C:", "`id`", "a;b", "a|b", "a&b", "a>b", "a'b", 'a"b',
        "a%b", "#1", "!1", "a?b", "a^b", "a=b", "{7}", "[7]", "a,b", "a@b",
    ],
    ids=ascii,
)  # fmt: skip
def test_case_3_what_means_something_to_a_shell_a_path_or_a_query_is_rejected(typed: str, column: str) -> None:
    other = {} if column != "project_id" else {"subject_session": "7"}
    assert column in reason(**{**other, column: typed})


def test_a_misspelt_column_of_the_subject_is_named_with_those_that_there_are() -> None:
    typed = {column: value for column, value in row().items() if column != "subject_session"} | {"subject_sesion": "7"}
    with pytest.raises(Rejected) as rejected:
        read_booking(typed, READING)
    assert str(rejected.value) == (
        "there is no column subject_session (or subject in its place): the row and the patterns give booking_id, lab, "
        "project_id, project_title, start_date, start_time, status, subject_sesion, user_first_name, user_last_name"
    )


@pytest.mark.parametrize("project", ["-7", "--", "-rf"])
def test_case_3_what_a_command_takes_for_an_option_is_rejected(project: str) -> None:
    assert f"project_id '{project}' begins with '-': it must" in reason(project_id=project, subject_session="7")


def test_which_end_of_an_identifier_is_wrong_is_told() -> None:
    said = reason(project_id="Dr.", subject_session="7")
    assert said == "project_id 'Dr.' ends with a dot, which a file's name must not: leave it out"


@pytest.mark.parametrize(
    "typed",
    [
        "07. Jan", "7/1/2026", "07.01.2026", "Jan-32", "46029.0", "7/1", "07/01", "07/01/26", "2026/07/01",
        "2026-07-01", "2026-07-01 00:00:00", "2026-07-01T00:00:00", "1-7-2026", "07-01-26", "7.1.26", "07.01.",
        "7. 1.", "01.2026", "12-2026", "Jan-07", "1-Jul", "01-Jul-26", "1-jul-2026", "July 1, 2026", "Jul-26",
        "jan-26", "7-jan", "07-mrt", "1 mei 2026", "7-okt", "7. M\u00e4r", "7. M\u00e4rz 2026", "7. Ma\u0308r",
        "Dez 26", "J\u00e4n. 26", "d\u00e9c-26", "7-f\u00e9vr.", "janv.-26", "1 ao\u00fbt", "juil-26", "7-ene",
        "ene-26", "1 de julio de 2026", "7-dic", "abr-26", "ago.-26", "Mai 26", "7-MAY", "2026-Jul-01", "Jan\u201307",
        "7.0", "7.00", "7E+01", "7.00E+01", "1.00E-05",
    ],
    ids=ascii,
)  # fmt: skip
@pytest.mark.parametrize("column", ["subject_session", "subject"])
def test_case_4_what_a_spreadsheet_made_of_it_is_rejected_with_the_remedy(typed: str, column: str) -> None:
    said = reason(**{column: typed})
    assert re.search(r"is a date, as spreadsheets|is a number as spreadsheets", said)
    assert "format that column as text" in said


@pytest.mark.parametrize(
    ("typed", "subject"),
    [
        ("7-1", "007"), ("12-31", "012"), ("Jan", "Jan"), ("mar1", "mar1"), ("jan_7", "jan_7"),
        ("janssen-2", "janssen"), ("7.2", "7.2"), ("2026-07", "2026"), ("46029", "46029"), ("20260701", "20260701"),
        ("7E1", "7E1"), ("d\u20132", "00d"),
    ],
    ids=ascii,
)  # fmt: skip
def test_case_4_what_only_looks_like_a_date_is_taken(typed: str, subject: str) -> None:
    assert identity(subject_session=typed)[0] == f"{PROJECT}_sub-{subject}"


@pytest.mark.parametrize(
    "value", [7.0, Decimal("7.0"), Decimal(7), 3010000.1, Decimal("3010000.1"), float("nan"), 1e22]
)
@pytest.mark.parametrize("column", ["booking_id", "project_id", "subject_session", "subject", "session"])
def test_case_5_a_float_in_an_identifier_is_rejected(column: str, value: object) -> None:
    said = reason(**{"subject_session": "7", column: value})
    assert column in said
    assert "make the column text" in said


@pytest.mark.parametrize("project", ["3010000.10", "3010000.1", 3010000, "3010000.0", "2E01", b"3010000.10"])
def test_case_5_text_and_whole_numbers_stay(project: object) -> None:
    text = project.decode() if isinstance(project, bytes) else project
    assert identity(project_id=project, subject_session=7) == (f"{text}_sub-007", f"{text}_sub-007_ses-01")


@pytest.mark.parametrize("project", ["3.01E+06", "3.01e06", "3E+6", "nan", "None", "NULL"])
def test_case_5_what_a_program_made_of_a_project_is_rejected(project: str) -> None:
    assert "project_id" in reason(project_id=project, subject_session="7")


# --- the columns subject and session ---


@pytest.mark.parametrize(
    "columns",
    [
        {"subject_session": "7-2", "subject": "007", "session": 2},
        {"subject_session": "7-2", "session": "02"},
        {"subject_session": "7-2", "subject": "7"},
        {"subject_session": "", "subject": 7, "session": 2},
        {"subject_session": None, "subject": "sub-7", "session": "ses-2"},
        {"subject_session": "7-2", "subject": " ", "session": None},
    ],
)
def test_subject_and_session_may_have_columns_of_their_own(columns: dict[str, object]) -> None:
    assert identity(**columns) == (f"{PROJECT}_sub-007", f"{PROJECT}_sub-007_ses-02")


@pytest.mark.parametrize(
    "columns",
    [
        {"subject_session": "7-2", "subject": "8", "session": 2},
        {"subject_session": "7-2", "subject": "7", "session": 3},
        {"subject_session": "7", "session": 2},
    ],
)
def test_columns_that_say_different_things_are_rejected(columns: dict[str, object]) -> None:
    assert "differ" in reason(**columns)


# --- a site's own characters ---


@pytest.mark.parametrize(
    "characters", ["[a-z]+", "[a-z]*", ".{2}", "", "(", "ab", "[a", "!", r"[^\w]", "a|", "[a-z]{1,3}"]
)
def test_a_rule_that_is_not_of_single_characters_is_refused(characters: str) -> None:
    with pytest.raises(ValueError, match=r"it is not a valid|one character at a time|no letter or digit"):
        check_characters(characters)


@pytest.mark.parametrize("characters", [CHARACTERS, ".", r"[\w /]", "[0-9]", "a|b", "[\u05d0-\u05ea]", r"^\d$"])
def test_a_rule_of_single_characters_is_taken(characters: str) -> None:
    check_characters(characters)


def test_a_site_may_allow_more() -> None:
    reading = allowing(r"[\w /-]")
    assert identity(reading, project_id="A/B 1", subject_session="Zo\u00eb-3")[1] == "A/B 1_sub-Zo\u00eb_ses-03"


def test_a_site_may_allow_less() -> None:
    assert "PatientID and PatientName take '[0-9.]' (booking.characters)" in reason(
        allowing("[0-9.]"), subject_session="x7"
    )


@pytest.mark.parametrize(
    "typed",
    ["a\\b", "a^b", "a=b", "a*b", "a?b", "a\x00b", "a\x85b", "a\u200bb", "a\u00a0b", "a\u3164b", "\udcff", "a\u2028b"],
    ids=ascii,
)
def test_characters_that_no_site_can_allow(typed: str) -> None:
    assert "subject" in reason(allowing("(?s:.)"), subject=typed)


def test_two_spellings_of_an_accent_are_one_subject() -> None:
    reading = allowing(r"[\w.]")
    assert identity(reading, subject="Zoe\u0308") == identity(reading, subject="Zo\u00eb")
    assert identity(reading, subject="Zoe")[0] != identity(reading, subject="Zo\u00eb")[0]


# --- of any text ---

#: What people and programs put there: usually what may be taken, and all that must not.
TYPED = st.text(max_size=12) | st.text(st.sampled_from("0017xX -\u2013._+aBsubSES"), max_size=10) | st.from_regex(
    r"(sub-)?[xX]?0?[0-9a-c]{1,4}(_ses)?( ?- ?[0-9]{1,2})?", fullmatch=True
)  # fmt: skip


def same(typed: str) -> str:
    """Return what is the same for texts that are one subject and session by the rules of docs/identity.md."""
    plain = re.sub("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]", "-", unicodedata.normalize("NFC", typed).strip())
    plain = re.sub(r"\s*-\s*", "-", plain)
    plain = re.sub(
        "^sub-([^-]*?)(?:_ses-([^-]+))?$", lambda it: f"{it[1].strip()}-{it[2] or 1}", plain, flags=re.IGNORECASE
    )
    subject, _, session = plain.partition("-")
    extra, rest = ("x", subject[1:]) if subject[:1] in ("x", "X") and len(subject) > 1 else ("", subject)
    short = rest.lstrip("0") if len(rest) <= 3 else rest
    return f"{extra}{short} {int(session or 1)}"


@given(TYPED, TYPED)
@example("7", "07-1")
@example("sub-7", "7")
@example("x7", "X007")
@example("0x", "x")
@example("7", "0007")
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many texts are rejected
def test_two_texts_are_one_identity_only_by_the_documented_rules(one: str, other: str) -> None:
    try:
        names = [identity(subject_session=typed)[1] for typed in (one, other)]
    except Rejected:
        assume(False)
    assert (names[0] == names[1]) == (same(one) == same(other))


@given(*[st.text("a1_subesSUB-.", min_size=1, max_size=10)] * 4)
@example("A_sub-1", "2", "A", "1_sub-2")
def test_two_pairs_of_project_and_subject_are_never_one_patient(a: str, b: str, c: str, d: str) -> None:
    try:
        one, other = identity(project_id=a, subject=b)[0], identity(project_id=c, subject=d)[0]
    except Rejected:
        assume(False)
    subjects = [re.sub("(?i)^sub-", "", subject).rjust(3, "0") for subject in (b, d)]
    assert (one == other) == ((a, subjects[0]) == (c, subjects[1]))


@given(st.text(max_size=12), st.sampled_from(["subject_session", "subject", "project_id"]), st.booleans())
def test_nothing_that_is_accepted_has_a_forbidden_character(typed: str, column: str, anything: bool) -> None:
    reading = allowing("(?s:.)") if anything else READING
    other = {} if column != "project_id" else {"subject": "7"}
    try:
        names = "".join(identity(reading, **{**other, column: typed}))
    except Rejected:
        return
    assert names.isprintable()
    assert not set(names) & set("\\^=*?")
    assert anything or re.fullmatch("[A-Za-z0-9._+-]+", names)
    assert names == unicodedata.normalize("NFC", names)


@given(st.text(max_size=12))
def test_a_subject_is_read_or_rejected_and_nothing_else(typed: str) -> None:
    try:
        subject, session = read_subject_session(typed, START, USUAL)
    except Rejected:
        return
    assert len(subject) >= 3
    assert 0 <= session <= 99


# --- where the PatientID is the subject ---

PLAIN = Reading(ZoneInfo("Europe/Amsterdam"), plain=True)


@pytest.mark.parametrize(
    ("typed", "subject"),
    [
        ("7", "7"),
        ("007", "007"),
        ("x2", "x2"),
        ("X2", "X2"),
        ("sub-001", "sub-001"),
        ("MRN-0012", "MRN-0012"),
        (" 7 ", "7"),
    ],
)
def test_a_plain_subject_is_as_it_was_typed(typed: str, subject: str) -> None:
    assert read_subject(typed, START, PLAIN) == subject


@pytest.mark.parametrize(("typed", "read"), [("7", ("7", 1)), ("7-2", ("7", 2)), ("sub-001_ses-02", ("001", 2))])
def test_a_plain_subject_with_its_session(typed: str, read: tuple[str, int]) -> None:
    assert read_subject_session(typed, START, PLAIN) == read


@pytest.mark.parametrize(
    "typed", ["", "undefined", "Undefined 3", "7.0", "1/7/2026", "a b", "a/b", "nan", "7_ses-1", "?"]
)
def test_a_plain_subject_is_rejected_for_the_same_reasons(typed: str) -> None:
    with pytest.raises(Rejected, match="subject"):
        read_subject(typed, START, PLAIN)
