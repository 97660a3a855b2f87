"""The PACS: how long storing takes, against Orthanc with its default settings."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker

from bench.measure import Row, pairs
from support import live, networks
from support.images import synthetic_image
from support.waiting import wait_for_http

#: What is stored: its name, the images in all, and their frames of 256 by 256 pixels (128 KiB).
KINDS = (("MR slices of 128 KiB", 200, 1), ("enhanced MR images of 16 MiB", 10, 128))
#: How many senders share them, each with a series of its own.
SENDERS = (1, 4, 10)
#: More than elsewhere: what the disk takes for the same images varies by a third.
PAIRS = 11


def rows(stack: ExitStack, folder: Path) -> Iterator[Row]:
    engine = docker.from_env()
    orthanc = engine.containers.get(live.VARIABLES["orthanc_container_name"])
    settings = {"StorageDirectory": "/storage", "IndexDirectory": "/storage", "RemoteAccessAllowed": True}
    (folder / "stock.json").write_text(json.dumps(settings | {"AuthenticationEnabled": False}))
    (folder / "stock").mkdir()  # on the same disk as ours
    stock = engine.containers.run(
        orthanc.image,
        ["Orthanc", "/stock.json"],
        entrypoint="",
        detach=True,
        user="0:0",
        volumes={
            str(folder / "stock.json"): {"bind": "/stock.json", "mode": "ro"},
            str(folder / "stock"): {"bind": "/storage", "mode": "rw"},
        },
    )
    stack.callback(stock.remove, force=True, v=True)
    wait_for_http(f"http://{networks.address(stock)}:8042/system")

    for what, images, frames in KINDS:
        for senders in SENDERS:
            for setting, said in (({"TCP_NODELAY": "1"}, "TCP_NODELAY=1"), ({}, "default settings")):

                def store(address: str, port: int) -> float:
                    series = fresh(folder / "images", images, senders, frames)  # noqa: B023 - called at once
                    return seconds(series, address, port, setting)  # noqa: B023

                name = f"{images} {what}, {senders} storescu {said}"
                ours, theirs, ratio = pairs(
                    name,
                    lambda: store(networks.address(orthanc), 4042),
                    lambda: store(networks.address(stock), 4242),
                    PAIRS,
                )
                yield Row(name, "Orthanc with its default settings", rate(images, ours), rate(images, theirs), ratio)


def rate(images: int, taken: float) -> str:
    return f"{taken:.2f} s, {images / taken:.0f}/s"


def fresh(folder: Path, images: int, senders: int, frames: int) -> list[Path]:
    """Make so many new images, and return the folder of each sender's."""
    shutil.rmtree(folder, ignore_errors=True)
    series = [folder / str(sender) for sender in range(senders)]
    for number in range(images):
        (path := series[number % senders] / f"{number}.dcm").parent.mkdir(parents=True, exist_ok=True)
        synthetic_image(path, number, 256, frames)
    os.sync()  # else writing these is measured, too
    return series


def seconds(series: list[Path], address: str, port: int, setting: dict[str, str]) -> float:
    """Store each series with a process of its own, all at once; all have to succeed."""
    began = time.perf_counter()
    line: list[str | Path] = ["storescu", "-aet", "PRISMA", "-aec", "ORTHANC", "+sd", address, str(port)]
    running = [
        subprocess.Popen([*line, images], env=os.environ | setting, stdout=subprocess.DEVNULL) for images in series
    ]
    statuses = [sender.wait() for sender in running]
    taken = time.perf_counter() - began
    assert not any(statuses), statuses
    return taken
