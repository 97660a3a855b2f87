"""What can be odd about a booking and its studies: each kind with what happened, and what to do and whom to ask.

No sentence asks anybody to cancel, to delete or to rename: a program can't know who lay in the scanner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicom_worklist.status.records import BookingRecord, Study


class Kind(StrEnum):
    """What is odd."""

    PATIENT_ID = "PatientID edited"
    PATIENT_NAME = "PatientName edited"
    OTHER_SUBJECT = "subject of another booking"
    SWAPPED = "entry of another booking"
    STALE_ENTRY = "entry from before a change"
    CHANGED = "booking changed after its scan"
    MOVED = "booking moved after its scan"
    CANCELLED = "booking cancelled after its scan"
    CANCELLED_BEFORE = "scanned though cancelled"
    SCANNER = "another scanner"
    DAY = "another day"
    TIME = "another time"
    CLOCK = "date of the study"
    STUDIES = "several studies"
    SLOTS = "one study for several slots"
    IN_ITS_TIME = "study in the time of a booking"
    AMBIGUOUS = "several bookings fit"
    ACCESSION = "AccessionNumber of a booking"
    PATIENT = "PatientID of a booking"
    SERIES = "series not whole"
    PROTOCOL = "protocol missing"


class Weight(StrEnum):
    """Whether somebody has to look at it; a hint is worth a look, a note is only for information."""

    NOTE = "note"
    HINT = "hint"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something odd: `text` says what happened, `remedy` what to do and whom to ask, each in whole sentences."""

    kind: Kind
    text: str
    remedy: str = ""
    level: Weight = Weight.WARNING


def when(booked: BookingRecord) -> str:
    """Return the day and the time of a booking, as far as they are known."""
    return f"{booked.start:%Y-%m-%d %H:%M}" if booked.start else f"{booked.day}"


def person(name: str) -> str:
    """Return a DICOM person name as people write it: `Last^First` is `First Last`."""
    return " ".join(part for part in reversed(name.split("^")) if part)


def who(booked: BookingRecord) -> str:
    """Return whom to ask about a booking."""
    return person(booked.booked_by) or "the person who booked it"


def scanned_on(study: Study, booked: BookingRecord) -> str:
    """Return the scanner that stored a study, or else the booked one."""
    return ", ".join(study.ae_titles) or booked.ae_title


def named(bookings: Sequence[BookingRecord]) -> str:
    """Return which bookings these are, three of them at most."""
    shown = [f"booking {booked.booking_id} ({booked.ae_title} {when(booked)})" for booked in bookings[:3]]
    return ", ".join(shown) + (f" and {len(bookings) - 3} more" if len(bookings) > 3 else "")


def at(moment: datetime, beside: datetime | None) -> str:
    """Return a moment, with its day unless that is the day beside it."""
    same = beside is not None and moment.date() == beside.date()
    return f"{moment:%H:%M}" if same else f"{moment:%Y-%m-%d %H:%M}"


#: What to do about a booking that is not on the console.
REJECTED = (
    "Correct it in the calendar: a minute later it is there. If the subject waits, type PatientID and PatientName."
)


def missing(booked: BookingRecord) -> str:
    """Return what to do about a booking without images."""
    return (
        f"Ask {who(booked)}, or who was at {booked.ae_title}, whether it took place. If it did, send its images "
        "from the console, and delete nothing there before they are here."
    )


def patient_id(study: Study, booked: BookingRecord) -> Oddity:
    """Return that the PatientID is not the booked one, and belongs to no other booking."""
    text = f'The PatientID was edited: "{study.patient_id}"; the booking says "{booked.patient_id}".'
    return Oddity(Kind.PATIENT_ID, text, _repair(study, booked))


def patient_name(study: Study, booked: BookingRecord) -> Oddity:
    """Return that the PatientID is right, and the PatientName is not."""
    text = f'The PatientName is "{study.patient_name}"; the booking says "{booked.patient_name}".'
    return Oddity(Kind.PATIENT_NAME, text, _repair(study, booked))


def _repair(study: Study, booked: BookingRecord) -> str:
    return (
        f"Ask who scanned on {scanned_on(study, booked)}, and {who(booked)}, which subject and session it was. If it "
        f"is the booked one: sudo dicom-worklist repair {study.orthanc_id} {booked.booking_id}"
    )


def other_subject(study: Study, booked: BookingRecord, others: Sequence[BookingRecord]) -> Oddity:
    """Return that the study was made with this booking's entry, and has another booking's subject."""
    text = (
        f'The study was made with this booking\'s entry, and its PatientID "{study.patient_id}" is that of '
        f'{named(others)}; the booking says "{booked.patient_id}".'
    )
    return Oddity(Kind.OTHER_SUBJECT, text, _subject(study, booked))


