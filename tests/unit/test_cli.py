"""The command: exit statuses, options, JSON, and that it prints no control code."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist import __version__, cli
from support.calendar import DAY, SKYRA, Calendar
from support.command import CONTROL, command
from support.configuration import Configure, mysql
from support.worklist_folder import everything, locked_by_another_process, worklist_files

SYNC_KEYS = {"day", "published", "updated", "removed", "unchanged", "rejected", "warnings"}


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


def test_the_version_is_printed(run: Any) -> None:
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
    assert "would publish booking 1 on PRISMA\n" in done.out
    assert run(*arguments, "--json").json == predicted


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
def test_sync_prints_no_control_code_of_the_calendar(
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
