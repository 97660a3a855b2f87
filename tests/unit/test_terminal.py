"""`dicom-worklist status`: the table, the JSON, and the answer to Nagios."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist.errors import SourceError
from dicom_worklist.status import terminal
from dicom_worklist.status.booking_status import BookingStatus, State, Unscheduled
from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.overview import Day, Lane, overview
from dicom_worklist.status.records import BookingRecord, Study
from support import sample_day
from support.calendar import DAY, NOW, SKYRA, Calendar
from support.command import CONTROL
from support.configuration import Configure
from support.terminal import narrow
from support.timed_site import Site, at, day

#: The run's clock.
AT = ("--now", NOW.isoformat())


@pytest.fixture
def watched(configure: Configure, tmp_path: Path) -> Path:
    return configure({"status.state": str(tmp_path / "status.json")})


def test_status_shows_today_as_a_table(calendar: Calendar, watched: Path, run: Any) -> None:
    today = DAY.isoformat()
    calendar.book(1, day=today)
    calendar.book(2, "7-x", day=today, lab=SKYRA)
    run("sync", "-c", watched, *AT)
    done = run("status", "-c", watched, *AT)
    assert (done.status, done.err) == (0, "")
    assert re.search(r"PRISMA .*09:00 .*over .*shown .*3010000.01_sub-007_ses-01 .* 1 ", done.out)
    assert re.search(r"SKYRA .*rejected .*not shown .*subject_session '7-x'", done.out)
    assert "CRITICAL" in done.out


def test_status_json_is_one_object(calendar: Calendar, watched: Path, run: Any) -> None:
    calendar.book(1, day=DAY.isoformat())
    run("sync", "-c", watched, *AT)
    told = run("status", "-c", watched, *AT, "--json").json
    assert (told["level"], told["site"], told["frozen"], told["pacs"]) == ("OK", "DCCN", None, False)
    assert [lane["ae_title"] for lane in told["today"]["lanes"]] == ["PRISMA", "PRISMAFIT", "SKYRA"]
    (line,) = told["today"]["lanes"][0]["lines"]
    assert (line["state"], line["booked"]["booking_id"], line["booked"]["on_console"]) == ("over", "1", True)


def test_what_has_to_be_typed_is_shown_unfolded_while_nothing_is_on_the_console(
    field_site: Site, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = field_site
    site.book(1, "7-1", day=day(1))
    site.run("23:58")
    narrow(monkeypatch)
    line = ["status", "-c", site.file, "--now"]
    assert "PatientID" not in run(*line, at("23:59").isoformat()).out
    site.calendar.path.unlink()
    with pytest.raises(SourceError):
        site.run("00:05", 1)
    shown = run(*line, at("00:06", 1).isoformat()).out
    booked = site.line(1).booked
    below = shown.partition(f"today, {day(1)}")[2]
    assert f"PatientID {booked.patient_id}" in below
    assert f"PatientName {booked.patient_name}" in below
    for width in (60, 120, 200):
        narrow(monkeypatch, width)
        words = run(*line, at("00:06", 1).isoformat()).out.partition(f"today, {day(1)}")[2].split()
        assert {booked.patient_id, booked.patient_name, "PatientID", "PatientName"} <= {*words}


def test_a_day_that_no_run_has_read_is_not_known(field_site: Site, run: Any) -> None:
    site = field_site
    line = ["status", "-c", site.file, "--now"]
    never = run(*line, at("08:00").isoformat()).out
    assert f"today, {day()}: not known: the calendar has not been read yet" in never
    site.book(1, "7-1", day=day())
    site.run("23:58")
    last = f"the calendar was last read {day()} 23:58"
    shown = run(*line, at("23:59").isoformat()).out
    assert "not known" not in shown, "tomorrow has no booking, and that is known"
    shown = run(*line, at("00:05", 1).isoformat()).out
    assert f"today, {day(1)}: nothing booked" in shown
    assert f"tomorrow, {day(2)}: not known: {last}" in shown
    shown = run(*line, at("00:05", 2).isoformat()).out
    assert f"today, {day(2)}: not known: {last}" in shown
    assert f"today not known: {last}" in shown
    assert "nothing booked" not in shown


def test_status_for_nagios_is_a_line_and_an_exit_status(
    calendar: Calendar, watched: Path, run: Any, tmp_path: Path
) -> None:
    done = run("status", "-c", watched, *AT, "--exit-code")
    assert (done.status, done.out.split(" - ")[0]) == (2, "WORKLIST CRITICAL"), "there was no run"
    run("sync", "-c", watched, *AT)
    done = run("status", "-c", watched, *AT, "--exit-code")
    assert (done.status, done.out.split(" - ")[0]) == (0, "WORKLIST OK")
    calendar.path.unlink()
    assert run("sync", "-c", watched, *AT).status == 4
    done = run("status", "-c", watched, *AT, "--exit-code")
    assert (done.status, done.out.splitlines()[0]) == (1, done.out.strip())
    assert "The list has not been updated since" in done.out
    (tmp_path / "status.json").unlink()
    (tmp_path / "status.json").mkdir()
    done = run("status", "-c", watched, *AT, "--exit-code")
    assert (done.status, done.out.split(" - ")[0]) == (3, "WORKLIST UNKNOWN")
    done = run("status", "-c", watched, *AT)
    assert (done.status, f"status.state {tmp_path}/status.json is a folder: name a file" in done.err) == (5, True)


def test_status_without_the_section_status_is_2_and_unknown_to_nagios(configure: Configure, run: Any) -> None:
    done = run("status", "-c", configure())
    assert (done.status, "no section status" in done.err) == (2, True)
    assert "this configuration keeps no record: add status: {state: state.json}" in done.err
    assert run("status", "-c", configure(), "--exit-code").status == 3


def test_status_prints_no_control_code(calendar: Calendar, watched: Path, run: Any) -> None:
    calendar.add_project("3010000.02", "a\x1b[31mtitle\x07\u202e")
    calendar.book("2\x1b", "7-\x1b[0m", day=DAY.isoformat(), project="3010000.02")
    run("sync", "-c", watched, *AT)
    for options in ((), ("--exit-code",), ("--json",)):
        done = run("status", "-c", watched, *AT, *options)
        assert done.out
        assert not CONTROL.search(done.out)


def shown(capsys: pytest.CaptureFixture[str], *lines: BookingStatus, strays: Sequence[Unscheduled] = ()) -> str:
    """Return what is printed of a day with these bookings and studies without a booking."""
    seen = overview(sample_day.config(), sample_day.found(), sample_day.NOW)
    terminal.show_overview(replace(seen, problems=[], today=Day(DAY, [Lane("PRISMA", lines)], strays)))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "expected"), [("Doe^Jane", "Doe^Jane (PatientID 007)"), ("sub-007", "sub-007"), ("", " (PatientID 007)")]
)
def test_status_shows_what_has_to_be_typed_on_a_console(
    name: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    booked = BookingRecord(booking_id="1", day=DAY, ae_title="PRISMA", patient_id="007", patient_name=name)
    said = shown(capsys, BookingStatus(booked, State.SCHEDULED))
    assert expected in said
    assert ("PatientID" in expected) == ("PatientID" in said)


def test_status_marks_a_hint_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    hint = Oddity(Kind.SERIES, "An image is missing.", "Look on the console.", Weight.HINT)
    said = "Hint: An image is missing. Look on the console."
    booked, study = BookingRecord(booking_id="1", day=DAY), Study(orthanc_id="1", patient_id="phantom")
    assert said in shown(capsys, BookingStatus(booked, State.ARRIVED, oddities=(hint,)))
    assert said in shown(capsys, strays=[Unscheduled(study, (hint,))])
