"""The demo's day: bookings around now, and scanners that scan them. Root runs it on the demo's host, after site.yml.

The centre never closes: its timetable repeats every six hours. Each run books what begins between five hours ago and
four hours from now, unless it is booked already. Then each scanner asks the worklist, and stores the series that it has
made until now with the identity of the entry. A series that the PACS has is not stored again.
"""

import math
import os
import sqlite3
import subprocess
import sys
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

from dicom_worklist import orthanc
from dicom_worklist.config import load
from dicom_worklist.errors import WorklistError
from dicom_worklist.settings import Config, Pacs
from dicom_worklist.worklist import broker

CONFIG = "/etc/dicom-worklist/config.yml"
DATABASE = "/var/lib/dicom-worklist/bookings.sqlite"
COMMAND = ("runuser", "-u", "dicom-worklist", "--", "dicom-worklist")
ORTHANC = ("127.0.0.1", 4042)
BEHIND, AHEAD = timedelta(hours=5), timedelta(hours=4)
PERIOD, SESSION = timedelta(hours=6), timedelta(hours=1)


class Images(Enum):
    """What becomes of the images of a booking."""

    SENT = auto()
    NEVER_SENT = auto()
    #: Sent, with a PatientID that somebody typed.
    TYPED = auto()


class Slot(NamedTuple):
    """A booking of the timetable: minutes after a period's begin, the lab's id, and what the calendar says of it.

    `{}` in `subject` is a number that no other booking of these days has.
    """

    minutes: int
    lab: int
    project: str
    user: str
    subject: str
    status: str = "CONFIRMED"
    images: Images = Images.SENT


