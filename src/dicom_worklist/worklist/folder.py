"""A folder of files that a broker serves: compared, published, removed, always as one set.

The broker takes a shared `fcntl` lock on `lockfile` while it answers a query; nothing that ends in
`.wl` changes here but under the exclusive one. A writer that waits for it holds the `flock` of the same file, which
our broker's next queries ask for first. Files not named by `file_name` belong to someone else and are never touched.
"""

import fcntl
import os
import re
import signal
import time
from base64 import b32encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from urllib.parse import quote, unquote, unquote_to_bytes

from dicom_worklist.errors import FolderError

LOCKFILE = "lockfile"
#: How often a lock that another holds is tried again, in seconds.
LOCK_INTERVAL = 0.0002
#: For how long a writer that waits keeps new queries back, and then lets them pass, in seconds: those that have begun
#: may be slow, and one that hangs must not keep back the others for good.
LOCK_CLOSED, LOCK_OPEN = 10.0, 1.0
#: How many files are synced at a time.
SYNCS = 8
#: The signals that end a run.
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
#: No entry has as many bytes.
LARGEST = 1 << 24
#: The most bytes of a name: 255 are a file system's, and the temporary of a file has two more than the file.
LONGEST_NAME = 253
_NAME = re.compile(r"booking-(?P<item>.+?)(?P<digest>\+[A-Z2-7]{26})?-(?P<place>[^-]+)\.wl")

#: Goes over a sequence and may show how far it has come; the text says what is being done.
Progress = Callable[[Sequence[str], str], Iterable[str]]


@dataclass
class Changes:
    """Names of files, sorted: what a publication does, or would do, to a folder.

    `before` and `after` have the content of what was updated, removed and published.
    """

    published: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)


def file_name(item: str, place: str) -> str:
    """Return the file's name; different pairs have different names.

    An item that is too long for one keeps its beginning, and has a `+`, which no other has, and a digest behind it.
    """
    quoted = quote(item, safe="")
    name = _name(quoted, place)
    if len(name) <= LONGEST_NAME:
        return name
    digest = f"+{b32encode(sha256(item.encode()).digest()[:16]).decode()[:26]}"
    return _name(re.sub("%[0-9A-F]?$", "", quoted[: _room(digest, place)]) + digest, place)


def parse_file_name(name: str) -> tuple[str, str] | None:
    """Return what `file_name` was given, with `…` where an item was too long; None for a name that it doesn't make."""
    match = _NAME.fullmatch(name)
    if match is None or not name.isascii():
        return None
    item, digest, place = match["item"], match["digest"], unquote(match["place"])
    if digest is None:
        return (unquote(item), place) if file_name(unquote(item), place) == name else None
    cut = _room(digest, place) - len(item)  # up to two characters more, where an escape would have been cut
    ours = 0 <= cut <= 2 and quote(unquote_to_bytes(item), safe="") == item and _name(item + digest, place) == name
    return (f"{unquote(item, errors='ignore')}…", place) if ours else None


def _name(quoted: str, place: str) -> str:
    return f"booking-{quoted}-{quote(place, safe='').replace('-', '%2D')}.wl"


def _room(digest: str, place: str) -> int:
    """Return how many characters of a quoted item a name with this digest can have."""
    return LONGEST_NAME - len(_name(digest, place))


