"""The whole way: each run makes the worklist equal to the calendar."""

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from dicom_worklist import pipeline
from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.bookings.sources import Rows
from dicom_worklist.errors import ConfigError, FolderError, SourceError
from dicom_worklist.report import Report
from dicom_worklist.worklist import folder as folders
from support.calendar import DAY, MEG, NOW, PRISMA, PRISMAFIT, SKYRA
from support.command import start
from support.local_site import Site, ids
from support.worklist_folder import entries, everything, locked_by_another_process, worklist_files


@pytest.fixture
def site(local_site: Site) -> Site:
    return local_site


YESTERDAY, TOMORROW = DAY - timedelta(days=1), DAY + timedelta(days=1)


def reasons(report: Report) -> dict[str, str]:
    return {rejection["booking_id"]: rejection["reason"] for rejection in report.rejected}


def test_a_new_booking_is_published(site: Site) -> None:
    site.calendar.book(1)
    report = site.run()
    assert report.published == [{"booking_id": "1", "ae_title": "PRISMA", "file": "booking-1-PRISMA.wl"}]
    assert entries(site.folder)["booking-1-PRISMA.wl"].PatientID == "3010000.01_sub-007"


@pytest.mark.parametrize(
    ("change", "keyword", "expected"),
    [
        ({"start_time": "10:30:00"}, "ScheduledProcedureStepStartTime", "103000"),
        ({"subj_ses": "x2-3"}, "PatientName", "3010000.01_sub-x002_ses-03"),
        ({"user_id": "gone"}, "RequestingPhysician", "gone"),
    ],
)
def test_a_changed_booking_is_updated(change: dict[str, str], keyword: str, expected: str, site: Site) -> None:
    site.calendar.book(1)
    site.calendar.book(2)
    site.run()
    uid = entries(site.folder)["booking-1-PRISMA.wl"].StudyInstanceUID
    site.calendar.change(1, **change)
    report = site.run()
    assert (ids(report.updated), ids(report.unchanged), report.published, report.removed) == (["1"], ["2"], [], [])
    entry = entries(site.folder)["booking-1-PRISMA.wl"]
    part = entry if keyword in entry else entry.ScheduledProcedureStepSequence[0]
    assert part[keyword].value == expected
    assert entry.StudyInstanceUID == uid


