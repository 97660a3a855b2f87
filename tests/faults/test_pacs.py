"""The PACS is killed, is full, is stormed: no image that it acknowledged is lost or changed."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

import live
import scanner
import twins
from tally import Tally

SCANNERS = 10


@pytest.fixture(autouse=True)
def deployed(deployment: live.Deployment) -> None:
    assert deployment.first.status == 0, deployment.first.output


def restart(pacs: twins.Pacs) -> None:
    pacs.container.wait()
    pacs.container.start()
    live.wait_for_http(f"{pacs.url}/system")


def files(pacs: twins.Pacs) -> int:
    """Count what is in the storage, apart from the index."""
    return sum(path.is_file() for path in pacs.data.glob("*/*/*"))


def test_killed_while_it_stores(tmp_path: Path, tally: Tally, often: Callable[[int, int], int]) -> None:
    chance = random.Random(4)
    everything: scanner.Held = {}
    with twins.pacs(tmp_path / "data", RestartPolicy={"Name": "no"}) as pacs:
        for run in range(often(3, 50)):
            images = scanner.make(tmp_path / str(run), 30)
            acknowledged, first, last = [], threading.Event(), chance.randrange(1, len(images) - 5)

            def note(image: Path) -> None:
                acknowledged.append(image)
                if len(acknowledged) == last:
                    first.set()

            pacs.container.reload()
            sender = threading.Thread(target=scanner.store, args=(pacs.dicom_port, images, note))
            sender.start()
            assert first.wait(30)
            time.sleep(chance.uniform(0, 0.02))  # anywhere in the next ones
            os.kill(pacs.container.attrs["State"]["Pid"], signal.SIGKILL)
            sender.join()
            restart(pacs)
            tally.tried += 1
            assert len(acknowledged) < len(images), "it was killed too late"
            lost, wrong = scanner.differences(scanner.sent(acknowledged), scanner.held(pacs))
            tally.lost += lost
            tally.wrong += wrong
            again = [image for image in images if image not in acknowledged]
            tally.failed += list(scanner.store(pacs.dicom_port, again).values()) != [0] * len(again)
            everything |= scanner.sent(images)
        found = scanner.held(pacs)
        tally.wrong += found != everything
        left = files(pacs) - len(found)
    tally.fault += f" ({len(everything):,} images)"
    if left:
        tally.limit = f"{left} files that were written but not acknowledged stay, unused"
