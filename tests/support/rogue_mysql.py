"""A MySQL server of the tests' own, which means harm: it asks for the password, and never ends its answers."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from dicom_worklist.bookings.booking import COLUMNS

SALT = b"12345678", b"901234567890"
#: Protocol 4.1, a database at the login, secure connection, plug-ins; and TLS.
CAPABILITIES = 0x200 | 0x8 | 0x8000 | 0x80000
TLS = 0x800
OK = b"\0\0\0\2\0\0\0"
#: By caching_sha2_password: the hash is right, which nobody answers.
RIGHT = b"\1\3"
END = b"\xfe\0\0\2\0"


@dataclass
class Rogue:
    """What it does with each client.

    `greets` is the way to log in that its greeting names, `asks` the one that it wants after that (None: it lets the
    client in), `then` what it sends after the client's first answer to that. `answer` is what it does with the query:
    rows, bytes of one value, columns, or a byte a second, without end; or an error with a text. `heard` is
    everything that the clients sent, within TLS where there is TLS.
    """

    listener: socket.socket
    greets: bytes = b"mysql_native_password"
    asks: bytes | None = None
    then: bytes = OK
    answer: str = "rows"
    said: str = "no"
    tls: ssl.SSLContext | None = None
    heard: bytearray = field(default_factory=bytearray)
    _clients: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def close(self) -> None:
        for one in (self.listener, *self._clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _talk(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            self._send(client, 0, self._greeting())
            number, login = self._hear(client)
            if self.tls and int.from_bytes(login[:4], "little") & TLS:
                with self.tls.wrap_socket(client, server_side=True) as secure:
                    self._go_on(secure, self._hear(secure)[0])
            else:
                self._go_on(client, number)

    def _go_on(self, client: socket.socket, number: int) -> None:
        if self.asks is not None:
            self._send(client, number + 1, b"\xfe" + self.asks + b"\0" + self._prompt())
            number, _ = self._hear(client)
        if self.then != OK:
            number += 1
            self._send(client, number, self.then)
            if self.then != RIGHT:
                number, _ = self._hear(client)
        self._send(client, number + 1, OK)
        while True:
            _, question = self._hear(client)
            if b"EXECUTE" in question:
                self._answer(client)
            else:
                self._send(client, 1, OK)

    def _answer(self, client: socket.socket) -> None:
        if self.answer == "error":
            self._send(client, 1, b"\xff\x28\x04#42000" + self.said.encode())
            return
        if self.answer == "columns":
            self._send(client, 1, b"\xfe" + b"\xff" * 8)
            self._without_end(client, 2, column("x"))
        self._send(client, 1, bytes([len(COLUMNS)]))
        for at, name in enumerate(COLUMNS, start=2):
            self._send(client, at, column(name))
        number = len(COLUMNS) + 2
        self._send(client, number, END)
        if self.answer == "rows":
            self._without_end(client, number + 1, b"\x011" * len(COLUMNS))
        if self.answer == "slowly":
            client.sendall(b"\xff\xff\0" + bytes([number + 1]))
            while True:
                client.sendall(b"x")
                time.sleep(0.2)
        for count in range(number + 1, 1 << 30):  # one value
            client.sendall(b"\xff\xff\xff" + bytes([count % 256]) + b"x" * 0xFFFFFF)

    def _without_end(self, client: socket.socket, number: int, content: bytes) -> None:
        head = len(content).to_bytes(3, "little")
        numbers = (range(at, at + 256) for at in range(number, 1 << 30, 256))
        for some in numbers:
            client.sendall(b"".join(head + bytes([count % 256]) + content for count in some))

    def _greeting(self) -> bytes:
        capabilities = CAPABILITIES | (TLS if self.tls else 0)
        return (
            b"\x0a8.0.0\0" + bytes(4) + SALT[0] + b"\0" + struct.pack("<H", capabilities & 0xFFFF)
            + struct.pack("<BHHB", 45, 2, capabilities >> 16, 21) + bytes(10) + SALT[1] + b"\0" + self.greets + b"\0"
        )  # fmt: skip

    def _prompt(self) -> bytes:
        return b"\4Password: " if self.asks == b"dialog" else b"".join(SALT) + b"\0"

    def _hear(self, client: socket.socket) -> tuple[int, bytes]:
        """Return the number of a packet, and what is in it."""
        head = self._receive(client, 4)
        return head[3], self._receive(client, int.from_bytes(head[:3], "little"))

    def _receive(self, client: socket.socket, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = client.recv(count - len(content))
            if not part:
                raise EOFError
            self.heard += part
            content += part
        return content

    def _send(self, client: socket.socket, number: int, content: bytes) -> None:
        client.sendall(len(content).to_bytes(3, "little") + bytes([number % 256]) + content)


def column(name: str) -> bytes:
    """Return what describes a column of text."""
    texts = ("def", "", "", "", name, name)
    described = b"".join(bytes([len(text)]) + text.encode() for text in texts)
    return described + b"\x0c" + struct.pack("<HIBHBxx", 45, 1024, 0xFD, 0, 0)


@contextmanager
def rogue(**does: object) -> Iterator[Rogue]:
    """Run one on a port of loopback."""
    made = Rogue(socket.create_server(("127.0.0.1", 0)), **does)  # type: ignore[arg-type]
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.close()
