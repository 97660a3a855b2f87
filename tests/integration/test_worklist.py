"""From a row in MariaDB to what three kinds of client are shown."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from pydicom.dataset import Dataset

from support import clients, live
from support.booking_database import BookingDatabase
from support.waiting import wait_for_http

DAY, DATE = "2026-03-29", "20260329"
CLIENT_PORT = 18043
Find = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def orthanc_client(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An Orthanc beside the broker, which asks it as a DICOM client; its address."""
    assert deployment.first.status == 0, deployment.first.output
    engine = docker.from_env()
    configuration = tmp_path_factory.mktemp("orthanc-client") / "orthanc.json"
    modality = {"AET": "WLBROKER", "Host": live.VARIABLES["wlmscpfs_container_name"], "Port": 1234}
    skyra = modality | {"AET": "WLSKYRA"}
    configuration.write_text(
        json.dumps(
            {
                "RemoteAccessAllowed": True,
                "AuthenticationEnabled": False,
                "DefaultEncoding": "Utf8",
                "StorageDirectory": "/tmp",
                "IndexDirectory": "/tmp",
                "DicomModalities": {"WLBROKER": modality, "WLSKYRA": skyra},
            }
        )
    )
    configuration.parent.chmod(0o755)
    configuration.chmod(0o644)
    container = engine.containers.run(
        engine.containers.get(live.VARIABLES["orthanc_container_name"]).image,
        ["Orthanc", "/orthanc.json"],
        detach=True,
        user="65534:65534",
        network=live.VARIABLES["wlmscpfs_network"],
        ports={"8042/tcp": ("127.0.0.1", CLIENT_PORT)},
        volumes={str(configuration): {"bind": "/orthanc.json", "mode": "ro"}},
    )
    try:
        wait_for_http(f"http://127.0.0.1:{CLIENT_PORT}/system")
        yield f"http://127.0.0.1:{CLIENT_PORT}"
    finally:
        container.remove(force=True, v=True)


@pytest.fixture(params=["findscu", "pynetdicom", "orthanc"])
def find(request: pytest.FixtureRequest, site: live.Site, tmp_path: Path) -> Find:
    """Asks as one of three clients, and returns each answer as keyword → text."""
    if request.param == "orthanc":
        address = request.getfixturevalue("orthanc_client")
        return lambda called="WLBROKER", **keys: [
            _of_orthanc(answer)
            for answer in requests.post(
                f"{address}/modalities/{called}/find-worklist",
                json=_for_orthanc(clients.query(**keys)),
                timeout=30,
            ).json()
        ]
    if request.param == "findscu":
        folders = (tmp_path / str(number) for number in itertools.count())
        return lambda called="WLBROKER", **keys: [
            clients.texts(entry) for entry in clients.findscu(site.wlmscpfs_port, next(folders), called, **keys)
        ]
    return lambda called="WLBROKER", **keys: [
        clients.texts(entry) for entry in clients.pynetdicom_find(site.wlmscpfs_port, called, **keys)
    ]


def _for_orthanc(query: Dataset) -> dict[str, Any]:
    return {
        element.keyword: [_for_orthanc(item) for item in element.value]
        if element.VR == "SQ"
        else str(element.value or "")
        for element in query
    }


def _of_orthanc(answer: dict[str, Any]) -> dict[str, Any]:
    """Orthanc converts what it is sent to UTF-8, and says so in SpecificCharacterSet's stead."""
    answer.pop("SpecificCharacterSet", None)
    step = answer.pop("ScheduledProcedureStepSequence")[0]
    return {keyword: "" if value is None else value for keyword, value in (answer | step).items()}


@pytest.fixture
def calendar(booking_database: BookingDatabase) -> BookingDatabase:
    booking_database.clear()
    booking_database.do("INSERT INTO projects VALUES ('3010000.01', 'A \"quoted\" title: größer, Ωμέγα, 脳 [1]')")
    booking_database.do("INSERT INTO projects VALUES ('3010000.02', 'Où est la mémoire?')")
    booking_database.do("INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace'), ('jurmul', 'Jürgen', 'Müller')")
    return booking_database


EMPTY = {
    "PatientBirthDate", "PatientSex", "PatientWeight", "MedicalAlerts", "Allergies", "AdmissionID",
    "SpecialNeeds", "CurrentPatientLocation", "PatientState", "RequestedProcedurePriority",
    "PatientTransportArrangements", "ConfidentialityConstraintOnPatientDataDescription",
    "ScheduledPerformingPhysicianName",
}  # fmt: skip


def test_every_attribute_of_a_booking_reaches_every_client(
    site: live.Site, calendar: BookingDatabase, find: Find
) -> None:
    calendar.book(41, " 7 - 2 ", f"{DAY} 09:30:00", user="jurmul")
    site.sync(DAY)
    (entry,) = find(ScheduledStationAETitle="PRISMA")
    assert entry.pop("StudyInstanceUID").startswith("2.25.")
    assert entry.pop("SpecificCharacterSet", "ISO_IR 192") == "ISO_IR 192"
    assert entry == dict.fromkeys(EMPTY, "") | {
        "PatientID": "3010000.01_sub-007",
        "PatientName": "3010000.01_sub-007_ses-02",
        "AccessionNumber": "41",
        "RequestedProcedureID": "ses-mri02",
        "RequestedProcedureDescription": 'A "quoted" title: größer, Ωμέγα, 脳 [1]',
        "RequestingPhysician": "Müller^Jürgen",
        "ReferringPhysicianName": "Müller^Jürgen",
        "ScheduledStationAETitle": "PRISMA",
        "ScheduledStationName": "PRISMA",
        "ScheduledProcedureStepLocation": "Test site",
        "ScheduledProcedureStepID": "ses-mri02",
        "ScheduledProcedureStepDescription": "MR session 02",
        "ScheduledProcedureStepStartDate": DATE,
        "ScheduledProcedureStepStartTime": "093000",
        "Modality": "MR",
        "PregnancyStatus": "4",  # the broker's own word for unknown
        "ReferencedStudySequence": [],
        "ReferencedPatientSequence": [],
    }


