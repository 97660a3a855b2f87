"""Bookings from MySQL: a server that refuses, is silent or is something else. A real one is in tests/integration."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError
from support.sources import TODAY


def mysql_source(port: int, **settings: object) -> sources.Source:
    where = {"host": "127.0.0.1", "port": port, "database": "fcdc", "user": "dicomdf", "connect_timeout": 1}
    source: sources.Source = sources.source_class("mysql")(**(where | settings))
    return source


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_refused_connection_names_host_and_port(closed_port: int) -> None:
    with pytest.raises(SourceError, match=f"fcdc on 127.0.0.1:{closed_port} can't be read.*source.host"):
        mysql_source(closed_port).rows(**TODAY)


def test_a_host_that_does_not_exist_is_named(closed_port: int) -> None:
    with pytest.raises(SourceError, match=f"db.invalid:{closed_port} can't be read"):
        mysql_source(closed_port, host="db.invalid").rows(**TODAY)


def test_a_silent_server_is_given_up_after_the_timeout(silent_port: int) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=f"127.0.0.1:{silent_port} can't be read"):
        mysql_source(silent_port, read_timeout=1).rows(**TODAY)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "said",
    [b"\1\0\0\0\x0a", b"\x05\0\0\0\x0a8.0\0", b"\1\0\0\0\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["a version", "half a greeting", "half an error", "another protocol"],
)
def test_a_server_that_is_not_mysql_is_reported(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(SourceError, match=rf"127.0.0.1:{port} can't be read: .+source.host"):
            mysql_source(port).rows(**TODAY)


def test_an_answer_that_is_not_utf_8_is_not_shown(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymysql.connections.Connection, "connect", lambda *given: b"somebody \xff".decode())
    with pytest.raises(SourceError, match="can't decode byte 0xff") as caught:
        mysql_source(silent_port).rows(**TODAY)
    assert "somebody" not in str(caught.value)


def error_packet(code: int, said: str) -> bytes:
    """Return what a MySQL server says in place of its greeting."""
    body = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + said.encode()
    return len(body).to_bytes(3, "little") + b"\0" + body


@pytest.fixture
def refusing() -> Iterator[Callable[[int], str]]:
    """Returns what the source says of a server that answers with an error code."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refused(code: int) -> str:
            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(error_packet(code, "no"))

            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises(SourceError) as caught:
                mysql_source(server.getsockname()[1]).rows(**TODAY)
            return str(caught.value)

        yield refused


@pytest.mark.parametrize("code", [1044, 1045, 1142, 1143, 1698, 1820, 1862, 3118, 4151])
def test_a_user_who_may_not_read_is_named_with_the_remedy(code: int, refusing: Callable[[int], str]) -> None:
    said = refusing(code)
    assert "refuses the user 'dicomdf' (no). Put the right password into a file" in said
    assert "unlock that user, or grant it SELECT on fcdc" in said


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (1044, "or source.database is wrong"),
        (1698, "unix_socket"),
        (1040, "max_connections"),
        (1203, "MAX_USER_CONNECTIONS"),
        (1226, "MAX_USER_CONNECTIONS"),
        (1049, "Check source.database"),
        (1129, "FLUSH HOSTS"),
        (1130, "CREATE USER"),
        (3159, "set source.tls"),
        (1053, "Check that the server runs"),
    ],
)
def test_a_server_that_refuses_is_named_with_the_remedy(code: int, remedy: str, refusing: Callable[[int], str]) -> None:
    said = refusing(code)
    assert remedy in said
    assert ("source.host" in said) == (code == 1053)


def test_a_missing_password_file_is_named(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"password .*db.password: No such file"):
        mysql_source(closed_port, password_file=str(tmp_path / "db.password")).rows(**TODAY)


def test_a_password_that_is_not_text_is_not_shown(closed_port: int, tmp_path: Path) -> None:
    (tmp_path / "db.password").write_bytes(b"secret\xff")
    with pytest.raises(SourceError, match=r"db.password: it is not UTF-8") as caught:
        mysql_source(closed_port, password_file=str(tmp_path / "db.password")).rows(**TODAY)
    assert "secret" not in str(caught.value)


def test_missing_tls_files_are_reported(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"127.0.0.1:{closed_port} can't be read"):
        mysql_source(closed_port, tls=TLS(ca=str(tmp_path / "absent.pem"))).rows(**TODAY)
