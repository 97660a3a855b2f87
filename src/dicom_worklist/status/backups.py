"""What the backups of the site's hosts did last, as a job of root's wrote it down on each."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec

#: A good one may be so old, and the first one may take so long to come; one is made each night.
EACH = timedelta(days=2)
FIRST = timedelta(days=1)
#: The last check of them may be so old; one is made each Sunday.
CHECKED_EACH = timedelta(days=9)
_JOURNAL = "More is in that host's `journalctl -t dicom-backup`, and in docs/backup.md."

#: Another host may say anything.
Text = Annotated[str, msgspec.Meta(max_length=1000)]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]
LARGEST = 1 << 16


class Ran(msgspec.Struct, frozen=True):
    """A backup, or a check of them: when it ended and whether it was good, else why not and what to do.

    `good` is when the last good one ended, and `missing` how many files of the index were not there.
    """

    ended: Aware
    ok: bool
    failure: Text = ""
    good: Aware | None = None
    missing: int = 0


class Backup(msgspec.Struct, frozen=True):
    """The last backup (`run`) of a host and their last check; it has saved itself `since`."""

    host: Text
    since: Aware
    run: Ran | None = None
    check: Ran | None = None

    @property
    def good(self) -> datetime | None:
        """When the last good backup ended."""
        return self.run.good if self.run else None


def checked(answer: Any, now: datetime) -> Backup | None:
    """Return what another host's answer, read from JSON, says; None: it makes no sense at `now`, an aware time."""
    try:
        found = msgspec.convert(answer, Backup)
    except msgspec.ValidationError:
        return None
    return found if max(found.since, found.good or found.since) <= now else None


def written(path: str) -> Backup | None:
    """Return what is written there; None: nothing that can be read."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Backup)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def local(backup: Backup, zone: ZoneInfo) -> Backup:
    """Return it with its times in a time zone."""

    def moved(ran: Ran | None) -> Ran | None:
        return ran and msgspec.structs.replace(
            ran, ended=ran.ended.astimezone(zone), good=ran.good and ran.good.astimezone(zone)
        )

    return Backup(backup.host, backup.since.astimezone(zone), moved(backup.run), moved(backup.check))


def age(backup: Backup, now: datetime) -> timedelta | None:
    """Return how long ago the last good one ended, not by the clock on the wall; None: there is none."""
    return now.astimezone(UTC) - backup.good.astimezone(UTC) if backup.good else None


def problems(backup: Backup, now: datetime) -> Iterable[tuple[str, str]]:
    """Return what is wrong with it at `now` (aware), and what to do about it."""
    run, check, old = backup.run, backup.check, age(backup, now)
    last = f"The last good one ended {backup.good:%Y-%m-%d %H:%M}." if backup.good else "There is no good one yet."
    silent = f"See on {backup.host} whether cron runs, and `journalctl -t dicom-backup`: docs/backup.md."
    if run and not run.ok:
        yield f"The backup of {backup.host} failed, {run.ended:%Y-%m-%d %H:%M}{_why(run)} {last}", _JOURNAL
    elif old is not None and old > EACH:
        yield f"{backup.host} has not been saved for more than {old.days} days. {last}", silent
    elif old is None and now - backup.since > FIRST:
        yield f"{backup.host} has never been saved, and should have been since {backup.since:%Y-%m-%d %H:%M}.", silent
    looked = check.ended if check else backup.since
    if now - looked > CHECKED_EACH:
        unchecked = f"have not been checked since {looked:%Y-%m-%d %H:%M}" if check else "have never been checked"
        yield f"The backups of {backup.host} {unchecked}. They should be each Sunday.", silent
    if check and not check.ok:
        yield f"The check of the backups of {backup.host} failed, {check.ended:%Y-%m-%d %H:%M}{_why(check)}", _JOURNAL
    if run and run.missing:
        many = "1 file that Orthanc's index names was" if run.missing == 1 else (
            f"{run.missing} files that Orthanc's index names were"
        )  # fmt: skip
        remedy = "If nobody deleted studies in that hour, its disk loses files: docs/backup.md."
        yield f"{many} not there when {backup.host} was saved, {run.ended:%Y-%m-%d %H:%M}.", remedy


def _why(ran: Ran) -> str:
    return f": {ran.failure.removesuffix('.')}." if ran.failure else "."
