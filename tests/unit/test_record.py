"""What a run writes in addition to the worklist: state, page and metrics; a failure to write is reported."""

import errno
import os
import sqlite3
import stat
from datetime import datetime, timedelta

import msgspec
import pytest

from dicom_worklist import bookings
from dicom_worklist.errors import FolderError, SourceError
from dicom_worklist.status import findings as state
from dicom_worklist.status import history, memory
from dicom_worklist.status.record import Answer, Outcome, record
from dicom_worklist.status.usage import write as usage
from support.calendar import DAY, MEG, NOW
from support.local_site import RecordedSite, by_id
from support.worklist_folder import locked_by_another_process, worklist_files

ONE_DAY = timedelta(days=1)


@pytest.fixture
def site(recorded_site: RecordedSite) -> RecordedSite:
    return recorded_site


def test_a_run_records_three_days(site: RecordedSite) -> None:
    for booking_id, ahead in (("1", -2), ("2", -1), ("3", 0), ("4", 1), ("5", 2)):
        site.book(booking_id, day=(site.today + ahead * ONE_DAY).isoformat())
    site.book("6", subj_ses="7-x")
    site.book("7", lab=MEG)
    report = site.run()
    booked = by_id(site.found)
    assert {name: (one.day - site.today).days for name, one in booked.items()} == {"2": -1, "3": 0, "4": 1, "6": 0}
    assert [name for name, one in booked.items() if one.on_console] == ["3"]
    assert booked["3"].patient_id == "3010000.01_sub-007"
    assert booked["3"].start == datetime.combine(site.today, datetime.min.time()) + timedelta(hours=9)
    assert booked["6"].reason == report.rejected[0]["reason"]
    assert booked["6"].start == booked["3"].start
    assert site.found.good is not None
    assert timedelta(0) <= site.found.good - NOW < timedelta(minutes=1)
    assert [entry["booking_id"] for entry in report.published] == ["3"]
    assert "3010000.01_sub-007_ses-01" in site.page
    assert (
        'dicom_worklist_bookings{ae_title="PRISMA",state="over"} 1.0'
        in (site.root / "metrics/dicom_worklist.prom").read_text()
    )


def test_a_window_wider_than_three_days_is_published_and_three_days_are_recorded(site: RecordedSite) -> None:
    for ahead in range(-3, 4):
        site.book(str(ahead + 10), day=(site.today + ahead * ONE_DAY).isoformat())
    report = site.run({"window.days_ahead": 3})
    assert [entry["booking_id"] for entry in report.published] == ["10", "11", "12", "13"]
    assert {name: one.on_console for name, one in by_id(site.found).items()} == {"9": False, "10": True, "11": True}


def test_a_booking_with_two_scanners_or_a_doubled_id_is_recorded_as_rejected(site: RecordedSite) -> None:
    site.book("1")
    site.book("2", time="10:00:00")
    site.book("2", time="11:00:00")
    report = site.run({"scanners.1.lab": ".*PRISMA.*"})
    reasons = {rejection["booking_id"]: rejection["reason"] for rejection in report.rejected}
    assert "matches the scanners PRISMA and PRISMAFIT" in reasons["1"]
    assert {name: one.reason for name, one in by_id(site.found).items()} == reasons
    site.run()
    assert "2 bookings with this booking_id" in by_id(site.found)["2"].reason
    site.book("3", day=(site.today + ONE_DAY).isoformat())
    site.run({"scanners.1.lab": ".*PRISMA.*"})
    assert "matches the scanners PRISMA and PRISMAFIT" in by_id(site.found)["3"].reason


def test_a_failed_source_keeps_the_list_and_the_page_reports_it(site: RecordedSite) -> None:
    site.book("1")
    site.run()
    good, entries = site.found.good, worklist_files(site.folder)
    site.calendar.path.rename(site.calendar.path.with_suffix(".away"))
    with pytest.raises(SourceError) as raised:
        site.run()
    assert worklist_files(site.folder) == entries
    assert (site.found.good, list(by_id(site.found))) == (good, ["1"])
    assert site.found.failure == str(raised.value)
    assert "the list has not been updated" in site.page
    site.calendar.path.with_suffix(".away").rename(site.calendar.path)
    site.run()
    assert site.found.failure == ""
    assert "the list has not been updated" not in site.page