#: PRISMA (1) and Prismafit (2) take turns, so that one of them always scans. SKYRA (3) has what goes wrong.
TIMETABLE = (
    Slot(0, 1, "3010000.01", "annjan", "{}-1"),
    Slot(90, 1, "3011020.09", "jurmul", "{} - 2"),
    Slot(180, 1, "3014030.02", "siooco", "x{}", "TENTATIVE"),
    Slot(270, 1, "3015046.04", "zofwoj", "{}-1"),
    Slot(270, 1, "3010000.01", "annjan", "{}-2", "CANCELLED"),
    Slot(45, 2, "3011020.09", "jurmul", "{}-1"),
    Slot(135, 2, "3022051.01", "marvdb", "{}-3"),
    Slot(225, 2, "3014030.02", "gstguy", "Undefined", "TENTATIVE"),
    Slot(315, 2, "3022051.01", "marvdb", "{}-1"),
    Slot(30, 3, "3015046.04", "zofwoj", "{}-2", images=Images.NEVER_SENT),
    Slot(90, 3, "3022051.01", "marvdb", "{}-1", images=Images.TYPED),
    Slot(150, 3, "3010000.01", "siooco", "{}-1-2"),  # rejected: which of them is the session?
    Slot(210, 3, "3010000.01", "annjan", "{}-2", images=Images.NEVER_SENT),
    Slot(270, 3, "3011020.09", "jurmul", "{}-1", images=Images.TYPED),
    Slot(60, 4, "3011020.09", "jurmul", "{}-1"),
    Slot(240, 5, "3014030.02", "siooco", "Cancellation"),
)
#: Minutes after the booked time, SeriesDescription and number of images.
SERIES = ((2, "localizer", 3), (6, "T1w MPRAGE", 6), (20, "task-rest bold", 4))
#: What a scanner takes over from the entry.
COPIED = (
    "SpecificCharacterSet",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
SIZE = 96


def bookings(now: datetime, zone: ZoneInfo) -> Iterator[tuple[object, ...]]:
    """Return the rows of `calendar_items_new` for the hours around `now` (aware); dates and times are the zone's."""
    epoch = datetime.fromtimestamp(0, UTC)
    for period in range((now - BEHIND - epoch) // PERIOD, (now + AHEAD - epoch) // PERIOD + 1):
        for number, slot in enumerate(TIMETABLE):
            start = epoch + period * PERIOD + timedelta(minutes=slot.minutes)
            if now - BEHIND <= start <= now + AHEAD:
                here, subject = start.astimezone(zone), (period * len(TIMETABLE) + number) % 900 + 1
                yield (
                    period * 100 + number, slot.project, slot.lab, slot.user, slot.subject.format(subject),
                    f"{here:%Y-%m-%d}", f"{here:%H:%M:%S}", slot.status,
                )  # fmt: skip


def made(entry: Dataset, now: datetime, zone: ZoneInfo) -> Iterator[list[Dataset]]:
    """Return each series that the scanner has made for a worklist entry until `now` (aware) and sends."""
    number = str(entry.AccessionNumber)
    slot = int(number) % 100 if number.isdecimal() else 0
    images = TIMETABLE[slot].images if slot < len(TIMETABLE) else Images.SENT
    if images is Images.NEVER_SENT:
        return
    start = _start(entry.ScheduledProcedureStepSequence[0], now, zone)
    times = [(start + timedelta(minutes=minutes)).astimezone(zone) for minutes, _, _ in SERIES]
    for order, (at, (_, description, count)) in enumerate(zip(times, SERIES, strict=True), 1):
        if at <= now:
            series = _series(entry, times[0], at)
            if images is Images.TYPED:
                series.PatientID = series.PatientID.replace("_sub-", "sub")
            series.SeriesNumber, series.SeriesInstanceUID = order, f"{series.StudyInstanceUID}.{order}"
            series.SeriesDescription = series.ProtocolName = description
            yield [_image(series, image) for image in range(1, count + 1)]


def is_over(entry: Dataset, now: datetime, zone: ZoneInfo) -> bool:
    """Return whether the session of an entry has ended."""
    return _start(entry.ScheduledProcedureStepSequence[0], now, zone) + SESSION <= now


def _start(step: Dataset, now: datetime, zone: ZoneInfo) -> datetime:
    """Return when a step begins, in UTC; of an hour that comes twice the second, if it is that late already."""
    text = f"{step.ScheduledProcedureStepStartDate}{step.ScheduledProcedureStepStartTime}"
    here = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=zone)
    first, second = (here.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return second if second <= now else first


def _series(entry: Dataset, begun: datetime, at: datetime) -> Dataset:
    """Return what all images of a series say; `begun` is when its study began, `at` when it did."""
    series, step, request = Dataset(), entry.ScheduledProcedureStepSequence[0], Dataset()
    for keyword in COPIED:
        if keyword in entry:
            series[keyword] = entry[keyword]
    request.RequestedProcedureID = entry.RequestedProcedureID
    request.ScheduledProcedureStepID = step.ScheduledProcedureStepID
    series.RequestAttributesSequence = Sequence([request])
    series.StudyID, series.StudyDescription = step.ScheduledProcedureStepID, entry.RequestedProcedureDescription
    series.Modality, series.StationName = step.Modality, step.ScheduledStationName
    series.Manufacturer = "dicom-worklist demo"
    series.StudyDate, series.StudyTime = f"{begun:%Y%m%d}", f"{begun:%H%M%S}"
    series.SeriesDate = series.AcquisitionDate = series.ContentDate = f"{at:%Y%m%d}"
    series.SeriesTime = series.AcquisitionTime = series.ContentTime = f"{at:%H%M%S}"
    series.FrameOfReferenceUID = f"{series.StudyInstanceUID}.0"
    return series


def _image(series: Dataset, number: int) -> Dataset:
    """Return an MR image (PS3.3 A.4) of a series."""
    image = Dataset()
    image.update(series)
    image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, f"{series.SeriesInstanceUID}.{number}"
    image.InstanceNumber, image.ImageType = number, ["ORIGINAL", "PRIMARY", "M"]
    image.ScanningSequence, image.SequenceVariant = "GR", "NONE"
    image.PixelSpacing, image.SliceThickness = [2, 2], 5
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
    image.Rows = image.Columns = SIZE
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
    image.WindowCenter, image.WindowWidth = 500, 1000
    image.PixelData = _pixels(number)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


@cache
def _pixels(number: int) -> bytes:
    """Return what may be a slice of a head."""
    pixels = array("H")
    for row in range(SIZE):
        for column in range(SIZE):
            across, down = (column + 0.5) * 2 / SIZE - 1, (row + 0.5) * 2 / SIZE - 1
            radius = math.hypot(across / 0.68, down / 0.85) / (1 - 0.05 * number)
            folds = math.sin(9 * across * number) * math.cos(7 * down * number)
            bright = 900 if 0.9 < radius < 1 else 480 + 160 * folds if radius < 0.84 else 20
            pixels.append(int(bright))
    if sys.byteorder == "big":
        pixels.byteswap()
    return pixels.tobytes()


def book(rows: Iterable[tuple[object, ...]], database: str | Path) -> int:
    """Write the rows into the calendar, and return how many are new; those that are there stay as they are."""
    columns = "id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status"
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        before = connection.total_changes
        connection.executemany(
            f"INSERT OR IGNORE INTO calendar_items_new ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            rows,
        )
        return connection.total_changes - before


def stored(server: Pacs, now: datetime) -> dict[str, bool]:
    """Return the SeriesInstanceUIDs that the PACS has of these days, and whether it takes each for complete."""
    first, last = now - timedelta(days=1), now + timedelta(days=1)
    question = {
        "Level": "Series",
        "Query": {"StudyDate": f"{first:%Y%m%d}-{last:%Y%m%d}"},
        "ResponseContent": ["MainDicomTags", "IsStable"],
    }
    answer = orthanc.ask(server, "/tools/find", question)
    return {one["MainDicomTags"]["SeriesInstanceUID"]: one["IsStable"] for one in answer}


def scan(config: Config, server: Pacs, now: datetime) -> None:
    """Let each scanner ask the worklist, and store what it has made and the PACS has not.

    Sessions that are over come first: they have arrived when the PACS takes them for complete (StableAge).
    """
    zone, there = ZoneInfo(config.site.timezone), stored(server, now)
    shown = {scanner.ae_title: broker.find(config.broker, scanner) for scanner in config.scanners}
    for over, which in ((True, "that are over"), (False, "that go on")):
        new = 0
        for ae_title, entries in shown.items():
            made_now = [
                images for entry in entries if is_over(entry, now, zone) is over for images in made(entry, now, zone)
            ]
            series = [images for images in made_now if images[0].SeriesInstanceUID not in there]
            if series:
                images = sum(map(len, series))
                print(f"{ae_title} sees {len(entries)} entries, and stores {images} images of sessions {which}.")
                store(ae_title, series)
                new += images
        deadline = time.monotonic() + 20
        while over and new and not all(stored(server, now).values()) and time.monotonic() < deadline:
            time.sleep(0.2)


def store(ae_title: str, series: Iterable[Iterable[Dataset]]) -> None:
    """Store images in Orthanc as the scanner of this AE title."""
    ae = AE(ae_title)
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate(*ORTHANC, ae_title="ORTHANC")
    if not association.is_established:
        sys.exit(f"day.py: Orthanc refuses {ae_title}: see docker logs orthanc")
    broker.keep_answers(association)
    for image in chain.from_iterable(series):
        if association.send_c_store(image).get("Status") != 0:
            sys.exit(f"day.py: Orthanc does not store an image of {ae_title}: see docker logs orthanc")
    association.release()


def publish() -> None:
    """Run the sync now, as cron does each minute; a rejected booking is part of the day."""
    done = subprocess.run([*COMMAND, "sync"], capture_output=True, text=True, check=False)
    if done.returncode not in {0, 3}:
        sys.exit(done.stdout + done.stderr)


def main(now: datetime) -> None:
    """Make the day around `now` (aware), and show it."""
    config = load(CONFIG)
    if config.pacs is None:
        sys.exit(f"{CONFIG} names no PACS: run playbooks/site.yml with the inventory demo")
    rows = list(bookings(now, ZoneInfo(config.site.timezone)))
    print(f"\nThe calendar has {len(rows)} bookings around now, {book(rows, DATABASE)} of them new.")
    publish()
    scan(config, config.pacs, now)
    publish()
    print("\nWhat the scanners see (dicom-worklist list):", flush=True)
    subprocess.run([*COMMAND, "list"], check=True)
    print("\nWhat was booked, scanned and stored (dicom-worklist status):", flush=True)
    subprocess.run([*COMMAND, "status"], check=True)
    sudo = "sudo " if "SUDO_USER" in os.environ else ""
    print(NEXT.format(pacs=config.pacs.url, booking=_last(rows), sudo=sudo))


def _last(rows: Iterable[tuple[object, ...]]) -> object:
    """Return the id of PRISMA's last booking."""
    return max((row[5], row[6], row[0]) for row in rows if row[2] == 1 and row[7] != "CANCELLED")[2]


NEXT = """
In a browser on this machine (log in as admin; the password: {sudo}cat /etc/orthanc-pacs/admin.password)
    the day     {pacs}/worklist/index.html
    Orthanc     {pacs}/

Ask as a scanner does (apt install dcmtk):
    findscu -W -aec WLBROKER -k "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=PRISMA" \\
        -k PatientName -k PatientID -k RequestedProcedureDescription localhost 1234

Change a booking. From the next minute, the scanners, the page and "{sudo}dicom-worklist list" have it:
    {sudo}sqlite3 /var/lib/dicom-worklist/bookings.sqlite \\
        "UPDATE calendar_items_new SET subj_ses = '42-3' WHERE id = {booking}"

Somebody typed a PatientID at SKYRA. The remark in the page says which command puts it right.

Another "make demo" goes on with the day; "make down" takes all of it away.
"""


if __name__ == "__main__":
    try:
        main(datetime.now(UTC))
    except WorklistError as error:
        sys.exit(f"day.py: {error}")
