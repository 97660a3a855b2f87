"""What goes over the wire: a client's bytes recorded, to be sent again cut, broken or slowly (PS3.8 9.3)."""

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Sequence


def recorded(line: Sequence[str], port: int) -> list[bytes]:
    """Run a client against 127.0.0.1:`port`, and return the PDUs that it sent.

    `line` is its command; `{port}` in it is where the recorder listens.
    """
    sent = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_relay, args=(server, port, sent), daemon=True)
        thread.start()
        own = str(server.getsockname()[1])
        subprocess.run([part.replace("{port}", own) for part in line], check=True, capture_output=True, timeout=30)
        thread.join(timeout=30)
    return pdus(bytes(sent))


def pdus(sent: bytes) -> list[bytes]:
    """Cut a stream into PDUs: type, a reserved byte, the length of the rest in four bytes (PS3.8 9.3.1)."""
    found = []
    while sent:
        end = 6 + int.from_bytes(sent[2:6], "big")
        found.append(sent[:end])
        sent = sent[end:]
    return found


def read_pdu(connection: socket.socket) -> bytes:
    """Read one PDU; b"" is the connection's end."""
    head = _read(connection, 6)
    return head and head + _read(connection, int.from_bytes(head[2:6], "big"))


def query(port: int, called: str = "WLBROKER") -> list[bytes]:
    """Return the PDUs of a real `findscu` that asks for the entries of PRISMA."""
    keys = ["-k", "PatientID", "-k", "PatientName", "-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle"]
    return recorded(["findscu", "-W", "-aet", "PRISMA", "-aec", called, *keys, "127.0.0.1", "{port}"], port)


def ask(port: int, host: str = "127.0.0.1") -> tuple[list[str], bool]:
    """Ask as the scanner PRISMA does; return the patients, and whether the broker called it a success."""
    keys = ["-k", "PatientID", "-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=PRISMA"]
    line = ["findscu", "-v", "-W", "-to", "10", "-td", "30", "-aec", "WLBROKER", *keys, host, str(port)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=90)
    said = done.stdout + done.stderr
    found = sorted(re.findall(r"\(0010,0020\) LO \[(3010000\.01_sub-\d+)\s*\]", said))
    return found, done.returncode == 0 and "Final Find Response (Success)" in said


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def dataset(original: bytes, query: bytes) -> bytes:
    """Return the PDUs of another query, in the presentation context of the original's."""
    said = b""
    for at in range(0, len(query), 8192):
        # the context's id; that it is of a dataset, and whether it is the last part (PS3.8 9.3.5.1 and E.2)
        value = original[10:11] + bytes([2 * (at + 8192 >= len(query))]) + query[at : at + 8192]
        said += struct.pack(">BxLL", 4, len(value) + 4, len(value)) + value
    return said


def find(port: int, recorded: list[bytes], query: bytes) -> tuple[list[int], list[bytes]]:
    """Ask with another query in the place of a recorded one's; return the statuses, and the entries.

    Both are in Explicit VR Little Endian. pynetdicom won't do: it loses an answer now and then.
    """
    request, command, original, release = recorded
    statuses, entries, entry = list[int](), list[bytes](), b""
    with connect(port) as connection:
        connection.sendall(request + command + dataset(original, query))
        read_pdu(connection)  # A-ASSOCIATE-AC
        while (not statuses or statuses[-1] >= 0xFF00) and (pdu := read_pdu(connection)):
            at = 6
            while pdu[0] == 4 and at < len(pdu):
                end = at + 4 + int.from_bytes(pdu[at : at + 4], "big")
                control, part = pdu[at + 5], pdu[at + 6 : end]
                at = end
                if control & 1:  # a command: its Status (PS3.7 E.1)
                    (status,) = re.findall(rb"\x00\x00\x00\x09\x02\x00\x00\x00(..)", part, re.DOTALL)
                    statuses.append(int.from_bytes(status, "little"))
                else:
                    entry += part
                    if control & 2:
                        entries.append(entry)
                        entry = b""
        connection.sendall(release)
    return statuses, entries


def _relay(server: socket.socket, port: int, sent: bytearray) -> None:
    client, _ = server.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as engine:
        back = threading.Thread(target=_pour, args=(engine, client, bytearray()), daemon=True)
        back.start()
        _pour(client, engine, sent)
        back.join(timeout=30)


def _pour(source: socket.socket, target: socket.socket, seen: bytearray) -> None:
    try:
        while data := source.recv(65536):
            seen += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them has gone


def _read(connection: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length and (more := connection.recv(length - len(data))):
        data += more
    return bytes(data)
