"""Bookings in a SQLite database, such as the demonstration's."""

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec

from dicom_worklist.booking import Row
from dicom_worklist.errors import SourceError
from dicom_worklist.sources import _dccn, as_rows, bind


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query` is null for the DCCN calendar, or a SELECT that may use :first_day and :last_day."""

    path: str
    query: str | None = None

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking database {self.path}"

    def rows(self, first_day: date, last_day: date) -> list[Row]:
        """Read the days in one transaction; the file is opened read-only."""
        query, names = bind(self.query or _dccn.QUERY)
        days = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
        try:
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
                # a bad byte in one title must not hide the other bookings
                connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
                cursor = connection.execute(query, [days[name] for name in names])
                return as_rows([column[0] for column in cursor.description or ()], cursor, self)
        except sqlite3.Error as error:
            raise SourceError(
                f"{self} can't be read: {error}. Check source.path, that the file is readable, and source.query"
            ) from error
