"""What a run leaves behind besides the worklist, and that its failures are named and cost no entry."""

import os
import re
import socket
import stat
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from dicom_worklist import bookings, pipeline
from dicom_worklist.config import load
from dicom_worklist.errors import FolderError, SourceError
from dicom_worklist.report import Report
from dicom_worklist.settings import Config
from dicom_worklist.status import findings as state
from dicom_worklist.status import memory
from dicom_worklist.status.record import Answer, Outcome, record
from dicom_worklist.status.records import BookingRecord, Study
from support.local import DAY, MEG, NOW, Calendar, Configure, locked_by_another_process, worklist_files

ONE_DAY = timedelta(days=1)


class Watched:
    """A site whose runs say what they found."""

    def __init__(self, calendar: Calendar, configure: Configure, folder: Path, root: Path) -> None:
        self.calendar, self.folder, self.root = calendar, folder, root
        self._configure = configure
        for name in ("page", "metrics"):
            (root / name).mkdir()
        (root / "password").write_text("secret\n")
        self.changes: dict[str, object] = {
            "status.state": str(root / "status.json"),
            "status.page": str(root / "page"),
            "status.metrics": str(root / "metrics"),
        }
        self.today, self.now = DAY, NOW

    def config(self, changes: Mapping[str, object] | None = None) -> Config:
        return load(self._configure({**self.changes, **(changes or {})}))

    def pacs(self, port: int, **settings: object) -> dict[str, object]:
        """Return changes for a PACS on this port of loopback."""
        defaults = {
            "url": f"http://127.0.0.1:{port}", "user": "reader", "password_file": str(self.root / "password"),
        }  # fmt: skip
        return {f"pacs.{name}": value for name, value in (defaults | settings).items()}

    def book(self, booking_id: object, **details: Any) -> None:
        self.calendar.book(booking_id, **{"day": self.today.isoformat(), **details})

    def run(self, changes: Mapping[str, object] | None = None, **options: Any) -> Report:
        return pipeline.run(self.config(changes), **{"now": self.now, **options})

    @property
    def found(self) -> state.Findings:
        return state.load(str(self.root / "status.json"))

    @property
    def page(self) -> str:
        return (self.root / "page/index.html").read_text()

    def written(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def site(calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path) -> Watched:
    root = tmp_path / "watched"
    root.mkdir()
    return Watched(calendar, configure, folder, root)


def of(found: state.Findings) -> dict[str, BookingRecord]:
    return {booked.booking_id: booked for booked in found.bookings}


def test_a_run_says_what_it_found_of_three_days(site: Watched) -> None:
    for booking_id, ahead in (("1", -2), ("2", -1), ("3", 0), ("4", 1), ("5", 2)):
        site.book(booking_id, day=(site.today + ahead * ONE_DAY).isoformat())
    site.book("6", subj_ses="7-x")
    site.book("7", lab=MEG)
    report = site.run()
    booked = of(site.found)
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


def test_a_window_wider_than_three_days_is_published_and_three_days_told(site: Watched) -> None:
    for ahead in range(-3, 4):
        site.book(str(ahead + 10), day=(site.today + ahead * ONE_DAY).isoformat())
    report = site.run({"window.days_ahead": 3})
    assert [entry["booking_id"] for entry in report.published] == ["10", "11", "12", "13"]
    assert {name: one.on_console for name, one in of(site.found).items()} == {"9": False, "10": True, "11": True}


def test_a_booking_with_two_scanners_or_a_doubled_id_is_told_as_rejected(site: Watched) -> None:
    site.book("1")
    site.book("2", time="10:00:00")
    site.book("2", time="11:00:00")
    report = site.run({"scanners.1.lab": ".*PRISMA.*"})
    reasons = {rejection["booking_id"]: rejection["reason"] for rejection in report.rejected}
    assert "matches the scanners PRISMA and PRISMAFIT" in reasons["1"]
    assert {name: one.reason for name, one in of(site.found).items()} == reasons
    site.run()
    assert "2 bookings with this booking_id" in of(site.found)["2"].reason
    site.book("3", day=(site.today + ONE_DAY).isoformat())
    site.run({"scanners.1.lab": ".*PRISMA.*"})
    assert "matches the scanners PRISMA and PRISMAFIT" in of(site.found)["3"].reason


def test_a_failed_source_freezes_the_list_and_the_page_says_so(site: Watched) -> None:
    site.book("1")
    site.run()
    good, entries = site.found.good, worklist_files(site.folder)
    site.calendar.path.rename(site.calendar.path.with_suffix(".away"))
    with pytest.raises(SourceError) as raised:
        site.run()
    assert worklist_files(site.folder) == entries
    assert (site.found.good, list(of(site.found))) == (good, ["1"])
    assert site.found.failure == str(raised.value)
    assert "frozen" in site.page
    site.calendar.path.with_suffix(".away").rename(site.calendar.path)
    site.run()
    assert site.found.failure == ""
    assert "frozen" not in site.page


def test_over_midnight_a_failed_source_lets_yesterday_s_entries_go_from_the_page_too(site: Watched) -> None:
    site.book("1")
    site.book("2", day=(site.today - ONE_DAY).isoformat())
    site.run()
    kept = tuple(msgspec.structs.replace(one, on_console=True) for one in site.found.bookings)
    state.save(str(site.root / "status.json"), msgspec.structs.replace(site.found, bookings=kept))
    site.calendar.path.unlink()
    with pytest.raises(SourceError):
        site.run()
    assert {name: one.on_console for name, one in of(site.found).items()} == {"1": True, "2": False}


def test_of_two_runs_that_overlap_the_one_that_began_last_is_told(site: Watched) -> None:
    site.book("1")
    config = site.config()
    older = memory.recall(config, bookings.days(config, DAY, None), NOW - timedelta(microseconds=1))
    site.run()
    found = site.found
    record(older, Answer(), Outcome(failure="the folder is locked"), lambda: NOW)
    assert site.found == found
    assert "locked" not in site.page


def test_a_locked_folder_freezes_the_list(site: Watched) -> None:
    site.run()
    site.book("1")
    with locked_by_another_process(site.folder), pytest.raises(FolderError):
        site.run({"worklist.lock_timeout": 0.2})
    assert "lock_timeout" in site.found.failure
    assert site.found.bookings == ()


def test_neither_a_dry_run_nor_another_day_is_told(site: Watched) -> None:
    site.book("1")
    before = site.written()
    site.run(dry_run=True)
    site.run(day=site.today + ONE_DAY)
    site.run(day=site.today.min)
    site.run(day=site.today.max)
    assert site.written() == before
    site.run(day=site.today)
    assert list(of(site.found)) == ["1"]


@pytest.mark.parametrize("what", ["status.state", "status.page", "status.metrics"])
def test_what_can_not_be_written_is_named_and_nothing_else(what: str, site: Watched) -> None:
    site.book("1")
    nowhere = str(site.root / "nowhere/there")
    report = site.run({what: nowhere})
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    (warning,) = report.warnings
    assert warning.startswith(f"{what} {nowhere} can't be written: No such file or directory")
    others = {
        "status.state": "status.json",
        "status.page": "page/index.html",
        "status.metrics": "metrics/dicom_worklist.prom",
    }
    assert {path for name, path in others.items() if name != what} <= {*site.written()}
    if what == "status.metrics":
        assert warning in site.found.failures
        assert "status.metrics" in site.page


def test_a_failure_to_write_goes_with_the_failure_of_the_run(site: Watched) -> None:
    site.calendar.path.unlink()
    with pytest.raises(SourceError, match=r"Besides, status\.page .* can't be written"):
        site.run({"status.page": str(site.root / "nowhere")})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_is_the_folder_s_owner_s(site: Watched) -> None:
    for folder in (site.root, site.root / "page"):
        os.chown(folder, 12345, 23456)
    site.run()
    for name, mode in (("status.json", 0o640), ("page/index.html", 0o640)):
        status = (site.root / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, mode)


def test_a_state_that_is_none_is_begun_anew(site: Watched) -> None:
    (site.root / "status.json").write_text('{"bookings": 7}')
    site.book("1")
    assert site.run().warnings == []
    assert list(of(site.found)) == ["1"]


# --- a PACS that doesn't answer as it should ---


class _Answer(BaseHTTPRequestHandler):
    """Answers every question with what the server was told."""

    def do_POST(self) -> None:
        status, headers, body = self.server.answer  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Any:
    """A web server that is no Orthanc."""
    server: Any = HTTPServer(("127.0.0.1", 0), _Answer)
    server.asked = []
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, {}, b""), "answers 401 .* compare 'reader' and the password in .*/password with Orthanc's"),
        ((500, {}, b""), "answers 500"),
        ((302, {"Location": "http://192.0.2.1/"}, b""), "answers 302"),
        ((200, {}, b"<html>"), "can't be asked"),
        ((200, {}, b"{}x"), "can't be asked"),
        ((200, {}, b'{"HttpError": "no"}'), "answers something else than studies"),
        ((200, {}, b'[{"ID": "1"}]'), "answers something else than studies"),
        ((200, {"Content-Length": "10"}, b"[]"), "can't be asked"),
        ((200, {}, b"[" * 200_000), "can't be asked"),
    ],
)
def test_a_server_that_is_no_orthanc_is_named_and_the_list_published(
    answer: tuple[int, dict[str, str], bytes], said: str, stranger: Any, site: Watched
) -> None:
    site.book("1")
    stranger.answer = answer
    report = site.run(site.pacs(stranger.server_port))
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    (warning,) = report.warnings
    where = f"what arrived is not known: Orthanc at http://127.0.0.1:{stranger.server_port} "
    assert re.match(re.escape(where) + said, warning)
    assert stranger.asked == ["/tools/find"]
    assert "secret" not in warning
    assert site.found.pacs_failure in warning


