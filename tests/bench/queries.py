"""The worklist: how long a query takes, against wlmscpfs with its default settings and Orthanc's own plug-in."""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker
from rich.console import Console
from rich.progress import track

from bench import sync
from bench.measure import Row, measured
from support import live, networks, twins
from support.waiting import wait_until

#: What a query for PRISMA finds, however many entries there are.
FOUND = 50
ENTRIES = (50, 1_000, 10_000)
CLIENTS = (1, 10, 50)
#: How often each client asks; of these come the median and the 99th percentile.
QUERIES = {1: 20, 10: 4, 50: 1}


@dataclass(frozen=True)
class Server:
    name: str
    address: str
    port: int
    called: str

    def ask(self, _: int = 0) -> float:
        """Ask for PRISMA's entries, and return the seconds that it took."""
        keys = ["-k", "PatientName", "-k", "PatientID"]
        keys += ["-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=PRISMA"]
        line = ["findscu", "-v", "-W", "-aet", "PRISMA", "-aec", self.called, *keys, self.address, str(self.port)]
        began = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=300)
        seconds = time.perf_counter() - began
        assert (done.stdout + done.stderr).count("(0010,0020) LO [3010000.01") == FOUND, done.stdout + done.stderr
        return seconds

    def asked(self, clients: int) -> tuple[float, float]:
        """Have so many clients ask at the same time; return the median and the 99th percentile, in milliseconds."""
        with ThreadPoolExecutor(clients) as pool:
            taken = list(pool.map(self.ask, range(clients * QUERIES[clients])))
        return statistics.median(taken) * 1000, statistics.quantiles(taken, n=100, method="inclusive")[98] * 1000


def rows(root: Path) -> Iterator[Row]:
    for entries in ENTRIES:
        with ExitStack() as servers:
            folder = root / f"queries-{entries}"
            ours, own_folder, *stock = _servers(servers, folder, entries)
            for clients in track(CLIENTS, f"{f'findscu, {entries:,} entries':<60}", console=Console(stderr=True)):
                what = f"findscu, {FOUND} of {entries:,} entries, {clients} at a time"
                median, worst = ours.asked(clients)
                if entries > FOUND:
                    own = own_folder.asked(clients)
                    yield _row(f"{what}, a folder a scanner", "all in one folder", own, (median, worst))
                for server in stock:
                    yield _row(what, server.name, (median, worst), server.asked(clients))


def _row(what: str, against: str, ours: tuple[float, float], theirs: tuple[float, float]) -> Row:
    told, stock = (f"{median:.0f} ms, {worst:.0f} ms" for median, worst in (ours, theirs))
    return Row(what, against, told, stock, theirs[0] / ours[0])


def _servers(stack: ExitStack, folder: Path, entries: int) -> list[Server]:
    """Start ours, ours with a folder for this scanner alone, and the stock things, all with the same bookings."""
    engine = docker.from_env()
    started = []
    for worklist in ("WLBROKER", "WLPRISMA"):
        root = folder / worklist
        config = sync.configuration(root, entries, FOUND, worklist)
        broker = stack.enter_context(twins.broker(root / "wlbroker", *sorted({worklist, "WLBROKER"}, reverse=True)))
        measured([live.BIN / "dicom-worklist", "sync", "--config", config, "--day", sync.DAY])
        started.append(Server("ours", networks.address(broker.container), 1234, worklist))
    shared = folder / "WLBROKER/wlbroker"
    settings = {
        "RemoteAccessAllowed": True,
        "AuthenticationEnabled": False,
        "StorageDirectory": "/tmp",
        "IndexDirectory": "/tmp",
        "DicomAlwaysAllowFindWorklist": True,
        "Plugins": ["/usr/share/orthanc/plugins/libModalityWorklists.so"],
        "Worklists": {"Enable": True, "Database": "/worklist/WLBROKER"},
    }
    (folder / "stock.json").write_text(json.dumps(settings))
    for name, role, command, port, called in (
        ("wlmscpfs with its default settings", "wlmscpfs", ["wlmscpfs", "-dfp", "/worklist", "1234"], 1234, "WLBROKER"),
        ("Orthanc's worklist plug-in", "orthanc", ["Orthanc", "/stock.json"], 4242, "ORTHANC"),
    ):
        container = engine.containers.run(
            engine.containers.get(live.VARIABLES[f"{role}_container_name"]).image,
            command,
            entrypoint="",
            user="root",
            detach=True,
            volumes={
                str(shared): {"bind": "/worklist", "mode": "rw"},
                str(folder / "stock.json"): {"bind": "/stock.json", "mode": "ro"},
            },
        )
        stack.callback(partial(container.remove, force=True, v=True))
        server = Server(name, networks.address(container), port, called)
        wait_until(partial(_answers, server))
        started.append(server)
    return started


def _answers(server: Server) -> None:
    try:
        server.ask()
    except subprocess.CalledProcessError as error:
        raise OSError(error.stderr) from error
