"""Looking for sessions in the history."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from dicom_worklist.settings import Config, Status
from dicom_worklist.status import history
from dicom_worklist.status.past.days import known, ranges
from dicom_worklist.status.past.sessions import Session, matches, sessions, words_of


def find(config: Config, status: Status, text: str, days: tuple[date, date], now: datetime) -> list[Session]:
    """Return the sessions of these days, both included, that have each word of the text; the newest day first.

    Raises:
        OSError, sqlite3.Error: the history can't be read.
    """
    path, words = history.path_beside(status.state), words_of(text)
    found = []
    for first, last in ranges(_days(path, words, days)):
        for day in known(config, status, (first, last), now):
            found += [one for one in sessions(day) if matches(one, words)]
    return sorted(found, key=lambda one: one.day, reverse=True)


def _days(path: Path, words: Sequence[str], days: tuple[date, date]) -> list[date]:
    """Return the days on which something may match: all that do, and others."""
    if not path.exists():
        return []
    escaped = [json.dumps(word, ensure_ascii=False)[1:-1] for word in words]

    def says(text: str) -> bool:
        folded = text.casefold()
        return all(word in folded for word in escaped)

    with history.opened(path) as connection:
        connection.create_function("says", 1, says, deterministic=True)
        rows = connection.execute(
            "SELECT day FROM version WHERE day BETWEEN ?1 AND ?2 AND says(said) "
            "UNION SELECT day FROM study WHERE day BETWEEN ?1 AND ?2 AND says(said) "
            "UNION SELECT date(seen) FROM study WHERE date(seen) BETWEEN ?1 AND ?2 AND says(said) ORDER BY 1",
            [day.isoformat() for day in days],
        )
        return [date.fromisoformat(day) for (day,) in rows]
