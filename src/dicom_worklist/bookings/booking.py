"""What a booking is, and how a row of the calendar is read as one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from dicom_worklist.bookings import identity
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Reading

#: The columns that a booking is read from.
COLUMNS = (
    "booking_id",
    "project_id",
    "project_title",
    "subject_session",
    "start_date",
    "start_time",
    "lab",
    "user_first_name",
    "user_last_name",
    "status",
)
#: Further columns, which a source may give or not; NULL and blank count as not given. `subject` and `session` stand in
#: place of subject_session, `start` of start_date and start_time. `made` is when what the source gives was made; the
#: newest of its rows counts.
MORE = ("end", "birth_date", "sex", "weight", "size", "made")
OPTIONAL = ("subject", "session", "start", "end_date", "end_time", "minutes", *MORE)
#: Those of COLUMNS without which no booking can be read; a calendar that lacks the others gives them empty.
NEEDED = ("booking_id", "project_id", "subject_session", "start_date", "start_time", "lab")
#: What a column of NEEDED may be left out for.
INSTEAD = {"subject_session": "subject", "start_date": "start", "start_time": "start"}
#: All that a booking is read from.
KNOWN_COLUMNS = (*COLUMNS, *OPTIONAL)
#: What a person weighs, in kg, and how tall one is, in m: other numbers are of another unit, or typed wrongly.
WEIGHTS, SIZES = (0.3, 500), (0.2, 2.8)
SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O"}
#: An end that is further from the start is a mistake: no session lasts a day, and its entry would stay as long.
LONGEST_SESSION = timedelta(hours=24)
#: How deep a value may lie within a column's mappings to have a name: each name holds those of all above it.
DEEPEST = 10
#: What people write in place of a subject.
_PLACEHOLDERS = {"cancellation", "0"}
_TIMES = {"start", "end", "start_date", "end_date", "made"}
_DECIMALS = (float, Decimal)
_MOMENT = re.compile(r"(?:\d{4}-\d\d-\d\d|\d{8})(?P<clock>[Tt ].+)?", re.ASCII)


#: One booking as its source has it: COLUMNS, OPTIONAL and others, each text, a number, a date, a time, None, or a
#: mapping or a list of these.
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Booking:
    """One session in the calendar.

    `subject` is what follows `sub-` in the PatientID, or the PatientID itself; `session` is a number from 0 to 99.
    `start` and `end` are naive datetimes in the site's time zone; `end` is None where it is not known. `user_last_name`
    is the login where the user is unknown. `birth_date`, `sex` (M, F or O, PS3.3 C.7.1.1), `weight` in kg and `size` in
    m are None where they are not known. `columns` is the row itself, for the site's own templates. `warnings` has a
    sentence for each value that was there and could not be used.
    """

    booking_id: str
    project_id: str
    project_title: str
    subject: str
    session: int
    start: datetime
    lab: str
    user_first_name: str
    user_last_name: str
    status: str
    end: datetime | None = None
    birth_date: date | None = None
    sex: str | None = None
    weight: float | None = None
    size: float | None = None
    columns: Row = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = ()


def text(row: Row, column: str) -> str:
    """Return a column as text without surrounding blanks; NULL, and a column that isn't there, is the empty text."""
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape").strip()
    return str(value).strip()


def shown(row: Row, column: str, reading: Reading) -> str:
    """Return a column as text; a time with a zone becomes the one at the site."""
    moment = _moment(row, column) if column in _TIMES else None
    local = _local(moment, reading) if moment and moment.tzinfo else None
    return local.isoformat() if local else text(row, column)


def nested(name: str, value: object, levels: int = DEEPEST) -> Iterator[tuple[str, object]]:
    """Yield what lies within a mapping in a row, each by its path: `a` and within it `b` is `a_b`.

    A dot in a name counts as such a path. What lies deeper than `levels` is left out.
    """
    if isinstance(value, Mapping) and levels:
        for key, inner in value.items():
            path = f"{name}_{key}".replace(".", "_")
            yield path, inner
            yield from nested(path, inner, levels - 1)


