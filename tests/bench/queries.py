"""The worklist: how long a query takes, against wlmscpfs as it comes."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker

import live
from bench.measure import Row, measured, pairs

ENTRIES = 50


def rows(stack: ExitStack, folder: Path) -> Iterator[Row]:
    engine = docker.from_env()
    broker = engine.containers.get(live.VARIABLES["wlmscpfs_container_name"])
    stock = engine.containers.run(
        broker.image,
        ["wlmscpfs", "-dfp", "/worklist", "1234"],
        entrypoint="",
        detach=True,
        ports={"1234/tcp": ("127.0.0.1", 11235)},
        volumes={str(live.ROOT / "wlbroker"): {"bind": "/worklist", "mode": "rw"}},
    )
    stack.callback(stock.remove, force=True)

    def ask(port: int) -> float:
        line: list[str | Path] = ["findscu", "-W", "-aec", "WLBROKER", "-k", "PatientName", "-k", "PatientID"]
        line += ["-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=PRISMA", "127.0.0.1", str(port)]
        return measured(line).seconds

    assert len(live.findscu(live.Site.wlmscpfs_port, folder / "a", ScheduledStationAETitle="PRISMA")) == ENTRIES
    live.wait_until(lambda: ask(11235))
    assert len(live.findscu(11235, folder / "b", ScheduledStationAETitle="PRISMA")) == ENTRIES
    ours, theirs, ratio = pairs("findscu", lambda: ask(live.Site.wlmscpfs_port), lambda: ask(11235))
    what, stock_thing = f"findscu, {ENTRIES} entries", "wlmscpfs as it comes"
    yield Row(what, stock_thing, f"{ours * 1000:.0f} ms", f"{theirs * 1000:.0f} ms", ratio)
