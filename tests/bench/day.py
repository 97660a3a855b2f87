"""A full day of eight scanners, made shorter: how long after its last image a series is in its folder and its copy."""

import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
from pydicom import dcmread
from pydicom.uid import generate_uid
from rich.console import Console
from rich.progress import track

from bench.measure import Row
from bench.stores import seconds
from dicom_worklist.delivery.series import Series
from support import delivering, networks
from support.command import environment
from support.images import synthetic_image
from support.own_pacs import OwnPacs, own_pacs

IMAGES, SCANNERS, IN_SERIES, SERIES_IN_STUDY, SIZE = 100_000, 8, 200, 8, 128
#: Of the day that is played, in seconds; a series comes as fast as the PACS takes it.
LENGTH = 40 * 60
#: As the role has it, in seconds.
STABLE_AGE = 45


def rows(folder: Path) -> Iterator[Row]:
    folder = folder / "day"
    with own_pacs(folder / "pacs", StableAge=STABLE_AGE) as pacs, own_pacs(folder / "second") as second:
        (folder / "site").mkdir()
        site = delivering.site(folder / "site", pacs, second)
        names = [str(one["name"]) for one in site.destinations]
        with ThreadPoolExecutor(SCANNERS) as pool:
            crons = Crons(site.file, names)
            crons.minute()  # the first run: what came before it is nobody's
            stored = [pool.submit(scan, number, folder / "consoles", pacs) for number in range(SCANNERS)]
            for _ in track(range(LENGTH // 60), "the day", console=Console(stderr=True)):
                crons.minute()
            images = sum(one.result() for one in stored)
        for _ in range(20):
            if not waiting(folder / "site/outbox.sqlite"):
                break
            crons.minute()
        crons.end()
        held = {"raw": len([*site.raw.glob("**/*.dcm")]), "second": second.ask("/statistics").json()["CountInstances"]}
        for name, after in delays(folder / "site/outbox.sqlite").items():
            what = f"a day of {images:,} images in {LENGTH // 60} minutes: {held[name]:,} are in {name}"
            taken = f"{statistics.median(after):.0f} s, {max(after):.0f} s"
            yield Row(what, "median, longest after a series' last image", taken)


class Crons:
    """Runs the delivery once a minute for each destination, as the role's cron lines do."""

    def __init__(self, config: Path, names: list[str]) -> None:
        nice = ["nice", "-n", "19", "ionice", "-c", "3", sys.executable, "-m", "dicom_worklist", "deliver"]
        self._lines = [[*nice, "-c", str(config), "--to", name] for name in names]
        self._running: list[subprocess.Popen[bytes]] = []

    def minute(self) -> None:
        self._running = [one for one in self._running if one.poll() is None]
        self._running += [subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL) for line in self._lines]
        time.sleep(60)

    def end(self) -> None:
        for one in self._running:
            one.wait()


def scan(number: int, folder: Path, pacs: OwnPacs) -> int:
    """Store one scanner's series, each at its time; return how many images were acknowledged."""
    series = IMAGES // SCANNERS // IN_SERIES
    began, stored = time.monotonic(), 0
    made = [folder / f"{number}/{image}.dcm" for image in range(IN_SERIES)]
    made[0].parent.mkdir(parents=True)
    for image, path in enumerate(made):
        synthetic_image(path, image, SIZE)
    for turn in range(series):
        study = turn // SERIES_IN_STUDY
        subject, uid = f"3010000.01_sub-{number}{study:03}", generate_uid()
        for path in made:
            dataset = dcmread(path)
            dataset.PatientID, dataset.PatientName = subject, f"{subject}_ses-01"
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{number}.{study + 1}", uid
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.SeriesNumber, dataset.SeriesDescription = turn % SERIES_IN_STUDY + 1, "bold"
            dataset.save_as(path)
        # scanners are not in step
        time.sleep(max(0.0, began + (turn + number / SCANNERS) * LENGTH / series - time.monotonic()))
        seconds([made[0].parent], networks.address(pacs.container), 4042, {"TCP_NODELAY": "1"})
        stored += len(made)
    return stored


def waiting(outbox: Path) -> bool:
    """Whether a series of the PACS is not everywhere."""
    with closing(sqlite3.connect(outbox)) as database:
        [[count]] = database.execute("SELECT count(*) FROM delivery WHERE done IS NOT wanted")
        [[found]] = database.execute("SELECT count(*) FROM series")
    return bool(count) or found < IMAGES // IN_SERIES


def delays(outbox: Path) -> dict[str, list[float]]:
    """Return how many seconds after its last image each series was at each destination, by the outbox's own times."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(outbox)) as database:
        query = "SELECT destination, body, done_at FROM delivery JOIN series ON id = series WHERE done IS wanted"
        for name, body, done in database.execute(query):
            last = msgspec.json.decode(body, type=Series).updated
            found.setdefault(name, []).append((datetime.fromisoformat(done) - last).total_seconds())
    return found
