"""The command: exit statuses, what it prints for people and for programs, and what it never prints."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification  # type: ignore[attr-defined]

from dicom_worklist import __version__, cli
from support.local import (
    DAY,
    NOW,
    PRISMA,
    SKYRA,
    Calendar,
    Configure,
    command,
    entries,
    everything,
    locked_by_another_process,
    worklist_files,
)

#: The run's clock.
AT = ("--now", NOW.isoformat())
SYNC_KEYS = {"day", "published", "updated", "removed", "unchanged", "rejected", "warnings"}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


class Run:
    """What one run of the command said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str | Path) -> Run:
        capsys.readouterr()
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Run(status, *capsys.readouterr())

    return run


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def broker(folder: Path) -> Iterator[Any]:
    """A broker that shows what is in the folder, or what `server.shown` says."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        title = event.identifier.ScheduledProcedureStepSequence[0].ScheduledStationAETitle
        for entry in server.shown(folder).values():
            if entry.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == title:
                yield 0xFF00, entry

    ae = AE(ae_title="WLBROKER")
    ae.require_called_aet = True
    ae.add_supported_context(ModalityWorklistInformationFind)
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    server.shown = entries
    yield server
    server.shutdown()


def mysql(port: int, password_file: Path) -> dict[str, object]:
    password_file.write_text("geheim!\n")
    return {
        "source": {
            "type": "mysql",
            "host": "127.0.0.1",
            "port": port,
            "database": "fcdc",
            "user": "dicomdf",
            "password_file": str(password_file),
        }
    }


# --- exit statuses, of the real command in a pipe ---


def test_done_is_0_and_prints_a_line_a_change_and_a_summary(calendar: Calendar, configure: Configure) -> None:
    calendar.book(1)
    done = command("sync", "-c", configure(), "--day", DAY.isoformat())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "published booking 1 on PRISMA",
        "2026-11-24: 1 published, 0 updated, 0 removed, 0 unchanged, 0 rejected, 0 warnings",
    ]


def test_rejected_bookings_are_3(calendar: Calendar, configure: Configure, folder: Path) -> None:
    calendar.book(1)
    calendar.book(2, "7-x")
    done = command("sync", "-c", configure(), "--day", DAY.isoformat())
    assert (done.returncode, done.stderr) == (3, "")
    assert "rejected booking 2: subject_session '7-x'" in done.stdout
    assert len(worklist_files(folder)) == 1


@pytest.mark.parametrize(
    "arguments",
    [(), ("sync",), ("sync", "-c"), ("nonsense",), ("sync", "-c", "absent.yml"), ("list", "-c", "absent.yml"),
     ("check", "-c", "absent.yml"), ("sync", "-c", "absent.yml", "--day", "tomorrow"), ("list", "--dry-run")],
)  # fmt: skip
def test_usage_and_configuration_are_2(
    arguments: tuple[str, ...], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "CONFIG", str(tmp_path / "absent.yml"))  # a site may be deployed on this machine
    done = run(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err


def test_a_faulty_configuration_is_2(configure: Configure) -> None:
    done = command("sync", "-c", configure({"site.nam": "DCCN"}))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dicom-worklist: ")
    assert "nam" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_source_that_can_not_be_read_is_4(configure: Configure, closed_port: int, tmp_path: Path) -> None:
    done = command("sync", "-c", configure(mysql(closed_port, tmp_path / "password")), "--json")
    assert (done.returncode, done.stdout) == (4, "")
    assert f"127.0.0.1:{closed_port}" in done.stderr
    assert "geheim" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_locked_is_5_and_stays_as_it_was(
    calendar: Calendar, configure: Configure, folder: Path
) -> None:
    calendar.book(1)
    before = everything(folder)
    with locked_by_another_process(folder):
        done = command("sync", "-c", configure({"worklist.lock_timeout": 0.2}), "--day", DAY.isoformat())
    assert (done.returncode, done.stdout) == (5, "")
    assert "lock_timeout" in done.stderr
    assert everything(folder) == before


@pytest.mark.parametrize("subcommand", ["sync", "list"])
def test_a_folder_that_is_missing_is_5(subcommand: str, configure: Configure, run: Any) -> None:
    done = run(subcommand, "-c", configure({"worklist.root": "/nonexistent"}))
    assert (done.status, done.out) == (5, "")
    assert "/nonexistent/WLBROKER" in done.err


def test_the_version_is_told(run: Any) -> None:
    assert run("--version").out == f"{__version__}\n"


# --- sync ---


def test_json_is_one_object_of_the_contract(calendar: Calendar, configure: Configure, run: Any) -> None:
    for number, subj_ses in enumerate(("7", "8", "9", "7-x"), 1):
        calendar.book(number, subj_ses)
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    calendar.change(1, start_time="10:00:00")
    calendar.delete(2)
    calendar.book("Ä", "10", lab=SKYRA)
    done = run("sync", "-c", config, "--day", DAY.isoformat(), "--json")
    assert done.status == 3
    assert done.json.keys() == SYNC_KEYS
    assert done.json["day"] == "2026-11-24"
    for key, booking_id in (("published", "Ä"), ("updated", "1"), ("removed", "2"), ("unchanged", "3")):
        [entry] = done.json[key]
        assert entry.keys() == {"booking_id", "ae_title", "file"}
        assert entry["booking_id"] == booking_id
    [rejection] = done.json["rejected"]
    assert rejection.keys() == {"booking_id", "reason"}
    assert done.json["warnings"] == []


def test_the_day_stands_in_for_today(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.book("then", day=DAY + timedelta(days=5))
    done = run("sync", "-c", configure(), "--day", "2026-11-29", "--json")
    assert (done.json["day"], [entry["booking_id"] for entry in done.json["published"]]) == ("2026-11-29", ["then"])


def test_a_dry_run_says_what_would_be_and_writes_nothing(
    calendar: Calendar, configure: Configure, folder: Path, run: Any
) -> None:
    calendar.book(1)
    arguments = ("sync", "-c", configure(), "--day", DAY.isoformat())
    before = everything(folder)
    done = run(*arguments, "--dry-run")
    predicted = run(*arguments, "--dry-run", "--json").json
    assert everything(folder) == before
    assert "would be published booking 1 on PRISMA\n" in done.out
    assert run(*arguments, "--json").json == predicted


# --- list ---


def test_list_shows_the_entries_in_the_order_of_the_day(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.add_project("3010000.02", "Zürich 日本")
    calendar.book(1, lab=PRISMA, time="11:00:00")
    calendar.book(2, lab=PRISMA, time="09:30:00", project="3010000.02")
    calendar.book(3, lab=SKYRA, time="08:00:00")
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    done = run("list", "-c", config)
    lines = [line for line in done.out.splitlines() if "_sub-" in line]
    assert [re.findall(r"\b\d\d:\d\d\b", line) for line in lines] == [["09:30"], ["11:00"], ["08:00"]]
    for said in ("PRISMA", "2026-11-24 09:30", "3010000.02_sub-007_ses-01", "Zürich 日本", "Lovelace^Ada", "2"):
        assert said in lines[0]
    assert (done.status, done.err) == (0, "")


def test_list_json_holds_every_attribute(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.book(1)
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    [entry] = run("list", "-c", config, "--json").json["entries"]
    expected = {
        "booking_id": "1",
        "ae_title": "PRISMA",
        "worklist": "WLBROKER",
        "file": "booking-1-PRISMA.wl",
        "PatientID": "3010000.01_sub-007",
        "ScheduledProcedureStepStartTime": "090000",
    }
    assert expected.items() <= entry.items()


def test_list_says_nothing_of_a_name_that_has_many_bytes_but_few_characters(
    calendar: Calendar, configure: Configure
) -> None:
    calendar.add_user("long", "Вильгельмина-Александра", "Константинопольская")
    calendar.book(1, user="long")
    config = configure()
    command("sync", "-c", config, "--day", DAY.isoformat())
    done = command("list", "-c", config)
    assert "Константинопольская^Вильгельмина-Александра" in done.stdout
    assert done.stderr == ""


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_list_shows_entries_of_others_and_tells_files_that_are_none(
    configure: Configure, calendar: Calendar, folder: Path, run: Any
) -> None:
    calendar.book(1)
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    (folder / "booking-1-PRISMA.wl").rename(folder / "phantom.wl")
    (folder / "broken.wl").write_text("no DICOM")
    done = run("list", "-c", config, "--json")
    assert [(entry["booking_id"], entry["file"]) for entry in done.json["entries"]] == [(None, "phantom.wl")]
    assert "broken.wl is shown to nobody" in done.err
    assert done.status == 0


def test_list_of_an_empty_worklist_says_so(configure: Configure, run: Any) -> None:
    assert "0 worklist entries" in run("list", "-c", configure()).out


# --- status ---


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


def test_status_for_nagios_is_its_plugins_exit_code_and_line(
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
    assert "The list is frozen since" in done.out
    (tmp_path / "status.json").unlink()
    (tmp_path / "status.json").mkdir()
    done = run("status", "-c", watched, *AT, "--exit-code")
    assert (done.status, done.out.split(" - ")[0]) == (3, "WORKLIST UNKNOWN")
    assert run("status", "-c", watched, *AT).status == 5


def test_status_without_its_section_is_2_and_for_nagios_unknown(configure: Configure, run: Any) -> None:
    done = run("status", "-c", configure())
    assert (done.status, "no section status" in done.err) == (2, True)
    assert run("status", "-c", configure(), "--exit-code").status == 3


def test_status_prints_no_control_code(calendar: Calendar, watched: Path, run: Any) -> None:
    calendar.add_project("3010000.02", "a\x1b[31mtitle\x07\u202e")
    calendar.book("2\x1b", "7-\x1b[0m", day=DAY.isoformat(), project="3010000.02")
    run("sync", "-c", watched, *AT)
    for options in ((), ("--exit-code",), ("--json",)):
        done = run("status", "-c", watched, *AT, *options)
        assert done.out
        assert not CONTROL.search(done.out)


# --- check ---


def test_check_tells_of_a_pacs_that_can_not_be_asked(
    configure: Configure, closed_port: int, run: Any, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret\n")
    changes = {"url": f"http://127.0.0.1:{closed_port}", "user": "reader", "password_file": str(tmp_path / "password")}
    done = run("check", "-c", configure({"pacs": changes}), "--only", "pacs")
    assert done.status == 7
    assert done.out.startswith(f"FAILED pacs: Orthanc at http://127.0.0.1:{closed_port} can't be asked")


def test_check_says_of_each_that_it_is_ok(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, folder: Path
) -> None:
    calendar.add_project("3010000.02", "Zürich 日本")
    calendar.book(1, project="3010000.02")
    config = configure({"broker.port": broker.server_address[1]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    before = everything(folder)
    done = run("check", "-c", config)
    assert [line.split(":")[0] for line in done.out.splitlines()] == [
        "ok     configuration",
        "ok     source",
        "ok     folder",
        "ok     broker",
    ]
    assert "PRISMA sees 1, PRISMAFIT sees 0" in done.out
    assert (done.status, everything(folder)) == (0, before)


def without_one(folder: Path) -> dict[str, Dataset]:
    return dict(list(entries(folder).items())[1:])


def with_another_name(folder: Path) -> dict[str, Dataset]:
    shown = entries(folder)
    next(iter(shown.values())).PatientName = "Garbled"
    return shown


@pytest.mark.parametrize("shown", [without_one, with_another_name])
def test_a_broker_that_shows_something_else_is_6(
    shown: Any, calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    calendar.book(1)
    broker.shown = shown
    config = configure({"broker.port": broker.server_address[1]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    done = run("check", "-c", config)
    assert done.status == 6
    assert "FAILED broker: PRISMA is shown" in done.out


def test_a_broker_that_does_not_know_the_worklist_is_6(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, folder: Path
) -> None:
    folder.rename(folder.with_name("OTHER"))
    titles = {f"scanners.{at}.worklist": "OTHER" for at in range(3)}
    done = run("check", "-c", configure(titles | {"broker.port": broker.server_address[1]}))
    assert (done.status, "refuses the association: it serves no such worklist" in done.out) == (6, True)


def test_a_broker_whose_places_are_all_taken_is_6_and_said_to_be_busy(
    calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    broker.ae.maximum_associations = 1
    scanner = AE()
    scanner.add_requested_context(Verification)
    host, port = broker.server_address
    taken = scanner.associate(host, port, ae_title="WLBROKER")
    assert taken.is_established
    done = run("check", "-c", configure({"broker.port": port}))
    taken.release()
    assert done.status == 6
    assert "has no place for one more association (Local limit exceeded): ask again in some seconds" in done.out
    assert "wlmscpfs_max_associations" in done.out
    assert "serves no such worklist" not in done.out


class LateEvent(threading.Event):
    """Whoever waited for it was not given the processor at once."""

    def wait(self, timeout: float | None = None) -> bool:
        happened = super().wait(timeout)
        time.sleep(0.05)
        return happened


def test_check_hears_a_rejection_that_comes_at_once(
    calendar: Calendar, configure: Configure, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the broker, which reads no request of those for whom it has no place."""

    def reject() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(bytes([3, 0, 0, 0, 0, 4, 0, 2, 3, 2]))  # A-ASSOCIATE-RJ
            while connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=reject)
        thread.start()
        monkeypatch.setattr("pynetdicom.association.threading.Event", LateEvent)
        done = run("check", "-c", configure({"broker.port": server.getsockname()[1]}))
        thread.join()
    assert (done.status, "has no place for one more association" in done.out) == (6, True), done.out


