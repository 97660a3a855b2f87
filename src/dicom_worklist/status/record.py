"""What a run writes in addition to the worklist: state, history, metrics and page.

A failure here is reported but never stops publishing.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.errors import PacsError
from dicom_worklist.settings import Pacs, Status
from dicom_worklist.status import backups, changes, disk, earlier, findings, history, memory, sessions, updates
from dicom_worklist.status.backups import Backup
from dicom_worklist.status.evidence import EARLY
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.memory import Memory
from dicom_worklist.status.overview import overview, seen
from dicom_worklist.status.past import write as past
from dicom_worklist.status.records import BookingRecord, DiskSpace, Refused, Series, Study
from dicom_worklist.status.remedy import reason, remedy
from dicom_worklist.status.updates import Updates
from dicom_worklist.status.usage import write as usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run saw: the bookings of yesterday, today and tomorrow, and what else the calendar has.

    `cancelled` are the ids of rows that don't count, `withdrawn` those that somebody cancelled explicitly;
    `labs` without a scanner and `statuses` that don't count have each the number of their rows; `leftovers` are files
    that scanners are shown and no run wrote; `doubles` are warnings of bookings that contradict each other; `remarks`
    are the run's rejections and warnings; `made` is when what the calendar gave was made (UTC). `failure` is why the
    run did not publish; then nothing else is known.
    """

    bookings: Sequence[BookingRecord] = ()
    cancelled: Collection[str] = ()
    withdrawn: Collection[str] = ()
    labs: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    doubles: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    made: datetime | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The studies of these days and their series, what the PACS refused to scanners, and how much room its disk has.

    Each is None if it can't say, or there is no PACS; `failure` is why there are no studies, `failures` what else it
    could not say.
    """

    studies: tuple[Study, ...] | None = None
    failure: str = ""
    refused: tuple[Refused, ...] | None = None
    disk: DiskSpace | None = None
    failures: tuple[str, ...] = ()
    series: tuple[Series, ...] | None = None


def ask(known: Memory) -> Answer:
    """Ask the PACS for the studies of these days, and of the bookings that have begun. Their series are as listed."""
    config, now = known.config, known.began
    if config.pacs is None:
        return Answer()
    from dicom_worklist.status import pacs  # noqa: PLC0415 - a site without one doesn't pay for it

    zone = ZoneInfo(config.site.timezone)
    here = now.astimezone(zone).replace(tzinfo=None)
    bookings = [*known.last.bookings, *(version.booked for version in known.last.past)]
    begun = [booked for booked in bookings if not booked.reason and booked.start and booked.start - EARLY <= here]
    try:
        studies, listed = pacs.studies(config.pacs, *known.days.near, zone, begun)
    except PacsError as error:
        return Answer(failure=str(error))
    first = {study.orthanc_id: study.seen for of_one in known.past.studies.values() for study in of_one}
    first |= {study.orthanc_id: study.seen for study in known.last.studies}
    seen_first = [msgspec.structs.replace(study, seen=first.get(study.orthanc_id) or now) for study in studies]
    return Answer(tuple(seen_first), series=tuple(listed))


def _ask_more(known: Memory, answer: Answer) -> Answer:
    """Ask the PACS for what only people are shown: that can wait until the worklist is published."""
    config = known.config
    if config.pacs is None or answer.studies is None:
        return answer
    from dicom_worklist.status import pacs, pacs_series  # noqa: PLC0415 - a site without one doesn't pay for it

    failures = []
    try:
        answer = replace(answer, series=pacs_series.looked_into(config.pacs, answer.series or (), known.last.looks))
    except Exception as error:  # noqa: BLE001 - a hint must not keep page and state from being written
        answer = replace(answer, series=None)
        failures.append(f"whether all images have come is not known: {reason(error)}")
    try:
        answer = replace(answer, refused=pacs.refused(config.pacs))
    except PacsError as error:
        failures.append(f"what was refused to scanners is not known: {error}")
    try:
        answer = replace(answer, disk=pacs.disk_space(config.pacs, known.began))
    except PacsError as error:
        failures.append(f"the free space of the PACS's disk is not known: {error}")
    return replace(answer, failures=tuple(failures))


def _updates(known: Memory, answer: Answer, now: datetime) -> Updates | None:
    """Return what waits for the images of the PACS's host, where it is another.

    That host finds out once a day, so it is asked when what is known is a day old.
    """
    pacs, last = known.config.pacs, known.last.updates
    if pacs is None or pacs.updates is None:
        return None
    if answer.failure or (last and last.asked <= now < last.asked + timedelta(days=1)):
        return last
    from dicom_worklist import orthanc  # noqa: PLC0415 - a site without pays nothing

    try:
        found = orthanc.ask(pacs, pacs.updates, largest=updates.LARGEST)
    except PacsError:
        return last  # it gets old, and for that there is an alert
    return updates.checked(found, now) or last


def _backup(known: Memory, answer: Answer, now: datetime) -> Backup | None:
    """Return what the backup of the PACS's host did, where that is another: what it answers, or else answered last."""
    pacs, last = known.config.pacs, known.last.backup
    if pacs is None or pacs.backup is None:
        return None
    if answer.failure:
        return last
    from dicom_worklist import orthanc  # noqa: PLC0415 - a site without pays nothing

    try:
        return backups.checked(orthanc.ask(pacs, pacs.backup, largest=backups.LARGEST), now) or last
    except PacsError:
        return last  # it gets old, and that is a warning


