"""The folder that the broker reads: one set, put in place as one, and files of others never touched."""

import errno
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.errors import FolderError
from dicom_worklist.worklist import folder as folders
from support.command import start
from support.worklist_folder import NAMES, everything, locked_by_another_process, publish, worklist_files


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# --- one set ---


@given(
    st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2)),
    st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2)),
)
def test_compare_returns_each_name_once(present: dict[str, bytes], wanted: dict[str, bytes]) -> None:
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


def test_with_nothing_to_change_no_query_waits(folder: Path) -> None:
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
def test_only_regular_files_are_read(make: Callable[[Path], None], folder: Path) -> None:
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


def test_a_disk_that_turns_read_only_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_folder_that_can_not_be_written_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --- the check, and runs that are interrupted ---


def test_a_folder_that_can_be_published_to_passes_its_check(folder: Path) -> None:
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
