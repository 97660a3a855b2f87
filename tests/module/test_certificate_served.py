"""The module `certificate_served`, against a server that shows a certificate."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from support.modules import run
from support.plays import Result


def certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate, and a file with the certificate and its key."""
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    line += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")]
    subprocess.run(line, check=True, capture_output=True)
    return folder / f"{name}.crt"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HTTPServer]:
    shown = certificate(tmp_path, "shown")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, shown.with_suffix(".key"))
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_only_the_certificate_that_is_shown_is_right(tmp_path: Path, server: HTTPServer) -> None:
    shown, other = tmp_path / "shown.crt", certificate(tmp_path, "other")
    chain = tmp_path / "chain.crt"
    chain.write_text("a line before\n" + shown.read_text() + other.read_text())  # the server's own comes first

    def ask(file: Path, port: int = server.server_port) -> Result:
        where = {"host": "127.0.0.1", "port": port, "file": str(file), "container": "orthanc-https"}
        return {"certificate_served": where}

    right, first, wrong, missing, silent = run(
        tmp_path, ask(shown), ask(chain), ask(other), ask(tmp_path / "missing.crt"), ask(shown, 9)
    )
    for result in (right, first):
        assert "msg" not in result
        assert result["changed"] is False
    assert "it shows another one" in wrong["msg"]
    assert 'docker logs orthanc-https"' in wrong["msg"]
    assert "missing.crt" in missing["msg"]
    assert "refused" in silent["msg"]