def record(known: Memory, answer: Answer, outcome: Outcome, now: Callable[[], datetime]) -> list[str]:
    """Write what a run found, and return, in sentences, what could not be read or written; `now` is in UTC."""
    status = known.config.status
    answer = _ask_more(known, answer) if status is not None else answer
    failures = [*known.failures, *answer.failures]
    if status is not None:
        waiting, saved = _updates(known, answer, now()), _backup(known, answer, now())
        with ExitStack() as stack:
            with suppress(OSError):  # the failure is reported when the state is written
                stack.enter_context(_one_writer(Path(status.state).parent))
            _write(_Run(status, known, answer, outcome, waiting, saved, now), failures)
    return [*([f"what arrived is not known: {answer.failure}"] if answer.failure else []), *failures]


@dataclass(frozen=True, slots=True)
class _Run:
    status: Status
    known: Memory
    answer: Answer
    outcome: Outcome
    updates: Updates | None
    backup: Backup | None
    now: Callable[[], datetime]


def _write(run: _Run, failures: list[str]) -> None:
    last, unread = memory.load(run.status.state)  # another run may have written it meanwhile
    failures += [failure for failure in unread if failure not in failures]
    now = run.now()
    if last.began and run.known.began < last.began <= now:
        return  # another run began later, and has written already
    found = _after_failure(run, last, now) if run.outcome.failure else _after_success(run, last, now, failures)
    try:
        found = _with_hints(run, found, last, failures)
    except Exception as error:  # noqa: BLE001 - a hint must not keep page and state from being written
        failures.append(f"whether all images have come is not known: {reason(error)}")
        found = msgspec.structs.replace(found, looks=last.looks, hints=last.hints)

    def attempt(what: str, path: Path, write: Callable[[Findings], None]) -> None:
        try:
            write(msgspec.structs.replace(found, failures=tuple(failures)))
        except PacsError as error:
            if str(error) != run.answer.failure:  # once is enough
                failures.append(f"{what} can't be sent: {error}")
        except Exception as error:  # noqa: BLE001 - the worklist is published; every failure is reported
            used = history.path_beside(run.status.state) if isinstance(error, sqlite3.Error) else path
            failures.append(f"{what} can't be written: {reason(error)}; {remedy(error, used)}")

    before = len(failures)
    state = Path(run.status.state)
    pages = Path(run.status.page) if run.status.page else state
    attempt(f"status.state {run.status.state}", state, lambda found: findings.save(run.status.state, found))
    if run.status.metrics:
        folder = Path(run.status.metrics)
        attempt(f"status.metrics {folder}", folder, lambda found: _write_metrics(folder, run, found))
    if run.status.page:
        page = Path(run.status.page)
        attempt(f"status.page {page}", page, lambda found: _write_page(page, run, found))
    if (to := run.known.config.pacs) and (path := to.page):
        attempt(f"pacs.page {path}", state, lambda found: _send_page(to, path, run, found))
    attempt("the pages of past days", pages, lambda _: past.update(run.known.config, run.status, run.now()))
    attempt("the pages of usage", pages, lambda _: usage.update(run.known.config, run.status, run.now()))
    if len(failures) > before:
        with suppress(OSError, ValueError):  # reported already
            findings.save(run.status.state, msgspec.structs.replace(found, failures=tuple(failures)))