def test_a_console_that_knows_latin_1_gets_latin_1(site: live.Site, calendar: BookingDatabase, find: Find) -> None:
    calendar.book(42, "x2", f"{DAY} 10:00:00", lab=3, project="3010000.02", user="jurmul")
    site.sync(DAY)
    (entry,) = find("WLSKYRA", ScheduledStationAETitle="SKYRA")
    assert entry["RequestedProcedureDescription"] == "Où est la mémoire?"
    assert entry["RequestingPhysician"] == "Müller^Jürgen"
    assert entry["PatientName"] == "3010000.02_sub-x002_ses-01"
    assert find(ScheduledStationAETitle="SKYRA") == []  # it asks its own worklist


KEYS = {
    "PatientID": "3010000.01_sub-008",
    "PatientName": "*sub-008*",
    "AccessionNumber": "52",
    "RequestedProcedureID": "ses-mri03",
    "RequestingPhysician": "Lovelace*",
    "ReferringPhysicianName": "Lovelace^Ada",
    "ScheduledProcedureStepStartDate": "20260330-20260331",
    "ScheduledProcedureStepStartTime": "1200-1300",
    "ScheduledStationAETitle": "PRISMAFIT",
}


@pytest.mark.parametrize(("keyword", "value"), KEYS.items(), ids=KEYS)
def test_each_matching_key_finds_the_one_entry(
    site: live.Site, calendar: BookingDatabase, find: Find, keyword: str, value: str
) -> None:
    calendar.book(51, "7-1", f"{DAY} 09:00:00", user="jurmul")
    other = {
        "ScheduledProcedureStepStartDate": "2026-03-30 09:00:00",
        "ScheduledProcedureStepStartTime": f"{DAY} 12:30:00",
    }
    lab = 2 if keyword == "ScheduledStationAETitle" else 1
    calendar.book(52, "8-3", other.get(keyword, f"{DAY} 10:00:00"), lab=lab)
    site.sync("2026-03-30" if keyword == "ScheduledProcedureStepStartDate" else DAY)
    assert [entry["AccessionNumber"] for entry in find(**{keyword: value})] == ["52"]
    assert [entry["AccessionNumber"] for entry in find(Modality="CT")] == []


def test_what_changes_in_the_calendar_is_right_in_the_next_query(
    site: live.Site, calendar: BookingDatabase, find: Find
) -> None:
    def seen() -> dict[str, tuple[str, str, str]]:
        answers = find(Modality="MR")
        return {
            entry["AccessionNumber"]: (
                entry["ScheduledStationAETitle"],
                entry["ScheduledProcedureStepStartTime"],
                entry["PatientName"],
            )
            for entry in answers
        }

    calendar.book(61, "7-1", f"{DAY} 09:00:00")
    calendar.book(62, "8-1", f"{DAY} 10:00:00")
    calendar.book(63, "9-1", f"{DAY} 11:00:00")
    site.sync(DAY)
    before = seen()
    uids = {entry["AccessionNumber"]: entry["StudyInstanceUID"] for entry in find(Modality="MR")}
    assert before["61"] == ("PRISMA", "090000", "3010000.01_sub-007_ses-01")
    calendar.do("UPDATE calendar_items_new SET start_time = '15:00', calendar_id = 2, subj_ses = '7-4' WHERE id = 61")
    calendar.do("UPDATE calendar_items_new SET status = 'CANCELLED' WHERE id = 62")
    calendar.do("DELETE FROM calendar_items_new WHERE id = 63")
    calendar.book(64, "10-1", f"{DAY} 12:00:00")
    site.sync(DAY)
    assert seen() == {
        "61": ("PRISMAFIT", "150000", "3010000.01_sub-007_ses-04"),
        "64": ("PRISMA", "120000", "3010000.01_sub-010_ses-01"),
    }
    assert {e["AccessionNumber"]: e["StudyInstanceUID"] for e in find(Modality="MR")}["61"] == uids["61"]


def test_check_compares_what_scanners_see_with_the_folder(site: live.Site, calendar: BookingDatabase) -> None:
    calendar.book(71, "7-1", f"{DAY} 09:00:00")
    site.sync(DAY)
    done = site.run("check", "-c", str(site.config))
    assert done.returncode == 0, done.stdout
    assert "PRISMA sees 1" in done.stdout
    # an entry that the broker can't read is one that the scanner doesn't see
    entry = live.ROOT / "wlbroker/WLBROKER/booking-71-PRISMA.wl"
    entry.chmod(0o000)
    try:
        assert clients.pynetdicom_find(site.wlmscpfs_port, ScheduledStationAETitle="PRISMA") == []
    finally:
        entry.chmod(0o640)