@contextmanager
def one_writer(folder: Path, timeout: float) -> Iterator[None]:
    """Keep other writers out of the folder, waiting at most `timeout` seconds; queries go on.

    Raises:
        FolderError: the folder can't be opened, or another run holds it.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _failure(folder, "opened", error) from error
    try:
        _wait(
            lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB),
            timeout,
            f"another run, or check, writes {folder}",
        )
        yield
    finally:
        os.close(handle)


class EntryFiles(Mapping[str, bytes | None]):
    """Name → content of our files in a folder, each read when it is asked for.

    The content of what isn't a regular file, or is too large for an entry, is None.

    Raises:
        FolderError: the folder can't be read.
    """

    def __init__(self, folder: Path) -> None:
        """List the folder."""
        self._folder = folder
        try:
            self._names = dict.fromkeys(name for name in _names(folder) if parse_file_name(name))
        except OSError as error:
            raise _failure(folder, "read", error) from error

    def __getitem__(self, name: str) -> bytes | None:
        """Read a file."""
        return _content(self._folder / name) if name in self._names else self._names[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a file; it isn't read."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Go over the names, in their order."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)


def others(root: Path, folders: Iterable[Path]) -> list[str]:
    """Return what the broker shows and `file_name` didn't name, and what is in worklists that no scanner has now.

    Each is a path below `root`, the folder of all worklists.
    """
    ours = {folder.name for folder in folders}
    found: list[str] = []
    with suppress(OSError):  # a folder that can't be read is named elsewhere
        for place in sorted(path for path in root.iterdir() if path.is_dir()):
            with suppress(OSError):
                names = (name for name in _names(place) if place.name not in ours or not parse_file_name(name))
                found += [f"{place.name}/{name}" for name in names]
    return found


def compare(present: Mapping[str, bytes | None], wanted: Mapping[str, bytes | None]) -> Changes:
    """Return what makes our files equal to `wanted`: name → content, or None for one that stays as it is."""
    changes = Changes()
    for name in sorted({*present, *wanted}):
        new = wanted.get(name)
        if new is None and name in wanted:
            changes.unchanged.append(name)
            continue
        old = present.get(name)
        if new is None:
            changes.removed.append(name)
        elif name not in present:
            changes.published.append(name)
        elif old == new:
            changes.unchanged.append(name)
            continue
        else:
            changes.updated.append(name)
        if old is not None:
            changes.before[name] = old
        if new is not None:
            changes.after[name] = new
    return changes


def apply(pending: Mapping[Path, Changes], lock_timeout: float, track: Progress) -> None:
    """Carry the changes of all these folders out as one; call it within `one_writer` of each.

    New content is written and synced beside the old; then, while no query runs, all of it is put in
    place. With nothing to change nothing is written.

    Raises:
        FolderError: a folder can't be written or locked; what they held is still there.
    """
    changed = {folder: changes for folder, changes in sorted(pending.items()) if changes.after or changes.removed}
    folder = Path()
    try:
        for folder in pending:
            _remove_leftovers(folder)
        for folder, changes in changed.items():
            for name in track(list(changes.after), f"Writing to {folder.name}"):
                _write(_temporary(folder, name), changes.after[name])
        for folder, changes in changed.items():
            _sync_all(folder, list(changes.after))
        with ExitStack() as locks:
            for folder in changed:
                locks.enter_context(_locked(folder, fcntl.LOCK_EX, lock_timeout))
            with _uninterrupted():
                _commit(changed)
    except OSError as error:
        raise _failure(folder, "written", error) from error
    finally:
        for folder, changes in changed.items():
            for name in changes.after:
                with suppress(OSError):  # most are in place by now; the next run removes what is left
                    _temporary(folder, name).unlink()


def read(folder: Path, *, lock_timeout: float) -> dict[str, bytes]:
    """Return name → content of every file that the broker reads, foreign ones too, as one query sees them.

    Raises:
        FolderError: the folder can't be read or locked.
    """
    try:
        with _locked(folder, fcntl.LOCK_SH, lock_timeout):
            return {name: content for name in _names(folder) if (content := _content(folder / name)) is not None}
    except OSError as error:
        raise _failure(folder, "read", error) from error


def check_writable(folder: Path, lock_timeout: float) -> None:
    """Check that this user can publish here: write a file that no query reads, lock, and remove it again.

    Raises:
        FolderError: it can't; the message says why.
    """
    probe = _temporary(folder, file_name("check", folder.name))
    try:
        with one_writer(folder, lock_timeout):
            _remove_leftovers(folder)
            try:
                _write(probe, bytes(1 << 12))
                _sync(probe)
                with _locked(folder, fcntl.LOCK_EX, lock_timeout):
                    pass
            finally:
                probe.unlink(missing_ok=True)
    except OSError as error:
        raise _failure(folder, "written", error) from error


def _commit(changed: Mapping[Path, Changes]) -> None:
    try:
        for folder, changes in changed.items():
            for name in changes.after:
                _temporary(folder, name).replace(folder / name)
            for name in changes.removed:
                (folder / name).unlink(missing_ok=True)
    except OSError:
        for folder, changes in changed.items():
            _put_back(folder, changes)
        raise
    finally:
        for folder in changed:
            _sync(folder)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep a signal that ends the run waiting; what happens meanwhile is short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _put_back(folder: Path, changes: Changes) -> None:
    """Undo what `_commit` had done when it failed, as far as the disk allows: what needs no space first."""
    for name in changes.published:
        with suppress(OSError):
            (folder / name).unlink()
    for name, content in changes.before.items():
        with suppress(OSError):
            if _content(folder / name) != content:
                _temporary(folder, name).unlink(missing_ok=True)
                _write(_temporary(folder, name), content)
                _temporary(folder, name).replace(folder / name)


def _temporary(folder: Path, name: str) -> Path:
    """Return a path that no query reads; one writer at a time needs no more than this."""
    return folder / f".{name.removesuffix('.wl')}.tmp"


def _remove_leftovers(folder: Path) -> None:
    for name in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
        if name.startswith(".") and name.endswith(".tmp") and parse_file_name(f"{name[1:-4]}.wl"):
            (folder / name).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o640)  # not the umask's: the broker reads it as the group, others don't
        file.write(content)


def _sync_all(folder: Path, names: Sequence[str]) -> None:
    """Have all of these temporaries on the disk; side by side, as the disk then takes many at once."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a run with nothing to write needs none

    def sync(names: Sequence[str]) -> None:
        for name in names:
            _sync(_temporary(folder, name))

    # a thread takes until after its end to be gone, and would take a signal that `_uninterrupted` keeps waiting
    with ThreadPoolExecutor(SYNCS, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, ENDING)) as pool:
        for _ in pool.map(sync, [names[at::SYNCS] for at in range(min(SYNCS, len(names)))]):
            pass


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _names(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".wl"))  # noqa: PTH208


