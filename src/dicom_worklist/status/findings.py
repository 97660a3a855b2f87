"""What the last runs found: a file beside the log, so that page, terminal and the next run know it."""

from datetime import date, datetime
from pathlib import Path

import msgspec

from dicom_worklist import files
from dicom_worklist.status.backups import Backup
from dicom_worklist.status.oddities import Oddity
from dicom_worklist.status.records import BookingRecord, DiskSpace, Look, Refused, Study, Version
from dicom_worklist.status.updates import Updates

#: Why there is nothing to show.
NO_RECORD = (
    "there is no section status, so this configuration keeps no record: add status: {state: state.json}, and let a run "
    "write it"
)


class Emptied(msgspec.Struct, frozen=True, kw_only=True):
    """A scanner of which the calendar had `count` bookings on a day, and since `since` (UTC) has none."""

    ae_title: str
    day: date
    count: int
    since: datetime


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What runs found. The times are in UTC.

    `bookings` are those of yesterday, today and tomorrow at the last good run, which ended at `good`; `past` is what
    they were before, and those that have ended; `studies` are those that the PACS had when it last answered, at
    `asked`. `labs` without a scanner and `statuses` that don't count have each the number of their rows in these days;
    `leftovers` are files that scanners are shown and that no run wrote; `doubles` are warnings of bookings that
    contradict each other; `refused` is what the PACS refused to scanners, and `disk` how much room its disk had on each
    day. `began` and `seconds` are of the last run, good or not, and so are `failure` (why it did not publish),
    `pacs_failure`, and `failures` of what else it could not do.
    `said` are the rejections and warnings of the last good run, and `made` is when what the calendar gave it was made,
    as far as that is known. `updates` is what the PACS's host, where it is another, said last of its images,
    and `backup` what it said of its backup. `looks` says how the images of each series look, by Orthanc's name for it,
    and `hints` what may be missing, by that for the study.
    """

    bookings: tuple[BookingRecord, ...] = ()
    past: tuple[Version, ...] = ()
    studies: tuple[Study, ...] = ()
    good: datetime | None = None
    asked: datetime | None = None
    began: datetime | None = None
    seconds: float = 0
    failure: str = ""
    pacs_failure: str = ""
    failures: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    labs: dict[str, int] = {}
    statuses: dict[str, int] = {}
    leftovers: tuple[str, ...] = ()
    doubles: tuple[str, ...] = ()
    emptied: tuple[Emptied, ...] = ()
    made: datetime | None = None
    refused: tuple[Refused, ...] = ()
    disk: tuple[DiskSpace, ...] = ()
    updates: Updates | None = None
    backup: Backup | None = None
    looks: dict[str, Look] = {}
    hints: dict[str, tuple[Oddity, ...]] = {}

    @property
    def remarks(self) -> list[str]:
        """What the last run had to remark, as lines of the log; after one that failed, what is still so."""
        unknown = [f"what arrived is not known: {self.pacs_failure}"] if self.pacs_failure else []
        failures = [f"warning: {failure}" for failure in (*unknown, *self.failures)]
        return [*self.said, *([self.failure] if self.failure else []), *failures]


def load(path: str) -> Findings:
    """Return what the last run wrote; nothing, if there was no run or its file is damaged.

    Raises:
        OSError: the file is there and can't be read.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Findings)
    except (FileNotFoundError, msgspec.DecodeError):
        return Findings()


def save(path: str, found: Findings) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    files.replace(Path(path), msgspec.json.encode(found), 0o640)
