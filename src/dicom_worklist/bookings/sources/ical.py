"""Bookings in an iCalendar file, as calendar programs export it (RFC 5545)."""

import os
from collections.abc import Collection
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.bookings.sources import Rows
from dicom_worklist.errors import SourceError


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` names the file; more than `max_megabytes` is not read."""

    path: str
    max_megabytes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the calendar {self.path}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = COLUMNS) -> Rows:  # noqa: ARG002 - of tables
        """Return an event, and an instance of a series, as a row each.

        One that can't be read is a row whose `start` says why. A text that is not whole is not read in part. Times
        have the event's zone; floating ones have none, so they are the site's.
        """
        from dicom_worklist.bookings.sources import _ical_series, _ical_text  # noqa: PLC0415 - others don't need them

        content, written = self._file()
        calendars = _ical_text.take_apart(content, self)
        rows = Rows(_ical_series.Reading(self, first_day, last_day).rows(calendars))
        rows.made = _ical_text.newest_stamp(calendars) or written
        return rows

    def _file(self) -> tuple[bytes, datetime]:
        """Return what is in the file, and when it was written."""
        most = self.max_megabytes * 1_000_000
        try:
            with Path(self.path).open("rb") as file:
                content = file.read(most + 1)
                written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except OSError as error:
            raise SourceError(f"{self} can't be read: {error.strerror}. Check source.path") from error
        if len(content) > most:
            raise SourceError(
                f"{self} has more than {self.max_megabytes} MB, the most that is read. "
                "Export fewer years, or raise source.max_megabytes"
            )
        return content, written
