"""What there is to see: how long bookings and studies take to be matched, beside the queries themselves."""

import statistics
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from bench.measure import PAIRS, Row
from dicom_worklist.settings import Config, Pacs, Scanner, Site, Status, Worklist
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import overview
from dicom_worklist.status.records import BookingRecord, Study

COUNT = 2_000
SCANNERS = ("PRISMA", "SKYRA")
DAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CONFIG = Config(
    site=Site(name="Bench", timezone="Europe/Amsterdam"),
    source=None,
    scanners=tuple(Scanner(ae_title=title, lab=title) for title in SCANNERS),
    worklist=Worklist(root="/nowhere"),
    pacs=Pacs(url="http://127.0.0.1:8042", user="reader", password_file="/nowhere/password"),
    status=Status(state="/nowhere/status.json"),
)


def found() -> Findings:
    """Return a day's bookings on two scanners, a minute apart, each with a study."""
    bookings, studies = [], []
    for number in range(COUNT):
        start = datetime.combine(DAY, datetime.min.time()) + timedelta(minutes=number // len(SCANNERS))
        title, patient, step = (
            SCANNERS[number % len(SCANNERS)],
            f"3010000.01_sub-{number:04}",
            f"ses-mri{number % 5:02}",
        )
        bookings.append(
            BookingRecord(
                booking_id=f"{number}",
                day=DAY,
                ae_title=title,
                start=start,
                patient_id=patient,
                study_instance_uid=f"2.25.{number}",
                accession_number=f"{number}",
                step_id=step,
            )
        )
        studies.append(
            Study(
                orthanc_id=f"{number}",
                study_instance_uid=f"2.25.{number}" if number % 2 else f"1.2.{number}",
                patient_id=patient,
                step_ids=(step,),
                ae_titles=(title,),
                start=start,
            )
        )
    return Findings(bookings=tuple(bookings), studies=tuple(studies), good=NOW, asked=NOW, began=NOW)


def rows() -> Iterator[Row]:
    given, taken = found(), []
    for _ in range(PAIRS):
        began = time.perf_counter()
        seen = overview(CONFIG, given, NOW)
        taken.append(time.perf_counter() - began)
        assert seen.today.counts[State.ARRIVED] == COUNT
    what = f"match {COUNT:,} bookings and {COUNT:,} studies, half by PatientID, and say what is wrong"
    yield Row(what, "", f"{statistics.median(taken) * 1000:.0f} ms")
