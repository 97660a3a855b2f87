"""What speaks for a study being that of a booking: pure logic.

Times are naive, in the site's time zone, unless stated otherwise.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

from dicom_worklist.status.records import BookingRecord, Study

#: How long before the booked time a scan may begin and still be that booking's; how far apart two slots of one session.
EARLY = timedelta(minutes=15)
ONE_DAY = timedelta(days=1)


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
        and not other_name(study, booked)
    )


def other_name(study: Study, booked: BookingRecord) -> bool:
    """Return whether the PatientName is not the booked one."""
    return bool(booked.patient_name) and plain(study.patient_name) != plain(booked.patient_name)


def elsewhere(study: Study, booked: BookingRecord) -> bool:
    """Return whether other scanners than the booked one stored it."""
    return bool(study.ae_titles) and booked.ae_title not in study.ae_titles


class Index:
    """Finds bookings by what a study may say of them."""

    def __init__(self, bookings: Sequence[BookingRecord], session: timedelta) -> None:
        """Index the bookings; a `session` lasts so long where the calendar has no end."""
        self.ends = ends(bookings, session)
        self._by: dict[str, dict[Hashable, list[BookingRecord]]] = {name: {} for name in KEYS}
        for name, key in KEYS.items():
            for booked in bookings:
                self._by[name].setdefault(key(booked), []).append(booked)

    def find(self, name: str, value: str) -> Sequence[BookingRecord]:
        """Return the bookings with this value; `name` is one of KEYS."""
        value = plain(value) if name == "patient_name" else value
        return self._by[name].get(value, ()) if value else ()

    def fits(self, study: Study, booked: BookingRecord) -> bool:
        """Return whether the booked scanner stored it, and it began within the booked time."""
        return booked.ae_title in study.ae_titles and self.is_then(study, booked)

    def is_then(self, study: Study, booked: BookingRecord) -> bool:
        """Return whether it began within the booked time; without a StudyTime, on the booked day."""
        if study.start is None or booked.start is None:
            return False
        if not study.timed:
            return study.start.date() == booked.start.date()
        return booked in self.ends and booked.start - EARLY <= study.start < self.ends[booked]

    def strongest(self, study: Study) -> Sequence[BookingRecord]:
        """Return the bookings for which the evidence is strongest, if it is strong enough."""
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


def day_of(study: Study, times: Times) -> date | None:
    """Return the day on which to list a study: its own, unless nothing can have come on that day."""
    came = times.here(study.seen).date() if study.seen else None
    if study.start is None:
        return came
    return came if came and abs(came - study.start.date()) > 2 * ONE_DAY else study.start.date()


def was_before(study: Study, until: datetime, times: Times) -> bool:
    """Return whether a study was made before then: by its own date, or if that can't be right by when it came."""
    plausible = study.start is not None and study.start.date() == day_of(study, times)
    began = study.start if plausible or study.seen is None else times.here(study.seen)
    return began is None or began < until


def place(booked: BookingRecord) -> tuple[datetime, str, str]:
    """Return what orders bookings: time, scanner, id."""
    return booked.start or datetime.combine(booked.day, time.min), booked.ae_title, booked.booking_id
