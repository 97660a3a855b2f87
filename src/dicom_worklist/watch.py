"""What a run leaves behind besides the worklist: its state, the page and the metrics.

Whatever fails here is named, and nothing else: the worklist is published all the same.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.booking import Row, printable, read_date, read_start, text
from dicom_worklist.config import Config, Scanner, Status
from dicom_worklist.entry import Entry
from dicom_worklist.errors import PacsError, Rejected, WorklistError
from dicom_worklist.overview import overview, seen
from dicom_worklist.records import Booked, Study
from dicom_worklist.reconcile import EARLY, Line, State
from dicom_worklist.state import Found, load, save

ONE_DAY = timedelta(days=1)
FIRST, LAST = date.min + ONE_DAY, date.max - ONE_DAY


class Watch:
    """Takes note of the bookings that a run sees, of yesterday, today and tomorrow, and tells which are done."""

    def __init__(self, config: Config, status: Status, day: date, now: datetime) -> None:
        """Begin a run at `now`, an aware time."""
        self.first_day, self.last_day = max(day, FIRST) - ONE_DAY, min(day, LAST) + ONE_DAY
        #: How many entries are kept from the console because their scans are done.
        self.left = 0
        #: What could not be done, in sentences.
        self.failures: list[str] = []
        self._config, self._status, self._day = config, status, day
        self._began = now.astimezone(UTC)
        self._bookings: list[Booked] = []
        self._pacs_failure = ""
        self._before = self._load()

    def book(self, row: Row, entry: Entry, start: datetime, *, in_window: bool) -> bool:
        """Take note of a booking that has an entry; return whether the scanner is to be shown it."""
        values = entry.values
        booked = Booked(
            booking_id=text(row, "booking_id"),
            day=start.date(),
            ae_title=values["ScheduledStationAETitle"],
            start=start,
            patient_id=values["PatientID"],
            patient_name=values["PatientName"],
            study_instance_uid=values["StudyInstanceUID"],
            accession_number=values.get("AccessionNumber", ""),
            step_id=values["ScheduledProcedureStepID"],
            project=values["RequestedProcedureDescription"],
            booked_by=values.get("RequestingPhysician", ""),
        )
        before = self._known.get(booked.booking_id)
        same = before is not None and msgspec.structs.replace(before, on_console=False, since=None) == booked
        done = same and booked.booking_id in self._done
        self.left += in_window and done
        on_console = in_window and not done
        since = before.since if before and same else self._began
        self._note(msgspec.structs.replace(booked, on_console=on_console, since=since))
        return on_console

    def reject(self, row: Row, scanner: Scanner | None, reason: str) -> None:
        """Take note of a booking that has none."""
        day, start = self._day, None
        with suppress(Rejected):  # as much as can be read
            day = read_date(row, self._config.reading)
            start = read_start(row, self._config.reading)
        title = scanner.ae_title if scanner else ""
        booking_id = printable(text(row, "booking_id"))
        self._note(Booked(booking_id=booking_id, day=day, ae_title=title, start=start, reason=reason))

    def finish(self, failure: str = "") -> None:
        """Write what was found; `failure` is why the run did not publish."""
        studies = self._studies
        with ExitStack() as stack:
            with suppress(OSError):  # which is named when the state is written
                stack.enter_context(_one_writer(Path(self._status.state).parent))
            self._write(failure, studies)
        if self._pacs_failure:
            self.failures.insert(0, f"what arrived is not known: {self._pacs_failure}")

    def _write(self, failure: str, studies: tuple[Study, ...] | None) -> None:
        before, now = self._load(), datetime.now(UTC)
        if before.began and self._began < before.began <= now:
            return  # another run began later, and has told already
        found = Found(
            bookings=tuple(self._bookings),
            studies=before.studies if studies is None else studies,
            good=now,
            asked=before.asked if studies is None else now,
            began=self._began,
            seconds=(now - self._began).total_seconds(),
            pacs_failure=self._pacs_failure,
            failures=tuple(self.failures),
        )
        if failure:
            kept = tuple(self._expired(booked) for booked in before.bookings)
            found = msgspec.structs.replace(found, bookings=kept, good=before.good, failure=failure)
        self._try(found, f"status.state {self._status.state}", lambda found: save(self._status.state, found))
        for folder, what, write in (
            (self._status.metrics, "metrics", self._write_metrics),
            (self._status.page, "page", self._write_page),
        ):
            if folder:
                self._try(
                    msgspec.structs.replace(found, failures=tuple(self.failures)), f"status.{what} {folder}", write
                )
        if len(self.failures) > len(found.failures):
            with suppress(OSError):  # named already
                save(self._status.state, msgspec.structs.replace(found, failures=tuple(self.failures)))

    def _expired(self, booked: Booked) -> Booked:
        """Return a booking as it is when the calendar can't be read: entries of days before the window go."""
        first_day = self._day - timedelta(days=min(self._config.window.days_back, (self._day - date.min).days))
        return msgspec.structs.replace(booked, on_console=booked.on_console and booked.day >= first_day)

    def _note(self, booked: Booked) -> None:
        if self.first_day <= booked.day <= self.last_day:  # the window may be wider
            self._bookings.append(booked)

    def _load(self) -> Found:
        try:
            return load(self._status.state)
        except OSError as error:
            said = f"status.state {self._status.state} can't be read: {error.strerror}"
            self.failures += [] if said in self.failures else [said]
            return Found()

    @cached_property
    def _studies(self) -> tuple[Study, ...] | None:
        """The studies of these days; None if the PACS can't say, or there is none. It is asked once."""
        if self._config.pacs is None:
            return None
        from dicom_worklist import pacs  # noqa: PLC0415 - a site without one doesn't pay for the import

        try:
            return pacs.studies(self._config.pacs, self.first_day, self.last_day)
        except PacsError as error:
            self._pacs_failure = str(error)
            return None

    @cached_property
    def _known(self) -> dict[str, Booked]:
        """The bookings of the last good run, by their ids."""
        return {booked.booking_id: booked for booked in self._before.bookings}

    @cached_property
    def _done(self) -> frozenset[str]:
        """The bookings whose entries leave the console.

        Their time is over; their images were made in it, by the right scanner, of the right subject, and since the
        booking is as it is; none has come for the grace time. While the PACS can't say, what was done stays done.
        """
        grace, before = self._status.leave_after, self._before
        if grace is None:
            return frozenset()
        now = datetime.now(UTC)
        here = now.astimezone(ZoneInfo(self._config.site.timezone)).replace(tzinfo=None)
        studies = before.studies if self._studies is None else self._studies
        lines = seen(self._config, self._status, msgspec.structs.replace(before, studies=studies, asked=now)).lines

        def is_done(line: Line) -> bool:
            begins = [study.start for study in line.studies if study.start]
            ends = [study.updated for study in line.studies if study.updated]
            return (
                line.state is State.ARRIVED
                and not line.oddities
                and len(begins) == len(ends) == len(line.studies)
                and line.booked.start is not None
                and min(begins) >= line.booked.start - EARLY
                and line.end is not None
                and line.end <= here
                and line.booked.since is not None
                # Orthanc tells whole seconds
                and line.booked.since.replace(microsecond=0) <= max(ends) <= now - timedelta(minutes=grace)
            )

        return frozenset(line.booked.booking_id for line in lines if is_done(line))

    def _write_metrics(self, found: Found) -> None:
        from dicom_worklist import metrics  # noqa: PLC0415 - a site without pays nothing

        metrics.write(Path(str(self._status.metrics)), overview(self._config, found, datetime.now(UTC)), found)

    def _write_page(self, found: Found) -> None:
        from dicom_worklist import page  # noqa: PLC0415 - a site without pays nothing

        page.write(Path(str(self._status.page)), overview(self._config, found, datetime.now(UTC)))

    def _try(self, found: Found, what: str, write: Callable[[Found], None]) -> None:
        try:
            write(found)
        except Exception as error:  # noqa: BLE001 - the worklist is there, and whatever this is, it is named
            self._fail(what, error)

    def _fail(self, what: str, error: Exception) -> None:
        said = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
        self.failures.append(f"{what} can't be written: {said}; site.yml puts its owner and mode right")


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
def watch(config: Config, day: date, *, record: bool) -> Iterator[Watch | None]:
    """Watch a run, and write what was found if that is to be recorded; None where nothing is configured."""
    if config.status is None:
        yield None
        return
    watching = Watch(config, config.status, day)
    try:
        yield watching
    except WorklistError as error:
        if record:
            watching.finish(str(error))
        if watching.failures:
            raise type(error)(f"{error}. Besides, {'; '.join(watching.failures)}") from error
        raise
    if record:
        watching.finish()
