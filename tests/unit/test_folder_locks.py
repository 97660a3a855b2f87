"""The locks of the folder: queries, runs, and runs that are killed."""

import fcntl
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_worklist.errors import FolderError
from dicom_worklist.worklist import folder as folders
from dicom_worklist.worklist.folder import file_name
from support.command import environment, start
from support.worklist_folder import NAMES, everything, locked_by_another_process, publish, worklist_files


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["a query", "a writer"])
def test_a_run_waits_for_the_lock_until_the_timeout(kind: int, folder: Path) -> None:
    publish(folder, {NAMES[0]: b"before", NAMES[1]: b"gone"})
    before = everything(folder)
    with locked_by_another_process(folder, kind):
        began = time.monotonic()
        with pytest.raises(FolderError, match=r"lockfile, for longer than worklist.lock_timeout \(0.3 s\)"):
            publish(folder, {NAMES[0]: b"after", NAMES[2]: b"new"}, timeout=0.3)
        assert 0.3 <= time.monotonic() - began < 2
    assert everything(folder) == before


def test_a_writer_that_waits_keeps_new_queries_back_and_lets_them_pass_in_turn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As our broker's queries do, this one asks for the file's flock first."""
    monkeypatch.setattr(folders, "LOCK_CLOSED", 0.2)
    monkeypatch.setattr(folders, "LOCK_OPEN", 0.2)

    def passes() -> bool:
        with (folder / "lockfile").open("r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    with ThreadPoolExecutor() as pool:
        with locked_by_another_process(folder, fcntl.LOCK_SH):
            assert passes()
            run = pool.submit(publish, folder, {NAMES[0]: b"1"}, timeout=30)
            for expected in (False, True, False):
                until = time.monotonic() + 10
                while passes() is not expected:
                    assert time.monotonic() < until
                    time.sleep(0.001)
            assert not run.done()
        run.result()
    assert passes()
    assert worklist_files(folder) == {NAMES[0]: b"1"}


def test_a_flock_held_by_another_is_not_the_lock_of_the_broker(folder: Path) -> None:
    with (folder / "lockfile").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor() as pool, locked_by_another_process(folder, fcntl.LOCK_SH):
            run = pool.submit(publish, folder, {NAMES[0]: b"1"}, timeout=5)
            time.sleep(0.3)
            assert not run.done()
        run.result()
    assert worklist_files(folder) == {NAMES[0]: b"1"}


def test_reading_waits_for_a_writer_until_the_timeout(folder: Path) -> None:
    with locked_by_another_process(folder), pytest.raises(FolderError, match="lock_timeout"):
        folders.read(folder, lock_timeout=0.1)


def test_two_queries_do_not_wait_for_each_other(folder: Path) -> None:
    with locked_by_another_process(folder, fcntl.LOCK_SH):
        assert folders.read(folder, lock_timeout=0.1) == {}


def test_a_run_waits_for_another_run_until_the_timeout(folder: Path) -> None:
    with folders.one_writer(folder, 1), pytest.raises(FolderError, match=r"another run, or check, .*timeout \(0.1 s\)"):
        publish(folder, {NAMES[0]: b"1"}, timeout=0.1)
    assert worklist_files(folder) == {}


PUBLISH = """
import sys
from pathlib import Path
from dicom_worklist.worklist import folder as folders
path, content = Path(sys.argv[1]), sys.argv[2].encode()
with folders.one_writer(path, 10):
    wanted = {folders.file_name(str(item), "PRISMA"): content for item in range(int(sys.argv[3]))}
    changes = folders.compare(folders.EntryFiles(path), wanted)
    folders.apply({path: changes}, 10, lambda items, _: items)
"""


def test_nothing_changes_while_a_query_runs(folder: Path) -> None:
    publish(folder, {NAMES[0]: b"before"})
    before = everything(folder)[NAMES[0]]
    with locked_by_another_process(folder, fcntl.LOCK_SH):
        run = start("-c", PUBLISH, folder, "after", "3")
        until = time.monotonic() + 10
        while len(list(folder.glob(".*.tmp"))) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.2)
        assert run.poll() is None
        assert worklist_files(folder) == {NAMES[0]: b"before"}
        assert everything(folder)[NAMES[0]] == before
    run.communicate(timeout=10)
    assert run.returncode == 0
    assert sorted(worklist_files(folder).values()) == [b"after"] * 3


QUERY = """
import fcntl, os, sys, threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set())).start()
seen = set()
print("ready", flush=True)
while not ended.wait(0.001):
    with open(f"{sys.argv[1]}/lockfile", "r+b") as lock:
        fcntl.lockf(lock, fcntl.LOCK_SH)
        names = sorted(name for name in os.listdir(sys.argv[1]) if name.endswith(".wl"))
        contents = b" ".join(open(f"{sys.argv[1]}/{name}", "rb").read() for name in names)
        seen.add(f"{len(names)}{contents.decode()}")
print("\\n".join(sorted(seen)))
"""


def test_a_query_sees_the_set_from_before_or_after_a_run_never_a_mixture(folder: Path) -> None:
    sets = [{file_name(str(item), "PRISMA"): content for item in range(n)} for n, content in ((20, b"a"), (12, b"b"))]
    publish(folder, sets[0])
    with start("-c", QUERY, folder) as query:
        assert query.stdout and query.stdout.readline() == "ready\n"
        for turn in range(20):
            publish(folder, sets[1 - turn % 2])
        seen, _ = query.communicate(timeout=10)
    assert set(seen.split("\n")) == {f"20{' '.join('a' * 20)}", f"12{' '.join('b' * 12)}", ""}


def test_runs_at_the_same_time_all_succeed_and_leave_one_set(folder: Path) -> None:
    runs = [start("-c", PUBLISH, folder, content, "30") for content in "abcd"]
    for run in runs:
        run.communicate(timeout=30)
    assert [run.returncode for run in runs] == [0] * 4
    assert {path.name for path in folder.glob("*.wl")} == {file_name(str(item), "PRISMA") for item in range(30)}
    assert len(set(worklist_files(folder).values())) == 1
    assert not list(folder.glob(".*"))


KILLED = """
import os, signal, sys
call, at = sys.argv[4], int(sys.argv[5])
real, calls = getattr(os, call), 0
def killing(*arguments, **options):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
setattr(os, call, killing)
""" + PUBLISH  # fmt: skip


@pytest.mark.parametrize(("call", "at"), [("fsync", 1), ("fsync", 3), ("replace", 1), ("replace", 3), ("unlink", 1)])
def test_a_run_that_is_killed_leaves_whole_files_and_the_next_one_repairs(call: str, at: int, folder: Path) -> None:
    publish(folder, {file_name(str(item), "PRISMA"): b"before" for item in range(8)})
    line = [sys.executable, "-c", KILLED, str(folder), "after", "4", call, str(at)]
    assert subprocess.run(line, env=environment(), check=False, timeout=30).returncode == -signal.SIGKILL
    assert set(worklist_files(folder).values()) <= {b"before", b"after"}
    wanted = {file_name(str(item), "PRISMA"): b"after" for item in range(4)}
    publish(folder, wanted)
    assert worklist_files(folder) == wanted
    assert not list(folder.glob(".*"))
