"""What a run remembers from before, and what it leaves behind besides the worklist: state, history, page and metrics.

A failure here is reported but never stops publishing.
"""

import fcntl
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.bookings.selection import Days, is_over, session
from dicom_worklist.errors import PacsError, WorklistError
from dicom_worklist.settings import Config, Status
from dicom_worklist.status import history
from dicom_worklist.status.findings import Emptied, Findings, load, save
from dicom_worklist.status.history import Past
from dicom_worklist.status.oddities import when
from dicom_worklist.status.overview import overview, seen
from dicom_worklist.status.reconcile import EARLY, BookingStatus, State
from dicom_worklist.status.records import BookingRecord, Study, Version

#: So many bookings don't go from a scanner's day at once unless something is wrong.
MANY = 3
#: For so long it is reported that a scanner's bookings went, unless it has some again.
ONE_WEEK = timedelta(days=7)


@dataclass(slots=True)
class Seen:
    """What a run saw: the bookings of yesterday, today and tomorrow, and what is in the calendar besides.

    `cancelled` are the ids of rows that don't count, `withdrawn` those that somebody cancelled in so many words;
    `doubles` are warnings of bookings that others contradict; `left` says how many entries are kept from the console
    because their scans are done.
    """

    bookings: list[BookingRecord] = field(default_factory=list)
    cancelled: Collection[str] = ()
    withdrawn: Collection[str] = ()
    doubles: tuple[str, ...] = ()
    labs: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    left: int = 0


