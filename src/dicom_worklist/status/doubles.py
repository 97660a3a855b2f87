"""Bookings that contradict each other: pure logic."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from dicom_worklist.bookings import printable
from dicom_worklist.status import evidence, oddities
from dicom_worklist.status.records import BookingRecord


def doubles(bookings: Sequence[BookingRecord], session: timedelta) -> Iterator[str]:
    """Return a warning for each two bookings of one session, and each two at one time on one scanner.

    `session` is how long a booking lasts where the calendar has no end.
    """
    sessions: defaultdict[tuple[str, str], list[BookingRecord]] = defaultdict(list)
    together: list[list[BookingRecord]] = []
    ends = evidence.ends(bookings, session)
    for booked in sorted(bookings, key=lambda booked: (booked.ae_title, str(booked.start), booked.booking_id)):
        sessions[booked.patient_id, booked.patient_name].append(booked)
        if together and _overlaps(booked, together[-1], ends):
            together[-1].append(booked)
        else:
            together.append([booked])
    moments: defaultdict[tuple[str, datetime | None], list[BookingRecord]] = defaultdict(list)
    for booked in bookings:
        moments[booked.patient_id, booked.start].append(booked)
    for (patient, _), same in moments.items():
        if len({booked.patient_name for booked in same}) > 1:
            yield printable(f"{oddities.named(same)} have one PatientID, {patient}, at one time")
    for (_, name), same in sessions.items():
        if len(same) > 1:
            yield printable(f"{oddities.named(same)} are of one subject and session, {name}")
    for at_once in together:
        if len(at_once) > 1:
            yield printable(f"{oddities.named(at_once)} are at the same time on one scanner")


def _overlaps(booked: BookingRecord, others: Sequence[BookingRecord], ends: Mapping[BookingRecord, datetime]) -> bool:
    same = others[-1].ae_title == booked.ae_title
    return same and booked.start is not None and booked.start < max(ends[other] for other in others)
