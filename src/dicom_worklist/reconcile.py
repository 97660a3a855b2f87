"""Bookings against the studies of the PACS: which was scanned, which arrived, what is odd. Pure logic.

A study is matched by its StudyInstanceUID; then by its AccessionNumber or ScheduledProcedureStepID; then by its
PatientID, on the booked scanner, within the booked time. What fits more than one booking is said, not guessed.
Times are naive, in the site's time zone.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise

import msgspec

#: How long before the booked time a scan may begin and still be that booking's.
EARLY = timedelta(minutes=15)
#: A scan that begins as long before the booked time may be another booking's.
TOO_EARLY = timedelta(hours=1)


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """A booking, as its worklist entry says it; without an entry `reason` says why.

    `start` is None where it can't be read; `on_console` tells whether the scanner is shown its entry; `since` is when
    a run first saw the booking as it is, in UTC.
    """

    booking_id: str
    day: date
    ae_title: str = ""
    start: datetime | None = None
    patient_id: str = ""
    patient_name: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    step_id: str = ""
    project: str = ""
    booked_by: str = ""
    reason: str = ""
    on_console: bool = False
    since: datetime | None = None


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A study in the PACS. `ae_titles` are those that stored it, `orthanc_id` is Orthanc's name for it.

    `start` is StudyDate and StudyTime; `stable` tells that no image has come for Orthanc's StableAge; `updated` is
    when the last one came, in UTC.
    """

    orthanc_id: str
    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    step_ids: tuple[str, ...] = ()
    ae_titles: tuple[str, ...] = ()
    start: datetime | None = None
    description: str = ""
    series: int = 0
    instances: int = 0
    stable: bool = True
    updated: datetime | None = None


