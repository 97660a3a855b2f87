"""Bookings against the studies of the PACS: which was scanned, which arrived, what is odd. Pure logic.

The evidence for a study, the strongest first: its StudyInstanceUID; its AccessionNumber, with the PatientID or with the
scanner and the time; its PatientID, then its PatientName, each with the scanner and the time; its
ScheduledProcedureStepID with them. Bookings as they are count before bookings as they were. What fits more than one
booking is said, not guessed. Times are naive, in the site's time zone, where nothing else is said.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from itertools import pairwise

from dicom_worklist.status import oddities
from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.records import BookingRecord, Study, Version

#: How long before the booked time a scan may begin and still be that booking's; how far apart two slots of one session.
EARLY = timedelta(minutes=15)
#: A scan that begins as long before the booked time may be another booking's.
TOO_EARLY = timedelta(hours=1)
#: A scan that begins as long after the booked time is only late.
LATE = timedelta(hours=2)
#: So far apart may be the beginnings of two slots of one session where the calendar has no ends.
ONE_SESSION = timedelta(hours=4)
#: An entry is on the console on its own day.
ONE_SHIFT = timedelta(hours=18)
ONE_DAY = timedelta(days=1)


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
    """A study of no booking, and what it may be."""

    study: Study
    oddities: tuple[Oddity, ...] = ()
    #: When it came, where its StudyDate says nothing.
    day: date | None = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """All bookings in the order of their time, and the studies of none of them."""

    lines: Sequence[BookingStatus] = ()
    unscheduled: Sequence[Unscheduled] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """When the studies were asked for, how long a session lasts where the calendar has no end, when images are missing.

    `zone` is the site's.
    """

    asked: datetime
    session: timedelta
    missing_after: timedelta
    zone: tzinfo = UTC

    def here(self, moment: datetime) -> datetime:
        """Return an aware time as the naive one at the site."""
        return moment.astimezone(self.zone).replace(tzinfo=None)


KEYS: dict[str, Callable[[BookingRecord], Hashable]] = {
    "study_instance_uid": lambda booked: booked.study_instance_uid,
    "accession_number": lambda booked: booked.accession_number,
    "step_id": lambda booked: booked.step_id,
    "patient_id": lambda booked: booked.patient_id,
    "patient_name": lambda booked: plain(booked.patient_name),
}


def plain(name: str) -> str:
    """Return the alphabetic group of a PersonName without its empty end and in one case: what consoles may change."""
    return name.partition("=")[0].rstrip("^ ").strip().casefold()


def says_all_of(study: Study, booked: BookingRecord) -> bool:
    """Return whether AccessionNumber, PatientID and PatientName are the booking's."""
    return (
        bool(booked.patient_name)
        and (study.accession_number, study.patient_id) == (booked.accession_number, booked.patient_id)
        and not _other_name(study, booked)
    )


class _Index:
    """Finds bookings by what a study may say of them."""

    def __init__(self, bookings: Sequence[BookingRecord], session: timedelta) -> None:
        self.ends = ends(bookings, session)
        self._by: dict[str, dict[Hashable, list[BookingRecord]]] = {name: {} for name in KEYS}
        for name, key in KEYS.items():
            for booked in bookings:
                self._by[name].setdefault(key(booked), []).append(booked)

    def find(self, name: str, value: str) -> Sequence[BookingRecord]:
        value = plain(value) if name == "patient_name" else value
        return self._by[name].get(value, ()) if value else ()

    def fits(self, study: Study, booked: BookingRecord) -> bool:
        """Return whether the booked scanner stored it, and it began within the booked time."""
        return booked.ae_title in study.ae_titles and self.is_then(study, booked)

    def is_then(self, study: Study, booked: BookingRecord) -> bool:
        if study.start is None or booked.start is None:
            return False
        if not study.timed:
            return study.start.date() == booked.start.date()
        return booked in self.ends and booked.start - EARLY <= study.start < self.ends[booked]

    def strongest(self, study: Study) -> Sequence[BookingRecord]:
        """Return the bookings for which the evidence is strongest; none, if none is strong enough."""
        by_accession = self.find("accession_number", study.accession_number)
        # all that people can see: also a study that was repaired, which keeps its UID
        if found := [one for one in by_accession if says_all_of(study, one)]:
            return found
        if by_uid := self.find("study_instance_uid", study.study_instance_uid):
            return by_uid
        if found := [one for one in by_accession if one.patient_id == study.patient_id or self.fits(study, one)]:
            return found
        for name, value in (("patient_id", study.patient_id), ("patient_name", study.patient_name)):
            if found := [one for one in self.find(name, value) if self.fits(study, one)]:
                return found
        return ()

    def by_step(self, study: Study) -> Sequence[BookingRecord]:
        """Return the one booking that has its step's id, at its scanner and time.

        By default many bookings have the same, so it says something only of a study that says nothing else.
        """
        if study.accession_number:
            return ()
        found = [booked for step_id in {*study.step_ids} for booked in self.find("step_id", step_id)]
        return found if len(found) == 1 and self.fits(study, found[0]) else ()


