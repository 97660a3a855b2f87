"""Which sessions were booked, which took place, and which slots were given up: pure logic.

What counts of a booking is its slot as it was in the end; a slot that was given up before it began doesn't count.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from dicom_worklist.status.booking_status import State
from dicom_worklist.status.evidence import EARLY, ONE_DAY, Times, ends
from dicom_worklist.status.history import Chronicle
from dicom_worklist.status.oddities import Kind
from dicom_worklist.status.reconcile import reconcile
from dicom_worklist.status.records import BookingRecord, Study
from dicom_worklist.status.usage.scans import Booked, Scan, moments, scans

#: A slot that is given up so shortly before it begins, or later, was given up late.
LATE = ONE_DAY


@dataclass(slots=True)
class Slot:
    """A slot of a booking, with its times in UTC; `given_up` is when it was cancelled or moved away, if it was."""

    booked: BookingRecord
    start: datetime
    end: datetime
    given_up: datetime | None
    studies: list[Study] = field(default_factory=list)

    @property
    def stands(self) -> bool:
        """Whether it was there when it began, or was used anyway."""
        return bool(self.studies) or self.given_up is None or self.given_up >= self.start

    def touches(self, other: "Slot") -> bool:
        """Return whether both are on one scanner, and at the same time in part."""
        same = self.booked.ae_title == other.booked.ae_title
        return same and (self.start == other.start or (self.start < other.end and other.start < self.end))

    def away(self, study: Study, times: Times) -> timedelta:
        """Return how long before or after it a study began."""
        if study.start is None:
            return timedelta()
        begun, _ = moments(study.start, times.zone)
        return max(self.start - begun, begun - self.end, timedelta())


@dataclass(slots=True)
class Session:
    """A session: its slots in a row, and its scans. `state` says whether it took place, if that is known."""

    slots: Sequence[Slot]
    scans: Sequence[Scan] = ()
    state: State | None = None

    @property
    def booked(self) -> BookingRecord:
        """The booking of its first slot."""
        return self.slots[0].booked

    @property
    def day(self) -> date:
        """The day on which it begins, at the site."""
        return self.booked.start.date() if self.booked.start else self.booked.day

    @property
    def end(self) -> datetime:
        """When its last slot ends."""
        return max(slot.end for slot in self.slots)


@dataclass(frozen=True, slots=True)
class Seen:
    """All that some days had. `given_up` are sessions that were given up late, `rejected` bookings without an entry."""

    sessions: Sequence[Session]
    given_up: Sequence[Session]
    rejected: Sequence[BookingRecord]
    unbooked: Sequence[Scan]
    #: Of studies that fit several bookings.
    ambiguous: Sequence[Scan]


def seen(known: Chronicle, scanners: Iterable[str], times: Times) -> Seen:
    """Return what happened on some days; `scanners` are the AE titles of the site's."""
    found = reconcile(known.current, known.studies, times, known.versions)
    slots, rejected = _slots(known, times)
    owned: defaultdict[str, dict[str, Study]] = defaultdict(dict)
    states: dict[str, State] = {}
    for line in found.lines:
        states.setdefault(line.booked.booking_id, line.state)
        owned[line.booked.booking_id].update({study.orthanc_id: study for study in line.studies})
    for booking_id, studies in owned.items():
        for study in studies.values():
            if of_booking := slots.get(booking_id):
                # where two versions of it have a slot, the nearest that stood
                min(of_booking, key=lambda slot: (not slot.stands, slot.away(study, times))).studies.append(study)
    every = [slot for of_one in slots.values() for slot in of_one]
    sessions = [Session(row) for row in _rows(slot for slot in every if slot.stands)]
    of_subject: defaultdict[str, list[Slot]] = defaultdict(list)
    for slot in every:
        if slot.stands:
            of_subject[slot.booked.patient_id].append(slot)
    late = [
        slot
        for slot in every
        if not slot.stands and _late(slot, times)
        # and the same subject doesn't have its time under another booking
        if not any(slot.touches(one) for one in of_subject[slot.booked.patient_id])
    ]
    titles = {*scanners, *(slot.booked.ae_title for slot in every)}
    strays = [(one.study, any(said.kind is Kind.AMBIGUOUS for said in one.oddities)) for one in found.unscheduled]
    theirs = _scanned(sessions, [study for study, _ in strays], titles, times)
    for session in sessions:
        session.state = _state(session, states, known.asked, times)
    both = [(scan, doubtful) for scan, (_, doubtful) in zip(theirs, strays, strict=True) if scan]
    return Seen(
        sessions,
        [Session(row) for row in _rows(late)],
        rejected,
        [scan for scan, doubtful in both if not doubtful],
        [scan for scan, doubtful in both if doubtful],
    )


