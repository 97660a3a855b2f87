"""How a row's own columns become those of a booking: patterns for what people type, and templates."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dicom_worklist import expressions
from dicom_worklist.bookings import identity
from dicom_worklist.bookings.booking import DEEPEST, INSTEAD, KNOWN_COLUMNS, NEEDED, Row, nested, text
from dicom_worklist.errors import ConfigError, Rejected
from dicom_worklist.settings import BookingRules

if TYPE_CHECKING:  # a site without templates doesn't pay for the import, once a minute
    from jinja2 import Template


class ReadRow(dict[str, object]):
    """A row with the columns that the site's rules make.

    `faults` says why some of them can't be made; then the row's own columns stay, but not its status and lab.
    `nameless` are those faults, by their places in the rules, for which the row lacks a column; `in_all` is what
    `shared_fault` says of all rows. `origins` says for each column that was made what of the row it is made of; `given`
    are all that the rules can make.
    """

    faults: Sequence[str] = ()
    nameless: Mapping[str, str] = {}
    in_all: str = ""
    origins: Mapping[str, str] = {}
    given: Collection[str] = ()

    @property
    def fault(self) -> str:
        """Why the row can't be read, and empty if it can."""
        own = [fault for place, fault in self.nameless.items() if f"{place}: " not in self.in_all]
        return "; ".join([*([self.in_all] if self.in_all else []), *self.faults, *own])


class Rules:
    """`booking.patterns` and `booking.columns`, compiled; see `read`."""

    def __init__(self, rules: BookingRules) -> None:
        """Compile the rules.

        Raises:
            ConfigError: one of them can't be used; the message names it.
        """
        self._plain = rules.identity == "plain"
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
        needed = [column for column in NEEDED if not (self._plain and column == "project_id")]
        own = [column for column in needed if not self._given & {column, INSTEAD.get(column)}]
        return [*own, *(column for column in self._patterns if column not in own and column not in self._given)]

    def read(self, row: Row) -> Row:
        """Return the row with the columns that the rules make, and those that it has.

        A pattern must match the whole text of its column, without the blanks around it; a group that takes no part in
        the match is an empty text, but no status. Templates come after all patterns. A row that a rule can't read has a
        `fault`; what the other rules make of it is there.
        """
        if not self._given:
            return row
        read = ReadRow(row)
        read.given = self._given
        origins: dict[str, str] = {}
        faults: list[str] = []
        nameless: dict[str, str] = {}
        unmatched: set[str] = set()
        for column, pattern in self._patterns.items():
            name = column if column in row else column.replace(".", "_")
            if name not in row:
                place = f"booking.patterns.{column}"
                nameless[place] = f"{place}: the row has no column {column}; it has {_names(row)}"
                unmatched.update(pattern.groupindex)
                continue
            try:
                found = _match(column, pattern, text(row, name))
            except Rejected as rejected:
                faults.append(str(rejected))
                unmatched.update(pattern.groupindex)
                continue
            read.update(found)
            origins |= dict.fromkeys(found, column)
        matched = {name: value for name, value in read.items() if name not in unmatched}
        known = template_context(matched) if self._templates else {}
        unmade = {*unmatched}
        for column, (source, template, used) in self._templates.items():
            try:
                read[column] = template.render(known).strip()
                origins[column] = used
            except Exception as error:  # noqa: BLE001 - a template may call any method of a value
                from jinja2 import UndefinedError  # noqa: PLC0415

                unmade.add(column)
                if expressions.names(source) & unmatched:  # the pattern is at fault
                    continue
                place = f"booking.columns.{column}"
                fault = f"{place}: the template {source!r} fails: {error}"
                if isinstance(error, UndefinedError):
                    nameless[place] = f"{fault}; the row has the columns {_names(row)}"
                else:
                    faults.append(fault)
        # the row's own would say that it doesn't count, or is of another lab, and nobody would see the fault
        for column in unmade & {"status", "lab"}:
            read.pop(column, None)
        read.faults, read.nameless, read.origins = faults, nameless, origins
        return read