@dataclass(slots=True)
class _Case:
    """All that is known, while it is weighed."""

    times: Times
    now: _Index
    then: _Index
    current: Mapping[str, BookingRecord]
    versions: Mapping[str, Sequence[Version]]
    owned: defaultdict[BookingRecord, list[Study]] = field(default_factory=lambda: defaultdict(list))
    #: What is odd about the studies of each booking, and what is to be said there of other studies.
    own: defaultdict[BookingRecord, list[Oddity]] = field(default_factory=lambda: defaultdict(list))
    told: defaultdict[BookingRecord, list[Oddity]] = field(default_factory=lambda: defaultdict(list))

    def as_is(self, booked: BookingRecord) -> BookingRecord:
        """Return a booking as it is; as it was, if it is no more."""
        return self.current.get(booked.booking_id, booked)

    def index(self, booked: BookingRecord) -> _Index:
        """Return where a booking stands: among those that are, or that were."""
        return self.now if booked in self.now.ends else self.then

    def tell(self, bookings: Iterable[BookingRecord], study: Study, kind: Kind) -> None:
        """Say at each of these bookings that a study of no booking may be its own."""
        for booked in bookings:
            self.told[self.as_is(booked)].append(oddities.candidate(study, booked, kind))


def reconcile(
    bookings: Iterable[BookingRecord], studies: Iterable[Study] | None, times: Times, past: Iterable[Version] = ()
) -> Reconciled:
    """Match each study to a booking, and say how far each booking has come.

    `past` are the bookings as they were, those that are no more included. Without `studies` (None: there is no PACS to
    ask) nothing is missing.
    """
    ordered = sorted(bookings, key=_place)
    case = _case(ordered, sorted(past, key=lambda version: version.until), times)
    unscheduled: list[Unscheduled] = []
    for study in sorted(studies or (), key=lambda study: (str(study.start or ""), study.orthanc_id)):
        found = _match(study, case)
        if isinstance(found, BookingRecord):
            case.owned[found].append(study)
        else:
            unscheduled.append(Unscheduled(study, found, _day(study, times)))
    _look_for_swaps(case)
    _look_into_time(unscheduled, case)
    for booked, owned in case.owned.items():
        case.own[booked] += (
            _oddities(booked, owned, case) if booked.booking_id in case.current else _ended(booked, case)
        )
    lines = [_line(booked, case, known=studies is not None) for booked in ordered]
    lines += [_former(booked, case) for booked in case.owned if booked.booking_id not in case.current]
    lines += [line for booked in ordered for line in _moved(booked, case)]
    return Reconciled(sorted(_one_session(lines), key=lambda line: _place(line.booked)), unscheduled)


def _place(booked: BookingRecord) -> tuple[datetime, str, str]:
    return booked.start or datetime.combine(booked.day, time.min), booked.ae_title, booked.booking_id


def _case(bookings: Sequence[BookingRecord], past: Sequence[Version], times: Times) -> _Case:
    current = {booked.booking_id: booked for booked in bookings}
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    for version in past:
        if not version.booked.reason:
            versions[version.booked.booking_id].append(version)
    entered = [booked for booked in bookings if not booked.reason]
    former = [version.booked for of_one in versions.values() for version in of_one]
    return _Case(times, _Index(entered, times.session), _Index(former, times.session), current, versions)


def ends(bookings: Iterable[BookingRecord], session: timedelta) -> dict[BookingRecord, datetime]:
    """Return the end of each booking's time.

    Where the calendar has none, it is that of the longest session, or before that the beginning of the next one on its
    scanner.
    """
    bookings = [booked for booked in bookings if booked.start]
    starts: defaultdict[str, set[datetime]] = defaultdict(set)
    for booked in bookings:
        if booked.start:
            starts[booked.ae_title].add(booked.start)
    following = {title: dict(pairwise([*sorted(begins), max(begins) + session])) for title, begins in starts.items()}
    return {
        booked: booked.end or min(booked.start + session, following[booked.ae_title][booked.start])
        for booked in bookings
        if booked.start
    }


