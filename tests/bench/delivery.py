"""Storing while images are delivered, against storing alone; as the role runs the delivery."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Row, pairs
from bench.stores import fresh, rate, seconds
from dicom_worklist import config as configuration
from dicom_worklist.delivery import run as delivery
from support import delivering, networks
from support.command import environment
from support.images import synthetic_image
from support.own_pacs import own_pacs
from support.waiting import wait_until

#: What is stored, by how many senders; and how many series wait for the delivery meanwhile, each of so many images.
IMAGES, SENDERS = 2400, (1, 4)
WAITING, IN_SERIES = 40, 100
PAIRS = 5


def rows(folder: Path) -> Iterator[Row]:
    folder = folder / "delivery"
    with own_pacs(folder / "pacs") as pacs, own_pacs(folder / "second") as second:
        (folder / "site").mkdir()
        site = delivering.site(folder / "site", pacs, second)
        (folder / "waiting").mkdir()
        for series in range(WAITING):
            images = [synthetic_image(folder / f"waiting/{number}.dcm", number, 256) for number in range(IN_SERIES)]
            site.store(images, "001", SeriesInstanceUID=f"1.2.1.{series}", SeriesNumber=series + 1)
        site.settle()
        address = networks.address(pacs.container)

        def store(series: list[Path]) -> float:
            return seconds(series, address, 4042, {"TCP_NODELAY": "1"})

        def begun() -> None:
            assert next(site.raw.glob("**/*.dcm"), None)

        for senders in SENDERS:

            def alone() -> float:
                return store(fresh(folder / "images", IMAGES, senders, 1))  # noqa: B023 - called at once

            def meanwhile() -> float:
                series = fresh(folder / "images", IMAGES, senders, 1)  # noqa: B023
                delivery.again(configuration.load(site.file), "1.2.1", site.now)
                line = ["nice", "-n", "19", "ionice", "-c", "3", sys.executable, "-m", "dicom_worklist", "deliver",
                        "-c", str(site.file)]  # fmt: skip
                for copy in site.raw.glob("*"):
                    subprocess.run(["rm", "-r", copy], check=True)
                with subprocess.Popen([*line, "--to", "raw"], env=environment()) as running:
                    wait_until(begun)  # what its start takes, once a minute, is not measured
                    taken = store(series)
                    assert running.poll() is None, "it ended before the stores"
                    running.kill()
                return taken

            waiting = f"{WAITING} series of {IN_SERIES} are delivered"
            what = f"{IMAGES} MR slices of 128 KiB, {senders} storescu, while {waiting}"
            ours, theirs, ratio = pairs(what, meanwhile, alone, PAIRS)
            yield Row(what, "storing alone", rate(IMAGES, ours), rate(IMAGES, theirs), ratio)
