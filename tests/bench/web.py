"""Bookings over HTTP: what a run costs with a calendar of pages, and how often it asks."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from bench.measure import PAIRS, Row, measured
from bench.sync import DAY, configuration
from support import live
from support.web import Asked, Reply, as_json, serving

#: Bookings, and how many of them a page has; 50 are a day of a busy site.
SIZES = {50: 100, 10_000: 500}


def rows(root: Path) -> Iterator[Row]:
    for bookings, most in SIZES.items():
        folder = root / f"web-{bookings}"
        config = configuration(folder, 0)
        found = [_booking(number) for number in range(bookings)]

        def page(asked: Asked, found: list[dict[str, object]] = found, most: int = most) -> Reply:
            [begin] = parse_qs(urlsplit(asked.target).query).get("from", ["0"])
            end = int(begin) + most
            return as_json({"bookings": found[int(begin) : end], "next": f"?from={end}" if end < len(found) else None})

        with serving(page) as server:
            settings = yaml.safe_load(config.read_text())
            settings["source"] = {"type": "http", "url": f"{server.url}/", "records": "bookings", "next": "next"}
            config.write_text(yaml.safe_dump(settings))
            line: list[str | Path] = [live.BIN / "dicom-worklist", "sync", "--config", config, "--day", DAY]
            measured(line)  # publishes them
            server.asked.clear()
            runs = [measured(line) for _ in range(PAIRS)]
            asked = len(server.asked) // PAIRS
        seconds, processor = (
            statistics.median(run.seconds for run in runs),
            statistics.median(run.processor for run in runs),
        )
        yield Row(
            f"a run with nothing to change, {bookings:,} bookings over HTTP",
            "",
            f"{seconds:.2f} s ({processor:.2f} s of one processor), {max(run.memory for run in runs):.0f} MiB, "
            f"requests: {asked}",
        )


def _booking(number: int) -> dict[str, object]:
    return {
        "booking_id": number,
        "project": {"id": "3010000.01", "title": "Hören & sehen"},
        "project_id": "3010000.01",
        "project_title": "Hören & sehen",
        "subject_session": f"{number}-1",
        "start": f"{DAY}T{number // 60 % 24:02}:{number % 60:02}:00",
        "lab": "PRISMA",
        "user_first_name": "Ada",
        "user_last_name": "Lovelace",
        "status": "CONFIRMED",
    }