def _day(study: Study, times: Times) -> date | None:
    """Return the day on which to list a study: its own, unless nothing can have come on that day."""
    came = times.here(study.seen).date() if study.seen else None
    if study.start is None:
        return came
    return came if came and abs(came - study.start.date()) > 2 * ONE_DAY else study.start.date()


def _was_before(study: Study, until: datetime, times: Times) -> bool:
    """Return whether a study was made before then: by its own date, or if that can't be right by when it came."""
    plausible = study.start is not None and study.start.date() == _day(study, times)
    began = study.start if plausible or study.seen is None else times.here(study.seen)
    return began is None or began < until


def _match(study: Study, case: _Case) -> BookingRecord | tuple[Oddity, ...]:
    """Return the booking that this study is of, as it is or, if it is no more, as it was; or what it may be."""
    for index in (case.now, case.then):
        if strongest := index.strongest(study):
            # several versions of one booking are one
            owners = {one.booking_id: case.as_is(one) for one in strongest}
            if len(owners) == 1:
                return _rather(study, next(iter(owners.values())), case)
            case.tell(owners.values(), study, Kind.AMBIGUOUS)
            return (oddities.ambiguous(list(owners.values())),)
    if found := case.now.by_step(study):
        return found[0]
    for name, value, say in (
        ("accession_number", study.accession_number, oddities.accession),
        ("patient_id", study.patient_id, oddities.patient),
        ("patient_name", study.patient_name, oddities.patient_by_name),
    ):
        if hinted := case.now.find(name, value) or case.then.find(name, value):
            hinted = list({one.booking_id: one for one in hinted}.values())
            said = say(hinted)
            if said.kind is not Kind.ACCESSION:  # others number their studies, too
                case.tell(hinted, study, said.kind)
            return (said,)
    return ()


def _rather(study: Study, owner: BookingRecord, case: _Case) -> BookingRecord:
    """Return the owner, or the booking whose subject was typed over the owner's, if place and time are that one's."""
    if study.patient_id == owner.patient_id or case.index(owner).fits(study, owner):
        return owner
    others = [one for one in case.now.find("patient_id", study.patient_id) if case.now.fits(study, one)]
    return others[0] if len(others) == 1 else owner


def _look_for_swaps(case: _Case) -> None:
    """Tell of entries that were used in the time of another booking that has no images of its own in that time."""
    slots: defaultdict[tuple[str, date], list[BookingRecord]] = defaultdict(list)
    for booked in case.now.ends:
        for day in {booked.start.date() if booked.start else booked.day, case.now.ends[booked].date()}:
            slots[booked.ae_title, day].append(booked)
    for owner, studies in list(case.owned.items()):
        for study in studies:
            if study.start is None or not study.timed or owner.start is None or owner not in case.now.ends:
                continue
            if owner.start - EARLY <= study.start < case.now.ends[owner]:
                continue
            if abs(study.start - owner.start) > ONE_SHIFT:
                continue  # the console had no such entry: its clock is wrong
            # a scan that is just late is more probable
            late = case.now.ends[owner] <= study.start < case.now.ends[owner] + EARLY
            for title in study.ae_titles:
                for slot in slots[title, study.start.date()]:
                    if _taken(study, owner, slot, case):
                        level = Weight.NOTE if late else Weight.WARNING
                        used, taken = (replace(one, level=level) for one in oddities.swapped(study, owner, slot))
                        case.told[owner].append(used)
                        case.told[slot].append(taken)


def _look_into_time(unscheduled: Iterable[Unscheduled], case: _Case) -> None:
    """Tell bookings without images of studies of nobody that were made at their place and time."""
    empty: defaultdict[str, list[BookingRecord]] = defaultdict(list)
    for booked in case.now.ends:
        if booked not in case.owned:
            empty[booked.ae_title].append(booked)
    for one in unscheduled:
        if one.study.timed:
            for title in one.study.ae_titles:
                for booked in empty[title]:
                    if case.now.is_then(one.study, booked):
                        said = oddities.candidate(one.study, booked, Kind.IN_ITS_TIME)
                        case.told[booked].append(replace(said, level=Weight.NOTE))