class State(StrEnum):
    """How far a booking has come."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in progress"
    ARRIVED = "arrived"
    MISSING = "missing"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Line:
    """A booking, how far it has come, its studies, and what is odd about them, in sentences.

    `end` is when its time is over; None for one that has no entry or no time.
    """

    booked: Booked
    state: State
    studies: tuple[Study, ...] = ()
    oddities: tuple[str, ...] = ()
    end: datetime | None = None

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
    """A study of no booking; `hint` is a sentence on what it may be, or empty."""

    study: Study
    hint: str = ""

    @property
    def day(self) -> date | None:
        """The day of the study, where it has one."""
        return self.study.start.date() if self.study.start else None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """All bookings in the order of their time, and the studies of none of them."""

    lines: Sequence[Line] = ()
    unscheduled: Sequence[Unscheduled] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """When the studies were asked for, how long a session lasts at most, and after what time images are missing."""

    asked: datetime
    session: timedelta
    missing_after: timedelta


@dataclass(slots=True)
class _Index:
    """Finds bookings by what a study may say of them."""

    by: Mapping[str, Mapping[Hashable, Sequence[Booked]]]
    ends: Mapping[Booked, datetime]

    def find(self, name: str, value: Hashable) -> Sequence[Booked]:
        return self.by[name].get(value, ()) if value else ()


def reconcile(bookings: Iterable[Booked], studies: Iterable[Study] | None, times: Times) -> Reconciled:
    """Match each study to a booking, and say how far each booking has come.

    Without `studies` (None: there is no PACS to ask) nothing is missing.
    """
    ordered = sorted(bookings, key=_place)
    index = _index(ordered, times.session)
    matched: defaultdict[Booked, list[Study]] = defaultdict(list)
    unscheduled: list[Unscheduled] = []
    for study in sorted(studies or (), key=lambda study: (str(study.start or ""), study.orthanc_id)):
        found = _match(study, index)
        if isinstance(found, Booked):
            matched[found].append(study)
        else:
            unscheduled.append(Unscheduled(study, found))
    known = times if studies is not None else None
    return Reconciled([_line(booked, matched.get(booked, []), index, known) for booked in ordered], unscheduled)


def _place(booked: Booked) -> tuple[datetime, str, str]:
    return booked.start or datetime.combine(booked.day, time.min), booked.ae_title, booked.booking_id


def _index(bookings: Sequence[Booked], session: timedelta) -> _Index:
    entered = [booked for booked in bookings if not booked.reason]
    keys: dict[str, Callable[[Booked], Hashable]] = {
        "study_instance_uid": lambda booked: booked.study_instance_uid,
        "accession_number": lambda booked: booked.accession_number,
        "step_id": lambda booked: booked.step_id,
        "patient_id": lambda booked: booked.patient_id,
    }
    by: dict[str, dict[Hashable, list[Booked]]] = {}
    for name, key in keys.items():
        by[name] = {}
        for booked in entered:
            by[name].setdefault(key(booked), []).append(booked)
    return _Index(by, _ends(entered, session))


def _ends(bookings: Sequence[Booked], session: timedelta) -> dict[Booked, datetime]:
    """Return the end of each booking's time.

    The calendar has none: it is that of the longest session, or before that the beginning of its scanner's next one.
    """
    starts: defaultdict[str, set[datetime]] = defaultdict(set)
    for booked in bookings:
        if booked.start:
            starts[booked.ae_title].add(booked.start)
    following = {title: dict(pairwise([*sorted(begins), max(begins) + session])) for title, begins in starts.items()}
    return {
        booked: min(booked.start + session, following[booked.ae_title][booked.start])
        for booked in bookings
        if booked.start
    }


def _match(study: Study, index: _Index) -> Booked | str:
    """Return the one booking that this study is of, or a hint why there is none."""
    by_name = index.find("study_instance_uid", study.study_instance_uid) or index.find(
        "accession_number", study.accession_number
    )
    if by_name:
        return _only(by_name)
    # a step's id may be many bookings': by default it is the session's number. So it tells one only where the rest
    # fits, and where the study doesn't say that it is of another, one that is no longer booked
    step_ids = () if study.accession_number else {*study.step_ids}
    by_step = [booked for step_id in step_ids for booked in index.find("step_id", step_id)]
    if len(by_step) == 1 and _is_there(study, by_step[0]) and _is_then(study, by_step[0], index):
        return by_step[0]
    by_patient = index.find("patient_id", study.patient_id)
    in_time = [booked for booked in by_patient if _is_there(study, booked) and _is_then(study, booked, index)]
    if in_time:
        return _only(in_time)
    return f"Its PatientID is that of {_named(by_patient)}." if by_patient else ""


def _is_there(study: Study, booked: Booked) -> bool:
    return booked.ae_title in study.ae_titles


def _is_then(study: Study, booked: Booked, index: _Index) -> bool:
    return (
        study.start is not None
        and booked.start is not None
        and booked.start - EARLY <= study.start < index.ends[booked]
    )


def _only(found: Sequence[Booked]) -> Booked | str:
    if len(found) == 1:
        return found[0]
    return f"It could be any of {_named(found)}: nobody but you can tell which."


def _named(bookings: Sequence[Booked]) -> str:
    shown = [f"booking {booked.booking_id} ({booked.ae_title} {_when(booked)})" for booked in bookings[:3]]
    return ", ".join(shown) + (f" and {len(bookings) - 3} more" if len(bookings) > 3 else "")


def _when(booked: Booked) -> str:
    return f"{booked.start:%Y-%m-%d %H:%M}" if booked.start else f"{booked.day}"


def _line(booked: Booked, studies: Sequence[Study], index: _Index, times: Times | None) -> Line:
    if booked.reason:
        return Line(booked, State.REJECTED)
    end = index.ends.get(booked)
    if studies:
        state = State.ARRIVED if all(study.stable for study in studies) else State.IN_PROGRESS
        return Line(booked, state, tuple(studies), tuple(_oddities(booked, studies, index)), end)
    late = times is not None and end is not None and times.asked > end + times.missing_after
    return Line(booked, State.MISSING if late else State.SCHEDULED, end=end)


def _oddities(booked: Booked, studies: Sequence[Study], index: _Index) -> Iterable[str]:
    if len(studies) > 1:
        yield f"There are {len(studies)} studies for this booking."
    for study in studies:
        if study.patient_id != booked.patient_id:
            yield f'The PatientID was edited: "{study.patient_id}"; booked is "{booked.patient_id}".'
        if study.ae_titles and booked.ae_title not in study.ae_titles:
            yield f"It was scanned on {', '.join(study.ae_titles)}; booked is {booked.ae_title}."
        if study.start and booked.start and not _is_then(study, booked, index):
            if study.start.date() != booked.start.date():
                yield f"It was scanned on {study.start:%Y-%m-%d}; booked is {booked.start:%Y-%m-%d}."
            elif study.start < booked.start - TOO_EARLY:
                yield f"It was scanned at {study.start:%H:%M}; booked is {booked.start:%H:%M}: was another entry taken?"
