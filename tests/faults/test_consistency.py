"""Many scanners ask while the worklist changes under them: each sees one whole set, the old one or the new one."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from dicom_worklist import config, pipeline
from dicom_worklist.report import Report
from support import twins, wire
from support.calendar import DAY, NOW, PRISMA, Calendar
from support.command import command
from support.configuration import changed, settings, write_yaml
from support.tally import Tally
from support.worklist_folder import worklist_files

SIZE = 200
CLIENTS = 20


@pytest.fixture(scope="module")
def configurations(broker: twins.Broker, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two calendars that have no booking in common, for one worklist."""
    folder = tmp_path_factory.mktemp("calendars")
    made = []
    for at in range(2):
        calendar = Calendar(folder / f"{at}.sqlite")
        for number in range(SIZE):
            calendar.book(at * 1000 + number, f"{at * 1000 + number + 1}-1", lab=PRISMA)
        made.append(
            write_yaml(
                folder / f"{at}.yml",
                changed(settings(calendar.path, broker.folder.parent), {"worklist.lock_timeout": 30}),
            )
        )
    return made


def swap(configurations: list[Path], at: int) -> Report:
    return pipeline.run(config.load(configurations[at % 2]), DAY, now=NOW)


def patients(at: int) -> list[str]:
    return sorted(f"3010000.01_sub-{at * 1000 + number + 1:03}" for number in range(SIZE))


def test_no_scanner_sees_a_mixture_while_the_worklist_is_swapped(
    broker: twins.Broker, configurations: list[Path], tally: Tally, often: Callable[[int, int], int]
) -> None:
    swap(configurations, 0)
    sets = [patients(0), patients(1)]
    over, answers = threading.Event(), []

    def scanner() -> None:
        while not over.is_set():
            answers.append(wire.ask(broker.port))

    threads = [threading.Thread(target=scanner) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for run in range(1, often(5, 1000) + 1):
            report = swap(configurations, run)
            tally.tried += 1
            tally.failed += (len(report.published), len(report.removed)) != (SIZE, SIZE)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    tally.failed += sum(not succeeded for _, succeeded in answers)
    tally.wrong += sum(succeeded and found not in sets for found, succeeded in answers)
    tally.fault += f" ({len(answers):,} queries of {CLIENTS} scanners)"
    assert {found == sets[0] for found, _ in answers} == {True, False}, "only one of the sets was ever seen"


def test_a_scanner_that_stops_reading_delays_nobody(
    broker: twins.Broker, configurations: list[Path], tally: Tally, often: Callable[[int, int], int]
) -> None:
    """It has asked, and takes no byte of the answer."""
    swap(configurations, 0)
    request, *rest = wire.query(broker.port)
    for run in range(1, often(1, 10) + 1):
        with ExitStack() as stack:
            for _ in range(3):
                silent = stack.enter_context(socket.socket())
                silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                silent.connect(("127.0.0.1", broker.port))
                silent.sendall(request)
                assert wire.read_pdu(silent)[0] == 2  # A-ASSOCIATE-AC
                silent.sendall(rest[0])
            time.sleep(0.5)  # the broker answers until nothing more goes out
            began = time.monotonic()
            found, succeeded = wire.ask(broker.port)
            tally.tried += 1
            tally.failed += not succeeded or time.monotonic() - began > 5
            tally.wrong += found != patients((run + 1) % 2)
            done = command("sync", "-c", configurations[run % 2], "--day", str(DAY))
            tally.failed += done.returncode != 0
            tally.wrong += len(worklist_files(broker.folder)) != SIZE
            tally.wrong += wire.ask(broker.port) != (patients(run % 2), True)
