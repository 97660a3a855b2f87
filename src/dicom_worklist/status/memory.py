"""What is known from before a run: what the last runs found, and the history of these bookings.

`recall` and `remember` read; everything else here is a pure function of what they read.
"""

import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.bookings import Days, is_over, session_length
from dicom_worklist.settings import Config
from dicom_worklist.status import findings, history
from dicom_worklist.status.evidence import EARLY
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.history import Past
from dicom_worklist.status.oddities import when
from dicom_worklist.status.records import BookingRecord, Study, Version


@dataclass(frozen=True, slots=True)
class Memory:
    """What a run of these days, which began at `began` (UTC), knows from before.

    `last` is what the last runs found, `latest` the bookings of the last good one, by their ids. `failures` say, in
    sentences, what could not be read.
    """

    config: Config
    days: Days
    began: datetime
    last: Findings
    past: Past
    latest: Mapping[str, BookingRecord]
    failures: tuple[str, ...] = ()


def recall(config: Config, days: Days, began: datetime) -> Memory:
    """Return what the last runs found, as far as it matters for these days."""
    last, failures = load(config.status.state) if config.status else (Findings(), ())
    latest = {booked.booking_id: booked for booked in last.bookings}
    return Memory(config, days, began, last, _past(last, days), latest, failures)


def load(state: str) -> tuple[Findings, tuple[str, ...]]:
    """Return what the last runs found, and why it can't be read."""
    try:
        return findings.load(state), ()
    except OSError as error:
        return Findings(), (f"status.state {state} can't be read: {error.strerror}",)


def remember(known: Memory, booking_ids: Collection[str]) -> Memory:
    """Return what is known, with what the history has of these bookings."""
    if known.config.status is None:
        return known
    path = history.path_beside(known.config.status.state)
    if not os.path.isdir(path.parent):  # noqa: PTH112 - pathlib's raises
        return known  # the failure is reported when the state is written
    try:
        past = history.read(path, booking_ids, *known.days.near)
    except (OSError, sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
        return replace(known, failures=(*known.failures, history.failure(path, "read", error)))
    return replace(known, past=_together(known.past, past))


def expected(known: Memory) -> set[str]:
    """Return the bookings that the calendar had on these days, and of which there may be images by now."""
    days = known.days
    return {
        booked.booking_id
        for booked in known.last.bookings
        if days.now and booked.start and not booked.reason and days.is_near(booked.day)
        if booked.start - EARLY <= days.now
    }


def moved_away(known: Memory, there: Collection[str]) -> list[BookingRecord]:
    """Return the bookings that were on one of these days, were moved further away, and are not among `there`."""
    return [
        booked
        for booking_id, booked in known.past.current.items()
        if booking_id not in there and not booked.reason and not known.days.is_near(booked.day)
    ]


def with_since(booked: BookingRecord, known: Memory) -> BookingRecord:
    """Return the booking with the time since when it is as it is."""
    before = [some.get(booked.booking_id) for some in (known.past.current, known.latest)]
    # what was away for a moment, with the calendar's fault, is as it was
    before += [one.booked for one in known.past.versions.get(booked.booking_id, ())[-1:] if one.ended == "gone"]
    since = [one.since for one in before if one and one.since and one.same(booked)]
    return msgspec.structs.replace(booked, since=min(since, default=known.began))


def used_before(booked: BookingRecord, known: Memory) -> str:
    """Return why this booking must not have an entry: its id was another subject's, and that subject has images.

    Without such a reason it is empty.
    """
    past, zone = known.past, known.config.reading.zone
    former = [version.booked for version in past.versions.get(booked.booking_id, ())]
    former += filter(None, [past.current.get(booked.booking_id)])
    for before in former:
        if before.reason or before.patient_id == booked.patient_id or (_unnamed(before) and _unnamed(booked)):
            continue
        for study in past.studies.get(before.study_instance_uid, ()):
            scanned = before.day in _days_of(study, zone)
            # on the day of the scan it may be a correction, but not of a session that was still to come then
            since = (booked.since or known.began).astimezone(zone).replace(tzinfo=None)
            ahead = booked.start is not None and since < booked.start
            after = booked.start and study.start and study.start < booked.start - EARLY and ahead
            if scanned and (before.day != booked.day or after):
                return (
                    f"booking_id {booked.booking_id} was that of {before.patient_name}, {before.ae_title} "
                    f"{when(before)}, who has images: both would have one StudyInstanceUID. Give the new booking "
                    "an id of its own, and change nothing in the study"
                )
    return ""


def entered(known: Memory) -> Iterator[BookingRecord]:
    """Return the bookings that had an entry in the last good run."""
    return (booked for booked in known.last.bookings if booked.start and not booked.reason)


def going_on(known: Memory) -> Iterator[BookingRecord]:
    """Return the bookings of before the window that haven't ended, as the last good run saw them."""
    config, days = known.config, known.days
    for booked in entered(known):
        if days.now and booked.start and booked.day < days.first:
            end = booked.end or booked.start + session_length(config)
            if not is_over(end, config, days.now):
                yield booked


def _days_of(study: Study, zone: ZoneInfo) -> set[date]:
    """Return the days on which a study may have been made: its own, and that on which a run first saw it."""
    return {moment.date() for moment in (study.start, study.seen and study.seen.astimezone(zone)) if moment}


def _unnamed(booked: BookingRecord) -> bool:
    """Return whether no subject was known: the PatientID then has the booking's start."""
    return booked.start is not None and booked.patient_id.endswith(f"_sub-{booked.start:%Y%m%dT%H%M%S}")


def _past(last: Findings, days: Days) -> Past:
    """Return what the state alone has from before, from the first of the days on."""
    current = {booked.booking_id: booked for booked in last.bookings if booked.day >= days.near[0]}
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    for version in last.past:
        if version.booked.day >= days.near[0] or version.booked.booking_id in current:
            versions[version.booked.booking_id].append(version)
    studies: defaultdict[str, list[Study]] = defaultdict(list)
    for study in last.studies:
        studies[study.study_instance_uid].append(study)
    return Past(current, versions, studies)


def _together(state: Past, history: Past) -> Past:
    """Return what both say: either may have been lost, and begun again since."""
    current = {booking_id: one for booking_id, one in state.current.items() if booking_id not in history.versions}
    versions = {
        booking_id: sorted(
            {one.until: one for past in (state, history) for one in past.versions.get(booking_id, ())}.values(),
            key=lambda version: version.until,
        )
        for booking_id in {*state.versions, *history.versions}
    }
    later = {
        booking_id: one
        for booking_id, one in current.items()
        if booking_id not in history.current or _since(one) > _since(history.current[booking_id])
    }
    return Past({**history.current, **later}, versions, {**state.studies, **history.studies})


def _since(booked: BookingRecord) -> datetime:
    return booked.since or datetime.min.replace(tzinfo=UTC)
