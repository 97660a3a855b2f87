"""A server that answers in place of the booking database gets no password, and can't fill the memory or hold a run."""

import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.sources import _tls
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError
from support.rogue_mysql import OK, RIGHT, Rogue, rogue
from support.sources import TODAY, error_of

PASSWORD = "open sesame"
KEY = b"\1" + rsa.generate_private_key(65537, 2048).public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return str(tmp_path / "password")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate that a rogue makes for itself, and its key."""
    path = tmp_path_factory.mktemp("rogue") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", path, "-out", path.with_suffix(".crt")],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def speaks_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def mysql(server: Rogue, password_file: str, **settings: Any) -> sources.Source:
    where = {"host": "127.0.0.1", "port": server.port, "database": "fcdc", "user": "dicomdf"}
    limits = {"connect_timeout": 1, "read_timeout": 2}
    source: sources.Source = sources.source_class("mysql")(**(where | limits | settings), password_file=password_file)
    return source


#: Where a server asks for the password itself: in the greeting, afterwards, or where it doesn't know the hash. With an
#: RSA key of its own it could read what is encrypted with that.
ASKING: dict[str, dict[str, Any]] = {
    "clear": {"asks": b"mysql_clear_password"},
    "clear from the beginning": {"greets": b"mysql_clear_password", "then": b"\1"},
    "dialog": {"asks": b"dialog"},
    "an old hash": {"asks": b"mysql_old_password"},
    "sha256": {"asks": b"sha256_password", "then": KEY},
    "sha256 from the beginning": {"greets": b"sha256_password", "then": KEY},
    "caching sha2": {"asks": b"caching_sha2_password", "then": b"\1\4"},
    "caching sha2 from the beginning": {"greets": b"caching_sha2_password", "then": b"\1\4"},
}


@pytest.mark.parametrize("asking", ASKING)
@pytest.mark.parametrize("with_tls", [False, True])
def test_the_password_is_not_given_to_a_server_that_is_not_checked(
    asking: str, with_tls: bool, speaks_tls: ssl.SSLContext, password_file: str
) -> None:
    with rogue(**ASKING[asking], tls=speaks_tls if with_tls else None) as server:
        said = error_of(mysql(server, password_file))
        heard = bytes(server.heard)
    assert (b"dicomdf" in heard) == (asking != "sha256 from the beginning")
    assert PASSWORD.encode() not in heard
    assert max(map(len, heard.split(b"\0"))) < 200, "nothing that is encrypted with the server's key"
    assert "asks for the password as it is" in said
    assert "was not sent. Let the server's administrator give the account" in said


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog", b"mysql_old_password"])
def test_some_ways_to_log_in_are_refused_over_checked_tls_too(
    plugin: bytes, certificate: Path, speaks_tls: ssl.SSLContext, password_file: str
) -> None:
    with rogue(asks=plugin, tls=speaks_tls) as server:
        tls = TLS(ca=str(certificate.with_suffix(".crt")))
        said = error_of(mysql(server, password_file, host="localhost", tls=tls))
    assert f"({plugin.decode()})" in said
    assert PASSWORD.encode() not in server.heard


@pytest.mark.parametrize("plugin", [b"mysql_native_password", b"caching_sha2_password"])
def test_a_hash_is_enough_without_tls(plugin: bytes, password_file: str) -> None:
    then = RIGHT if plugin == b"caching_sha2_password" else OK
    with rogue(asks=plugin, then=then, answer="error") as server:
        said = error_of(mysql(server, password_file))
    assert "no. Other tables than the DCCN calendar's need source.query" in said


def test_the_right_server_gets_the_password_over_tls_where_it_does_not_know_the_hash(
    certificate: Path, speaks_tls: ssl.SSLContext, password_file: str
) -> None:
    with rogue(asks=b"caching_sha2_password", then=b"\1\4", tls=speaks_tls, answer="error") as server:
        tls = TLS(ca=str(certificate.with_suffix(".crt")))
        assert "Check that" not in error_of(mysql(server, password_file, host="localhost", tls=tls))
    assert PASSWORD.encode() + b"\0" in server.heard


@pytest.mark.parametrize(("tls", "here"), [(None, True), (False, False), (None, False), (True, True)])
def test_tls_is_demanded_of_another_machine(
    tls: bool | None, here: bool, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tls, "is_here", lambda host: here)
    with rogue(answer="error") as server:
        said = error_of(mysql(server, password_file, tls=tls))
        heard = bytes(server.heard)
    if tls or (tls is None and not here):
        assert "SSL is required" in said
        assert "or set source.tls: false" in said
        assert heard == b""
    else:
        assert "SSL" not in said
        assert b"dicomdf" in heard


def test_a_certificate_that_nobody_signed_is_refused_without_a_setting(
    speaks_tls: ssl.SSLContext, password_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tls, "is_here", lambda host: False)
    with rogue(asks=b"mysql_native_password", tls=speaks_tls) as server:
        said = error_of(mysql(server, password_file, host="localhost"))
    assert "certificate verify failed" in said
    assert "into source.tls.ca" in said
    assert b"dicomdf" not in server.heard


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("/run/mysqld", True),
        ("db.example.org", False), ("192.0.2.1", False), ("127.0.0.1.example.org", False), ("localhost.example", False),
    ],
)  # fmt: skip
def test_this_machine_is_known_by_its_name(host: str, here: bool) -> None:
    assert _tls.is_here(host) == here


@pytest.mark.parametrize("answer", ["rows", "one value", "columns"])
def test_an_answer_without_end_is_ended(answer: str, password_file: str) -> None:
    with rogue(answer=answer) as server:
        said = error_of(mysql(server, password_file, read_timeout=60))
    assert "gives more than 100,000 rows or 100 MB" in said


def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(password_file: str) -> None:
    began = time.monotonic()
    with rogue(answer="slowly") as server, pytest.raises(SourceError, match=r"took longer than source\.read_timeout"):
        mysql(server, password_file).rows(**TODAY)
    assert time.monotonic() - began < 30


def test_what_a_server_says_can_not_write_to_the_terminal(password_file: str) -> None:
    with rogue(answer="error", said="\x1b[2J\nall is well\u202e") as server:
        said = error_of(mysql(server, password_file))
    assert said.isprintable()
    assert r"\x1b[2J\nall is well\u202e" in said
