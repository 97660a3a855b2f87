"""The demo's day, at every hour, on plain and on odd days: what the demo's inventory and day.py make of it."""

import importlib.util
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydicom.dataset import Dataset

from dicom_worklist import pipeline
from dicom_worklist.config import load
from dicom_worklist.status import findings
from dicom_worklist.status.oddities import Kind
from dicom_worklist.status.overview import Overview, overview
from support import live
from support.configuration import write_yaml
from support.timed_site import Pacs
from support.worklist_folder import entries

DEMO = live.PROJECT / "inventories/demo"
ZONE = ZoneInfo("Europe/Amsterdam")


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("day", DEMO / "day.py")
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


day: Any = module()


def here(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE, fold=fold).astimezone(UTC)


#: Each hour of a plain day, of the nights of both changes of the clock and of a year's end, each at another minute.
HOURS = [
    here(first) + timedelta(hours=hour, minutes=hour * 7 % 60, seconds=hour)
    for first, hours in (("2026-11-24", 24), ("2026-03-29", 7), ("2026-10-25", 7), ("2026-12-31T20:00", 9))
    for hour in range(hours)
]
ODD = [
    here("2026-11-24T23:50"), here("2026-11-25T00:10"), here("2026-11-25T03:00"), here("2026-03-29T03:00"),
    here("2026-10-25T02:30"), here("2026-10-25T02:30", fold=1), here("2026-10-25T03:00"),
    here("2026-12-31T23:59:59"), here("2027-01-01T00:00"),
]  # fmt: skip
#: Every five minutes around both changes of the clock.
MINUTES = [
    here(noon) + timedelta(minutes=5 * step) for noon in ("2026-03-28T12:00", "2026-10-24T12:00") for step in range(288)
]


class Demo:
    """The demo's calendar, configuration, folder and PACS; nothing of it is deployed."""

    def __init__(self, root: Path) -> None:
        self.database, self.state, self.folder = root / "bookings.sqlite", root / "status.json", root / "wl/WLBROKER"
        self.folder.mkdir(parents=True)
        self.folder.joinpath("lockfile").touch()
        (root / "password").write_text("secret\n")
        self.pacs = Pacs()
        #: SeriesInstanceUID → its images.
        self.stored: dict[str, list[Dataset]] = {}
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.executescript((DEMO / "calendar.sql").read_text(encoding="utf-8"))
        variables = yaml.safe_load((DEMO / "group_vars/all.yml").read_text(encoding="utf-8"))
        self.config = load(
            write_yaml(
                root / "config.yml",
                {
                    "site": {"name": variables["site_name"], "timezone": variables["site_timezone"]},
                    "source": {"type": "sqlite", "path": str(self.database)},
                    "window": {"grace": variables["worklist_sync_grace"]},
                    "scanners": variables["site_scanners"],
                    "ignored_labs": variables["worklist_sync_ignored_labs"],
                    "worklist": {"root": str(root / "wl")},
                    "status": {"state": str(self.state)},
                    "pacs": {
                        "url": f"http://127.0.0.1:{self.pacs.port}",
                        "user": "reader",
                        "password_file": str(root / "password"),
                    },
                },
            )
        )

    def play(self, now: datetime) -> tuple[int, int]:
        """Do what day.py does; return how many bookings and series were new."""
        booked = day.book(day.bookings(now, ZONE), self.database)
        pipeline.run(self.config, now=now)
        new = 0
        for entry in entries(self.folder).values():
            for images in day.made(entry, now, ZONE):
                if images[0].SeriesInstanceUID not in self.stored:
                    new += 1
                    self._store(entry, images, now)
        pipeline.run(self.config, now=now)
        return booked, new

    def _store(self, entry: Dataset, images: list[Dataset], now: datetime) -> None:
        first = images[0]
        self.stored[first.SeriesInstanceUID] = images
        self.pacs.store(
            first.StudyInstanceUID,
            now,
            entry.ScheduledProcedureStepSequence[0].ScheduledStationAETitle,
            {
                keyword: str(first[keyword].value)
                for keyword in (
                    "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber", "StudyDate", "StudyTime",
                )
            },
        )  # fmt: skip
        # the scanners store sessions that are over first, and wait until the PACS takes them for complete
        self.pacs.series[-1]["IsStable"] = day.is_over(entry, now, ZONE)

    def seen(self, now: datetime) -> Overview:
        return overview(self.config, findings.load(str(self.state)), now)

    def states(self, now: datetime) -> Counter[str]:
        return Counter(str(line.state) for line in lines(self.seen(now)))


def lines(seen: Overview) -> list[Any]:
    return [line for one in (seen.yesterday, seen.today, seen.tomorrow) for line in one.lines]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    made.pacs.close()


