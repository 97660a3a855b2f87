"""Giving a study in Orthanc the identity that its booking has, so that at each moment a whole copy of it is there.

Each image is read, changed, stored under its new PatientID, read again and compared; the original goes when all of the
copies are as they must be. Orthanc's own modification is not used, for what it does in 1.13: with `OverwriteInstances:
Never` it reports success and changes nothing where the PatientID stays; it refuses a PatientName other than that of the
subject's other studies; and it leaves no trace in the images.

The UIDs stay. Orthanc names an image by its UIDs and its PatientID, so a study whose PatientID stays goes by way of an
interim PatientID. A run that was killed has left the original, or a whole copy, or both: the next one completes it.
"""

import fcntl
import os
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha1
from typing import Any

import msgspec

from dicom_worklist.errors import ConfigError, PacsError
from dicom_worklist.orthanc import ask
from dicom_worklist.settings import Config, Pacs
from dicom_worklist.status import findings as state
from dicom_worklist.status import history
from dicom_worklist.status.correction import (
    IDENTITY,
    INTERIM,
    ORTHANC_ID,
    REQUEST,
    REQUESTED,
    corrected,
    differences,
    original_of,
)
from dicom_worklist.status.records import BookingRecord

#: An answer of Orthanc may take so long, in seconds: a large image, or the headers of a large study.
TIMEOUT = 600
#: The user metadata of Orthanc (1024 to 65535) that keeps Orthanc's id of the original.
REPAIRED_FROM = "4002"
UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")


@dataclass(frozen=True, slots=True)
class Change:
    """An attribute, what the study says, and what the booking says."""

    attribute: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a repair will change. `study` is Orthanc's id; `interim` that of the copy which a killed run left, or empty.

    `original` is what `study` is an interim copy of, or itself; `stable` says that no image has come for Orthanc's
    StableAge; `stale` that Orthanc shows another identity for it than its images have: that of one which is gone.
    """

    study: str
    study_instance_uid: str
    booking_id: str
    patient_id: str
    original: str
    series: int
    images: int
    stable: bool
    labels: tuple[str, ...]
    changes: tuple[Change, ...]
    stale: bool
    interim: str

    @property
    def right(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.changes or self.interim or self.stale)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        kept = {
            "study",
            "study_instance_uid",
            "booking_id",
            "series",
            "images",
            "stable",
            "stale",
            "interim",
            "changes",
        }
        return {name: value for name, value in asdict(self).items() if name in kept}


def identity_of(config: Config, booking_id: str) -> BookingRecord:
    """Return what the last run found of a booking, or else what the history has of it.

    Raises:
        ConfigError: it is not known, or has no entry.
    """
    if config.status is None:
        raise ConfigError(state.NO_RECORD)
    try:
        bookings = [one for one in state.load(config.status.state).bookings if one.booking_id == booking_id]
        if not bookings:
            past = history.read(history.path_beside(config.status.state), [booking_id])
            bookings = [*past.current.values(), *(one.booked for one in past.versions.get(booking_id, ())[-1:])][:1]
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise ConfigError(f"the history beside status.state can't be read: {error}") from error
    except OSError as error:
        raise ConfigError(f"status.state {config.status.state} can't be read: {error.strerror}; run as root") from error
    if not bookings:
        raise ConfigError(
            f"booking {booking_id!r} is not known: no run has seen it within status.history_days. Is it STUDY "
            "BOOKING, in this order?"
        )
    if reasons := [booked.reason for booked in bookings if booked.reason]:
        raise ConfigError(f"booking {booking_id!r} has no entry, so no identity to give: {reasons[0]}")
    if len({tuple(values_of(booked).items()) for booked in bookings}) > 1:
        raise ConfigError(f"booking {booking_id!r} is there twice, for different subjects: correct the calendar first")
    return bookings[0]


def other_booking(config: Config, todo: Plan, booked: BookingRecord) -> BookingRecord | None:
    """Return the other booking that this study fits as it is: its StudyInstanceUID and its PatientID."""
    bookings = state.load(config.status.state).bookings if config.status else ()
    fitting = (
        one
        for one in bookings
        if one.booking_id != booked.booking_id
        and (one.study_instance_uid, one.patient_id) == (todo.study_instance_uid, todo.patient_id)
    )
    return next(fitting, None)


def values_of(booked: BookingRecord) -> dict[str, str]:
    """Return DICOM keyword → text of what a booking says; what it leaves empty stays as it is."""
    values = {
        "PatientID": booked.patient_id,
        "PatientName": booked.patient_name,
        "AccessionNumber": booked.accession_number,
        "StudyDescription": booked.project,
        "RequestedProcedureDescription": booked.project,
        "ScheduledProcedureStepID": booked.step_id,
    }
    return {keyword: value for keyword, value in values.items() if value}


def login(config: Config, user: str, password_file: str) -> Pacs:
    """Return the PACS with a login that may change studies.

    Raises:
        ConfigError: the configuration names no PACS.
    """
    if config.pacs is None:
        raise ConfigError("there is no section pacs, so it is not known where Orthanc is")
    return msgspec.structs.replace(config.pacs, user=user, password_file=password_file, timeout=TIMEOUT)


# --- what there is, and what a repair would do ---


@dataclass(frozen=True, slots=True)
class _Study:
    """A study in Orthanc; `tags` are those of its first image."""

    orthanc_id: str
    stable: bool
    labels: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def patient_id(self) -> str:
        return self.tags["PatientID"]

    @property
    def original(self) -> str:
        """Orthanc's id of the study that this is an interim copy of, or empty."""
        return original_of(self.patient_id)


