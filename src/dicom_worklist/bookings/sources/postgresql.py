"""Bookings in a PostgreSQL database."""

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.abc import Loader as AnyLoader
from psycopg.adapt import Loader
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader

from dicom_worklist.bookings.booking import NEEDED, printable
from dicom_worklist.bookings.sources import Rows, _secrets, _tls, as_rows, bind, check_query, limited
from dicom_worklist.bookings.sources._deadline import cut_off
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError

Seconds = Annotated[int, msgspec.Meta(ge=1, le=3600)]
#: A file that can't be there, in place of those below ~/.postgresql and of ~/.pgpass, which libpq would take.
NOWHERE = f"{os.devnull}/none"
#: How many seconds the server has, after its own limit for the query, to say that the query took too long.
PATIENCE = 5
#: The types of which the server has values that Python has not.
LENIENT = ("text", "varchar", "bpchar", "name", "date", "time", "timetz", "timestamp", "timestamptz", "interval")
#: How many rows are fetched at a time.
PAGE = 1000
LOST = "Check that the server runs and is reached from this host, and source.host, source.port and source.tls"
OTHER = "Check source.host and source.port: what answers there is not PostgreSQL"
AGAIN = "The server starts or stops, or its administrator ended the query. The next run tries again"
GRANT = "Let the server's administrator run GRANT SELECT on the tables of source.query, and USAGE on their schema"
SLOW = (
    "The query took longer than source.read_timeout, {self.read_timeout} seconds, or than the server's own limit, or "
    "somebody ended it. Make source.query quicker, raise source.read_timeout, or look for what locks its tables"
)
#: What to do about an error of the query, by its SQLSTATE, or by the class that its first two characters are.
REMEDIES = {
    "08": "Check that source.query has no other parameters than :first_day and :last_day",
    "22P05": "source.query gives a text that can't be written in UTF-8: correct it, or leave that column out",
    "25006": "source.query must only read: write a SELECT",
    "25P04": SLOW,
    "40": "The next run tries again",
    "42501": GRANT,
    "53": "The server lacks memory, disk or connections: let its administrator look. The next run tries again",
    "55P03": SLOW,
    "57": AGAIN,
    "57014": SLOW,
    "58": "Let the server's administrator look into its log",
    "XX": "Let the server's administrator look into its log",
}
#: What to do where no connection was made: libpq gives no SQLSTATE then. A server may speak another language.
REFUSALS = {
    '"!password" failed': "The server wants the password as it is, without TLS. Set source.tls, or let the server's "
    "administrator write scram-sha-256 in place of password in pg_hba.conf",
    "password authentication failed|no password supplied": "Put the right password into {password}, or the right user "
    "into source.user",
    r"(Peer|Ident|GSSAPI|PAM|LDAP|RADIUS) authentication failed|authentication method \d+ not supported": "Let the "
    "server's administrator write scram-sha-256 for {self.user} in pg_hba.conf",
    "certificate authentication failed|requires a valid client certificate": "The account asks for "
    "source.tls.certificate, whose CN must be {self.user}, and for its key",
    r"pg_hba\.conf": "Let the server's administrator allow {self.user} from this host in pg_hba.conf; it may "
    "want source.tls",
    'database ".*" does not exist': "Check source.database",
    'role ".*" does not exist|not permitted to log in': "Check source.user, and let it log in: ALTER ROLE … LOGIN",
    "permission denied for database": "Let the server's administrator run GRANT CONNECT ON DATABASE … TO {self.user}",
    "too many (clients|connections)|connection slots are": "Let the server have more connections (max_connections), or "
    "the user or the database (CONNECTION LIMIT)",
    "database system is|not (yet )?accepting connections": AGAIN,
    "server does not support SSL": f"Switch TLS on at the server, {_tls.WITHOUT}",
    "does not match host name|could not get server's host name": "Put the name that the server's certificate is for "
    "into source.host, in place of {self.host}",
    "certificate verify failed|root certificate": "Put the CA that signed the server's certificate, as a PEM file, "
    "into source.tls.ca. If the server's has expired, its administrator must renew it; if it has not, compare this "
    f"host's clock; {_tls.WITHOUT}",
    "private key|certificate file|key values mismatch|alert": "Check source.tls: certificate and key are PEM files, "
    "the key is the certificate's, and only this user may read the key (mode 0600), and the server knows who signed "
    "the certificate",
    "invalid response to SSL negotiation|expected authentication request|invalid (message|protocol)|unexpected message|"
    "insufficient data|message contents|protocol version": OTHER,
}
#: What libpq and psycopg write before the reason.
ATTEMPT = "(Multiple connection attempts.*|- .*?: )?(connection (failed|is bad): )?(connection to server .*? failed: )?"
#: What a server writes before a message; a word of its own language.
SEVERITY = r"\b\w+:  "
REFUSED = "Check source.user, source.database and the password in {password}; the server's log says why it refuses"


