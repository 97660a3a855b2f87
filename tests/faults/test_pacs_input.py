"""The PACS gets data that is not an image, or not DICOM: it refuses it, or keeps what it got, and serves the next."""

import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.filereader import read_dataset

from support import live, scanner, twins, wire
from support.tally import Tally

RELEASE = b"\5\0\0\0\0\4\0\0\0\0"
#: A-ASSOCIATE-RJ, A-RELEASE-RP, A-ABORT
OVER = (3, 6, 7)
#: The offsets of the AE titles in an A-ASSOCIATE-RQ (PS3.8 9.3.2).
CALLED, CALLING = 10, 26
HOSTILE = (
    "../../../../etc/passwd", "<script>alert(1)</script>", "'; DROP TABLE Resources; --", "%s%n%x" * 20, "\0" * 64,
    "\x1b$B\x1b(J\x1b", "\udcff\udcfe", "A" * 65000, "=^" * 500, "\\" * 1000, "${jndi:ldap://nobody}", '","ID":"',
)  # fmt: skip


@pytest.fixture(scope="module")
def pacs(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[twins.Pacs]:
    assert deployment.first.status == 0, deployment.first.output
    with twins.pacs(tmp_path_factory.mktemp("pacs") / "data") as pacs:
        yield pacs


def element(group: int, number: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """Return an element in Explicit VR Little Endian, with another length than its own if one is given."""
    length = len(value) if length is None else length
    if vr in {"OB", "OW", "SQ", "UN", "UT"}:
        return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length) + value
    return struct.pack("<HH2sH", group, number, vr.encode(), length & 0xFFFF) + value


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogateescape")
    return encoded + b" " * (len(encoded) % 2)


def image(name: str, **other: bytes) -> bytes:
    """Return the data set of an image, with other elements in place of its own."""
    elements = {
        "sop_class": element(0x08, 0x16, "UI", b"1.2.840.10008.5.1.4.1.1.4\0"),
        "sop_instance": element(0x08, 0x18, "UI", text(name).replace(b" ", b"\0")),
        "modality": element(0x08, 0x60, "CS", b"MR"),
        "patient_name": element(0x10, 0x10, "PN", b"phantom "),
        "patient_id": element(0x10, 0x20, "LO", b"phantom "),
        "study": element(0x20, 0x0D, "UI", b"1.2\0"),
        "series": element(0x20, 0x0E, "UI", b"1.3\0"),
        "rows": element(0x28, 0x10, "US", b"\x08\0") + element(0x28, 0x11, "US", b"\x08\0"),
        "bits": element(0x28, 0x100, "US", b"\x10\0"),
        "pixels": element(0x7FE0, 0x10, "OW", b"\1\2" * 64),
    }
    return b"".join((elements | other).values())


def malformed(chance: random.Random, name: str) -> list[bytes]:
    """Return files that are not images, or have values that nobody expects."""
    whole, pixels, said = image(name), 140, text(chance.choice(HOSTILE))
    flipped = bytearray(whole)
    for _ in range(chance.randrange(1, 9)):
        flipped[chance.randrange(len(flipped))] = chance.randrange(256)
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    return [
        b"",
        chance.randbytes(chance.randrange(1, 4000)),
        bytes(flipped),
        whole[: chance.randrange(1, len(whole))],
        image(name, sop_class=b""),
        image(name, sop_instance=b""),
        image(name, sop_class=b"", sop_instance=b"", study=b"", series=b""),
        # lengths: of pixels that end early, beyond the end, of 4 GiB, not defined, odd
        image(name, pixels=element(0x7FE0, 0x10, "OW", b"\1\2", 128)),
        image(name, patient_id=element(0x10, 0x20, "LO", b"phantom ", 0xFFF0)),
        image(name, pixels=element(0x7FE0, 0x10, "OW", b"\1\2", 0xFFFFFFFE)),
        image(name, pixels=element(0x7FE0, 0x10, "OW", b"\1\2", 0xFFFFFFFF)),
        image(name, patient_id=element(0x10, 0x20, "LO", b"odd")),
        # sequences without an end, in each other
        image(name, bits=element(0x40, 0x275, "SQ", item[:4] * 9, 0xFFFFFFFF)),
        image(name, bits=element(0x40, 0x275, "SQ", item, 0xFFFFFFFF) * 5000),
        # another transfer syntax: Implicit VR, Big Endian
        struct.pack("<HHI", 0x08, 0x16, 26) + whole[8:],
        b"".join(whole[at + 1 : at + 2] + whole[at : at + 1] for at in range(0, len(whole) - 1, 2)),
        whole[-pixels:] + whole[:-pixels],
        image(name, patient_name=element(0x10, 0x10, "PN", said)),
        image(name, patient_id=element(0x10, 0x20, "LO", said)),
        image(name, study=element(0x20, 0x0D, "UI", said)),
    ]


def values(data: bytes) -> dict[int, bytes]:
    """Return the values of a data set, without their order and padding; DCMTK takes spaces out of UIDs."""
    elements = read_dataset(BytesIO(data), is_implicit_VR=False, is_little_endian=True)
    return {
        int(tag): bytes(raw.value or b"").replace(b" ", b"" if raw.VR == "UI" else b" ").rstrip(b" \0")
        for tag in elements.keys()  # noqa: SIM118 - values would be converted
        if (raw := elements.get_item(tag)) is not None
    }


def pdu(kind: int, content: bytes) -> bytes:
    return bytes([kind, 0]) + len(content).to_bytes(4, "big") + content


def fragments(request: bytes, data: bytes) -> Iterator[bytes]:
    """Return the P-DATA-TF PDUs of a command and a data set, in the first presentation context."""
    for content, command in ((request, 1), (data, 0)):
        for at in range(0, max(len(content), 1), 16000):
            part, last = content[at : at + 16000], 2 * (at + 16000 >= len(content))
            yield pdu(4, (len(part) + 2).to_bytes(4, "big") + bytes([1, command | last]) + part)


def command(name: str) -> bytes:
    """Return a C-STORE-RQ (PS3.7 9.3.1)."""
    fields = (
        (0x0002, b"1.2.840.10008.5.1.4.1.1.4\0"), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0"),
        (0x0800, b"\0\0"), (0x1000, text(name).replace(b" ", b"\0")),
    )  # fmt: skip
    rest = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in fields)
    return struct.pack("<HHII", 0, 0, 4, len(rest)) + rest


