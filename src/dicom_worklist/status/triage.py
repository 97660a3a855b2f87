"""Which problem harms most, and which of them are one thing to look at: pure logic."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, Protocol, TypeVar

from dicom_worklist.status.booking_status import State
from dicom_worklist.status.oddities import Kind


class Rated(Protocol):
    """A problem, as far as it matters here: how bad it is (the larger, the worse), and its kind."""

    @property
    def level(self) -> int:
        """Return how bad it is."""

    @property
    def kind(self) -> str:
        """Return which kind it is of."""


P = TypeVar("P", bound=Rated)


class Harm(IntEnum):
    """What is wrong, the worst first: all that is shown, who it is, where it was, that it is missing, the rest."""

    ALL = 0
    WHO = 1
    WHERE = 2
    MISSING = 3
    REST = 4


#: What a kind of problem is called when there is one of it, and when there are several; of one harm, the worst first.
_TITLES: dict[str, tuple[Harm, str, str]] = {
    **dict.fromkeys(("", "outdated", "console", "source", "pacs"), (Harm.ALL, "", "")),  # the list or the PACS
    Kind.SWAPPED: (Harm.WHO, "entry of another booking", "entries of other bookings"),
    Kind.OTHER_SUBJECT: (Harm.WHO, "study with another booking's subject", "studies with another booking's subject"),
    Kind.PATIENT_ID: (Harm.WHO, "study with an edited PatientID", "studies with an edited PatientID"),
    Kind.PATIENT_NAME: (Harm.WHO, "study with an edited PatientName", "studies with an edited PatientName"),
    Kind.STALE_ENTRY: (Harm.WHO, "study made with an old entry", "studies made with an old entry"),
    Kind.CHANGED: (Harm.WHO, "booking changed after its scan", "bookings changed after their scan"),
    Kind.AMBIGUOUS: (Harm.WHO, "study that fits several bookings", "studies that fit several bookings"),
    Kind.PATIENT: (Harm.WHO, "study that may be a booking's", "studies that may be a booking's"),
    Kind.CANCELLED_BEFORE: (Harm.WHO, "scan though it was cancelled", "scans though they were cancelled"),
    "double": (Harm.WHO, "contradiction between bookings", "contradictions between bookings"),
    "rejected": (Harm.WHO, "rejected booking", "rejected bookings"),
    Kind.SCANNER: (Harm.WHERE, "scan on another scanner", "scans on another scanner"),
    Kind.DAY: (Harm.WHERE, "scan on another day", "scans on another day"),
    Kind.TIME: (Harm.WHERE, "scan at another time", "scans at another time"),
    Kind.CLOCK: (Harm.WHERE, "study with a wrong date", "studies with a wrong date"),
    Kind.MOVED: (Harm.WHERE, "booking moved after its scan", "bookings moved after their scan"),
    State.MISSING: (Harm.MISSING, "booking without images", "bookings without images"),
    "emptied": (Harm.MISSING, "scanner whose bookings went", "scanners whose bookings went"),
    Kind.STUDIES: (Harm.REST, "booking with several studies", "bookings with several studies"),
    Kind.CANCELLED: (Harm.REST, "booking cancelled after its scan", "bookings cancelled after their scan"),
    "delivery": (Harm.REST, "problem of the delivery", "problems of the delivery"),
    "refused": (Harm.REST, "refusal of the PACS", "refusals of the PACS"),
    "backup": (Harm.REST, "problem of the backup", "problems of the backup"),
    "labs": (Harm.REST, "problem of the labs", "problems of the labs"),
}
_PLACES = {kind: at for at, kind in enumerate(_TITLES)}


@dataclass(frozen=True, slots=True)
class Group(Generic[P]):
    """Problems of one level and kind, in the order in which they came; `title` is empty for one that stands alone."""

    title: str
    problems: Sequence[P]

    @property
    def level(self) -> int:
        """How bad they are."""
        return self.problems[0].level

    @property
    def kind(self) -> str:
        """Which kind they are of."""
        return self.problems[0].kind


def order(problem: Rated) -> tuple[int, Harm, int]:
    """Return what sorts problems: the level, then the harm, then the kind, the worst first."""
    harm, *_ = _TITLES.get(problem.kind, (Harm.REST,))
    return -problem.level, harm, _PLACES.get(problem.kind, -1) if harm != Harm.ALL else 0


def groups(problems: Iterable[P]) -> list[Group[P]]:
    """Return the problems by level and kind, the most harmful kind first; what has no kind of its own stands alone."""
    found: dict[tuple[int, str], list[P]] = {}
    for at, problem in enumerate(sorted(problems, key=order)):
        key = (problem.level, problem.kind) if _title(problem.kind, 1) else (at, " alone")
        found.setdefault(key, []).append(problem)
    return [Group(_title(of[0].kind, len(of)), of) for of in found.values()]


def _title(kind: str, count: int) -> str:
    _, one, several = _TITLES.get(kind, (Harm.REST, "", ""))
    return one and (f"1 {one}" if count == 1 else f"{count} {several}")