@pytest.mark.parametrize("now", [*HOURS, *ODD], ids=lambda now: now.astimezone(ZONE).isoformat())
def test_it_looks_like_a_day_whenever_it_is_made(demo: Demo, now: datetime) -> None:
    demo.play(now)
    states = demo.states(now)
    assert states.keys() == {"arrived", "in progress", "scheduled", "missing", "odd", "rejected"}, states
    assert states["arrived"] >= 3
    assert states["scheduled"] >= 4
    assert states["missing"] <= 2
    assert states["odd"] <= 2
    assert states["rejected"] <= 2
    seen = demo.seen(now)
    kinds = {oddity.kind for line in lines(seen) for oddity in line.oddities}
    assert kinds == {Kind.PATIENT_ID}
    assert {line.booked.ae_title for line in lines(seen)} == {"PRISMA", "PRISMAFIT", "SKYRA"}
    assert not [one for one in (seen.yesterday, seen.today, seen.tomorrow) if one.unscheduled]
    assert seen.today.lines


@pytest.mark.parametrize("now", ODD, ids=lambda now: now.astimezone(ZONE).isoformat())
def test_a_second_run_changes_nothing_and_a_later_one_goes_on(demo: Demo, now: datetime) -> None:
    demo.play(now)
    assert demo.play(now) == (0, 0)
    before = set(demo.stored)
    demo.play(now + timedelta(hours=1))
    assert before < set(demo.stored)
    demo.play(now + timedelta(days=1))
    assert {"arrived", "in progress", "missing", "odd", "rejected"} <= demo.states(now + timedelta(days=1)).keys()


@pytest.mark.parametrize("now", ODD, ids=lambda now: now.astimezone(ZONE).isoformat())
def test_images_say_what_the_entry_says_and_when_they_were_made(demo: Demo, now: datetime) -> None:
    demo.play(now)
    by_uid = {entry.StudyInstanceUID: entry for entry in entries(demo.folder).values()}
    uids = [image.SOPInstanceUID for images in demo.stored.values() for image in images]
    assert len(uids) == len(set(uids))
    assert {len(images) for images in demo.stored.values()} == {3, 6, 4}
    typed = 0
    for images in demo.stored.values():
        for image in images:
            entry = by_uid[image.StudyInstanceUID]
            step = entry.ScheduledProcedureStepSequence[0]
            assert (image.PatientName, image.AccessionNumber) == (entry.PatientName, entry.AccessionNumber)
            typed += image.PatientID != entry.PatientID
            booked, *_ = moments(step.ScheduledProcedureStepStartDate + step.ScheduledProcedureStepStartTime)
            study, *_ = moments(image.StudyDate + image.StudyTime)
            assert booked < study <= now
            assert any(study <= series <= now for series in moments(image.SeriesDate + image.SeriesTime))
            assert image.StudyDate + image.StudyTime == images[0].StudyDate + images[0].StudyTime
    assert 0 < typed < len(uids) / 2


def moments(text: str) -> list[datetime]:
    """Return when DICOM's date and time may be, at the site: in an hour that comes twice there are two answers."""
    clock = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=ZONE)
    return [clock.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]


def test_somebody_is_always_scanned() -> None:
    for now in MINUTES:
        rows = [row for row in day.bookings(now, ZONE) if row[2] in {1, 2} and row[7] != "CANCELLED"]
        assert any(timedelta(minutes=2) <= now - start < timedelta(hours=1) for row in rows for start in starts(row)), (
            now
        )


def starts(row: tuple[Any, ...]) -> list[datetime]:
    return moments(f"{row[5]}{row[6]}".replace("-", "").replace(":", ""))


def test_the_calendar_only_has_times_that_there_are_and_nobody_twice() -> None:
    seen: dict[object, tuple[object, ...]] = {}
    for now in MINUTES:
        for row in day.bookings(now, ZONE):
            assert seen.setdefault(row[0], row) == row
    for row in seen.values():
        clock = datetime.fromisoformat(f"{row[5]}T{row[6]}")
        assert starts(row)[0].astimezone(ZONE).replace(tzinfo=None, fold=0) == clock
    people = [(row[1], row[4]) for row in seen.values() if row[4] not in {"Undefined", "Cancellation"}]
    assert len(people) == len(set(people))


def test_a_booking_that_was_changed_is_scanned_as_it_is_now(demo: Demo) -> None:
    now = here("2026-11-24T14:00")
    demo.play(now)
    row = max((row for row in day.bookings(now, ZONE) if row[2] == 1), key=lambda row: (row[5], row[6]))
    with closing(sqlite3.connect(demo.database)) as connection, connection:
        connection.execute(
            "UPDATE calendar_items_new SET start_time = '13:00:00', subj_ses = '42-3' WHERE id = ?", row[:1]
        )
    demo.play(now)
    said = {
        image.PatientID for images in demo.stored.values() for image in images if image.AccessionNumber == f"{row[0]}"
    }
    assert said == {f"{row[1]}_sub-042"}
