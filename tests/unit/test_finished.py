"""Which entries leave the console when the scan is done. The PACS is away, so its last answer counts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from dicom_worklist.status import findings as state
from dicom_worklist.status.records import Study
from support.calendar import NOW
from support.local_site import RecordedSite, by_id
from support.worklist_folder import worklist_files

ONE_DAY = timedelta(days=1)
Scan = Callable[..., None]


@pytest.fixture
def site(recorded_site: RecordedSite) -> RecordedSite:
    return recorded_site


@pytest.fixture
def scanned(site: RecordedSite) -> Scan:
    """Let the last run have found a study of booking 1."""

    def scanned(ago: timedelta = timedelta(minutes=11), **details: Any) -> None:
        booked = by_id(site.found)["1"]
        # it was booked as it is long before the scan
        bookings = tuple(msgspec.structs.replace(one, since=NOW - ONE_DAY) for one in site.found.bookings)
        study = Study(
            orthanc_id="a", study_instance_uid=booked.study_instance_uid, patient_id=booked.patient_id,
            patient_name=booked.patient_name,
            ae_titles=("PRISMA",), start=booked.start, series=1, instances=3, updated=NOW - ago,
        )  # fmt: skip
        study = msgspec.structs.replace(study, **details)
        found = msgspec.structs.replace(site.found, bookings=bookings, studies=(study,), asked=NOW)
        state.save(str(site.root / "status.json"), found)

    return scanned


@pytest.fixture
def leaving(site: RecordedSite) -> dict[str, object]:
    site.book("1", time="00:00:00")
    site.book("2", time="23:59:59")
    changes = {**site.pacs(1), "status.leave_after": 10, "status.session": 0}
    site.run(changes)
    return changes


def shown(site: RecordedSite) -> list[str]:
    return [name.split("-")[1] for name in worklist_files(site.folder)]


def test_an_entry_leaves_when_its_scan_is_done_and_stays_away(
    site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned()
    assert [entry["booking_id"] for entry in site.run(leaving, dry_run=True).removed] == ["1"]
    assert shown(site) == ["1", "2"]
    assert [entry["booking_id"] for entry in site.run(leaving).removed] == ["1"]
    assert {name: one.on_console for name, one in by_id(site.found).items()} == {"1": False, "2": True}
    report = site.run(leaving)
    assert (report.removed, report.published, shown(site)) == ([], [], ["2"])


@pytest.mark.parametrize(
    ("ago", "details"),
    [
        (timedelta(minutes=9), {}),
        (timedelta(hours=1), {"stable": False}),
        (timedelta(hours=1), {"patient_id": "somebody else"}),
        (timedelta(hours=1), {"ae_titles": ("SKYRA",)}),
        (timedelta(hours=1), {"updated": None}),
        (timedelta(hours=1), {"study_instance_uid": "1.2.3", "patient_id": "nobody"}),
        (timedelta(hours=1), {"start": None}),
        (timedelta(days=2), {}),  # before it was booked as it is
    ],
)
def test_an_entry_stays_while_its_scan_may_go_on_or_something_is_odd(
    ago: timedelta, details: dict[str, Any], site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned(ago, **details)
    assert site.run(leaving).removed == []
    assert shown(site) == ["1", "2"]


def test_no_entry_leaves_unless_the_site_says_so(site: RecordedSite, leaving: dict[str, object], scanned: Scan) -> None:
    scanned()
    del leaving["status.leave_after"]
    assert site.run(leaving).removed == []


def test_a_booking_that_changed_since_its_scan_is_shown_again(
    site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned()
    site.run(leaving)
    site.calendar.change("1", subj_ses="7-2")
    assert [entry["booking_id"] for entry in site.run(leaving).published] == ["1"]
    for _ in range(3):
        assert site.run(leaving).removed == []
    assert shown(site) == ["1", "2"]


def test_an_entry_stays_while_its_time_is_not_over(
    site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned()
    assert site.run(leaving | {"status.session": 1440}).removed == []


def test_an_entry_stays_that_was_used_for_the_scan_of_another_booking(
    site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    """Somebody at the console picked the entry of the evening in the morning."""
    site.calendar.change("1", start_time="00:20:00")
    site.run(leaving)
    scanned(start=datetime.combine(site.today, datetime.min.time()))
    assert site.run(leaving).removed == []


def test_a_list_that_is_empty_because_all_is_scanned_is_not_a_warning(
    site: RecordedSite, leaving: dict[str, object], scanned: Scan
) -> None:
    site.calendar.delete("2")
    site.run(leaving)
    scanned()
    report = site.run(leaving)
    assert ([entry["booking_id"] for entry in report.removed], shown(site)) == (["1"], [])
    assert not [warning for warning in report.warnings if "empty" in warning]