def printable(text: str) -> str:
    """Return the text with what no terminal and no JSON should get (control codes, bad bytes) as escapes."""
    if text.isprintable():  # nearly all are, and a page has thousands
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def not_given(rows: Sequence[Row]) -> list[str]:
    """Return the known columns that no row has, no rule makes, and no other column stands in place of.

    Without rows nothing is known, so the list is empty.
    """
    given = set[str]().union(*rows, *(getattr(row, "given", ()) for row in rows))
    if not given:
        return []
    asked = [*COLUMNS, *(["session"] if "subject" in given and "subject_session" not in given else []), *MORE]
    in_place: dict[str, tuple[str, ...]] = {column: (other,) for column, other in INSTEAD.items()}
    in_place["end"] = ("end_time", "minutes")
    return [column for column in asked if not given & {column, *in_place.get(column, ())}]


def lacking(columns: Sequence[str]) -> str:
    """Return which known columns the calendar doesn't give, for people."""
    status = "without status every booking counts; " if "status" in columns else ""
    return f"the calendar gives no {', '.join(columns)}; {status}if it has one of them, give it that name"


def counts(row: Row, reading: Reading) -> bool:
    """Return whether the row is a session that will take place: not cancelled, not a placeholder."""
    if "status" in row and text(row, "status").casefold() not in reading.statuses:
        return False
    if row.get("subject") is not None and text(row, "subject").lower() in _PLACEHOLDERS:
        return False
    return text(row, "subject_session").lower() not in _PLACEHOLDERS


def read_booking(row: Row, reading: Reading) -> Booking:
    """Read a row as a Booking.

    Raises:
        Rejected: a column has a value that makes no session; the reason names the column.
    """
    booking_id = _identifier(row, "booking_id")
    if not booking_id:
        raise Rejected("booking_id is empty: every booking needs an id of its own")
    start = read_start(row, reading)
    subject, session = _read_who(row, start, reading)
    warnings: list[str] = []
    if type(row.get("start_date")) is not date and (unused := _unused_time(row, start)):
        warnings.append(f"start_date {unused!r} has a time too, which is not used: start_time is")
    end = read_end(row, start, reading, warnings)
    return Booking(
        booking_id=booking_id,
        project_id=identity.read_project(_identifier(row, "project_id"), reading.characters),
        project_title=text(row, "project_title"),
        subject=subject,
        session=session,
        start=start,
        lab=text(row, "lab"),
        user_first_name=text(row, "user_first_name"),
        user_last_name=text(row, "user_last_name"),
        status=text(row, "status"),
        end=end,
        birth_date=_birth_date(row, start, warnings),
        sex=_sex(row, warnings),
        weight=_measure(row, "weight", WEIGHTS, "kilograms", warnings),
        size=_measure(row, "size", SIZES, "metres", warnings),
        columns=row,
        warnings=tuple(warnings),
    )


def read_date(row: Row, reading: Reading) -> date:
    """Return the day of a booking, in the site's time zone.

    Raises:
        Rejected: it is not a date of the form YYYY-MM-DD, or has a time that could make it another day's.
    """
    value = row.get("start_date")
    if type(value) is date and row.get("start") is None:  # most are
        return value
    if text(row, "start"):
        return read_start(row, reading).date()
    moment = _moment(row, "start_date")
    if moment is None:
        raise Rejected(f"start_date {value!r} is not a date: write YYYY-MM-DD")
    if moment.tzinfo is None:
        return moment.date()
    # many programs write a day as its first moment, in UTC; any other moment may be one of two days
    local = _local(moment, reading)
    if local is None or local.time() not in {time(0), _clock(row, "start_time")}:
        raise Rejected(
            f"start_date {str(value)!r} has a time zone and a time of its own: write YYYY-MM-DD as the day is at the "
            "site, or give date and time in the column start"
        )
    return local.date()


def read_start(row: Row, reading: Reading) -> datetime:
    """Return when a booking begins, naive, in the site's time zone.

    Raises:
        Rejected: its date is not a date, or its time not a time of day.
    """
    if given := text(row, "start"):
        start = local_time(row, "start", reading)
        if start is None:
            remedy = identity.hidden(given) or "write 2026-11-24T09:30:00, with a zone or without"
            raise Rejected(f"start {given!r} is not a date and time: {remedy}")
        return start
    clock = _clock(row, "start_time")
    day = read_date(row, reading)
    if clock is None:
        given = text(row, "start_time")
        if given == "all day":
            raise Rejected("the event is of all day and has no time: give it a start in the calendar")
        remedy = identity.hidden(given) or (
            "write HH:MM:SS, such as 09:30:00. A booking for all day needs a time, too: give it one in the calendar"
        )
        raise Rejected(f"start_time {given!r} is not a time of day: {remedy}")
    return datetime.combine(day, clock)


