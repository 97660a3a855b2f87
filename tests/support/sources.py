"""A source of each kind, and what a day of it is read as."""

from datetime import date
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import COLUMNS, Booking, read_booking
from dicom_worklist.errors import SourceError
from dicom_worklist.settings import Reading
from support.calendar import DAY

#: The days for which a source is asked: the tests' day alone.


class Days(TypedDict):
    first_day: date
    last_day: date


TODAY: Days = {"first_day": DAY, "last_day": DAY}
#: A CSV's header row, and a booking in it.
HEADER = ",".join(COLUMNS)
LINE = f"1,3010000.01,Language,7-1,{DAY},09:00:00,SKYRA,Ada,Lovelace,CONFIRMED"


def sqlite_source(path: Path, query: str | None = None) -> sources.Source:
    source: sources.Source = sources.source_class("sqlite")(path=str(path), query=query)
    return source


def csv_source(path: Path, content: str | bytes | None = None, encoding: str | None = None) -> sources.Source:
    """Return the source of a CSV file; `content`, if it is given, is written first."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source: sources.Source = sources.source_class("csv")(path=str(path), encoding=encoding)
    return source


def bookings(source: sources.Source) -> dict[str, Booking]:
    """Return booking_id → booking of all rows."""
    read = [read_booking(row, Reading(ZoneInfo("Europe/Amsterdam"))) for row in source.rows(**TODAY)]
    return {booking.booking_id: booking for booking in read}


def error_of(source: sources.Source) -> str:
    """Return the message of the SourceError that reading must raise."""
    with pytest.raises(SourceError) as caught:
        source.rows(**TODAY)
    return str(caught.value)
