"""What the calendar's server says gives no orders to a terminal and adds no line to a log, on each way out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.calendar import NOW
from support.command import command, environment
from support.configuration import Configure, mysql
from support.rogue_mysql import rogue
from support.worklist_folder import worklist_files

HOSTILE = "\x1b[2J\x1b]0;x\x07\r\n2026-11-24T08:00:00+01:00 published booking 99\u202e<script>\x9b31m\u2066"
SHOWN = r"\x1b[2J\x1b]0;x\x07\r\n2026-11-24T08:00:00+01:00 published booking 99\u202e<script>\x9b31m\u2066"
AT = ("--now", NOW.isoformat())


@pytest.fixture
def site(configure: Configure, tmp_path: Path) -> Iterator[Path]:
    """A site whose booking database says something hostile."""
    with rogue(answer="error", said=HOSTILE) as server:
        status = {"status.state": str(tmp_path / "status.json"), "status.page": str(tmp_path)}
        yield configure(mysql(server.port, tmp_path / "password") | status | {"status.metrics": str(tmp_path)})


def said(*arguments: Any) -> str:
    done = command(*arguments)
    return done.stdout + done.stderr


def harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(
    "arguments",
    [("sync",), ("sync", "--log"), ("sync", "--dry-run"), ("preview",), ("check", "--only", "source")],
    ids=" ".join,
)
def test_the_command_shows_it_with_escapes_on_one_line(arguments: tuple[str, ...], site: Path) -> None:
    shown = said(*arguments, "-c", site, *AT)
    assert harmless(shown)
    assert SHOWN in shown
    assert not [line for line in shown.split("\n") if line.startswith("2026") and "published booking 99" in line[:60]]


@pytest.mark.parametrize("arguments", [("status",), ("status", "--exit-code"), ("list",)], ids=" ".join)
def test_what_was_written_down_is_shown_with_escapes(arguments: tuple[str, ...], site: Path) -> None:
    command("sync", "-c", site, *AT)
    shown = said(*arguments, "-c", site, *(() if arguments == ("list",) else AT))
    assert harmless(shown)
    assert (r"\x1b[2J" in shown) == (arguments != ("list",))


def test_json_page_and_metrics_show_it_with_escapes(site: Path, tmp_path: Path, folder: Path) -> None:
    command("sync", "-c", site, *AT)
    assert json.loads(command("status", "-c", site, "--json", *AT).stdout)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert r"\x1b[2J" in page
    assert "&lt;script&gt;" in page
    assert harmless(page)
    assert harmless((tmp_path / "dicom_worklist.prom").read_text())
    assert worklist_files(folder) == {}


def test_a_crash_can_not_write_a_line_of_its_own() -> None:
    program = (
        "import sys\nfrom dicom_worklist import checks, cli\n"
        f"def run(*given): raise ZeroDivisionError({HOSTILE!r})\n"
        "cli.load = run\ncli.main(['check'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = done.stderr.rstrip("\n").split("\n")
    assert all(line.startswith("dicom-worklist: ") for line in lines)
    assert "ZeroDivisionError: " in done.stderr
    assert harmless(done.stderr)
