"""The PACS: how long storing takes, against Orthanc as it comes."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker

import live
from bench.measure import Row, measured, pairs

IMAGES = 300


def rows(stack: ExitStack, folder: Path) -> Iterator[Row]:
    engine = docker.from_env()
    orthanc = engine.containers.get(live.VARIABLES["orthanc_container_name"])
    settings = {"StorageDirectory": "/tmp", "IndexDirectory": "/tmp", "RemoteAccessAllowed": True}
    (folder / "stock.json").write_text(json.dumps(settings | {"AuthenticationEnabled": False}))
    stock = engine.containers.run(
        orthanc.image,
        ["Orthanc", "/stock.json"],
        entrypoint="",
        detach=True,
        volumes={str(folder / "stock.json"): {"bind": "/stock.json", "mode": "ro"}},
    )
    stack.callback(stock.remove, force=True, v=True)
    live.wait_for_http(f"http://{live.address(stock)}:8042/system")
    images = folder / "images"
    images.mkdir()

    def fresh() -> None:
        shutil.rmtree(images)
        images.mkdir()
        for number in range(IMAGES):
            live.synthetic_image(images / f"{number}.dcm", number, size=256)
        os.sync()  # else writing these is measured, too

    def store(address: str, port: int) -> float:
        fresh()
        line: list[str | Path] = ["storescu", "-aet", "PRISMA", "-aec", "ORTHANC", "+sd", address, str(port), images]
        return measured(line).seconds

    ours, theirs, ratio = pairs(
        "storescu", lambda: store(live.address(orthanc), 4042), lambda: store(live.address(stock), 4242)
    )
    yield Row(f"storescu, {IMAGES} images", "Orthanc as it comes", f"{ours:.2f} s", f"{theirs:.2f} s", ratio)