def _taken(study: Study, owner: BookingRecord, slot: BookingRecord, case: _Case) -> bool:
    """Return whether a study was made in the time of a slot that has no images of its own session."""
    session = [one for one in case.now.find("patient_name", slot.patient_name) if one.ae_title == slot.ae_title] or [
        slot
    ]
    return (
        (slot.patient_id, slot.patient_name) != (owner.patient_id, owner.patient_name)
        and case.now.fits(study, slot)
        # it has no images of its own, or they were made in the other's time: the entries were exchanged
        and all(case.now.fits(own, owner) for own in case.owned.get(slot, ()))
        and not any(case.now.fits(own, slot) for one in session for own in case.owned.get(one, ()))
        # an entry from before the booking was moved is no swap
        and not any(case.then.fits(study, version.booked) for version in case.versions.get(owner.booking_id, ()))
    )


def _line(booked: BookingRecord, case: _Case, *, known: bool) -> BookingStatus:
    end = case.now.ends.get(booked)
    studies = tuple(case.owned.get(booked, ()))
    over = end is not None and case.times.asked > end + case.times.missing_after
    told: Iterable[Oddity] = case.told.get(booked, ())
    if studies or not over:
        told = [
            one if one.kind is Kind.SWAPPED else replace(one, level=Weight.NOTE)
            for one in told
            if one.kind in {Kind.SWAPPED, Kind.OTHER_SUBJECT}
        ]
    said = tuple(dict.fromkeys([*case.own.get(booked, ()), *told]))
    if booked.reason:
        state = State.REJECTED
    elif studies:
        state = State.ODD if odd(said) else _arrival(studies)
    elif not over:
        state = State.SCHEDULED
    elif not known:
        state = State.OVER
    else:
        state = State.ODD if odd(said) else State.MISSING
    changes = [version for version in case.versions.get(booked.booking_id, ()) if version.ended == "changed"]
    return BookingStatus(booked, state, studies, said, end, changes[-1] if changes else None)


def odd(said: Iterable[Oddity]) -> bool:
    """Return whether somebody has to look at it."""
    return any(oddity.level is Weight.WARNING for oddity in said)


def _arrival(studies: Iterable[Study]) -> State:
    return State.ARRIVED if all(study.stable for study in studies) else State.IN_PROGRESS


def _former(booked: BookingRecord, case: _Case) -> BookingStatus:
    """Return the line of a booking that is no more, and has images."""
    last = case.versions[booked.booking_id][-1].booked
    return BookingStatus(
        last, State.CANCELLED, tuple(case.owned[booked]), tuple(case.own[booked]), case.then.ends.get(last)
    )


def _ended(booked: BookingRecord, case: _Case) -> Iterable[Oddity]:
    """Return what is odd about the images of a booking that is no more."""
    last = case.versions[booked.booking_id][-1]
    until = case.times.here(last.until)
    for study in case.owned[booked]:
        after = _was_before(study, until, case.times)
        yield oddities.cancelled(study, last.booked, until, gone=last.ended == "gone", after=after)
        yield from _identity(study, last.booked, case)


def _moved(booked: BookingRecord, case: _Case) -> Iterable[BookingStatus]:
    """Return, on the day of its scan, the line of a booking that was moved to another day afterwards."""
    for study in case.owned.get(booked, ()):
        before = _before(study, booked, case)
        if before is None or before.booked.day == booked.day:
            continue
        until = case.times.here(before.until)
        if _was_before(study, until, case.times):
            said = oddities.changed(study, booked, before.booked, until)
            yield BookingStatus(before.booked, State.ODD, (study,), (said,), case.then.ends.get(before.booked))


def _before(study: Study, booked: BookingRecord, case: _Case) -> Version | None:
    """Return the version of the booking that the study fits better than the booking as it is."""
    for version in reversed(case.versions.get(booked.booking_id, ())):
        was = version.booked
        fits = (
            (study.patient_id != booked.patient_id and study.patient_id == was.patient_id)
            or (_other_name(study, booked) and study.patient_id == was.patient_id and not _other_name(study, was))
            or (_elsewhere(study, booked) and not _elsewhere(study, was))
            or (study.start is not None and not case.now.is_then(study, booked) and case.then.is_then(study, was))
            or (was.day != booked.day and was.day == _day(study, case.times))
        )
        if fits:
            return version
    return None


def _oddities(booked: BookingRecord, studies: Sequence[Study], case: _Case) -> Iterable[Oddity]:
    if len(studies) > 1:
        yield oddities.studies(len(studies), booked)
    for study in studies:
        expected = booked
        if version := _before(study, booked, case):
            expected, until = version.booked, case.times.here(version.until)
            after = _was_before(study, until, case.times)
            yield (oddities.changed if after else oddities.stale_entry)(study, booked, expected, until)
        yield from _identity(study, expected, case)
        if _elsewhere(study, expected):
            yield oddities.scanner(study, expected)
        yield from _time(study, expected, case)


