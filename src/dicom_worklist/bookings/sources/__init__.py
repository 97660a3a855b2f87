"""Where bookings come from: one module a kind, named by `source.type` in the configuration.

A module has a class `Source`: a frozen msgspec Struct of its settings, with the method of the
Protocol below. Adding a module adds the kind.
"""

import pkgutil
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from importlib import import_module
from typing import Any, Protocol

from dicom_worklist.bookings.booking import COLUMNS, INSTEAD, NEEDED, OPTIONAL, Row
from dicom_worklist.errors import SourceError

#: A query that gives more than these has forgotten the days: a large centre books less in ten years.
MOST_ROWS, MOST_BYTES = 100_000, 100_000_000
#: What stands for a parameter in SQL.
MARKS = {"first_day": "?", "last_day": "?"}


class Source(Protocol):
    """A place that has bookings; its text (`str`) says where, for people, without secrets."""

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> "Rows":
        """Return the rows of these days (of the site's time zone), both included; more may come, with more columns.

        A table that lacks one of the `needed` columns is not read: it is another one, or cut off.

        Raises:
            SourceError: they can't be read.
        """


def kinds() -> list[str]:
    """Return the values that `source.type` may have."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def source_class(kind: str) -> type[Any]:
    """Return the class of one of the `kinds()`; only what it needs is imported."""
    source: type[Any] = import_module(f"{__name__}.{kind}").Source
    return source


class Rows(list[Row]):
    """Rows, and what the source says of all of them.

    `warnings` says in sentences what people should know about how they were read. `made` is when what the source gave
    was made (UTC), as far as it can know. `fault` is why no row can be read, where the site's rules have a wrong name.
    """

    warnings: tuple[str, ...] = ()
    made: datetime | None = None
    fault: str = ""


def missing_columns(names: Collection[str], needed: Collection[str]) -> list[str]:
    """Return which of the needed columns are not among these, each with what may stand in its place."""
    return [
        f"{column} (or {INSTEAD[column]} in its place)" if column in INSTEAD else column
        for column in needed
        if column not in names and INSTEAD.get(column) not in names
    ]


def as_rows(
    names: Sequence[str], values: Iterable[Sequence[object]], place: object, needed: Collection[str] = NEEDED
) -> Rows:
    """Return the rows of a table with these column names.

    `subject` may stand in place of `subject_session`, `start` in place of `start_date` and `start_time`. A column that
    no booking has is left out where its name is there twice.

    Raises:
        SourceError: one of the `needed` columns is missing, or one of a booking's is there twice.
    """
    if missing := missing_columns(names, needed):
        raise SourceError(
            f"{place} gives no column {', '.join(missing)}: every booking needs it. Fix source.query, or the "
            "header row, or give it in booking.columns"
        )
    times = Counter(names)
    if twice := [column for column in dict.fromkeys((*COLUMNS, *OPTIONAL, *needed)) if times[column] > 1]:
        raise SourceError(
            f"{place} gives the column {', '.join(twice)} twice: only one of them can be right. "
            "Rename the other in source.query, or in the header row"
        )
    kept = [(at, column) for at, column in enumerate(names) if column and times[column] == 1]
    return Rows({column: row[at] for at, column in kept} for row in values)


def limited(values: Iterable[Sequence[object]], place: object) -> Iterator[Sequence[object]]:
    """Yield the rows of a query's result, up to MOST_ROWS and MOST_BYTES.

    Raises:
        SourceError: there are more.
    """
    size = 0
    for number, row in enumerate(values, start=1):
        size += sum(map(_size, row))
        if number > MOST_ROWS or size > MOST_BYTES:
            raise too_much(place)
        yield row


def _size(value: object) -> int:
    """Return about how many bytes a value has."""
    if value is None or isinstance(value, int | float):
        return 8
    return len(value) if isinstance(value, str | bytes) else len(str(value))


def too_much(place: object) -> SourceError:
    """Return the error of a place that gives more than MOST_ROWS or MOST_BYTES."""
    return SourceError(
        f"{place} gives more than {MOST_ROWS:,} rows or {MOST_BYTES // 1_000_000} MB: that is not a few days of "
        "bookings. Narrow source.query to :first_day and :last_day"
    )


def check_query(query: str) -> None:
    """Check that a query has no other parameters than those of MARKS, and none in quotes.

    Raises:
        ValueError: it has; the message names it.
    """
    if quoted := re.search(r"'(?::(?:first|last)_day|%\((?:first|last)_day\)s)'", query):
        raise ValueError(f"query has {quoted[0]} in quotes: take the quotes away")
    # without comments, and what is in quotes
    plain = re.sub(r"""--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*\"""", "''", query, flags=re.DOTALL)
    for name in re.findall(r"(?<![\w:\])]):([A-Za-z_]\w*)", plain):
        if name not in MARKS:
            raise ValueError(f"query uses :{name}; there is :{' and :'.join(MARKS)}")


def bind(query: str, marks: Mapping[str, str] = MARKS) -> tuple[str, list[str]]:
    """Return the query with a mark for each `:first_day` or `%(last_day)s`, and their names in order."""
    parameter = re.compile(r"(?<!:):(first_day|last_day)\b|%\((first_day|last_day)\)s")
    names = [match[1] or match[2] for match in parameter.finditer(query)]
    return parameter.sub(lambda match: marks[match[1] or match[2]], query), names
