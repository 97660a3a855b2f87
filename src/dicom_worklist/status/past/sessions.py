"""A session as people look for it: a booking of a day and its studies, or a study without a booking. Pure logic."""

from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from dicom_worklist.status.oddities import person
from dicom_worklist.status.past.days import PastDay
from dicom_worklist.status.records import BookingRecord, Study

#: What became of a booking that its day has no more, by how its version ended.
ENDED = {"changed": "moved", "cancelled": "cancelled", "gone": "gone"}
#: The state of a study without a booking.
UNBOOKED = "no booking"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a session that was found; `booked_by` is as people write a name, `time` as hours and minutes."""

    day: date
    time: str
    ae_title: str
    patient_id: str
    patient_name: str
    project: str = ""
    booked_by: str = ""
    booking_id: str = ""
    state: str
    studies: tuple[Study, ...] = ()

    @property
    def subject(self) -> str:
        """The PatientName, which usually has the PatientID in it, or both."""
        if self.patient_id in self.patient_name:
            return self.patient_name
        return " ".join(filter(None, (self.patient_id, self.patient_name)))


def sessions(day: PastDay) -> list[Session]:
    """Return the sessions of a day: what is booked, then what is booked no more, then studies without a booking."""
    found = [_session(line.booked, line.state, line.studies) for line in day.lines]
    found += [_session(version.booked, ENDED.get(version.ended, version.ended)) for version in day.ended]
    return found + [
        Session(
            day=day.day,
            time=f"{one.study.start:%H:%M}" if one.study.start and one.study.timed else "",
            ae_title=", ".join(one.study.ae_titles),
            patient_id=one.study.patient_id,
            patient_name=one.study.patient_name,
            project=one.study.description,
            state=UNBOOKED,
            studies=(one.study,),
        )
        for one in day.unscheduled
    ]


def _session(booked: BookingRecord, state: str, studies: tuple[Study, ...] = ()) -> Session:
    return Session(
        day=booked.day,
        time=f"{booked.start:%H:%M}" if booked.start else "",
        ae_title=booked.ae_title,
        patient_id=booked.patient_id,
        patient_name=booked.patient_name,
        project=booked.project,
        booked_by=person(booked.booked_by),
        booking_id=booked.booking_id,
        state=str(state),
        studies=studies,
    )


def words_of(text: str) -> list[str]:
    """Return what each has to be in a session that is looked for, in any case and any order."""
    return text.casefold().split()


def matches(session: Session, words: Sequence[str]) -> bool:
    """Return whether each word is somewhere in what the booking says, or its studies."""
    said = "\n".join(_said(session)).casefold()
    return all(word in said for word in words)


def _said(session: Session) -> Iterable[str]:
    yield from (session.day.isoformat(), session.ae_title, session.patient_id, session.patient_name)
    yield from (session.project, session.booked_by, session.booking_id)
    for study in session.studies:
        yield from (study.orthanc_id, study.study_instance_uid, study.patient_id, study.patient_name)
        yield from (study.accession_number, study.description)
