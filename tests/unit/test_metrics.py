"""The metrics: what there is to see at a glance, as numbers, and nothing of a patient."""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicom_worklist.config import load
from dicom_worklist.settings import Config
from dicom_worklist.status import metrics
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import overview
from dicom_worklist.status.records import BookingRecord, Study
from support.configuration import Configure

NOW = datetime(2026, 11, 24, 15, tzinfo=UTC)
TODAY = date(2026, 11, 24)
YESTERDAY, TOMORROW = TODAY - timedelta(days=1), TODAY + timedelta(days=1)
STATUS = {"state": "/nowhere/status.json"}
PACS = {"url": "http://127.0.0.1:8042", "user": "reader", "password_file": "/nowhere/password"}
Key = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def config(configure: Configure) -> Config:
    return load(configure({"status": STATUS, "pacs": PACS}))


def booked(number: int, day: date = TODAY, hour: int = 9, ae_title: str = "PRISMA", reason: str = "") -> BookingRecord:
    return BookingRecord(
        booking_id=f"{number}",
        day=day,
        ae_title=ae_title,
        start=None if reason else datetime.combine(day, time(hour)),
        patient_id=f"sub-{number:03}",
        patient_name=f"Secret^{number}",
        study_instance_uid=f"2.25.{number}",
        reason=reason,
    )


def study(number: int, **changes: object) -> Study:
    values: dict[str, object] = {
        "orthanc_id": f"{number}",
        "study_instance_uid": f"2.25.{number}",
        "patient_id": f"sub-{number:03}",
        "patient_name": f"Secret^{number}",
        "ae_titles": ("PRISMA",),
        "start": datetime.combine(TODAY, time(9, 5)),
        "description": "Secret study",
    }
    return Study(**values | changes)  # type: ignore[arg-type]


def written(folder: Path, config: Config, found: Findings) -> Mapping[Key, float]:
    """Return what Prometheus' own parser reads in the file."""
    metrics.write(folder, overview(config, found, NOW), found)
    text = (folder / "dicom_worklist.prom").read_text(encoding="utf-8")
    families = list(text_string_to_metric_families(text))
    assert {family.type for family in families} == {"gauge"}
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    found_ = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found_) == len(samples)
    return found_


def plain(samples: Mapping[Key, float]) -> dict[str, float]:
    """Return those without labels, without their common prefix."""
    return {name.removeprefix("dicom_worklist_"): value for (name, labels), value in samples.items() if not labels}


def bookings(samples: Mapping[Key, float]) -> dict[tuple[str, str], float]:
    """Return (scanner, state) → how many."""
    found = {}
    for (name, labels), value in samples.items():
        if labels and name != "dicom_worklist_refused_sop_classes":
            assert name == "dicom_worklist_bookings"
            said = dict(labels)
            found[said.pop("ae_title"), said.pop("state")] = value
            assert not said
    return found


def test_each_scanner_has_each_state_and_zeros_too(config: Config, tmp_path: Path) -> None:
    found = Findings(
        bookings=(
            booked(1),
            booked(2, hour=10),
            booked(3, hour=11),
            booked(4, hour=12),
            booked(5, hour=18),
            booked(6, ae_title="SKYRA", reason="it has no subject"),
            booked(7, day=YESTERDAY),
            booked(8, day=TOMORROW),
        ),
        studies=(study(1), study(2, stable=False), study(3)),
        good=NOW,
        asked=NOW,
        began=NOW,
    )
    counted = bookings(written(tmp_path, config, found))
    assert counted.keys() == {
        (scanner.ae_title, state) for scanner in config.scanners for state in map(str.lower, State.__members__)
    }
    assert {key: value for key, value in counted.items() if value} == {
        ("PRISMA", "arrived"): 1,
        ("PRISMA", "in_progress"): 1,
        ("PRISMA", "odd"): 1,  # two hours before its time
        ("PRISMA", "missing"): 1,
        ("PRISMA", "scheduled"): 1,
        ("SKYRA", "rejected"): 1,
    }


def test_a_booking_on_a_scanner_that_is_not_configured_any_more_is_counted(config: Config, tmp_path: Path) -> None:
    found = Findings(
        bookings=(booked(1, hour=18, ae_title="OLD"), booked(2, ae_title="", reason="two scanners")), good=NOW
    )
    counted = bookings(written(tmp_path, config, found))
    assert (counted["OLD", "scheduled"], counted["", "rejected"]) == (1, 1)


