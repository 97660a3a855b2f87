"""A web server of the test's own: what it was asked, and answers that are right, wrong, slow or cut off."""

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Asked:
    """A request as the server got it."""

    method: str
    target: str
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer with its Content-Length, unless `headers` have another."""

    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def raw(self) -> bytes:
        """The answer's bytes."""
        body = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return f"HTTP/1.1 {self.status} Status\r\n{lines}\r\n".encode() + body


#: Bytes are sent as they are, and the connection closed; an iterable of them one by one.
Answer = Reply | bytes | Iterable[bytes]


class WebServer:
    """Answers each request with what `answer` returns for it, and has what it was `asked`."""

    def __init__(self, answer: Callable[[Asked], Answer], context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer = answer
        web = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.close_connection = True
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, self.headers, body)
                web.asked.append(asked)
                answer = web.answer(asked)
                parts = [answer.raw] if isinstance(answer, Reply) else [answer] if isinstance(answer, bytes) else answer
                try:
                    for part in parts:
                        self.connection.sendall(part)
                except OSError:
                    pass  # the client has had enough

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def get_request(self) -> Any:
                connection, address = super().get_request()
                if context is None:
                    return connection, address
                return context.wrap_socket(connection, server_side=True), address

            def handle_error(self, *_: object) -> None:
                pass  # a client that doesn't trust the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def serving(*answers: Answer | Callable[[Asked], Answer], context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """Run a server that gives these answers one after the other, and then the last one again and again."""
    waiting = list(answers)

    def answer(asked: Asked) -> Answer:
        one = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return one(asked) if callable(one) else one

    server = WebServer(answer, context)
    try:
        yield server
    finally:
        server.close()


def as_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(json.dumps(value), status, headers or {})


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority, and what it signed: `certificate` and its `key`, for a server's `name`."""

    ca: Path
    certificate: Path
    key: Path

    def server(self, client_ca: Path | None = None) -> ssl.SSLContext:
        """Return a server's context; with `client_ca` it asks for a client's certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def certificates(folder: Path, name: str = "127.0.0.1", *, expired: bool = False) -> Certificates:
    """Make an authority and a certificate for a name or an address, good for this century, or `expired`."""
    folder.mkdir(exist_ok=True)
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Authority", authority.public_key(), "Authority", authority, None)
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        names: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        names = x509.DNSName(name)
    own = _certificate(name, key.public_key(), "Authority", authority, names, until=2001 if expired else 2100)
    made = Certificates(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.certificate.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _certificate(
    subject: str,
    public: ec.EllipticCurvePublicKey,
    issuer: str,
    signs: ec.EllipticCurvePrivateKey,
    name: x509.GeneralName | None,
    *,
    until: int = 2100,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(until, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=name is None, path_length=None), critical=True)
    )
    if name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    return builder.sign(signs, hashes.SHA256())
