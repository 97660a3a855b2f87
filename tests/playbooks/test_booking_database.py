"""The module `booking_database` against a real MariaDB, a real PostgreSQL, and something else."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import twins
from support.booking_database import BookingDatabase
from support.plays import Result, run, tries
from support.postgresql import PostgreSQL

HOST = "worklist.example"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private authority, the server's certificate of it, and an authority that nobody asked."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("authority", "stranger"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN=The {name}",
             "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db.example",
         "-addext", "subjectAltName=DNS:localhost", "-CA", folder / "authority.crt", "-CAkey",
         folder / "authority.key", "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "server.key").chmod(0o644)  # in the container another user reads it
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def database(certificates: Path) -> Iterator[BookingDatabase]:
    options = ("--ssl-cert=/tls/server.crt", "--ssl-key=/tls/server.key")
    made = BookingDatabase("test-mariadb-asked", twins.free_port(), *options, files=certificates)
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def postgresql(certificates: Path) -> Iterator[PostgreSQL]:
    made = PostgreSQL(certificates)
    try:
        yield made
    finally:
        made.remove()


def asked(home: Path, *arguments: Result) -> list[Result]:
    given = ({"host": "localhost", "from_host": HOST, "timeout": 2} | one for one in arguments)
    return run(home, tries("booking_database", *given))[0]


def test_a_database_answers_and_shows_the_right_certificate(
    database: BookingDatabase, certificates: Path, tmp_path: Path
) -> None:
    authority = certificates / "authority.crt"
    plain, text, file, other_name = asked(
        tmp_path,
        {"port": database.port},
        {"port": database.port, "tls": True, "ca": authority.read_text()},
        {"port": database.port, "tls": True, "ca_file": str(authority)},
        {
            "port": database.port,
            "tls": True,
            "ca": authority.read_text(),
            "host": "127.0.0.1",
            "verify_hostname": False,
        },
    )
    assert "MariaDB" in plain["version"]
    assert plain["certificate"] == ""
    assert text["certificate"] == file["certificate"] == other_name["certificate"] == "commonName=db.example"


def test_what_is_wrong_names_host_authority_and_remedy(
    database: BookingDatabase, certificates: Path, tmp_path: Path
) -> None:
    authority, stranger = (certificates / f"{name}.crt" for name in ("authority", "stranger"))
    tls: Result = {"port": database.port, "tls": True}
    wrong: dict[str, Result] = {
        "another authority": tls | {"ca": stranger.read_text()},
        "another authority's file": tls | {"ca_file": str(stranger)},
        "another name": tls | {"ca": authority.read_text(), "host": "127.0.0.1"},
        "no file": tls | {"ca_file": "/nowhere/ca.crt"},
        "no certificate": tls | {"ca_file": str(certificates / "server.key")},
        "nobody": {"port": twins.free_port()},
        "no such name": {"host": "db.invalid"},
    }
    said = dict(zip(wrong, (result["msg"] for result in asked(tmp_path, *wrong.values())), strict=True))
    for message in said.values():
        assert f"can't be used from {HOST}" in message
    assert f"the booking database on localhost:{database.port} " in said["another authority"]
    assert "not accepted with worklist_sync_source_ca (commonName=The stranger)" in said["another authority"]
    assert "Put the CA that signed it into worklist_sync_source_ca" in said["another authority"]
    assert f"not accepted with {stranger}" in said["another authority's file"]
    assert "for another name than 127.0.0.1" in said["another name"]
    assert "Put a name that it is for into worklist_sync_source.host" in said["another name"]
    assert "the file /nowhere/ca.crt, worklist_sync_source.tls.ca, doesn't exist on this host" in said["no file"]
    assert "is not PEM text of certificates" in said["no certificate"]
    assert "refused. Check that the server runs" in said["nobody"]
    assert "db.invalid:3306" in said["no such name"]


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Run a server that sends this to each client, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(65536)  # until the client closes: what it never read would reset the connection

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


#: The greeting of a MySQL server (its protocol, 10): the version, the thread, a salt, capabilities without TLS, …
GREETING = b"\x0a8.0.0\0" + bytes(4) + bytes(8) + b"\0" + b"\xff\xf7" + bytes(20)
#: An error's packet: its code, and what the server says.
REFUSED = b"\xff\x6a\x04Host 'x' is not allowed to connect"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GREETING, "it has no TLS. Let the server's administrator switch it on"),
        (REFUSED, "it refuses this host: Host 'x' is not allowed to connect. Let the server's administrator allow it"),
        (b"\x05hello" * 9, "what answers is not MySQL"),
        (b"", "what answers is not MySQL"),
    ],
)
def test_what_answers_otherwise_is_told_from_it(content: bytes, said: str, certificates: Path, tmp_path: Path) -> None:
    packet = len(content).to_bytes(3, "little") + b"\0" + content if content else b""
    with answering(packet) as port:
        ca = (certificates / "authority.crt").read_text()
        [result] = asked(tmp_path, {"port": port, "tls": True, "ca": ca})
    assert said in result["msg"]


def test_a_postgresql_answers_and_shows_the_right_certificate(
    postgresql: PostgreSQL, certificates: Path, tmp_path: Path
) -> None:
    place: Result = {"type": "postgresql", "port": postgresql.port}
    authority, stranger = ((certificates / f"{name}.crt").read_text() for name in ("authority", "stranger"))
    plain, checked, strange, other_name = asked(
        tmp_path,
        place,
        place | {"tls": True, "ca": authority},
        place | {"tls": True, "ca": stranger},
        place | {"tls": True, "ca": authority, "host": "127.0.0.1"},
    )
    assert (plain["version"], plain["certificate"]) == ("", "")
    assert checked["certificate"] == "commonName=db.example"
    assert "not accepted with worklist_sync_source_ca (commonName=The stranger)" in strange["msg"]
    assert "Put a name that it is for into worklist_sync_source.host" in other_name["msg"]


@pytest.mark.parametrize(
    ("content", "tls", "said"),
    [
        (b"N", True, "it has no TLS. Let the server's administrator switch it on"),
        (b"H", False, "what answers is not PostgreSQL. Check worklist_sync_source.host and .port"),
        (b"", True, "what answers is not PostgreSQL"),
        (b"S" + bytes(20), True, "its TLS is not understood"),
    ],
)
def test_what_answers_in_place_of_postgresql_is_told_from_it(
    content: bytes, tls: bool, said: str, certificates: Path, tmp_path: Path
) -> None:
    ca = (certificates / "authority.crt").read_text()
    with answering(content) as port:
        [result] = asked(tmp_path, {"type": "postgresql", "port": port, "tls": tls, "ca": ca})
    assert said in result["msg"]


def test_a_postgresql_s_usual_port_is_its_own(tmp_path: Path) -> None:
    [result] = asked(tmp_path, {"type": "postgresql", "host": "db.invalid"})
    assert "db.invalid:5432" in result["msg"]
