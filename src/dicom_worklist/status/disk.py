"""When the PACS's disk will be full, at the rate of the last weeks."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from statistics import median

from dicom_worklist.status.records import DiskSpace, FullDisk

#: Of so long a time one measure a day is kept, the last one.
KEPT_FOR = timedelta(days=28)
#: Less says nothing about a rate; a weekend alone would be two days of it.
AT_LEAST = timedelta(days=3)
#: What was measured longer ago says nothing of today.
NEW = timedelta(days=1)
#: Two measures that are nearer, such as those around midnight, say nothing about a day.
APART = timedelta(hours=12)
#: With less of the disk than this it is full: Orthanc needs room for its index, too.
NEARLY_NONE = 0.01
#: What is further away than this is not foreseen.
FURTHEST = timedelta(days=3650)


def added(measures: Iterable[DiskSpace], new: DiskSpace | None) -> tuple[DiskSpace, ...]:
    """Return the measures with a new one: one of each day (UTC), of the last weeks, the oldest first."""
    if new is None:
        return tuple(measures)
    days = {one.at.astimezone(UTC).date(): one for one in measures if new.at - KEPT_FOR <= one.at <= new.at}
    return tuple({**days, new.at.astimezone(UTC).date(): new}.values())


def full(measures: Sequence[DiskSpace]) -> FullDisk | None:
    """Return when the disk will be full; None: it isn't filling, or too little is known.

    The rate is the median of the rates between any two measures (Theil and Sen), so neither a study that was deleted
    nor one that was fetched back counts for more than its day. What is used counts, not what is free: the disk may
    have been made larger.
    """
    if not measures or measures[-1].at - measures[0].at < AT_LEAST:
        return None
    rates = [
        (later.used - earlier.used) / ((later.at - earlier.at) / timedelta(days=1))
        for earlier, later in combinations(measures, 2)
        if later.at - earlier.at >= APART
    ]
    last, rate = measures[-1], median(rates)
    if rate <= 0 or last.free > rate * (FURTHEST / timedelta(days=1)):
        return None
    when = last.at + timedelta(days=last.free / rate)
    return FullDisk(at=when, free=last.free, size=last.size, daily=round(rate))


def foreseen(measures: Sequence[DiskSpace], now: datetime) -> FullDisk | None:
    """Return when the disk will be full, if it was measured within a day of `now`, an aware time."""
    return full(measures) if fresh(measures, now) else None


def fresh(measures: Sequence[DiskSpace], now: datetime) -> DiskSpace | None:
    """Return the last measure, if it is not older than a day."""
    return measures[-1] if measures and now - measures[-1].at <= NEW else None


def text(disk: FullDisk, now: datetime) -> str:
    """Return when it will be full; `now` is aware."""
    days = max(0, (disk.at - now) // timedelta(days=1))
    within = "in less than a day" if days == 0 else "in a day" if days == 1 else f"in {days} days"
    return (
        f"The PACS's disk will be full {within}, on {disk.at.astimezone(now.tzinfo):%Y-%m-%d}, at the rate of the last "
        f"weeks: {amount(disk.free)} of {amount(disk.size)} are free, and {amount(disk.daily)} come a day."
    )


def amount(size: float) -> str:
    """Return a number of bytes as people write it."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
