"""What the last runs found: a file beside the log, so that page, terminal and the next run know it."""

from datetime import datetime
from pathlib import Path

import msgspec

from dicom_worklist import files
from dicom_worklist.reconcile import Booked, Study


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What runs found. The times are in UTC.

    `bookings` are those of yesterday, today and tomorrow at the last good run, which ended at `good`; `studies` those
    that the PACS had when it last answered, at `asked`. `began` and `seconds` are of the last run, good or not, and so
    are `failure` (why it did not publish), `pacs_failure` and `failures` of what else it could not do.
    """

    bookings: tuple[Booked, ...] = ()
    studies: tuple[Study, ...] = ()
    good: datetime | None = None
    asked: datetime | None = None
    began: datetime | None = None
    seconds: float = 0
    failure: str = ""
    pacs_failure: str = ""
    failures: tuple[str, ...] = ()


def load(path: str) -> Found:
    """Return what the last run wrote; nothing, if there was none or its file is no such thing.

    Raises:
        OSError: the file is there and can't be read.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Found)
    except (FileNotFoundError, msgspec.DecodeError):
        return Found()


def save(path: str, found: Found) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    files.replace(Path(path), msgspec.json.encode(found), 0o640)