def test_check_loses_no_answer_on_a_busy_machine(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar.book(1)
    config = configure({"broker.port": broker.server_address[1]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    monkeypatch.setattr("pynetdicom.association.threading.Event", LateEvent)
    monkeypatch.setattr("dicom_worklist.worklist.broker.TIMEOUT", 2)
    for _ in range(3):
        done = run("check", "-c", config, "--only", "broker")
        assert (done.status, "PRISMA sees 1" in done.out) == (0, True), done.out


def test_a_broker_that_can_not_be_reached_is_6_and_named(
    calendar: Calendar, configure: Configure, closed_port: int
) -> None:
    done = command("check", "-c", configure({"broker.port": closed_port}))
    assert done.returncode == 6
    assert done.stderr == ""
    *others, last = done.stdout.splitlines()
    assert [line.split()[0] for line in others] == ["ok"] * 3
    assert last.startswith(f"FAILED broker: the broker on 127.0.0.1:{closed_port}")


@pytest.mark.parametrize("what", ["configuration", "source", "folder", "broker"])
def test_check_can_be_asked_for_just_one(
    what: str, calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    done = run("check", "-c", configure({"broker.port": broker.server_address[1]}), "--only", what)
    assert (done.status, [line.split(":")[0] for line in done.out.splitlines()]) == (0, [f"ok     {what}"])


def test_check_goes_on_after_a_failure_and_exits_with_the_first(
    configure: Configure, closed_port: int, tmp_path: Path, run: Any
) -> None:
    changes = mysql(closed_port, tmp_path / "password") | {
        "broker.port": closed_port,
        "worklist.root": str(tmp_path / "absent"),
    }
    done = run("check", "-c", configure(changes))
    assert done.status == 4
    assert [line.split(":")[0] for line in done.out.splitlines()][:3] == [
        "ok     configuration",
        "FAILED source",
        "FAILED folder",
    ]
    assert "geheim" not in done.out + done.err


# --- what is never printed ---


def hostile(calendar: Calendar) -> None:
    calendar.add_project("3010000.02", "\x1b[31mred\x1b]0;title\x07\x9b31m\r\nrejected booking 99: faked")
    calendar.add_user("esc", "\x1b[2J", "\x1b[31mred")
    calendar.book(1, project="3010000.02", user="esc")
    calendar.book("\x1b[31m2")
    calendar.book("3\nrejected booking 99: faked")
    calendar.book("4", "\x1b[31m-1")
    calendar.book("5", project="\x1b[31m")
    calendar.book("6", "7-1", time="\x1b[31m")
    calendar.book("7", lab="PRISMA \x1b[31m PRISMAFIT")
    calendar.add_lab("PRISMA \x1b[31m PRISMAFIT")
    calendar.book("\u202e8", project="3010000.02")  # turns the rest of its line around


@pytest.mark.parametrize("arguments", [("sync",), ("sync", "--json"), ("sync", "--dry-run")])
def test_no_text_of_the_calendar_reaches_the_terminal_as_a_control_code(
    arguments: tuple[str, ...], calendar: Calendar, configure: Configure
) -> None:
    hostile(calendar)
    done = command(*arguments, "-c", configure(), "--day", DAY.isoformat())
    assert done.returncode == 3
    assert CONTROL.findall(done.stdout + done.stderr) == []
    assert all(map(str.isprintable, done.stdout.splitlines()))
    assert not [line for line in done.stdout.splitlines() if line.startswith("rejected booking 99")]


def test_list_and_check_print_no_control_code(calendar: Calendar, configure: Configure, folder: Path) -> None:
    calendar.book(1)
    config = configure()
    command("sync", "-c", config, "--day", DAY.isoformat())
    foreign = (
        (folder / "booking-1-PRISMA.wl")
        .read_bytes()
        .replace(b"Language and the brain", b"\x1b[31m and the\x9b brai\r\n")
    )
    (folder / "foreign.wl").write_bytes(foreign)
    (folder / "broken\x1b[31m.wl").write_text("no DICOM")
    outputs = [command("list", "-c", config), command("check", "-c", config)]
    assert CONTROL.findall("".join(done.stdout + done.stderr for done in outputs)) == []


def test_a_name_that_the_terminal_can_not_show_does_not_end_the_run(
    calendar: Calendar, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    calendar.add_project("3010000.02", "日本")
    calendar.book("日", project="3010000.02")
    config = configure()
    done = command("sync", "-c", config, "--day", DAY.isoformat())
    assert (done.returncode, done.stderr) == (0, "")
    shown = command("list", "-c", config)
    assert (shown.returncode, shown.stderr) == (0, "")


def test_bad_bytes_are_rejected_or_replaced_and_printed_as_text(tmp_path: Path, configure: Configure) -> None:
    line = b"%s,P,%s,7-1,2026-11-24,09:00,SKYRA,A,L,CONFIRMED\n"
    header = b"booking_id,project_id,project_title,subject_session,start_date,start_time,lab,"
    rows = [line % (b"1", b"Z\xfcrich"), line % (b"\xfc", b"T"), line % (b"2", b"T")]
    (tmp_path / "bookings.csv").write_bytes(header + b"user_first_name,user_last_name,status\n" + b"".join(rows))
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    for arguments in (("--json", "--dry-run"), ()):
        done = command("sync", "-c", config, "--day", DAY.isoformat(), *arguments)
        assert (done.returncode, done.stderr) == (3, "")
    assert "2 published" in done.stdout
