"""Writing a file so that every reader finds the old one or the new one, whole."""

import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, content: bytes, mode: int) -> None:
    """Put a file in place of another; it is the folder's owner's and group's. One writer at a time may do so.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)  # of a run that was killed, or planted
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            folder = path.parent.stat()
            if os.geteuid() == 0:  # a run of root's leaves nothing that the cron job's can't read
                os.fchown(handle, folder.st_uid, folder.st_gid)
            os.fchmod(handle, mode)
            file.write(content)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
