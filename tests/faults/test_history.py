"""Runs that write the history are killed at any moment: what was there stays, and the next run goes on."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist.status import findings as state
from dicom_worklist.status import history
from support.calendar import DAY, NOW, Calendar
from support.command import environment
from support.configuration import Configure
from support.tally import Tally

#: Bookings that stay as they are, and those of which each run changes every second one.
STAY, CHANGE = range(1, 41), range(101, 141)
ONE_MINUTE = timedelta(minutes=1)


def versions(path: Path) -> set[tuple[str, str, str]]:
    """Return every version that the history has: booking, since when, and its text."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {*connection.execute("SELECT booking_id, since, said FROM version")}


def current(path: Path) -> dict[str, str]:
    """Return booking → the subject that it has by the history."""
    past = history.read(path, (), DAY, DAY)
    return {booking_id: booked.patient_id for booking_id, booked in past.current.items()}


@pytest.fixture
def site(calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path) -> Callable[[int], list[str]]:
    """Return the line of the run at a minute, after half of the bookings that change have changed."""
    for number in (*STAY, *CHANGE):
        calendar.book(number, f"{number}-1", time=f"{8 + number % 12:02}:{number % 60:02}:00")
    config = configure({"status.state": str(tmp_path / "status.json")})

    def line(minute: int) -> list[str]:
        for number in CHANGE:
            if number % 2 == minute % 2:
                calendar.change(number, subj_ses=f"{1000 + minute}{number}-1")
        now = (NOW + minute * ONE_MINUTE).isoformat()
        return [sys.executable, "-m", "dicom_worklist", "sync", "-c", str(config), "--now", now, "--json"]

    return line


def run(line: list[str]) -> Any:
    return subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_the_history_is_killed_at_any_moment(
    site: Callable[[int], list[str]], often: Callable[[int, int], int], tmp_path: Path, tally: Tally
) -> None:
    path, chance = history.path_beside(str(tmp_path / "status.json")), random.Random(12)
    began = time.monotonic()
    assert run(site(0)).returncode == 0
    length = time.monotonic() - began
    before, minute = versions(path), 0
    for _ in range(often(5, 300)):
        minute += 1
        with subprocess.Popen(
            site(minute), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(chance.uniform(0.4, 1.1) * length)
            os.kill(process.pid, signal.SIGKILL)  # or it has ended: that is a moment, too
        tally.tried += 1
        after = versions(path)
        tally.lost += len(before - after)
        # all of the run's news or nothing: it changed twenty bookings
        tally.wrong += len(after - before) not in {0, len(CHANGE) // 2}
        minute += 1
        done = run(site(minute))
        tally.failed += done.returncode != 0 or "history" in done.stdout
        before = versions(path)
        published = {one.booking_id: one.patient_id for one in state.load(str(tmp_path / "status.json")).bookings}
        tally.wrong += current(path) != published
    assert tally.tried, "nothing was killed"
