"""The usage: what a month costs, read from a history of two years and eight scanners, and as a page."""

import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import yaml

from bench.measure import PAIRS, Row, measured
from dicom_worklist.config import load
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.records import BookingRecord, Study
from dicom_worklist.status.usage import write

ONE_DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
DAYS, SCANNERS, BOOKINGS = 730, 8, 127
LAST = date(2026, 10, 31)


def day(of: date) -> tuple[list[BookingRecord], list[Study]]:
    """Return the bookings of a day and their studies; every tenth booking has none."""
    bookings, studies = [], []
    for at in range(BOOKINGS):
        name, scanner = f"{of:%y%m%d}-{at:03}", f"SCANNER{at % SCANNERS}"
        start = datetime.combine(of, datetime.min.time()) + timedelta(hours=7, minutes=45 * (at // SCANNERS))
        patient, end = f"3010000.{at % 40:02}_sub-{name}", start + 40 * MINUTE
        came = (end - 2 * MINUTE).replace(tzinfo=UTC)
        bookings.append(
            BookingRecord(
                booking_id=name, day=of, ae_title=scanner, start=start, end=end, patient_id=patient,
                patient_name=f"{patient}_ses-01", study_instance_uid=f"2.25.{of:%y%m%d}{at:03}", accession_number=name,
                step_id="ses-mri01", project=f"Project {at % 40}", booked_by=f"Person^{at % 60}",
            )
        )  # fmt: skip
        if at % 10:
            studies.append(
                Study(
                    orthanc_id=f"{of:%y%m%d}{at:08}", study_instance_uid=f"2.25.{of:%y%m%d}{at:03}", patient_id=patient,
                    patient_name=f"{patient}_ses-01", accession_number=name, ae_titles=(scanner,), start=start + MINUTE,
                    last_series=start + 30 * MINUTE, series=9, instances=1200, updated=came, seen=came,
                )
            )  # fmt: skip
    return bookings, studies


def site(folder: Path) -> Path:
    """Write the history of two years and a configuration beside it, and return that."""
    path = folder / "status.history.sqlite"
    for number in range(DAYS):
        of = LAST - number * ONE_DAY
        evening = datetime.combine(of, datetime.max.time(), UTC)
        bookings, studies = day(of)
        before = [BookingRecord(booking_id=one.booking_id, day=of, patient_id="3") for one in bookings[:5]]
        history.record(path, evening - timedelta(hours=1), News(before), 2 * DAYS)
        history.record(path, evening, News(bookings, studies, asked=(of - ONE_DAY, of)), 2 * DAYS)
    config = folder / "usage.yml"
    settings = {
        "site": {"name": "Bench", "timezone": "UTC"},
        "source": {"type": "csv", "path": str(folder / "none.csv")},
        "scanners": [{"ae_title": f"SCANNER{at}", "lab": f"SCANNER{at}"} for at in range(SCANNERS)],
        "worklist": {"root": str(folder / "wlbroker")},
        "status": {"state": str(folder / "status.json"), "page": str(folder / "page"), "history_days": 2 * DAYS},
    }
    config.write_text(yaml.safe_dump(settings))
    (folder / "page").mkdir()
    return config


def rows(folder: Path) -> Iterator[Row]:
    config = site(folder)
    line: list[str | Path] = [sys.executable, "-m", "dicom_worklist", "usage", "-c", config, "--by", "project", "--csv"]
    of = f"of {DAYS} days of {SCANNERS} scanners, {DAYS * BOOKINGS:,} bookings"
    for what, first in (("a month", LAST.replace(day=1)), ("all", LAST - (DAYS - 1) * ONE_DAY)):
        runs = [
            measured([*line, "--from", str(first), "--to", str(LAST)]) for _ in range(PAIRS if what != "all" else 1)
        ]
        taken = statistics.median(run.processor for run in runs)
        yield Row(f"usage: {what} {of}", "", f"{taken:.2f} s of one processor, {runs[0].memory:.0f} MiB")
    yield from _pages(config, of)


def _pages(file: Path, of: str) -> Iterator[Row]:
    """Make the sums and the pages of all days, as the runs of some hours would."""
    config, folder = load(file), file.parent / "page"
    assert config.status is not None
    now = datetime.combine(LAST + ONE_DAY, datetime.min.time(), UTC) + timedelta(hours=8)
    taken: dict[str, list[float]] = {
        "the sums of four days": [],
        "two months": [],
        "two weeks or days": [],
        "nothing": [],
    }
    before: set[Path] = set()
    while len(taken["nothing"]) < PAIRS:
        began = time.process_time()
        write.update(config, config.status, now)
        seconds, there = time.process_time() - began, {*folder.rglob("*.html")}
        months = any(len(path.stem) == len("2026-10") for path in there - before)
        days = len(taken[kinds[0]]) < -(-DAYS // write.DAYS)
        kind = kinds[0] if days else kinds[1] if months else kinds[2]
        taken[kind if days or there != before else "nothing"].append(seconds)
        before = there
    for kind, some in taken.items():
        what = f"what the pages of usage add to a run that makes {kind}, {of}"
        yield Row(what, "median, longest", f"{statistics.median(some):.3f} s, {max(some):.3f} s of one processor")
