"""A TCP server between a client and a server, that fails as a network, or the server, does."""

import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Lets `limit` bytes of a connection's answers pass, then sends `instead`, and then closes, resets or stays silent.

    Each may be changed between two connections. `passed` is what the answers of the last connection were, in bytes;
    `asked` is how often its client sent something.
    `plain` hides from the client that MySQL offers TLS.
    """

    upstream: int
    listener: socket.socket
    limit: int | None = None
    instead: bytes = b""
    then: str = "close"
    plain: bool = False
    passed: int = 0
    asked: int = 0
    _open: list[socket.socket] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed in the end
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.upstream))
                self._open += [client, server]
                for connection in (client, server):  # or each small packet waits for an acknowledgement
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answer, args=(client, server), daemon=True).start()

    def close(self) -> None:
        for connection in (self.listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        self.asked = 0
        with suppress(OSError):
            while data := client.recv(65536):
                self.asked += 1
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        limit, self.passed = self.limit, 0
        with suppress(OSError):
            while limit is None or self.passed < limit:
                data = server.recv(65536)
                if not data:
                    break
                if self.plain and not self.passed:
                    data = _without_tls(data)
                data = data[: None if limit is None else limit - self.passed]
                self.passed += len(data)
                client.sendall(data)
            else:
                client.sendall(self.instead)
                if self.then == "silence":
                    return
                if self.then == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for connection in (client, server):  # SHUT_RD lets the other thread go, which would keep it open
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
            connection.close()


@contextmanager
def proxy(upstream: int) -> Iterator[Proxy]:
    """Run a proxy to a port of loopback."""
    made = Proxy(upstream, socket.create_server(("127.0.0.1", 0)))
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        made.close()


@contextmanager
def nobody_answers() -> Iterator[int]:
    """Give a port of loopback whose connections stay half open, as behind a firewall that drops."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = int(listener.getsockname()[1])
        for waiting in (first, second):
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(("127.0.0.1", port))
        yield port


def garbage(chance: random.Random) -> bytes:
    """Return what a broken server, or another one, might say."""
    return chance.choice(
        [
            chance.randbytes(chance.randint(1, 400)),
            bytes(chance.randint(1, 64)),
            b"\xff" * chance.randint(1, 64),
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            # well-formed packets: nonsense, and a request for a file of ours
            b"".join(_packet(sequence, chance.randbytes(chance.randint(1, 20))) for sequence in range(1, 8)),
            _packet(chance.randint(1, 4), b"\xfb/etc/passwd"),
        ]
    )


def _without_tls(greeting: bytes) -> bytes:
    """Clear CLIENT_SSL, 0x0800, in a server's greeting: version, 0, thread (4), salt (8), 0, capabilities (2)."""
    at = greeting.index(0, 5) + 15
    return greeting[:at] + bytes([greeting[at] & ~0x08]) + greeting[at + 1 :]


def _packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload
