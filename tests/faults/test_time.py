"""What the clock may do: midnights, changes of the clock in three time zones, a clock that is set while the sync runs.

The clock is libfaketime's, in the real command; it leaves alone the one that only runs forward, as a kernel does.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from support.calendar import Calendar
from support.command import environment
from support.configuration import Configure
from support.tally import Tally
from support.waiting import wait_until
from support.worklist_folder import entries, locked_by_another_process, worklist_files

Often = Callable[[int, int], int]
#: The command; libfaketime spoils `clock_nanosleep` until a moment of the other clock, with which Python sleeps.
COMMAND = """
import runpy, select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
runpy.run_module("dicom_worklist", run_name="__main__")
"""


@dataclass(frozen=True)
class Change:
    """A change of the clock in 2026: when, and how far the zone is before UTC until then and from then on, in hours."""

    zone: str
    at: datetime
    before: float
    after: float

    def local(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=None) + timedelta(hours=self.before if moment < self.at else self.after)

    @property
    def day(self) -> date:
        return self.local(self.at).date()

    def moments(self) -> list[datetime]:
        """The seconds before and after the day's two midnights and the change."""
        midnight = datetime.combine(self.day, datetime.min.time(), UTC)
        first = midnight - timedelta(hours=self.before)
        end = midnight + timedelta(days=1) - timedelta(hours=self.after)
        return [edge + timedelta(seconds=second) for edge in (first, self.at, end) for second in (-1, 0)]


