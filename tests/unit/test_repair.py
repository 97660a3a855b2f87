"""The plan of a repair: whose identity a study gets. tests/integration repairs in a real Orthanc."""

from pathlib import Path

import msgspec
import pytest

from dicom_worklist import config
from dicom_worklist.errors import ConfigError
from dicom_worklist.status import findings as state
from dicom_worklist.status.records import BookingRecord
from dicom_worklist.status.repair import Plan, identity_of, login, other_booking
from support.configuration import Configure
from support.sample_entry import BOOKED


@pytest.mark.parametrize(
    ("bookings", "said"),
    [
        ((), "booking '41' is not known"),
        (
            (BookingRecord(booking_id="41", day=BOOKED.day, reason="7 has no session"),),
            "has no entry, .*: 7 has no session",
        ),
        (
            (BOOKED, BookingRecord(booking_id="41", day=BOOKED.day, patient_id="b")),
            "is there twice, for different subjects",
        ),
    ],
)
def test_a_booking_without_one_identity_is_named(
    bookings: tuple[BookingRecord, ...], said: str, configure: Configure, tmp_path: Path
) -> None:
    state.save(str(tmp_path / "state.json"), state.Findings(bookings=bookings))
    with pytest.raises(ConfigError, match=said):
        identity_of(config.load(configure({"status.state": str(tmp_path / "state.json")})), "41")


def test_the_identity_is_that_of_the_last_run(configure: Configure, tmp_path: Path) -> None:
    state.save(str(tmp_path / "state.json"), state.Findings(bookings=(BOOKED, BOOKED)))
    assert identity_of(config.load(configure({"status.state": str(tmp_path / "state.json")})), "41") == BOOKED


def test_a_missing_section_of_the_configuration_is_reported(configure: Configure) -> None:
    loaded = config.load(configure())
    with pytest.raises(ConfigError, match="no section status"):
        identity_of(loaded, "41")
    with pytest.raises(ConfigError, match="no section pacs"):
        login(loaded, "admin", "/nowhere")


def test_a_plan_is_right_if_there_is_nothing_to_do() -> None:
    plan = Plan("a", "1.2", "41", "sub-007", "a", 1, 2, True, (), (), False, "")
    assert plan.right
    assert plan.as_dict() == {
        "study": "a", "study_instance_uid": "1.2", "booking_id": "41", "series": 1, "images": 2, "stable": True,
        "stale": False, "interim": "", "changes": (),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "40"),
        ({"patient_id": "sub-008"}, None),  # its entry was typed over
        ({"study_instance_uid": "2.25.99"}, None),
        ({"booking_id": "41"}, None),  # the booking itself
    ],
)
def test_a_study_that_fits_another_booking_is_seen(
    changes: dict[str, str], found: str | None, configure: Configure, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(BOOKED, **{"booking_id": "40", "study_instance_uid": "2.25.40", **changes})
    state.save(str(tmp_path / "state.json"), state.Findings(bookings=(BOOKED, other)))
    loaded = config.load(configure({"status.state": str(tmp_path / "state.json")}))
    plan = Plan("a", "2.25.40", "41", "sub-007", "a", 1, 2, True, (), (), False, "")
    one = other_booking(loaded, plan, BOOKED)
    assert (one and one.booking_id) == found
