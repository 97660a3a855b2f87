"""A mail server of the test's own (aiosmtpd), with TLS and a login if they are asked for; and one that never ends."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

LOGIN = ("sync", "geheim password!")


class MailServer:
    """Takes mail on loopback. `refused` are addresses that it doesn't take; `taken` is called with each mail."""

    def __init__(self, **options: Any) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.refused: dict[str, str] = {}
        self.answer = "250 OK"
        self.taken: Callable[[EmailMessage], None] = lambda _: None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._controller = Controller(self, "127.0.0.1", self.port, ready_timeout=20, **options)
        self._controller.start()

    def close(self) -> None:
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        if self.answer.startswith("250"):
            self.mails.append(mail)
            self.envelopes.append(envelope)
        self.taken(mail)
        return self.answer


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None, *, implicit: bool = False, login: bool = False, **options: Any
) -> Iterator[MailServer]:
    """Run one; with a `context` it wants STARTTLS, or, `implicit`, TLS from the first byte."""
    if context:
        options |= {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
    if login:
        # aiosmtpd doesn't see that TLS was there from the first byte
        options |= {"authenticator": _authenticator, "auth_required": True, "auth_require_tls": not implicit}
    server = MailServer(**options)
    try:
        yield server
    finally:
        server.close()


def _authenticator(server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any) -> AuthResult:
    right = isinstance(auth_data, LoginPassword) and (
        auth_data.login.decode(), auth_data.password.decode(),
    ) == LOGIN  # fmt: skip
    return AuthResult(success=right, handled=False)


@contextmanager
def endless(line: bytes, pause: float = 0.05) -> Iterator[int]:
    """Run a server that sends this line again and again, and return its port."""
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        with client:
            while not over.wait(pause):
                try:
                    client.sendall(line)
                except OSError:
                    return

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
    thread.join(5)
