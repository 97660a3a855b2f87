"""The PACS is killed, is full, is stormed: no image that it acknowledged is lost or changed."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import live, networks, scanner, twins
from support.tally import Tally
from support.waiting import wait_for_http

SCANNERS = 10


@pytest.fixture(autouse=True)
def deployed(deployment: live.Deployment) -> None:
    assert deployment.first.status == 0, deployment.first.output


def restart(pacs: twins.Pacs) -> None:
    pacs.container.wait()
    pacs.container.start()
    wait_for_http(f"{pacs.url}/system")


def files(pacs: twins.Pacs) -> int:
    """Count what is in the storage, apart from the index."""
    return sum(path.is_file() for path in pacs.data.glob("*/*/*"))


def killed(pacs: twins.Pacs, images: list[Path], last: int, delay: float) -> list[Path]:
    """Kill the PACS, which stores, some time after it acknowledged so many; return what it acknowledged."""
    acknowledged: list[Path] = []
    reached = threading.Event()

    def note(image: Path) -> None:
        acknowledged.append(image)
        if len(acknowledged) == last:
            reached.set()

    pacs.container.reload()
    sender = threading.Thread(target=scanner.store, args=(pacs.dicom_port, images, note))
    sender.start()
    assert reached.wait(60)
    time.sleep(delay)
    os.kill(pacs.container.attrs["State"]["Pid"], signal.SIGKILL)
    sender.join()
    return acknowledged


def test_killed_while_it_stores(tmp_path: Path, tally: Tally, often: Callable[[int, int], int]) -> None:
    chance = random.Random(4)
    everything: scanner.Held = {}
    with twins.pacs(tmp_path / "data", RestartPolicy={"Name": "no"}) as pacs:
        for run in range(often(2, 50)):
            images = scanner.make(tmp_path / str(run), 20)
            last = chance.randrange(1, len(images) - 5)
            acknowledged = killed(pacs, images, last, chance.uniform(0, 0.02))  # anywhere in the next ones
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


def test_the_disk_is_full(tmp_path: Path, tally: Tally, often: Callable[[int, int], int]) -> None:
    """Images are refused, what is there stays and can be read; as soon as there is room images are taken again."""
    size = 6
    with twins.small_disk(tmp_path / "data", size) as disk, twins.pacs(disk) as pacs:
        taken: scanner.Held = {}
        unremoved = 0
        for run in range(often(2, 20)):
            images = scanner.make(tmp_path / str(run), 5, size=256)
            refused: list[Path] = []
            while not refused:
                answers = scanner.store(pacs.dicom_port, images)
                refused = [image for image, status in answers.items() if status]
                tally.wrong += {answers[image] for image in refused} not in ({0xA700}, set())  # out of resources
                taken |= scanner.sent(answers.keys() - refused)
                images = refused or scanner.make(tmp_path / f"{run}-{len(taken)}", 5, size=256)
            tally.tried += 1
            lost, wrong = scanner.differences(taken, found := scanner.held(pacs))
            tally.lost += lost
            tally.wrong += wrong + len(found.keys() - taken.keys())
            if scanner.remove(pacs, oldest := next(iter(taken))):  # somebody tries to make room
                del taken[oldest]
            else:
                unremoved += 1
            size += 2
            subprocess.run(["mount", "-o", f"remount,size={size}m", disk], check=True)
            tally.failed += set(scanner.store(pacs.dicom_port, refused).values()) != {0}
            taken |= scanner.sent(refused)
        lost, wrong = scanner.differences(taken, found := scanner.held(pacs))
        tally.lost += lost
        tally.wrong += wrong + len(found.keys() - taken.keys())
        left = files(pacs) - len(found)
    tally.limit = (
        f"{left} begun files of refused images stay; {unremoved} times no image could be removed, without room"
    )


def test_ten_scanners_store_at_once(tmp_path: Path, tally: Tally, often: Callable[[int, int], int]) -> None:
    titles = [f"SCANNER{number}" for number in range(SCANNERS)]
    with twins.pacs(tmp_path / "data") as pacs:
        for title in titles:
            scanner.admit(pacs, title)
        expected: scanner.Held = {}
        for run in range(often(1, 10)):
            series = {title: scanner.make(tmp_path / str(run) / title, often(10, 100)) for title in titles}
            line: list[str | Path] = ["storescu", "-aec", "ORTHANC", "+sd", networks.address(pacs.container), "4042"]
            senders = [
                subprocess.Popen([*line, "-aet", title, images[0].parent], stderr=subprocess.DEVNULL)
                for title, images in series.items()
            ]
            tally.failed += sum(sender.wait(300) != 0 for sender in senders)
            tally.tried += len(senders)
            expected |= scanner.sent(image for images in series.values() for image in images)
        tally.lost, tally.wrong = scanner.differences(expected, found := scanner.held(pacs))
        tally.fault += f" ({len(found):,} images)"
