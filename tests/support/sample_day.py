"""A day of a site in which everything is there once: what the tests of the page show."""

from datetime import UTC, date, datetime, time, timedelta

from dicom_worklist.settings import Config, Pacs, Scanner, Site, Status, Worklist
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Overview, overview
from dicom_worklist.status.records import BookingRecord, Study

DAY = date(2026, 11, 24)
YESTERDAY, TOMORROW = DAY - timedelta(days=1), DAY + timedelta(days=1)
#: 14:20 at the site.
NOW = datetime(2026, 11, 24, 13, 20, 5, tzinfo=UTC)
HOSTILE = "<script>alert('1')</script><img src=x onerror=\"alert(2)\">\u202e{{ 7*7 }} javascript:alert(3) \x1b[2J&amp;"
#: How the page says it: as it is, but for what no screen should get.
HARMLESS = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")


def config(*, pacs: bool = True) -> Config:
    """Return the configuration of the site."""
    return Config(
        site=Site(name="DCCN", timezone="Europe/Amsterdam"),
        source=None,
        scanners=tuple(Scanner(ae_title=title, lab=title) for title in ("PRISMA", "PRISMAFIT", "SKYRA")),
        worklist=Worklist(root="/nowhere"),
        pacs=Pacs(url="http://127.0.0.1:8042", user="reader", password_file="/nowhere") if pacs else None,
        status=Status(state="/nowhere"),
    )


def booked(
    number: int, clock: str, ae_title: str = "PRISMA", *, day: date = DAY, title: str = "Language and the brain",
    by: str = "Lovelace^Ada", on_console: bool = True,
) -> BookingRecord:  # fmt: skip
    """Return a booking; `number` is also its subject's."""
    patient_id = f"3010000.01_sub-{number:03}"
    return BookingRecord(
        booking_id=str(41000 + number), day=day, ae_title=ae_title,
        start=datetime.combine(day, time.fromisoformat(clock)),
        patient_id=patient_id, patient_name=f"{patient_id}_ses-01", study_instance_uid=f"2.25.{number}",
        accession_number=str(41000 + number), step_id="ses-mri01", project=title, booked_by=by, on_console=on_console,
    )  # fmt: skip


def study(
    number: int, of: BookingRecord, *, late: int = 4, ae_title: str = "", patient_id: str = "", series: int = 6,
    instances: int = 1184, stable: bool = True,
) -> Study:  # fmt: skip
    """Return a study of a booking, begun `late` minutes after its time."""
    assert of.start
    return Study(
        orthanc_id=f"4f9c1d2e-{number:08}", study_instance_uid=of.study_instance_uid,
        patient_id=patient_id or of.patient_id, patient_name=of.patient_name, accession_number=of.accession_number,
        ae_titles=(ae_title or of.ae_title,), start=of.start + timedelta(minutes=late), description="Head",
        series=series, instances=instances, stable=stable, updated=NOW,
    )  # fmt: skip


def found() -> Findings:
    """Return a busy day: every state and every oddity, and something hostile."""
    memory, motor = "Memory consolidation during sleep in healthy older adults", "Motor learning"
    first, edited, twice = booked(1, "08:00"), booked(2, "09:00"), booked(3, "10:30", title=memory)
    elsewhere, running = booked(11, "09:15", "PRISMAFIT", title=motor, by="Hopper^Grace"), booked(5, "14:00")
    quick = [
        booked(number, clock, "SKYRA", title=motor) for number, clock in ((20, "11:00"), (21, "11:15"), (22, "11:45"))
    ]
    hostile = BookingRecord(
        booking_id=HOSTILE, day=DAY, ae_title="SKYRA", start=datetime.combine(DAY, time(16)), patient_id=HOSTILE,
        patient_name=HOSTILE, study_instance_uid="2.25.99", project=HOSTILE, booked_by=HOSTILE, on_console=True,
    )  # fmt: skip
    bookings = [
        first, edited, twice, booked(4, "12:00"), running, booked(6, "15:30", title=memory),
        booked(7, "17:00", by="Noether^Emmy"), elsewhere, booked(12, "13:00", "PRISMAFIT", title=motor),
        booked(13, "15:00", "PRISMAFIT", title=motor, by="Hopper^Grace"), *quick, hostile,
        BookingRecord(booking_id="41030", day=DAY, ae_title="PRISMAFIT",
               reason="subject_session '7-x' has the session 'x': "
               "write a number from 0 to 99 after the last dash"),
        BookingRecord(booking_id="41031", day=DAY, reason="lab 'PRISMA or SKYRA' matches two scanners: PRISMA, SKYRA"),
    ]  # fmt: skip
    before = [
        booked(number, clock, title, day=YESTERDAY, on_console=False)
        for number, clock, title in ((51, "09:00", "PRISMA"), (52, "11:00", "PRISMA"), (53, "10:00", "SKYRA"))
    ]
    after = [
        booked(number, clock, title, day=TOMORROW, on_console=False)
        for number, clock, title in ((61, "08:30", "PRISMA"), (62, "10:00", "PRISMA"), (63, "09:00", "PRISMAFIT"))
    ]
    studies = [
        study(1, first), study(2, edited, patient_id="3010000.01_sub-02"), study(3, twice),
        study(4, twice, late=31, series=2, instances=64), study(5, running, series=3, instances=411, stable=False),
        study(6, elsewhere, ae_title="SKYRA"), study(7, quick[0], series=1, instances=1), study(8, hostile),
        study(9, before[0]), study(10, before[1]),
        Study(orthanc_id="0badcafe-1", study_instance_uid="1.2.3", patient_id="phantom", patient_name="Phantom^QA",
              start=datetime.combine(DAY, time(7, 30)), ae_titles=("PRISMA",), description="QA", series=2, instances=9),
        Study(orthanc_id=HOSTILE, study_instance_uid="1.2.4", patient_id=HOSTILE, patient_name=HOSTILE,
              start=datetime.combine(DAY, time(12)), ae_titles=("SKYRA",), description=HOSTILE, series=1, instances=1),
    ]  # fmt: skip
    return Findings(
        bookings=(*bookings, *before, *after),
        studies=tuple(studies),
        good=NOW - timedelta(seconds=4),
        asked=NOW - timedelta(seconds=5),
        began=NOW - timedelta(seconds=5),
    )


def frozen(found: Findings, hours: int = 2) -> Findings:
    """Return it after some hours in which the calendar could not be read, and the PACS did not answer."""
    ago = NOW - timedelta(hours=hours, minutes=5)
    return Findings(
        bookings=found.bookings, studies=found.studies, good=ago, asked=ago, began=NOW - timedelta(seconds=5),
        failure="the booking database at db.example.org can't be reached: timed out. Look whether it runs " + HOSTILE,
        pacs_failure="http://127.0.0.1:8042 refuses the connection; look whether Orthanc runs",
    )  # fmt: skip


def calm(found: Findings) -> Findings:
    """Return what of it is without a fault: a good day's morning."""
    good = ("41001", "41006", "41007", "41005", "41013", "41051", "41061", "41062", "41063")
    return Findings(
        bookings=tuple(one for one in found.bookings if one.booking_id in good),
        studies=tuple(one for one in found.studies if one.accession_number in good),
        good=found.good, asked=found.asked, began=found.began,
    )  # fmt: skip


def rich() -> Overview:
    """Return everything that one page can show, with an outdated list."""
    return overview(config(), frozen(found()), NOW)
