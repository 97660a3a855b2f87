"""Bookings in a CSV file (RFC 4180) whose header row names the columns, as spreadsheets and databases write it."""

import codecs
import csv
import os
import re
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from dicom_worklist.bookings.booking import COLUMNS, NEEDED, OPTIONAL, printable
from dicom_worklist.bookings.sources import MOST_BYTES, Rows, as_rows, missing_columns
from dicom_worklist.errors import SourceError

#: What a file begins with, and its encoding; a file of ASCII names in UTF-16 shows itself without a mark, too.
STARTS = (
    (rb"\xef\xbb\xbf", "utf-8-sig"),
    (rb"\xff\xfe|\xfe\xff", "utf-16"),
    (rb"[^\0]\0", "utf-16-le"),
    (rb"\0[^\0]", "utf-16-be"),
)
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Columns that are never read in an encoding that is a guess: a wrong letter would be another person.
IDENTIFIERS = {"booking_id", "project_id", "subject_session", "subject", "session"}
BAD_BYTE = re.compile("[\udc80-\udcff]")  # as surrogateescape leaves it


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` names the file; further columns are for the templates of the site.

    `encoding` is a Python codec such as windows-1252, for a file without a byte order mark. Without it the file is
    UTF-8, and a bad byte is a fault of its own row; only if most of the rows that aren't ASCII are not UTF-8 is it read
    as Windows-1252, with a warning, and without that guess in the IDENTIFIERS. The delimiter is the one of a first
    line `sep=…`, or the comma, semicolon or tab under which the header row has the most columns of a booking.
    """

    path: str
    encoding: str | None = None

    def __post_init__(self) -> None:
        """Check the encoding."""
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError as error:
            raise ValueError(f"encoding: {error}; write utf-8, utf-16 or windows-1252") from error

    def __str__(self) -> str:
        """Say where the bookings are."""
        return f"the booking file {self.path}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> Rows:  # noqa: ARG002
        """Read the whole file; the caller picks the days. A file that isn't whole is not read in part.

        A row may be shorter than the header row where only columns are missing that no booking needs.
        """
        try:
            with Path(self.path).open("rb") as file:
                made = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise SourceError(f"{self} can't be read: {error.strerror}. Check source.path") from error
        if len(content) > MOST_BYTES:
            raise SourceError(f"{self} has more than {MOST_BYTES // 1_000_000} MB: write fewer years into it")
        text, encoding, guessed = self._text(content)
        declared = re.match(r'"?sep=([,;\t|])"?[,;\t| ]*(\r\n|\r|\n)', text, re.IGNORECASE)
        body = text[declared.end() :] if declared else text
        names, delimiter = max(
            ((_header(body, delimiter), delimiter) for delimiter in (declared[1] if declared else ",;\t")),
            key=lambda found: (len({*COLUMNS, *OPTIONAL, *needed} & {*found[0]}), len(found[0])),
        )
        read_as = f"read as {encoding} with {DELIMITERS[delimiter]} between its columns"
        if not text.strip("\0\r\n "):
            raise SourceError(f"{self} is empty, so it gives no column {', '.join(needed)}: write a header row")
        if missing := missing_columns(names, needed):
            found = printable(", ".join(name for name in names if name))
            raise SourceError(
                f"{self}, {read_as}, gives no column {', '.join(missing)}. Its first row is: {found[:300]}. "
                "Fix that row, or give them in booking.columns; where it can't be read, save the file as CSV UTF-8 or "
                "set source.encoding"
            )
        counted = {*needed, *COLUMNS, "subject", "start"}
        least = 1 + max((at for at, name in enumerate(names) if name in counted), default=0)
        layout = _Layout(read_as, delimiter, least, above=1 if declared else 0)
        values = self._values(body, names, layout)
        rows = as_rows(names, values, f"{self}, {read_as},", needed)
        if guessed:
            rows[:] = [{name: _reread(name, value) for name, value in row.items()} for row in rows]
            warning = f"{self} is not UTF-8 ({guessed}): it is read as Windows-1252, which is a guess. "
            rows.warnings = (warning + "Save it as CSV UTF-8, or set source.encoding",)
        rows.made = made
        return rows

    def _text(self, content: bytes) -> tuple[str, str, str]:
        """Return the content as text, what it was read as, and the first bad byte if that is a guess."""
        encoding = next((name for mark, name in STARTS if re.match(mark, content, re.DOTALL)), self.encoding or "utf-8")
        name = codecs.lookup(encoding).name
        try:
            errors = "surrogatepass" if name.startswith(("utf-16", "utf-32")) else "surrogateescape"
            text = content.decode(encoding, errors)
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{self} is not whole, or not {encoding}: {error.reason} at byte {error.start + 1} of {len(content)}. "
                "Write the file elsewhere and rename it into place, or name its encoding in source.encoding"
            ) from error
        if self.encoding is None and name == "utf-8" and (bad := BAD_BYTE.search(text)):
            lines = [line for line in text.splitlines() if not line.isascii()]
            proper = sum(re.search("[^\0-\x7f\udc80-\udcff]", line) is not None for line in lines)
            if sum(BAD_BYTE.search(line) is not None for line in lines) > proper:
                number = len(text[: bad.end()].splitlines())
                return text, "Windows-1252", f"line {number} has the byte 0x{ord(bad[0]) & 0xFF:02X}"
        return text, name.removesuffix("-sig").upper().replace("CP125", "Windows-125"), ""

    def _values(self, body: str, names: list[str], layout: "_Layout") -> Iterator[list[str]]:
        """Yield the rows under the header row, each as long as it."""
        read_as, delimiter, least, above = layout
        reader = csv.reader(_lines(body), delimiter=delimiter, strict=True)
        begin, short = above + 1, False
        try:
            for number, row in enumerate(reader):
                if number and any(row):  # without the header row, empty lines and lines of delimiters only
                    if len(row) < least or any(row[len(names) :]):
                        raise SourceError(
                            f"{self}, line {begin}: it has {len(row)} fields, the header row {len(names)} ({read_as}). "
                            "Put a text with a delimiter in quotes; write the file elsewhere and rename it into place"
                        )
                    short = len(row) < len(names)
                    yield row[: len(names)] + [""] * (len(names) - len(row))
                begin = above + reader.line_num + 1
        except csv.Error as error:
            raise SourceError(
                f"{self}, line {begin}: the row that begins there can't be read, {error} ({read_as}). "
                "A text in quotes must end with a quote, and a quote in it is written twice"
            ) from error
        if short and not body.endswith(("\n", "\r")):
            raise SourceError(
                f"{self} ends in the middle of a row ({read_as}). "
                "End the last line with a line end; write the file elsewhere and rename it into place"
            )


class _Layout(NamedTuple):
    """How a file is read: the words for it, its delimiter, the fewest fields of a row, the lines above the header."""

    read_as: str
    delimiter: str
    least: int
    above: int


def _lines(body: str) -> Iterator[str]:
    """Yield the lines with their ends, as a file opened with newline="" does; a StringIO takes much more memory."""
    return (line[0] for line in re.finditer(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", body))


def _header(body: str, delimiter: str) -> list[str]:
    """Return the names in the header row, without the empty ones at its end."""
    try:
        names = [name.strip() for name in next(csv.reader(_lines(body), delimiter=delimiter), [])]
    except csv.Error:  # a quote that never ends, perhaps with this delimiter only
        return []
    while names and not names[-1]:
        names.pop()
    return names


def _reread(name: str, value: object) -> object:
    if name in IDENTIFIERS or not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("windows-1252", "surrogateescape")
