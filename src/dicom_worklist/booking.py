"""What a booking is, and how a row of the calendar is read as one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from dicom_worklist.errors import Rejected

#: The columns that every source gives.
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
#: The columns that a source may give besides.
OPTIONAL = tuple("subject session start end end_date end_time minutes birth_date sex weight size".split())  # noqa: SIM905

#: One booking as its source has it: COLUMNS and OPTIONAL, each text, a number, a date, a time or None.
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Booking:
    """One session in the calendar.

    `subject` is what follows `sub-` in the PatientID, `session` a number from 0 to 99, `start` a naive
    datetime in the site's time zone. `user_last_name` is the login where the user is unknown.
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


def text(row: Row, column: str) -> str:
    """Return a column as text without surrounding blanks; NULL is the empty text."""
    value = row[column]
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape").strip()
    return str(value).strip()


def printable(text: str) -> str:
    """Return the text with what no terminal and no JSON should get (control codes, bad bytes) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def counts(row: Row) -> bool:
    """Tell whether the row is a session that will take place: not cancelled, not a placeholder."""
    return text(row, "status").upper() in {"CONFIRMED", "TENTATIVE"} and text(row, "subject_session").lower() not in {
        "cancellation",
        "0",
    }


def read_booking(row: Row) -> Booking:
    """Read a row as a Booking.

    Raises:
        Rejected: a column has a value that makes no session; the reason names the column.
    """
    booking_id = text(row, "booking_id")
    if not booking_id:
        raise Rejected("booking_id is empty: every booking needs an id of its own")
    start = read_start(row)
    subject, session = read_subject_session(text(row, "subject_session"), start)
    return Booking(
        booking_id=booking_id,
        project_id=text(row, "project_id"),
        project_title=text(row, "project_title"),
        subject=subject,
        session=session,
        start=start,
        lab=text(row, "lab"),
        user_first_name=text(row, "user_first_name"),
        user_last_name=text(row, "user_last_name"),
        status=text(row, "status"),
    )


def read_subject_session(subject_session: str, start: datetime) -> tuple[str, int]:
    """Read `<subject>-<session>` as the calendar's users type it.

    The first part is the subject, the last one the session; without a dash the session is 1.
    `7` → `007`, `x2` → `x002`, `Undefined` → the start of the booking, anything else is padded with
    zeros to three characters.

    Raises:
        Rejected: no subject, or a session that is no number from 0 to 99.
    """
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", subject_session):
        raise Rejected(
            f"subject_session {subject_session!r} is a date, as spreadsheets make of 7-1: format that column as text"
        )
    parts = [part.strip() for part in subject_session.split("-")]
    subject, session = parts[0], parts[-1] if len(parts) > 1 else "1"
    if not subject:
        raise Rejected(f"subject_session {subject_session!r} names no subject: write <subject>-<session>")
    if not re.fullmatch("0*[0-9]{1,2}", session):
        raise Rejected(
            f"subject_session {subject_session!r} has the session {session!r}: "
            "write a number from 0 to 99 after the last dash"
        )
    if subject.lower().startswith("undefined"):
        subject = f"{start:%Y%m%dT%H%M%S}"
    elif subject[0] in "xX" and len(subject) > 1:
        subject = "x" + subject[1:].rjust(3, "0")
    else:
        subject = subject.rjust(3, "0")
    return subject, int(session)


def read_date(row: Row) -> date:
    """Return the day of a booking, in the site's time zone.

    Raises:
        Rejected: it is no date of the form YYYY-MM-DD.
    """
    value = row["start_date"]
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return datetime.fromisoformat(text(row, "start_date")).date()
    except ValueError:
        raise Rejected(f"start_date {value!r} is no date: write YYYY-MM-DD") from None


def read_start(row: Row) -> datetime:
    """Return when a booking begins, naive, in the site's time zone.

    Raises:
        Rejected: its date is no date, or its time no time of a day.
    """
    return datetime.combine(read_date(row), _read_time(row))


def _read_time(row: Row) -> time:
    value = row["start_time"]
    if isinstance(value, time):
        return value.replace(tzinfo=None)
    if isinstance(value, timedelta):  # how a MySQL TIME arrives; it may lie outside one day
        if timedelta(0) <= value < timedelta(days=1):
            return (datetime.min + value).time()  # noqa: DTZ901 - only its time is used
    elif match := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.0*)?)?", text(row, "start_time"), re.ASCII):
        hour, minute, second = (int(part or 0) for part in match.groups())
        if hour < 24 and minute < 60 and second < 60:
            return time(hour, minute, second)
    raise Rejected(f"start_time {text(row, 'start_time')!r} is no time of a day: write HH:MM:SS")
