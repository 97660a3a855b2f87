"""How a row's own columns become those of a booking: patterns for what people type, and templates."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dicom_worklist import expressions
from dicom_worklist.bookings.booking import COLUMNS, INSTEAD, KNOWN_COLUMNS, Row, text
from dicom_worklist.errors import ConfigError, Rejected
from dicom_worklist.settings import BookingRules

if TYPE_CHECKING:  # a site without templates doesn't pay for the import, once a minute
    from jinja2 import Template


class ReadRow(dict[str, object]):
    """A row with the columns that the site's rules make.

    `fault` is why one of them can't be made, and empty if all can; then the row's own column stays. `origins` says for
    each column that was made which columns of the row it is made of.
    """

    fault: str = ""
    origins: Mapping[str, str] = {}


class Rules:
    """`booking.patterns` and `booking.columns`, compiled; see `read`."""

    def __init__(self, rules: BookingRules) -> None:
        """Compile the rules.

        Raises:
            ConfigError: one of them can't be used; the message names it.
        """
        self._patterns = {column: _pattern(column, source) for column, source in rules.patterns.items()}
        self._templates = {column: _checked_template(column, source) for column, source in rules.columns.items()}
        made = [name for pattern in self._patterns.values() for name in pattern.groupindex]
        if twice := sorted({name for name in made if made.count(name) > 1}):
            raise ConfigError(f"booking.patterns gives the column {', '.join(twice)} twice: only one can be right")
        if twice := sorted({*made} & self._templates.keys()):
            raise ConfigError(
                f"booking.columns and booking.patterns both give the column {', '.join(twice)}: leave one of them out"
            )
        self._given = {*made, *self._templates}

    @property
    def needed(self) -> list[str]:
        """The columns that a table must have."""
        own = [column for column in COLUMNS if not self._given & {column, INSTEAD.get(column)}]
        return [*own, *(column for column in self._patterns if column not in own and column not in self._given)]

    def read(self, row: Row) -> Row:
        """Return the row with the columns that the rules make, and those that it has.

        A pattern must match the whole text of its column, without the blanks around it; a group that takes no part in
        the match is an empty text. Templates come after all patterns. A row that a rule can't read has a `fault`; what
        the other rules make of it is there.
        """
        if not self._given:
            return row
        read = ReadRow(row)
        origins: dict[str, str] = {}
        faults: list[str] = []
        for column, pattern in self._patterns.items():
            try:
                found = _match(column, pattern, row)
            except Rejected as rejected:
                faults.append(str(rejected))
                continue
            read.update(found)
            origins |= dict.fromkeys(found, column)
        known = template_context(read) if self._templates else {}
        for column, (source, template, names) in self._templates.items():
            try:
                read[column] = template.render(known).strip()
                origins[column] = ", ".join(names)
            except Exception as error:  # noqa: BLE001 - a template may call any method of a value
                faults.append(
                    f"booking.columns.{column}: the template {source!r} fails: {error}; the row has the columns "
                    f"{', '.join(sorted(set(map(str, row))))}"
                )
        read.fault, read.origins = "; ".join(faults), origins
        return read


def _pattern(column: str, source: str) -> re.Pattern[str]:
    place = f"booking.patterns.{column}"
    try:
        pattern = re.compile(source)
    except (re.error, OverflowError) as error:
        raise ConfigError(f"{place} {source!r} is not a valid regular expression: {error}") from error
    if not pattern.groupindex:
        raise ConfigError(f"{place} {source!r} has no named group: write (?P<subject>…) around what is the subject")
    return pattern


def _match(column: str, pattern: re.Pattern[str], row: Row) -> dict[str, str]:
    name = column if column in row else column.replace(".", "_")
    if name not in row:
        raise Rejected(
            f"booking.patterns.{column}: the row has no column {column}; it has {', '.join(sorted(set(map(str, row))))}"
        )
    typed = text(row, name)
    if len(typed) > expressions.LONGEST:
        raise Rejected(f"{column} has {len(typed)} characters: booking.patterns reads at most {expressions.LONGEST}")
    with expressions.in_time(f"booking.patterns.{column}", Rejected):
        match = pattern.fullmatch(typed)
    if match is None:
        raise Rejected(
            f"{column} {typed!r} doesn't match booking.patterns.{column}, which is {pattern.pattern}: correct the "
            "text in the calendar, or let the pattern take it"
        )
    return {group: (value or "").strip() for group, value in match.groupdict().items()}


def _checked_template(column: str, source: str) -> tuple[str, "Template", tuple[str, ...]]:
    from jinja2 import TemplateError  # noqa: PLC0415

    place = f"booking.columns.{column}"
    if column not in KNOWN_COLUMNS:
        raise ConfigError(
            f"{place} is not a column of a booking: they are {', '.join(KNOWN_COLUMNS)}. A template of "
            "attributes can use the row's own columns"
        )
    try:
        return source, expressions.template(source), tuple(sorted(expressions.names(source)))
    except TemplateError as error:
        raise ConfigError(f"{place}: the template {source!r} has a fault: {error}") from error


def template_context(row: Row) -> dict[str, Any]:
    """Return the names that a template can use: those of the columns, and `row` for those whose names it can't write.

    What lies in a mapping has two names, `a.b` and `a_b`. NULL is an empty text.
    """
    context: dict[str, Any] = {"row": row}
    for name, value in row.items():
        for part, within in _nested(name, value):
            context.setdefault(part, within)
        context[name] = "" if value is None else value
    return context


def _nested(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the columns of a mapping within the row as `a_b`: a source may give them so or not."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{name}_{key}", inner
            yield from _nested(f"{name}_{key}", inner)
