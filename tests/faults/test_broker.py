"""Broken, silent and odd clients, and a kill: a good client is answered within a second all the time."""

import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
from pydicom.dataset import Dataset
from pynetdicom.association import Association

from dicom_worklist.errors import BrokerError
from dicom_worklist.settings import Broker, Scanner
from dicom_worklist.worklist.broker import find
from support import live, networks, twins, wire
from support.calendar import PATIENTS
from support.tally import Tally
from support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("five_entries")
ECHO = ["echoscu", "-aet", "PRISMA", "-aec", "WLBROKER", "127.0.0.1", "{port}"]
#: Clients that send nothing more, and what they have sent before.
SILENT = ("connected", "stopped within their A-ASSOCIATE-RQ", "associated", "stopped within their query")
SILENT_CLIENTS = 60
PLACES = int(live.VARIABLES.get("wlmscpfs_max_associations", 100))
#: A-ASSOCIATE-RJ: transient, by the service provider (presentation), local limit exceeded (PS3.8 9.3.4).
REJECTION = bytes([3, 0, 0, 0, 0, 4, 0, 2, 3, 2])


def connect(broker: twins.Broker) -> socket.socket:
    return socket.create_connection((networks.address(broker.container), 1234), timeout=10)


def end(broker: twins.Broker, request: bytes) -> bytes:
    """Send a request; return all that the broker says until it ends the connection."""
    said = b""
    with connect(broker) as connection:
        connection.sendall(request)
        with suppress(ConnectionResetError):  # it reads nothing of it
            while part := connection.recv(4096):
                said += part
    return said


def ask(broker: twins.Broker, tally: Tally) -> bool:
    """Ask as a good client does, and judge the answer."""
    began = time.monotonic()
    found, succeeded = wire.ask(broker.port)
    late = time.monotonic() - began > tally.within
    tally.failed += not succeeded
    tally.late += late
    tally.wrong += succeeded and found != PATIENTS
    return succeeded and not late


@contextmanager
def good_client(broker: twins.Broker, tally: Tally) -> Iterator[list[bool]]:
    """Ask all the time, and count what it is answered."""
    over, answers = threading.Event(), [ask(broker, tally)]

    def run() -> None:
        while not over.wait(0.1):
            answers.append(ask(broker, tally))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def processes(broker: twins.Broker) -> list[int]:
    """Return the ids on this machine of the broker's processes, the listening one first."""
    top = broker.container.top(ps_args="-eo pid,comm")
    return sorted(int(pid) for pid, name in top["Processes"] if name.startswith("wlmscpfs"))


def restarts(broker: twins.Broker) -> int:
    """Return how often Docker has started the broker again."""
    broker.container.reload()
    return int(broker.container.attrs["RestartCount"])


def only_one_is_left(broker: twins.Broker) -> None:
    connect(broker).close()  # it looks after those that have ended when the next one comes
    assert len(processes(broker)) <= 2


def broken(pdus: list[bytes], chance: random.Random) -> bytes:
    """Return what a client sent, with one to three faults in it."""
    pdus = list(pdus)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(pdus))
        pdu = bytearray(pdus[at])
        match chance.choice(["bits", "type", "length", "inner length", "doubled", "swapped", "lost", "filled", "tail"]):
            case "bits":
                for _ in range(chance.randint(1, 8)):
                    pdu[chance.randrange(len(pdu))] ^= 1 << chance.randrange(8)
            case "type":
                pdu[0] = chance.randrange(256)
            case "length":
                pdu[2:6] = chance.choice([0, 1, len(pdu) + 1, 0x7FFFFFFF, 0xFFFFFFFF]).to_bytes(4, "big")
            case "inner length":
                place, size = chance.randrange(6, len(pdu)), chance.choice([2, 4])
                pdu[place : place + size] = chance.choice([b"\0", b"\x7f", b"\x80", b"\xff"]) * size
            case "doubled":
                pdus.insert(at, pdus[at])
            case "swapped":
                other = chance.randrange(len(pdus))
                pdu, pdus[other] = bytearray(pdus[other]), pdus[at]
            case "lost" if len(pdus) > 1:
                del pdus[at]
                continue
            case "filled":  # longer than it says
                pdu += chance.randbytes(chance.randint(1, 64))
            case _:
                pdus.append(chance.randbytes(chance.randint(1, 4096)))
        pdus[at] = bytes(pdu)
    return b"".join(pdus)


