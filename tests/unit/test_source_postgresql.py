"""Bookings from PostgreSQL: a server that refuses, lies or falls silent. A real one is in tests/integration."""

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.sources import postgresql
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError
from support.sources import TODAY, error_of

SECRET = "geheim"


def postgresql_source(port: int, **settings: object) -> sources.Source:
    where = {"host": "127.0.0.1", "port": port, "database": "calendar", "user": "sync", "query": "SELECT 1"}
    source: sources.Source = sources.source_class("postgresql")(**(where | {"connect_timeout": 2} | settings))
    return source


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\n")
    return path


# What a server sends (PostgreSQL's documentation, "Message Formats"): a letter, the length of the rest, the rest.
def message(letter: bytes, content: bytes) -> bytes:
    return letter + struct.pack("!i", len(content) + 4) + content


def asks_for(login: int) -> bytes:
    """Ask for a login: 0 for no login, 3 the password as it is, 5 its MD5 with a salt of four bytes."""
    return message(b"R", struct.pack("!i", login) + (b"salt" if login == 5 else b""))


def refusal(code: str, said: str = "no", severity: str = "ERROR") -> bytes:
    fields = {b"S": severity, b"V": "ERROR", b"C": code, b"M": said}
    return message(b"E", b"".join(name + value.encode() + b"\0" for name, value in fields.items()) + b"\0")


READY = message(b"Z", b"I")
WELCOME = asks_for(0) + message(b"S", b"client_encoding\0UTF8\0") + READY


@dataclass
class Fake:
    """A server that has no TLS, and answers what a client sends, each time with the next of `answers`.

    After the last one it closes, or stays silent. `parameters` are those that the last client began with.
    """

    listener: socket.socket
    answers: Sequence[bytes] = ()
    silent: bool = False
    received: bytearray = field(default_factory=bytearray)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed in the end
            while True:
                client, _ = self.listener.accept()
                with client, suppress(OSError):
                    self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        for answer in self.answers:
            data = client.recv(65536)
            if data[4:8] == struct.pack("!i", 80877103):  # SSLRequest
                client.sendall(b"N")
                data = client.recv(65536)
            if data[4:8] == struct.pack("!i", 196608):  # StartupMessage, version 3.0
                words = data[8:].decode().split("\0")
                self.parameters = dict(zip(words[::2], words[1::2], strict=False))
            self.received += data
            client.sendall(answer)
        if not self.silent:
            client.shutdown(socket.SHUT_WR)
        while data := client.recv(65536):
            self.received += data


@contextmanager
def serving(*answers: bytes, silent: bool = False) -> Iterator[Fake]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fake = Fake(listener, answers, silent)
        threading.Thread(target=fake.serve, daemon=True).start()
        yield fake
        listener.shutdown(socket.SHUT_RDWR)


def said_of(*answers: bytes, **settings: object) -> str:
    with serving(*answers) as fake:
        said = error_of(postgresql_source(fake.port, **settings))
        assert said.startswith(f"the booking database calendar on 127.0.0.1:{fake.port} can't be read: ")
    return said


def test_a_refused_connection_names_host_and_port(closed_port: int) -> None:
    said = error_of(postgresql_source(closed_port))
    assert f"calendar on 127.0.0.1:{closed_port} can't be read: Connection refused. Check that the server runs" in said
    assert "source.host" in said


def test_a_host_or_socket_that_does_not_exist_is_named(closed_port: int) -> None:
    assert f"db.invalid:{closed_port} can't be read" in error_of(postgresql_source(closed_port, host="db.invalid"))
    said = error_of(postgresql_source(closed_port, host="/nowhere"))
    assert f"/nowhere:{closed_port} can't be read: No such file or directory" in said


def test_a_silent_server_is_given_up() -> None:
    with serving(b"", silent=True) as fake:
        said = error_of(postgresql_source(fake.port))
    assert "timeout expired. Check that the server runs" in said


def test_a_server_that_falls_silent_in_a_query_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PATIENCE", 0)
    with serving(WELCOME, silent=True) as fake:
        said = error_of(postgresql_source(fake.port, read_timeout=1))
    assert "is not complete in time. The query took longer than source.read_timeout, 1 seconds" in said