def test_a_booking_that_moves_to_another_lab_moves_to_its_scanner_and_keeps_its_uid(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    uid = entries(site.folder)["booking-1-PRISMA.wl"].StudyInstanceUID
    site.calendar.change(1, calendar_id=SKYRA)
    report = site.run()
    assert [entry["ae_title"] for entry in (*report.published, *report.removed)] == ["SKYRA", "PRISMA"]
    assert {name: entry.StudyInstanceUID for name, entry in entries(site.folder).items()} == {"booking-1-SKYRA.wl": uid}


@pytest.mark.parametrize(
    "change",
    [{"status": "CANCELLED"}, {"subj_ses": "Cancellation"}, {"subj_ses": "0"}, {"calendar_id": MEG},
     {"start_date": TOMORROW.isoformat()}, {"start_date": YESTERDAY.isoformat()}],
)  # fmt: skip
def test_a_booking_that_is_cancelled_or_moves_away_goes(change: dict[str, str], site: Site) -> None:
    site.calendar.book(1)
    site.calendar.book(2)
    site.run()
    site.calendar.change(1, **change)
    assert ids(site.run().removed) == ["1"]
    assert site.shown() == {"2": "PRISMA"}


def test_a_booking_whose_row_is_deleted_goes(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    site.calendar.delete(1)
    assert ids(site.run().removed) == ["1"]
    assert worklist_files(site.folder) == {}


def test_each_lab_belongs_to_its_scanner_and_other_labs_to_none(site: Site) -> None:
    for booking_id, lab in enumerate([PRISMA, PRISMAFIT, SKYRA, MEG]):
        site.calendar.book(booking_id, f"{booking_id}-1", lab=lab)
    report = site.run()
    assert site.shown() == {"0": "PRISMA", "1": "PRISMAFIT", "2": "SKYRA"}
    assert (report.rejected, report.warnings) == ([], [])


def test_a_lab_that_matches_two_scanners_is_rejected_with_both(site: Site) -> None:
    site.calendar.book(1, lab=PRISMAFIT)
    site.calendar.book(2, lab=SKYRA)
    report = site.run({"scanners.0.lab": ".*PRISMA.*"})
    assert reasons(report).keys() == {"1"}
    assert all(word in reasons(report)["1"] for word in ("PRISMA", "PRISMAFIT", "'Prismafit'"))
    assert site.shown() == {"2": "SKYRA"}


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, {"0"}),
        ({"days_back": 1}, {"-1", "0"}),
        ({"days_ahead": 2}, {"0", "1", "2"}),
        ({"days_back": 2, "days_ahead": 1}, {"-2", "-1", "0", "1"}),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite", "csv", "a query without days"])
def test_the_window_is_the_days_around_today(
    kind: str, window: dict[str, int], expected: set[str], site: Site, tmp_path: Path
) -> None:
    bookings = {offset: DAY + timedelta(days=offset) for offset in range(-4, 5)}
    changes: dict[str, object] = {"window": window}
    if kind == "csv":
        lines = [f"{offset},P,T,7-1,{day},09:00,{SKYRA},A,L,CONFIRMED" for offset, day in bookings.items()]
        (tmp_path / "bookings.csv").write_text("\n".join([",".join(COLUMNS), *lines]))
        changes["source"] = {"type": "csv", "path": str(tmp_path / "bookings.csv")}
    elif kind == "a query without days":
        changes["source.query"] = (
            "SELECT id booking_id, project_id, '' project_title, subj_ses subject_session, start_date, start_time, "
            "calendar_id lab, '' user_first_name, '' user_last_name, status FROM calendar_items_new"
        )
    for offset, day in bookings.items():
        site.calendar.book(offset, day=day)
    report = site.run(changes)
    assert set(ids(report.published)) == site.shown().keys() == expected
    assert report.rejected == []


def test_entries_of_past_days_go(site: Site) -> None:
    site.calendar.book(1, day=DAY)
    site.calendar.book(2, day=TOMORROW)
    site.run()
    report = site.run(day=TOMORROW)
    assert (ids(report.published), ids(report.removed)) == (["2"], ["1"])


def test_the_site_s_time_zone_decides_what_today_is(site: Site) -> None:
    # these two are 25 hours apart: it is never the same day on both
    east, west = ({"site.timezone": zone} for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"))
    days = [pipeline.at_site(site.config(changes), NOW).date() for changes in (east, west)]
    assert days[0] > days[1]
    for booking_id, day in zip(("east", "west"), days, strict=True):
        site.calendar.book(booking_id, day=day)
    assert ids(site.run(east, day=None).published) == ["east"]
    assert ids(site.run(west, day=None).published) == ["west"]


def test_a_second_run_writes_nothing(site: Site) -> None:
    for booking_id in range(5):
        site.calendar.book(booking_id, lab=SKYRA)
    site.run()
    before, changed = everything(site.folder), site.folder.stat().st_mtime_ns
    report = site.run()
    assert (everything(site.folder), site.folder.stat().st_mtime_ns) == (before, changed)
    assert len(report.unchanged) == 5
    assert not report.changed


#: A code that a column of the calendar chooses.
CODE = {"CodeValue": "{{ protocol | default('T1') }}", "CodingSchemeDesignator": "99DCCN", "CodeMeaning": "T1"}
#: Attributes as sites set them.
USUAL = {
    "PatientComments": "Project:{{ project_id }}",
    "IssuerOfPatientID": "DCCN",
    "PatientSize": "{{ size or '' }}",
    "ScheduledProtocolCodeSequence": [CODE],
}


@pytest.mark.parametrize("attributes", [{}, USUAL], ids=["defaults", "usual attributes"])
def test_a_run_with_nothing_to_change_imports_no_pydicom(attributes: dict[str, object], site: Site) -> None:
    config = site.configure({"attributes": attributes})
    program = "import sys; from dicom_worklist import cli; cli.main(sys.argv[1:]); print('pydicom' in sys.modules)"
    said = []
    for booking_id in (1, None, 2):
        if booking_id:
            site.calendar.book(booking_id)
        with start("-c", program, "sync", "-c", config, "--now", NOW.isoformat()) as run:
            *_, summary, imported = run.communicate(timeout=60)[0].splitlines()
        said.append((summary.split(", ")[0], imported))
    assert said == [
        (f"{DAY}: 1 published", "True"),
        (f"{DAY}: 0 published", "False"),
        (f"{DAY}: 1 published", "True"),
    ]


def test_a_damaged_entry_is_written_again(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    path = site.folder / "booking-1-PRISMA.wl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert ids(site.run().updated) == ["1"]
    assert path.read_bytes() == whole


def test_files_of_others_are_neither_touched_nor_reported(site: Site) -> None:
    site.calendar.book(1)
    for name in ("phantom.wl", "booking-7.wl", "notes.txt"):
        (site.folder / name).write_text("theirs")
    before = everything(site.folder)
    report = site.run()
    assert ids(report.published) == ["1"]
    assert report.removed == []
    assert before.items() <= everything(site.folder).items()


def test_scanners_of_two_worklists_have_two_folders(site: Site) -> None:
    (site.folder.parent / "OTHER").mkdir()
    site.calendar.book(1, lab=PRISMA)
    site.calendar.book(2, lab=SKYRA)
    site.run({"scanners.2.worklist": "OTHER"})
    assert worklist_files(site.folder).keys() == {"booking-1-PRISMA.wl"}
    assert worklist_files(site.folder.parent / "OTHER").keys() == {"booking-2-SKYRA.wl"}


# --- one bad booking never stops the others ---


@pytest.mark.parametrize(
    ("booking", "reason"),
    [
        ({"subj_ses": "-1"}, "subject"),
        ({"subj_ses": "7-x"}, "session"),
        ({"subj_ses": "7\\8-1"}, "PatientID"),
        ({"subj_ses": "7^8-1"}, "PatientName"),
        ({"time": "25:00:00"}, "start_time"),
        ({"project": "3" * 60}, "PatientID"),
        ({"project": ""}, "PatientID"),
    ],
)
def test_a_bad_booking_is_rejected_with_its_id_and_the_reason(booking: dict[str, str], reason: str, site: Site) -> None:
    site.calendar.book("bad", **booking)
    site.calendar.book("good")
    report = site.run()
    assert reasons(report).keys() == {"bad"}
    assert reason in reasons(report)["bad"]
    assert site.shown() == {"good": "PRISMA"}


@pytest.mark.parametrize("day", ["tomorrow", "", "2026-11-31"])
def test_a_booking_without_a_day_is_rejected(day: str, site: Site, tmp_path: Path) -> None:
    header = ",".join(COLUMNS)
    lines = [f"{name},P,T,7-1,{when},09:00,{SKYRA},A,L,CONFIRMED" for name, when in (("bad", day), ("good", DAY))]
    (tmp_path / "bookings.csv").write_text("\n".join([header, *lines]))
    report = site.run({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    assert "start_date" in reasons(report)["bad"]
    assert ids(report.published) == ["good"]


def test_a_booking_that_becomes_bad_loses_its_entry(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    site.calendar.change(1, subj_ses="7-")
    report = site.run()
    assert (ids(report.removed), list(reasons(report))) == (["1"], ["1"])
    assert worklist_files(site.folder) == {}


@pytest.mark.parametrize("lab", [PRISMA, SKYRA], ids=["same lab", "two labs"])
def test_bookings_that_share_an_id_are_all_rejected(lab: str, site: Site) -> None:
    site.calendar.book(1, "7-1")
    site.calendar.book(1, "8-1", lab=lab)
    site.calendar.book(2)
    report = site.run()
    assert list(reasons(report)) == ["1"]
    assert "2 bookings" in reasons(report)["1"]
    assert site.shown() == {"2": "PRISMA"}


def test_a_cancelled_booking_with_the_same_id_is_not_a_duplicate(site: Site) -> None:
    site.calendar.book(1)
    site.calendar.book(1, status="CANCELLED")
    assert site.run().rejected == []
    assert site.shown() == {"1": "PRISMA"}


def test_bookings_without_an_id_are_rejected(site: Site) -> None:
    site.calendar.book("")
    site.calendar.book(None)
    site.calendar.book("good")
    report = site.run()
    assert [rejection["booking_id"] for rejection in report.rejected] == ["", ""]
    assert "booking_id" in reasons(report)[""]
    assert site.shown() == {"good": "PRISMA"}


@pytest.mark.parametrize("booking_id", ["../../etc", "a/b", "..", "-1-", "a b", "Ä", "%2F", "🧠" * 16])
def test_an_id_that_a_file_name_can_not_bear_is_replaced_in_it(booking_id: str, site: Site) -> None:
    site.calendar.book(booking_id)
    assert ids(site.run().published) == [booking_id]
    assert site.shown() == {booking_id: "PRISMA"}
    assert ids(site.run().unchanged) == [booking_id]


def test_no_booking_is_too_long_for_its_file(site: Site) -> None:
    site.calendar.book("🧠" * 16)
    site.calendar.book("good")
    report = site.run({"scanners.0.ae_title": "#" * 16})
    assert "good" in ids(report.published)


def test_a_title_that_does_not_fit_is_a_warning_with_the_booking(site: Site) -> None:
    site.calendar.add_project("3010000.02", "x" * 65)
    site.calendar.book(1, project="3010000.02")
    report = site.run()
    assert ids(report.published) == ["1"]
    assert [warning.split(":")[0] for warning in report.warnings] == ["booking 1"]
    assert site.run().warnings == report.warnings


# --- failures ---


def test_a_source_that_fails_changes_nothing(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    before = everything(site.folder)
    site.calendar.path.rename(site.calendar.path.with_suffix(".away"))
    with pytest.raises(SourceError, match=r"calendar.sqlite"):
        site.run()
    assert everything(site.folder) == before


def test_when_the_source_fails_entries_of_past_days_expire_and_today_s_stay(site: Site) -> None:
    site.calendar.book("yesterday", day=YESTERDAY)
    site.calendar.book("today", day=DAY)
    site.run({"window.days_ahead": 1}, day=YESTERDAY)
    site.calendar.path.unlink()
    with pytest.raises(SourceError):
        site.run()
    assert site.shown().keys() == {"today"}


def test_a_dry_run_writes_nothing_even_when_the_source_fails(site: Site) -> None:
    site.calendar.book("yesterday", day=YESTERDAY)
    site.run(day=YESTERDAY)
    before = everything(site.folder)
    site.calendar.path.unlink()
    with pytest.raises(SourceError):
        site.run(dry_run=True)
    assert everything(site.folder) == before


def test_a_missing_folder_is_reported_before_anything_changes(site: Site) -> None:
    site.calendar.book(1)
    with pytest.raises(FolderError, match="ABSENT can't be opened"):
        site.run({"scanners.2.worklist": "ABSENT"})
    assert worklist_files(site.folder) == {}


def test_a_lock_that_is_held_leaves_the_worklist_as_it_was(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    before = everything(site.folder)
    site.calendar.book(2)
    with locked_by_another_process(site.folder), pytest.raises(FolderError, match="lock_timeout"):
        site.run({"worklist.lock_timeout": 0.2})
    assert everything(site.folder) == before


def test_no_other_run_writes_between_reading_the_calendar_and_publishing(site: Site) -> None:
    config, tried = site.config(), []

    class Probe:
        def rows(self, first_day: date, last_day: date, needed: Collection[str]) -> Rows:
            with pytest.raises(FolderError, match="another run"), folders.one_writer(site.folder, 0.05):
                pass
            tried.append((first_day, last_day))
            return Rows()

    pipeline.run(msgspec.structs.replace(config, source=Probe()), DAY, now=NOW)
    assert tried == [(YESTERDAY, TOMORROW)]


def test_a_broker_s_query_does_not_delay_reading_the_calendar(site: Site) -> None:
    site.calendar.book(1)
    with locked_by_another_process(site.folder):
        assert ids(site.run({"worklist.lock_timeout": 0.2}, dry_run=True).published) == ["1"]


# --- what a dry run says ---


def test_a_dry_run_predicts_exactly_what_the_run_does_and_writes_nothing(site: Site) -> None:
    for name in ("stays", "moves", "goes", "changes lab"):
        site.calendar.book(name)
    site.run()
    site.calendar.book("new", lab=SKYRA)
    site.calendar.change("moves", start_time="11:00:00")
    site.calendar.change("changes lab", calendar_id=SKYRA)
    site.calendar.delete("goes")
    site.calendar.book("bad", "7-x")
    site.calendar.add_project("3010000.02", "two\nlines")
    site.calendar.book("fitted", project="3010000.02")
    before = everything(site.folder)
    predicted = site.run(dry_run=True)
    assert everything(site.folder) == before
    assert site.run() == predicted
    assert predicted.changed
    assert site.run(dry_run=True).changed is False


def test_a_dry_run_leaves_the_temporary_files_of_a_killed_run(site: Site) -> None:
    folders._temporary(site.folder, folders.file_name("1", "PRISMA")).touch()
    before = everything(site.folder)
    site.run(dry_run=True)
    assert everything(site.folder) == before


def test_a_booking_that_moves_between_two_worklists_is_always_in_one(site: Site) -> None:
    """The lock of the second folder is held: the first one stays as it is, too."""
    other = site.folder.parent / "WLFIT"
    other.mkdir()
    (other / "lockfile").touch()
    two = {"scanners.1.worklist": "WLFIT", "worklist.lock_timeout": 0.2}
    site.calendar.book(1)
    site.run(two)
    site.calendar.change(1, calendar_id=PRISMAFIT)
    with locked_by_another_process(other), pytest.raises(FolderError, match="nothing was changed"):
        site.run(two)
    assert site.shown() == {"1": "PRISMA"}
    site.run(two)
    assert (site.shown(), list(worklist_files(other))) == ({}, ["booking-1-PRISMAFIT.wl"])


def test_a_date_that_a_spreadsheet_made_of_a_subject_is_rejected(site: Site) -> None:
    site.calendar.book(1, "2026-01-07")
    assert "is a date, as spreadsheets make of 7-1" in reasons(site.run())["1"]


def test_a_lost_lockfile_is_an_error_because_the_broker_has_the_old_one(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    (site.folder / "lockfile").unlink()
    site.calendar.book(2)
    with pytest.raises(FolderError, match=r"lockfile can't be opened"):
        site.run()
    assert site.shown() == {"1": "PRISMA"}


def test_a_run_that_empties_the_worklist_says_so(site: Site) -> None:
    site.calendar.book(1)
    site.run()
    site.calendar.delete(1)
    predicted = site.run(dry_run=True).warnings
    assert "this run leaves the worklist empty: " in predicted[0]
    assert site.run().warnings == predicted
    assert site.run().warnings == []


def test_a_window_beyond_the_calendar_is_a_configuration_error(site: Site) -> None:
    with pytest.raises(ConfigError, match="leaves the years"):
        site.run({"window.days_ahead": 1}, date.max)
