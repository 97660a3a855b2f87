"""How old is what the calendar gives: in the check, on the page, in the metrics, and as a warning."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist import bookings
from dicom_worklist.config import load
from support.calendar import DAY, Calendar
from support.configuration import Configure
from support.sources import HEADER, LINE

NOW = datetime(DAY.year, DAY.month, DAY.day, 8, tzinfo=UTC)


@pytest.fixture
def config(configure: Configure, tmp_path: Path) -> Path:
    """A file that was written two hours before NOW, and may be an hour old."""
    file, places = tmp_path / "bookings.csv", {}
    file.write_text(f"{HEADER}\n{LINE}\n")
    written = (NOW - timedelta(hours=2)).timestamp()
    os.utime(file, (written, written))
    for name in ("page", "metrics"):
        (tmp_path / name).mkdir()
        places[f"status.{name}"] = str(tmp_path / name)
    state = {"status.state": str(tmp_path / "status.json"), "status.source_max_age": 60}
    return configure({"source": {"type": "csv", "path": str(file)}} | state | places)


def synced(run: Any, config: Path, at: datetime = NOW) -> dict[str, Any]:
    assert run("sync", "-c", config, "--now", at.isoformat()).status == 0
    overview: dict[str, Any] = run("status", "-c", config, "--now", at.isoformat(), "--json").json
    return overview


def test_an_old_calendar_is_a_warning_with_its_age(run: Any, config: Path) -> None:
    overview = synced(run, config)
    assert overview["made"] == f"{DAY}T07:00:00+01:00"
    [problem] = overview["problems"]
    assert problem["level"] == "WARNING"
    assert "bookings.csv gives what was made 2026-11-24 07:00, 2 hours ago" in problem["text"]
    assert "It may be 1 hour old (worklist_sync_source_max_age)" in problem["text"]


def test_one_that_is_young_enough_or_may_be_old_is_none(run: Any, config: Path, configure: Configure) -> None:
    assert synced(run, config, NOW - timedelta(hours=1))["problems"] == []
    file = load(config).source.path
    without = configure({"source": {"type": "csv", "path": file}, "status.state": str(config.with_name("other.json"))})
    overview = synced(run, without)
    assert (overview["problems"], overview["made"]) == ([], f"{DAY}T07:00:00+01:00")


def test_page_metrics_and_check_say_it(run: Any, config: Path, tmp_path: Path) -> None:
    synced(run, config)
    metrics = (tmp_path / "metrics/dicom_worklist.prom").read_text()
    [made] = re.findall("^dicom_worklist_source_made_timestamp_seconds (.*)$", metrics, re.MULTILINE)
    assert float(made) == (NOW - timedelta(hours=2)).timestamp()
    page = (tmp_path / "page/index.html").read_text()
    assert "What the calendar gave was made</dt><dd><b>" in page
    checked = run("check", "-c", config, "--only", "source", "--now", NOW.isoformat()).out
    assert checked.startswith("WARN   source: ")
    assert "what it gave was made 2026-11-24 07:00, 2 hours ago, and may be 1 hour old (status.source" in checked
    done = run("check", "-c", config, "--only", "source", "--now", (NOW - timedelta(hours=1)).isoformat())
    assert (done.status, done.out.startswith("ok     source: ")) == (0, True)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["", ""], None),
        (["nonsense", "2026-11-24T06:00:00"], datetime(2026, 11, 24, 5, tzinfo=UTC)),
        (["2026-11-24T06:00:00Z", "2026-11-24 06:30"], datetime(2026, 11, 24, 6, tzinfo=UTC)),
    ],
)
def test_a_column_says_when_the_rows_were_made(
    given: list[str], made: datetime | None, calendar: Calendar, configure: Configure
) -> None:
    select = f"SELECT {', '.join(f'1 AS {name}' for name in HEADER.split(',') if name != 'start_date')}"
    query = " UNION ALL ".join(f"{select}, '{DAY}' AS start_date, '{time}' AS made" for time in given)
    config = load(configure({"source.query": query}))
    assert bookings.rows(config, DAY, DAY).made == made
