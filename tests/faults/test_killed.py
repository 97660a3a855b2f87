"""The sync is killed, wherever it can be: what is in the folder is whole, and the next run puts it right."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import twins
import wire
from dicom_worklist import config, sync
from kit import DAY, Calendar, environment, settings, worklist_files, write_yaml
from tally import Tally

#: Every call by which the sync could reach the folder.
CALLS = (
    "openat,open,creat,read,pread64,write,pwrite64,fsync,fdatasync,close,rename,renameat,renameat2,unlink,unlinkat,link,"
    "linkat,symlinkat,fchmod,fchmodat,chmod,fchown,ftruncate,truncate,fcntl,flock,getdents64,newfstatat,fstat,statx,"
    "lseek,faccessat,faccessat2,access,ioctl,mkdir,mkdirat,utimensat"
)
Files = dict[str, bytes]


@dataclass(frozen=True)
class Change:
    """Two calendars for one folder, and what it holds after each."""

    configurations: tuple[Path, Path]
    before: Files
    after: Files
    broker: twins.Broker

    @property
    def folder(self) -> Path:
        return self.broker.folder

    @property
    def line(self) -> list[str]:
        """The command that leads from one to the other."""
        return [sys.executable, "-m", "dicom_worklist", "sync", "-c", str(self.configurations[1]), "--day", str(DAY)]

    def prepare(self) -> None:
        self.run(0)
        assert worklist_files(self.folder) == self.before

    def run(self, at: int) -> None:
        sync.run(config.load(self.configurations[at]), DAY)

    def judge(self, tally: Tally) -> None:
        """Look at the folder after a kill, ask the broker, and let the next run come."""
        tally.tried += 1
        found = worklist_files(self.folder)
        whole = {(name, content) for files in (self.before, self.after) for name, content in files.items()}
        tally.wrong += len(set(found.items()) - whole)
        tally.lost += len(self.before.keys() & self.after.keys() - found.keys())
        patients, succeeded = wire.ask(self.broker.port)
        tally.failed += not succeeded or len(patients) != len(found)
        self.run(1)
        tally.wrong += worklist_files(self.folder) != self.after
        tally.wrong += {path.name for path in self.folder.iterdir()} != {*self.after, "lockfile"}  # debris


def change(
    folder: Path, broker: twins.Broker, before: Callable[[Calendar], None], after: Callable[[Calendar], None]
) -> Change:
    """Return the change between two calendars, which these fill."""
    configurations, contents = [], []
    for name, fill in (("before", before), ("after", after)):
        calendar = Calendar(folder / f"{name}.sqlite")
        fill(calendar)
        path = write_yaml(folder / f"{name}.yml", settings(calendar.path, broker.folder.parent))
        sync.run(config.load(path), DAY)
        configurations.append(path)
        contents.append(worklist_files(broker.folder))
    return Change((configurations[0], configurations[1]), contents[0], contents[1], broker)


@pytest.fixture
def every_kind(broker: twins.Broker, tmp_path: Path) -> Change:
    """One entry stays, one changes, two go, two come."""

    def before(calendar: Calendar) -> None:
        for number in range(1, 5):
            calendar.book(number, f"{number}-1")

    def after(calendar: Calendar) -> None:
        calendar.book(1, "1-1")
        calendar.book(2, "2-2")
        calendar.book(5, "5-1")
        calendar.book(6, "6-1")

    return change(tmp_path, broker, before, after)


@dataclass(frozen=True)
class Call:
    """A system call that touches the folder: its thread, its name, which of that name it is there, what strace says."""

    thread: str
    name: str
    number: int
    said: str


def traced(change: Change, log: Path, *options: str) -> list[Call]:
    """Run the sync under strace; return its calls that touch the folder, in their order."""
    line = ["strace", "-f", "-y", "-qq", "-s", "256", "-o", str(log), "-e", f"trace={CALLS}", *options, *change.line]
    subprocess.run(line, env=environment() | {"PYTHONHASHSEED": "0"}, capture_output=True, timeout=120, check=False)
    count: Counter[tuple[str, str]] = Counter()
    found = []
    for text in log.read_text(errors="replace").splitlines():
        if match := re.match(r"(\d+) +(\w+)\((.*)", text):
            thread, name, said = match.groups()
            count[thread, name] += 1
            if str(change.folder) in said:
                found.append(Call(thread, name, count[thread, name], said))
    return found


def test_killed_at_every_call_that_touches_the_folder(
    every_kind: Change, tmp_path: Path, tally: Tally, often: Callable[[int, int], int]
) -> None:
    every_kind.prepare()
    calls = traced(every_kind, tmp_path / "trace")
    assert worklist_files(every_kind.folder) == every_kind.after
    assert {"rename", "unlink", "fsync", "write", "fcntl"} <= {call.name for call in calls}
    # strace counts in each thread; those that sync the files do nothing else
    calls = [call for call in calls if call.thread == calls[0].thread or call.name == "fsync"]
    for call in calls[:: often(16, 1)]:
        every_kind.prepare()
        kill = ["-e", f"inject={call.name}:signal=SIGKILL:when={call.number}"]
        reached = traced(every_kind, tmp_path / "killed", *kill)
        assert reached[-1].name == call.name, "the trace of this run is another one"
        every_kind.judge(tally)


def test_what_a_power_cut_needs_is_synced_in_order(every_kind: Change, tmp_path: Path, tally: Tally) -> None:
    """Written, synced, closed; then renamed; then the folder synced: from the trace."""
    every_kind.prepare()
    calls = traced(every_kind, tmp_path / "trace")
    texts = [f"{call.name}({call.said}" for call in calls]

    def at(pattern: str) -> list[int]:
        return [place for place, text in enumerate(texts) if re.match(pattern, text)]

    folder = re.escape(str(every_kind.folder))
    changed = at(r"(rename|unlink)\(.* = 0$")
    synced = at(rf"fsync\(\d+<{folder}>\)")
    new = [name for name, content in every_kind.after.items() if every_kind.before.get(name) != content]
    assert len(new) == 3
    for name in new:
        temporary = re.escape(f"{every_kind.folder}/.{name.removesuffix('.wl')}.tmp")
        (written,) = at(rf"write\(\d+<{temporary}>")
        (file_synced,) = at(rf"fsync\(\d+<{temporary}>")
        (renamed,) = at(rf'rename\("{temporary}", "{folder}/{re.escape(name)}"')
        tally.tried += 1
        tally.wrong += not written < file_synced < renamed < max(synced)
    tally.wrong += not max(changed) < max(synced)
    (locked,) = at(rf"fcntl\(\d+<{folder}/lockfile>, F_SETLK, \{{l_type=F_WRLCK")
    tally.wrong += not locked < min(changed)


@pytest.fixture
def large(broker: twins.Broker, tmp_path: Path) -> Change:
    """Two hundred bookings, and two hundred others."""

    def fill(first: int, calendar: Calendar) -> None:
        for number in range(first, first + 200):
            calendar.book(number, f"{number}-1")

    return change(tmp_path, broker, partial(fill, 1), partial(fill, 1001))


def test_killed_at_any_moment(large: Change, tally: Tally, often: Callable[[int, int], int]) -> None:
    chance = random.Random(2)
    large.prepare()
    began = time.monotonic()
    subprocess.run(large.line, env=environment(), capture_output=True, timeout=60, check=True)
    length = time.monotonic() - began
    for _ in range(often(5, 300)):
        large.prepare()
        with subprocess.Popen(
            large.line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(chance.uniform(0.2, 1.0) * length)
            os.kill(process.pid, signal.SIGKILL)  # or it has ended: that is a moment, too
        large.judge(tally)
