"""The folder that the broker reads: one set, put in place as one, and nothing of others touched."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicom_worklist.errors import FolderError
from dicom_worklist.worklist import folder as folders
from dicom_worklist.worklist.folder import file_name, parse_file_name
from support.local import environment, everything, locked_by_another_process, start, worklist_files

NAMES = [file_name(str(item), "PRISMA") for item in range(1, 6)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
AE_TITLES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=16
)


def silent(items: Sequence[str], description: str) -> Iterable[str]:
    return items


def publish(folder: Path, wanted: dict[str, bytes], timeout: float = 5) -> folders.Changes:
    """Make our files equal to `wanted`, as a run does."""
    with folders.one_writer(folder, timeout):
        changes = folders.compare(folders.EntryFiles(folder), wanted)
        folders.apply({folder: changes}, timeout, silent)
    return changes


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# --- names ---


@given(TEXT, AE_TITLES)
@example("a/b", "x-y")
@example("..", ".")
@example("1-PRISMA", "PRISMA")
def test_a_file_name_gives_back_what_it_was_made_of(item: str, place: str) -> None:
    assert parse_file_name(file_name(item, place)) == (item, place)


@given(st.lists(st.tuples(st.text("ab-/.%~ ä2D", min_size=1), st.text("ab-%2D", min_size=1)), max_size=10, unique=True))
@example([("1-2", "3"), ("1", "2-3")])
@example([("1/2", "A"), ("1%2F2", "A")])
def test_two_bookings_never_share_a_file_name(pairs: list[tuple[str, str]]) -> None:
    assert len({file_name(*pair) for pair in pairs}) == len(pairs)


@given(TEXT, AE_TITLES)
@example("🧠" * 16, "#" * 16)
def test_a_file_name_is_legal_and_so_is_its_temporary_s(item: str, place: str) -> None:
    name = file_name(item, place)
    assert name.startswith("booking-")
    assert name.endswith(".wl")
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert len(folders._temporary(Path("/"), name).name) <= 255


#: iCalendar UIDs and worse: of one byte a letter, of three and four, and of what is quoted.
LONG = st.builds(
    "{}{}".format,
    st.sampled_from(["x" * 400, "\u65e5" * 60, "\U0001f9e0" * 40, "a%" * 120, "-+" * 120, "e\u0301" * 50]),
    st.text(st.characters(codec="utf-8"), max_size=5),
)


@given(LONG, st.sampled_from(["PRISMA", "A-B C@D:E_F.G/HIJ", "%" * 16]))
def test_case_10_the_name_of_a_long_id_is_legal_ours_and_tells_the_place(item: str, place: str) -> None:
    name = file_name(item, place)
    assert name.isascii()
    assert "/" not in name
    assert len(folders._temporary(Path(), name).name) <= 255
    begins, found = parse_file_name(name) or ("", "")
    assert found == place
    assert begins.endswith("\u2026")
    assert item.startswith(begins[:-1])


@given(LONG, LONG)
@example("x" * 500, "x" * 501)
@example("x" * 400 + "a", "x" * 400 + "A")
def test_case_10_two_long_ids_never_share_a_file_name(one: str, other: str) -> None:
    names = [file_name(one, "PRISMA"), file_name(other, "PRISMA")]
    assert (names[0].casefold() == names[1].casefold()) == (one == other)


@pytest.mark.parametrize("item", ["x" * 226, "\u65e5" * 25 + "x"])
def test_case_10_an_id_for_which_there_is_room_is_not_shortened(item: str) -> None:
    assert "+" not in file_name(item, "PRISMA1")
    assert parse_file_name(file_name(item, "PRISMA1")) == (item, "PRISMA1")


def test_case_10_a_file_of_a_long_id_is_written_and_removed(tmp_path: Path) -> None:
    (tmp_path / "lockfile").touch()
    name = file_name("\u65e5" * 100, "PRISMA")
    publish(tmp_path, {name: b"entry"})
    assert worklist_files(tmp_path) == {name: b"entry"}
    publish(tmp_path, {})
    assert worklist_files(tmp_path) == {}


@pytest.mark.parametrize("item", ["x" * 300, "\u65e5" * 100])
def test_case_10_a_name_that_only_looks_shortened_is_somebody_else_s(item: str) -> None:
    name = file_name(item, "PRISMA")
    for other in (name.replace("-PRISMA", "x-PRISMA"), name.replace("booking-", "booking-xxx"), name.lower(),
                  name.replace("booking-", "booking-%41")[:253], "booking-7+ABC-PRISMA.wl",
                  f"booking-7+{'A' * 26}-PRISMA.wl"):  # fmt: skip
        assert parse_file_name(other) is None


def test_an_ordinary_file_name_is_the_contract_s() -> None:
    assert file_name("4711", "PRISMA") == "booking-4711-PRISMA.wl"


@pytest.mark.parametrize(
    "name",
    ["other.wl", "booking-1.wl", "booking--PRISMA.wl", "booking-1-.wl", "xbooking-1-PRISMA.wl", "booking-1-PRISMA.wl2",
     "booking-1-PRISMA.WL", "Booking-1-PRISMA.wl", "booking-%31-PRISMA.wl", "booking-a b-PRISMA.wl",
     "booking-%2f-PRISMA.wl", "booking-ä-PRISMA.wl", "booking-%FF-PRISMA.wl", "booking-\udcff-PRISMA.wl",
     "booking-1-PRISMA.wl\n", "lockfile"],
)  # fmt: skip
def test_a_name_that_we_never_make_is_not_ours(name: str) -> None:
    assert parse_file_name(name) is None


# --- one set ---


@given(
    st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2)),
    st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2)),
)
def test_compare_tells_each_name_once_and_right(present: dict[str, bytes], wanted: dict[str, bytes]) -> None:
    changes = folders.compare(present, wanted)
    assert changes.published == sorted(wanted.keys() - present.keys())
    assert changes.removed == sorted(present.keys() - wanted.keys())
    both = present.keys() & wanted.keys()
    assert changes.updated == sorted(name for name in both if present[name] != wanted[name])
    assert changes.unchanged == sorted(both - set(changes.updated))
    assert changes.after == {name: wanted[name] for name in (*changes.published, *changes.updated)}
    assert changes.before == {name: present[name] for name in (*changes.removed, *changes.updated)}


def test_the_folder_becomes_what_is_wanted(folder: Path) -> None:
    one, two, three, four, _ = NAMES
    publish(folder, {one: b"1", two: b"2", three: b"3"})
    changes = publish(folder, {two: b"2", three: b"changed", four: b"4"})
    assert worklist_files(folder) == {two: b"2", three: b"changed", four: b"4"}
    assert (changes.published, changes.updated, changes.removed, changes.unchanged) == ([four], [three], [one], [two])


def test_nothing_is_left_but_the_set_and_the_lockfile(folder: Path) -> None:
    publish(folder, dict.fromkeys(NAMES, b"1"))
    assert {path.name for path in folder.iterdir()} == {*NAMES, "lockfile"}


def test_what_has_the_same_bytes_is_not_written_again(folder: Path) -> None:
    publish(folder, {NAMES[0]: b"1", NAMES[1]: b"2"})
    before = everything(folder)
    publish(folder, {NAMES[0]: b"1", NAMES[1]: b"changed"})
    assert everything(folder)[NAMES[0]] == before[NAMES[0]]
    assert everything(folder)[NAMES[1]] != before[NAMES[1]]


def test_with_nothing_to_change_nothing_is_written(folder: Path) -> None:
    publish(folder, dict.fromkeys(NAMES, b"1"))
    before, changed = everything(folder), folder.stat().st_mtime_ns
    publish(folder, dict.fromkeys(NAMES, b"1"))
    assert (everything(folder), folder.stat().st_mtime_ns) == (before, changed)


def test_with_nothing_to_change_no_query_is_kept_out(folder: Path) -> None:
    publish(folder, {NAMES[0]: b"1"})
    with locked_by_another_process(folder):
        assert publish(folder, {NAMES[0]: b"1"}, timeout=0.1).unchanged == [NAMES[0]]


@pytest.mark.parametrize("name", ["other.wl", "booking-1.wl", "booking-%31-PRISMA.wl", "notes.txt", ".hidden.tmp"])
def test_files_of_others_are_never_touched(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"theirs")
    before = everything(folder)[name]
    publish(folder, {NAMES[0]: b"1"})
    publish(folder, {})
    assert everything(folder)[name] == before


def test_files_are_on_the_disk_before_they_are_shown_and_then_their_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened, sync, replace = [], os.fsync, os.replace

    def noting_sync(handle: int) -> None:
        happened.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def noting_replace(*paths: str | Path) -> None:
        happened.append("shown")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "replace", noting_replace)
    publish(folder, {NAMES[0]: b"1", NAMES[1]: b"2"})
    assert happened == ["file", "file", "shown", "shown", "folder"]


def test_the_lockfile_stays_the_same_file(folder: Path) -> None:
    before = (folder / "lockfile").stat()
    publish(folder, {NAMES[0]: b"1"})
    after = (folder / "lockfile").stat()
    assert (after.st_ino, after.st_mode, after.st_size) == (before.st_ino, before.st_mode, 0)


def test_a_lockfile_that_is_missing_is_made_for_the_group(folder: Path, umask: int) -> None:
    (folder / "lockfile").unlink()
    publish(folder, {NAMES[0]: b"1"})
    assert stat.S_IMODE((folder / "lockfile").stat().st_mode) == 0o660


def test_entries_are_read_by_owner_and_group_only_whatever_the_umask(folder: Path, umask: int) -> None:
    publish(folder, {NAMES[0]: b"1"})
    assert stat.S_IMODE((folder / NAMES[0]).stat().st_mode) == 0o640


@pytest.mark.parametrize("name", [NAMES[0], NAMES[4]])
def test_a_temporary_file_of_a_killed_run_is_removed(name: str, folder: Path) -> None:
    left_over = folders._temporary(folder, name)
    left_over.write_bytes(b"half")
    publish(folder, {NAMES[0]: b"whole"})
    assert not left_over.exists()
    assert worklist_files(folder) == {NAMES[0]: b"whole"}


def test_a_temporary_file_of_a_killed_run_is_removed_even_with_nothing_to_change(folder: Path) -> None:
    publish(folder, {NAMES[0]: b"1"})
    folders._temporary(folder, NAMES[1]).write_bytes(b"half")
    publish(folder, {NAMES[0]: b"1"})
    assert {path.name for path in folder.iterdir()} == {NAMES[0], "lockfile"}


def test_no_temporary_file_has_a_name_that_the_broker_reads() -> None:
    assert not folders._temporary(Path("/"), NAMES[0]).name.endswith(".wl")


# --- links and other things that were planted ---


@pytest.mark.parametrize("wanted", [{}, {NAMES[0]: b"ours"}], ids=["to be removed", "to be replaced"])
def test_a_planted_link_is_not_followed(wanted: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (folder / NAMES[0]).symlink_to(secret)
    changes = publish(folder, wanted)
    assert b"secret" not in changes.before.values()
    assert secret.read_bytes() == b"secret"
    assert not (folder / NAMES[0]).is_symlink()
    assert worklist_files(folder) == wanted


def test_a_planted_link_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    folders._temporary(folder, NAMES[0]).symlink_to(tmp_path / "elsewhere")
    publish(folder, {NAMES[0]: b"ours"})
    assert not (tmp_path / "elsewhere").exists()
    assert worklist_files(folder) == {NAMES[0]: b"ours"}


def test_a_link_that_is_planted_in_the_middle_of_a_run_is_not_written_through(folder: Path, tmp_path: Path) -> None:
    changes = folders.compare({}, {NAMES[0]: b"ours"})

    def planting(items: Sequence[str], description: str) -> Iterable[str]:
        folders._temporary(folder, NAMES[0]).symlink_to(tmp_path / "elsewhere")
        return items

    with pytest.raises(FolderError, match="File exists"), folders.one_writer(folder, 1):
        folders.apply({folder: changes}, 1, planting)
    assert not (tmp_path / "elsewhere").exists()
    assert worklist_files(folder) == {}


@pytest.mark.parametrize("there", [True, False])
def test_a_lockfile_that_is_a_link_is_refused(there: bool, folder: Path, tmp_path: Path) -> None:
    if there:
        (tmp_path / "elsewhere").touch()
    (folder / "lockfile").unlink()
    (folder / "lockfile").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="lockfile can't be opened"):
        publish(folder, {NAMES[0]: b"ours"})
    assert (tmp_path / "elsewhere").exists() == there


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_is_not_read(make: Callable[[Path], None], folder: Path) -> None:
    make(folder / NAMES[0])
    make(folder / "other.wl")
    assert folders.EntryFiles(folder) == {NAMES[0]: None}
    assert folders.read(folder, lock_timeout=1) == {}


def test_a_file_too_large_to_be_an_entry_is_not_read(folder: Path) -> None:
    for name in (NAMES[0], "other.wl"):
        (folder / name).touch()
        os.truncate(folder / name, 1 << 40)
    assert folders.EntryFiles(folder) == {NAMES[0]: None}
    assert folders.read(folder, lock_timeout=1) == {}


def test_reading_gives_what_a_query_sees(folder: Path) -> None:
    publish(folder, {NAMES[0]: b"1"})
    (folder / "other.wl").write_bytes(b"theirs")
    (folder / "notes.txt").write_bytes(b"no entry")
    assert folders.read(folder, lock_timeout=1) == {NAMES[0]: b"1", "other.wl": b"theirs"}


# --- failures ---


@pytest.mark.parametrize("call", [folders.EntryFiles, lambda folder: publish(folder, {}, 1)], ids=["read", "publish"])
def test_a_missing_folder_is_named(call: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"absent can't be .*No such file.*worklist.root"):
        call(tmp_path / "absent")


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_a_disk_that_fails_leaves_the_set_as_it_was(call: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folder, dict.fromkeys(NAMES[:4], b"before"))
    real, calls = getattr(os, call), []

    def failing(*arguments: object, **options: object) -> object:
        temporary = ".tmp" in str(arguments[0]) or call == "fsync"
        calls.extend([1] * temporary)
        if temporary and len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(FolderError, match="No space left on device"):
            publish(folder, dict.fromkeys(NAMES[1:], b"after"))
    assert worklist_files(folder) == dict.fromkeys(NAMES[:4], b"before")
    assert not list(folder.glob(".*"))


def test_a_disk_that_turns_read_only_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refused(path: str | Path, *arguments: int) -> int:
        if ".tmp" in str(path):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        patch.setattr(os, "unlink", refused)  # Linux says so even of a file that isn't there
        with pytest.raises(FolderError, match="Read-only file system"):
            publish(folder, {NAMES[0]: b"ours"})
    assert worklist_files(folder) == {}


def test_a_folder_that_can_not_be_written_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FolderError, match="WLBROKER can't be written: No space left on device"):
        folders.check_writable(folder, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["lockfile"]


def test_what_can_not_be_replaced_leaves_the_set_as_it_was(folder: Path) -> None:
    publish(folder, dict.fromkeys(NAMES[:3], b"before"))
    (folder / NAMES[4]).mkdir()
    with pytest.raises(FolderError, match=r"WLBROKER can't be written: Is a directory \(booking-5-PRISMA.wl\)"):
        publish(folder, dict.fromkeys(NAMES, b"after"))
    assert {name: (folder / name).read_bytes() for name in NAMES[:3]} == dict.fromkeys(NAMES[:3], b"before")
    assert not (folder / NAMES[3]).exists()


# --- locks ---


@pytest.mark.parametrize("kind", [fcntl.LOCK_SH, fcntl.LOCK_EX], ids=["a query", "a writer"])
def test_the_lock_is_waited_for_no_longer_than_the_timeout(kind: int, folder: Path) -> None:
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


def test_a_flock_that_another_holds_is_no_lock_of_the_broker(folder: Path) -> None:
    with (folder / "lockfile").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor() as pool, locked_by_another_process(folder, fcntl.LOCK_SH):
            run = pool.submit(publish, folder, {NAMES[0]: b"1"}, timeout=5)
            time.sleep(0.3)
            assert not run.done()
        run.result()
    assert worklist_files(folder) == {NAMES[0]: b"1"}


def test_reading_waits_for_a_writer_no_longer_than_the_timeout(folder: Path) -> None:
    with locked_by_another_process(folder), pytest.raises(FolderError, match="lock_timeout"):
        folders.read(folder, lock_timeout=0.1)


def test_two_queries_do_not_wait_for_each_other(folder: Path) -> None:
    with locked_by_another_process(folder, fcntl.LOCK_SH):
        assert folders.read(folder, lock_timeout=0.1) == {}


def test_another_run_is_waited_for_no_longer_than_the_timeout(folder: Path) -> None:
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


def test_a_folder_that_can_be_published_to_is_told(folder: Path) -> None:
    before = everything(folder)
    folders.check_writable(folder, 1)
    assert everything(folder) == before


def test_no_thread_takes_a_signal_that_is_kept_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that still ends when the set is put in place would let the signal end the run."""
    real, masks = folders._sync, []

    def sync(path: Path) -> None:
        if path.suffix == ".tmp":
            masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        real(path)

    monkeypatch.setattr(folders, "_sync", sync)
    publish(folder, dict.fromkeys(NAMES, b"new"))
    assert len(masks) == len(NAMES)
    assert all({signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= mask for mask in masks)


_INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from dicom_worklist.worklist import folder as folders
path, replace = Path(sys.argv[1]), Path.replace
def interrupted(self, target):
    os.kill(os.getpid(), signal.SIGTERM)
    return replace(self, target)
Path.replace = interrupted
with folders.one_writer(path, 5):
    changes = folders.compare(folders.EntryFiles(path), {"booking-1-A.wl": b"new", "booking-2-A.wl": b"new"})
    folders.apply({path: changes}, 5, lambda items, _: items)
"""


def test_a_run_that_is_interrupted_while_it_puts_the_set_in_place_finishes_that(folder: Path) -> None:
    publish(folder, {"booking-1-A.wl": b"old", "booking-2-A.wl": b"old"})
    with start("-c", _INTERRUPTED, folder) as run:
        assert run.wait(timeout=30) != 0
    assert set(worklist_files(folder).values()) == {b"new"}


def test_an_undo_that_can_not_write_still_takes_new_entries_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folder, {NAMES[0]: b"old"})
    replace = Path.replace

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    def replace_two(self: Path, target: Path) -> Path:
        if target.name == NAMES[2]:
            monkeypatch.setattr(folders, "_write", full)
            full(target, b"")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_two)
    with pytest.raises(FolderError, match="No space left"):
        publish(folder, dict.fromkeys(NAMES[:3], b"new"))
    assert worklist_files(folder) == {NAMES[0]: b"new"}
