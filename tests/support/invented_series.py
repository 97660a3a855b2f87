"""Series of events, invented, with what a second reading (dateutil's rrule, the rest by hand) makes of them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import DAILY, FR, HOURLY, MO, MONTHLY, SA, SU, TU, WE, WEEKLY, YEARLY, rrule, weekday

from support.ical import AMSTERDAM, ZONE, event

NEW_YORK = ZoneInfo("America/New_York")
#: A name of a zone in the text, and the zone; none for floating times.
ZONES: dict[str, ZoneInfo | None] = {
    "": None,
    "Z": ZoneInfo("UTC"),
    "Europe/Amsterdam": AMSTERDAM,
    "America/New_York": NEW_YORK,
    "Australia/Lord_Howe": ZoneInfo("Australia/Lord_Howe"),
    "W. Europe Standard Time": ZoneInfo("Europe/Berlin"),
    "Ours": AMSTERDAM,
}
NAMES = {YEARLY: "YEARLY", MONTHLY: "MONTHLY", WEEKLY: "WEEKLY", DAILY: "DAILY", HOURLY: "HOURLY"}
CLOCKS = ((0, 15), (2, 30), (9, 0), (9, 0), (14, 0), (23, 30))
#: What is expected of an instance: start and end (in UTC, or floating), status, lab.
Expected = tuple[datetime, datetime, str, str]


@dataclass(frozen=True)
class Series:
    """The components of a series as text, days to ask for, and its instances of these days by their ids."""

    components: list[str]
    days: tuple[date, date]
    expected: Mapping[str, Expected]


class Inventor:
    """Invents one series; `chance` decides everything."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.name = chance.choice([*ZONES, "Europe/Amsterdam", "Europe/Amsterdam"])
        self.zone = ZONES[self.name]

    def utc(self, wall: datetime) -> datetime:
        """Return when a clock of the series' zone first shows this; floating times stay."""
        return wall.replace(tzinfo=self.zone).astimezone(UTC) if self.zone else wall

    def typed(self, name: str, moment: datetime, *, own: bool = False, parameters: str = "") -> str:
        """Return a property with a moment (UTC, or floating) in a zone of chance that can say it."""
        if self.zone is None:
            return f"{name}{parameters}:{moment:%Y%m%dT%H%M%S}"
        zones = [self.name] if own else [self.name, self.name, "Z", "America/New_York", "Europe/Amsterdam", "Ours"]
        zone = self.chance.choice(zones)
        wall = moment.astimezone(ZONES[zone]).replace(tzinfo=None, fold=0)
        if zone == "Z" or wall.replace(tzinfo=ZONES[zone]).astimezone(UTC) != moment:
            return f"{name}{parameters}:{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        return f"{name}{parameters};TZID={zone}:{wall:%Y%m%dT%H%M%S}"

    def rule(self) -> dict[str, Any]:
        """Return the arguments of an rrule."""
        chance = self.chance
        frequency = chance.choice([DAILY, DAILY, WEEKLY, WEEKLY, WEEKLY, MONTHLY, MONTHLY, YEARLY, HOURLY])
        rule: dict[str, Any] = {"freq": frequency}
        if chance.random() < 0.5:
            rule["interval"] = chance.randint(1, 3)
        days = [MO, TU, WE, FR, SA, SU]
        match frequency:
            case _ if frequency == HOURLY:
                rule["interval"] = chance.randint(1, 13)
            case _ if frequency == DAILY:
                more: list[dict[str, Any]] = [
                    {},
                    {"byweekday": chance.sample(days, 3)},
                    {"bymonth": chance.sample(range(1, 13), 6)},
                    {"byhour": sorted(chance.sample(range(24), 4)), "byminute": [0]},
                ]
                rule |= chance.choice(more)
                if "byweekday" in rule:
                    rule.pop("interval", None)
            case _ if frequency == WEEKLY:
                rule |= chance.choice([{}, {"byweekday": chance.sample(days, 2), "wkst": chance.choice([MO, SU])}])
            case _ if frequency == MONTHLY:
                more = [
                    {},
                    {"bymonthday": [chance.choice([1, 15, 29, 31, -1])]},
                    {"byweekday": [chance.choice(days)(chance.choice([1, 2, 4, -1]))]},
                    {"byweekday": [MO, TU, WE], "bysetpos": [chance.choice([1, 3, -1])]},
                ]
                rule |= chance.choice(more)
            case _:
                more = [
                    {},
                    {"bymonth": [3, 10, 11], "byweekday": [SU(-1)]},
                    {"bymonth": [11], "bymonthday": [1, 24]},
                    {"byyearday": [1, 60, 300, -30]},
                    {"byweekno": [13, 44, 48], "byweekday": [TU]},
                ]
                rule |= chance.choice(more)
                rule.pop("interval", None)
        return rule

    def invent(self, uid: str) -> Series:
        """Return a series."""
        chance = self.chance
        rule, base, far = self._start()
        loose = chance.random() < 0.15  # the rule doesn't have its first instance
        start = base if loose else next(iter(rrule(dtstart=base, **rule)))
        walls = list(takewhile(lambda wall: wall < far, rrule(dtstart=start, **rule)))
        text = {name.upper(): value for name, value in rule.items() if name != "freq"}
        text["BYDAY"] = text.pop("BYWEEKDAY", None)
        written = [f"FREQ={NAMES[rule['freq']]}", *(f"{name}={_written(one)}" for name, one in text.items() if one)]
        end = chance.choice(["", "", "UNTIL", "" if loose else "COUNT"])
        last = walls[min(chance.choice([3, 10, 40, 200]), len(walls) - 1)]
        if end == "COUNT":
            walls = [wall for wall in walls if wall <= last]
            written.append(f"COUNT={len(walls)}")
        elif end == "UNTIL" and chance.random() < 0.5:
            walls = [wall for wall in walls if wall.date() <= last.date()]
            written.append(f"UNTIL={last:%Y%m%d}")
        elif end == "UNTIL":
            walls = [wall for wall in walls if self.utc(wall) <= self.utc(last)]
            written.append(f"UNTIL={self.utc(last):%Y%m%dT%H%M%S}{'Z' if self.zone else ''}")
        asked = [wall for wall in walls if wall < far - timedelta(days=30)] or walls[:1]
        first_day = chance.choice(asked).date() - timedelta(days=chance.randint(0, 3))
        days = (first_day, first_day + timedelta(days=chance.randint(0, 6)))
        return self._changed(uid, start, ";".join(written), walls, days)

    def _start(self) -> tuple[dict[str, Any], datetime, datetime]:
        """Return a rule, from when it has instances, and until when they are looked at."""
        chance = self.chance
        while True:
            rule = self.rule()
            hourly = rule["freq"] == HOURLY
            base = datetime(2026, chance.randint(1, 12), 1) if hourly else datetime(2024, 1, 1)  # noqa: DTZ001
            hour, minute = chance.choice(CLOCKS)
            base += timedelta(days=chance.randint(0, 20 if hourly else 1000), hours=hour, minutes=minute)
            far = base + timedelta(days=150 if hourly else 1500)
            walls = list(islice(rrule(dtstart=base, **rule), 4))
            if len(walls) == 4 and walls[3] < far:
                return rule, base, far

    def _changed(self, uid: str, start: datetime, rule: str, walls: list[datetime], days: tuple[date, date]) -> Series:
        """Return the series with changes, near the days that are asked for."""
        chance = self.chance
        self.uid, self.start = uid, start
        self.near = [wall for wall in walls if abs(wall.date() - days[0]) < timedelta(days=12)] or walls[-1:]
        self.sequence, self.gone = chance.randint(0, 2), chance.random() < 0.06
        self.changed: dict[datetime, Expected] = {}
        begin = self.typed("DTSTART", self.utc(start), own=True)
        if not self.is_shown(start):
            begin = f"DTSTART;TZID={self.name}:{start:%Y%m%dT%H%M%S}"
        length = timedelta(minutes=chance.choice([30, 60, 90, 180, 600]))
        lasts = f"DURATION:PT{int(length.total_seconds()) // 60}M"
        ends = chance.choice([lasts, self.typed("DTEND", self.utc(start) + length)])
        following = chance.random() < 0.25
        if "UNTIL" not in rule or walls[0] >= start:
            walls = sorted({*walls, start})
        instances = {self.utc(wall): wall for wall in walls}
        dates, lengths = self._dates(instances, periods=not following)
        exdates, left_out = self._left_out(instances)
        lines = [f"RRULE:{rule}", "LOCATION:PRISMA", f"SEQUENCE:{self.sequence}", begin, ends, *dates, *exdates]
        components = [event(*lines, *(["STATUS:CANCELLED"] if self.gone else []), uid=uid)]
        if chance.random() < 0.2:
            older = (begin, "RRULE:FREQ=DAILY", f"SEQUENCE:{self.sequence - 1}", "LOCATION:old")
            components.append(event(*older, uid=uid))
        since, shift, state = self._following(components, left_out) if following else (None, timedelta(0), "")
        self._moved(components, left_out)
        expected: dict[str, Expected] = {}
        for moment, wall in instances.items():
            if moment in self.changed or moment in left_out:
                continue
            if since is not None and moment > since:
                begins = self.utc(wall + shift)
                expected[self._id(moment)] = (begins, begins + timedelta(minutes=75), state, "SKYRA")
            else:
                status = "CANCELLED" if self.gone else "CONFIRMED"
                expected[self._id(moment)] = (moment, moment + lengths.get(moment, length), status, "PRISMA")
        expected |= {self._id(moment): change for moment, change in self.changed.items()}
        chance.shuffle(components)
        return Series([ZONE.format(name="Ours"), *components], days, within(expected, days))

    def _dates(
        self, instances: dict[datetime, datetime], *, periods: bool
    ) -> tuple[list[str], dict[datetime, timedelta]]:
        """Add dates of its own to the instances; return their lines, and how long those with a period take."""
        lines, lengths = [], {}
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            wall = self.chance.choice(self.near) + timedelta(minutes=self.chance.choice([45, 200, 1500]))
            moment = self.utc(wall)
            if not self.is_shown(wall):
                continue
            instances[moment] = wall
            if periods and self.zone and self.chance.random() < 0.5:
                lines.append(f"RDATE;VALUE=PERIOD:{moment:%Y%m%dT%H%M%SZ}/PT45M")
                lengths[moment] = timedelta(minutes=45)
            else:
                lines.append(self.typed("RDATE", moment))
        return lines, lengths

    def _left_out(self, instances: dict[datetime, datetime]) -> tuple[list[str], set[datetime]]:
        """Return lines that leave instances out, and these."""
        lines, left_out = [], set()
        for wall in self.chance.sample(self.near, min(len(self.near), self.chance.choice([0, 0, 1, 2]))):
            if self.chance.random() < 0.25:
                lines.append(f"EXDATE;VALUE=DATE:{wall:%Y%m%d}")
                left_out |= {moment for moment, one in instances.items() if one.date() == wall.date()}
            else:
                lines.append(self.typed("EXDATE", self.utc(wall)))
                left_out.add(self.utc(wall))
        return lines, left_out

    def _following(self, components: list[str], left_out: set[datetime]) -> tuple[datetime | None, timedelta, str]:
        """Change this and all following instances; return since when, by how much, and their status."""
        wall = self.chance.choice(self.near)
        moved = wall + timedelta(minutes=self.chance.choice([0, 30, 90, -60, 1440, -4320]))
        moment = self.utc(wall)
        if not self.is_shown(wall) or not self.is_shown(moved) or moment in left_out:
            return None, timedelta(0), ""
        number = self.chance.randint(0, 3)
        status = "CANCELLED" if self.gone and number <= self.sequence else "CONFIRMED"
        of = self.typed("RECURRENCE-ID", moment, parameters=";RANGE=THISANDFUTURE")
        change = (of, self.typed("DTSTART", self.utc(moved), own=True), "DURATION:PT75M", "LOCATION:SKYRA")
        components.append(event(*change, f"SEQUENCE:{number}", uid=self.uid))
        self.changed[moment] = (self.utc(moved), self.utc(moved) + timedelta(minutes=75), status, "SKYRA")
        return moment, moved - wall, status

    def _moved(self, components: list[str], left_out: set[datetime]) -> None:
        """Change some instances."""
        chance = self.chance
        for wall in chance.sample(self.near, min(len(self.near), chance.choice([0, 1, 2]))):
            moment = self.utc(wall)
            if moment in self.changed:
                continue
            of = self.typed("RECURRENCE-ID", moment)
            if chance.random() < 0.15 and wall.time() == self.start.time():
                of = f"RECURRENCE-ID;VALUE=DATE:{wall:%Y%m%d}"
            moved = moment + timedelta(minutes=chance.choice([0, 15, -600, 1440, 4000, -9000]))
            number = chance.randint(0, 3)
            status = chance.choice(["CONFIRMED", "TENTATIVE", "CANCELLED"])
            change = (self.typed("DTSTART", moved), "DURATION:PT20M", "LOCATION:moved", f"STATUS:{status}")
            components.append(event(of, *change, f"SEQUENCE:{number}", uid=self.uid))
            if number and chance.random() < 0.4:
                older = (self.typed("DTSTART", moment), "LOCATION:older", f"SEQUENCE:{number - 1}")
                components.append(event(self.typed("RECURRENCE-ID", moment), *older, uid=self.uid))
            if (self.gone and number <= self.sequence) or moment in left_out:
                status = "CANCELLED"
            self.changed[moment] = (moved, moved + timedelta(minutes=20), status, "moved")

    def is_shown(self, wall: datetime) -> bool:
        """Return whether a clock of the zone ever shows this."""
        return self.zone is None or self.utc(wall).astimezone(self.zone).replace(tzinfo=None) == wall

    def _id(self, moment: datetime) -> str:
        return f"{self.uid}/{moment:%Y%m%dT%H%M%S}{'Z' if self.zone else ''}"


def within(instances: Mapping[str, Expected], days: tuple[date, date]) -> dict[str, Expected]:
    """Return the instances that begin on these days at the site."""
    found = {}
    for name, instance in instances.items():
        start = instance[0].astimezone(AMSTERDAM) if instance[0].tzinfo else instance[0]
        if days[0] <= start.date() <= days[1]:
            found[name] = instance
    return found


def _written(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_written, value))
    if isinstance(value, weekday):
        return f"{value.n or ''}{'MO TU WE TH FR SA SU'.split()[value.weekday]}"
    return str(value)
