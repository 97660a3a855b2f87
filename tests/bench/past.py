"""The pages of past days, of two years, eight scanners and 127 bookings a day: what a minute's run pays for them."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from bench import history as days
from bench.measure import PAIRS, Row, measured
from bench.sync import configuration
from dicom_worklist.config import load
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.past import write as past
from dicom_worklist.status.past.find import find
from support import live
from support.timed_site import Pacs

DAYS, BOOKINGS = 730, 127
WHAT = f"{DAYS} days of 8 scanners with {BOOKINGS} bookings each"


def rows(root: Path) -> Iterator[Row]:
    folder = root / "past"
    (folder / "page").mkdir(parents=True)
    state = folder / "status.json"
    for number in range(DAYS, 0, -1):
        evening = datetime.combine(days.LAST - timedelta(days=number), datetime.max.time(), UTC)
        history.record(history.path_beside(str(state)), evening, News(*days.day(number, BOOKINGS)), DAYS + 9)
    pacs = Pacs()
    try:
        yield from _runs(folder, state, pacs)
    finally:
        pacs.close()
    config = load(folder / "config.yml")
    assert config.status
    began = time.perf_counter()
    found = find(config, config.status, "sub-365-01", (days.LAST - timedelta(days=DAYS), days.LAST), _now())
    assert len(found) == 10
    yield Row(f"dicom-worklist find, in {WHAT}", "", f"{time.perf_counter() - began:.2f} s")


def _now(minute: int = 0) -> datetime:
    return datetime.combine(days.LAST, datetime.min.time(), UTC) + timedelta(hours=9, minutes=minute)


def _runs(folder: Path, state: Path, pacs: Pacs) -> Iterator[Row]:
    config = configuration(folder, BOOKINGS)
    (folder / "password").write_text("secret\n")
    sections: dict[str, dict[str, object]] = {
        "status": {"state": str(state), "history_days": DAYS + 9},
        "pacs": {
            "url": f"http://127.0.0.1:{pacs.port}",
            "user": "reader",
            "password_file": str(folder / "password"),
        },
    }
    yesterday, _ = days.day(1, BOOKINGS)
    for booked in yesterday:
        assert booked.start
        tags: dict[str, str | None] = {"StudyInstanceUID": booked.study_instance_uid, "PatientID": booked.patient_id}
        for series in range(9):
            name = f"{booked.booking_id}-{series}"
            pacs.store(f"{1:08}-{int(booked.booking_id[-3:]):08}", booked.start.replace(tzinfo=UTC), name, tags)

    def run(minute: int) -> float:
        line: list[str | Path] = [live.BIN / "dicom-worklist", "sync", "--config", config, "--day", str(days.LAST)]
        return measured([*line, "--now", _now(minute).isoformat()]).processor

    def write(**status: object) -> None:
        settings = yaml.safe_load(config.read_text()) | sections
        settings["status"] = {**sections["status"], **status}
        config.write_text(yaml.safe_dump(settings))

    write()
    run(0)  # publishes
    without = statistics.median(run(minute) for minute in range(1, PAIRS + 1))
    yield Row(f"a run without a page, {WHAT}", "", f"{without:.2f} s of one processor")
    write(page=str(folder / "page"))
    read = load(config)
    assert read.status
    minute = 100
    while (left := DAYS - len([*(folder / "page").glob("past/*-*.html")])) > PAIRS * past.MOST:
        past.update(read, read.status, _now(minute))
    making = list[float]()
    for _ in range(-(-left // past.MOST)):
        making.append(run(minute))
        minute += 1
    what = f"a run that makes {past.MOST} pages of past days, after an update"
    yield Row(what, "", f"{statistics.median(making):.2f} s of one processor, at most {max(making):.2f} s")
    then = statistics.median(run(minute + at) for at in range(PAIRS))
    index = (folder / "page/past/index.html").stat().st_size / 2**20
    yield Row(f"a run that makes none of them, index.html of {index:.1f} MiB", "", f"{then:.2f} s of one processor")
