"""Speed, as ratios: each thing of ours and the stock thing in turn, in one run. `make bench` runs it.

Each figure is the median of several pairs, A B A B …, of whole processes; a ratio is that of the pairs.
The test site must not be in use: it is deployed for this, and taken away.
"""

import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import docker
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

import live
from dicom_worklist.booking import COLUMNS

PAIRS = 5
BOOKINGS = 1_000
ENTRIES = 50
IMAGES = 300
DAY = "2026-06-01"


def measured(line: list[str | Path], cwd: Path | None = None) -> tuple[float, float]:
    """Run a process; return its seconds and the MiB that it took at the most."""
    began = time.perf_counter()
    with subprocess.Popen(line, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said.decode()
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def pairs(what: str, ours: Callable[[], float], stock: Callable[[], float]) -> tuple[float, float, float]:
    """Return the medians of ours, of the stock thing, and of their ratio pair by pair."""
    taken = [(ours(), stock()) for _ in track(range(PAIRS), f"{what:<60}", console=Console(stderr=True))]
    return (
        statistics.median(a for a, _ in taken),
        statistics.median(b for _, b in taken),
        statistics.median(b / a for a, b in taken),
    )


def configuration(folder: Path) -> Path:
    """Write a site with BOOKINGS bookings in a CSV file; return its configuration."""
    worklist = folder / "wlbroker/WLBROKER"
    worklist.mkdir(parents=True)
    (worklist / "lockfile").touch()
    with (folder / "bookings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(BOOKINGS):
            clock = f"{number // 60 % 24:02}:{number % 60:02}:00"
            writer.writerow(
                [
                    number,
                    "3010000.01",
                    "Hören & sehen",
                    f"{number}-1",
                    DAY,
                    clock,
                    "PRISMA",
                    "Ada",
                    "Lovelace",
                    "CONFIRMED",
                ]
            )
    config = folder / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "site": {"name": "Bench", "timezone": "Europe/Amsterdam"},
                "source": {"type": "csv", "path": str(folder / "bookings.csv")},
                "scanners": [{"ae_title": "PRISMA", "lab": "PRISMA"}],
                "worklist": {"root": str(worklist.parent)},
            }
        )
    )
    return config


def bench_publishing(table: Table, folder: Path) -> None:
    config = configuration(folder)
    worklist = folder / "wlbroker/WLBROKER"
    sync: list[str | Path] = [live.BIN / "dicom-worklist", "sync", "--config", config, "--day", DAY]

    def publish() -> float:
        for entry in worklist.glob("*.wl"):
            entry.unlink()
        return measured(sync)[0]

    publish()
    dumps = folder / "dumps"
    dumps.mkdir()
    for entry in worklist.glob("*.wl"):
        dump = subprocess.run(["dcmdump", "-Un", "+L", entry], capture_output=True, check=True)
        (dumps / f"{entry.name}.dump").write_bytes(dump.stdout)
    script = 'for dump in "$1"/*.dump; do dump2dcm "$dump" "${dump%.dump}"; done'

    def dump2dcm() -> float:
        return measured(["sh", "-c", script, "sh", dumps])[0]

    ours, stock, ratio = pairs(f"publish {BOOKINGS} bookings", publish, dump2dcm)
    table.add_row(
        f"publish {BOOKINGS} new bookings", "one dump2dcm a booking", f"{ours:.2f} s", f"{stock:.2f} s", f"{ratio:.1f}"
    )
    runs = [measured(sync) for _ in range(PAIRS)]
    seconds, memory = statistics.median(s for s, _ in runs), max(m for _, m in runs)
    table.add_row(
        f"a run with nothing to change, {BOOKINGS} bookings", "", f"{seconds:.2f} s, {memory:.0f} MiB", "", ""
    )


def bench_queries(table: Table, stack: ExitStack, folder: Path) -> None:
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
        return measured(line)[0]

    assert len(live.findscu(live.Site.wlmscpfs_port, folder / "a", ScheduledStationAETitle="PRISMA")) == ENTRIES
    live.wait_until(lambda: ask(11235))
    assert len(live.findscu(11235, folder / "b", ScheduledStationAETitle="PRISMA")) == ENTRIES
    ours, theirs, ratio = pairs("findscu", lambda: ask(live.Site.wlmscpfs_port), lambda: ask(11235))
    table.add_row(
        f"findscu, {ENTRIES} entries",
        "wlmscpfs as it comes",
        f"{ours * 1000:.0f} ms",
        f"{theirs * 1000:.0f} ms",
        f"{ratio:.1f}",
    )


def bench_stores(table: Table, stack: ExitStack, folder: Path) -> None:
    engine = docker.from_env()
    orthanc = engine.containers.get(live.VARIABLES["orthanc_container_name"])
    settings = {"StorageDirectory": "/tmp", "IndexDirectory": "/tmp", "RemoteAccessAllowed": True}
    (folder / "stock.json").write_text(json.dumps(settings | {"AuthenticationEnabled": False}))
    stock = engine.containers.run(
        orthanc.image,
        ["Orthanc", "/stock.json"],
        entrypoint="",
        detach=True,
        ports={"4242/tcp": ("127.0.0.1", 14242), "8042/tcp": ("127.0.0.1", 18142)},
        volumes={str(folder / "stock.json"): {"bind": "/stock.json", "mode": "ro"}},
    )
    stack.callback(stock.remove, force=True, v=True)
    live.wait_for_http("http://127.0.0.1:18142/system")
    images = folder / "images"
    images.mkdir()

    def fresh() -> None:
        shutil.rmtree(images)
        images.mkdir()
        for number in range(IMAGES):
            live.synthetic_image(images / f"{number}.dcm", number, size=256)

    def store(port: int, called: str) -> float:
        fresh()
        line: list[str | Path] = ["storescu", "-aet", "PRISMA", "-aec", called, "+sd", "127.0.0.1", str(port), images]
        return measured(line)[0]

    ours, theirs, ratio = pairs(
        "storescu", lambda: store(live.Site.orthanc_port, "ORTHANC"), lambda: store(14242, "ORTHANC")
    )
    table.add_row(
        f"storescu, {IMAGES} images", "Orthanc as it comes", f"{ours:.2f} s", f"{theirs:.2f} s", f"{ratio:.1f}"
    )


def main() -> int:
    table = Table(title="Speed against the stock things (medians of pairs in one run)", title_justify="left")
    table.add_column("what")
    table.add_column("against")
    for heading in ("ours", "stock", "times as fast"):
        table.add_column(heading, justify="right")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o755)
        bench_publishing(table, folder)
        database = live.BookingDatabase()
        stack.callback(database.remove)
        database.clear()
        for number in range(ENTRIES):
            database.book(number + 1, f"{number}-1", f"{DAY} 09:00:00")
        stack.callback(live.play, "teardown.yml", "-e", "site_teardown_data=true")
        deployed = live.play("site.yml", "-e", f"worklist_sync_day={DAY}")
        assert deployed.status == 0, deployed.output
        bench_queries(table, stack, folder)
        bench_stores(table, stack, folder)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