def plan(pacs: Pacs, name: str, booked: BookingRecord) -> Plan:
    """Find the study that has this name, Orthanc's id or its StudyInstanceUID, and what would change in it.

    Raises:
        ConfigError: no study has this name, or several do.
        PacsError: Orthanc can't be asked.
    """
    study, interim = _named(pacs, name, booked)
    values = values_of(booked)
    shared = ask(pacs, f"/studies/{study.orthanc_id}/shared-tags?simplify")  # those that all images have alike
    parts = _find(pacs, "Series", {}, ("NumberOfSeriesRelatedInstances",), ParentStudy=study.orthanc_id)
    return Plan(
        study=study.orthanc_id,
        study_instance_uid=study.tags["StudyInstanceUID"],
        booking_id=booked.booking_id,
        patient_id=study.patient_id,
        original=study.original or study.orthanc_id,
        series=len(parts),
        images=sum(int(part["RequestedTags"]["NumberOfSeriesRelatedInstances"]) for part in parts),
        stable=study.stable,
        labels=study.labels,
        changes=tuple(_changes(study, shared, parts, values)),
        stale=any(
            shared.get(keyword) == values.get(keyword) != study.tags[keyword] for keyword in values.keys() & IDENTITY
        ),
        interim=interim.orthanc_id if interim else "",
    )


