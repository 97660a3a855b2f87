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
        """Read the whole file; whoever asks picks the days. A file that isn't whole is not read in part."""
        try:
            with Path(self.path).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                reader = csv.reader(file, strict=True)
                header = [name.strip() for name in next(reader, [])]
                rows = []
                for row in reader:
                    if row and len(row) != len(header):
                        raise SourceError(
                            f"{self}, line {reader.line_num}: it has {len(row)} fields, the header row {len(header)}. "
                            "Put a text with a comma in quotes; write the file elsewhere and rename it into place"
                        )
                    rows += [row] if row else []
        except csv.Error as error:
            raise SourceError(f"{self}, line {reader.line_num}: {error}; write it as RFC 4180 says") from error
        except OSError as error:
            raise SourceError(f"{self} can't be read: {error.strerror}. Check source.path") from error
        if len(header) == 1 and ";" in header[0]:
            raise SourceError(f"{self} has semicolons between its columns: save it with commas")
        return as_rows(header, rows, self)
