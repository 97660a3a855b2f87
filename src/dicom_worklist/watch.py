"""What a run leaves behind besides the worklist: its state, the page and the metrics.

Whatever fails here is named, and nothing else: the worklist is published all the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec

from dicom_worklist.booking import Row, printable, read_date, read_start, text
from dicom_worklist.config import Config, Scanner, Status
from dicom_worklist.entry import Entry
from dicom_worklist.errors import PacsError, Rejected, WorklistError
from dicom_worklist.overview import overview, seen
from dicom_worklist.reconcile import Booked, State, Study
from dicom_worklist.state import Found, load, save

ONE_DAY = timedelta(days=1)
FIRST, LAST = date.min + ONE_DAY, date.max - ONE_DAY


class Watch:
    """Takes note of the bookings that a run sees, of yesterday, today and tomorrow, and tells which are done."""

    def __init__(self, config: Config, status: Status, day: date) -> None:
        """Begin a run."""
        self.first_day, self.last_day = max(day, FIRST) - ONE_DAY, min(day, LAST) + ONE_DAY
        #: How many entries are kept from the console because their scans are done.
        self.left = 0
        #: What could not be done, in sentences.
        self.failures: list[str] = []
        self._config, self._status, self._day = config, status, day
        self._began = datetime.now(UTC)
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
        # one that was changed since is looked at again before its entry goes
        done = self._done.get(booked.booking_id) == booked
        self.left += in_window and done
        on_console = in_window and not done
        self._bookings.append(msgspec.structs.replace(booked, on_console=on_console))
        return on_console

    def reject(self, row: Row, scanner: Scanner | None, reason: str) -> None:
        """Take note of a booking that has none."""
        day, start = self._day, None
        with suppress(Rejected):  # as much as can be read
            day = read_date(row)
            start = read_start(row)
        self._bookings.append(
            Booked(
                booking_id=printable(text(row, "booking_id")),
                day=day,
                ae_title=scanner.ae_title if scanner else "",
                start=start,
                reason=reason,
            )
        )

    def finish(self, failure: str = "") -> None:
        """Write what was found; `failure` is why the run did not publish."""
        studies, before, now = self._studies, self._before, datetime.now(UTC)
        found = Found(
            bookings=before.bookings if failure else tuple(self._bookings),
            studies=before.studies if studies is None else studies,
            good=before.good if failure else now,
            asked=before.asked if studies is None else now,
            began=self._began,
            seconds=(now - self._began).total_seconds(),
            failure=failure,
            pacs_failure=self._pacs_failure,
            failures=tuple(self.failures),
        )
        if self._status.metrics:
            found = self._try(found, f"status.metrics {self._status.metrics}", self._write_metrics)
        if self._status.page:
            found = self._try(found, f"status.page {self._status.page}", self._write_page)
        self._try(found, f"status.state {self._status.state}", lambda found: save(self._status.state, found))
        if self._pacs_failure:
            self.failures.insert(0, f"what arrived is not known: {self._pacs_failure}")

    def _load(self) -> Found:
        try:
            return load(self._status.state)
        except OSError as error:
            self.failures.append(f"status.state {self._status.state} can't be read: {error.strerror}")
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
    def _done(self) -> dict[str, Booked]:
        """The bookings whose entries leave the console, as the last run saw them.

        Their images are all there, of the right subject, and no more have come for the grace time. While the PACS
        can't say, what was done stays done.
        """
        grace, before = self._status.leave_after, self._before
        if grace is None:
            return {}
        now = datetime.now(UTC)
        studies = before.studies if self._studies is None else self._studies
        done = {}
        for line in seen(self._config, self._status, msgspec.structs.replace(before, studies=studies, asked=now)).lines:
            ended = max((study.updated for study in line.studies if study.updated), default=None)
            if line.state is State.ARRIVED and not line.oddities and ended and now - ended >= timedelta(minutes=grace):
                done[line.booked.booking_id] = msgspec.structs.replace(line.booked, on_console=False)
        return done

    def _write_metrics(self, found: Found) -> None:
        from dicom_worklist import metrics  # noqa: PLC0415 - a site without pays nothing

        metrics.write(Path(str(self._status.metrics)), overview(self._config, found, datetime.now(UTC)), found)

    def _write_page(self, found: Found) -> None:
        from dicom_worklist import page  # noqa: PLC0415 - a site without pays nothing

        page.write(Path(str(self._status.page)), overview(self._config, found, datetime.now(UTC)))

    def _try(self, found: Found, what: str, write: Callable[[Found], None]) -> Found:
        """Write; return what was found, and a failure to write with it."""
        try:
            write(found)
        except Exception as error:  # noqa: BLE001 - the worklist is there, and whatever this is, it is named
            said = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
            self.failures.append(f"{what} can't be written: {said}; site.yml puts its owner and mode right")
            return msgspec.structs.replace(found, failures=tuple(self.failures))
        return found


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
