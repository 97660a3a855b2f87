"""What earlier sessions had, in a table of the history: without a name of a subject, and gone after `history_days`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from dicom_worklist.status import history
from dicom_worklist.status.records import Session
from dicom_worklist.status.whole import LATEST

#: An older release doesn't miss the table, and knows the others, so the format of the history stays.
SESSION = """
    CREATE TABLE IF NOT EXISTS session (
        booking_id TEXT PRIMARY KEY,
        project TEXT NOT NULL,
        label TEXT NOT NULL,     -- what follows _ses- in the PatientName
        ae_title TEXT NOT NULL,
        start TEXT NOT NULL,     -- of the booking, at the site
        content TEXT NOT NULL    -- records.Session, as JSON
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS session_by_kind ON session (project, label, ae_title, start);
"""


def beside(path: Path, sessions: Iterable[Session], now: datetime, keep: int) -> Mapping[str, list[Session]]:
    """Remember these sessions, and return the earlier ones that are like each, the latest first, by its booking.

    What is older than `keep` days at `now` (aware) is forgotten.

    Raises:
        OSError, sqlite3.Error: the history can't be used.
    """
    found: dict[str, list[Session]] = {}
    with history.opened(path) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'session'").fetchone() is None:
            connection.executescript(f"BEGIN IMMEDIATE; {SESSION} COMMIT;")
        for one in sessions:
            start = one.start.isoformat() if one.start else ""
            content = msgspec.json.encode(one).decode()
            known = connection.execute("SELECT content FROM session WHERE booking_id = ?", (one.booking_id,)).fetchone()
            if known != (content,) and one.series:
                values = (one.booking_id, one.project, one.label, one.ae_title, start, content)
                connection.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?)", values)
            rows = connection.execute(
                "SELECT content FROM session WHERE project = ? AND label = ? AND ae_title = ? AND start < ? "
                "AND booking_id != ? ORDER BY start DESC LIMIT ?",
                (one.project, one.label, one.ae_title, start, one.booking_id, LATEST),
            )
            found[one.booking_id] = [msgspec.json.decode(row, type=Session) for (row,) in rows]
        oldest = history.oldest_day(connection, now, keep).isoformat()
        if connection.execute("SELECT 1 FROM session WHERE start < ? LIMIT 1", (oldest,)).fetchone():
            connection.execute("DELETE FROM session WHERE start < ?", (oldest,))
    return found