def _after_success(run: _Run, last: Findings, now: datetime, failures: list[str]) -> Findings:
    """Return what a good run found, and add it to the history."""
    outcome, studies = run.outcome, run.answer.studies
    there = {booked.booking_id for booked in outcome.bookings}
    # of those that share an id, and are rejected, one
    bookings = {booked.booking_id: booked for booked in outcome.bookings if booked.booking_id}.values()
    ended = changes.ended(run.known, there, outcome.cancelled)
    path = history.path_beside(run.status.state)
    if os.path.isdir(path.parent):  # noqa: PTH112 - pathlib's raises
        try:
            yesterday = run.known.days.near[0]
            asked = () if studies is None else (yesterday, yesterday + timedelta(days=1))
            news = history.News([*bookings], studies or (), ended, asked)
            history.record(path, run.known.began, news, run.status.history_days)
        except (OSError, sqlite3.Error, ValueError) as error:
            failures.append(history.failure(path, "written", error))
    return Findings(
        bookings=tuple(outcome.bookings),
        past=tuple(changes.versions(run.known, bookings, ended)),
        studies=last.studies if studies is None else studies,
        good=now,
        asked=last.asked if studies is None else now,
        began=run.known.began,
        seconds=(now - run.known.began).total_seconds(),
        pacs_failure=run.answer.failure,
        said=outcome.remarks,
        labs=dict(outcome.labs),
        statuses=dict(outcome.statuses),
        leftovers=outcome.leftovers,
        doubles=outcome.doubles,
        made=outcome.made,
        refused=last.refused if run.answer.refused is None else run.answer.refused,
        disk=disk.added(last.disk, run.answer.disk),
        emptied=tuple(changes.emptied(run.known, last, outcome.bookings, outcome.withdrawn)),
        updates=run.updates,
        backup=run.backup,
    )


def _after_failure(run: _Run, last: Findings, now: datetime) -> Findings:
    """Return what is known after a run that did not publish: entries of before the window go when they end."""
    studies = run.answer.studies
    going_on = {booked.booking_id for booked in memory.going_on(run.known)}

    def expired(booked: BookingRecord) -> BookingRecord:
        stays = booked.day >= run.known.days.first or booked.booking_id in going_on
        return msgspec.structs.replace(booked, on_console=booked.on_console and stays)

    return msgspec.structs.replace(
        last,
        bookings=tuple(map(expired, last.bookings)),
        studies=last.studies if studies is None else studies,
        asked=last.asked if studies is None else now,
        began=run.known.began,
        seconds=(now - run.known.began).total_seconds(),
        failure=run.outcome.failure,
        pacs_failure=run.answer.failure,
        refused=last.refused if run.answer.refused is None else run.answer.refused,
        disk=disk.added(last.disk, run.answer.disk),
        updates=run.updates,
        backup=run.backup,
        doubles=(),
    )


def _with_hints(run: _Run, found: Findings, last: Findings, failures: list[str]) -> Findings:
    """Return what was found with what may be missing of it, beside what earlier sessions had."""
    config, series = run.known.config, run.answer.series
    if series is None or found.asked is None:
        return msgspec.structs.replace(found, looks=last.looks, hints=last.hints)
    came = sessions.came(seen(config, run.status, found, found.asked), series, found.asked, config.reading.zone)
    path, before = history.path_beside(run.status.state), {}
    if os.path.isdir(path.parent):  # noqa: PTH112 - pathlib's raises
        try:
            known = [one.session for one in came if one.known]
            before = dict(earlier.beside(path, known, run.known.began, run.status.history_days))
        except (OSError, sqlite3.Error, ValueError) as error:
            if not any(str(path) in failure for failure in failures):  # once is enough
                failures.append(history.failure(path, "used", error))
    looks = {one.orthanc_id: one.look for one in series if one.look}
    return msgspec.structs.replace(found, looks=looks, hints=sessions.hints(came, before, run.status.hints_off))


def _write_metrics(folder: Path, run: _Run, found: Findings) -> None:
    from dicom_worklist.status import metrics  # noqa: PLC0415 - a site without pays nothing

    metrics.write(folder, overview(run.known.config, found, found.good or run.known.began), found)


def _write_page(folder: Path, run: _Run, found: Findings) -> None:
    from dicom_worklist.status import page  # noqa: PLC0415 - a site without pays nothing

    page.write(folder, overview(run.known.config, found, run.now()))


def _send_page(to: Pacs, path: str, run: _Run, found: Findings) -> None:
    from dicom_worklist import orthanc  # noqa: PLC0415 - a site without pays nothing
    from dicom_worklist.status import page  # noqa: PLC0415

    orthanc.ask(to, path, page.render(overview(run.known.config, found, run.now())).encode(), "PUT")


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Keep other runs from writing what they found meanwhile: a playbook's and the cron job's may overlap."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