def test_over_midnight_a_failed_source_removes_the_entries_of_yesterday_from_the_page_too(site: RecordedSite) -> None:
    site.book("1")
    site.book("2", day=(site.today - ONE_DAY).isoformat())
    site.run()
    kept = tuple(msgspec.structs.replace(one, on_console=True) for one in site.found.bookings)
    state.save(str(site.root / "status.json"), msgspec.structs.replace(site.found, bookings=kept))
    site.calendar.path.unlink()
    with pytest.raises(SourceError):
        site.run()
    assert {name: one.on_console for name, one in by_id(site.found).items()} == {"1": True, "2": False}


def test_of_two_runs_that_overlap_the_one_that_began_last_is_recorded(site: RecordedSite) -> None:
    site.book("1")
    config = site.config()
    older = memory.recall(config, bookings.days(config, DAY, None), NOW - timedelta(microseconds=1))
    site.run()
    found = site.found
    record(older, Answer(), Outcome(failure="the folder is locked"), lambda: NOW)
    assert site.found == found
    assert "locked" not in site.page


def test_a_locked_folder_keeps_the_list(site: RecordedSite) -> None:
    site.run()
    site.book("1")
    with locked_by_another_process(site.folder), pytest.raises(FolderError):
        site.run({"worklist.lock_timeout": 0.2})
    assert "lock_timeout" in site.found.failure
    assert site.found.bookings == ()


def test_neither_a_dry_run_nor_another_day_is_recorded(site: RecordedSite) -> None:
    site.book("1")
    before = site.written()
    site.run(dry_run=True)
    site.run(day=site.today + ONE_DAY)
    site.run(day=site.today.min)
    site.run(day=site.today.max)
    assert site.written() == before
    site.run(day=site.today)
    assert list(by_id(site.found)) == ["1"]


@pytest.mark.parametrize("what", ["status.state", "status.page", "status.metrics"])
def test_a_file_that_can_not_be_written_is_reported_and_the_others_are_written(what: str, site: RecordedSite) -> None:
    site.book("1")
    nowhere = str(site.root / "nowhere/there")
    report = site.run({what: nowhere})
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    (warning,) = report.warnings
    missing = str(site.root / "nowhere") if what == "status.state" else nowhere
    assert warning == (
        f"{what} {nowhere} can't be written: No such file or directory; the folder {missing} must exist: site.yml "
        "makes it"
    )
    others = {
        "status.state": "status.json",
        "status.page": "page/index.html",
        "status.metrics": "metrics/dicom_worklist.prom",
    }
    assert {path for name, path in others.items() if name != what} <= {*site.written()}
    if what == "status.metrics":
        assert warning in site.found.failures
        assert "status.metrics" in site.page


def test_on_a_full_disk_each_remedy_is_to_make_room(site: RecordedSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.book("1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_for_sqlite(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(state, "save", full)
    monkeypatch.setattr(history, "record", full_for_sqlite)
    monkeypatch.setattr(usage, "update", full_for_sqlite)
    warnings = site.run().warnings
    assert len(warnings) == 3
    for warning in warnings:
        room = f"The disk is full: see `df -h {site.root}`, and make room; the next run puts it right."
        assert warning.endswith(f"{room} Move nothing away")
        assert "site.yml" not in warning
        assert "Error(" not in warning


def test_a_failure_to_write_is_reported_with_the_failure_of_the_run(site: RecordedSite) -> None:
    site.calendar.path.unlink()
    with pytest.raises(SourceError, match=r"In addition: status\.page .* can't be written"):
        site.run({"status.page": str(site.root / "nowhere")})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_that_root_writes_belong_to_the_owner_of_the_folder(site: RecordedSite) -> None:
    for folder in (site.root, site.root / "page"):
        os.chown(folder, 12345, 23456)
    site.run()
    for name, mode in (("status.json", 0o640), ("page/index.html", 0o640)):
        status = (site.root / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, mode)


def test_a_damaged_state_is_replaced(site: RecordedSite) -> None:
    (site.root / "status.json").write_text('{"bookings": 7}')
    site.book("1")
    assert site.run().warnings == []
    assert list(by_id(site.found)) == ["1"]