class Watch:
    """Knows what was before, tells which bookings are done, and writes what a run saw."""

    def __init__(self, config: Config, days: Days, now: datetime) -> None:
        """Begin a run at `now`, an aware time."""
        #: What could not be done, in sentences.
        self.failures: list[str] = []
        #: What the run has to say, in lines; and what it saw.
        self.said: list[str] = []
        self.seen = Seen()
        self._config, self._status, self._days = config, config.status, days
        self._began, self._clock = now.astimezone(UTC), time.monotonic()
        self._pacs_failure = ""
        self._before = self._load()
        self._past = _past(self._before, days)

    def remember(self, booking_ids: Collection[str]) -> None:
        """Read what is known of these bookings."""
        if self._status is None:
            return
        path = history.path_beside(self._status.state)
        if not os.path.isdir(path.parent):  # noqa: PTH112 - pathlib's raises
            return  # which is named when the state is written
        try:
            past = history.read(path, booking_ids, *self._days.near)
        except (OSError, sqlite3.Error, msgspec.MsgspecError, ValueError) as error:
            self._fail_history("read", error)
        else:
            self._past = _together(self._past, past)

    def expected(self) -> set[str]:
        """Return the bookings of which there may be images, and which the calendar had on these days."""
        return {
            booked.booking_id
            for booked in self._before.bookings
            if self._days.now and booked.start and not booked.reason and self._days.is_near(booked.day)
            if booked.start - EARLY <= self._days.now
        }

    def elsewhere(self, there: Collection[str]) -> list[BookingRecord]:
        """Return the bookings that were on one of these days, were moved further away, and are not among `there`."""
        return [
            booked
            for booking_id, booked in self._past.current.items()
            if booking_id not in there and not booked.reason and not self._days.is_near(booked.day)
        ]

    def is_known(self, booking_id: str) -> bool:
        """Return whether a run saw this booking on one of these days."""
        return booking_id in self._past.current

    def known(self, booked: BookingRecord) -> BookingRecord:
        """Return the booking with the time since when it is as it is."""
        before = [known.get(booked.booking_id) for known in (self._past.current, self._latest)]
        # what was away for a moment, with the calendar's fault, is as it was
        before += [one.booked for one in self._past.versions.get(booked.booking_id, ())[-1:] if one.ended == "gone"]
        since = [one.since for one in before if one and one.since and one.same(booked)]
        return msgspec.structs.replace(booked, since=min(since, default=self._began))

    def reused(self, booked: BookingRecord) -> str:
        """Return why this booking must not have an entry: its id was another subject's, and that has images."""
        former = [version.booked for version in self._past.versions.get(booked.booking_id, ())]
        former += filter(None, [self._past.current.get(booked.booking_id)])
        for before in former:
            if before.reason or before.patient_id == booked.patient_id or (_unnamed(before) and _unnamed(booked)):
                continue
            for study in self._past.studies.get(before.study_instance_uid, ()):
                scanned = before.day in self._days_of(study)
                # on the day of the scan it may be a correction, but not of a session that was still to come then
                after = booked.start and study.start and study.start < booked.start - EARLY and self._ahead(booked)
                if scanned and (before.day != booked.day or after):
                    return (
                        f"booking_id {booked.booking_id} was that of {before.patient_name}, {before.ae_title} "
                        f"{when(before)}, who has images: both would have one StudyInstanceUID. Give the new booking "
                        "an id of its own, and change nothing in the study"
                    )
        return ""

    def _ahead(self, booked: BookingRecord) -> bool:
        """Return whether a booking was ahead when it became what it is."""
        since = (booked.since or self._began).astimezone(ZoneInfo(self._config.site.timezone)).replace(tzinfo=None)
        return booked.start is not None and since < booked.start

    def _days_of(self, study: Study) -> set[date]:
        """Return the days on which a study may have been made: its own, and that on which a run first saw it."""
        zone = ZoneInfo(self._config.site.timezone)
        return {moment.date() for moment in (study.start, study.seen and study.seen.astimezone(zone)) if moment}

    def is_done(self, booked: BookingRecord) -> bool:
        """Return whether the booking's scan is done, so that its entry leaves the console."""
        before = self._latest.get(booked.booking_id)
        return before is not None and before.same(booked) and booked.booking_id in self._done

    def entered(self) -> Iterator[BookingRecord]:
        """Return the bookings that had an entry in the last good run."""
        return (booked for booked in self._before.bookings if booked.start and not booked.reason)

    def going_on(self) -> Iterator[BookingRecord]:
        """Return the bookings of before the window that haven't ended, as the last good run saw them."""
        now = self._days.now
        for booked in self.entered():
            if now and booked.start and booked.day < self._days.first:
                end = booked.end or booked.start + session(self._config)
                if not is_over(end, self._config, now):
                    yield booked

    @cached_property
    def _going_on(self) -> frozenset[str]:
        return frozenset(booked.booking_id for booked in self.going_on())

    def finish(self, failure: str = "") -> None:
        """Write what was found; `failure` is why the run did not publish."""
        if self._status is None:
            return
        studies = self._studies
        with ExitStack() as stack:
            with suppress(OSError):  # which is named when the state is written
                stack.enter_context(_one_writer(Path(self._status.state).parent))
            self._write(self._status, failure, studies)
        self.failures = self._failures()

    def _failures(self) -> list[str]:
        unknown = [f"what arrived is not known: {self._pacs_failure}"] if self._pacs_failure else []
        return [*unknown, *self.failures]

    def _write(self, status: Status, failure: str, studies: tuple[Study, ...] | None) -> None:
        before, now = self._load(), self._began + timedelta(seconds=time.monotonic() - self._clock)
        if before.began and self._began < before.began <= now:
            return  # another run began later, and has told already
        ended = {} if failure else self._ended()
        if not failure:
            self._record(status, ended, studies)
        found = Findings(
            bookings=tuple(self.seen.bookings),
            past=() if failure else tuple(self._versions(ended)),
            studies=before.studies if studies is None else studies,
            good=now,
            asked=before.asked if studies is None else now,
            began=self._began,
            seconds=(now - self._began).total_seconds(),
            pacs_failure=self._pacs_failure,
            failures=tuple(self.failures),
            said=before.said if failure else tuple(self.said),
            labs=self.seen.labs,
            statuses=self.seen.statuses,
            leftovers=self.seen.leftovers,
            doubles=self.seen.doubles,
            emptied=() if failure else tuple(self._emptied(before)),
        )
        if failure:
            kept = tuple(self._expired(booked) for booked in before.bookings)
            found = msgspec.structs.replace(
                found, bookings=kept, good=before.good, failure=failure, past=before.past, labs=before.labs,
                statuses=before.statuses, leftovers=before.leftovers, emptied=before.emptied,
            )  # fmt: skip
        self._try(found, f"status.state {status.state}", lambda found: save(status.state, found))
        for folder, what, write in (
            (status.metrics, "metrics", self._write_metrics),
            (status.page, "page", self._write_page),
        ):
            if folder:
                self._try(
                    msgspec.structs.replace(found, failures=tuple(self.failures)), f"status.{what} {folder}", write
                )
        if len(self.failures) > len(found.failures):
            with suppress(OSError, ValueError):  # named already
                save(status.state, msgspec.structs.replace(found, failures=tuple(self.failures)))

    def _expired(self, booked: BookingRecord) -> BookingRecord:
        """Return a booking as it is when the calendar can't be read: entries of before the window go when they end."""
        stays = booked.day >= self._days.first or booked.booking_id in self._going_on
        return msgspec.structs.replace(booked, on_console=booked.on_console and stays)

    @cached_property
    def _by_id(self) -> dict[str, BookingRecord]:
        """The bookings of this run; of those that share an id, and are rejected, one."""
        return {booked.booking_id: booked for booked in self.seen.bookings if booked.booking_id}

    def _ended(self) -> dict[str, str]:
        """Return the bookings of these days that are no more: booking id → how they ended."""
        there = {booked.booking_id for booked in self.seen.bookings}
        return {
            booking_id: "cancelled" if booking_id in self.seen.cancelled else "gone"
            for booking_id, booked in self._past.current.items()
            if booking_id not in there and self._days.is_near(booked.day)
        }

    def _versions(self, ended: Mapping[str, str]) -> Iterator[Version]:
        """Return what the bookings of these days were before."""
        for versions in self._past.versions.values():
            yield from versions
        for booked in self._by_id.values():
            before = self._past.current.get(booked.booking_id)
            if before and not before.same(booked):
                yield Version(booked=before, until=self._began)
        for booking_id, how in ended.items():
            yield Version(booked=self._past.current[booking_id], until=self._began, ended=how)

    def _record(self, status: Status, ended: Mapping[str, str], studies: Sequence[Study] | None) -> None:
        path = history.path_beside(status.state)
        if os.path.isdir(path.parent):  # noqa: PTH112 - pathlib's raises
            try:
                news = history.News([*self._by_id.values()], studies or (), ended)
                history.record(path, self._began, news, status.history_days)
            except (OSError, sqlite3.Error, ValueError) as error:
                self._fail_history("written", error)

    def _fail_history(self, what: str, error: Exception) -> None:
        path = history.path_beside(self._status.state) if self._status else ""
        remedy = (
            "Move it away and keep it: the next run begins a new one. Until then an id that is used again isn't seen"
        )
        if isinstance(error, PermissionError) or "readonly" in str(error):
            remedy = "It belongs to another user: site.yml puts that right"
        said = f"the history {path} can't be {what}: {error}; the worklist does without. {remedy}"
        self.failures += [] if said in self.failures else [said]

    def _emptied(self, before: Findings) -> Iterator[Emptied]:
        """Return the scanners whose bookings of a day all went at once, until there are some again."""
        now = Counter((booked.ae_title, booked.day) for booked in self.seen.bookings)
        titles = {scanner.ae_title for scanner in self._config.scanners}
        # moved to another scanner or day, or cancelled in so many words: that is meant
        there = {booked.booking_id for booked in self.seen.bookings} | {*self.seen.withdrawn}
        then = Counter(
            (booked.ae_title, booked.day)
            for booked in before.bookings
            if booked.ae_title in titles and booked.booking_id not in there
        )
        today = self._days.near[0] + timedelta(days=1)
        known = {(one.ae_title, one.day): one for one in before.emptied if one.ae_title in titles}
        busy = {title for title, day in now if day >= today}
        yield from (one for (title, _), one in known.items() if title not in busy and one.day >= today - ONE_WEEK)
        for day in (today, self._days.near[1]):
            of_day = {place: count for place, count in then.items() if place[1] == day}
            whole = sum(of_day.values()) >= MANY and not any(now[place] for place in of_day)
            for (title, _), count in of_day.items():
                if not now[title, day] and (count >= MANY or whole) and (title, day) not in known:
                    yield Emptied(ae_title=title, day=day, count=count, since=self._began)

    def _load(self) -> Findings:
        if self._status is None:
            return Findings()
        try:
            return load(self._status.state)
        except OSError as error:
            said = f"status.state {self._status.state} can't be read: {error.strerror}"
            self.failures += [] if said in self.failures else [said]
            return Findings()

    @cached_property
    def _studies(self) -> tuple[Study, ...] | None:
        """The studies of these days; None if the PACS can't say, or there is none. It is asked once."""
        if self._config.pacs is None:
            return None
        from dicom_worklist.status import pacs  # noqa: PLC0415 - a site without one doesn't pay for the import

        zone = ZoneInfo(self._config.site.timezone)
        here = self._began.astimezone(zone).replace(tzinfo=None)
        bookings = [*self._before.bookings, *(version.booked for version in self._before.past)]
        begun = [booked for booked in bookings if not booked.reason and booked.start and booked.start - EARLY <= here]
        try:
            studies = pacs.studies(self._config.pacs, *self._days.near, zone, begun)
        except PacsError as error:
            self._pacs_failure = str(error)
            return None
        first = {study.orthanc_id: study.seen for of_one in self._past.studies.values() for study in of_one}
        first |= {study.orthanc_id: study.seen for study in self._before.studies}
        return tuple(
            msgspec.structs.replace(study, seen=first.get(study.orthanc_id) or self._began) for study in studies
        )

    @cached_property
    def _latest(self) -> dict[str, BookingRecord]:
        """The bookings of the last good run, by their ids."""
        return {booked.booking_id: booked for booked in self._before.bookings}

    @cached_property
    def _done(self) -> frozenset[str]:
        """The bookings whose entries leave the console.

        Their time is over; their images were made in it, by the right scanner, of the right subject, and since the
        booking is as it is; none has come for the grace time. While the PACS can't say, what was done stays done.
        """
        before = self._before
        if self._status is None or self._status.leave_after is None:
            return frozenset()
        grace, now = self._status.leave_after, self._began
        here = now.astimezone(ZoneInfo(self._config.site.timezone)).replace(tzinfo=None)
        studies = before.studies if self._studies is None else self._studies
        lines = seen(self._config, self._status, msgspec.structs.replace(before, studies=studies, asked=now), now).lines

        def is_done(line: BookingStatus) -> bool:
            begins = [study.start for study in line.studies if study.start]
            ends = [study.updated for study in line.studies if study.updated]
            return (
                line.state is State.ARRIVED
                and not line.oddities
                and len(begins) == len(ends) == len(line.studies) > 0
                and line.booked.start is not None
                and min(begins) >= line.booked.start - EARLY
                and line.end is not None
                and line.end <= here
                and line.booked.since is not None
                # Orthanc tells whole seconds
                and line.booked.since.replace(microsecond=0) <= max(ends) <= now - timedelta(minutes=grace)
            )

        return frozenset(line.booked.booking_id for line in lines if is_done(line))

    def _write_metrics(self, found: Findings) -> None:
        from dicom_worklist.status import metrics  # noqa: PLC0415 - a site without pays nothing

        folder = Path(str(self._status and self._status.metrics))
        metrics.write(folder, overview(self._config, found, found.good or self._began), found)

    def _write_page(self, found: Findings) -> None:
        from dicom_worklist.status import page  # noqa: PLC0415 - a site without pays nothing

        page.write(Path(str(self._status and self._status.page)), overview(self._config, found, self._now()))

    def _now(self) -> datetime:
        return self._began + timedelta(seconds=time.monotonic() - self._clock)

    def _try(self, found: Findings, what: str, write: Callable[[Findings], None]) -> None:
        try:
            write(found)
        except Exception as error:  # noqa: BLE001 - the worklist is there, and whatever this is, it is named
            self._fail(what, error)

    def _fail(self, what: str, error: Exception) -> None:
        said = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        self.failures.append(f"{what} can't be written: {said}; site.yml puts its owner and mode right")


