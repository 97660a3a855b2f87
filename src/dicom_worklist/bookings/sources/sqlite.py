"""Bookings in a SQLite database, such as the demonstration's."""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from datetime import date
from pathlib import Path

import msgspec

from dicom_worklist.bookings.booking import NEEDED
from dicom_worklist.bookings.sources import Rows, _dccn, as_rows, bind, check_query, limited
from dicom_worklist.errors import SourceError

#: How long to wait for another program's lock on the file, in seconds.
PATIENCE = 10


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query` is null for the DCCN calendar, or a SELECT that may use :first_day and :last_day."""

    path: str
    query: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters of the query."""
        check_query(self.query or "")

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking database {self.path}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> Rows:
        """Read the days in one transaction; the file is opened read-only."""
        try:
            uri = f"{Path(self.path).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
                # a bad byte in one title must not hide the other bookings
                connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
                cursor = self._execute(connection, first_day, last_day)
                self._check_end(connection)
                return as_rows([column[0] for column in cursor.description or ()], limited(cursor, self), self, needed)
        except sqlite3.Error as error:
            raise SourceError(f"{self} can't be read: {self._why(error)}") from error

    def _check_end(self, connection: sqlite3.Connection) -> None:
        """SQLite misses pages at the end of a file, but reads what is missing of the last one as zeros: no rows."""
        [page_size] = connection.execute("PRAGMA page_size").fetchone()
        if Path(self.path).stat().st_size % page_size:
            raise SourceError(
                f"{self} can't be read: the file is not whole, it ends in the middle of a page. "
                "Write it elsewhere and rename it into place, or restore it from its backup"
            )

    def _execute(self, connection: sqlite3.Connection, first_day: date, last_day: date) -> sqlite3.Cursor:
        days = {"first_day": first_day.isoformat(), "last_day": last_day.isoformat()}
        query, names = bind(self.query or _dccn.QUERY)
        values = [days[name] for name in names]
        try:
            return connection.execute(query, values)
        except sqlite3.OperationalError as error:
            if self.query or str(error) != "no such column: item.stop_time":
                raise
            return connection.execute(bind(_dccn.QUERY_WITHOUT_END)[0], values)

    def _why(self, error: sqlite3.Error) -> str:
        """Return what is wrong and what to do; a file in WAL mode is never read without its log, which has the news."""
        try:
            with Path(self.path).open("rb") as file:
                head = file.read(20)
        except OSError as reason:
            return f"{reason.strerror}. Check source.path, and that this user may read the file and enter its folder"
        if not head:
            return f"the file is empty ({error}). Check source.path, and the program that writes the file"
        code = getattr(error, "sqlite_errorcode", 0)  # Python's own errors have none
        unopened = code & 0xFF in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} and code != sqlite3.SQLITE_READONLY
        if code == sqlite3.SQLITE_READONLY_ROLLBACK:
            return (
                f"a program stopped in the middle of a change, which {self.path}-journal is there to undo ({error}). "
                "Start that program again, or open the database once as a user who may write it"
            )
        if unopened and head[19:] == b"\x02":  # its "read version" (the file format, 1.3.3)
            return (
                f"it is in WAL mode, and this user can't use or make {self.path}-shm and -wal ({error}). "
                f"Let this user write to them and in {Path(self.path).absolute().parent}, or end WAL mode: let the "
                "database's owner run PRAGMA journal_mode = DELETE"
            )
        remedies = {
            sqlite3.SQLITE_BUSY: f"Another program has held it for {PATIENCE} seconds. The next run tries again; "
            "if this stays, look for a program that never ends its transaction",
            sqlite3.SQLITE_NOTADB: "Check source.path: SQLite didn't write this file, or it is encrypted",
            sqlite3.SQLITE_CORRUPT: "The file is damaged: restore it from its backup",
            sqlite3.SQLITE_READONLY: "source.query must only read: write a SELECT",
        }
        other = "Check source.query" if self.query else "Other tables than the DCCN calendar's need source.query"
        return f"{error}. {remedies.get(code & 0xFF, other)}"
