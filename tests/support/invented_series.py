"""Series of events, invented, with what an independent reading (dateutil's rrule, and RFC 5545 by hand) makes of them."""

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
        hourly = False
        while True:
            rule = self.rule()
            hourly = rule["freq"] == HOURLY
            base = datetime(2026, chance.randint(1, 12), 1) if hourly else datetime(2024, 1, 1)  # noqa: DTZ001
            base += timedelta(days=chance.randint(0, 20 if hourly else 1000))
            hour, minute = chance.choice(CLOCKS)
            base = base.replace(hour=hour, minute=minute)
            far = base + timedelta(days=150 if hourly else 1500)
            walls = list(islice(rrule(dtstart=base, **rule), 4))
            if len(walls) > 3 and walls[3] < far:
                break
        loose = chance.random() < 0.15
        start = base if loose else walls[0]
        walls = list(takewhile(lambda wall: wall < far, rrule(dtstart=start, **rule)))
        text = {name.upper(): value for name, value in rule.items() if name != "freq"}
        text["BYDAY"] = text.pop("BYWEEKDAY", None)
        written = [f"FREQ={NAMES[rule['freq']]}", *(f"{name}={_written(one)}" for name, one in text.items() if one)]
        end = chance.choice(["", "", "UNTIL"] + ([] if loose else ["COUNT"]))
        at = min(chance.choice([3, 10, 40, 200]), len(walls) - 1)
        if end == "COUNT":
            walls = walls[: at + 1]
            written.append(f"COUNT={len(walls)}")
        elif end == "UNTIL":
            last = self.utc(walls[at])
            forms = [f"{last:%Y%m%dT%H%M%S}{'Z' if self.zone else ''}", f"{walls[at]:%Y%m%d}"]
            form = chance.choice(forms)
            written.append(f"UNTIL={form}")
            walls = [
                wall
                for wall in walls
                if (wall.date() <= walls[at].date() if len(form) == 8 else self.utc(wall) <= last)
            ]
        asked = [wall for wall in walls if wall < far - timedelta(days=30)] or walls[:1]
        first_day = chance.choice(asked).date() - timedelta(days=chance.randint(0, 3))
        days = (first_day, first_day + timedelta(days=chance.randint(0, 6)))
        return self._changed(uid, start, ";".join(written), walls, days)

    def _changed(self, uid: str, start: datetime, rule: str, walls: list[datetime], days: tuple[date, date]) -> Series:
        """Return the series with changes, near the days that are asked for."""
        chance = self.chance
        length = timedelta(minutes=chance.choice([30, 60, 90, 180, 600]))
        near = [wall for wall in walls if abs(wall.date() - days[0]) < timedelta(days=12)] or walls[-1:]
        sequence = chance.randint(0, 2)
        gone = chance.random() < 0.06
        lines = [f"RRULE:{rule}", "LOCATION:PRISMA", f"SEQUENCE:{sequence}", *(["STATUS:CANCELLED"] if gone else [])]
        begin = self.typed("DTSTART", self.utc(start), own=True)
        if self.zone and self.utc(start).astimezone(self.zone).replace(tzinfo=None) != start:
            begin = f"DTSTART;TZID={self.name}:{start:%Y%m%dT%H%M%S}"  # a time that the clock leaves out
        lasts = f"DURATION:PT{int(length.total_seconds()) // 60}M"
        lines += [begin, chance.choice([lasts, self.typed("DTEND", self.utc(start) + length)])]
        #: the wall of each instance by its id's moment
        walls = sorted({*walls, start} if "UNTIL" not in rule or walls[0] >= start else walls)
        instances = {self.utc(wall): wall for wall in walls}
        lengths: dict[datetime, timedelta] = {}
        following = chance.random() < 0.25
        for _ in range(chance.choice([0, 0, 1, 3])):
            wall = chance.choice(near) + timedelta(minutes=chance.choice([45, 200, 1500]))
            moment = self.utc(wall)
            if self.zone and moment.astimezone(self.zone).replace(tzinfo=None) != wall:
                continue
            instances[moment] = wall
            if not following and self.zone and chance.random() < 0.5:
                lines.append(f"RDATE;VALUE=PERIOD:{moment:%Y%m%dT%H%M%SZ}/PT45M")
                lengths[moment] = timedelta(minutes=45)
            else:
                lines.append(self.typed("RDATE", moment))
        left_out: set[datetime] = set()
        for wall in chance.sample(near, min(len(near), chance.choice([0, 0, 1, 2]))):
            if chance.random() < 0.25:
                lines.append(f"EXDATE;VALUE=DATE:{wall:%Y%m%d}")
                left_out |= {moment for moment, one in instances.items() if one.date() == wall.date()}
            else:
                lines.append(self.typed("EXDATE", self.utc(wall)))
                left_out.add(self.utc(wall))
        components = [event(*lines, uid=uid)]
        if chance.random() < 0.2:
            components.append(event(begin, "RRULE:FREQ=DAILY", f"SEQUENCE:{sequence - 1}", "LOCATION:old", uid=uid))
        expected: dict[str, Expected] = {}
        status = "CANCELLED" if gone else "CONFIRMED"
        shift, since, after = timedelta(0), None, ("PRISMA", length, status)
        changed: dict[datetime, Expected] = {}
        if following:
            wall = chance.choice(near)
            moment = self.utc(wall)
            plain = self.zone is None or moment.astimezone(self.zone).replace(tzinfo=None) == wall
            moved = wall + timedelta(minutes=chance.choice([0, 30, 90, -60, 1440, -4320]))
            known = self.zone is None or self.utc(moved).astimezone(self.zone).replace(tzinfo=None) == moved
            if plain and known and moment not in left_out:
                shift, since = moved - wall, moment
                number = chance.randint(0, 3)
                last = "CANCELLED" if gone and number <= sequence else "CONFIRMED"
                after = ("SKYRA", timedelta(minutes=75), last)
                of = self.typed("RECURRENCE-ID", moment, parameters=";RANGE=THISANDFUTURE")
                change = (of, self.typed("DTSTART", self.utc(moved), own=True), "DURATION:PT75M", "LOCATION:SKYRA")
                components.append(event(*change, f"SEQUENCE:{number}", uid=uid))
                changed[moment] = (self.utc(moved), self.utc(moved) + after[1], last, "SKYRA")
        for wall in chance.sample(near, min(len(near), chance.choice([0, 1, 2]))):
            moment = self.utc(wall)
            if moment in changed:
                continue
            of = self.typed("RECURRENCE-ID", moment)
            if chance.random() < 0.15 and wall.time() == start.time():
                of = f"RECURRENCE-ID;VALUE=DATE:{wall:%Y%m%d}"
            moved_to = moment + timedelta(minutes=chance.choice([0, 15, -600, 1440, 4000, -9000]))
            number = chance.randint(0, 3)
            state = chance.choice(["CONFIRMED", "TENTATIVE", "CANCELLED"])
            change = (self.typed("DTSTART", moved_to), "DURATION:PT20M", "LOCATION:moved", f"STATUS:{state}")
            versions = [event(of, *change, f"SEQUENCE:{number}", uid=uid)]
            if number and chance.random() < 0.4:
                older = ("LOCATION:older", f"SEQUENCE:{number - 1}")
                versions.append(
                    event(self.typed("RECURRENCE-ID", moment), self.typed("DTSTART", moment), *older, uid=uid)
                )
            components += versions
            state = "CANCELLED" if (gone and number <= sequence) or moment in left_out else state
            changed[moment] = (moved_to, moved_to + timedelta(minutes=20), state, "moved")
        for moment, wall in instances.items():
            if moment in changed or moment in left_out:
                continue
            lab, lasting, state = ("PRISMA", lengths.get(moment, length), status)
            begins = moment
            if since is not None and moment > since:
                lab, lasting, state = after
                begins = self.utc(wall + shift)
            expected[self._id(uid, moment)] = (begins, begins + lasting, state, lab)
        expected |= {self._id(uid, moment): change for moment, change in changed.items()}
        chance.shuffle(components)
        return Series([ZONE.format(name="Ours"), *components], days, within(expected, days))

    def _id(self, uid: str, moment: datetime) -> str:
        return f"{uid}/{moment:%Y%m%dT%H%M%S}{'Z' if self.zone else ''}"


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
