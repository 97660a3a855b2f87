"""The sync: how long it takes and how much memory, and against one `dump2dcm` a booking."""

import csv
import statistics
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import yaml

from bench.measure import PAIRS, Row, measured, pairs
from dicom_worklist.bookings.booking import COLUMNS
from support import live

DAY = "2026-06-01"
#: Bookings; the stock thing is measured for those that it can do in a minute or so.
SIZES = {100: True, 1_000: True, 10_000: False, 100_000: False}


def configuration(folder: Path, bookings: int, prisma: int | None = None, worklist: str = "WLBROKER") -> Path:
    """Write a site with so many bookings in a CSV file, and return its configuration.

    The first `prisma` of them, or all, are for PRISMA, whose worklist is `worklist`; the rest are for OTHER.
    """
    for name in {"WLBROKER", worklist}:
        (folder / "wlbroker" / name).mkdir(parents=True, exist_ok=True)
        (folder / "wlbroker" / name / "lockfile").touch()
    with (folder / "bookings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(bookings):
            clock = f"{number // 60 % 24:02}:{number % 60:02}:00"
            project, who = ("3010000.01", "Hören & sehen"), ("Ada", "Lovelace", "CONFIRMED")
            lab = "PRISMA" if prisma is None or number < prisma else "OTHER"
            writer.writerow([number, *project, f"{number}-1", DAY, clock, lab, *who])
    config = folder / "config.yml"
    settings = {
        "site": {"name": "Bench", "timezone": "Europe/Amsterdam"},
        "source": {"type": "csv", "path": str(folder / "bookings.csv")},
        "scanners": [
            {"ae_title": "PRISMA", "lab": "PRISMA", "worklist": worklist},
            {"ae_title": "OTHER", "lab": "OTHER"},
        ],
        "worklist": {"root": str(folder / "wlbroker")},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def rows(root: Path) -> Iterator[Row]:
    for bookings, against_stock in SIZES.items():
        folder = root / str(bookings)
        config = configuration(folder, bookings)
        worklist = folder / "wlbroker/WLBROKER"
        line: list[str | Path] = [live.BIN / "dicom-worklist", "sync", "--config", config, "--day", DAY]

        what = f"publish {bookings:,} new bookings"
        if against_stock:
            measured(line)
            dumps = _dumps(worklist, folder / "dumps")
            ours, stock, ratio = pairs(what, partial(_publish, worklist, line), partial(_dump2dcm, dumps))
            yield Row(what, "one dump2dcm a booking", f"{ours:.2f} s", f"{stock:.2f} s", ratio)
        else:
            run = measured(line)
            yield Row(what, "", f"{run.seconds:.1f} s, {run.memory:.0f} MiB")
        runs = [measured(line) for _ in range(PAIRS)]
        seconds, memory = statistics.median(run.seconds for run in runs), max(run.memory for run in runs)
        yield Row(f"a run with nothing to change, {bookings:,} bookings", "", f"{seconds:.2f} s, {memory:.0f} MiB")


def minute() -> Row:
    """Measure the minute's run of the deployed site with nothing to do, all that cron starts: seconds of processor."""
    script = Path(live.VARIABLES["worklist_sync_home"]) / "cron-run"
    line: list[str | Path] = ["runuser", "-u", live.VARIABLES["worklist_sync_user"], "--", script]
    measured(line)  # publishes what there is for today
    processor = statistics.median(measured(line).processor for _ in range(PAIRS))
    return Row("the minute's run with nothing to do, from cron", "", f"{processor:.2f} s of one processor")


def _publish(worklist: Path, line: list[str | Path]) -> float:
    for entry in worklist.glob("*.wl"):
        entry.unlink()
    return measured(line).seconds


def _dumps(worklist: Path, dumps: Path) -> Path:
    dumps.mkdir()
    for entry in worklist.glob("*.wl"):
        dump = subprocess.run(["dcmdump", "-Un", "+L", entry], capture_output=True, check=True)
        (dumps / f"{entry.name}.dump").write_bytes(dump.stdout)
    return dumps


def _dump2dcm(dumps: Path) -> float:
    script = 'for dump in "$1"/*.dump; do dump2dcm "$dump" "${dump%.dump}"; done'
    return measured(["sh", "-c", script, "sh", dumps]).seconds
