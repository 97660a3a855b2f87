"""How far a booking has come, and what is odd about it; plain data that `reconcile` makes and people are shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from dicom_worklist.status.oddities import Oddity, Weight
from dicom_worklist.status.records import BookingRecord, Study, Version


class State(StrEnum):
    """How far a booking has come."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in progress"
    ARRIVED = "arrived"
    ODD = "odd"
    MISSING = "missing"
    OVER = "over"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class BookingStatus:
    """A booking, how far it has come, its studies, and what is odd about them.

    It is `ODD` if images are there, or may be, and something about them is not as booked; `OVER` if its time is over
    and no PACS is asked; `CANCELLED` if it is in the calendar no more and has images. `end` is when its time is over;
    None for one that has no entry or no time. `before` is what it was before it was changed last.
    """

    booked: BookingRecord
    state: State
    studies: tuple[Study, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    end: datetime | None = None
    before: Version | None = None

    @property
    def series(self) -> int:
        """How many series arrived."""
        return sum(study.series for study in self.studies)

    @property
    def instances(self) -> int:
        """How many images arrived."""
        return sum(study.instances for study in self.studies)


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A study without a booking, and what it may be."""

    study: Study
    oddities: tuple[Oddity, ...] = ()
    #: When it came, where its StudyDate says nothing.
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """All bookings in the order of their time, and the studies without a booking."""

    lines: Sequence[BookingStatus] = ()
    unscheduled: Sequence[Unscheduled] = ()


def odd(said: Iterable[Oddity]) -> bool:
    """Return whether somebody has to look at it."""
    return any(oddity.level is Weight.WARNING for oddity in said)


def hinted(said: Iterable[Oddity]) -> bool:
    """Return whether images may be missing."""
    return any(oddity.level is Weight.HINT for oddity in said)


def arrival(studies: Iterable[Study]) -> State:
    """Return whether all images of these studies have arrived, or some may still come."""
    return State.ARRIVED if all(study.stable for study in studies) else State.IN_PROGRESS
