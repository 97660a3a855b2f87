"""Why a file could not be read or written, and what to do about it: chosen by the error, in this one place."""

import errno
import sqlite3
from pathlib import Path

import msgspec

FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM}
READ_ONLY = {errno.EROFS}
#: SQLite's own primary codes, the lowest byte of its extended ones.
SQLITE_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH}
SQLITE_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
OWNER = "site.yml corrects its owner and mode"
STAY = "Move nothing away"


def reason(error: BaseException) -> str:
    """Return what went wrong, as people read it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def remedy(error: BaseException, path: Path, *, denied: str = OWNER, damaged: str = "") -> str:
    """Return what to do about it; `path` is the file or the folder that was used.

    `denied` is what to do where the file belongs to somebody else, `damaged` where SQLite can't understand it.
    """
    number = error.errno if isinstance(error, OSError) else None
    code = _code(error)
    folder = _folder(path)
    choices = (
        (
            number in FULL or code == sqlite3.SQLITE_FULL,
            f"The disk is full: see `df -h {folder}`, and make room; the next run puts it right. {STAY}",
        ),
        (number in READ_ONLY, f"The file system of {folder} is mounted read-only: the kernel's log says why. {STAY}"),
        (
            number == errno.EIO or code == sqlite3.SQLITE_IOERR,
            f"The disk gives errors, or is full: see `df -h {folder}` and the kernel's log. {STAY}",
        ),
        (number in DENIED or code in SQLITE_DENIED, denied),
        (code in SQLITE_LOCKED, "another run holds it; the next run writes it"),
        (number == errno.ENOENT, f"the folder {_missing(error, path)} must exist: site.yml makes it"),
        (damaged and _damaged(error), damaged),
    )
    return next((todo for fits, todo in choices if fits), "the next run tries again")


def _damaged(error: BaseException) -> bool:
    """Return whether the file itself is wrong: another program's, cut off, or a folder or a link in its place."""
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.DatabaseError) and (
            not isinstance(error, sqlite3.OperationalError) or _code(error) in {None, sqlite3.SQLITE_ERROR}
        )
    if isinstance(error, OSError):
        return error.errno in {errno.EISDIR, errno.ENOTDIR, errno.ELOOP}
    return isinstance(error, msgspec.MsgspecError | ValueError)


def _code(error: BaseException) -> int | None:
    """Return SQLite's primary code of an error; None: it has none."""
    if not isinstance(error, sqlite3.Error):
        return None
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return int(code) & 0xFF
    return sqlite3.SQLITE_FULL if "is full" in str(error) else None


def _missing(error: BaseException, path: Path) -> Path:
    """Return the folder that isn't there."""
    name = error.filename if isinstance(error, OSError) else None
    return Path(name).parent if isinstance(name, str) else path.parent


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
