"""Which series are those of which session, and what may be missing of it. Pure logic."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from dicom_worklist.settings import Rule
from dicom_worklist.status import whole
from dicom_worklist.status.booking_status import BookingStatus, Reconciled
from dicom_worklist.status.oddities import Oddity
from dicom_worklist.status.records import BookingRecord, Series, Session, Study

#: In the settings: every project.
EVERY = "*"


@dataclass(frozen=True, slots=True)
class Came:
    """A session, with all of its series; `study` is Orthanc's name for its first one.

    `over` says that no image has come for a while, `known` that its subject is the booked one, so that it can be
    compared with earlier ones.
    """

    session: Session
    series: Sequence[Series]
    study: str
    over: bool
    known: bool


def came(reconciled: Reconciled, series: Iterable[Series], asked: datetime, zone: tzinfo) -> list[Came]:
    """Return the sessions that have images, and the studies of no booking; `asked` is when the PACS answered (UTC)."""
    by_study: dict[str, list[Series]] = {}
    for one in series:
        by_study.setdefault(one.study, []).append(one)
    here = asked.astimezone(zone).replace(tzinfo=None)
    last = _sessions_end(reconciled.lines)
    found: dict[str, Came] = {}
    for line in reconciled.lines:
        if line.studies and line.booked.booking_id not in found:
            ended = here >= last.get(_who(line.booked), here)
            found[line.booked.booking_id] = _came(line.studies, by_study, asked, line.booked, ended=ended)
    strays = [_came([one.study], by_study, asked) for one in reconciled.unscheduled]
    return [one for one in (*found.values(), *strays) if one.series]


def _came(
    studies: Sequence[Study],
    by_study: Mapping[str, list[Series]],
    asked: datetime,
    booked: BookingRecord | None = None,
    *,
    ended: bool = True,
) -> Came:
    series = [one for study in studies for one in by_study.get(study.orthanc_id, ())]
    titles = ", ".join(sorted({title for study in studies for title in study.ae_titles}))
    last = max((study.updated for study in studies if study.updated), default=datetime.min.replace(tzinfo=UTC))
    over = all(study.stable for study in studies) and asked - last >= (
        whole.QUIET_AFTER if ended else whole.QUIET_BEFORE
    )
    session = Session(booking_id="", ae_title=titles or "the scanner")
    if booked:
        session = Session(
            booking_id=booked.booking_id,
            project=project(booked),
            label=_label(booked),
            ae_title=titles or booked.ae_title,
            start=booked.start,
        )
    known = booked is not None and all(study.patient_id == booked.patient_id for study in studies)
    return Came(whole.remembered(session, series), series, studies[0].orthanc_id, over, known)


def hints(
    some: Iterable[Came], earlier: Mapping[str, Sequence[Session]], off: Mapping[str, Iterable[Rule]]
) -> dict[str, tuple[Oddity, ...]]:
    """Return what may be missing, by Orthanc's name for the study where it is shown; `off` are rules by project."""
    found = {}
    for one in some:
        without = {*off.get(one.session.project, ()), *off.get(EVERY, ())}
        like = earlier.get(one.session.booking_id, ()) if one.known else ()
        if said := whole.hints(whole.Case(one.session, one.series, like, one.over, without)):
            found[one.study] = tuple(said)
    return found


def with_hints(reconciled: Reconciled, hints: Mapping[str, Sequence[Oddity]]) -> Reconciled:
    """Return the bookings and the studies with their hints."""
    if not hints:
        return reconciled
    return Reconciled(
        [
            replace(line, oddities=(*line.oddities, *hints.get(line.studies[0].orthanc_id, ())))
            if line.studies
            else line
            for line in reconciled.lines
        ],
        [
            replace(one, oddities=(*one.oddities, *hints.get(one.study.orthanc_id, ())))
            for one in reconciled.unscheduled
        ],
    )


def project(booked: BookingRecord) -> str:
    """Return a booking's project: what its PatientID has before `_sub-`, or else the project's title."""
    before, found, _ = booked.patient_id.partition("_sub-")
    return before if found else booked.project


def _label(booked: BookingRecord) -> str:
    """Return which session of a subject it is: the first and the second one may have other protocols."""
    found = re.search("_ses-([^_]+)$", booked.patient_name)
    return found[1] if found else ""


def _sessions_end(lines: Iterable[BookingStatus]) -> dict[Hashable, datetime]:
    """Return when the last slot of each session ends, on the site's clock."""
    last: dict[Hashable, datetime] = {}
    for line in lines:
        if line.end:
            last[_who(line.booked)] = max(line.end, last.get(_who(line.booked), line.end))
    return last


def _who(booked: BookingRecord) -> Hashable:
    return booked.patient_id, booked.patient_name, booked.ae_title, booked.day