def shared_fault(rows: Sequence[Row]) -> str:
    """Return why no row can be read: a rule uses a column that is in none of them; empty if no rule does.

    It becomes the first reason of each row, in the same words.
    """
    read = [row for row in rows if isinstance(row, ReadRow)]
    if not read or not all(row.nameless for row in read):
        return ""
    places = set.intersection(*({*row.nameless} for row in read))
    if not places:
        return ""
    said = [fault.rpartition("; ")[0] for place, fault in read[0].nameless.items() if place in places]
    there = {name for row in read for name in row if name not in row.origins}
    fault = f"{'; '.join(said)}; no row has it, they have the columns {_names(there)}"
    for row in read:
        row.in_all = fault
    return fault


def _names(columns: Iterable[object]) -> str:
    return ", ".join(sorted(set(map(str, columns))))


def _pattern(column: str, source: str) -> re.Pattern[str]:
    place = f"booking.patterns.{column}"
    try:
        pattern = re.compile(source)
    except (re.error, OverflowError) as error:
        why = expressions.why_not_valid(source, error)
        raise ConfigError(f"{place} '{source}' is not a valid regular expression: {why}") from error
    if not pattern.groupindex:
        raise ConfigError(f"{place} '{source}' has no named group: write (?P<subject>…) around what is the subject")
    return pattern


def _match(column: str, pattern: re.Pattern[str], typed: str) -> dict[str, str]:
    if len(typed) > expressions.LONGEST_TEXT:
        raise Rejected(
            f"{column} has {len(typed)} characters: booking.patterns reads at most {expressions.LONGEST_TEXT}"
        )
    with expressions.in_time(f"booking.patterns.{column}", Rejected):
        match = pattern.fullmatch(typed)
    if match is None:
        raise Rejected(
            f"{column} {typed!r} doesn't match booking.patterns.{column}, which is {pattern.pattern}: "
            f"{identity.hidden(typed) or 'correct the text in the calendar, or let the pattern take it'}"
        )
    found = {group: (value or "").strip() for group, value in match.groupdict().items()}
    return {group: value for group, value in found.items() if value or group != "status"}


def _checked_template(column: str, source: str) -> tuple[str, "Template", str]:
    from jinja2 import TemplateError  # noqa: PLC0415

    place = f"booking.columns.{column}"
    if column not in KNOWN_COLUMNS:
        raise ConfigError(
            f"{place} is not a column of a booking: they are {', '.join(KNOWN_COLUMNS)}. A template of "
            "attributes can use the row's own columns"
        )
    try:
        used = sorted(path.removeprefix("row.") for path in expressions.paths(source))
        return source, expressions.template(source), ", ".join(used)
    except TemplateError as error:
        raise ConfigError(f"{place}: the template {source!r} has a fault: {error}") from error


def template_context(row: Row) -> dict[str, Any]:
    """Return the names that a template can use: those of the columns, and `row` for those whose names it can't write.

    What lies in a mapping has two names, `a.b` and `a_b`. NULL is an empty text, also within a mapping.
    """
    own = {name: without_null(value) for name, value in row.items()}
    context: dict[str, Any] = {"row": own}  # a plain one: messages name its type
    for name, value in own.items():
        for part, within in nested(name, value):
            context.setdefault(part, within)
        context[name] = value
    return context


def without_null(value: object, levels: int = DEEPEST) -> object:
    """Return a value with an empty text for each NULL, the ones in mappings and lists as well, down to `levels`."""
    if isinstance(value, Mapping) and levels:
        return {name: without_null(inner, levels - 1) for name, inner in value.items()}
    if isinstance(value, list) and levels:
        return [without_null(inner, levels - 1) for inner in value]
    return "" if value is None else value
