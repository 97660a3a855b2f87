"""Bookings in a MySQL or MariaDB database, such as the DCCN calendar."""

import re
import socket
import ssl
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated
from zoneinfo import available_timezones

import msgspec

from dicom_worklist.bookings.booking import NEEDED, printable
from dicom_worklist.bookings.sources import MOST_ROWS, Rows, _dccn, _secrets, _tls, as_rows, bind, check_query, limited
from dicom_worklist.bookings.sources._deadline import cut_off
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError

if TYPE_CHECKING:
    import pymysql

    from dicom_worklist.bookings.sources._mysql_connection import BoundedConnection

#: The server refuses the user: to a database, at all, to a table, to a column, without a password; with one that
#: has expired; to an account that is locked (MySQL's, MariaDB's). And what else may be the reason.
ACCESS_DENIED = dict.fromkeys((1142, 1143, 1820, 1862, 3118, 4151), "") | {
    1044: "; or source.database is wrong",
    1045: "; or the account is for other hosts, or asks for source.tls.certificate",
    1698: "; or the account logs in by unix_socket, on the server's own machine: give it mysql_native_password",
}
#: The query names a column that is not there, or that the user may not read.
NO_COLUMN = {1054, 1143}
BUSY = "Let the server have more connections (max_connections) or the user more (MAX_USER_CONNECTIONS, …_PER_HOUR)"
SLOW = "The server's own limit ended the query: make source.query quicker, or raise that limit for this user"
LOGIN = (
    "Let the server's administrator change how the account logs in: ALTER USER … IDENTIFIED VIA mysql_native_password "
    "USING PASSWORD('…') on MariaDB, IDENTIFIED WITH caching_sha2_password BY '…' on MySQL"
)
#: What to do about an error, by its code: the server's, or from 2000 to 2999 PyMySQL's.
REMEDIES: dict[object, str] = {
    **dict.fromkeys((1040, 1203, 1226), BUSY),
    **dict.fromkeys((1969, 3024), SLOW),
    1049: "Check source.database",
    1129: "Let the server's administrator run FLUSH HOSTS",
    1130: "Let the server's administrator create the account for this host: CREATE USER '…'@'this host'",
    1317: "Somebody ended the query on the server. The next run tries again",
    2026: f"Switch TLS on at the server, {_tls.WITHOUT}",
    2059: LOGIN,
    3159: "The server wants TLS: switch it on there, and set source.tls",
}
#: PyMySQL's code for a connection that ended.
LOST = 2013
#: How many seconds the server has, after its own limits, to say that the login or the query took too long.
PATIENCE = 5
Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query` is null for the DCCN calendar, or a SELECT that may use :first_day and :last_day.

    Without `tls` a server on another machine is checked with the authorities that this host trusts, and one on this
    machine isn't; `tls: false` checks none. The password itself is never sent where the server isn't checked, and by
    mysql_clear_password or PAM's dialog never at all. `read_timeout`, in seconds, is for the whole answer.
    """

    host: str
    database: str
    user: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 3306
    password_file: str | None = None
    tls: TLS | bool | None = None
    connect_timeout: Seconds = 10
    read_timeout: Seconds = 30
    query: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters of the query."""
        check_query(self.query or "")

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking database {self.database} on {self.host}:{self.port}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> Rows:
        """Read the days in one read-only transaction with a consistent snapshot."""
        import pymysql  # noqa: PLC0415 - other kinds of source don't need it

        connected = False
        try:
            with self._connection() as connection, connection.cursor() as cursor:
                connected = True
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                # one row more than is read, of a query that has no LIMIT of its own
                cursor.execute(
                    "SET @first_day = %s, @last_day = %s, SESSION sql_select_limit = %s",
                    (first_day, last_day, MOST_ROWS + 1),
                )
                self._execute(cursor)
                names = [column[0] for column in cursor.description or ()]
                rows = as_rows(names, limited(cursor.fetchall(), self), self, needed)
                if not any(row.get("start_date") or row.get("start") for row in rows):
                    self._check_zones(cursor)
                return rows
        except SourceError:
            raise
        # RuntimeError: an authentication method that this host lacks a library for
        except (pymysql.MySQLError, OSError, RuntimeError, ValueError) as error:
            raise SourceError(f"{self} can't be read: {self._why(error, connected=connected)}") from error
        except Exception as error:  # PyMySQL believes what a server says: nonsense can become any error
            raise SourceError(
                f"{self} can't be read: what answers there doesn't speak MySQL ({error!r:.200}). "
                "Check source.host, source.port, and the server"
            ) from error

    @contextmanager
    def _connection(self) -> Iterator["BoundedConnection"]:
        """Connect and log in; all of it ends in time, and so does what is done with the connection."""
        import pymysql  # noqa: PLC0415 - other kinds of source don't need it

        from dicom_worklist.bookings.sources._mysql_connection import BoundedConnection  # noqa: PLC0415 - as pymysql

        tls = _tls.demanded(self.tls, self.host)
        _tls.check_files(tls, self)
        connection = BoundedConnection(
            self,
            checked=tls is not None,
            host=self.host,
            port=self.port,
            user=self.user,
            password=self._password().encode(),  # as a str PyMySQL sends it in Latin-1
            database=self.database,
            charset="utf8mb4",
            connect_timeout=self.connect_timeout,
            read_timeout=self.read_timeout,
            write_timeout=self.read_timeout,
            ssl_ca=tls.ca if tls else None,
            ssl_cert=tls.certificate if tls else None,
            ssl_key=tls.key if tls else None,
            ssl_verify_cert=True if tls else None,
            ssl_verify_identity=tls.verify_hostname if tls else None,
        )
        with socket.create_connection((self.host, self.port), self.connect_timeout) as made:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            seconds = self.connect_timeout + self.read_timeout + PATIENCE
            with cut_off(made.fileno(), seconds) as over:
                try:
                    connection.connect(made)
                    yield connection
                except pymysql.OperationalError as error:
                    if over.is_set():
                        raise pymysql.OperationalError(LOST, "timed out: the answer is not complete") from error
                    raise
                finally:
                    connection.close()

    def _execute(self, cursor: "pymysql.cursors.Cursor") -> None:
        import pymysql  # noqa: PLC0415 - other kinds of source don't need it

        # the server binds the parameters: the query itself may hold any %
        query, names = bind(self.query or _dccn.QUERY)
        try:
            cursor.execute("PREPARE bookings FROM %s", (query,))
        except pymysql.MySQLError as error:
            if self.query or error.args[0] not in NO_COLUMN or "stop_time" not in error.args[1]:
                raise
            cursor.execute("PREPARE bookings FROM %s", (bind(_dccn.QUERY_WITHOUT_END)[0],))
        cursor.execute("EXECUTE bookings" + (" USING " + ", ".join(f"@{name}" for name in names) if names else ""))

    def _check_zones(self, cursor: "pymysql.cursors.Cursor") -> None:
        """Distinguish a calendar without a start from one whose starts the server can't convert.

        Raises:
            SourceError: the server doesn't know a time zone of the query, so CONVERT_TZ makes NULL of every time.
        """
        query = self.query or ""
        literals = set(re.findall(r"'([^']+)'", query)) if "convert_tz" in query.lower() else set()
        for zone in sorted(literals & available_timezones()) if literals else ():
            cursor.execute("SELECT CONVERT_TZ('2026-01-01 12:00:00', %s, '+00:00') IS NULL", (zone,))
            if cursor.fetchone() == (1,):
                raise SourceError(
                    f"{self} gives no booking a start: CONVERT_TZ in source.query makes NULL of every time, as the "
                    f"server doesn't know the time zone {zone}. Load its zone tables: mariadb-tzinfo-to-sql (MySQL: "
                    "mysql_tzinfo_to_sql) /usr/share/zoneinfo | mariadb mysql"
                )

    def _password(self) -> str:
        if self.password_file is None:
            return ""
        return _secrets.read(self.password_file, f"the password for {self}")

    def _why(self, error: Exception, *, connected: bool) -> str:
        code, *rest = error.args or (0,)
        said = printable(str(rest[0]) if rest and isinstance(code, int) else str(error))[:500]
        if code in ACCESS_DENIED:
            return (
                f"it refuses the user {self.user!r} ({said}). Put the right password into "
                f"{self.password_file or 'a file, and its path into source.password_file'}, "
                f"unlock that user, or grant it SELECT on {self.database}{ACCESS_DENIED[code]}"
            )
        return f"{said}. {REMEDIES.get(code) or self._remedy(error, said, connected=connected)}"

    def _remedy(self, error: Exception, said: str, *, connected: bool) -> str:
        """Return what to do about an error whose code alone doesn't say it."""
        reason = getattr(error, "original_exception", error)
        if isinstance(reason, ssl.SSLError):
            return f"{_tls.remedy(reason, 'source.host', self.host)}; {_tls.WITHOUT}"
        if isinstance(error, RuntimeError) and not connected:
            return f"{LOGIN}; or install that package beside dicom-worklist, in {sys.prefix}"
        if connected and "timed out" in said:
            return (
                f"The query took longer than source.read_timeout, {self.read_timeout} seconds: "
                "make source.query quicker, raise source.read_timeout, or look for what locks its tables"
            )
        if connected and isinstance(error.args[0], int) and not 2000 <= error.args[0] < 3000:  # these are the client's
            return "Check source.query" if self.query else "Other tables than the DCCN calendar's need source.query"
        return "Check that the server runs and is reached from this host, and source.host, source.port and source.tls"