def local_time(row: Row, column: str, reading: Reading) -> datetime | None:
    """Return the date and time of a column, naive, in the site's time zone; None if it is neither."""
    moment = _moment(row, column, with_clock=True)
    return moment and _local(moment, reading)


def _unused_time(row: Row, start: datetime) -> str:
    """Return the text of a start_date whose own time is not that of the start; else nothing."""
    written = text(row, "start_date")
    if len(written) <= len("2026-11-24") or text(row, "start"):
        return ""
    typed = _moment(row, "start_date")
    return written if typed and not typed.tzinfo and typed.time() not in {time(0), start.time()} else ""


def read_end(row: Row, start: datetime, reading: Reading, warnings: list[str]) -> datetime | None:
    """Return when a booking that begins at `start` ends, naive, in the site's time zone; None if it isn't known.

    The first of these that is given counts: `end`, `end_time` (of `end_date`, or the first one after the start),
    `minutes`. One that can't be right is not used, with a warning: the subject is scanned anyway.
    """
    for column, read in (("end", _end), ("end_time", _end_time), ("minutes", _end_minutes)):
        value = row.get(column)
        if value is None or not text(row, column):
            continue
        try:
            end = read(row, start, reading)
        except (OverflowError, ValueError):
            end = None
        if end is None:
            why = "can't be read"
        elif end <= start:
            why = f"is not after the start, {start:%Y-%m-%d %H:%M}"
        elif end - start >= LONGEST_SESSION:
            why = f"is a day or more after the start, {start:%Y-%m-%d %H:%M}"
        else:
            return end
        warnings.append(f"{column} {text(row, column)!r} {why}: when this booking ends is not known")
        return None
    return None


def _end(row: Row, start: datetime, reading: Reading) -> datetime | None:  # noqa: ARG001 - all three are called alike
    return local_time(row, "end", reading)


def _end_time(row: Row, start: datetime, reading: Reading) -> datetime | None:
    clock = _clock(row, "end_time")
    midnight = clock is None and _is_24(row)
    if clock is None and not midnight:
        return None
    clock = clock or time(0)
    if text(row, "end_date"):
        moment = _moment(row, "end_date")
        day = moment and _local(moment, reading)
        return day and datetime.combine(day, clock) + timedelta(days=midnight)
    end = datetime.combine(start, clock)
    return end if end > start else end + timedelta(days=1)


def _end_minutes(row: Row, start: datetime, reading: Reading) -> datetime:  # noqa: ARG001 - all three are called alike
    value = row["minutes"]
    return start + (value if isinstance(value, timedelta) else timedelta(minutes=float(text(row, "minutes"))))


def _read_who(row: Row, start: datetime, reading: Reading) -> tuple[str, int]:
    """Return subject and session; where the source gives them twice they must be the same."""
    if "subject_session" not in row and "subject" not in row:
        raise Rejected(
            "there is no column subject_session (or subject in its place): the row and the patterns give "
            f"{', '.join(sorted(map(str, row)))}"
        )
    both = _identifier(row, "subject_session")
    if row.get("subject") is None and row.get("session") is None:  # the usual case
        return identity.read_subject_session(both, start, reading)
    subject, session = _identifier(row, "subject"), _identifier(row, "session")
    whole = identity.read_subject_session(both, start, reading) if both or not subject else None
    read = (
        identity.read_subject(subject, start, reading) if subject else whole[0] if whole else "",
        identity.read_session(session) if session else whole[1] if whole else 1,
    )
    if whole and whole != read:
        raise Rejected(
            f"subject_session {both!r} and the columns subject {subject!r} and session {session!r} differ: "
            "leave one of them empty"
        )
    return read


def names_session(row: Row) -> bool:
    """Return whether a row that can be read says which session it is; otherwise it is taken for the first."""
    return bool(text(row, "session")) or identity.names_session(text(row, "subject_session"))


