"""iCalendar texts (RFC 5545) taken apart: which events and time zones they have, and whether they are whole."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dicom_worklist.bookings.booking import printable
from dicom_worklist.errors import SourceError

_FOLD = re.compile(rb"\r?\n[ \t]")
_MARK = re.compile(r"^(BEGIN|END):[ \t]*([^\s:;]+)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_PARAMETERS = r'(?:;(?:[^":\n]|"[^"\n]*")*)?'
#: A line that says when an event is, also one that can't be read: then its value is all that follows the name.
_DATED = re.compile(
    rf"^(DTSTART|RECURRENCE-ID|RRULE|RDATE)(?![\w-])(?:{_PARAMETERS}:)?(.*)$", re.MULTILINE | re.IGNORECASE
)
_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as text: the lines of its own properties, unfolded. Without a UID, `uid` is empty."""

    uid: str
    body: str

    def typed(self, name: str) -> str:
        """Return the value of a property as it is written; nothing if it isn't there."""
        return next(iter(values(self.body, name)), "")

    def has(self, name: str) -> bool:
        """Return whether a property is there, also where it can't be read."""
        is_there = name in self.body.upper()  # the quick answer for most events
        return is_there and bool(re.search(rf"^{name}(?![\w-])", self.body, re.MULTILINE | re.IGNORECASE))

    def near(self, first: str, last: str) -> bool:
        """Return whether it may have, or change, instances between two days, both YYYYMMDD; False only if it can't."""
        lines: dict[str, list[str]] = {"DTSTART": [], "RECURRENCE-ID": [], "RRULE": [], "RDATE": []}
        for name, value in _DATED.findall(self.body):
            lines[name.upper()].append(value.strip().upper())
        starts = [value[:8] for value in lines["DTSTART"]]
        if not starts or not all(map(str.isdigit, starts)) or lines["RDATE"] or "THISANDFUTURE" in self.body.upper():
            return True
        changed = ["".join(day) for value in lines["RECURRENCE-ID"] for day in _DAY.findall(value)]
        if any(first <= day <= last for day in starts + changed):
            return True
        untils = [re.search(r"UNTIL=(\d{8})", rule) for rule in lines["RRULE"]]
        return min(starts) <= last and any(until is None or until[1] >= first for until in untils)


@dataclass(frozen=True, slots=True)
class Calendar:
    """A VCALENDAR: its time zones and events as text, and its METHOD (RFC 5546), in upper case."""

    method: str
    zones: tuple[str, ...]
    events: tuple[Event, ...]


@dataclass(slots=True)
class _Open:
    """A component whose END has not come yet; `pieces` are what is between the components in it."""

    name: str
    begin: int
    pieces: list[str] = field(default_factory=list)


def values(body: str, name: str) -> list[str]:
    """Return the values of a property in unfolded lines, as they are written."""
    found = re.findall(rf"^{name}{_PARAMETERS}:(.*)$", body, re.MULTILINE | re.IGNORECASE)
    return [value.strip() for value in found]


def unescaped(text: str) -> str:
    """Return the value of a property that is text (RFC 5545, 3.3.11) as people read it."""
    return re.sub(r"\\([\\;,nN])", lambda found: "\n" if found[1] in "nN" else found[1], text)


def take_apart(content: bytes, place: object, shown: Callable[[str], str] = printable) -> list[Calendar]:
    """Return the calendars of an iCalendar text; `shown` makes a part of it fit for a message.

    Raises:
        SourceError: it is not an iCalendar text, or not whole.
    """
    # a fold may be in the middle of a character, and a bad byte in one title must not hide the other events
    text = _FOLD.sub(b"", content).decode("utf-8-sig", "surrogateescape")
    calendars: list[Calendar] = []
    zones: list[str] = []
    events: list[Event] = []
    opened: list[_Open] = []
    at = 0
    for mark in _MARK.finditer(text):
        between, at, name = text[at : mark.start()], mark.end(), mark[2].upper()
        if opened:
            opened[-1].pieces.append(between)
        elif between.strip() or mark[0].strip().upper() != "BEGIN:VCALENDAR":
            break
        if mark[1].upper() == "BEGIN":
            opened.append(_Open(name, mark.start()))
            continue
        if opened[-1].name != name:
            raise _not_whole(opened, place, shown)
        component = opened.pop()
        own = "".join(component.pieces)
        if name == "VEVENT":
            events.append(Event(unescaped("".join(values(own, "UID")[:1])), own))
        elif name == "VTIMEZONE":
            zones.append(text[component.begin : at].rstrip() + "\n")
        elif name == "VCALENDAR":
            method = next(iter(values(own, "METHOD")), "")
            calendars.append(Calendar(method.upper(), tuple(zones), tuple(events)))
            zones, events = [], []
    if opened:
        opened[-1].pieces.append(text[at:])
        raise _not_whole(opened, place, shown)
    if not calendars or text[at:].strip():
        raise _no_calendar(text, place, shown)
    return calendars


def newest_stamp(calendars: Iterable[Calendar]) -> datetime | None:
    """Return the newest DTSTAMP of calendars with a METHOD: it says when they were written (RFC 5545, 3.8.7.2)."""
    stamps = [
        stamp
        for calendar in calendars
        if calendar.method
        for event in calendar.events
        for stamp in values(event.body, "DTSTAMP")
        if re.fullmatch(r"\d{8}T\d{6}Z", stamp, re.ASCII)
    ]
    try:
        return datetime.strptime(max(stamps), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if stamps else None
    except ValueError:
        return None


def _not_whole(opened: list[_Open], place: object, shown: Callable[[str], str]) -> SourceError:
    inner = next((one for one in reversed(opened) if one.name == "VEVENT"), opened[-1])
    uid = "".join(values("".join(inner.pieces), "UID")[:1])
    return SourceError(
        f"{place} is not whole, so nothing of it is used: {shown(f'{inner.name} {uid}'.strip())} has no END where "
        "it must have one. The next run reads it again. If this stays, write it elsewhere and rename it into place"
    )


def _no_calendar(text: str, place: object, shown: Callable[[str], str]) -> SourceError:
    begin = shown(text.strip()[:1000])[:40]  # a secret in it isn't cut before it is found
    if not begin:
        return SourceError(f"{place} is empty, not even a calendar without events. Check source.path, url or caldav")
    page = ". It is a web page, such as one that asks for a login" if begin.startswith("<") else ""
    return SourceError(
        f"{place} is not an iCalendar text, which begins with BEGIN:VCALENDAR and ends with END:VCALENDAR. "
        f"It begins with {begin!r}{page}. Check source.path, url or caldav, and the login"
    )
