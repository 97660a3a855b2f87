"""What was: each version of each booking, and each study that a run saw, in an SQLite file beside the state.

A run reads from it what it has to know about its own bookings, and adds to it, in one transaction each. A run that
can't use it publishes anyway.
"""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from dicom_worklist.status.records import BookingRecord, Study, Version
from dicom_worklist.status.remedy import reason, remedy

#: Goes up when the tables change.
FORMAT = 1
SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS version (
        booking_id TEXT NOT NULL,
        since TEXT NOT NULL,     -- when a run first saw it so, in UTC
        until TEXT,              -- when a run first saw it otherwise, in UTC; NULL: it still is so
        ended TEXT,              -- how: changed, cancelled, gone
        day TEXT NOT NULL,       -- of the booking, at the site
        said TEXT NOT NULL,      -- records.BookingRecord, as JSON
        PRIMARY KEY (booking_id, since)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS version_by_day ON version (day);
    CREATE TABLE IF NOT EXISTS study (
        orthanc_id TEXT PRIMARY KEY,
        study_instance_uid TEXT NOT NULL,
        seen TEXT NOT NULL,      -- when a run first saw it, in UTC
        day TEXT NOT NULL,       -- of the study, at the site; without a StudyDate the day on which it was seen
        said TEXT NOT NULL       -- records.Study, as JSON
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS study_by_uid ON study (study_instance_uid);
    CREATE INDEX IF NOT EXISTS study_by_day ON study (day);
    PRAGMA user_version = {FORMAT};
"""
#: When the PACS was last asked for the studies of a day. An older release doesn't miss the table, and knows the others,
#: so the format stays. Of days from before the table, the studies say when it answered.
ASKED = (
    """
    CREATE TABLE asked (
        day TEXT PRIMARY KEY,    -- at the site
        at TEXT NOT NULL         -- when the PACS last answered, in UTC
    ) WITHOUT ROWID
    """,
    "INSERT INTO asked SELECT substr(seen, 1, 10), max(seen) FROM study GROUP BY 1",
    """
    INSERT INTO asked SELECT date(day, '-1 day'), at FROM asked WHERE true
        ON CONFLICT DO UPDATE SET at = max(at, excluded.at)
    """,
)
#: The pages of past days that are as the history is: what came later than the first format, and older versions ignore.
PAGES = """
    CREATE TABLE IF NOT EXISTS page (
        day TEXT PRIMARY KEY,
        made TEXT NOT NULL,      -- by which version, and whether for good
        found TEXT NOT NULL      -- what the search finds of it, as JSON
    ) WITHOUT ROWID;
"""
#: What was used on past days, and the pages of it: the sums, so that a month is made without its bookings.
USED = """
    CREATE TABLE IF NOT EXISTS used (
        day TEXT PRIMARY KEY,
        made TEXT NOT NULL,      -- by which version, and whether for good
        digest TEXT NOT NULL,    -- of what it says
        entries TEXT NOT NULL    -- usage.figures.Entry, as JSON
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS used_page (
        name TEXT PRIMARY KEY,
        last TEXT NOT NULL,      -- its last day
        made TEXT NOT NULL,      -- of which digests
        figures TEXT NOT NULL    -- usage.figures.Figures of all, as JSON
    ) WITHOUT ROWID;
"""
#: What to do with a file that SQLite can't understand, and with no other: a site that moves it away forgets its past.
DAMAGED = "Move it away and keep it: the next run begins a new one"
#: How long another run may hold the file, in seconds.
TIMEOUT = 5
ONE_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known from before about bookings and studies.

    `current` are bookings as the last run saw them, with `since`; `versions` what they were before that, the oldest
    first; `studies` those with the StudyInstanceUID of one of them, and those of the days that were asked for, by it.
    """

    current: Mapping[str, BookingRecord] = field(default_factory=dict)
    versions: Mapping[str, Sequence[Version]] = field(default_factory=dict)
    studies: Mapping[str, Sequence[Study]] = field(default_factory=dict)


def path_beside(state: str) -> Path:
    """Return where the history of a state file is."""
    return Path(state).with_suffix(".history.sqlite")


def failure(path: Path, what: str, error: Exception) -> str:
    """Return, in sentences, that the history could not be `read` or `written`, why, and what to do."""
    todo = remedy(
        error,
        path,
        denied="It belongs to another user: site.yml corrects that",
        damaged=f"{DAMAGED}. Until then an id that is used again isn't seen",
    )
    return f"the history {path} can't be {what}: {reason(error)}; the worklist is published without it. {todo}"


def unread(path: Path, error: Exception) -> str:
    """Return why a command can't read the history, and what to do."""
    if isinstance(error, FileNotFoundError):
        return f"There is no history at {path}: no run has written one"
    todo = remedy(error, path, denied="run the command as the sync's user or root", damaged=DAMAGED)
    return f"the history {path} can't be read: {reason(error)}; {todo}"


def read(path: Path, booking_ids: Collection[str], first_day: date = date.max, last_day: date = date.min) -> Past:
    """Return what is known about these bookings, and of all that was on one of these days, both included.

    Raises:
        OSError, sqlite3.Error: the history can't be read.
    """
    if not path.exists():
        return Past()
    with opened(path) as connection:
        current, versions = _bookings(connection, booking_ids, first_day, last_day)
        studies: defaultdict[str, list[Study]] = defaultdict(list)
        for study in _studies(connection, _uids(current, versions), (first_day.isoformat(), last_day.isoformat())):
            studies[study.study_instance_uid].append(study)
    return Past(current, versions, studies)


@dataclass(frozen=True, slots=True)
class Chronicle:
    """What is known about some days.

    `current` are the bookings that had a version on one of them, as they are; `versions` what they were before, the
    oldest first, and those that ended; `studies` those of these days or of these bookings; `asked` says for each day
    when the PACS last answered (UTC).
    """

    current: Sequence[BookingRecord] = ()
    versions: Sequence[Version] = ()
    studies: Sequence[Study] = ()
    asked: Mapping[date, datetime] = field(default_factory=dict)


def chronicle(path: Path, first_day: date, last_day: date) -> Chronicle:
    """Return all that is known about these days, both included.

    Raises:
        OSError, sqlite3.Error: the history can't be read.
    """
    if not path.exists():
        return Chronicle()
    span = (first_day.isoformat(), last_day.isoformat())
    with opened(path) as connection:
        current, versions = _bookings(connection, (), first_day, last_day)
        studies = _studies(connection, _uids(current, versions), span)
        asked = connection.execute("SELECT day, at FROM asked WHERE day BETWEEN ? AND ?", span).fetchall()
    return Chronicle(
        [*current.values()],
        [version for of_one in versions.values() for version in of_one],
        [*studies],
        {date.fromisoformat(day): _time(at) for day, at in asked},
    )


def _bookings(
    connection: sqlite3.Connection, booking_ids: Collection[str], first_day: date, last_day: date
) -> tuple[dict[str, BookingRecord], dict[str, list[Version]]]:
    """Return these bookings and all that were on one of these days, as they are; and as they were, by their ids."""
    current: dict[str, BookingRecord] = {}
    versions: defaultdict[str, list[Version]] = defaultdict(list)
    rows = connection.execute(
        "SELECT since, until, ended, said FROM version WHERE booking_id IN (SELECT value FROM json_each(?)) "
        "OR booking_id IN (SELECT booking_id FROM version WHERE day BETWEEN ? AND ?) ORDER BY booking_id, since",
        (_names(booking_ids), first_day.isoformat(), last_day.isoformat()),
    )
    for since, until, ended, said in rows:
        booked = msgspec.structs.replace(msgspec.json.decode(said, type=BookingRecord), since=_time(since))
        if until is None:
            current[booked.booking_id] = booked
        else:
            versions[booked.booking_id].append(Version(booked=booked, until=_time(until), ended=ended))
    return current, versions


def _studies(connection: sqlite3.Connection, uids: Iterable[str], days: tuple[str, str] = ("", "")) -> Sequence[Study]:
    """Return the studies with one of these StudyInstanceUIDs, and those of the days, both included."""
    rows = connection.execute(
        "SELECT seen, said FROM study WHERE study_instance_uid IN (SELECT value FROM json_each(?)) "
        "OR day BETWEEN ? AND ?",
        (_names(uids), *days),
    )
    return [msgspec.structs.replace(msgspec.json.decode(said, type=Study), seen=_time(seen)) for seen, said in rows]


def _uids(current: Mapping[str, BookingRecord], versions: Mapping[str, Iterable[Version]]) -> set[str]:
    booked = [*current.values(), *(version.booked for of_one in versions.values() for version in of_one)]
    return {one.study_instance_uid for one in booked} - {""}


@dataclass(frozen=True, slots=True)
class News:
    """What a run saw: bookings, studies with `seen`, and the bookings that ended: id → "cancelled" or "gone".

    `asked` are the days of which the PACS gave all studies.
    """

    bookings: Sequence[BookingRecord] = ()
    studies: Sequence[Study] = ()
    ended: Mapping[str, str] = field(default_factory=dict)
    asked: Sequence[date] = ()


def record(path: Path, now: datetime, news: News, keep: int) -> None:
    """Add what a run saw at `now` (aware), and forget what is older than `keep` days; all of it or nothing.

    Raises:
        OSError, sqlite3.Error: it can't be written; what was there stays.
    """
    moment = now.astimezone(UTC).isoformat()
    changed, days = {*news.ended}, set[str]()
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        oldest = oldest_day(connection, now, keep).isoformat()
        known = dict(
            connection.execute(
                "SELECT booking_id, said FROM version "
                "WHERE booking_id IN (SELECT value FROM json_each(?)) AND until IS NULL",
                (_names(booked.booking_id for booked in news.bookings),),
            ).fetchall()
        )
        for booked in news.bookings:
            said = _said(booked)
            if (before := known.get(booked.booking_id)) != said:
                if before is not None:
                    _end(connection, booked.booking_id, moment, "changed")
                values = (booked.booking_id, moment, booked.day.isoformat(), said)
                connection.execute("INSERT OR REPLACE INTO version VALUES (?, ?, NULL, NULL, ?, ?)", values)
                changed.add(booked.booking_id)
        for booking_id, how in news.ended.items():
            _end(connection, booking_id, moment, how)
        seen = dict(
            connection.execute(
                "SELECT orthanc_id, said FROM study WHERE orthanc_id IN (SELECT value FROM json_each(?))",
                (_names(study.orthanc_id for study in news.studies),),
            ).fetchall()
        )
        owners = {booked.study_instance_uid: booked.booking_id for booked in news.bookings}
        there = _names(study.orthanc_id for study in news.studies)
        for found in news.studies:
            before = seen.get(found.orthanc_id)
            study = _came_first(found, before)
            if before != _json(msgspec.structs.replace(study, seen=None)):
                days |= _put(connection, study, there, now)
                changed.add(owners.get(study.study_instance_uid, ""))
        _outdate(connection, changed, days)
        connection.execute("DELETE FROM version WHERE day < ? AND coalesce(until, day) < ?", (oldest, oldest))
        connection.execute("DELETE FROM study WHERE day < ? AND seen < ?", (oldest, oldest))
        connection.executemany(
            "INSERT OR REPLACE INTO asked VALUES (?, ?)", [(day.isoformat(), moment) for day in news.asked]
        )
        connection.execute("DELETE FROM asked WHERE day < ?", (oldest,))
        connection.execute("COMMIT")


def repaired(path: Path, former: str, study: str, booked: BookingRecord, now: datetime) -> None:
    """Note that a study has another id of Orthanc's now, `study`, and the identity of its booking.

    A run finds it out, too, but only of the studies of yesterday, today and tomorrow.

    Raises:
        OSError, sqlite3.Error: it can't be written; what was there stays.
    """
    if not path.exists():
        return
    with opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute("SELECT seen, said FROM study WHERE orthanc_id = ?", (former,)).fetchone()
        if row:
            seen, said = row
            changed = msgspec.structs.replace(
                msgspec.json.decode(said, type=Study),
                orthanc_id=study,
                patient_id=booked.patient_id,
                patient_name=booked.patient_name,
                accession_number=booked.accession_number,
                step_ids=(booked.step_id,) if booked.step_id else (),
                seen=_time(seen),
            )
            _outdate(connection, [booked.booking_id], _put(connection, changed, _names([study]), now))
        connection.execute("COMMIT")


def _put(connection: sqlite3.Connection, study: Study, there: str, now: datetime) -> set[str]:
    """Write a study down, and return the days that it was on, or is.

    `there` are the ids of all studies that the PACS has of these days: one of the same UID that isn't among them is
    this one before a repair.
    """
    uid = study.study_instance_uid
    day = (study.start or study.seen or now).date().isoformat()
    former = connection.execute(
        "SELECT orthanc_id, seen, day, said FROM study WHERE orthanc_id = ? "
        "OR study_instance_uid = ? AND ? != '' AND day = ? AND orthanc_id NOT IN (SELECT value FROM json_each(?))",
        (study.orthanc_id, uid, uid, day, there),
    ).fetchall()
    first = min([(study.seen or now).astimezone(UTC).isoformat(), *(seen for _, seen, _, _ in former)])
    for orthanc_id, _, _, said in former:
        study = _came_first(study, said)
        connection.execute("DELETE FROM study WHERE orthanc_id = ?", (orthanc_id,))
    said = _json(msgspec.structs.replace(study, seen=None))
    connection.execute("INSERT INTO study VALUES (?, ?, ?, ?, ?)", (study.orthanc_id, uid, first, day, said))
    return {day, *(day for _, _, day, _ in former)}


def _came_first(study: Study, before: str | None) -> Study:
    """Return the study with the time at which its last image came first: a repair stores the images again."""
    known = msgspec.json.decode(before, type=Study) if before else None
    if known and known.updated and known.instances == study.instances:
        return msgspec.structs.replace(study, updated=known.updated)
    return study


def _outdate(connection: sqlite3.Connection, booking_ids: Iterable[str], days: Iterable[str]) -> None:
    """Forget the pages of these days, and of those that these bookings were on, so that they are made again."""
    for table in ("page", "used"):
        connection.execute(
            f"DELETE FROM {table} WHERE day IN (SELECT value FROM json_each(?)) "  # noqa: S608 - one of ours
            "OR day IN (SELECT day FROM version WHERE booking_id IN (SELECT value FROM json_each(?)))",
            (_names(days), _names(booking_ids)),
        )


def oldest_day(connection: sqlite3.Connection, now: datetime, keep: int) -> date:
    """Return the first day that is kept. It counts from the newest: a clock that jumps ahead must not erase all."""
    (newest,) = connection.execute("SELECT max(day) FROM version").fetchone()
    today = now.astimezone(UTC).date()
    return (min(today, date.fromisoformat(newest) + ONE_WEEK) if newest else today) - timedelta(days=keep)


def begins(path: Path, now: datetime, keep: int) -> date | None:
    """Return the first day of which something is known; None: of no day yet.

    Raises:
        FileNotFoundError: there is no history.
        OSError, sqlite3.Error: it can't be read.
    """
    path.stat()
    with opened(path) as connection:
        rows = connection.execute(
            "SELECT min(day) FROM version UNION SELECT min(day) FROM study UNION SELECT min(day) FROM asked"
        ).fetchall()
        days = [date.fromisoformat(day) for (day,) in rows if day]
        return max(oldest_day(connection, now, keep), min(days)) if days else None


def _end(connection: sqlite3.Connection, booking_id: str, moment: str, how: str) -> None:
    connection.execute(
        "UPDATE version SET until = ?, ended = ? WHERE booking_id = ? AND until IS NULL", (moment, how, booking_id)
    )


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the history; a new one gets the folder's owner and group, so that after root the cron job can use it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    try:
        if os.geteuid() == 0:
            folder = path.parent.stat()
            os.fchown(handle, folder.st_uid, folder.st_gid)
    finally:
        os.close(handle)
    with closing(sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        elif version != FORMAT:
            raise sqlite3.DatabaseError(f"it has the format {version}, and this version knows {FORMAT}")
        if not _has_asked(connection):
            connection.execute("BEGIN IMMEDIATE")
            if not _has_asked(connection):  # another run can have done it meanwhile
                for statement in ASKED:
                    connection.execute(statement)
            connection.execute("COMMIT")
        connection.execute(PAGES)
        connection.executescript(USED)
        yield connection


def _has_asked(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'asked'").fetchone() is not None


def _said(booked: BookingRecord) -> str:
    return _json(msgspec.structs.replace(booked, on_console=False, since=None))


def _names(names: Iterable[str]) -> str:
    """Return names as JSON for SQLite; one that has bytes of no text matches nothing."""
    return json.dumps(sorted(names))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