def _content(path: Path) -> bytes | None:
    """Return a regular file's content; None for what can be no entry, such as a link that was planted."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(handle)
    if not S_ISREG(status.st_mode) or status.st_size > LARGEST:
        os.close(handle)
        return None
    with os.fdopen(handle, "rb") as file:
        return file.read()


@contextmanager
def _locked(folder: Path, kind: int, timeout: float) -> Iterator[None]:
    path = folder / LOCKFILE
    try:
        handle = _open_lockfile(path)
    except OSError as error:
        raise _failure(path, "opened", error) from error
    try:
        queries = f"queries, or another program, hold {path}"
        began = time.monotonic()

        def take() -> None:
            # queries that overlap without end never leave the file; our broker's new ones wait while its flock is held
            if kind == fcntl.LOCK_EX and (waited := time.monotonic() - began) > LOCK_INTERVAL:
                closed = waited % (LOCK_CLOSED + LOCK_OPEN) < LOCK_CLOSED
                with suppress(BlockingIOError):  # another may hold it; the lock that matters may be free
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if closed else fcntl.LOCK_UN)
            # lockf, because flock doesn't interlock with the broker's fcntl lock
            fcntl.lockf(handle, kind | fcntl.LOCK_NB)

        _wait(take, timeout, queries)
        yield
    finally:
        os.close(handle)


def _open_lockfile(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # a broker in a container still has the old one: it would not see the lock, and no query would work
        if _names(path.parent):
            raise
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        os.fchmod(handle, 0o660)
        return handle


def _wait(take: Callable[[], None], timeout: float, holder: str) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            return take()
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise FolderError(
                    f"{holder}, for longer than worklist.lock_timeout ({timeout:g} s); nothing was changed. "
                    "Find the holder with `lslocks`, and run the sync again"
                ) from None
        time.sleep(LOCK_INTERVAL)


def _failure(path: Path, what: str, error: OSError) -> FolderError:
    name = Path(error.filename2 or error.filename or path).name
    at = "" if name == path.name else f" ({name})"
    return FolderError(
        f"{path} can't be {what}: {error.strerror}{at}. Check worklist.root, that the folder and its lockfile are "
        "there and belong to the broker's group (site.yml makes them), and the space on its disk"
    )
