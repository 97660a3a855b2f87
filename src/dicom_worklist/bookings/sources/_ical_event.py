"""A version of an event of an iCalendar text (RFC 5545, 7986): its properties, its times, its row."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import icalendar
from icalendar.prop import vBroken, vCalAddress, vCategory, vUnknown

from dicom_worklist.bookings.booking import Row, printable
from dicom_worklist.bookings.sources import _ical_text

#: How many dates RDATE and EXDATE of one event may name, and the changes of a time zone.
MOST_DATES = 10_000
ONE_DAY = timedelta(days=1)
#: Properties without which nobody can say when an event is.
DECISIVE = ("UID", "DTSTART", "RECURRENCE-ID", "RRULE", "RDATE", "EXDATE")
#: Properties that say when, or which version: they are not columns under their own names.
_WHEN = {"DTSTART", "DTEND", "DURATION", "RECURRENCE-ID", "RRULE", "RDATE", "EXDATE", "DTSTAMP", "LAST-MODIFIED"}
#: A property with dates or times: its name, its parameters, its value.
_DATED = re.compile(
    r'^(DTSTART|DTEND|RECURRENCE-ID|RDATE|EXDATE)((?:;(?:[^":\n]|"[^"\n]*")*+)?+):([^\r\n]*)',
    re.MULTILINE | re.IGNORECASE,
)
_ZONE = re.compile(r';TZID=(?:"[^"]*"|[^";]*)', re.IGNORECASE)
_RULE = re.compile(r"(?:[A-Z]+=[^;=\s]+(?:;|$))+", re.IGNORECASE)
#: What the libraries raise about values that they don't expect; one event must not stop the others.
ODD = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, AssertionError, RecursionError)

Moment = date | datetime  # a date alone: all day


class Unreadable(Exception):  # noqa: N818 - a verdict on one event, not a failure of the run
    """The event can't be read; the message is the reason."""


@dataclass(slots=True)
class Version:
    """A version of an event, or of an instance of a series."""

    text: _ical_text.Event
    component: icalendar.Component
    cancelled: bool
    position: int

    @property
    def order(self) -> tuple[int, datetime, datetime, int]:
        """What says which version is the newest."""
        never = datetime.min.replace(tzinfo=UTC)
        stamp = self._utc("DTSTAMP") or never
        sequence = self.component.get("SEQUENCE", 0)
        return (sequence if isinstance(sequence, int) else 0, self._utc("LAST-MODIFIED") or stamp, stamp, self.position)

    def _utc(self, name: str) -> datetime | None:
        value = self.component.get(name)
        moment = None if isinstance(value, (vBroken, list)) else getattr(value, "dt", None)
        return moment if isinstance(moment, datetime) and moment.tzinfo else None

    def check(self) -> None:
        """Raise Unreadable if a property that says when is broken, or is there twice."""
        for name, why in self.component.errors:
            line = why.partition("parts: '")[2].upper() if name is None else ""
            if name in DECISIVE or line.startswith(DECISIVE):
                raise Unreadable(f"{name or 'a line'} can't be read: {printable(why)[:200]}")
        for name in ("UID", "DTSTART", "RECURRENCE-ID"):
            if isinstance(self.component.get(name), list):
                raise Unreadable(f"it has {name} twice")
        if any(_ZONE.search(found[2]) and found[3].endswith(("Z", "z")) for found in _DATED.finditer(self.text.body)):
            raise Unreadable("a time has both a zone, TZID, and the Z of UTC")
        if self.text.has("EXRULE"):
            raise Unreadable("EXRULE is not supported, and RFC 5545 no longer has it: write EXDATE in its place")
        for rule in _ical_text.values(self.text.body, "RRULE"):
            if not _RULE.fullmatch(rule):
                raise Unreadable(f"the rule {printable(rule)[:100]!r} can't be read")
        dates = sum(
            value.count(",") + 1 for name in ("RDATE", "EXDATE") for value in _ical_text.values(self.text.body, name)
        )
        if dates > MOST_DATES:
            raise Unreadable(f"RDATE and EXDATE name {dates:,} dates, and the limit is {MOST_DATES:,}")

    def moment(self, name: str) -> Moment | None:
        """Return a date or a time; None if it isn't there."""
        value = self.component.get(name)
        return None if value is None else _moment(value.dt, value.params)

    def moments(self, name: str) -> Iterator[Moment | tuple[datetime, Any]]:
        """Yield the dates and times, and the periods, of RDATE or EXDATE."""
        values = self.component.get(name, [])
        for value in values if isinstance(values, list) else [values]:
            for one in value.dts:
                if isinstance(one.dt, tuple):
                    begin = _moment(one.dt[0], value.params)
                    assert isinstance(begin, datetime)  # noqa: S101 - as RFC 5545, 3.3.9 has it
                    yield begin, one.dt[1]
                else:
                    yield _moment(one.dt, value.params)

    def complete(self, older: "Version") -> None:
        """Take from another version what a cancellation leaves out (RFC 5546, 3.2.5)."""
        own = {"DTEND", "DURATION"} if "DTSTART" in self.component else set()
        for name, value in older.component.items():
            if name not in own:
                self.component.setdefault(name, value)

    def row(self, recurrence_id: str, start: object, end: object = None, *, cancelled: bool = False) -> Row:
        """Return the row of an event or an instance; a date as `start` is all day."""
        row: dict[str, object] = {
            name.lower().replace("-", "_"): self._column(name, value)
            for name, value in self.component.items()
            if name not in _WHEN
        }
        uid = self.text.uid
        status = "CANCELLED" if cancelled or self.cancelled else row.get("status") or "CONFIRMED"
        names = ("summary", "description", "location", "organizer")
        row = dict.fromkeys(names) | row | {name: _flat(row.get(name)) for name in ("categories", "attendee")}
        all_day = isinstance(start, date) and not isinstance(start, datetime)
        if isinstance(start, datetime) and start.tzinfo:
            # in spring 02:30 may not exist: then 03:30 is meant (RFC 5545, 3.3.5)
            start = key_of(start).astimezone(start.tzinfo)
        return row | {
            "uid": uid,
            "recurrence_id": recurrence_id,
            "status": status,
            "start": None if all_day else start,
            "end": None if all_day else end,
            "start_date": start if all_day else None,
            "start_time": "all day" if all_day else None,
            "updated": self._utc("LAST-MODIFIED") or self._utc("DTSTAMP"),
            "booking_id": f"{uid}/{recurrence_id}" if uid and recurrence_id else uid,
            "lab": row["location"],
        }

    def _column(self, name: str, value: Any) -> object:
        """Return a property's value; as it is written where the library can't say it."""
        try:
            return _plain(value)
        except ODD:
            typed = _ical_text.values(self.text.body, name)
            return typed[0] if len(typed) == 1 else typed

    def end(self, start: Moment, period: object = None) -> object:
        """Return when an instance that begins at `start` ends, or the reason why that can't be read; None if unknown.

        DTEND says how long each instance takes, exactly; hours of DURATION are hours, even when the clock changes
        (RFC 5545, 3.3.6 and 3.8.5.3).
        """
        if not isinstance(start, datetime):
            return None
        try:
            own, end = self.moment("DTSTART"), self.moment("DTEND")
            duration = self.component.get("DURATION")
            if period is not None:
                lasts = period if isinstance(period, timedelta) else key_of(period) - key_of(start)
            elif end is not None:
                lasts = key_of(end) - key_of(own)
            elif duration is not None:
                lasts = duration.dt
            else:
                return None
            if lasts >= ONE_DAY and end is None:
                return start + lasts
            return (key_of(start) + lasts).astimezone(start.tzinfo) if start.tzinfo else start + lasts
        except (Unreadable, *ODD) as reason:
            return f"{self.text.typed('DTEND') or self.text.typed('DURATION')} ({reason})"