#: They skip 02:00 to 03:00 (Lord Howe: 02:00 to 02:30), or have 02:00 to 03:00 (01:00 to 02:00; 01:30 to 02:00) twice.
CHANGES = [
    Change("Europe/Amsterdam", datetime(2026, 3, 29, 1, tzinfo=UTC), 1, 2),
    Change("Europe/Amsterdam", datetime(2026, 10, 25, 1, tzinfo=UTC), 2, 1),
    Change("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), -5, -4),
    Change("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC), -4, -5),
    Change("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), 11, 10.5),
    Change("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC), 10.5, 11),
]
#: Time zones of the host, which must not matter; the last two are not zones. The first two never have the same day.
HOSTS = "Pacific/Kiritimati Pacific/Pago_Pago UTC America/New_York EST5EDT Nowhere/Such :/dev/null".split()
TIMES = "00:00:00 00:00:01 01:30:00 01:59:59 02:00:00 02:15:00 02:30:00 03:00:00 23:59:00 23:59:59".split()


@dataclass(frozen=True)
class Site:
    """A calendar, its worklist, and a clock: a file that libfaketime reads whenever the sync looks at the clock."""

    calendar: Calendar
    configure: Configure
    folder: Path
    clock: Path

    def book(self, days: list[date]) -> None:
        """Book each of TIMES on each of these days."""
        for day in days:
            for at in TIMES:
                self.calendar.book(f"{day:%m%d}-{at}", f"{day:%d}-1", day=day, time=at)

    def shown(self) -> list[tuple[str, str]]:
        """Return the date and time of each entry."""
        steps = [entry.ScheduledProcedureStepSequence[0] for entry in entries(self.folder).values()]
        return sorted((step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) for step in steps)

    def set(self, moment: datetime) -> None:
        """Stop the clock at a moment."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{moment.timestamp():.0f}\n")
        fresh.replace(self.clock)

    def start(self, config: Path, moment: datetime, zone: str = "UTC") -> subprocess.Popen[str]:
        """Start the sync at a moment, on a host of this time zone."""
        self.set(moment)
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
        faked = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_FMT": "%s",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": zone,
        }
        line = [sys.executable, "-c", COMMAND, "sync", "-c", str(config), "--json"]
        return subprocess.Popen(
            line, env=environment() | faked, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def sync(self, config: Path, moment: datetime, zone: str = "UTC") -> date | None:
        return said(self.start(config, moment, zone))

    def wait_for_lock(self) -> None:
        """Wait until the run beside has written everything and wants to put it in place."""

        def written() -> None:
            assert len(list(self.folder.glob(".booking-*.tmp"))) == len(TIMES)

        wait_until(written)
        time.sleep(0.2)


def said(process: subprocess.Popen[str]) -> date | None:
    """Return the day that the sync says it is; None if it failed."""
    out, _ = process.communicate(timeout=60)
    return date.fromisoformat(json.loads(out)["day"]) if process.returncode == 0 else None


def expected(here: datetime, moment: datetime | None = None, zone: str = "Europe/Amsterdam") -> list[tuple[str, str]]:
    """Return what is shown at a time at the site: that day's entries, and who may be in the scanner since yesterday.

    A session that the calendar gives no end lasts an hour by the clock on the wall. Its entry stays for another hour,
    even if that clock changes; `moment` is the time in UTC where that is changed.
    """
    there = moment or here.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    midnight = datetime.combine(here, datetime.min.time())
    starts = [
        datetime.combine(here.date() - timedelta(days=days), datetime.strptime(at, "%H:%M:%S").time())  # noqa: DTZ007
        for at in TIMES
        for days in (0, 1)
    ]
    hour = timedelta(hours=1)
    ends = {start: (start + hour).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for start in starts}
    shown = [start for start in starts if start >= midnight or ends[start] + hour > there]
    return sorted((f"{start:%Y%m%d}", f"{start:%H%M%S}") for start in shown)


@pytest.fixture
def site(calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path) -> Site:
    return Site(calendar, configure, folder, tmp_path / "clock")


@pytest.mark.parametrize("zone", sorted({change.zone for change in CHANGES}))
def test_midnights_and_changes_of_the_clock(zone: str, site: Site, tally: Tally, often: Often) -> None:
    """The day is the site's, and an entry says what was typed, in an hour that isn't there or is there twice, too."""
    config = site.configure({"site.timezone": zone})
    changes = [change for change in CHANGES if change.zone == zone]
    for change in changes:
        site.book([change.day + timedelta(days=days) for days in (-1, 0, 1)])
    moments = [(change, moment) for change in changes for moment in change.moments()]
    for change, moment in random.Random(3).sample(moments, often(1, len(moments))):
        here = change.local(moment)
        for host in HOSTS[: often(2, len(HOSTS))]:
            tally.tried += 1
            tally.failed += site.sync(config, moment, host) != here.date()
            tally.wrong += site.shown() != expected(here, moment, zone)


def test_a_clock_that_is_set_back_and_forth(site: Site, tally: Tally, often: Often) -> None:
    """Each run makes the worklist that of the clock's day, with the same bytes as before."""
    noon = datetime(2026, 11, 24, 11, tzinfo=UTC)
    chance = random.Random(4)
    site.book([noon.date() + timedelta(days=number) for number in range(-2, 3)])
    seen: dict[str, bytes] = {}
    for _ in range(often(2, 60)):
        moment = noon + timedelta(days=chance.randrange(-1, 3), hours=chance.randrange(-11, 12))
        here = moment.replace(tzinfo=None) + timedelta(hours=1)
        tally.tried += 1
        tally.failed += site.sync(site.configure(), moment) != here.date()
        files = worklist_files(site.folder)
        tally.wrong += site.shown() != expected(here)
        tally.wrong += any(seen.setdefault(name, content) != content for name, content in files.items())
        # without a calendar a clock that is set back takes nothing away of the day
        broken = site.configure({"source.path": "/nowhere"})
        tally.failed += site.sync(broken, moment - timedelta(days=chance.randrange(3))) is not None
        tally.lost += sum(f"-{here:%m%d}-" in name for name in files.keys() - worklist_files(site.folder).keys())


def test_a_clock_that_is_set_while_a_run_waits(site: Site, tally: Tally, often: Often) -> None:
    """It waits for the configured time, by a clock that nobody sets; and its day is that of its beginning."""
    today, tomorrow = date(2026, 11, 24), date(2026, 11, 25)
    site.book([today, tomorrow])
    here = datetime.fromisoformat("2026-11-24T23:59:59")
    last_second = datetime(2026, 11, 24, 22, 59, 59, tzinfo=UTC)  # the same in Amsterdam
    for hours in ([-1, 1, -8760, 8760] * 5)[: often(1, 20)]:
        jump = last_second + timedelta(hours=hours)
        for path in site.folder.glob("*.wl"):
            path.unlink()
        with locked_by_another_process(site.folder):
            hasty = site.start(site.configure({"worklist.lock_timeout": 0.5}), last_second)
            site.wait_for_lock()
            site.set(jump)
            _, errors = hasty.communicate(timeout=30)
            tally.failed += hasty.returncode != 5 or "for longer than worklist.lock_timeout" not in errors
            tally.wrong += site.shown() != []
            patient = site.start(site.configure({"worklist.lock_timeout": 60}), last_second)
            site.wait_for_lock()
            site.set(jump)
            time.sleep(0.3)
            tally.failed += patient.poll() is not None
        tally.tried += 1
        tally.failed += said(patient) != today
        tally.wrong += site.shown() != expected(here)
        then = here + timedelta(hours=hours)
        tally.failed += site.sync(site.configure(), jump) != then.date()
        tally.wrong += site.shown() != (expected(then) if then.date() in {today, tomorrow} else [])
