"""The usage: what a month costs, read from a history of two years and eight scanners, and as a page."""

import csv
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import yaml

from bench.measure import PAIRS, Row, measured
from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.config import load
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.past import write as past
from dicom_worklist.status.records import BookingRecord, Study
from dicom_worklist.status.usage import write
from support.timed_site import Pacs

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


def rows(root: Path) -> Iterator[Row]:
    folder = root / "usage"
    folder.mkdir()
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
    kinds = ("the sums of four days", "two months", "two weeks or days", "nothing")
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
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
    yield _minute(file, of)


def _minute(file: Path, of: str) -> Row:
    """Measure a whole run of the sync in the site's busiest minute: nothing to publish, three days in sight, a page."""
    folder, pacs = file.parent, Pacs()
    (folder / "wlbroker/WLBROKER").mkdir(parents=True)
    (folder / "wlbroker/WLBROKER/lockfile").touch()
    (folder / "password").write_text("secret\n")
    settings = yaml.safe_load(file.read_text())
    settings["source"] = {"type": "csv", "path": str(folder / "bookings.csv")}
    settings["booking"] = {"identity": "plain"}
    settings["pacs"] = {
        "url": f"http://127.0.0.1:{pacs.port}", "user": "reader", "password_file": str(folder / "password")
    }  # fmt: skip
    file.write_text(yaml.safe_dump(settings))
    with (folder / "bookings.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow([*COLUMNS, "end_time"])
        for number in range(3):
            bookings, studies = day(LAST + number * ONE_DAY)
            for one in bookings:
                assert one.start and one.end
                row = [
                    one.booking_id,
                    "3010000.01",
                    one.project,
                    f"{one.booking_id.replace('-', '')}-1",
                    one.day,
                    f"{one.start:%H:%M}",
                ]
                writer.writerow([*row, one.ae_title, "Ada", "Lovelace", "CONFIRMED", f"{one.end:%H:%M}"])
            for study in studies:
                assert study.start
                names = {
                    "PatientID": study.accession_number.replace("-", ""),
                    "AccessionNumber": study.accession_number,
                }
                tags = {"StudyInstanceUID": study.study_instance_uid, **names}
                pacs.store(study.orthanc_id, study.start.replace(tzinfo=UTC), study.ae_titles[0], tags)
    now = datetime.combine(LAST + ONE_DAY, datetime.min.time(), UTC) + timedelta(hours=12)
    line: list[str | Path] = [sys.executable, "-m", "dicom_worklist", "sync", "-c", file, "--now"]
    try:
        measured([*line, now.isoformat()])  # publishes
        config = load(file)
        assert config.status is not None
        for _ in range(DAYS):  # what the runs of hours before would have made
            past.update(config, config.status, now)
            write.update(config, config.status, now)
        runs = [measured([*line, (now + minute * MINUTE).isoformat()]) for minute in range(1, 1 + PAIRS)]
    finally:
        pacs.close()
    taken = f"{statistics.median(run.processor for run in runs):.2f} s of one processor"
    return Row(f"a run with nothing to do, {3 * BOOKINGS} bookings in sight, page and history {of}", "", taken)
