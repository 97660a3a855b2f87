"""What is in a worklist folder, what is put there, and its lock."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_worklist.worklist import folder as folders
from support.command import start


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