def _unnamed(booked: BookingRecord) -> bool:
    """Return whether no subject was known: the PatientID then has the booking's start."""
    return booked.start is not None and booked.patient_id.endswith(f"_sub-{booked.start:%Y%m%dT%H%M%S}")


def _past(found: Findings, days: Days) -> Past:
    """Return what the state alone says of before, from the first of the days on."""
    current = {booked.booking_id: booked for booked in found.bookings if booked.day >= days.near[0]}
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    for version in found.past:
        if version.booked.day >= days.near[0] or version.booked.booking_id in current:
            versions[version.booked.booking_id].append(version)
    studies: defaultdict[str, list[Study]] = defaultdict(list)
    for study in found.studies:
        studies[study.study_instance_uid].append(study)
    return Past(current, versions, studies)


def _together(state: Past, history: Past) -> Past:
    """Return what both say: either may have been lost, and begun anew since."""
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


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Keep other runs from writing what they found meanwhile: a playbook's and the cron job's may overlap."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def watch(config: Config, days: Days, now: datetime, *, record: bool) -> Iterator[Watch]:
    """Watch a run, and write what was found if that is to be recorded."""
    watching = Watch(config, days, now)
    try:
        yield watching
    except WorklistError as error:
        if record:
            watching.finish(str(error))
        if watching.failures:
            raise type(error)(str(error), watching.failures) from error
        raise
    if record:
        watching.finish()
