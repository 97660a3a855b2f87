"""The script that cron runs: each line in the log has its time, and a failed run is there each time."""

import fcntl
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment

from dicom_worklist.bookings.booking import COLUMNS
from support.command import environment
from support.timed_site import Site
from support.worklist_folder import worklist_files

TEMPLATE = Path(__file__).parents[2] / "roles/worklist_sync/templates/cron-run.j2"


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(1)
    return field_site


class Cron:
    """The script that cron runs, as the role writes it; a test may put another command in the place of the sync."""

    def __init__(self, site: Site) -> None:
        self.root = site.root / "cron"
        self.bin = self.root / "current/bin"
        self.bin.mkdir(parents=True)
        self.log, self.last_run, self.script = self.root / "log", self.root / "last-run", self.root / "cron-run"
        templates = Environment(keep_trailing_newline=True, trim_blocks=True)  # as Ansible has it
        templates.filters["quote"] = shlex.quote
        variables = {
            "__worklist_sync_log": self.log,
            "__worklist_sync_config": site.file,
            "__worklist_sync_last_run": self.last_run,
            "worklist_sync_home": self.root,
            "worklist_sync_timezone": "Europe/Amsterdam",
            "worklist_sync_memory": "2048",
        }
        template = templates.from_string(TEMPLATE.read_text())
        self.script.write_text(template.render({name: str(value) for name, value in variables.items()}))
        self.is_sync(f'exec {sys.executable} -m dicom_worklist "$@" --now 2026-11-24T07:00:00+00:00')

    def is_sync(self, line: str) -> None:
        path = self.bin / "dicom-worklist"
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run(self) -> int:
        line = ["sh", str(self.script)]
        return subprocess.run(line, env=environment() | {"TZ": "UTC"}, timeout=60, check=False).returncode

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def cron(site: Site) -> Cron:
    return Cron(site)


#: A time at the site; the host's is UTC.
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0[12]:00 .+")


def test_26_cron_leaves_the_lines_of_the_run_with_their_own_time(cron: Cron) -> None:
    assert cron.run() == 0
    assert [line.split(" ", 1)[0] for line in cron.lines] == ["2026-11-24T08:00:00+01:00"] * 2
    assert MOMENT.fullmatch(cron.last_run.read_text().rstrip())
    assert cron.last_run.read_text().endswith(" exit status 0\n")


def test_26_cron_repeats_no_remark(cron: Cron, site: Site) -> None:
    site.book(2, "8-x", "10:00")
    for _ in range(3):
        assert cron.run() == 3
    assert len([line for line in cron.lines if "rejected booking 2" in line]) == 1
    assert not [line for line in cron.lines if "exit status" in line]
    assert cron.last_run.read_text().endswith(" exit status 3\n")


def test_26_cron_logs_each_failed_run_and_the_reason_once(cron: Cron, site: Site) -> None:
    site.calendar.path.unlink()
    for _ in range(3):
        assert cron.run() == 4
    assert len([line for line in cron.lines if "can't be read" in line]) == 1
    assert len([line for line in cron.lines if line.endswith(" exit status 4")]) == 3
    assert not [line for line in cron.lines if not MOMENT.fullmatch(line)]


@pytest.mark.parametrize(
    ("line", "status", "count"),
    [
        pytest.param("echo Traceback >&2; echo '  File /x & \\1' >&2; exit 1", 1, 3, id="26-crash"),
        pytest.param("exit 124", 124, 2, id="26-timeout"),
        pytest.param("kill -9 $$", 137, 2, id="26-killed"),
        pytest.param("echo '2026-11-24T08:00:00+01:00 published'; echo 2026 >&2; exit 1", 1, 3, id="26-half a run"),
        pytest.param("echo 'dicom-worklist: the configuration' >&2; exit 2", 2, 2, id="26-configuration"),
    ],
)
def test_each_line_of_a_run_that_ends_badly_has_a_time(line: str, status: int, count: int, cron: Cron) -> None:
    cron.is_sync(line)
    assert cron.run() == status
    assert len(cron.lines) == count
    assert not [line for line in cron.lines if not MOMENT.fullmatch(line)]
    assert cron.lines[-1].endswith(f" exit status {status}")


def test_a_run_that_needs_too_much_memory_ends_with_the_remedy_and_the_list_stays(cron: Cron, site: Site) -> None:
    assert cron.run() == 0
    before = worklist_files(site.folder)
    assert before
    # each value is a gigabyte, before anything can count it
    site.changes["source.query"] = "SELECT " + ", ".join(f"zeroblob(999999999) AS {name}" for name in COLUMNS)
    assert site.file.exists()
    assert cron.run() == 4
    assert "more than fits into the memory that this run may use" in cron.lines[-2]
    assert "worklist_sync_memory" in cron.lines[-2]
    assert cron.lines[-1].endswith(" exit status 4")
    assert worklist_files(site.folder) == before


def test_an_expression_that_never_ends_rejects_its_booking_alone(cron: Cron, site: Site) -> None:
    site.calendar.add_lab("a" * 40 + "!")
    site.book(2, "8-1", "10:00", lab="a" * 40 + "!")
    site.changes["scanners.2.lab"] = "^(a+)+$"
    assert site.file.exists()
    assert cron.run() == 3
    [line] = [line for line in cron.lines if "rejected booking 2" in line]
    assert "scanners[].lab or ignored_labs takes longer than 1 s on this text" in line
    assert list(worklist_files(site.folder)) == ["booking-1-PRISMA.wl"]


def test_26_a_run_that_is_skipped_has_a_time(cron: Cron, site: Site) -> None:
    with site.file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert cron.run() == 75
    [line] = cron.lines
    assert MOMENT.fullmatch(line)
    assert "skipped" in line
