"""One session that is booked in several slots: pure logic."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from dicom_worklist.status import oddities
from dicom_worklist.status.booking_status import BookingStatus, State, arrival
from dicom_worklist.status.evidence import EARLY, place

#: So far apart may be the beginnings of two slots of one session where the calendar has no ends.
ONE_SESSION = timedelta(hours=4)


def one_session(lines: Sequence[BookingStatus]) -> Iterable[BookingStatus]:
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
        for slots in _adjacent(sorted(session, key=lambda line: place(line.booked)), others[title]):
            scanned = next((line for line in slots if line.studies), None)
            for line in slots:
                if scanned and line.state is State.MISSING:
                    said = (oddities.slots(scanned.booked),)
                    state = State.ODD if scanned.state is State.ODD else arrival(scanned.studies)
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
