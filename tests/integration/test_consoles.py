"""Three makes of consoles at a real broker: each quirk is one that a naive worklist fails, which is shown beside it.

The broker is of these tests' own, so no deployed site is needed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom.dataset import Dataset

from support import live, own_broker
from support.calendar import DAY, SKYRA, Calendar
from support.command import command
from support.configuration import Configure
from support.consoles import GE, Console, Philips, Siemens
from support.timed_site import Site
from support.worklist_folder import entries

ATTRIBUTES = live.PROJECT / "roles/worklist_sync/files/attributes"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worklists")


@pytest.fixture(scope="module")
def port(root: Path) -> Iterator[int]:
    with own_broker.broker(root, "WLBROKER", "WLSKYRA") as port:
        yield port


@pytest.fixture
def folder(root: Path, port: int) -> Path:
    """The folder of the broker; without entries."""
    for entry in root.glob("*/*.wl"):
        entry.unlink()
    return root / "WLBROKER"


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


def ready(*names: str) -> dict[str, object]:
    """Return the changes of a configuration that take these sets of the role."""
    attributes: dict[str, Any] = {}
    for name in names:
        attributes |= yaml.safe_load((ATTRIBUTES / f"{name}.yml").read_text())
    return {"attributes": attributes}


# --- GE ---


def test_ge_shows_every_entry(site: Site, port: int) -> None:
    for booking_id, clock in ((1, "09:00"), (2, "10:00"), (3, "11:00")):
        site.book(booking_id, f"{booking_id}-1", clock)
    site.run("08:00")
    assert len(GE(port).patients()) == 3


@pytest.mark.parametrize("keyword", GE.needed)
def test_ge_skips_a_naive_entry_without_what_it_needs(keyword: str, site: Site, folder: Path, tmp_path: Path) -> None:
    site.book(1)
    site.run("08:00")
    [entry] = entries(folder).values()
    part = entry if keyword in entry else entry.ScheduledProcedureStepSequence[0]
    del part[keyword]
    naive = tmp_path / "naive"
    with own_broker.broker(naive, "WLBROKER", option="-dfr") as port:
        entry.save_as(naive / "WLBROKER/1.wl", enforce_file_format=True)
        shown = Console(port, asks_station=keyword != "ScheduledStationAETitle")
        assert len(shown.answers()) == (keyword != "ScheduledProcedureStepStartDate")
        assert GE(port, asks_station=shown.asks_station).patients() == []


def test_ge_shows_24_characters_in_which_subject_and_session_are(site: Site, port: int) -> None:
    site.book(1, "7-1", "09:00")
    site.book(2, "7-2", "10:00")
    site.run("08:00")
    assert GE(port).names() == ["3010000.01_sub-007_ses-0"] * 2  # the default's
    site.changes |= ready("ge")
    site.run("08:01")
    assert GE(port).names() == ["007_ses-01_3010000.01", "007_ses-02_3010000.01"]


def test_ge_without_the_option_takes_no_uid_and_the_booking_is_found_all_the_same(site: Site, port: int) -> None:
    site.book(1)
    site.run("08:00")
    console = GE(port, takes_uid=False)
    [entry] = console.patients()
    images = console.images(entry)
    assert images["StudyInstanceUID"] != entry.StudyInstanceUID
    site.scan(images, "09:05")
    site.run("09:30")
    assert [study.orthanc_id for study in site.line(1).studies] == ["a"]
    assert site.unscheduled() == []


# --- no station AE title ---


@pytest.mark.parametrize("make", [GE, Philips, Siemens])
def test_a_console_that_sends_no_ae_title_needs_a_worklist_of_its_own(
    make: type[Console], site: Site, port: int
) -> None:
    def seen(called: str) -> list[str]:
        console = make(port, "SKYRA", called, asks_station=False)
        return [entry.ScheduledProcedureStepSequence[0].ScheduledStationAETitle for entry in console.answers()]

    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "09:00", lab=SKYRA)
    site.run("08:00")
    assert sorted(seen("WLBROKER")) == ["PRISMA", "SKYRA"]  # everybody's
    site.changes["scanners.2.worklist"] = "WLSKYRA"
    site.run("08:01")
    assert seen("WLSKYRA") == ["SKYRA"]
    assert seen("WLBROKER") == ["PRISMA"]


# --- Philips ---


def test_philips_loses_one_of_two_bookings_with_one_step_id(site: Site, port: int) -> None:
    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "10:00")
    site.run("08:00")
    console = Philips(port)
    assert console.refresh() == ["3010000.01_sub-008_ses-01"]  # the default's id is ses-mri01 for both
    assert [examination["PatientID"] for examination in console.deleted] == ["3010000.01_sub-007"]
    site.changes |= ready("philips")
    site.run("08:01")
    console = Philips(port)
    assert console.refresh() == ["3010000.01_sub-007_ses-01", "3010000.01_sub-008_ses-01"]
    assert console.deleted == []


def test_philips_deletes_nothing_as_long_as_nothing_changes_and_moves_what_moves(site: Site, port: int) -> None:
    site.changes |= ready("philips")
    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "10:00")
    console = Philips(port)
    for clock in ("08:00", "08:01", "08:02"):
        site.run(clock)
        console.refresh()
    assert console.deleted == []
    site.calendar.change(1, start_time="11:00:00")
    site.run("08:03")
    assert len(console.refresh()) == 2
    assert [examination["ScheduledProcedureStepStartTime"] for examination in console.deleted] == ["090000"]
    assert console.examinations["1"]["ScheduledProcedureStepStartTime"] == "110000"
    site.calendar.delete(1)
    site.run("08:04")
    assert console.refresh() == ["3010000.01_sub-008_ses-01"]


# --- Siemens ---

HEADER = (
    "booking_id,project_id,project_title,subject_session,start_date,start_time,lab,user_first_name,user_last_name,"
    "status,birth_date,sex,weight,size,protocol,protocol_name"
)
#: A booking of which the calendar knows all, one of which it knows nothing more, and one with a long id.
ROWS = [
    f"1,3010000.01,Language,7-1,{DAY},09:00,PRISMA,Ada,Lovelace,CONFIRMED,1990-02-03,f,72.5,1.8,T1FMRI,T1 and fMRI",
    f"2,3010000.01,Language,8-1,{DAY},10:00,PRISMA,Ada,Lovelace,CONFIRMED,,,,,,",
    f"{'f' * 40},3010000.01,Language,9-1,{DAY},11:00,PRISMA,Ada,Lovelace,CONFIRMED,1990-02-03,m,80,1.9,OTHER,Other",
]
CODES: dict[str, object] = {
    "attributes.ScheduledProtocolCodeSequence": [
        {
            "CodeValue": "{{ protocol }}",
            "CodingSchemeDesignator": "99DCCN",
            "CodeMeaning": "{{ protocol_name }}",
        }
    ]
}


def registered(site: Site, port: int, changes: dict[str, object]) -> tuple[Siemens, list[Dataset]]:
    path = site.root / "people.csv"
    path.write_text("\n".join([HEADER, *ROWS, ""]))
    site.changes |= {"source": {"type": "csv", "path": str(path)}} | changes
    report = site.run("08:00")
    assert report.rejected == []
    console = Siemens(port, protocols={"T1FMRI": "head/T1 and fMRI"})
    return console, console.answers()


def test_siemens_asks_the_operator_for_what_the_calendar_does_not_know(site: Site, port: int) -> None:
    console, (known, unknown, _) = registered(site, port, {})
    assert console.asks_operator(known) == []
    assert console.asks_operator(unknown) == list(console.sar)  # a calendar without the columns: all of them


def test_siemens_loads_the_protocol_that_the_calendar_chooses(site: Site, port: int) -> None:
    console, without = registered(site, port, {})
    assert [console.protocol(entry) for entry in without] == [None] * 3
    console, coded = registered(site, port, CODES)
    assert [console.protocol(entry) for entry in coded] == ["head/T1 and fMRI", None, None]
    assert "ScheduledProtocolCodeSequence" not in coded[1].ScheduledProcedureStepSequence[0]


def test_siemens_makes_the_study_id_of_the_requested_procedure(site: Site, port: int) -> None:
    console, entries = registered(site, port, {})
    assert {console.images(entry)["StudyID"] for entry in entries} == {"ses-mri01"}  # the default's
    console, entries = registered(site, port, ready("siemens", "philips"))
    images = [console.images(entry) for entry in entries]
    assert [image["StudyID"] for image in images] == [image["AccessionNumber"] for image in images]
    # all fit the 16 characters of the step's id that it keeps
    assert [image["StepID"] for image in images] == [image["AccessionNumber"] for image in images]
    assert len({image["StepID"] for image in images}) == 3


# --- all makes ---


@pytest.mark.parametrize("make", [GE, Philips, Siemens])
def test_an_entry_that_is_typed_over_keeps_its_hidden_uid_and_that_is_reported(
    make: type[Console], site: Site, port: int
) -> None:
    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "10:00")
    site.run("08:00")
    console = make(port)
    first, second = console.answers()
    right = console.images(first)
    wrong = console.images(
        first,
        PatientID=str(second.PatientID),
        PatientName=str(second.PatientName),
        AccessionNumber=str(second.AccessionNumber),
    )
    assert wrong["StudyInstanceUID"] == right["StudyInstanceUID"]  # two subjects in one study
    site.scan(right, "09:05", study="one")
    site.scan(wrong, "10:05", study="two")
    site.run("12:30")
    assert {oddity for line in (1, 2) for oddity in site.said(line)} == {"OTHER_SUBJECT"}


def test_what_check_asks_for_is_all_that_an_entry_has(
    calendar: Calendar, configure: Configure, port: int, folder: Path
) -> None:
    calendar.book(1)
    code = {"CodeValue": "T1", "CodingSchemeDesignator": "99DCCN", "CodingSchemeVersion": "1", "CodeMeaning": "Größe"}
    attributes: dict[str, object] = {
        "PatientComments": "Project:x",
        "IssuerOfPatientID": "DCCN",
        "PatientSize": "1.8",
        "ScheduledProtocolCodeSequence": [code, code | {"CodeValue": "T2"}],
        "RequestedProcedureCodeSequence": [code],
    }
    config = configure({"attributes": attributes, "broker.port": port})
    assert command("sync", "-c", config, "--day", str(DAY)).returncode == 0
    done = command("check", "--only", "broker", "-c", config)
    assert (done.returncode, "PRISMA sees 1" in done.stdout) == (0, True), done.stdout
    [entry] = entries(folder).values()
    assert {*attributes} <= {element.keyword for element in entry.iterall()}
