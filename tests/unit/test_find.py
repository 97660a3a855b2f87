"""Finding a session of the past in a history that real runs wrote: by subject, project, booking and day."""

from typing import Any

import pytest

from dicom_worklist.status import history
from dicom_worklist.status.past.find import find
from dicom_worklist.status.past.sessions import Session
from support.calendar import DAY, Calendar
from support.sample_day import HOSTILE
from support.terminal import narrow
from support.timed_site import Site, at, day


@pytest.fixture
def site(field_site: Site) -> Site:
    """A site of a few days, looked at three weeks later."""
    site = field_site
    site.calendar.add_project("3010000.02", "Sleep")
    site.book(1, "7-1")
    site.book(2, "8-1", "10:00", project="3010000.02")
    site.book(3, "9-1", "11:00")
    site.book(4, "7-2", "09:00", day=day(1))
    site.run("08:00")
    site.scan(1, "09:05", study="first")
    site.scan(2, "10:05", study="second")
    site.run("12:30")
    site.calendar.change(3, status="CANCELLED")
    site.run("13:00")
    site.run("08:00", 1)
    site.scan(4, "09:05", 1, study="third")
    site.run("20:00", 1)
    site.run("08:00", 20)
    return site


def found(site: Site, text: str, first: int = -400, last: int = 400) -> list[Session]:
    status = site.config.status
    assert status
    days = (at("00:00", first).date(), at("00:00", last).date())
    return find(site.config, status, text, days, site.now)


def ids(sessions: list[Session]) -> list[str]:
    return [one.booking_id for one in sessions]


@pytest.mark.parametrize(
    ("text", "bookings"),
    [
        ("sub-007", ["4", "1"]),
        ("SUB-007_ses-02", ["4"]),
        ("sleep", ["2"]),
        ("3010000.02", ["2"]),
        ("ada lovelace 3010000.01", ["4", "1", "3"]),
        (day(1), ["4"]),
        ("first", ["1"]),  # Orthanc's id of the study
        ("007 sleep", []),
        ("", ["4", "1", "2", "3"]),
        ("booking_id", []),  # a word of the file is nobody's
    ],
)
def test_a_session_is_found_by_what_people_know_of_it(text: str, bookings: list[str], site: Site) -> None:
    assert ids(found(site, text)) == bookings


def test_only_these_days_are_looked_through(site: Site) -> None:
    assert ids(found(site, "sub-007", 0, 0)) == ["1"]
    assert ids(found(site, "sub-007", 1, 1)) == ["4"]
    assert ids(found(site, "sub-007", 2, 9)) == []


def test_each_has_what_became_of_it_and_its_study(site: Site) -> None:
    states = {one.booking_id: (one.state, [study.orthanc_id for study in one.studies]) for one in found(site, "")}
    assert states == {
        "1": ("arrived", ["first"]),
        "2": ("arrived", ["second"]),
        "3": ("cancelled", []),
        "4": ("arrived", ["third"]),
    }


def test_what_was_moved_is_on_its_new_day_and_says_moved_on_the_old_one(field_site: Site) -> None:
    field_site.book(1)
    field_site.run("08:00")
    field_site.calendar.change(1, start_date=day(1))
    field_site.run("08:30")
    states = {(one.day.isoformat(), one.state) for one in found(field_site, "sub-007")}
    assert states == {(day(), "moved"), (day(1), "scheduled")}


def test_what_was_corrected_on_its_day_is_there_once_and_as_it_is(field_site: Site) -> None:
    field_site.book(1)
    field_site.run("08:00")
    field_site.calendar.change(1, subj_ses="8-1")
    field_site.run("08:30")
    assert ids(found(field_site, "")) == ["1"]
    assert ids(found(field_site, "sub-007")) == []


def test_a_study_without_a_booking_is_found(field_site: Site) -> None:
    field_site.book(1)
    field_site.run("08:00")
    tags: dict[str, Any] = {"StudyInstanceUID": "1.2.3", "PatientID": "phantom", "PatientName": "QA^Weekly"}
    field_site.scan(tags, "06:05", study="quality")
    field_site.run("12:00")
    [one] = found(field_site, "phantom weekly")
    assert (one.state, one.booking_id, [study.orthanc_id for study in one.studies]) == ("no booking", "", ["quality"])


