"""A run with nothing to change, from an iCalendar file: how long it takes, and how much memory."""

import statistics
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import yaml

from bench.measure import PAIRS, Row, measured
from bench.sync import DAY, configuration
from support import live
from support.ical import calendar, event

#: Bookings in the file, and on each day; every tenth is an instance of a series of its own.
SIZES = ((50, 50), (10_000, 50), (10_000, 10_000))


def feed(bookings: int, a_day: int) -> str:
    """Return a calendar whose last day is DAY."""
    events = []
    for number in range(bookings):
        day = date.fromisoformat(DAY) - timedelta(days=number // a_day)
        clock = f"{number // 60 % 24:02}{number % 60:02}00"
        lines = (
            f"DTSTAMP:{day:%Y%m%d}T000000Z",
            f"DTSTART;TZID=Europe/Amsterdam:{day:%Y%m%d}T{clock}",
            "DURATION:PT1H",
            *(["RRULE:FREQ=WEEKLY;COUNT=10"] if number % 10 == 0 else []),
            f"SUMMARY:3010000.01 {number}-1 Hören & sehen",
            "DESCRIPTION:" + "What people write about a session.\\n" * 5,
            "LOCATION:PRISMA",
            "ORGANIZER;CN=Ada Lovelace:mailto:ada@example.org",
            "STATUS:CONFIRMED",
        )
        events.append(event(*lines, uid=f"{number}@calendar.example.org"))
    return calendar(*events)


def settings(folder: Path, bookings: int, a_day: int) -> Path:
    """Write a site with a feed, and return its configuration."""
    config = configuration(folder, 0)
    (folder / "calendar.ics").write_text(feed(bookings, a_day), encoding="utf-8", newline="")
    site = yaml.safe_load(config.read_text())
    site["source"] = {"type": "ical", "path": str(folder / "calendar.ics")}
    summary = r"(?P<project_id>\S+) +(?P<subject_session>\S+) +(?P<project_title>.*)"
    columns = {"user_first_name": "", "user_last_name": "{{ organizer }}"}
    site["booking"] = {"patterns": {"summary": summary}, "columns": columns}
    config.write_text(yaml.safe_dump(site))
    return config


def rows(root: Path, command: Path = live.BIN / "dicom-worklist") -> Iterator[Row]:
    for bookings, a_day in SIZES:
        config = settings(root / f"ical-{bookings}-{a_day}", bookings, a_day)
        line: list[str | Path] = [command, "sync", "--config", config, "--day", DAY]
        measured(line)
        runs = [measured(line) for _ in range(PAIRS)]
        processor, memory = statistics.median(run.processor for run in runs), max(run.memory for run in runs)
        what = f"a run with nothing to change, an iCalendar file of {bookings:,} bookings, {a_day:,} a day"
        yield Row(what, "", f"{processor:.2f} s of one processor, {memory:.0f} MiB")
