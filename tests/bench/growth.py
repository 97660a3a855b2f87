"""The PACS as it fills: what it is asked most often, against the same index without our statistics."""

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

from pydicom import dcmread
from pydicom.uid import generate_uid

from bench import stores
from bench.measure import PAIRS, Row, pairs
from dicom_worklist.status import pacs as asking
from support import networks
from support.grown_index import grow
from support.images import synthetic_image
from support.own_pacs import OwnPacs, own_pacs

#: How many images there are, in `make bench` and in the long form. Beyond MOST_STOCK only ours is asked.
SIZES = (1_000, 50_000, 300_000)
MOST_STOCK = 1_000_000
LONG = (*SIZES, MOST_STOCK, 10_000_000)
#: The study that is really stored, all images of `SIZES[0]`; the others are copies of its rows.
SERIES, DAY, NAME = 8, date(2026, 6, 1), "3010000.01_sub-001_ses-01"
#: Images that are stored at a time, by one storescu.
STORED = 100


def rows(folder: Path, sizes: Sequence[int]) -> Iterator[Row]:
    index, first = seed(folder)
    with ExitStack() as stack:
        smallest = largest = None
        for size in sizes:
            grow(index, first, size)
            with ExitStack() as at_size:
                ours = own_pacs(copied(index, folder / f"{size}"))
                largest = (stack if size in {sizes[0], sizes[-1]} else at_size).enter_context(ours)
                smallest = smallest or largest
                if size > MOST_STOCK:
                    yield from (alone(size, question, largest) for question in questions(folder))
                    continue
                before = at_size.enter_context(own_pacs(copied(index, folder / "before"), "Orthanc"))
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
    with own_pacs(folder / "seed") as pacs:
        stores.seconds(images, networks.address(pacs.container), 4042, {"TCP_NODELAY": "1"})
        pacs.container.stop()
    index = folder / "index"
    shutil.copy(pacs.data / "index", index)
    with closing(sqlite3.connect(index)) as database:
        database.execute("DELETE FROM sqlite_stat1")
        database.commit()
        (first,) = database.execute("SELECT max(internalId) FROM Resources").fetchone()
    return index, int(first)


def copied(index: Path, folder: Path) -> Path:
    """Return a folder for a PACS that begins with this index."""
    (folder / "data").mkdir(parents=True)
    shutil.copy(index, folder / "data/index")
    return folder


@dataclass(frozen=True)
class Question:
    """What is asked, how, and how its seconds are shown."""

    what: str
    ask: Callable[[OwnPacs], float]
    told: Callable[[float], str] = lambda taken: f"{taken * 1000:.0f} ms"


def alone(size: int, question: Question, pacs: OwnPacs) -> Row:
    """Return how long it takes where the stock thing would take hours."""
    answered = question.told(median(question.ask(pacs) for _ in range(PAIRS)))
    return Row(f"{size:,} images in the PACS: {question.what}", "", answered)


def questions(folder: Path) -> list[Question]:
    def store(pacs: OwnPacs) -> float:
        images = stores.fresh(folder / "images", STORED, 1, 1)
        return stores.seconds(images, networks.address(pacs.container), 4042, {"TCP_NODELAY": "1"})

    def reconcile(pacs: OwnPacs) -> float:
        began = perf_counter()
        assert asking.studies(pacs.login, DAY - timedelta(days=2), DAY).studies
        return perf_counter() - began

    def search(pacs: OwnPacs) -> float:
        began = perf_counter()
        assert find(pacs, "Study", PatientName=f"*{NAME[-10:]}")
        return perf_counter() - began

    def look(pacs: OwnPacs) -> float:
        series = find(pacs, "Series", StudyDate=f"{DAY:%Y%m%d}")[0]["ID"]
        began = perf_counter()
        pacs.ask(f"/series/{series}").raise_for_status()
        return perf_counter() - began

    return [
        Question(f"store {STORED}", store, lambda taken: stores.rate(STORED, taken)),
        Question("the reconciliation's question, three days", reconcile),
        Question("search a name with a wildcard", search),
        Question("open a series", look),
    ]


def find(pacs: OwnPacs, level: str, **query: str) -> list[dict[str, Any]]:
    question = {"Level": level, "Query": query, "Expand": True}
    answer = pacs.ask("/tools/find", question)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found
