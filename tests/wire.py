"""What goes over the wire: a client's bytes recorded, to be sent again cut, broken or slowly (PS3.8 9.3)."""

import re
import socket
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