class _Lenient(Loader):
    """Gives what Python has no value for (the date infinity, the time 24:00, bytes that are not UTF-8) as text.

    The reader then rejects that booking alone, or makes something of it.
    """

    usual: type[AnyLoader]

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        self._usual = self.usual(oid, context)

    def load(self, data: Buffer) -> object:
        try:
            return self._usual.load(data)
        except (psycopg.DataError, ValueError):
            return bytes(data).decode("utf-8", "surrogateescape")


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query` is a SELECT that may use :first_day and :last_day, which are dates.

    `host` is a name, an address, or the folder of a socket. Without `tls` a server on another machine is checked with
    the authorities that this host trusts. With `tls: false`, or on this machine, the connection is encrypted where the
    server offers it, its certificate isn't checked, and the password is never sent as it is. libpq's own places
    (environment variables, ~/.pgpass, service files, ~/.postgresql) change nothing. `read_timeout`, in seconds, is for
    the whole answer.
    """

    host: str
    database: str
    user: str
    query: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    password_file: str | None = None
    tls: TLS | bool | None = None
    connect_timeout: Seconds = 10
    read_timeout: Seconds = 30

    def __post_init__(self) -> None:
        """Check the parameters of the query."""
        check_query(self.query)

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking database {self.database} on {self.host}:{self.port}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> Rows:
        """Read the days in one read-only transaction, which sees one snapshot."""
        try:
            with _own_settings(), closing(self._connect()) as connection:
                return self._read(connection, (first_day, last_day), needed)
        except SourceError:
            raise
        except psycopg.Error as error:
            raise SourceError(f"{self} can't be read: {self._why(error)}") from error
        except Exception as error:  # psycopg believes what a server says: nonsense can become any error
            raise SourceError(f"{self} can't be read: what answers is not understood ({error!r}). {OTHER}") from error

    def _connect(self) -> "psycopg.Connection[Any]":
        tls = _tls.demanded(self.tls, self.host)
        _tls.check_files(tls, self)
        mode = "prefer" if tls is None else "verify-full" if tls.verify_hostname else "verify-ca"
        certificate = tls and tls.certificate
        connection = psycopg.connect(
            host=self.host,
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=_secrets.read(self.password_file, f"the password for {self}") if self.password_file else "",
            passfile=NOWHERE,
            connect_timeout=self.connect_timeout,
            client_encoding="UTF8",
            application_name="dicom-worklist",
            gssencmode="disable",
            sslmode=mode,
            sslrootcert=tls.ca if tls else NOWHERE,
            sslcert=certificate or NOWHERE,
            sslkey=(tls and tls.key) or certificate or NOWHERE,
            sslcrl=NOWHERE,
            require_auth=None if tls else "!password",
            cursor_factory=psycopg.RawCursor,  # the server binds the parameters: the query itself may hold any %
        )
        connection.server_cursor_factory = psycopg.RawServerCursor
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        for kind in LENIENT:
            usual = connection.adapters.get_loader(connection.adapters.types[kind].oid, psycopg.pq.Format.TEXT)
            connection.adapters.register_loader(kind, type("Lenient", (_Lenient,), {"usual": usual}))
        for kind in ("uuid", "inet", "cidr"):
            connection.adapters.register_loader(kind, TextLoader)
        set_json_loads(partial(json.loads, parse_float=Decimal), connection)
        return connection

    def _read(self, connection: "psycopg.Connection[Any]", days: tuple[date, date], needed: Collection[str]) -> Rows:
        with self._in_time(connection):
            # psycopg reads times in these forms only; the whole answer is wanted, not its first rows
            settings = {
                "statement_timeout": f"{self.read_timeout}s",
                "datestyle": "ISO",
                "intervalstyle": "postgres",
                "cursor_tuple_fraction": "1",
            }
            for name, value in settings.items():
                connection.execute("SELECT set_config($1, $2, true)", (name, value))
            cursor = connection.cursor("bookings")
            cursor.itersize = PAGE
            cursor.execute(bind(self.query, {"first_day": "$1", "last_day": "$2"})[0], days)
            if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
                # such a database holds any bytes, of which the server would let only those of UTF-8 through
                connection.execute("SET LOCAL client_encoding = 'SQL_ASCII'")
            return as_rows([column.name for column in cursor.description or ()], limited(cursor, self), self, needed)

    @contextmanager
    def _in_time(self, connection: "psycopg.Connection[Any]") -> Iterator[None]:
        with cut_off(connection.fileno(), self.read_timeout + PATIENCE) as over:
            try:
                yield
            except psycopg.OperationalError as error:
                if over.is_set():
                    raise psycopg.errors.QueryCanceled("the answer is not complete in time") from error
                raise

    def _why(self, error: psycopg.Error) -> str:
        """Return what the server, or libpq, says, and what to do about it."""
        code = error.sqlstate or ""
        if code:
            said = error.diag.message_primary or str(error)
            remedy = REMEDIES.get(code) or REMEDIES.get(code[:2]) or "Check source.query"
        else:
            # of each attempt a line; what begins with a tab is advice
            lines = re.sub(f"^{ATTEMPT}", "", str(error), flags=re.MULTILINE).splitlines()
            said = "; ".join(dict.fromkeys(line for line in lines if line and line[0] != "\t"))
            remedy = next((remedy for words, remedy in REFUSALS.items() if re.search(words, said)), "")
            remedy = remedy or (REFUSED if re.search(SEVERITY, said) else LOST)
            said = re.sub(SEVERITY, "", said)
        password = self.password_file or "a file, and its path into source.password_file"
        return f"{printable(said)[:500]}. {remedy.format(self=self, password=password)}"


@contextmanager
def _own_settings() -> Iterator[None]:
    """Hide the variables that libpq would read: PGHOST, PGSERVICE, PGOPTIONS and the others."""
    kept = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(kept)