def test_a_study_that_was_repaired_has_its_new_id(site: Site) -> None:
    """As Orthanc gives it with another PatientID; a run sees it if it is of these days."""
    site.now = at("21:00", 1)
    for series in site.pacs.series:
        if series["ParentStudy"] == "third":
            series["ParentStudy"] = "repaired"
    site.run("21:00", 1)
    assert [study.orthanc_id for one in found(site, "ses-02") for study in one.studies] == ["repaired"]


def test_an_old_study_that_was_repaired_has_its_new_id(site: Site) -> None:
    path = history.path_beside(str(site.root / "status.json"))
    booked = history.read(path, ["1"]).current["1"]
    history.repaired(path, "first", "repaired", booked, site.now)
    assert [study.orthanc_id for one in found(site, "ses-01 007") for study in one.studies] == ["repaired"]


def test_hostile_text_is_found_as_it_was_typed_and_orders_the_terminal_nothing(
    field_site: Site, calendar: Calendar, run: Any
) -> None:
    calendar.add_project("3010000.03", HOSTILE)
    field_site.book(1, project="3010000.03")
    field_site.run("08:00")
    [shown] = found(field_site, "onerror")
    assert len(shown.project.split()) > 3, "the description of an entry, which is shortened"
    for word in shown.project.split():
        assert ids(found(field_site, word)) == ["1"], word
    done = run("find", "-c", field_site.file, "--now", field_site.now.isoformat(), "onerror")
    assert done.status == 0
    assert "<script>" in done.out
    assert not {"\x1b", "\u202e"} & {*done.out}


def test_the_command_prints_a_table_or_json(site: Site, run: Any) -> None:
    common = ["-c", site.file, "--now", site.now.isoformat()]
    done = run("find", *common, "sub-007", "--from", DAY.isoformat(), "--to", DAY.isoformat())
    assert done.status == 0
    assert "1 session" in done.out
    assert "3010000.01_sub-007_ses-01" in done.out
    assert "first" in done.out
    [one] = run("find", *common, "--json", "sub-007", "ses-02").json["sessions"]
    assert (one["day"], one["booking_id"], one["studies"][0]["orthanc_id"]) == (day(1), "4", "third")
    assert "0 sessions" in run("find", *common, "nobody").out


def test_in_a_narrow_terminal_the_id_of_a_study_can_be_copied(
    site: Site, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, path = "0a1b2c3d-4e5f6071-8293a4b5-c6d7e8f9-01234567", history.path_beside(str(site.root / "status.json"))
    history.repaired(path, "first", study, history.read(path, ["1"]).current["1"], site.now)
    narrow(monkeypatch)
    shown = run("find", "-c", site.file, "--now", site.now.isoformat(), "sub-007").out
    assert {study, "3010000.01_sub-007_ses-01", "PRISMA", day(1)} <= {*shown.split()}
    assert "study third" in shown


@pytest.mark.parametrize("options", [["find", "x"], ["usage", "--from", "2026-11-01", "--to", "2026-11-02"]])
def test_a_site_without_a_history_yet_says_so(options: list[str], field_site: Site, run: Any) -> None:
    done = run(*options, "-c", field_site.file, "--now", field_site.now.isoformat())
    path = field_site.root / "status.history.sqlite"
    assert (done.status, done.out) == (5, "")
    assert done.err == f"dicom-worklist: There is no history at {path}: no run has written one\n"


def test_a_last_day_before_the_first_is_refused(site: Site, run: Any) -> None:
    done = run("find", "-c", site.file, "007", "--from", "2026-12-01", "--to", "2026-01-01")
    assert (done.status, done.err) == (2, "dicom-worklist: --to 2026-01-01 is before --from 2026-12-01\n")


def test_after_nothing_is_found_it_says_since_when_there_is_a_history(site: Site, run: Any) -> None:
    common = ["find", "-c", site.file, "--now", site.now.isoformat()]
    since = f"The history begins on {day(-1)}, and keeps 400 days (worklist_sync_history_days)."
    assert since in run(*common, "nobody").out
    assert since not in run(*common, "sub-007").out
    assert run(*common, "--json", "nobody").json == {"sessions": []}


def test_a_history_that_cannot_be_read_is_reported(field_site: Site, run: Any) -> None:
    (field_site.root / "status.history.sqlite").write_bytes(b"not a database, but long enough to look like one" * 9)
    done = run("find", "-c", field_site.file, "x")
    assert done.status == 5
    assert "history" in done.err
    assert "can't be read" in done.err
