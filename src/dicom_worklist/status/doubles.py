"""Bookings that contradict each other: pure logic."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from dicom_worklist.bookings import printable
from dicom_worklist.status import evidence, oddities
from dicom_worklist.status.records import BookingRecord

#: PatientID or PatientName → project and subject of each who has it → a booking of theirs.
_Holders = defaultdict[str, dict[tuple[str, str], BookingRecord]]


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


def shared_identities(people: Iterable[tuple[BookingRecord, tuple[str, str]]]) -> Iterator[str]:
    """Return a warning for each PatientID and each PatientName that two people have.

    Each booking comes with the project and the subject that it is of; the project is empty where the subject says alone
    who it is.
    """
    told: set[frozenset[tuple[str, str]]] = set()
    by_id, by_name = _Holders(dict), _Holders(dict)
    for booked, person in people:
        by_id[booked.patient_id].setdefault(person, booked)
        by_name[booked.patient_name].setdefault(person, booked)
    for keyword, identities in (("PatientID", by_id), ("PatientName", by_name)):
        for identity, holders in identities.items():
            if len(holders) == 1 or frozenset(holders) in told:
                continue
            told.add(frozenset(holders))
            whose = [
                f"{oddities.named([booked])} of {f'project {project}, ' if project else ''}subject {subject}"
                for (project, subject), booked in holders.items()
            ]
            yield printable(
                f"{' and '.join(whose)} have one {keyword}, {identity}, and seem to be different people: correct "
                f"attributes.{keyword}, or the calendar"
            )


def _overlaps(booked: BookingRecord, others: Sequence[BookingRecord], ends: Mapping[BookingRecord, datetime]) -> bool:
    same = others[-1].ae_title == booked.ae_title
    return same and booked.start is not None and booked.start < max(ends[other] for other in others)