NONSENSE = {
    "a web server": b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    "MySQL": b"\x4a\0\0\0\x0a8.0.36\0" + bytes(60),
    "zeros": bytes(40),
    "a length that can't be": b"R\xff\xff\xff\xff",
    "a login that nobody knows": asks_for(99),
    "half a message": WELCOME[:6],
}


@pytest.mark.parametrize("title", NONSENSE)
def test_a_server_that_is_not_postgresql_is_reported(title: str) -> None:
    assert "source.host" in said_of(NONSENSE[title]) or title == "a login that nobody knows"


def test_what_answers_another_protocol_at_once_is_not_postgresql() -> None:
    assert "what answers there is not PostgreSQL" in said_of(NONSENSE["a web server"])


def test_whatever_a_server_says_is_an_error_of_the_source() -> None:
    chance = random.Random(14)
    for _ in range(200):
        letter = chance.choice([b"R", b"S", b"K", b"Z", b"E", b"T", b"D", b"C", b"1", b"2", b"n"])
        nonsense = message(letter, chance.randbytes(chance.randint(0, 20))) + chance.randbytes(chance.randint(0, 40))
        assert said_of(*([WELCOME] if chance.random() < 0.7 else []), nonsense)


def test_a_password_is_never_sent_as_it_is_without_tls(password_file: Path) -> None:
    with serving(asks_for(3), WELCOME) as fake:
        said = error_of(postgresql_source(fake.port, password_file=str(password_file)))
    assert "server requested a cleartext password. The server wants the password as it is, without TLS" in said
    assert SECRET.encode() not in fake.received
    assert SECRET not in said


def test_a_server_without_tls_is_not_asked_for_anything_where_tls_is_set(password_file: Path) -> None:
    with serving(asks_for(3), WELCOME) as fake:
        source = postgresql_source(fake.port, password_file=str(password_file), tls=TLS(ca=str(password_file)))
        said = error_of(source)
    assert "server does not support SSL, but SSL was required. Switch TLS on at the server" in said
    assert fake.parameters == {}


@pytest.mark.parametrize("host", ["host=192.0.2.1 port=1", "postgresql://192.0.2.1:1/other"])
def test_a_database_s_name_is_no_address(host: str) -> None:
    with serving(refusal("3D000", f'database "{host}" does not exist', "FATAL")) as fake:
        assert "does not exist. Check source.database" in error_of(postgresql_source(fake.port, database=host))
    assert fake.parameters["database"] == host


