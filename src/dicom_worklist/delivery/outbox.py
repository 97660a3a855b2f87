"""The outbox: which series has to go where, and what is there already. An SQLite file that outlives a kill.

A delivery is done when `done` is `wanted`: the version of the series that was compared at both ends.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from dicom_worklist.delivery.series import Series
from dicom_worklist.errors import FolderError

#: Goes up when the tables change.
FORMAT = 1
SCHEMA = f"""
    CREATE TABLE IF NOT EXISTS series (
        id TEXT PRIMARY KEY,       -- Orthanc's
        study TEXT NOT NULL,       -- Orthanc's
        updated TEXT NOT NULL,     -- when the last image came
        body TEXT NOT NULL         -- Series, as JSON
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS series_by_study ON series (study);
    CREATE INDEX IF NOT EXISTS series_by_updated ON series (updated);
    CREATE INDEX IF NOT EXISTS series_by_uid ON series (body ->> '$.values.series_instance_uid');
    CREATE TABLE IF NOT EXISTS delivery (
        destination TEXT NOT NULL,
        series TEXT NOT NULL REFERENCES series,
        wanted TEXT NOT NULL,      -- the version that has to be there
        since TEXT NOT NULL,       -- when it was first wanted
        due TEXT NOT NULL,         -- not before
        attempts INTEGER NOT NULL DEFAULT 0,
        failure TEXT NOT NULL DEFAULT '',
        done TEXT,                 -- the version that is there
        done_at TEXT,
        place TEXT,                -- where it is there
        images INTEGER,            -- how many were compared
        digest TEXT,               -- of what was compared
        verified TEXT,             -- when it was compared for the last time
        PRIMARY KEY (destination, series)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS delivery_waiting ON delivery (destination, attempts, since) WHERE done IS NOT wanted;
    CREATE INDEX IF NOT EXISTS delivery_verified ON delivery (destination, verified) WHERE done IS wanted;
    CREATE TABLE IF NOT EXISTS superseded (
        destination TEXT NOT NULL,
        series TEXT NOT NULL,      -- Orthanc's id at that time
        patient TEXT NOT NULL,     -- PatientID and PatientName at that time
        place TEXT,                -- where it was put, if it was
        body TEXT NOT NULL,        -- Series, as JSON, at that time
        held TEXT,                 -- when it was last seen there
        PRIMARY KEY (destination, series, patient)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS destination (
        name TEXT PRIMARY KEY,
        attempts INTEGER NOT NULL,
        due TEXT NOT NULL,
        since TEXT NOT NULL,       -- when it stopped working
        failure TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS run (
        destination TEXT PRIMARY KEY,
        ended TEXT NOT NULL        -- when the last run for it ended
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS begun (
        since TEXT NOT NULL,       -- the first run
        found TEXT NOT NULL        -- all that came before it was found
    );
    PRAGMA user_version = {FORMAT};
"""
#: How long another run may hold the file, in seconds.
TIMEOUT = 30
LONGEST_PAUSE = timedelta(hours=1)
#: So many superseded copies are looked for in a run.
SUPERSEDED_AT_ONCE = 50


def pause(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts that failed."""
    return min(timedelta(minutes=2 ** min(attempts, 10) / 2), LONGEST_PAUSE)


#: What a row of the table `series` says about whose it is.
_PATIENT = "(body ->> '$.values.patient_id') || ' ' || (body ->> '$.values.patient_name')"
_UID = "body ->> '$.values.series_instance_uid'"


class Outbox:
    """The file, opened. Times are aware."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use a connection whose tables are there."""
        self._connection = connection

    def begun(self, now: datetime) -> datetime:
        """Return since when series are delivered: since the first run. What came before goes by `--again` only."""
        with self._connection as transaction:
            transaction.execute("INSERT INTO begun SELECT ?1, ?1 WHERE NOT EXISTS (SELECT 1 FROM begun)", (text(now),))
        [[since]] = self._connection.execute("SELECT since FROM begun")
        return datetime.fromisoformat(since)

    def found(self) -> datetime:
        """Return the time before which all that came was found, by a run that was not killed meanwhile."""
        [[found]] = self._connection.execute("SELECT found FROM begun")
        return datetime.fromisoformat(found)

    def has_found(self, until: datetime) -> None:
        """Write down that all that came before this time was found."""
        with self._connection as transaction:
            transaction.execute("UPDATE begun SET found = ?", (text(until),))

    def has_run(self, destination: str) -> bool:
        """Return whether a run for a destination has ended before."""
        return bool(self.rows("SELECT 1 FROM run WHERE destination = ?", (destination,)))

    def ended(self, destination: str, now: datetime) -> None:
        """Write down that a run for a destination ended."""
        with self._connection as transaction:
            transaction.execute(
                "INSERT INTO run VALUES (?1, ?2) ON CONFLICT DO UPDATE SET ended = ?2", (destination, text(now))
            )

    def known(self) -> Iterator[Series]:
        """Yield all series that were found."""
        for (body,) in self.rows("SELECT body FROM series ORDER BY updated"):
            yield msgspec.json.decode(body, type=Series)

    def want(self, series: Series, destinations: Iterable[str], now: datetime, *, again: bool = False) -> None:
        """Write down that a series has to be at these destinations; `again`: also if it is there."""
        with self._connection as transaction:
            self._supersede(f"id = ? AND {_PATIENT} != ?", (series.id, _patient(series)))
            transaction.execute(
                "INSERT INTO series VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET updated = excluded.updated, "
                "study = excluded.study, body = excluded.body WHERE body IS NOT excluded.body",
                (series.id, series.study, text(series.updated), msgspec.json.encode(series).decode()),
            )
            for name in destinations:
                transaction.execute(
                    "INSERT INTO delivery (destination, series, wanted, since, due) VALUES (?1, ?2, ?3, ?4, ?4) "
                    "ON CONFLICT DO UPDATE SET wanted = ?3, since = ?4, due = ?4, attempts = 0, failure = '', "
                    "done = iif(?5, NULL, done) WHERE wanted IS NOT ?3 OR ?5",
                    (name, series.id, series.version, text(now), again),
                )

    def next(self, destination: str, now: datetime) -> Series | None:
        """Return what has to go there next: the oldest of those that failed least often; None: nothing has to now."""
        rows = self._connection.execute(
            "SELECT body FROM delivery JOIN series ON id = series WHERE destination = ? AND done IS NOT wanted "
            "AND due <= ? ORDER BY attempts, since, series LIMIT 1",
            (destination, text(now)),
        )
        return next((msgspec.json.decode(body, type=Series) for (body,) in rows), None)

    def is_down(self, destination: str, now: datetime) -> bool:
        """Return whether a destination that did not work must be left alone for now."""
        rows = self._connection.execute("SELECT due FROM destination WHERE name = ?", (destination,))
        return any(due > text(now) for (due,) in rows)

    def put(self, destination: str, series: Series, place: str) -> None:
        """Write down where a series was put. If it has another identity by now, those copies are superseded."""
        with self._connection as transaction:
            key = (place, destination, series.id)
            known = transaction.execute("UPDATE delivery SET place = ? WHERE (destination, series) = (?, ?)", key)
            if not known.rowcount and self.twins(series):
                transaction.execute(
                    "INSERT OR REPLACE INTO superseded VALUES (?, ?, ?, ?, ?, NULL)",
                    (destination, series.id, _patient(series), place, msgspec.json.encode(series).decode()),
                )

    def delivered(self, destination: str, series: Series, digest: str, now: datetime) -> None:
        """Write down that all images of a series are at a destination, and were compared; `digest` is theirs."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE delivery SET done = ?, done_at = ?, images = ?, digest = ?, verified = ?, attempts = 0, "
                "failure = '' WHERE destination = ? AND series = ?",
                (series.version, text(now), series.images, digest, text(now), destination, series.id),
            )
            transaction.execute("DELETE FROM destination WHERE name = ?", (destination,))

    def failed(self, destination: str, series: str, why: str, now: datetime, *, down: bool = False) -> None:
        """Write down why a series could not be delivered; `down`: nothing can be delivered there."""
        with self._connection as transaction:
            counted = transaction.execute(
                "UPDATE delivery SET attempts = attempts + 1, failure = ? WHERE destination = ? AND series = ? "
                "RETURNING attempts",
                (why, destination, series),
            ).fetchall()
            for (attempts,) in counted:  # none, if another run has forgotten it
                transaction.execute(
                    "UPDATE delivery SET due = ? WHERE destination = ? AND series = ?",
                    (text(now + pause(attempts)), destination, series),
                )
            if down:
                [tried] = transaction.execute(
                    "INSERT INTO destination VALUES (?1, 1, ?2, ?2, ?3) ON CONFLICT DO UPDATE SET "
                    "attempts = attempts + 1, failure = ?3 RETURNING attempts",
                    (destination, text(now), why),
                ).fetchone()
                transaction.execute(
                    "UPDATE destination SET due = ? WHERE name = ?", (text(now + pause(tried)), destination)
                )

    def later(self, destination: str, series: str, now: datetime) -> None:
        """Leave a series for a minute: it is still changing."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE delivery SET due = ? WHERE destination = ? AND series = ?",
                (text(now + timedelta(minutes=1)), destination, series),
            )

    def oldest_proof(self, destination: str, before: datetime) -> tuple[Series, str, str] | None:
        """Return the series there that was compared the longest ago, and before this time; its place and its digest."""
        rows = self._connection.execute(
            "SELECT body, place, digest FROM delivery JOIN series ON id = series WHERE destination = ? "
            "AND done IS wanted AND verified < ? ORDER BY verified LIMIT 1",
            (destination, text(before)),
        )
        return next(((msgspec.json.decode(body, type=Series), place, digest) for body, place, digest in rows), None)

    def verified(self, destination: str, series: str, now: datetime) -> None:
        """Write down that what is there was compared once more."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE delivery SET verified = ? WHERE destination = ? AND series = ?",
                (text(now), destination, series),
            )

    def lost(self, destination: str, series: str, why: str, now: datetime) -> None:
        """Write down that what was there is no longer there; it has to go there again."""
        with self._connection as transaction:
            transaction.execute(
                "UPDATE delivery SET done = NULL, since = ?1, due = ?1, attempts = 1, failure = ?2 "
                "WHERE destination = ?3 AND series = ?4",
                (text(now), why, destination, series),
            )

    def forget(self, series: str) -> None:
        """Forget a series that the PACS no longer has. Its copies are superseded if it has another identity now."""
        with self._connection as transaction:
            twin = f"SELECT 1 FROM series AS twin WHERE twin.{_UID} = series.{_UID} AND twin.id != series.id"  # noqa: S608
            self._supersede(f"id = ? AND EXISTS ({twin})", (series,))
            transaction.execute("DELETE FROM delivery WHERE series = ?", (series,))
            transaction.execute("DELETE FROM series WHERE id = ?", (series,))

    def _supersede(self, condition: str, values: Sequence[object]) -> None:
        """Write down that the copies of a series as it is known are of an identity that it no longer has."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO superseded SELECT destination, id, {_PATIENT}, place, body, NULL "  # noqa: S608 - ours
            f"FROM series JOIN delivery ON series = id WHERE {condition}",
            values,
        )

    def twins(self, series: Series) -> list[str]:
        """Return the ids of other series that are known with the same SeriesInstanceUID, as before a repair."""
        uid = series.values["series_instance_uid"]
        return [id_ for (id_,) in self.rows(f"SELECT id FROM series WHERE {_UID} = ? AND id != ?", (uid, series.id))]  # noqa: S608

    def superseded(self, destination: str) -> list[tuple[Series, str]]:
        """Return the series that may be at a destination under an identity that they no longer have, and the place."""
        rows = self.rows(
            "SELECT body, place FROM superseded WHERE destination = ? ORDER BY held LIMIT ?",
            (destination, SUPERSEDED_AT_ONCE),
        )
        return [(msgspec.json.decode(body, type=Series), place) for body, place in rows]

    def replaced(self, destination: str, place: str) -> None:
        """Write down that what is at that place is what the PACS has."""
        with self._connection as transaction:
            transaction.execute("DELETE FROM superseded WHERE (destination, place) = (?, ?)", (destination, place))

    def holds(self, destination: str, series: Series, now: datetime | None) -> None:
        """Write down that a destination has a superseded series at this time; None: it has it no longer."""
        key = (destination, series.id, _patient(series))
        with self._connection as transaction:
            if now is None:
                transaction.execute("DELETE FROM superseded WHERE (destination, series, patient) = (?, ?, ?)", key)
            else:
                transaction.execute(
                    "UPDATE superseded SET held = ? WHERE (destination, series, patient) = (?, ?, ?)", (text(now), *key)
                )

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return what a question of the summary finds."""
        return self._connection.execute(query, values).fetchall()


def _patient(series: Series) -> str:
    """Return whose it is, as the question _PATIENT does."""
    return f"{series.values['patient_id']} {series.values['patient_name']}"


def text(moment: datetime) -> str:
    """Return a time as it is written here, so that texts are in the order of their times."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


@contextmanager
def opened(path: str) -> Iterator[Outbox]:
    """Open the file; make it, if it isn't there.

    Raises:
        FolderError: it can't be used.
    """
    connection = None
    try:
        Path(path).touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=TIMEOUT)
        connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}")
        yield Outbox(connection)
    except (OSError, sqlite3.Error) as error:
        raise FolderError(
            f"delivery.outbox {path} can't be used: {error}. site.yml corrects owner and mode. If it is damaged, move "
            "it away: the next run begins a new one, and `deliver --again STUDY` compares what is there"
        ) from error
    finally:
        if connection:
            connection.close()