def subject_elsewhere(study: Study, booked: BookingRecord, owner: BookingRecord) -> Oddity:
    """Return that a study of another booking has this booking's subject."""
    text = f'A study that was made with the entry of {named([owner])} has this PatientID, "{booked.patient_id}".'
    return Oddity(Kind.OTHER_SUBJECT, text, _subject(study, booked))


def entry_of(study: Study, booked: BookingRecord, owner: BookingRecord) -> Oddity:
    """Return that the study has this booking's subject, and was made with another booking's entry."""
    text = (
        f"The study was made with the entry of {named([owner])}: it has that booking's StudyInstanceUID and this "
        "booking's PatientID."
    )
    return Oddity(Kind.OTHER_SUBJECT, text, _subject(study, booked))


def swapped(study: Study, owner: BookingRecord, slot: BookingRecord) -> tuple[Oddity, Oddity]:
    """Return what to say at the booking whose entry was used, and at the one in whose time that was."""
    began = at(study.start, owner.start) if study.start else ""
    scanner = scanned_on(study, owner)
    remedy = (
        f"Ask who was at {scanner} at {began} which subject lay there, before the next scan and before anybody edits a "
        f"study. {who(owner)} booked {owner.booking_id}, {who(slot)} booked {slot.booking_id}."
    )
    used = f"Its entry was used on {scanner} at {began}, in the time of {named([slot])}. Was it taken for that subject?"
    taken = f"In its time, at {began}, {scanner} made images with the entry of {named([owner])}."
    return Oddity(Kind.SWAPPED, used, remedy), Oddity(Kind.SWAPPED, f"{taken} Whose are they?", remedy)


def _subject(study: Study, booked: BookingRecord) -> str:
    return (
        f"Ask who was at {scanned_on(study, booked)} which subject it was, and {who(booked)}; then give the study to "
        f"its booking: sudo dicom-worklist repair {study.orthanc_id} BOOKING"
    )


def changed(study: Study, booked: BookingRecord, before: BookingRecord, until: datetime) -> Oddity:
    """Return that the study is as the booking was until `until` (naive, the site's time), after the scan."""
    if booked.day != before.day:
        text = f"It was scanned on {before.day}; the booking was moved to {booked.day} at {at(until, study.start)}."
        remedy = (
            f"Ask {who(booked)}. If the subject must be scanned again, make a new booking: with this entry the new "
            "images go into the old study."
        )
        return Oddity(Kind.MOVED, text, remedy)
    text = f"The booking was changed at {at(until, study.start)}, after its scan: {difference(booked, before)}."
    if booked.patient_id == before.patient_id and booked.patient_name == before.patient_name:
        return Oddity(Kind.CHANGED, text, level=Weight.NOTE)
    if booked.reason:
        return Oddity(Kind.CHANGED, text, f"Ask {who(before)} which is right, and correct the booking in the calendar.")
    remedy = (
        f"Ask {who(booked)} which is right. If it is what the calendar says now: sudo dicom-worklist repair "
        f"{study.orthanc_id} {booked.booking_id}. If not, correct the calendar and change nothing in the study."
    )
    return Oddity(Kind.CHANGED, text, remedy)


def stale_entry(study: Study, booked: BookingRecord, before: BookingRecord, until: datetime) -> Oddity:
    """Return that the console used the entry from before `until` (naive, the site's time), when it was changed."""
    text = (
        f"The console used the entry from before {at(until, study.start)}, when the booking was changed: "
        f"{difference(booked, before)}."
    )
    if booked.patient_id != before.patient_id or booked.patient_name != before.patient_name:
        return Oddity(Kind.STALE_ENTRY, text, _repair(study, booked))
    if booked.ae_title != before.ae_title:
        return Oddity(Kind.STALE_ENTRY, text, _other_scanner(booked))
    return Oddity(Kind.STALE_ENTRY, text, level=Weight.NOTE)


def difference(booked: BookingRecord, before: BookingRecord) -> str:
    """Return what a booking was before, and what it is."""
    if booked.reason:
        return f'it was "{before.patient_name}", and is rejected now'
    # a PatientName usually has the PatientID in it
    name = "patient_id" if booked.patient_name == before.patient_name else "patient_name"
    pairs = [
        (f'"{getattr(before, name)}"', f'"{getattr(booked, name)}"'),
        (f"on {before.ae_title}", f"on {booked.ae_title}"),
        (f"at {when(before)}", f"at {when(booked)}"),
    ]
    parts = [f"it was {was}, and is {is_now}" for was, is_now in pairs if was != is_now]
    return "; ".join(parts) or "its description, its end or who booked it"


