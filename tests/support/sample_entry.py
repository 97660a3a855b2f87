"""A booking, its scanner and its site, and the entry that is made of them."""

from datetime import date, datetime

import msgspec
from pydicom.dataset import Dataset

from dicom_worklist.bookings.booking import Booking
from dicom_worklist.settings import Scanner, Site
from dicom_worklist.status.records import BookingRecord
from dicom_worklist.worklist.dataset import encode
from dicom_worklist.worklist.entry import describe
from dicom_worklist.worklist.templates import Attributes
from support.worklist_folder import read_dicom

SITE = Site(name="DCCN", timezone="Europe/Amsterdam")
SCANNER = Scanner(ae_title="PRISMA", lab="PRISMA", station_name="MR1", location="Trigon", modality="MR")
BOOKING = Booking(
    booking_id="4711",
    project_id="3010000.01",
    project_title="Language and the brain",
    subject="007",
    session=2,
    start=datetime(2026, 11, 24, 9, 5, 7),  # noqa: DTZ001 - a booking's start is naive
    lab="Siemens PRISMA 3T",
    user_first_name="Ada",
    user_last_name="Lovelace",
    status="CONFIRMED",
)
#: Another booking, as a run records it.
BOOKED = BookingRecord(
    booking_id="41", day=date(2026, 11, 24), ae_title="PRISMA", patient_id="sub-007", patient_name="sub-007_ses-02",
    accession_number="41", step_id="ses-mri02", project="Language",
)  # fmt: skip


def entry_of(
    booking: Booking = BOOKING,
    scanner: Scanner = SCANNER,
    site: Site = SITE,
    attributes: Attributes | None = None,
) -> Dataset:
    """Return the entry as a scanner reads it."""
    return read_dicom(encode(describe(booking, scanner, site, attributes or {})[0]))


def bytes_of(booking: Booking = BOOKING, scanner: Scanner = SCANNER, site: Site = SITE) -> bytes:
    """Return the entry's file."""
    return encode(describe(booking, scanner, site, {})[0])


def charset(name: str) -> Scanner:
    """Return the scanner with another character set."""
    return msgspec.structs.replace(SCANNER, charset=name)
