"""The sync is killed in every place where it can be: each file in the folder is whole, and the next run corrects it."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from dicom_worklist import config, pipeline
from support import twins, wire
from support.calendar import DAY, NOW, Calendar
from support.command import environment
from support.configuration import settings, write_yaml
from support.tally import Tally
from support.worklist_folder import worklist_files

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
        pipeline.run(config.load(self.configurations[at]), DAY, now=NOW)

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
        pipeline.run(config.load(path), DAY, now=NOW)
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
    """A system call that touches the folder: its thread, its name, which of that name it is there, what strace says,
    and in which lines of the trace it began and ended; one that never did ended after all."""

    thread: str
    name: str
    number: int
    said: str
    began: int
    ended: int


def parsed(trace: str, folder: Path) -> list[Call]:
    """Return the calls in a trace that touch a folder, in the order in which they began.

    A call during which another thread says something has two lines: `<unfinished ...>` and `<... fsync resumed>`.
    """
    count: Counter[tuple[str, str]] = Counter()
    calls = list[Call]()
    waiting = dict[str, int]()
    lines = trace.splitlines()
    for at, line in enumerate(lines):
        if match := re.match(r"(\d+) +<\.\.\. \w+ resumed>(.*)", line):
            thread, rest = match.groups()
            place = waiting.pop(thread)
            calls[place] = replace(calls[place], said=calls[place].said + rest, ended=at)
        elif match := re.match(r"(\d+) +(\w+)\((.*?)( <unfinished \.\.\.>)?$", line):
            thread, name, said, unfinished = match.groups()
            count[thread, name] += 1
            if unfinished:
                waiting[thread] = len(calls)
            calls.append(Call(thread, name, count[thread, name], said, at, len(lines) if unfinished else at))
    return [call for call in calls if str(folder) in call.said]


def traced(change: Change, log: Path, *options: str) -> list[Call]:
    """Run the sync under strace; return its calls that touch the folder, in their order."""
    line = ["strace", "-f", "-y", "-qq", "-s", "256", "-o", str(log), "-e", f"trace={CALLS}", *options, *change.line]
    subprocess.run(line, env=environment() | {"PYTHONHASHSEED": "0"}, capture_output=True, timeout=120, check=False)
    return parsed(log.read_text(errors="replace"), change.folder)


def test_killed_at_every_call_that_touches_the_folder(
    every_kind: Change, tmp_path: Path, tally: Tally, often: Callable[[int, int], int]
) -> None:
    def whole() -> list[Call]:
        every_kind.prepare()
        calls = traced(every_kind, tmp_path / "trace")
        assert worklist_files(every_kind.folder) == every_kind.after
        assert {"rename", "unlink", "fsync", "write", "fcntl"} <= {call.name for call in calls}
        # strace counts in each thread; those that sync the files do nothing else
        return [call for call in calls if call.thread == calls[0].thread or call.name == "fsync"]

    def is_reached(call: Call) -> bool:
        every_kind.prepare()
        kill = ["-e", f"inject={call.name}:signal=SIGKILL:when={call.number}"]
        reached = traced(every_kind, tmp_path / "killed", *kill)
        # the last of the thread that was killed; others may be heard after it
        return call.name in {one.thread: one.name for one in reached}.values()

    calls = whole()
    for at in range(0, len(calls), often(16, 1)):
        for _ in range(3):
            if is_reached(calls[at]):
                break
            calls = whole()  # Python opened other files at its start: the tests beside this one come and go
        else:
            raise AssertionError("the trace of each run is another one")
        every_kind.judge(tally)


def out_of_order(calls: list[Call], folder: Path, new: Iterable[str]) -> list[str]:
    """Return what a power cut could tear: all that is new is on the disk before the first rename, the folder last."""

    def matching(pattern: str) -> list[Call]:
        return [call for call in calls if re.match(pattern, f"{call.name}({call.said}")]

    place = re.escape(str(folder))
    changes, renames = matching(r"(rename|unlink)\(.* = 0$"), matching(r"rename\(.* = 0$")
    (locked,) = matching(rf"fcntl\(\d+<{place}/lockfile>, F_SETLK, \{{l_type=F_WRLCK.* = 0$")
    found = []
    for name in new:
        temporary = re.escape(f"{folder}/.{name.removesuffix('.wl')}.tmp")
        (written,) = matching(rf"write\(\d+<{temporary}>")
        (synced,) = matching(rf"fsync\(\d+<{temporary}>\) += 0$")
        assert any(re.match(rf'"{temporary}", "{place}/{re.escape(name)}"', call.said) for call in renames)
        if not written.ended < synced.began:
            found.append(f"{name} is synced before it is written")
        if not synced.ended < renames[0].began:
            found.append(f"{name} is not yet synced when the first file is renamed")
    if not locked.ended < changes[0].began:
        found.append("the folder is changed before it is locked")
    if not any(max(call.ended for call in changes) < call.began for call in matching(rf"fsync\(\d+<{place}>\) += 0$")):
        found.append("the folder is not synced in the end")
    return found


#: A sync of two files, in threads.
TRACE = """\
7 write(4</w/.a.tmp>, "A"..., 8) = 8
7 write(5</w/.b.tmp>, "B"..., 8) = 8
8 fsync(4</w/.a.tmp> <unfinished ...>
9 fsync(5</w/.b.tmp> <unfinished ...>
8 <... fsync resumed>)                  = 0
9 <... fsync resumed>)                  = 0
7 fcntl(3</w/lockfile>, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=0, l_len=0}) = 0
7 rename("/w/.a.tmp", "/w/a.wl")        = 0
7 rename("/w/.b.tmp", "/w/b.wl")        = 0
7 unlink("/w/c.wl")                     = 0
7 fsync(6</w>)                          = 0
"""
LATE = "b.wl is not yet synced when the first file is renamed"


@pytest.mark.parametrize(
    ("line", "after", "said"),
    [
        (5, 5, []),
        (5, 6, []),  # it is enough to be there before the first rename
        (5, 7, [LATE]),
        (5, 8, [LATE]),
        (5, 10, [LATE]),
        (1, 3, ["b.wl is synced before it is written"]),
        (6, 8, ["the folder is changed before it is locked"]),
        (10, 8, ["the folder is not synced in the end"]),
    ],
)
def test_a_call_counts_from_its_beginning_to_its_end(line: int, after: int, said: list[str]) -> None:
    """In a trace one line comes later, or earlier; what is wrong then is seen."""
    lines = TRACE.splitlines()
    lines.insert(after, lines.pop(line))
    assert out_of_order(parsed("\n".join(lines), Path("/w")), Path("/w"), ["a.wl", "b.wl"]) == said


def test_what_a_power_cut_needs_is_synced_in_order(every_kind: Change, tmp_path: Path, tally: Tally) -> None:
    every_kind.prepare()
    calls = traced(every_kind, tmp_path / "trace")
    new = [name for name, content in every_kind.after.items() if every_kind.before.get(name) != content]
    assert len(new) == 3
    tally.tried += len(new)
    tally.wrong += len(found := out_of_order(calls, every_kind.folder, new))
    assert not found


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