def test_the_pacs_is_asked_once_a_run_whatever_is_booked(stranger: Any, site: Watched) -> None:
    for booking_id in range(20):
        site.book(booking_id, subj_ses=f"{booking_id}-1", time=f"{booking_id:02}:00:00")
    stranger.answer = (200, {}, b"[]")
    assert site.run({**site.pacs(stranger.server_port), "status.leave_after": 10}).warnings == []
    assert stranger.asked == ["/tools/find"]


def test_a_pacs_that_is_not_there_or_silent_delays_nothing_for_longer_than_its_timeout(site: Watched) -> None:
    site.book("1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began, port = time.monotonic(), silent.getsockname()[1]
        report = site.run(site.pacs(port, timeout=0.3))
        assert time.monotonic() - began < 5
    assert "timed out" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    report = site.run(site.pacs(port))
    assert "Connection refused" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.unchanged] == ["1"]


def test_a_password_that_can_not_be_read_is_named(site: Watched) -> None:
    site.book("1")
    report = site.run(site.pacs(1, password_file=str(site.root / "nowhere")))
    assert "pacs.password_file" in report.warnings[0]
    assert [entry["booking_id"] for entry in report.published] == ["1"]


# --- when a scan is done; the PACS is away, so that what it last said holds ---

Scan = Callable[..., None]


