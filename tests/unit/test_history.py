"""The history: what it remembers of bookings and studies, what it forgets, and that no fault of it stops publishing."""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dicom_worklist import pipeline
from dicom_worklist.config import load
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.records import BookingRecord, Study
from support.calendar import DAY, NOW, Calendar
from support.configuration import Configure
from support.worklist_folder import worklist_files

MINUTE, ONE_DAY = timedelta(minutes=1), timedelta(days=1)


def booked(booking_id: str = "1", day: date = DAY, **changes: Any) -> BookingRecord:
    values: dict[str, Any] = {"patient_id": "sub-001", "study_instance_uid": f"2.25.{booking_id}"}
    return BookingRecord(booking_id=booking_id, day=day, **values | changes)


def study(orthanc_id: str = "a", **changes: Any) -> Study:
    values: dict[str, Any] = {"study_instance_uid": "2.25.1", "start": datetime(2026, 11, 24, 9), "seen": NOW}  # noqa: DTZ001
    return Study(orthanc_id=orthanc_id, **values | changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "status.history.sqlite"


def test_a_booking_that_stays_is_one_version_since_it_was_first_seen(path: Path) -> None:
    for minute in range(3):
        shown = booked(on_console=bool(minute % 2), since=NOW + minute * MINUTE)
        history.record(path, NOW + minute * MINUTE, News([shown]), 400)
    past = history.read(path, ["1"])
    assert past.current == {"1": booked(since=NOW)}
    assert past.versions == {}


def test_each_change_ends_a_version_and_says_when_and_how(path: Path) -> None:
    history.record(path, NOW, News([booked(), booked("2"), booked("3")]), 400)
    changed = booked(patient_id="sub-002")
    history.record(path, NOW + MINUTE, News([changed], ended={"2": "cancelled", "3": "gone"}), 400)
    past = history.read(path, (), DAY, DAY)
    assert past.current == {"1": booked(patient_id="sub-002", since=NOW + MINUTE)}
    ends = {
        (one.booked.booking_id, one.booked.since, one.until, one.ended) for of in past.versions.values() for one in of
    }
    assert ends == {
        ("1", NOW, NOW + MINUTE, "changed"),
        ("2", NOW, NOW + MINUTE, "cancelled"),
        ("3", NOW, NOW + MINUTE, "gone"),
    }


def test_a_booking_that_comes_back_is_a_new_version(path: Path) -> None:
    history.record(path, NOW, News([booked()]), 400)
    history.record(path, NOW + MINUTE, News(ended={"1": "cancelled"}), 400)
    history.record(path, NOW + 2 * MINUTE, News([booked()]), 400)
    past = history.read(path, ["1"])
    assert past.current["1"].since == NOW + 2 * MINUTE
    assert [version.ended for version in past.versions["1"]] == ["cancelled"]


def test_a_booking_that_moved_away_is_still_known_by_the_day_that_it_was_on(path: Path) -> None:
    history.record(path, NOW, News([booked()]), 400)
    history.record(path, NOW + MINUTE, News([booked(day=DAY + 9 * ONE_DAY)]), 400)
    past = history.read(path, (), DAY, DAY)
    assert past.current["1"].day == DAY + 9 * ONE_DAY
    assert [version.booked.day for version in past.versions["1"]] == [DAY]
    assert history.read(path, (), DAY + ONE_DAY, DAY + ONE_DAY).current == {}


def test_a_study_is_one_row_with_the_moment_when_it_was_first_seen(path: Path) -> None:
    history.record(path, NOW, News([booked()], [study()]), 400)
    later = study(instances=5, seen=NOW + MINUTE)
    history.record(path, NOW + MINUTE, News([booked()], [later]), 400)
    assert history.read(path, ["1"]).studies == {"2.25.1": [msgspec.structs.replace(later, seen=NOW)]}


def test_what_is_older_than_the_days_to_keep_is_forgotten(path: Path) -> None:
    old = DAY - 10 * ONE_DAY
    gone = study("old", start=datetime(2026, 11, 14, 9), seen=NOW - 10 * ONE_DAY)  # noqa: DTZ001
    history.record(path, NOW - 10 * ONE_DAY, News([booked("old", old), booked("1")], [gone]), 400)
    history.record(path, NOW, News([booked("1")]), 11)
    assert history.read(path, ["old", "1"]).current.keys() == {"old", "1"}
    history.record(path, NOW, News([booked("1")]), 9)
    assert history.read(path, ["old", "1"]).current.keys() == {"1"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM study").fetchone() == (0,)


def test_a_run_that_fails_to_write_leaves_all_as_it_was(path: Path) -> None:
    history.record(path, NOW, News([booked()]), 400)
    broken = msgspec.structs.replace(booked("2"), patient_id="\ud800")  # which no file can hold
    with pytest.raises(UnicodeEncodeError):
        history.record(path, NOW + MINUTE, News([booked(patient_id="sub-002"), broken]), 400)
    assert history.read(path, ["1"]).current == {"1": booked(since=NOW)}


def test_two_first_runs_after_an_update_move_it_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other does it after this one saw that it has to be done."""

    def asked() -> dict[str, str]:
        with closing(sqlite3.connect(path)) as connection:
            return dict(connection.execute("SELECT day, at FROM asked").fetchall())

    def before_the_update() -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DROP TABLE asked")

    class Slow(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            found = super().execute(sql, *values)
            if "'asked'" in sql and sqlite3.connect is not connect:
                monkeypatch.setattr(sqlite3, "connect", connect)
                with history.opened(path):
                    pass
            return found

    history.record(path, NOW, News([booked()], [study()]), 400)
    before_the_update()
    with history.opened(path):
        pass
    once = asked()
    assert len(once) == 2
    before_the_update()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **values: connect(*args, **values, factory=Slow))
    with history.opened(path):
        pass
    assert sqlite3.connect is connect
    assert asked() == once


def test_nothing_is_made_by_reading(path: Path) -> None:
    assert history.read(path, ["1"]) == history.Past()
    assert not path.exists()


def test_only_its_owner_can_read_it(path: Path) -> None:
    history.record(path, NOW, News([booked()]), 400)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_history_that_root_makes_belongs_to_the_owner_of_the_folder(path: Path) -> None:
    os.chown(path.parent, 12345, 23456)
    history.record(path, NOW, News([booked()]), 400)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


def test_a_link_that_was_planted_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        history.record(path, NOW, News([booked()]), 400)
    assert (tmp_path / "elsewhere").read_bytes() == b""


# --- a history that can't be used ---


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:] = bytes(len(content) - 100)
    path.write_bytes(content)
    for beside in path.parent.glob(f"{path.name}-*"):
        beside.unlink()


def folder_in_place_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS: dict[str, Callable[[Path], object]] = {
    "another program's file": lambda path: path.write_bytes(b"not a database at all, " * 99),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "zeros": damage,
    "a folder": folder_in_place_of,
    "of a later version": lambda path: sqlite3.connect(path).executescript("PRAGMA user_version = 99;").close(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_without_the_history_publishes_and_says_so(
    fault: str, calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path
) -> None:
    config = load(configure({"status.state": str(tmp_path / "status.json")}))
    calendar.book(1)
    assert pipeline.run(config, now=NOW).warnings == []
    path = history.path_beside(str(tmp_path / "status.json"))
    for beside in (path, *path.parent.glob(f"{path.name}-*")):
        assert beside.exists()
    FAULTS[fault](path)
    calendar.change(1, start_time="10:00:00")
    calendar.book(2, "8-1")
    report = pipeline.run(config, now=NOW + MINUTE)
    assert len(worklist_files(folder)) == 2
    assert [one["booking_id"] for one in report.updated + report.published] == ["1", "2"]
    assert all(f"the history {path} can't be" in warning and "Move it away" in warning for warning in report.warnings)
    assert report.warnings
