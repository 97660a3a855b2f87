"""Queries as nobody should ask: each is answered with entries of the worklist or nothing, a good client at once."""

import random
import re
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_worklist import config, pipeline
from support import clients, conformance, twins, wire
from support.calendar import DAY, NOW, PATIENTS, Calendar
from support.configuration import changed, settings, write_yaml
from support.tally import Tally

KEYWORDS = [
    keyword.removeprefix(">") for keyword, _, vr, *_ in conformance.table("Attributes of the Modality") if vr != "SQ"
]
TEXTS = [
    "",
    "*",
    "?",
    "**?*?",
    "MR",
    "[a-z]",
    "%s%n",
    "\\",
    "a\\b\\c",
    "-",
    "20261124-",
    "-0900",
    "\0",
    "^",
    "=",
    "\x1b$B",
]
CHARSETS = ["", "ISO_IR 999", "ISO 2022 IR 87", "\\ISO 2022 IR 87", "ISO_IR 192\\ISO_IR 100", "X" * 300]
VRS = ["AE", "CS", "DA", "DS", "FD", "IS", "LO", "LT", "OB", "PN", "SH", "TM", "UI", "UN", "US", "UT"]
#: ScheduledProcedureStepSequence, ScheduledProtocolCodeSequence, RequestedProcedureCodeSequence, a private one.
SEQUENCES = (0x00400100, 0x00400008, 0x00321064, 0x00091010)


def element(tag: int, vr: str, content: bytes, length: int | None = None) -> tuple[int, bytes]:
    """Return an attribute in Explicit VR Little Endian, by its tag (PS3.5 7.1.2)."""
    content += b" " * (len(content) % 2)
    size = len(content) if length is None else length
    form = "<HH2s2xL" if vr in {"OB", "SQ", "UN", "UT"} else "<HH2sH"
    return tag, struct.pack(form, tag >> 16, tag & 0xFFFF, vr.encode(), size) + content


def sequence(tag: int, items: list[bytes], undefined: bool) -> tuple[int, bytes]:
    """Return a sequence of defined or undefined length; its items are alike (PS3.5 7.5)."""
    if not undefined:
        return element(tag, "SQ", b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in items))
    begin, end = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    content = b"".join(begin + item + end for item in items) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return element(tag, "SQ", content, 0xFFFFFFFF)


def odd(chance: random.Random, depth: int = 0) -> bytes:
    """Return a query, or an item of one: keys that match, and don't, in VRs of others, in items within items."""
    elements = [element(0x00100020, "LO", chance.choice(["", "*", "3010000.01_sub-002"]).encode())]
    for keyword in chance.sample(KEYWORDS, chance.randint(0, 8)):
        tag = tag_for_keyword(keyword) or 0
        vr = chance.choice(VRS) if chance.random() < 0.3 else dictionary_VR(tag)
        elements.append(element(tag, vr, (chance.choice(TEXTS) * chance.choice([1, 1, 1, 100])).encode()))
    if chance.random() < 0.3:
        elements.append(element(0x00080005, "CS", chance.choice(CHARSETS).encode()))
    if chance.random() < 0.3:
        elements += [element(0x00090010, "LO", b"TEST"), element(0x00091001, "LO", b"X")]
    for tag in SEQUENCES:
        if depth < 4 and chance.random() < 0.4:
            items = [odd(chance, depth + 1) for _ in range(chance.choice([0, 1, 1, 2, 5]))]
            elements.append(sequence(tag, items, chance.random() < 0.5))
    return b"".join(content for _, content in sorted(dict(elements).items()))


def patients(entries: list[bytes]) -> set[str]:
    """Return the PatientID of all entries, in Explicit VR Little Endian."""
    said = b"".join(entries)
    found = re.finditer(rb"\x10\x00\x20\x00LO(..)", said, re.DOTALL)  # and its length
    return {said[at.end() :][: int.from_bytes(at[1], "little")].decode().strip() for at in found}


@pytest.mark.parametrize(
    ("asked", "found"),
    [("*^*", 0), ("3010000.01*^J*", 0), ("*_ses-01", 5), ("3010000.01_sub-003_ses-01", 1), ("3010000.01_sub-003*", 1)],
)
def test_a_caret_in_a_query_finds_no_name_of_one_component(
    asked: str, found: int, broker: twins.Broker, five_entries: None, tally: Tally
) -> None:
    assert "`*^*`, and finds nothing" in conformance.TEXT
    tally.tried += 1
    tally.wrong += len(clients.pynetdicom_find(broker.port, PatientName=asked)) != found


@pytest.mark.usefixtures("five_entries")
def test_odd_queries(broker: twins.Broker, tally: Tally, often: Callable[[int, int], int]) -> None:
    chance = random.Random(7)
    recorded = wire.query(broker.port)
    matched, slowest = 0, 0.0
    for number in range(often(60, 3000)):
        query = odd(chance)
        began = time.monotonic()
        statuses, entries = wire.find(broker.port, recorded, query)
        slowest = max(slowest, time.monotonic() - began)
        tally.tried += 1
        if not statuses or statuses[-1] not in {0, 0xA900}:
            tally.failed += 1
            print(f"query {number}: {[f'{status:04X}' for status in statuses]}: {query.hex()}")
        tally.wrong += not patients(entries) <= set(PATIENTS)
        matched += len(statuses) > 1
        if number % 20 == 0:
            began = time.monotonic()
            tally.failed += wire.ask(broker.port) != (PATIENTS, True)
            tally.late += time.monotonic() - began > tally.within
    tally.fault += f" ({matched:,} of them matched entries; the slowest took {slowest:.1f} s)"
    assert 0 < matched < tally.tried


def test_wildcards_that_would_take_for_ever(
    broker: twins.Broker, tally: Tally, often: Callable[[int, int], int], tmp_path: Path
) -> None:
    """wlmscpfs tries each way to share a name out among the asterisks, and holds the lock while it does."""
    calendar = Calendar(tmp_path / "calendar.sqlite")
    calendar.add_user("long", "Maximiliane" * 2, "Wolfeschlegelsteinhausenbergerdorff")
    calendar.book(1, "1-1", user="long")
    site = changed(settings(calendar.path, broker.folder.parent), {"worklist.lock_timeout": 30})
    configuration = config.load(write_yaml(tmp_path / "config.yml", site))
    pipeline.run(configuration, DAY, now=NOW)
    request, command, original, _ = wire.query(broker.port)
    query = wire.dataset(original, element(0x00080090, "PN", b"*?" * 20 + b"0")[1])
    for booking in range(2, often(1, 10) + 2):
        with ExitStack() as stack:
            clients = [stack.enter_context(wire.connect(broker.port)) for _ in range(3)]
            for client in clients:
                client.sendall(request + command + query)
                assert wire.read_pdu(client)[:1] == b"\2"  # A-ASSOCIATE-AC
            calendar.book(booking, f"{booking}-1")
            tally.tried += 1
            tally.failed += len(pipeline.run(configuration, DAY, now=NOW).published) != 1
            for client in clients:
                client.settimeout(30)
                tally.wrong += wire.read_pdu(client) != b""
        found, succeeded = wire.ask(broker.port)
        tally.failed += not succeeded
        tally.lost += booking - len(found)
    tally.limit = "ended after 5 s of a processor; a sync waits for that"
