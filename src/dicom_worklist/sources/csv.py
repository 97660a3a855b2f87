"""Bookings in a CSV file (RFC 4180, UTF-8) whose header row names the columns."""

import csv
from datetime import date
from pathlib import Path

import msgspec

from dicom_worklist.booking import Row
from dicom_worklist.errors import SourceError
from dicom_worklist.sources import as_rows


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` names the file; further columns in it are ignored."""

    path: str

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking file {self.path}"

    def rows(self, first_day: date, last_day: date) -> list[Row]:  # noqa: ARG002 - the whole file is read
        """Read the whole file; whoever asks picks the days."""
        try:
            with Path(self.path).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                reader = csv.reader(file, strict=True)
                header = [name.strip() for name in next(reader, [])]
                # a short row ends in columns that are empty
                return as_rows(header, (row + [""] * (len(header) - len(row)) for row in reader if row), self)
        except csv.Error as error:
            raise SourceError(f"{self}, line {reader.line_num}: {error}; write it as RFC 4180 says") from error
        except OSError as error:
            raise SourceError(f"{self} can't be read: {error.strerror}. Check source.path") from error
