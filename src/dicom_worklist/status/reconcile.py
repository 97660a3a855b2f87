"""Bookings against the studies of the PACS: which was scanned, which arrived, what is odd. Pure logic.

The evidence for a study, the strongest first: its StudyInstanceUID; its AccessionNumber, with the PatientID or with the
scanner and the time; its PatientID, then its PatientName, each with the scanner and the time; its
ScheduledProcedureStepID with them. Bookings as they are count before bookings as they were. What fits more than one
booking is reported, not guessed. Times are naive, in the site's time zone, unless stated otherwise.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from dicom_worklist.status import oddities
from dicom_worklist.status.booking_status import BookingStatus, Reconciled, State, Unscheduled, arrival, odd
from dicom_worklist.status.evidence import (
    EARLY,
    ONE_DAY,
    Index,
    Times,
    day_of,
    elsewhere,
    other_name,
    place,
    says_all_of,
    was_before,
)
from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.records import BookingRecord, Study, Version
from dicom_worklist.status.slots import one_session

#: A scan that begins as long before the booked time may be another booking's.
TOO_EARLY = timedelta(hours=1)
#: A scan that begins as long after the booked time is only late.
LATE = timedelta(hours=2)
#: An entry is on the console on its own day.
ONE_SHIFT = timedelta(hours=18)


@dataclass(slots=True)
class _Case:
    """All that is known, while it is weighed."""

    times: Times
    now: Index
    then: Index
    current: Mapping[str, BookingRecord]
    versions: Mapping[str, Sequence[Version]]
    owned: defaultdict[BookingRecord, list[Study]] = field(default_factory=lambda: defaultdict(list))
    #: What is odd about the studies of each booking; and what other studies have to do with it.
    own: defaultdict[BookingRecord, list[Oddity]] = field(default_factory=lambda: defaultdict(list))
    told: defaultdict[BookingRecord, list[Oddity]] = field(default_factory=lambda: defaultdict(list))

    def as_is(self, booked: BookingRecord) -> BookingRecord:
        """Return a booking as it is; as it was, if it has ended."""
        return self.current.get(booked.booking_id, booked)

    def index(self, booked: BookingRecord) -> Index:
        """Return where a booking stands: among those that are, or that were."""
        return self.now if booked in self.now.ends else self.then

    def tell(self, bookings: Iterable[BookingRecord], study: Study, kind: Kind) -> None:
        """Note at each of these bookings that a study without a booking may belong to it."""
        for booked in bookings:
            self.told[self.as_is(booked)].append(oddities.candidate(study, booked, kind))


def reconcile(
    bookings: Iterable[BookingRecord], studies: Iterable[Study] | None, times: Times, past: Iterable[Version] = ()
) -> Reconciled:
    """Match each study to a booking, and say how far each booking has come.

    `past` are the bookings as they were, those that have ended included. Without `studies` (None: there is no PACS to
    ask) nothing is missing.
    """
    ordered = sorted(bookings, key=place)
    case = _case(ordered, sorted(past, key=lambda version: version.until), times)
    unscheduled: list[Unscheduled] = []
    for study in sorted(studies or (), key=lambda study: (str(study.start or ""), study.orthanc_id)):
        found = _match(study, case)
        if isinstance(found, BookingRecord):
            case.owned[found].append(study)
        else:
            unscheduled.append(Unscheduled(study, found, day_of(study, times)))
    _look_for_swaps(case)
    _look_into_time(unscheduled, case)
    for booked, owned in case.owned.items():
        case.own[booked] += (
            _oddities(booked, owned, case) if booked.booking_id in case.current else _ended(booked, case)
        )
    lines = [_line(booked, case, known=studies is not None) for booked in ordered]
    lines += [_former(booked, case) for booked in case.owned if booked.booking_id not in case.current]
    lines += [line for booked in ordered for line in _moved(booked, case)]
    return Reconciled(sorted(one_session(lines), key=lambda line: place(line.booked)), unscheduled)


def _case(bookings: Sequence[BookingRecord], past: Sequence[Version], times: Times) -> _Case:
    current = {booked.booking_id: booked for booked in bookings}
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    for version in past:
        if not version.booked.reason:
            versions[version.booked.booking_id].append(version)
    entered = [booked for booked in bookings if not booked.reason]
    former = [version.booked for of_one in versions.values() for version in of_one]
    return _Case(times, Index(entered, times.session), Index(former, times.session), current, versions)


def _match(study: Study, case: _Case) -> BookingRecord | tuple[Oddity, ...]:
    """Return the booking that this study belongs to, as it is or, if it has ended, as it was; or what it may be."""
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
    """Note entries that were used in the time of another booking that has no images of its own in that time."""
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
    """Note at bookings without images which studies without a booking were made at their place and time."""
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
    if (slot.patient_id, slot.patient_name) == (owner.patient_id, owner.patient_name) or not case.now.fits(study, slot):
        return False
    session = [one for one in case.now.find("patient_name", slot.patient_name) if one.ae_title == slot.ae_title] or [
        slot
    ]
    return (
        # it has no images of its own, or they were made in the other's time: the entries were exchanged
        all(case.now.fits(own, owner) for own in case.owned.get(slot, ()))
        and not any(case.now.fits(own, slot) for one in session for own in case.owned.get(one, ()))
        # an entry from before the booking was moved is not a swap
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
        state = State.ODD if odd(said) else arrival(studies)
    elif not over:
        state = State.SCHEDULED
    elif not known:
        state = State.OVER
    else:
        state = State.ODD if odd(said) else State.MISSING
    changes = [version for version in case.versions.get(booked.booking_id, ()) if version.ended == "changed"]
    return BookingStatus(booked, state, studies, said, end, changes[-1] if changes else None)


def _former(booked: BookingRecord, case: _Case) -> BookingStatus:
    """Return the status of a booking that has ended and has images."""
    last = case.versions[booked.booking_id][-1].booked
    return BookingStatus(
        last, State.CANCELLED, tuple(case.owned[booked]), tuple(case.own[booked]), case.then.ends.get(last)
    )


def _ended(booked: BookingRecord, case: _Case) -> Iterable[Oddity]:
    """Return what is odd about the images of a booking that has ended."""
    last = case.versions[booked.booking_id][-1]
    until = case.times.here(last.until)
    for study in case.owned[booked]:
        after = was_before(study, until, case.times)
        yield oddities.cancelled(study, last.booked, until, gone=last.ended == "gone", after=after)
        yield from _identity(study, last.booked, case)


def _moved(booked: BookingRecord, case: _Case) -> Iterable[BookingStatus]:
    """Return, on the day of its scan, the line of a booking that was moved to another day afterwards."""
    for study in case.owned.get(booked, ()):
        before = _before(study, booked, case)
        if before is None or before.booked.day == booked.day:
            continue
        until = case.times.here(before.until)
        if was_before(study, until, case.times):
            said = oddities.changed(study, booked, before.booked, until)
            yield BookingStatus(before.booked, State.ODD, (study,), (said,), case.then.ends.get(before.booked))


def _before(study: Study, booked: BookingRecord, case: _Case) -> Version | None:
    """Return the version of the booking that the study fits better than the booking as it is."""
    for version in reversed(case.versions.get(booked.booking_id, ())):
        was = version.booked
        fits = (
            (study.patient_id != booked.patient_id and study.patient_id == was.patient_id)
            or (other_name(study, booked) and study.patient_id == was.patient_id and not other_name(study, was))
            or (elsewhere(study, booked) and not elsewhere(study, was))
            or (study.start is not None and not case.now.is_then(study, booked) and case.then.is_then(study, was))
            or (was.day != booked.day and was.day == day_of(study, case.times))
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
            after = was_before(study, until, case.times)
            yield (oddities.changed if after else oddities.stale_entry)(study, booked, expected, until)
        yield from _identity(study, expected, case)
        if elsewhere(study, expected):
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
    elif other_name(study, booked):
        yield oddities.patient_name(study, booked)


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
        # it came when it was booked, even if its date is another; one that is a day off may be scanned on that day
        in_time = came is not None and abs(came - booked.start.date()) <= ONE_DAY
        yield (oddities.clock if in_time and apart > ONE_DAY else oddities.day)(study, booked)
    elif study.timed and study.start < booked.start - TOO_EARLY:
        same_session = case.now.find("patient_name", booked.patient_name)
        if not any(case.now.fits(study, slot) for slot in same_session):
            yield oddities.time(study, booked)
    elif study.timed and booked in index.ends and study.start >= index.ends[booked] + LATE:
        yield oddities.time(study, booked)
