"""What the unit and module tests build a site of: a calendar, a configuration, a worklist folder."""

import fcntl
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from copy import deepcopy
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

import dicom_worklist
from dicom_worklist.worklist import folder as folders

DAY = date(2026, 11, 24)
#: Noon of that day at the site.
NOW = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
PRISMA, PRISMAFIT, SKYRA, MEG = "Siemens PRISMA 3T", "Prismafit", "SKYRA", "MEG lab"
#: Who has an entry for PRISMA, where tests of faults need some.
PATIENTS = [f"3010000.01_sub-{number:03}" for number in range(1, 6)]
#: Stands for a key that a configuration doesn't have.
ABSENT = object()

#: Control codes, which no output may contain; the line feed may.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

Configure = Callable[..., Path]


def environment() -> dict[str, str]:
    """Return the environment in which a subprocess finds the package that is tested, installed or not."""
    colourful = {"FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    kept = {name: value for name, value in os.environ.items() if name not in colourful}
    return kept | {"PYTHONPATH": str(Path(dicom_worklist.__file__).parents[1])}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `dicom-worklist` as cron would: no terminal, its output in a pipe."""
    line = [sys.executable, "-m", "dicom_worklist", *map(str, arguments)]
    return subprocess.run(line, env=environment(), text=True, capture_output=True, timeout=60, check=False)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start Python in the background; what it prints can be read."""
    line = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(line, env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


class Calendar:
    """The DCCN calendar in SQLite; an id may be there twice, as in somebody's faulty view."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._do(
            "CREATE TABLE calendar_items_new "
            "(id, project_id, calendar_id, user_id, subj_ses, start_date DATE, start_time TIME, status)",
            "CREATE TABLE projects (id PRIMARY KEY, projectName)",
            "CREATE TABLE calendars (id PRIMARY KEY, description)",
            "CREATE TABLE users (id PRIMARY KEY, firstName, lastName)",
            "INSERT INTO projects VALUES ('3010000.01', 'Language and the brain')",
            "INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace')",
        )
        for lab in (PRISMA, PRISMAFIT, SKYRA, MEG):
            self.add_lab(lab)

    def add_lab(self, lab: str) -> None:
        self._run("INSERT INTO calendars VALUES (?, ?)", lab, lab)

    def add_project(self, project: str, title: object) -> None:
        self._run("INSERT INTO projects VALUES (?, ?)", project, title)

    def add_user(self, login: str, first: str | None, last: str | None) -> None:
        self._run("INSERT INTO users VALUES (?, ?, ?)", login, first, last)

    def book(
        self,
        booking_id: object,
        subj_ses: str = "7-1",
        *,
        lab: str = PRISMA,
        day: object = DAY.isoformat(),
        time: str = "09:00:00",
        project: str = "3010000.01",
        user: str = "adalov",
        status: str = "CONFIRMED",
    ) -> None:
        values = (booking_id, project, lab, user, subj_ses, str(day), time, status)
        columns = "id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status"
        self._run(f"INSERT INTO calendar_items_new ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def change(self, booking_id: object, **columns: object) -> None:
        settings = ", ".join(f"{name} = ?" for name in columns)
        self._run(f"UPDATE calendar_items_new SET {settings} WHERE id = ?", *columns.values(), booking_id)

    def with_ends(self) -> None:
        """Give bookings the column `stop_time`."""
        self._run("ALTER TABLE calendar_items_new ADD COLUMN stop_time TIME")

    def delete(self, booking_id: object) -> None:
        self._run("DELETE FROM calendar_items_new WHERE id = ?", booking_id)

    def _do(self, *statements: str) -> None:
        for statement in statements:
            self._run(statement)

    def _run(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(statement, values)


def settings(calendar: Path, root: Path) -> dict[str, Any]:
    """Return the configuration of a site with three scanners."""
    return {
        "site": {"name": "DCCN", "timezone": "Europe/Amsterdam"},
        "source": {"type": "sqlite", "path": str(calendar)},
        "scanners": [
            {"ae_title": "PRISMA", "lab": ".*PRISMA(?!FIT).*"},
            {"ae_title": "PRISMAFIT", "lab": ".*PRISMAFIT.*"},
            {"ae_title": "SKYRA", "lab": ".*SKYRA.*"},
        ],
        "worklist": {"root": str(root), "lock_timeout": 10},
    }


def mysql(port: int, password_file: Path) -> dict[str, object]:
    """Return the changes for a MySQL server on this port of loopback; its password is in the file."""
    password_file.write_text("geheim!\n")
    return {
        "source": {
            "type": "mysql",
            "host": "127.0.0.1",
            "port": port,
            "database": "fcdc",
            "user": "dicomdf",
            "password_file": str(password_file),
        }
    }


def changed(original: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings with other values at places such as `scanners.0.lab`."""
    copy = deepcopy(dict(original))
    for place, value in changes.items():
        *path, last = [int(key) if key.isdigit() else key for key in place.split(".")]
        section: Any = copy
        for key in path:
            section = section[key] if isinstance(key, int) else section.setdefault(key, {})
        if value is ABSENT:
            del section[last]
        else:
            section[last] = value
    return copy


def write_yaml(path: Path, data: object) -> Path:
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path


def worklist_files(folder: Path) -> dict[str, bytes]:
    """Return what a query would read."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wl"))}


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return name → inode, time of change and content: equal only if nothing was written."""
    return {
        path.name: (path.lstat().st_ino, path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.iterdir())
    }


def read_dicom(content: bytes) -> Dataset:
    """Return a DICOM file as pydicom reads it, every value decoded."""
    dataset = dcmread(BytesIO(content))
    dataset.decode()
    return dataset


def entries(folder: Path) -> dict[str, Dataset]:
    """Return file name → entry of what a query would read."""
    return {name: read_dicom(content) for name, content in worklist_files(folder).items()}


_HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, int(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def locked_by_another_process(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the broker's lock in a process of its own, as a query does."""
    with start("-c", _HOLD, folder / "lockfile", str(kind)) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate(timeout=10)


#: Five entries' files, of the bookings 1 to 5.
NAMES = [folders.file_name(str(item), "PRISMA") for item in range(1, 6)]


def publish(folder: Path, wanted: dict[str, bytes], timeout: float = 5) -> folders.Changes:
    """Make our files equal to `wanted`, as a run does."""
    with folders.one_writer(folder, timeout):
        changes = folders.compare(folders.EntryFiles(folder), wanted)
        folders.apply({folder: changes}, timeout, lambda items, _: items)
    return changes
