"""The rows of events of iCalendar texts (RFC 5545): which version counts, and which instances a series has.

`icalendar` reads properties and time zones, `recurring_ical_events` expands a rule. What EXDATE and RECURRENCE-ID name
is found here, by the moment in UTC. That library looks for local times, too: with EXDATE at 09:00 in Amsterdam it also
drops the instance at 10:00, which is 09:00 in UTC.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import icalendar
import recurring_ical_events
from icalendar.prop import vRecur
from icalendar.timezone import tzp

from dicom_worklist.bookings.booking import Row, printable
from dicom_worklist.bookings.sources import _ical_rule, _ical_text
from dicom_worklist.bookings.sources._ical_event import ODD, ONE_DAY, Moment, Unreadable, Version, key_of, newest, read
from dicom_worklist.errors import SourceError

#: How many steps the rule of one event may take until the last day that is asked for, and those of all events.
MOST_STEPS, MOST_STEPS_OF_ALL = 100_000, 5_000_000
#: The library looks for the next day of a rule until the year 9999, also where no day follows: UNTIL doesn't stop it.
#: The calendar repeats every 400 years, weekdays too. So a rule is moved as many such cycles ahead as possible, and
#: expanded there: at most 400 years are left to look through.
_CYCLE = 400
#: The site's day begins at most a day before or after that of an event's zone; one more for both of them.
MARGIN = timedelta(days=2)
#: Outlook begins the rules of a zone in 1601, and each look-up goes through all years since. Here they begin in 1970.
#: Nobody asks for days before that, and a rule is expanded in local time: only offsets in the days asked for matter.
_SINCE = re.compile(r"^(DTSTART:)1[0-8]\d\d(?=\d{4}T)(?!0229)", re.MULTILINE | re.IGNORECASE)


@dataclass(slots=True)
class _Change:
    """The newest version of an instance of a series; `original` is its RECURRENCE-ID."""

    event: Version
    original: Moment
    start: Moment


@dataclass(slots=True)
class Reading:
    """One reading of the days from `first_day` to `last_day`; rows of more days may come."""

    place: object
    first_day: date
    last_day: date
    first: date = field(init=False)
    last: date = field(init=False)
    steps: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Set the first and the last day in an event's own zone."""
        self.first = max(self.first_day, date.min + MARGIN) - MARGIN
        self.last = min(self.last_day, date.max - 2 * MARGIN) + MARGIN

    def rows(self, calendars: Iterable[_ical_text.Calendar]) -> list[Row]:
        """Return the rows of calendars; an event that can't be read is a row whose `start` says why.

        Raises:
            SourceError: there is too much to read.
        """
        calendars = list(calendars)
        first, last = f"{self.first:%Y%m%d}", f"{self.last:%Y%m%d}"
        near = {text.uid for calendar in calendars for text in calendar.events if text.near(first, last)} - {""}
        versions: dict[str, list[Version]] = defaultdict(list)
        position = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # icalendar's, about zones that it guesses; _moment doesn't take them
            for calendar in calendars:
                chosen = [
                    text for text in calendar.events if text.uid in near or (not text.uid and text.near(first, last))
                ]
                if chosen:
                    _use_zones(calendar.zones)
                for text in chosen:
                    position += 1
                    key = text.uid or f"\n{position}"  # without a UID it is nobody's other version
                    versions[key].append(read(text, position, cancelled=calendar.method == "CANCEL"))
        tzp.use_default()
        return [row for events in versions.values() for row in self._rows_of(events)]

    def _rows_of(self, versions: list[Version]) -> Iterator[Row]:
        """Yield the rows of one UID: of a single event, or of a series and the changes to its instances."""
        masters = [version for version in versions if not version.text.has("RECURRENCE-ID")]
        master = newest(masters) if masters else None
        start: Moment | None = None
        is_out: Callable[[Moment], bool] = lambda _: False  # noqa: E731 - where the series has no EXDATE
        if master:
            try:
                master.check()
                begin = _there(master.moment("DTSTART"))
                is_out, start = _left_out(master, begin), begin
            except (Unreadable, *ODD) as reason:
                yield from self._unreadable(master, "", reason, masters)
        lost: list[Row] = []
        changes = self._changes(versions, master, start, lost)
        yield from lost
        if master and start is not None:
            try:
                yield from list(self._instances(master, start, changes, is_out))
            except (Unreadable, *ODD) as reason:
                yield from self._unreadable(master, "", reason, masters)
        for change in changes.values():
            if self._is_asked(change.start):
                event, named = change.event, _written(change.original)
                try:
                    undone = _undone(event, master) or is_out(change.original)
                    yield event.row(named, change.start, event.end(change.start), cancelled=undone)
                except (Unreadable, *ODD) as reason:
                    yield from self._unreadable(event, named, reason)

    def _unreadable(
        self, event: Version, recurrence_id: str, reason: Exception, older: Iterable[Version] = ()
    ) -> Iterator[Row]:
        """Yield the row that says why an event can't be read, if that or an older version of it may be near."""
        first, last = f"{self.first:%Y%m%d}", f"{self.last:%Y%m%d}"
        if any(version.text.near(first, last) for version in (event, *older)):
            why = str(reason) if isinstance(reason, Unreadable) else f"{type(reason).__name__}: {reason}"
            yield event.row(recurrence_id, f"{event.text.typed('DTSTART')} ({printable(why)[:300]})".strip())

    def _is_asked(self, start: Moment) -> bool:
        return self.first <= _day(start) <= self.last

    def _changes(
        self, versions: list[Version], master: Version | None, start: Moment | None, lost: list[Row]
    ) -> dict[Moment, _Change]:
        """Return the newest change of each instance; rows of those that can't be read are added to `lost`."""
        named: dict[Moment, tuple[Moment, list[Version]]] = {}
        for event in versions:
            if not event.text.has("RECURRENCE-ID"):
                continue
            try:
                event.check()
                typed = _there(event.moment("RECURRENCE-ID"), "RECURRENCE-ID")
                original = _original_alone(typed, event) if start is None else _original(typed, start)
                named.setdefault(key_of(original), (original, []))[1].append(event)
            except (Unreadable, *ODD) as reason:
                lost += self._unreadable(event, event.text.typed("RECURRENCE-ID"), reason)
        changes = {}
        for key, (original, events) in named.items():
            event = newest(events)
            try:
                if event.cancelled and "DTSTART" not in event.component:
                    began = original
                else:
                    began = _there(event.moment("DTSTART"))
                changes[key] = _Change(event, original, began)
            except (Unreadable, *ODD) as reason:
                changes[key] = _Change(event, original, date.max)  # the instance isn't where the series has it
                lost += self._unreadable(event, _written(original), reason)
            if event.cancelled and master:
                event.complete(master)
        return changes

    def _instances(
        self, master: Version, start: Moment, changes: dict[Moment, _Change], is_out: Callable[[Moment], bool]
    ) -> Iterator[Row]:
        """Yield the rows of a master that are not changed; of a single event it is one."""
        if not {"RRULE", "RDATE"} & master.component.keys():
            if self._is_asked(start) and key_of(start) not in changes:
                yield master.row("", start, master.end(start))
            return
        following = sorted((key for key, change in changes.items() if _is_for_following(change)), key=str)
        shifts = [_wall(changes[key].start, start) - _wall(changes[key].original, start) for key in following]
        most = max(map(abs, shifts), default=timedelta(0))
        periods: dict[Moment, object] = {}
        found = self._expanded(master, start, most)
        for one in master.moments("RDATE"):
            begin = _original(one[0] if isinstance(one, tuple) else one, start)
            found[key_of(begin)] = begin
            if isinstance(one, tuple):
                periods[key_of(begin)] = one[1]
        for key, original in sorted(found.items(), key=lambda item: str(item[0])):
            if key in changes or is_out(original):
                continue
            event, begin = master, original
            for at, shift in zip(following, shifts, strict=True):
                if at < key:
                    event, begin = changes[at].event, _like(_wall(original, start) + shift, start)
            if self._is_asked(begin):
                end = event.end(begin, periods.get(key))
                yield event.row(_written(original), begin, end, cancelled=_undone(event, master))

    def _expanded(self, master: Version, start: Moment, shift: timedelta) -> dict[Moment, Moment]:
        """Return the moments of the rules near the days that are asked for, by their keys."""
        found: dict[Moment, Moment] = {}
        if "RRULE" not in master.component:
            return {key_of(start): start}
        wall = _wall(start, start)
        for typed in _rules(master):
            rule = dict(part.upper().split("=") for part in typed.split(";") if part)
            until = _until(rule.pop("UNTIL", None), start)
            end = datetime.combine(min(self.last, (date.max - ONE_DAY)), time(0)) + ONE_DAY
            begin = datetime.combine(self.first, time(0))
            begin, end = begin - min(shift, begin - datetime.min), end + min(shift, datetime.max - end)  # noqa: DTZ901
            if until is not None:
                # in local time an hour comes twice: the moment decides, below
                end = min(end, _wall(until, start) + ONE_DAY)
            if end < begin:
                continue
            self._charge(master, rule, wall, end)
            years = max((date.max.year - 1 - end.year) // _CYCLE, 0) * _CYCLE
            if until is not None:
                rule["UNTIL"] = _later(end, years).strftime("%Y%m%dT%H%M%S")
            bare = icalendar.Event()
            bare.add("DTSTART", _later(wall, years))
            bare["RRULE"] = vRecur.from_ical(";".join(map("=".join, rule.items())))
            for one in recurring_ical_events.of(bare).between(_later(begin, years), _later(end, years)):
                moment = _like(_later(one["DTSTART"].dt, -years), start)
                if until is None or key_of(moment) <= key_of(until):
                    found[key_of(moment)] = moment
        return found

    def _charge(self, event: Version, rule: dict[str, str], start: datetime, end: datetime) -> None:
        """Count the steps that a rule takes from its first instance until `end`, before it takes them.

        Raises:
            SourceError: all rules together take too many.
        """
        _ical_rule.check(rule)
        steps = _ical_rule.steps_until(rule, (end - start).total_seconds())
        if steps > MOST_STEPS:
            raise Unreadable(
                f"the rule FREQ={rule['FREQ']} takes {steps:,} steps from its first instance until {self.last_day}, "
                f"and the limit is {MOST_STEPS:,}"
            )
        self.steps += steps + _ical_rule.steps_in_vain(rule)
        if self.steps > MOST_STEPS_OF_ALL:
            raise SourceError(
                f"{self.place} has too many long series: with the event {printable(event.text.uid)} their rules take "
                f"more than {MOST_STEPS_OF_ALL:,} steps from their first instances until {self.last_day}, the limit. "
                "Let old series end, or publish fewer of them"
            )


def _later(moment: datetime, years: int) -> datetime:
    return moment.replace(year=moment.year + years)


def _use_zones(texts: Iterable[str]) -> None:
    """Register the time zones that a calendar defines with icalendar, and remove those of other calendars.

    A zone that can't be used is not registered. So its events are rejected, and no zone is guessed.
    """
    tzp.use_default()
    for text in texts:
        rules, dates = _ical_text.values(text, "RRULE"), _ical_text.values(text, "RDATE")
        several = any(re.search("INTERVAL=(?!1(?:;|$))|COUNT=", rule.upper()) for rule in rules) or dates
        yearly = all(
            "FREQ=YEARLY" in rule.upper() and not re.search("BY(?:HOUR|MINUTE|SECOND|SETPOS)", rule.upper())
            for rule in rules
        )
        if yearly and len(rules) + sum(value.count(",") + 1 for value in dates) < 1000:
            try:
                icalendar.Timezone.from_ical(text if several else _SINCE.sub(r"\g<1>1970", text))
            except ODD:
                continue


def _there(moment: Moment | None, name: str = "DTSTART") -> Moment:
    if moment is None:
        raise Unreadable(f"it has no {name}" if name == "DTSTART" else f"its {name} can't be read")
    return moment


def _left_out(master: Version, start: Moment) -> Callable[[Moment], bool]:
    """Return what says of an instance whether EXDATE leaves it out; a date leaves out the whole day."""
    named = list(master.moments("EXDATE"))
    keys = {key_of(_original(one, start)) for one in named}
    days = {one for one in named if type(one) is date}
    return lambda original: key_of(original) in keys or _wall(original, start).date() in days


def _undone(event: Version, master: Version | None) -> bool:
    """Return whether a series was cancelled, and this instance is not newer."""
    return master is not None and master.cancelled and event.order[:3] <= master.order[:3]


def _is_for_following(change: _Change) -> bool:
    params = change.event.component["RECURRENCE-ID"].params
    return str(params.get("RANGE", "")).upper() == "THISANDFUTURE" and change.start != date.max


def _rules(master: Version) -> list[str]:
    rules: Any = master.component["RRULE"]
    return [rule.to_ical().decode() for rule in (rules if isinstance(rules, list) else [rules])]


def _day(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _written(moment: Moment) -> str:
    """Return a RECURRENCE-ID as text: UTC in basic format, local time where it has no zone."""
    key = key_of(moment)
    if not isinstance(key, datetime):
        return f"{key:%Y%m%d}"
    return f"{key:%Y%m%dT%H%M%S}" + ("Z" if key.tzinfo else "")


def _wall(moment: Moment, start: Moment) -> datetime:
    """Return a moment as a clock in the zone of `start` shows it."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(0))
    if isinstance(start, datetime) and start.tzinfo and moment.tzinfo and moment.tzinfo is not start.tzinfo:
        moment = moment.astimezone(start.tzinfo)
    return moment.replace(tzinfo=None, fold=0)


def _like(wall: datetime, start: Moment) -> Moment:
    """Return the moment when a clock in the zone of `start` shows this."""
    return wall.replace(tzinfo=start.tzinfo) if isinstance(start, datetime) else wall.date()


def _original_alone(moment: Moment, event: Version) -> Moment:
    """Return which instance a RECURRENCE-ID names whose series is not in the calendar, or can't be read.

    Raises:
        Unreadable: the name would be another one than with the series, and so would the booking's identity.
    """
    start = None if event.cancelled else event.moment("DTSTART")
    if not isinstance(start, datetime):
        return moment
    if not isinstance(moment, datetime):
        lacks = "time"
    elif moment.tzinfo or not start.tzinfo:
        return moment
    elif start.replace(tzinfo=None) == moment and not event.text.typed("DTSTART").upper().endswith("Z"):
        return start  # not moved; some programs write in UTC what they moved, which may look the same
    else:
        lacks = "time zone"
    raise Unreadable(f"its RECURRENCE-ID has no {lacks}, and its series, which has one, is not there or can't be read")


def _original(moment: Any, start: Moment) -> Moment:
    """Return which instance of the series that begins at `start` a RECURRENCE-ID, EXDATE or RDATE names."""
    if not isinstance(start, datetime):
        return _day(moment)
    if not isinstance(moment, datetime):
        return datetime.combine(moment, start.time(), start.tzinfo)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=start.tzinfo)
    if start.tzinfo is None:
        raise Unreadable("its series is in local time without a zone, and it names an instance with a zone")
    return moment


def _until(typed: str | None, start: Moment) -> Moment | None:
    """Return the last moment of a rule; a date is that whole day."""
    if typed is None or typed >= "9999":  # as some programs write "forever"
        return None
    day = datetime.strptime(typed[:8], "%Y%m%d")  # noqa: DTZ007 - its zone comes below
    if not isinstance(start, datetime):
        return day.date()
    clock = typed[8:]
    if clock and not re.fullmatch(r"T\d{6}Z?", clock):
        raise ValueError(f"UNTIL={typed}")
    wall = datetime.strptime(typed[:15], "%Y%m%dT%H%M%S") if clock else day.replace(hour=23, minute=59, second=59)  # noqa: DTZ007
    return wall.replace(tzinfo=UTC if clock.endswith("Z") and start.tzinfo else start.tzinfo)