def cancelled(study: Study, booked: BookingRecord, until: datetime, *, gone: bool, after: bool) -> Oddity:
    """Return that there are images of a booking that was cancelled at `until` (naive, the site's time)."""
    what = "left the calendar (deleted, or moved to another day)" if gone else "was cancelled"
    began = f" at {at(study.start, until)}" if study.start and study.timed else ""
    if after:
        text = f"It was scanned{began}, and {what} at {at(until, study.start)}."
        remedy = f"The images are here: delete nothing. Ask {who(booked)} why it was cancelled."
        return Oddity(Kind.CANCELLED, text, remedy)
    text = f"It was scanned{began}, although it {what} at {at(until, study.start)}."
    remedy = f"Ask who was at {scanned_on(study, booked)} whether it was this subject, and {who(booked)}."
    return Oddity(Kind.CANCELLED_BEFORE, text, remedy)


def scanner(study: Study, booked: BookingRecord) -> Oddity:
    """Return that it was scanned on another scanner."""
    text = f"It was scanned on {', '.join(study.ae_titles)}; the booking says {booked.ae_title}."
    return Oddity(Kind.SCANNER, text, _other_scanner(booked))


def _other_scanner(booked: BookingRecord) -> str:
    return f"If that was intended, inform {who(booked)}: the protocols may differ."


def day(study: Study, booked: BookingRecord) -> Oddity:
    """Return that it was scanned on another day, or that the console's clock was wrong."""
    text = f"It was scanned on {study.start:%Y-%m-%d}; the booking says {booked.day}."
    remedy = f"Ask who was at {scanned_on(study, booked)} whether this is so, or the console's clock is wrong."
    return Oddity(Kind.DAY, text, remedy)


def clock(study: Study, booked: BookingRecord) -> Oddity:
    """Return that the date of the study can't be right."""
    says = f"says that it is of {study.start:%Y-%m-%d}" if study.start else "has no StudyDate"
    text = f"The study has the booking's own entry, and {says}; the booking says {when(booked)}."
    remedy = f"Look at the date and the time on the console of {scanned_on(study, booked)}. The images are here."
    return Oddity(Kind.CLOCK, text, remedy)


def time(study: Study, booked: BookingRecord) -> Oddity:
    """Return that it was scanned long before or after its time."""
    text = f"It was scanned at {study.start:%H:%M}; the booking says {booked.start:%H:%M}: was another entry taken?"
    remedy = (
        f"Ask who was at {scanned_on(study, booked)} which subject it was; or is the console's clock wrong? "
        f"{who(booked)} booked it."
    )
    return Oddity(Kind.TIME, text, remedy)


def studies(count: int, booked: BookingRecord) -> Oddity:
    """Return that there are several studies."""
    text = f"There are {count} studies for this booking."
    remedy = f"Usually the scan was started twice. Inform {who(booked)}, so that no image is missed."
    return Oddity(Kind.STUDIES, text, remedy)


def slots(first: BookingRecord) -> Oddity:
    """Return that the images of this slot are those of another slot of the same session."""
    text = f"One study for several slots of one session: its images are with {named([first])}."
    return Oddity(Kind.SLOTS, text, level=Weight.NOTE)


def ambiguous(bookings: Sequence[BookingRecord]) -> Oddity:
    """Return that a study fits several bookings."""
    text = f"It could be any of {named(bookings)}: only you can know which."
    return Oddity(Kind.AMBIGUOUS, text, _give(bookings))


def accession(bookings: Sequence[BookingRecord]) -> Oddity:
    """Return that a study of no booking has the AccessionNumber of one, and nothing else of it."""
    text = f"It has only the AccessionNumber of {named(bookings)}."
    remedy = (
        "Usually this is a phantom, and there is nothing to do. If it was a subject, ask who was at the scanner. Don't "
        "repair it before you know."
    )
    return Oddity(Kind.ACCESSION, text, remedy, Weight.NOTE)


def patient(bookings: Sequence[BookingRecord]) -> Oddity:
    """Return that a study of no booking has the PatientID of one, at another place or time."""
    return Oddity(Kind.PATIENT, f"Its PatientID is that of {named(bookings)}.", _give(bookings))


def patient_by_name(bookings: Sequence[BookingRecord]) -> Oddity:
    """Return that a study of no booking has the PatientName of one, at another place or time."""
    return Oddity(Kind.PATIENT, f"Its PatientName is that of {named(bookings)}.", _give(bookings))


def candidate(study: Study, booked: BookingRecord, kind: Kind) -> Oddity:
    """Return, at a booking without images, that a study of no booking may be its own."""
    began = f" of {at(study.start, booked.start)}" if study.start else ""
    text = f'A study{began} on {scanned_on(study, booked)}, with PatientID "{study.patient_id}", may be its own.'
    remedy = (
        f"{_give([booked])} If it is: sudo dicom-worklist repair {study.orthanc_id} {booked.booking_id} shows what "
        "would change."
    )
    return Oddity(kind, text, remedy)


def _give(bookings: Sequence[BookingRecord]) -> str:
    asked = ", ".join(dict.fromkeys(who(booked) for booked in bookings[:3]))
    return f"Ask {asked}, and who was at the scanner."