def association(pacs: twins.Pacs) -> list[bytes]:
    """Return the PDUs of a `storescu` that stores one image."""
    folder = pacs.data.parent / "one"
    (one,) = sorted(folder.glob("*")) or scanner.make(folder, 1, 16)
    line = ["storescu", "-R", "-xe", "-aet", "PRISMA", "-aec", "ORTHANC", "127.0.0.1", "{port}", str(one)]
    return wire.recorded(line, pacs.dicom_port)


def exchange(port: int, sent: bytes, waits: bool = False) -> list[bytes]:
    """Send bytes, and no more or just nothing for now; return the PDUs that came back.

    To a scanner that calls itself nothing Orthanc says nothing, and doesn't close the connection."""
    answers = []
    with closing(socket.create_connection(("127.0.0.1", port), timeout=1)) as connection:
        try:
            connection.sendall(sent)
            if not waits:
                connection.shutdown(socket.SHUT_WR)
            while answer := wire.read_pdu(connection):
                answers.append(answer)
                if answer[0] in OVER:
                    break
        except OSError:
            pass
    return answers


def succeeded(answers: list[bytes]) -> bool:
    """Say whether there is a C-STORE-RSP, command 8001H, with the status 0000H (PS3.7 9.3.1.2)."""
    return any(
        answer[0] == 4 and b"\0\0\0\1\2\0\0\0\1\x80" in answer and b"\0\0\0\x09\2\0\0\0\0\0" in answer
        for answer in answers
    )


def serves(pacs: twins.Pacs, folder: Path) -> bool:
    """Say whether a good scanner is served, and by the same process as ever."""
    (good,) = scanner.make(folder, 1)
    same = pacs.container.attrs["State"]["Pid"]
    pacs.container.reload()
    return scanner.store(pacs.dicom_port, [good]) == {good: 0} and pacs.container.attrs["State"]["Pid"] == same