def _changes(
    study: _Study, shared: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> Iterator[Change]:
    for keyword in IDENTITY:
        old = study.tags[keyword]
        if keyword in values and shared.get(keyword) != values[keyword]:
            yield Change(keyword, old if keyword in shared or not old else f"{old} and others", values[keyword])
    items = [item for part in parts for item in part["MainDicomTags"].get(REQUEST) or ()]
    for keyword in REQUESTED:
        olds = {item[keyword] for item in items if keyword in item}
        if keyword in values and olds - {values[keyword]}:
            yield Change(f"{REQUEST}.{keyword}", ", ".join(sorted(olds)), values[keyword])


def _named(pacs: Pacs, name: str, booked: BookingRecord) -> tuple[_Study, _Study | None]:
    """Return the study of this name, and the interim copy of it that a killed run left."""
    if ORTHANC_ID.fullmatch(name):
        # of one that is gone a killed run may have left a copy
        uids = _find(pacs, "Series", {}, ("StudyInstanceUID",), ParentStudy=name) or _find(
            pacs, "Study", {}, ("StudyInstanceUID",), MetadataQuery={REPAIRED_FROM: name}
        )
        studies = _studies(pacs, uids[0]["RequestedTags"]["StudyInstanceUID"]) if uids else []
        known = {name} if any(study.orthanc_id == name for study in studies) else {one["ID"] for one in uids}
        named = [study for study in studies if study.orthanc_id in known]
    elif UID.fullmatch(name) and len(name) <= 64:
        named = studies = _studies(pacs, name)
    else:
        raise ConfigError(f"{name!r} is neither Orthanc's id of a study, as in the address of its page, nor a UID")
    originals = [study for study in named if not study.original] or named
    found = [study for study in originals if study.patient_id != booked.patient_id] or originals
    if not found:
        raise ConfigError(f"Orthanc has no study {name}")
    if len(found) > 1:
        raise ConfigError(f"Orthanc has several studies {name}; name one: {', '.join(s.orthanc_id for s in found)}")
    interims = [study for study in studies if study.original == found[0].orthanc_id]
    return found[0], interims[0] if interims else None


def _studies(pacs: Pacs, uid: str) -> list[_Study]:
    tags = ("StudyInstanceUID", *IDENTITY)
    return [
        _Study(
            orthanc_id=one["ID"],
            stable=one["IsStable"] is True,
            labels=tuple(one["Labels"]),
            tags={keyword: str(one["RequestedTags"].get(keyword) or "") for keyword in tags},
        )
        for one in _find(pacs, "Study", {"StudyInstanceUID": uid}, tags)
    ]


def _find(pacs: Pacs, level: str, query: Mapping[str, str], tags: Sequence[str], **limits: object) -> Any:
    content = ["MainDicomTags", "IsStable", "Labels", "RequestedTags"]
    question = {"Level": level, "Query": query, "ResponseContent": content, "RequestedTags": tags, **limits}
    return ask(pacs, "/tools/find", question)


def _images(pacs: Pacs, study: str) -> dict[str, tuple[str, str]]:
    """Return a study's images: Orthanc's id → SeriesInstanceUID and SOPInstanceUID."""
    found = _find(pacs, "Instance", {}, ("SeriesInstanceUID", "SOPInstanceUID"), ParentStudy=study)
    tags = {one["ID"]: one["RequestedTags"] for one in found}
    return {image: (tag["SeriesInstanceUID"], tag["SOPInstanceUID"]) for image, tag in tags.items()}


def _orthanc_id(*names: str) -> str:
    """Return Orthanc's id of a study (PatientID and UID) or an image (and the UIDs of its series and its own)."""
    digest = sha1("|".join(names).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


# --- doing it ---


@dataclass(frozen=True, slots=True)
class Run:
    """What a repair works with; `now` is aware, `track` shows how far it is, `say` gets a line of each thing done."""

    pacs: Pacs
    now: datetime
    track: Callable[[Sequence[str], str], Iterable[str]]
    say: Callable[[str], None]


def repair(run: Run, name: str, booked: BookingRecord) -> str:
    """Do what `plan` says; return Orthanc's id of the study that is right now.

    Raises:
        ConfigError: no study has this name, or several do.
        PacsError: it can't be done, or a copy is not as it must be; then nothing was removed that has no whole copy.
    """
    with _alone(run.pacs):
        todo = plan(run.pacs, name, booked)
        study, values = todo.study, values_of(booked)
        left: Collection[str] = ()
        if todo.changes:
            if not todo.stable:
                raise PacsError(
                    f"study {study} is still receiving images: wait until no image has come for Orthanc's StableAge "
                    "(45 seconds), and run this again"
                )
            in_place = todo.patient_id == booked.patient_id
            held = values | {"PatientID": f"{INTERIM}{study}"} if in_place else values
            copy = _move(run, todo, study, held)
            left = _images(run.pacs, study)
            study, interim = copy, copy if in_place else todo.interim
        else:
            interim = todo.interim
        if interim:
            study = _move(run, todo, interim, values)
        if left:
            raise PacsError(f"{len(left)} images came to study {todo.study} meanwhile: run this again in a minute")
        if plan(run.pacs, study, booked).stale:
            ask(run.pacs, f"/studies/{study}/reconstruct", {})
        if others := plan(run.pacs, study, booked).changes:
            raise PacsError(
                f"study {study} had other images before, whose {', '.join(change.attribute for change in others)} "
                f"is not as booked: run this again for study {study} in a minute"
            )
        return study


@contextmanager
def _alone(pacs: Pacs) -> Iterator[None]:
    """Keep a second repair away: of two at once one could remove what the other has made."""
    try:
        handle = os.open(pacs.password_file, os.O_RDONLY)
    except OSError as error:
        raise PacsError(f"{pacs.password_file} can't be read: {error.strerror}; run as root") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PacsError("another repair is running: wait until it has ended") from error
        yield
    finally:
        os.close(handle)


def _move(run: Run, todo: Plan, source: str, values: Mapping[str, str]) -> str:
    """Store each image of a study with these values, compare all, remove the originals; return the new study's id.

    Raises:
        PacsError: a copy is not as it must be; nothing was removed.
    """
    pacs, copies, wrong = run.pacs, dict[str, str](), list[str]()
    target = _orthanc_id(values["PatientID"], todo.study_instance_uid)
    there = _images(pacs, target)  # they stay as they are, even if Orthanc's OverwriteInstances is true
    images = _images(pacs, source)
    for image in run.track([*images], "Copying and comparing"):
        copies[image] = copy = _orthanc_id(values["PatientID"], todo.study_instance_uid, *images[image])
        content = ask(pacs, f"/instances/{image}/file")
        if copy not in there:
            stored = ask(pacs, "/instances", corrected(content, values, run.now))["ID"]
            if stored != copy or copy == image:
                raise PacsError(f"Orthanc took the copy of image {image} for {stored}, not {copy}: nothing was removed")
        back = ask(pacs, f"/instances/{copy}/file")
        wrong += [f"image {copy}: {what}" for what in differences(content, back, values)]
    missing = {*copies.values()} - _images(pacs, target).keys()
    wrong += [f"image {image} is not there" for image in sorted(missing)]
    if wrong:
        raise PacsError(
            f"the copy, study {target}, is not as study {source}: {'; '.join(wrong[:10])}"
            f"{f' and {len(wrong) - 10} more' if len(wrong) > 10 else ''}. Nothing was removed. Look at both, and ask "
            "who stored them: the copy may be the right subject's own images"
        )
    for label in todo.labels:
        ask(pacs, f"/studies/{target}/labels/{label}", b"", "PUT")
    ask(pacs, f"/studies/{target}/metadata/{REPAIRED_FROM}", todo.original.encode(), "PUT")
    # those that were compared and no others: what has come meanwhile stays
    ask(pacs, "/tools/bulk-delete", {"Resources": [*copies]})
    said = ", ".join(f"{keyword} {value!r}" for keyword, value in values.items())
    run.say(f"{len(copies)} images copied to study {target}, compared, and removed from study {source}: {said}")
    return target