def test_malformed_and_cut_off_messages(broker: twins.Broker, tally: Tally, often: Callable[[int, int], int]) -> None:
    chance = random.Random(4)
    captures = [wire.query(broker.port), wire.recorded(ECHO, broker.port)]
    cuts = [b"".join(pdus)[:length] for pdus in captures for length in range(sum(map(len, pdus)))]
    count = often(100, 10_000)
    messages = chance.sample(cuts, min(len(cuts), count // 4))
    messages += [broken(captures[number % 2], chance) for number in range(count - len(messages))]
    host = networks.address(broker.container)
    began = broker.container.attrs["State"]["StartedAt"]

    def send(message: bytes) -> bool:
        """Send it all; return whether the broker ends the connection then."""
        with socket.create_connection((host, 1234), timeout=10) as connection:
            try:
                connection.sendall(message)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except TimeoutError:
                return False
            except OSError:  # reset, as there was more than it wanted to read
                pass
        return True

    with good_client(broker, tally) as answers, ThreadPoolExecutor(4) as pool:
        for ended in pool.map(send, messages):
            tally.tried += 1
            tally.failed += not ended
    broker.container.reload()
    state = broker.container.attrs["State"]
    tally.failed += state["StartedAt"] != began or state["OOMKilled"]
    tally.fault += f" ({len(answers):,} queries of a good client meanwhile)"
    wait_until(lambda: only_one_is_left(broker), seconds=10)


@pytest.mark.parametrize("state", SILENT)
def test_silent_clients(broker: twins.Broker, tally: Tally, often: Callable[[int, int], int], state: str) -> None:
    request, query, *_ = wire.query(broker.port)
    chance = random.Random(state)
    tally.fault = f"{SILENT_CLIENTS} silent clients, {state}"
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(broker)) for _ in range(SILENT_CLIENTS)]
        for client in clients:
            if state == SILENT[1]:
                client.sendall(request[: chance.randrange(1, len(request))])
            if state in SILENT[2:]:
                client.sendall(request)
                assert wire.read_pdu(client)[0] == 2  # A-ASSOCIATE-AC
            if state == SILENT[3]:
                client.sendall(query[: chance.randrange(1, len(query))])
        for _ in range(often(3, 30)):
            tally.tried += 1
            ask(broker, tally)
        if often(0, 1):  # each loses its place in the end
            for client in clients:
                client.settimeout(70)
                with suppress(ConnectionResetError):
                    while client.recv(4096):
                        pass
    wait_until(lambda: only_one_is_left(broker), seconds=10)


def test_more_silent_clients_than_places(broker: twins.Broker, tally: Tally) -> None:
    with ExitStack() as stack:
        for _ in range(PLACES + 20):
            stack.enter_context(connect(broker))
        began = time.monotonic()
        tally.tried += 1
        while not wire.ask(broker.port)[1] and time.monotonic() - began < 60:
            time.sleep(0.2)
        seconds = time.monotonic() - began
        tally.failed += seconds > 30
        rejected = "a client that connects when all are taken is rejected"
        tally.limit = f"{PLACES} places: {rejected}; here for {seconds:.0f} s"
    wait_until(lambda: only_one_is_left(broker), seconds=10)


def test_who_comes_when_all_places_are_taken(
    broker: twins.Broker, tally: Tally, often: Callable[[int, int], int]
) -> None:
    """A client is rejected, and `dicom-worklist check` gives the reason; with one more place it is served."""
    request, *_ = wire.query(broker.port)
    scanner = Scanner(ae_title="PRISMA", lab="PRISMA")
    with ExitStack() as stack:
        clients: list[socket.socket] = []

        def take_a_place() -> None:
            client = stack.enter_context(connect(broker))
            client.sendall(request)
            assert wire.read_pdu(client)[:1] == b"\2"  # A-ASSOCIATE-AC
            clients.append(client)

        while len(clients) < PLACES:
            wait_until(take_a_place, seconds=10)  # those of before may not have gone yet
        for _ in range(often(20, 1000)):
            tally.tried += 1
            tally.wrong += end(broker, request) != REJECTION
        for _ in range(often(5, 100)):
            with pytest.raises(BrokerError, match="has no place"):
                find(Broker("127.0.0.1", broker.port), scanner)
        clients[0].close()
        wait_until(take_a_place, seconds=10)
    wait_until(lambda: only_one_is_left(broker), seconds=10)


def test_an_association_that_ends_between_two_questions(
    broker: twins.Broker, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    def send_c_echo(association: Association) -> Dataset:
        status = original(association)
        association.abort()
        return status

    original = Association.send_c_echo
    monkeypatch.setattr(Association, "send_c_echo", send_c_echo)
    tally.tried = 1
    with pytest.raises(BrokerError, match="asked as PRISMA, ended the association"):
        find(Broker("127.0.0.1", broker.port), Scanner(ae_title="PRISMA", lab="PRISMA"))


def test_killed_the_broker_is_back(broker: twins.Broker, tally: Tally, often: Callable[[int, int], int]) -> None:
    slowest = 0.0
    for run in range(often(2, 10)):
        if run > 1:
            time.sleep(11)  # after ten seconds Docker forgets that it had to wait longer each time
        before = restarts(broker)
        os.kill(processes(broker)[0], signal.SIGKILL)
        began = time.monotonic()
        time.sleep(0.1)
        tally.tried += 1
        while not (answer := wire.ask(broker.port))[1] and time.monotonic() - began < 30:
            time.sleep(0.1)
        slowest = max(slowest, time.monotonic() - began)
        tally.failed += time.monotonic() - began > 5
        tally.fault = f"killed, the broker is back ({slowest:.1f} s at most)"
        tally.wrong += answer != (PATIENTS, True)
        assert restarts(broker) == before + 1, "it was never down"
