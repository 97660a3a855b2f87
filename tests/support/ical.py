"""iCalendar texts of the tests' day, and what the source `ical` reads in them."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import read_start
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Reading
from support.calendar import DAY

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NINE = "DTSTART;TZID=Europe/Amsterdam:20261124T090000"
#: A series of ten days, of which the tests' day is the fifth.
DAILY = (NINE.replace("24T", "20T"), "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=10", "LOCATION:PRISMA")
#: What Outlook and Exchange write as the zone of Amsterdam, under names of their own.
ZONE = """BEGIN:VTIMEZONE
TZID:{name}
BEGIN:STANDARD
DTSTART:16010101T030000
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10
END:STANDARD
BEGIN:DAYLIGHT
DTSTART:16010101T020000
TZOFFSETFROM:+0100
TZOFFSETTO:+0200
RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3
END:DAYLIGHT
END:VTIMEZONE"""


def event(*lines: str, uid: str = "a") -> str:
    """Return an event; `uid` is empty for none."""
    return "\n".join(["BEGIN:VEVENT", *([f"UID:{uid}"] if uid else []), *lines, "END:VEVENT"])


def calendar(*components: str, method: str = "") -> str:
    """Return a VCALENDAR of these components, with the line ends of RFC 5545."""
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *([f"METHOD:{method}"] if method else [])]
    return "\n".join([*head, *components, "END:VCALENDAR", ""]).replace("\n", "\r\n")


def ical_source(folder: Path, content: str | bytes) -> sources.Source:
    """Return the source of a file, which is written with this content."""
    path = folder / "calendar.ics"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source: sources.Source = sources.source_class("ical")(path=str(path))
    return source


def read(
    folder: Path, *components: str, days: tuple[date, date] = (DAY, DAY), method: str = ""
) -> list[Mapping[str, Any]]:
    """Return the rows of a calendar of these components that begin on these days, at the site; and unreadable ones."""
    rows = ical_source(folder, calendar(*components, method=method)).rows(*days)
    found = zip(rows, starts(rows), strict=True)
    return [row for row, start in found if not isinstance(start, datetime) or days[0] <= start.date() <= days[1]]


def starts(rows: Iterable[Mapping[str, object]]) -> list[object]:
    """Return when rows begin, at the site; or what the reader says why it can't be known."""
    found: list[object] = []
    for row in rows:
        try:
            found.append(read_start(row, Reading(AMSTERDAM)))
        except Rejected as rejected:
            found.append(str(rejected))
    return found


def ids(rows: Iterable[Mapping[str, object]]) -> list[object]:
    return [row["booking_id"] for row in rows]


def only(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    [row] = rows
    return row


def at(hour: int, minute: int = 0, day: date = DAY) -> datetime:
    """Return a time at the site."""
    return datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001
