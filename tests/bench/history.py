"""The history: what a run pays for one of 400 days and eight scanners."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bench.measure import PAIRS, Row
from dicom_worklist.status import history
from dicom_worklist.status.history import News
from dicom_worklist.status.records import BookingRecord, Study

ONE_DAY = timedelta(days=1)
DAYS, SCANNERS, BOOKINGS = 400, 8, 8
LAST = date(2026, 6, 1)
#: How many of each day's bookings had another version before.
CHANGED = 3


def day(number: int, count: int = SCANNERS * BOOKINGS) -> tuple[list[BookingRecord], list[Study]]:
    """Return the bookings and the studies of a day, so many days before the last."""
    bookings, studies = [], []
    of = LAST - timedelta(days=number)
    for at in range(count):
        name = f"{number:03}-{at:03}"
        start = datetime.combine(of, datetime.min.time()) + timedelta(hours=8 + at // SCANNERS)
        patient = f"3010000.01_sub-{name}"
        bookings.append(
            BookingRecord(
                booking_id=name, day=of, ae_title=f"SCANNER{at % SCANNERS}", start=start, patient_id=patient,
                patient_name=f"{patient}_ses-01", study_instance_uid=f"2.25.{number}{at:03}", accession_number=name,
                step_id="ses-mri01", project="Language and the brain", booked_by="Lovelace^Ada",
            )
        )  # fmt: skip
        studies.append(
            Study(
                orthanc_id=f"{number:08}-{at:08}", study_instance_uid=f"2.25.{number}{at:03}", patient_id=patient,
                patient_name=f"{patient}_ses-01", accession_number=name, ae_titles=(f"SCANNER{at % SCANNERS}",),
                start=start, series=9, instances=1200, seen=datetime.combine(of, datetime.max.time(), UTC),
            )
        )  # fmt: skip
    return bookings, studies


def rows(folder: Path) -> Iterator[Row]:
    path = folder / "bench.history.sqlite"
    for number in range(DAYS, 0, -1):
        bookings, studies = day(number)
        evening = datetime.combine(LAST - timedelta(days=number), datetime.max.time(), UTC)
        before = [
            BookingRecord(booking_id=booked.booking_id, day=booked.day, patient_id="3") for booked in bookings[:CHANGED]
        ]
        history.record(path, evening - timedelta(hours=1), News(before), DAYS + 9)
        history.record(path, evening, News(bookings, studies), DAYS + 9)
    days = [day(number) for number in (1, 0, -1)]
    news = News([one for bookings, _ in days for one in bookings], [one for _, studies in days for one in studies])
    taken = []
    for minute in range(PAIRS + 1):
        began = time.process_time()
        past = history.read(path, [one.booking_id for one in news.bookings], LAST - ONE_DAY, LAST + ONE_DAY)
        history.record(path, datetime.combine(LAST, datetime.min.time(), UTC) + timedelta(minutes=minute), news, DAYS)
        taken.append(time.process_time() - began)
    assert len(past.versions) == CHANGED, "yesterday's bookings"
    size = path.stat().st_size / 2**20
    what = f"what a history of {DAYS} days of {SCANNERS} scanners ({size:.0f} MiB) adds to a run, 192 bookings in sight"
    yield Row(what, "", f"{statistics.median(taken[1:]) * 1000:.0f} ms of one processor")