@pytest.fixture
def scanned(site: Watched) -> Scan:
    """Let the last run have found a study of booking 1."""

    def scanned(ago: timedelta = timedelta(minutes=11), **details: Any) -> None:
        booked = of(site.found)["1"]
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
def leaving(site: Watched) -> dict[str, object]:
    site.book("1", time="00:00:00")
    site.book("2", time="23:59:59")
    changes = {**site.pacs(1), "status.leave_after": 10, "status.session": 0}
    site.run(changes)
    return changes


def shown(site: Watched) -> list[str]:
    return [name.split("-")[1] for name in worklist_files(site.folder)]


def test_an_entry_leaves_when_its_scan_is_done_and_stays_away(
    site: Watched, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned()
    assert [entry["booking_id"] for entry in site.run(leaving, dry_run=True).removed] == ["1"]
    assert shown(site) == ["1", "2"]
    assert [entry["booking_id"] for entry in site.run(leaving).removed] == ["1"]
    assert {name: one.on_console for name, one in of(site.found).items()} == {"1": False, "2": True}
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
    ago: timedelta, details: dict[str, Any], site: Watched, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned(ago, **details)
    assert site.run(leaving).removed == []
    assert shown(site) == ["1", "2"]


def test_no_entry_leaves_unless_the_site_says_so(site: Watched, leaving: dict[str, object], scanned: Scan) -> None:
    scanned()
    del leaving["status.leave_after"]
    assert site.run(leaving).removed == []


def test_a_booking_that_changed_since_its_scan_is_shown_again(
    site: Watched, leaving: dict[str, object], scanned: Scan
) -> None:
    scanned()
    site.run(leaving)
    site.calendar.change("1", subj_ses="7-2")
    assert [entry["booking_id"] for entry in site.run(leaving).published] == ["1"]
    for _ in range(3):
        assert site.run(leaving).removed == []
    assert shown(site) == ["1", "2"]


def test_an_entry_stays_while_its_time_is_not_over(site: Watched, leaving: dict[str, object], scanned: Scan) -> None:
    scanned()
    assert site.run(leaving | {"status.session": 1440}).removed == []


def test_an_entry_stays_that_was_taken_for_another_s_scan(
    site: Watched, leaving: dict[str, object], scanned: Scan
) -> None:
    """Somebody at the console picked the entry of the evening in the morning."""
    site.calendar.change("1", start_time="00:20:00")
    site.run(leaving)
    scanned(start=datetime.combine(site.today, datetime.min.time()))
    assert site.run(leaving).removed == []


def test_a_list_that_is_empty_because_all_is_scanned_is_no_warning(
    site: Watched, leaving: dict[str, object], scanned: Scan
) -> None:
    site.calendar.delete("2")
    site.run(leaving)
    scanned()
    report = site.run(leaving)
    assert ([entry["booking_id"] for entry in report.removed], shown(site)) == (["1"], [])
    assert not [warning for warning in report.warnings if "empty" in warning]