def _slots(known: Chronicle, times: Times) -> tuple[dict[str, list[Slot]], list[BookingRecord]]:
    """Return the slots of each booking, in the order of time, and the bookings that stayed rejected."""
    stop = {id(booked): end for booked, end in _ends(known.current, times)}
    chains: defaultdict[str, list[tuple[BookingRecord, datetime | None]]] = defaultdict(list)
    for version in sorted(known.versions, key=lambda version: version.until):
        chains[version.booked.booking_id].append((version.booked, version.until))
    for booked in known.current:
        chains[booked.booking_id].append((booked, None))
    slots: dict[str, list[Slot]] = {}
    rejected = []
    for booking_id, chain in chains.items():
        slots[booking_id] = []
        for booked, until in chain:
            if booked.reason or booked.start is None:
                continue
            end = stop.get(id(booked)) or booked.end or booked.start + times.session
            slot = Slot(booked, moments(booked.start, times.zone)[0], moments(end, times.zone)[0], until)
            if slots[booking_id] and slots[booking_id][-1].touches(slot):
                slots[booking_id].pop()
            slots[booking_id].append(slot)
        last, until = chain[-1]
        if until is None and last.reason:
            # it was not given up, but lost its entry
            slots[booking_id] = [slot for slot in slots[booking_id] if slot.stands or slot.booked.day != last.day]
            if not any(slot.booked.day == last.day for slot in slots[booking_id]):
                rejected.append(last)
    return slots, rejected


def _ends(current: Iterable[BookingRecord], times: Times) -> Iterable[tuple[BookingRecord, datetime]]:
    return ends([booked for booked in current if not booked.reason], times.session).items()


def _rows(slots: Iterable[Slot]) -> Iterable[list[Slot]]:
    """Return the slots in a row of one session together."""
    of_session: defaultdict[tuple[str, str, str], list[Slot]] = defaultdict(list)
    for slot in sorted(slots, key=lambda slot: (slot.start, slot.booked.booking_id)):
        booked = slot.booked
        of_session[booked.ae_title, booked.patient_id, booked.patient_name].append(slot)
    for some in of_session.values():
        row: list[Slot] = []
        for slot in some:
            if row and slot.start > max(one.end for one in row) + EARLY:
                yield row
                row = []
            row.append(slot)
        yield row


def _late(slot: Slot, times: Times) -> bool:
    start = slot.booked.start
    return slot.given_up is not None and start is not None and times.here(slot.given_up) >= start - LATE


def _scanned(
    sessions: Iterable[Session], strays: Sequence[Study], titles: set[str], times: Times
) -> Sequence[Scan | None]:
    """Give each session its scans, and return those of the other studies."""
    pairs: list[tuple[Study, Booked | None]] = []
    owners: list[Session] = []
    for session in sessions:
        booked = Booked(session.booked.ae_title, session.slots[0].start, session.end)
        for slot in session.slots:
            for study in slot.studies:
                pairs.append((study, booked))
                owners.append(session)
    made = scans([*pairs, *((study, None) for study in strays)], titles, times)
    of_session: defaultdict[int, list[Scan]] = defaultdict(list)
    for owner, scan in zip(owners, made, strict=False):
        if scan:
            of_session[id(owner)].append(scan)
    for session in sessions:
        session.scans = of_session[id(session)]
    return made[len(owners) :]


def _state(session: Session, states: Mapping[str, State], asked: Mapping[date, datetime], times: Times) -> State | None:
    """Return whether it took place (`ARRIVED`) or not (`MISSING`); None if that is not known, or not yet."""
    answered = asked.get(session.day, datetime.min.replace(tzinfo=UTC))
    if session.scans:
        return State.ARRIVED if answered >= session.end else None
    if answered < session.end + times.missing_after:
        return None
    said = {states.get(slot.booked.booking_id, State.MISSING) for slot in session.slots}
    if State.ODD in said:  # images are there that may be its
        return None
    return State.ARRIVED if said & {State.ARRIVED, State.IN_PROGRESS} else State.MISSING