def test_nothing_but_the_configuration_says_where_and_how_to_connect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libpq reads variables, ~/.pgpass, ~/.pg_service.conf and ~/.postgresql."""
    places = {"host": "192.0.2.1", "hostaddr": "192.0.2.1", "port": "1", "dbname": "other", "user": "other"}
    service = "[other]\n" + "".join(f"{name}={value}\n" for name, value in places.items())
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, content in {
        ".pgpass": f"*:*:*:*:{SECRET}\n",
        ".pg_service.conf": service,
        ".postgresql/root.crt": "no certificate",
        ".postgresql/postgresql.crt": "no certificate",
        ".postgresql/postgresql.key": "no key",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    variables = {f"PG{name.replace('dbname', 'database').upper()}": value for name, value in places.items()} | {
        "PGSERVICE": "other",
        "PGSERVICEFILE": str(tmp_path / ".pg_service.conf"),
        "PGSYSCONFDIR": str(tmp_path),
        "PGPASSFILE": str(tmp_path / ".pgpass"),
        "PGPASSWORD": SECRET,
        "PGOPTIONS": "-c search_path=other",
        "PGAPPNAME": "other",
        "PGSSLMODE": "verify-full",
        "PGSSLNEGOTIATION": "direct",
        "PGREQUIREAUTH": "none",
        "PGTARGETSESSIONATTRS": "standby",
        "PGCLIENTENCODING": "LATIN1",
        "PGDATESTYLE": "German",
        "PGTZ": "Asia/Tokyo",
        "PGCONNECT_TIMEOUT": "1000",
        "PGMINPROTOCOLVERSION": "3.2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with serving(asks_for(5)) as fake:  # a login for which a password is needed
        error_of(postgresql_source(fake.port))
    assert fake.parameters == {
        "user": "sync",
        "database": "calendar",
        "application_name": "dicom-worklist",
        "client_encoding": "UTF8",
        "": "",
    }
    assert b"md5" not in fake.received
    assert {name: os.environ[name] for name in variables} == variables


@pytest.mark.parametrize(
    ("severity", "words", "remedy"),
    [
        ("FATAL", 'password authentication failed for user "sync"', "Put the right password into a file"),
        ("FATAL", 'no pg_hba.conf entry for host "192.0.2.1"', "allow sync from this host in pg_hba.conf"),
        ("FATAL", 'database "calendar" does not exist', "Check source.database"),
        ("FATAL", 'role "sync" does not exist', "Check source.user"),
        ("FATAL", 'role "sync" is not permitted to log in', "ALTER ROLE … LOGIN"),
        ("FATAL", 'permission denied for database "calendar"', "GRANT CONNECT ON DATABASE … TO sync"),
        ("FATAL", 'Peer authentication failed for user "sync"', "write scram-sha-256 for sync in pg_hba.conf"),
        ("FATAL", "sorry, too many clients already", "max_connections"),
        ("FATAL", 'too many connections for role "sync"', "CONNECTION LIMIT"),
        ("FATAL", "remaining connection slots are reserved for roles with the SUPERUSER attribute", "max_connections"),
        ("FATAL", "the database system is shutting down", "The next run tries again"),
        ("FATAL", "the database system is starting up", "The next run tries again"),
        ("FATAL", "Passwort-Authentifizierung für Benutzer »sync« fehlgeschlagen", "the password in a file, and its"),
        ("致命错误", "用户 sync 密码认证失败", "the server's log says why"),
    ],
)
def test_a_login_that_is_refused_is_reported_with_the_remedy(severity: str, words: str, remedy: str) -> None:
    said = said_of(refusal("28000", words, severity))
    assert f" can't be read: {words}. " in said
    assert remedy in said
    assert "source.host" not in said


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("08P01", "no other parameters than :first_day and :last_day"),
        ("22007", "Check source.query"),
        ("22P05", "can't be written in UTF-8"),
        ("25006", "must only read"),
        ("25P04", "raise source.read_timeout"),
        ("40001", "The next run tries again"),
        ("42501", "GRANT SELECT"),
        ("42703", "Check source.query"),
        ("42P01", "Check source.query"),
        ("53200", "lacks memory, disk or connections"),
        ("55P03", "what locks its tables"),
        ("57014", "source.read_timeout, 30 seconds"),
        ("57P01", "The server starts or stops"),
        ("58030", "look into its log"),
        ("XX001", "look into its log"),
    ],
)
def test_a_query_that_is_refused_is_reported_with_the_remedy(code: str, remedy: str) -> None:
    said = said_of(WELCOME, refusal(code) + READY)
    assert " can't be read: no. " in said
    assert remedy in said
    assert "source.host" not in said


def test_a_message_with_control_codes_is_shown_harmlessly_and_is_not_long() -> None:
    said = said_of(WELCOME, refusal("42703", "\x1b[2J" + 5000 * "x") + READY)
    assert "\\x1b[2J" in said
    assert len(said) < 1000


def test_a_server_that_goes_away_is_reported() -> None:
    assert "Check that the server runs and is reached from this host" in said_of(WELCOME)


def test_a_query_is_needed() -> None:
    with pytest.raises(TypeError, match="query"):
        sources.source_class("postgresql")(host="h", database="d", user="u")


def test_missing_files_are_reported(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"password .*db.password: No such file"):
        postgresql_source(closed_port, password_file=str(tmp_path / "db.password")).rows(**TODAY)
    for name in ("ca", "certificate", "key"):
        there = dict.fromkeys(("ca", "certificate", "key"), __file__)
        tls = msgspec.convert(there | {name: str(tmp_path / "absent.pem")}, TLS)
        said = error_of(postgresql_source(closed_port, tls=tls))
        assert f"127.0.0.1:{closed_port} can't be read: source.tls names {tmp_path}/absent.pem" in said