def read(text: _ical_text.Event, position: int, *, cancelled: bool) -> Version:
    body = _DATED.sub(_without_zone, text.body)
    try:
        component: icalendar.Component = icalendar.Event.from_ical(f"BEGIN:VEVENT\n{body}\nEND:VEVENT\n")
    except ODD as error:
        component = icalendar.Event()
        component.errors.append(("DTSTART", f"{type(error).__name__}: {error}"))
    status = component.get("STATUS")
    return Version(text, component, cancelled or str(status).upper() in {"CANCELLED", "CANCELED"}, position)


def _without_zone(found: re.Match[str]) -> str:
    """Return a date without the zone that some programs give it; a time as it is."""
    name, parameters, value = found.groups()
    is_date = re.fullmatch(r"\d{8}(?:,\d{8})*", value, re.ASCII)
    return f"{name}{_ZONE.sub('', parameters)}:{value}" if is_date else found[0]


def _moment(value: Any, params: Any) -> Moment:
    """Return a date or a time as its zone has it.

    Raises:
        Unreadable: the zone is not known.
    """
    zone = params.get("TZID") if params else None
    if not isinstance(value, date):
        raise Unreadable(f"{value} is not a date and no time")
    if not zone or not isinstance(value, datetime):
        return value
    zone = str(zone)
    known = getattr(value.tzinfo, "key", None)
    guessed = zone.startswith("/") and known is not None and known != zone.strip("/")
    if value.tzinfo is None or guessed:
        raise Unreadable(f"its time zone {printable(zone)!r} is not known, and the calendar doesn't define it")
    return value


def newest(versions: list[Version]) -> Version:
    """Return the version that counts; a cancellation has what it leaves out from the ones before."""
    *older, last = sorted(versions, key=lambda version: version.order)
    if last.cancelled:
        for version in reversed(older):
            last.complete(version)
    return last


def key_of(moment: Any) -> Any:
    """Return what identifies a moment: the same in UTC, if it has a zone.

    When the clock goes forward, an hour of local time doesn't exist. A time in this hour has the UTC offset from before
    the change (RFC 5545, 3.3.5). zoneinfo does so, but not the zones that a calendar defines.
    """
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return moment
    utc = moment.astimezone(UTC)
    if utc.astimezone(moment.tzinfo).replace(tzinfo=None, fold=0) == moment.replace(tzinfo=None, fold=0):
        return utc
    return (moment - ONE_DAY).astimezone(UTC) + ONE_DAY


def _plain(value: Any) -> object:
    """Return a property's value as text, a number, a date or a list of such."""
    if isinstance(value, (list, vCategory)):
        return [_plain(one) for one in value]
    if isinstance(value, vCalAddress):
        name = value.params.get("CN")
        return str(name) if name else re.sub("^mailto:", "", str(value), flags=re.IGNORECASE)
    if isinstance(value, vUnknown):
        return _ical_text.unescaped(value)  # an X- property is text (RFC 5545, 3.8.8.2)
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(getattr(value, "dt", None), (date, timedelta)):
        return value.dt
    return value.to_ical().decode("utf-8", "replace")


def _flat(value: object) -> list[object]:
    """Return the values of a property that may be there several times."""
    if value is None:
        return []
    return [
        part
        for one in (value if isinstance(value, list) else [value])
        for part in (one if isinstance(one, list) else [one])
    ]