def test_problems_are_counted_for_yesterday_and_today(config: Config, tmp_path: Path) -> None:
    found = Findings(
        bookings=(
            booked(1),  # two studies, one of them edited twice over: both are odd
            booked(2, day=YESTERDAY),  # missing
            booked(3),  # missing
            booked(4, day=YESTERDAY, reason="not today's"),
            booked(5, reason="rejected"),
            booked(6, reason="rejected"),
            booked(7, hour=18),
            booked(8),
        ),
        studies=(
            study(1),
            study(11, study_instance_uid="2.25.1", patient_id="edited", ae_titles=("SKYRA",)),
            study(8),
            study(20, patient_id="sub-007"),  # a hint: its PatientID is that of booking 7
            study(21),
            study(22, start=datetime.combine(YESTERDAY, time(9))),
            study(23, start=datetime.combine(YESTERDAY - timedelta(days=1), time(9))),
        ),
        good=NOW,
        asked=NOW,
    )
    said = plain(written(tmp_path, config, found))
    assert said["rejected_bookings"] == 2
    assert said["missing_bookings"] == 2
    assert said["odd_studies"] == 3
    assert said["unscheduled_studies"] == 3


def test_the_times_are_those_of_the_last_runs(config: Config, tmp_path: Path) -> None:
    ago = [NOW - timedelta(minutes=minutes) for minutes in range(3)]
    found = Findings(began=ago[0], good=ago[1], asked=ago[2], seconds=1.25, failure="the folder is full")
    said = plain(written(tmp_path, config, found))
    assert said["last_run_timestamp_seconds"] == NOW.timestamp()
    assert said["last_success_timestamp_seconds"] == NOW.timestamp() - 60
    assert said["pacs_last_success_timestamp_seconds"] == NOW.timestamp() - 120
    assert (said["last_run_duration_seconds"], said["last_run_success"]) == (1.25, 0)
    assert plain(written(tmp_path, config, Findings(began=NOW, good=NOW)))["last_run_success"] == 1


def test_a_time_that_never_was_is_0(config: Config, tmp_path: Path) -> None:
    assert set(written(tmp_path, config, Findings()).values()) == {0}


def test_a_site_without_pacs_has_no_time_of_its_answer(configure: Configure, tmp_path: Path) -> None:
    said = plain(written(tmp_path, load(configure({"status": STATUS})), Findings(good=NOW, began=NOW)))
    assert "last_success_timestamp_seconds" in said
    assert not [name for name in said if "pacs" in name]


def test_each_image_says_when_it_was_built(configure: Configure, tmp_path: Path) -> None:
    built = {"orthanc": "2026-11-24T14:00:00Z", "wlmscpfs": "2026-11-01T00:00:00+01:00"}
    config = load(configure({"status": STATUS | {"images": built}}))
    samples = written(tmp_path, config, Findings())
    assert {
        dict(labels)["container"]: value
        for (name, labels), value in samples.items()
        if name == "dicom_worklist_image_created_timestamp_seconds"
    } == {container: datetime.fromisoformat(text).timestamp() for container, text in built.items()}


def test_the_metrics_contain_no_word_of_a_patient_or_of_a_failure(config: Config, tmp_path: Path) -> None:
    found = Findings(
        bookings=(booked(1), booked(2, reason="Secret reason")),
        studies=(study(1, patient_id="Secret id"), study(3)),
        asked=NOW,
        failure="Secret failure",
        pacs_failure="Secret failure",
        failures=("Secret failure",),
    )
    written(tmp_path, config, found)
    text = (tmp_path / "dicom_worklist.prom").read_text(encoding="utf-8")
    assert "Secret" not in text
    assert "sub-" not in text


def test_the_file_is_readable_for_the_node_exporter_and_the_only_one(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "textfiles"
    folder.mkdir()
    before = os.umask(0o077)
    try:
        metrics.write(folder, overview(config, Findings(), NOW), Findings())
    finally:
        os.umask(before)
    assert [path.name for path in folder.iterdir()] == ["dicom_worklist.prom"]
    assert (folder / "dicom_worklist.prom").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_an_error(config: Config, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        metrics.write(tmp_path / "absent", overview(config, Findings(), NOW), Findings())
