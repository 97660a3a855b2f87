"""The role's ready sets of attributes: each gives what its document asks for."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from heudiconv.heuristics import reproin
from heudiconv.utils import SeqInfo
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.bookings import Booking
from dicom_worklist.errors import Rejected
from dicom_worklist.worklist import templates
from dicom_worklist.worklist.attributes import REQUIRED
from dicom_worklist.worklist.entry import describe
from support.sample_entry import BOOKING, SCANNER, SITE

ROLE = Path(__file__).parents[2] / "roles/worklist_sync"
SETS = {path.stem: yaml.safe_load(path.read_text()) for path in ROLE.glob("files/attributes/*.yml")}
ARCHIVES, CONSOLES = ["xnat", "flywheel", "reproin", "loris"], ["siemens", "ge", "philips"]
#: The columns of the site's own that sets use.
COLUMNS: dict[str, Any] = {
    "flywheel_group": "neuro",
    "investigator": "Lovelace",
    "pscid": "DCC0007",
    "candid": "300123",
    "visit": "V2",
}
#: Subjects and projects as calendars have them.
SUBJECTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,11}", fullmatch=True, alphabet=st.characters(codec="ascii"))
PROJECTS = st.from_regex(r"[1-9][0-9]{6}\.[0-9]{2}", fullmatch=True, alphabet=st.characters(codec="ascii"))
BOOKINGS = st.builds(replace, st.just(BOOKING), subject=SUBJECTS, project_id=PROJECTS, session=st.integers(0, 99))


def values(*names: str, booking: Booking = BOOKING, plain: bool = False, **columns: Any) -> Mapping[str, str]:
    """Return what an entry says with these sets."""
    attributes: dict[str, Any] = {}
    for name in names:
        attributes |= SETS[name]
    entry, warnings = describe(replace(booking, columns=columns), SCANNER, SITE, attributes, plain=plain)
    assert warnings == []
    return entry.values


def test_the_role_offers_each_set_that_there_is() -> None:
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert options["worklist_sync_attribute_sets"]["choices"] == [*ARCHIVES, *CONSOLES]
    assert SETS.keys() == {*ARCHIVES, *CONSOLES}


@pytest.mark.parametrize("name", SETS)
def test_each_line_of_a_set_has_its_source_and_can_be_loaded(name: str) -> None:
    text = (ROLE / f"files/attributes/{name}.yml").read_text()
    assert "Source: " in text
    templates.check(SETS[name], [SCANNER])


@pytest.mark.parametrize("names", list(itertools.combinations(SETS, 2)), ids="-".join)
@pytest.mark.parametrize("plain", [False, True], ids=["dccn", "plain"])
def test_two_sets_go_together(names: tuple[str, str], plain: bool) -> None:
    said = values(*names, booking=replace(BOOKING, project_id="") if plain else BOOKING, plain=plain, **COLUMNS)
    assert said.keys() >= REQUIRED


# XNAT: ContainedAssignmentExtractor of dicom-xnat-util, in Python; it ignores case


def read_by_xnat(comments: str, what: str) -> str | None:
    pattern = rf"(?:\A|(?:.*[\s,;])){what}\s*:\s*([\w\-]*)(?:(?:[\s,;].*\Z)|\Z)"
    found = re.match(pattern, comments, re.IGNORECASE | re.ASCII)
    return found[1] if found else None


@given(BOOKINGS)
def test_xnat_finds_project_subject_and_session(booking: Booking) -> None:
    comments = values("xnat", booking=booking)["PatientComments"]
    assert [read_by_xnat(comments, what) for what in ("Project", "Subject", "Session")] == [
        booking.project_id.replace(".", "_"),
        booking.subject,
        f"{booking.subject}_ses-{booking.session:02}",
    ]


def test_xnat_reads_nothing_else_as_a_label() -> None:
    """A subject that XNAT can't have as a label waits in the prearchive, and becomes nobody else's."""
    comments = values("xnat", booking=replace(BOOKING, subject="7.2"))["PatientComments"]
    assert read_by_xnat(comments, "Subject") is None


def test_xnat_s_project_is_of_one_project_of_the_calendar_only() -> None:
    with pytest.raises(Rejected, match=r"'3010000_01' doesn't match"):
        values("xnat", booking=replace(BOOKING, project_id="3010000_01"))


# Flywheel: fw://group/project/subject/session


@given(BOOKINGS)
def test_flywheel_finds_group_project_subject_and_session(booking: Booking) -> None:
    comments = values("flywheel", booking=booking, **COLUMNS)["PatientComments"]
    found = re.fullmatch("fw://([^/]+)/([^/]+)/([^/]+)/([^/]+)", comments)
    assert found
    assert found.groups() == ("neuro", booking.project_id, booking.subject, f"ses-{booking.session:02}")


@pytest.mark.parametrize("columns", [{}, {"flywheel_group": ""}, {"flywheel_group": None}])
def test_without_a_group_flywheel_s_path_still_has_four_parts(columns: dict[str, Any]) -> None:
    assert values("flywheel", **columns)["PatientComments"] == "fw://unknown/3010000.01/007/ses-02"


def test_a_group_of_flywheel_can_not_be_a_project_too() -> None:
    with pytest.raises(Rejected, match="'neuro/other' doesn't match"):
        values("flywheel", flywheel_group="neuro/other")


# LORIS: get_subject_ids of LORIS-MRI's configuration


def read_by_loris(name: str) -> tuple[str, ...]:
    assert not re.search("(pha)|(test)", name, re.IGNORECASE), "it would be a phantom"
    found = re.search(r"([^_]+)_(\d+)_([^_]+)", name)
    assert found
    return found.groups()


@pytest.mark.parametrize(("columns", "visit"), [({}, "V02"), ({"visit": ""}, "V02"), ({"visit": "V2"}, "V2")])
def test_loris_finds_the_candidate_and_the_visit(columns: dict[str, Any], visit: str) -> None:
    said = values("loris", pscid="DCC0007", candid="300123", **columns)
    assert read_by_loris(said["PatientName"]) == ("DCC0007", "300123", visit)


def test_a_booking_without_loris_ids_is_rejected() -> None:
    with pytest.raises(Rejected, match=r"^PatientName: .*no column candid, pscid"):
        values("loris")


LORIS_IDS: dict[str, Any] = {"pscid": "DCC0007", "candid": "300123"}


@pytest.mark.parametrize(
    ("column", "typed"),
    [("pscid", ""), ("pscid", "DCC_7"), ("candid", ""), ("candid", "x"), ("visit", "V_1")],
)
def test_a_loris_id_that_would_be_read_as_another_is_rejected(column: str, typed: str) -> None:
    with pytest.raises(Rejected, match=rf"^PatientName: .*'{typed}' doesn't match"):
        values("loris", **LORIS_IDS | {column: typed or None})


# ReproIn: heudiconv itself is the judge


def read_by_reproin(booking: Booking) -> dict[str, str | None]:
    said = values("reproin", booking=booking, investigator="Lovelace")
    fields: dict[str, Any] = dict.fromkeys(SeqInfo._fields, "") | {
        "patient_id": said["PatientID"],
        "study_description": said["RequestedProcedureDescription"],
        "protocol_name": f"anat-T1w_ses-{booking.session:02}",
        "is_derived": False,
    }
    found: dict[str, str | None] = reproin.infotoids([SeqInfo(**fields)], outdir="/nonexistent")
    return found


def test_reproin_finds_the_locator_and_the_subject() -> None:
    assert read_by_reproin(BOOKING) == {"locator": "Lovelace/3010000.01", "subject": "3010000p01s007", "session": "02"}
    subjects = [
        read_by_reproin(replace(BOOKING, project_id=project, subject=subject))["subject"]
        for project, subject in itertools.product(["3010000.01", "301000.001", "3010000.02"], ["007", "x007", "0007"])
    ]
    assert len({*subjects}) == 9
    assert all(re.fullmatch("[a-z0-9]+", subject or "") for subject in subjects), "BIDS allows no others"


#: Ids with the letters that the set itself writes.
MIXED = st.text("pqsPQS.01", min_size=1, max_size=6)


@given(st.lists(st.tuples(MIXED, st.text("pqsPQS01", min_size=1, max_size=4)), min_size=2, max_size=30))
def test_two_people_are_never_one_subject_of_reproin(people: list[tuple[str, str]]) -> None:
    subjects: dict[str | None, tuple[str, str]] = {}
    for project, subject in people:
        read = read_by_reproin(replace(BOOKING, project_id=project, subject=subject))
        person = (project.lower(), subject.lower())
        assert subjects.setdefault(read["subject"], person) == person


@pytest.mark.parametrize(("project", "subject"), [("A", "s001"), ("As", "1"), ("30.1", "7"), ("30p1", "7")])
def test_reproin_keeps_those_apart_that_it_once_mixed(project: str, subject: str) -> None:
    said = values("reproin", booking=replace(BOOKING, project_id=project, subject=subject), investigator="I")
    assert said["PatientID"] == {"A": "ass001", "As": "aqss1", "30.1": "30p1s7", "30p1": "30qp1s7"}[project]


@pytest.mark.parametrize("changes", [{"subject": "7-1"}, {"subject": "a_b"}, {"project_id": "A_B"}])
def test_what_reproin_would_drop_is_rejected(changes: dict[str, str]) -> None:
    with pytest.raises(Rejected, match=r"^PatientID: .* doesn't match"):
        values("reproin", booking=replace(BOOKING, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [{}, {"investigator": ""}, {"investigator": None}])
def test_the_locator_has_an_investigator_always(columns: dict[str, Any]) -> None:
    assert values("reproin", **columns)["RequestedProcedureDescription"] == "Investigator^3010000.01"


# consoles; tests/integration/test_consoles.py has what they do


@given(BOOKINGS)
def test_ge_shows_subject_and_session_in_24_characters(booking: Booking) -> None:
    shown = values("ge", booking=booking)["PatientName"][:24]
    assert shown.startswith(f"{booking.subject}_ses-{booking.session:02}")


def test_the_default_s_name_is_cut_on_ge() -> None:
    assert values()["PatientName"][:24] == "3010000.01_sub-007_ses-0"


def test_siemens_and_philips_have_ids_of_one_booking_only() -> None:
    for name, keyword in (("siemens", "RequestedProcedureID"), ("philips", "ScheduledProcedureStepID")):
        ids = [values(name, booking=replace(BOOKING, booking_id=one))[keyword] for one in ("1", "2", "f" * 40)]
        assert len({*ids}) == 3
        assert max(map(len, ids)) <= 16
