"""Bookings in a MySQL or MariaDB database, such as the DCCN calendar."""

import os
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

from dicom_worklist.booking import Row
from dicom_worklist.errors import SourceError
from dicom_worklist.sources import _dccn, as_rows, bind

#: To a database, at all, to a table, to a column, without a password; with one that has
#: expired; to an account that is locked (MySQL's, MariaDB's).
ACCESS_DENIED = {1044, 1045, 1142, 1143, 1698, 1820, 1862, 3118, 4151}
Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`ca` verifies the server; `certificate` and `key` show who we are, where the server asks."""

    ca: str
    certificate: str | None = None
    key: str | None = None
    verify_hostname: bool = True


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query` is null for the DCCN calendar, or a SELECT that may use :first_day and :last_day."""

    host: str
    database: str
    user: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 3306
    password_file: str | None = None
    tls: TLS | None = None
    connect_timeout: Seconds = 10
    read_timeout: Seconds = 30
    query: str | None = None

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking database {self.database} on {self.host}:{self.port}"

    def rows(self, first_day: date, last_day: date) -> list[Row]:
        """Read the days in one read-only transaction with a consistent snapshot."""
        import pymysql  # noqa: PLC0415 - other kinds of source don't need it

        # the server binds the parameters: the query itself may hold any %
        query, names = bind(self.query or _dccn.QUERY)
        using = " USING " + ", ".join(f"@{name}" for name in names) if names else ""
        tls = self.tls
        for path in (tls.ca, tls.certificate, tls.key) if tls else ():
            if path is not None and not os.access(path, os.R_OK):
                raise SourceError(f"{self} can't be read: source.tls names {path}, which this user can't read")
        try:
            with (
                closing(
                    pymysql.connect(
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
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                cursor.execute("SET @first_day = %s, @last_day = %s", (first_day, last_day))
                cursor.execute("PREPARE bookings FROM %s", (query,))
                cursor.execute(f"EXECUTE bookings{using}")
                names, values = [column[0] for column in cursor.description or ()], cursor.fetchall()
        except SourceError:
            raise
        # RuntimeError: an authentication method that this host lacks a library for
        except (pymysql.MySQLError, OSError, RuntimeError, ValueError) as error:
            raise SourceError(f"{self} can't be read: {self._why(error)}") from error
        except Exception as error:  # PyMySQL believes what a server says: nonsense can become any error
            raise SourceError(
                f"{self} can't be read: what answers makes no sense as MySQL ({error!r}). "
                "Check source.host, source.port, and the server"
            ) from error
        return as_rows(names, values, self)

    def _password(self) -> str:
        if self.password_file is None:
            return ""
        try:
            return Path(self.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(
                f"the password for {self} can't be read from {self.password_file}: "
                f"{getattr(error, 'strerror', None) or 'it is not UTF-8'}. Write it there, readable by this user"
            ) from error

    def _why(self, error: Exception) -> str:
        code, *rest = error.args or (0,)
        said = str(rest[0]) if rest and isinstance(code, int) else str(error)
        if code in ACCESS_DENIED:
            return (
                f"it refuses the user {self.user!r} ({said}). Put the right password into "
                f"{self.password_file or 'a file, and its path into source.password_file'}, "
                f"unlock that user, or grant it SELECT on {self.database}"
            )
        return (
            f"{said}. Check that the server runs and is reached from this host, "
            "and source.host, source.port, source.tls and source.query"
        )