@pytest.fixture
def known(pacs: twins.Pacs) -> scanner.Held:
    """What is there before."""
    pacs.container.reload()
    association(pacs)
    return scanner.held(pacs)


def test_malformed_images(
    pacs: twins.Pacs, known: scanner.Held, tmp_path: Path, tally: Tally, often: Callable[[int, int], int]
) -> None:
    chance = random.Random(5)
    request, *_ = association(pacs)
    before = known
    for run in range(often(1, 12)):
        for at in range(len(malformed(chance, "1"))):
            name = f"1.2.{run + 1}.{at + 1}"
            data = malformed(chance, name)[at]
            answers = exchange(
                pacs.dicom_port, request + b"".join(fragments(command(name), data)) + RELEASE, waits=True
            )
            tally.tried += 1
            kept = scanner.held(pacs)
            new = kept.keys() - before.keys()
            if succeeded(answers):
                tally.lost += new != {name}
                tally.wrong += values(kept.get(name, b"")) != values(data)
            else:
                tally.wrong += len(new)
            tally.lost += scanner.differences(before, kept) != (0, 0)
            before = kept
        tally.failed += not serves(pacs, tmp_path / str(run))
        before = scanner.held(pacs)


def malformed_associations(chance: random.Random, good: list[bytes]) -> list[bytes]:
    """Return what a client sends that isn't one: cut off, with a false length, changed, noise."""
    stream, at = b"".join(good), chance.randrange(len(good))
    false = bytearray(good[at])
    false[2:6] = chance.choice([chance.randbytes(4), bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1"])
    changed = bytearray(stream)
    for _ in range(chance.randrange(1, 9)):
        changed[chance.randrange(len(good[0]) + len(good[1]))] = chance.randrange(256)
    return [
        b"",
        stream[: chance.randrange(len(stream))],
        b"".join([*good[:at], bytes(false), *good[at + 1 :]]),
        bytes(changed),
        chance.randbytes(chance.randrange(1, 4000)),
        good[0] * 2,
        b"".join(good[1:]),
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
    ]


def test_malformed_associations(
    pacs: twins.Pacs, known: scanner.Held, tmp_path: Path, tally: Tally, often: Callable[[int, int], int]
) -> None:
    chance = random.Random(6)
    good = association(pacs)
    for run in range(often(3, 50)):
        for sent in malformed_associations(chance, good):
            exchange(pacs.dicom_port, sent)
            tally.tried += 1
        tally.failed += not serves(pacs, tmp_path / str(run))
    lost, wrong = scanner.differences(known, scanner.held(pacs))
    tally.lost += lost
    tally.wrong += wrong


def test_strangers(pacs: twins.Pacs, known: scanner.Held, tally: Tally) -> None:
    """Who calls itself, or Orthanc, by another AE title is refused (A-ASSOCIATE-RJ)."""
    request, *rest = association(pacs)
    for place in (CALLED, CALLING):
        for title in ("NOBODY", "", "prisma", "orthanc", "PRISMA2", "*", "ORTHANC\\PRISMA", "\0" * 16):
            stranger = request[:place] + title.encode().ljust(16)[:16] + request[place + 16 :]
            answers = exchange(pacs.dicom_port, stranger + b"".join(rest))
            tally.tried += 1
            tally.wrong += any(answer[0] != 3 for answer in answers)
    tally.wrong += scanner.held(pacs) != known
    tally.limit = (
        "Orthanc never closes the connection of who calls itself nothing; 20,000 of them fill it until a restart"
    )


def test_idle_scanners_delay_nobody(pacs: twins.Pacs, tmp_path: Path, tally: Tally) -> None:
    """They keep their associations open and say nothing."""
    request, *_ = association(pacs)
    with ExitStack() as stack:
        for number in range(12):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", pacs.dicom_port)))
            idle.sendall(request)
            assert wire.read_pdu(idle)[0] == 2  # A-ASSOCIATE-AC
            if number % 4 == 3:
                began = time.monotonic()
                images = scanner.make(tmp_path / str(number), 3)
                tally.tried += 1
                tally.failed += set(scanner.store(pacs.dicom_port, images).values()) != {0}
                tally.failed += time.monotonic() - began > 2
    tally.limit = "a connection that never says a word holds up new ones for 30 s: Orthanc accepts one at a time"