def _identity(study: Study, booked: BookingRecord, case: _Case) -> Iterable[Oddity]:
    owner = case.as_is(booked)
    entry = [one for one in case.now.find("study_instance_uid", study.study_instance_uid) if one is not owner]
    if entry:
        said = oddities.entry_of(study, booked, entry[0])
        yield replace(said, level=Weight.NOTE, remedy="") if says_all_of(study, booked) else said
    if study.patient_id != booked.patient_id:
        others = [one for one in case.now.find("patient_id", study.patient_id) if one is not owner]
        if others:
            yield oddities.other_subject(study, booked, others)
            for other in others:
                case.told[other].append(oddities.subject_elsewhere(study, other, booked))
        else:
            yield oddities.patient_id(study, booked)
    elif _other_name(study, booked):
        yield oddities.patient_name(study, booked)


def _other_name(study: Study, booked: BookingRecord) -> bool:
    return bool(booked.patient_name) and plain(study.patient_name) != plain(booked.patient_name)


def _elsewhere(study: Study, booked: BookingRecord) -> bool:
    return bool(study.ae_titles) and booked.ae_title not in study.ae_titles


def _time(study: Study, booked: BookingRecord, case: _Case) -> Iterable[Oddity]:
    index = case.index(booked)
    if booked.start is None or index.is_then(study, booked):
        return
    if study.start and booked in index.ends and booked.start <= study.start < index.ends[booked] + LATE:
        return  # also across midnight
    came = case.times.here(study.seen).date() if study.seen else None
    if study.start is None:
        yield oddities.clock(study, booked)
    elif (apart := abs(study.start.date() - booked.start.date())) >= ONE_DAY:
        # it came when it was booked, whatever its date says; what is out by a day may have been scanned on that day
        in_time = came is not None and abs(came - booked.start.date()) <= ONE_DAY
        yield (oddities.clock if in_time and apart > ONE_DAY else oddities.day)(study, booked)
    elif study.timed and study.start < booked.start - TOO_EARLY:
        same_session = case.now.find("patient_name", booked.patient_name)
        if not any(case.now.fits(study, slot) for slot in same_session):
            yield oddities.time(study, booked)
    elif study.timed and booked in index.ends and study.start >= index.ends[booked] + LATE:
        yield oddities.time(study, booked)


def _one_session(lines: Sequence[BookingStatus]) -> Iterable[BookingStatus]:
    """Return the lines; a slot without images that is one of several of the same session has not lost any."""
    sessions: defaultdict[tuple[str, str, str], list[BookingStatus]] = defaultdict(list)
    for line in lines:
        booked = line.booked
        if booked.start and not booked.reason and line.state is not State.CANCELLED:
            sessions[booked.ae_title, booked.patient_id, booked.patient_name].append(line)
    shared: dict[int, BookingStatus] = {}
    others: defaultdict[str, list[datetime]] = defaultdict(list)
    for line in lines:
        if line.booked.start:
            others[line.booked.ae_title].append(line.booked.start)
    for (title, *_), session in sessions.items():
        for slots in _adjacent(sorted(session, key=lambda line: _place(line.booked)), others[title]):
            scanned = next((line for line in slots if line.studies), None)
            for line in slots:
                if scanned and line.state is State.MISSING:
                    said = (oddities.slots(scanned.booked),)
                    state = State.ODD if scanned.state is State.ODD else _arrival(scanned.studies)
                    shared[id(line)] = replace(line, state=state, oddities=(*line.oddities, *said))
    return [shared.get(id(line), line) for line in lines]


def _adjacent(lines: Sequence[BookingStatus], begins: Sequence[datetime]) -> Iterable[list[BookingStatus]]:
    """Return those that follow each other without a pause, and without another booking of the scanner between them."""
    slots: list[BookingStatus] = []
    for line in lines:
        if slots and _follows(line, slots[-1], begins):
            slots.append(line)
        else:
            if slots:
                yield slots
            slots = [line]
    if slots:
        yield slots


def _follows(line: BookingStatus, before: BookingStatus, begins: Sequence[datetime]) -> bool:
    start, earlier = line.booked.start, before.booked.start
    if start is None or earlier is None or before.end is None:
        return False
    if start <= before.end + EARLY:
        return True
    unknown_end = before.booked.end is None and start - earlier <= ONE_SESSION
    return unknown_end and not any(earlier < begin < start for begin in begins)