def _birth_date(row: Row, start: datetime, warnings: list[str]) -> date | None:
    """Return when the subject was born; None, with a warning if it was given, where that isn't known."""
    if not text(row, "birth_date"):
        return None
    moment = _moment(row, "birth_date")
    if moment is None:
        why = "is not a date: write YYYY-MM-DD"
    elif not start.date() - timedelta(days=130 * 365) < moment.date() <= start.date():
        why = f"can't be right for a session on {start:%Y-%m-%d}"
    else:
        return moment.date()
    warnings.append(f"birth_date {text(row, 'birth_date')!r} {why}. It is left out, so the console asks for it")
    return None


def _sex(row: Row, warnings: list[str]) -> str | None:
    typed = text(row, "sex")
    if typed and typed.lower() not in SEXES:
        warnings.append(f"sex {typed!r} is not M, F or O. It is left out, so the console asks for it")
    return SEXES.get(typed.lower())


def _measure(row: Row, column: str, between: tuple[float, float], unit: str, warnings: list[str]) -> float | None:
    """Return a number; None, with a warning if it was given, where it isn't a person's in this unit."""
    typed = text(row, column)
    if not typed:
        return None
    try:
        number = float(typed)
    except ValueError:
        pass
    else:
        if between[0] <= number <= between[1]:
            return number
    warnings.append(f"{column} {typed!r} {_why_not(typed, between, unit)}. It is left out, so the console asks for it")
    return None


def _why_not(typed: str, between: tuple[float, float], unit: str) -> str:
    """Return why a text is not a number of a person, and what to write."""
    found = re.match(r"([0-9]+)(?:[.,]([0-9]+))?", typed, re.ASCII)
    written = ".".join(filter(None, found.groups())) if found else ""
    if unit == "metres" and written and between[1] < float(written) <= 100 * between[1]:
        return f"is more than {between[1]} metres: centimetres? write {float(written) / 100:.2f}"
    if found and found[0] == typed and "," in typed:
        return f"is not a number: write a point, {written}"
    try:
        float(typed)
    except ValueError:
        return f"is not a number: write {f'{written}, without a unit' if written else 'one such as 70.5'}"
    return f"is not a person's in {unit}, from {between[0]} to {between[1]}"


def _identifier(row: Row, column: str) -> str:
    """Return the text of a column that identifies something.

    Raises:
        Rejected: it is a number that may have lost digits on its way.
    """
    value = row.get(column)
    if isinstance(value, _DECIMALS):
        raise Rejected(
            f"{column} {value} comes as a number with decimals, which loses zeros (3010000.10 is 3010000.1): "
            "make the column text"
        )
    return text(row, column)


def _moment(row: Row, column: str, *, with_clock: bool = False) -> datetime | None:
    """Return a date, or a date and time, however a source gives it; None if it is neither."""
    value = row.get(column)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return None if with_clock else datetime.combine(value, time(0))
    written = text(row, column)
    match = _MOMENT.fullmatch(written)
    if match is None or (with_clock and not match["clock"]):
        return None
    try:
        return datetime.fromisoformat(" ".join(written.upper().split()))
    except ValueError:
        return None


def _local(moment: datetime, reading: Reading) -> datetime | None:
    """Return it naive, in the site's zone; None if that leaves the years that there are."""
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(reading.zone).replace(tzinfo=None, fold=0)
        except OverflowError:
            return None
    return moment.replace(microsecond=0)


def _clock(row: Row, column: str) -> time | None:
    """Return a time of day, however a source gives it; None if it is not one."""
    value = row.get(column)
    if isinstance(value, time):
        return None if value.tzinfo else value
    if isinstance(value, timedelta):  # how a MySQL TIME arrives; it may lie outside one day
        if timedelta(0) <= value < timedelta(days=1):
            return (datetime.min + value).time()  # noqa: DTZ901 - only its time is used
    elif match := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.0*)?)?", text(row, column), re.ASCII):
        hour, minute, second = (int(part or 0) for part in match.groups())
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second)
    return None


def _is_24(row: Row) -> bool:
    """Return whether end_time is the end of a day, as people write it."""
    return row["end_time"] == timedelta(days=1) or re.fullmatch("24:00(?::00)?", text(row, "end_time")) is not None
