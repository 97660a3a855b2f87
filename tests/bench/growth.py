"""The PACS as it fills: what it is asked most often, against the same index without our statistics."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from bench import stores
from bench.measure import PAIRS, Row, pairs
from dicom_worklist.settings import Pacs
from dicom_worklist.status import pacs as asking
from support import live, networks, twins
from support.grown_index import grow
from support.images import synthetic_image

#: How many images there are, in `make bench` and in the long form. Beyond MOST_STOCK only ours is asked.
SIZES = (1_000, 50_000, 300_000)
MOST_STOCK = 1_000_000
LONG = (*SIZES, MOST_STOCK, 10_000_000)
#: The study that is really stored, all images of `SIZES[0]`; the others are copies of its rows.
SERIES, DAY, NAME = 8, date(2026, 6, 1), "3010000.01_sub-001_ses-01"
#: Images that are stored at a time, by one storescu.
STORED = 100


def rows(stack: ExitStack, folder: Path, sizes: Sequence[int]) -> Iterator[Row]:
    index, first = seed(folder)
    smallest = largest = None
    for size in sizes:
        grow(index, first, size)
        with ExitStack() as at_size:
            ours = twins.pacs(copied(index, folder / f"{size}"))
            largest = (stack if size in {sizes[0], sizes[-1]} else at_size).enter_context(ours)
            smallest = smallest or largest
            if size > MOST_STOCK:
                for question in questions(folder):
                    answered = question.told(median(question.ask(largest) for _ in range(PAIRS)))
                    yield Row(f"{size:,} images in the PACS: {question.what}", "", answered)
                continue
            before = at_size.enter_context(twins.pacs(copied(index, folder / "before"), entrypoint=["Orthanc"]))
            for question in questions(folder):
                what = f"{size:,} images in the PACS: {question.what}"
                a, b, ratio = pairs(what, lambda: question.ask(largest), lambda: question.ask(before))  # noqa: B023
                yield Row(what, "an index without our statistics", question.told(a), question.told(b), ratio)
        shutil.rmtree(folder / "before")
    assert smallest
    assert largest
    what = f"{sizes[-1]:,} images in the PACS: store {STORED}"
    store = questions(folder)[0]
    a, b, ratio = pairs(what, lambda: store.ask(largest), lambda: store.ask(smallest), stores.PAIRS)
    yield Row(what, f"the same, {sizes[0]:,} in the PACS", store.told(a), store.told(b), ratio)


def seed(folder: Path) -> tuple[Path, int]:
    """Store a study, and return the index that Orthanc has made of it, and how many resources it has."""
    study, images = generate_uid(), [folder / f"series-{number}" for number in range(SERIES)]
    for number in range(SIZES[0]):
        path = images[number % SERIES] / f"{number}.dcm"
        path.parent.mkdir(exist_ok=True)
        dataset = dcmread(synthetic_image(path, number))
        dataset.StudyInstanceUID, dataset.PatientName, dataset.PatientID = study, NAME, NAME[:18]
        dataset.StudyDate = dataset.SeriesDate = f"{DAY:%Y%m%d}"
        dataset.StudyTime, dataset.AccessionNumber = "101500", "41001"
        dataset.StudyDescription, dataset.SeriesDescription = "Memory", f"ep2d bold {number % SERIES}"
        dataset.AcquisitionNumber, dataset.SeriesNumber = 1, number % SERIES
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-100, -90.5, number * 2.5], [1, 0, 0, 0, 1, 0]
        dataset.save_as(path)
    with twins.pacs(folder / "seed") as pacs:
        stores.seconds(images, networks.address(pacs.container), 4042, {"TCP_NODELAY": "1"})
        pacs.container.stop()
    index = folder / "index"
    shutil.copy(folder / "seed" / "index", index)
    with closing(sqlite3.connect(index)) as database:
        database.execute("DELETE FROM sqlite_stat1")
        database.commit()
        (first,) = database.execute("SELECT max(internalId) FROM Resources").fetchone()
    return index, int(first)


def copied(index: Path, data: Path) -> Path:
    """Return a data folder with a copy of the index, which the containers' user may write."""
    data.mkdir()
    shutil.copy(index, data / "index")
    owner = Path(live.VARIABLES["orthanc_data_dir"]).stat()
    os.chown(data / "index", owner.st_uid, owner.st_gid)
    return data


@dataclass(frozen=True)
class Question:
    """What is asked, how, and how its seconds are shown."""

    what: str
    ask: Callable[[twins.Pacs], float]
    told: Callable[[float], str] = lambda taken: f"{taken * 1000:.0f} ms"


def questions(folder: Path) -> list[Question]:
    def store(pacs: twins.Pacs) -> float:
        images = stores.fresh(folder / "images", STORED, 1, 1)
        return stores.seconds(images, networks.address(pacs.container), 4042, {"TCP_NODELAY": "1"})

    def reconcile(pacs: twins.Pacs) -> float:
        password = Path(live.VARIABLES["orthanc_config_dir"]) / "admin.password"
        config = Pacs(url=pacs.url, user=pacs.login[0], password_file=str(password), timeout=60)
        began = perf_counter()
        assert asking.studies(config, DAY - timedelta(days=2), DAY)
        return perf_counter() - began

    def search(pacs: twins.Pacs) -> float:
        began = perf_counter()
        assert find(pacs, "Study", PatientName=f"*{NAME[-10:]}")
        return perf_counter() - began

    def look(pacs: twins.Pacs) -> float:
        series = find(pacs, "Series", StudyDate=f"{DAY:%Y%m%d}")[0]["ID"]
        began = perf_counter()
        requests.get(f"{pacs.url}/series/{series}", auth=pacs.login, timeout=60).raise_for_status()
        return perf_counter() - began

    return [
        Question(f"store {STORED}", store, lambda taken: stores.rate(STORED, taken)),
        Question("the reconciliation's question, three days", reconcile),
        Question("search a name with a wildcard", search),
        Question("open a series", look),
    ]


def find(pacs: twins.Pacs, level: str, **query: str) -> list[dict[str, Any]]:
    question = {"Level": level, "Query": query, "Expand": True}
    answer = requests.post(f"{pacs.url}/tools/find", json=question, auth=pacs.login, timeout=60)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found
