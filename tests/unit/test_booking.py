"""The rules by which a row of the calendar is read."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.booking import Reading, Row, counts, read_booking
from dicom_worklist.errors import Rejected
from dicom_worklist.identity import CHARACTERS, read_subject_session

START = datetime(2026, 11, 24, 9, 5, 7)  # noqa: DTZ001 - a booking's start is naive


READING = Reading(ZoneInfo("Europe/Amsterdam"))


def row(**columns: object) -> Row:
    return {
        "booking_id": 4711,
        "project_id": "3010000.01",
        "project_title": "Language",
        "subject_session": "7-2",
        "start_date": date(2026, 11, 24),
        "start_time": timedelta(hours=9),
        "lab": "SKYRA",
        "user_first_name": "Ada",
        "user_last_name": "Lovelace",
        "status": "CONFIRMED",
    } | columns


@pytest.mark.parametrize(
    ("subject_session", "subject", "session"),
    [
        ("7", "007", 1),
        ("7-2", "007", 2),
        ("7 - 2", "007", 2),
        (" 7\t-\t2 ", "007", 2),
        ("12-3", "012", 3),
        ("123-3", "123", 3),
        ("1234-3", "1234", 3),
        ("7-0", "007", 0),
        ("7-12", "007", 12),
        ("7-99", "007", 99),
        ("7-02", "007", 2),
        ("7-002", "007", 2),
        ("x2", "x002", 1),
        ("X2-3", "x002", 3),
        ("x1234-3", "x1234", 3),
        ("ab-1", "0ab", 1),
        ("pilot-1", "pilot", 1),
        ("Undefined", "20261124T090507", 1),
        ("Undefined-2", "20261124T090507", 2),
        ("undefined subject - 2", "20261124T090507", 2),
        ("Undefined1-2", "20261124T090507", 2),
    ],
)
def test_one_dash_separates_subject_and_session(subject_session: str, subject: str, session: int) -> None:
    assert read_subject_session(subject_session, START, CHARACTERS) == (subject, session)


@pytest.mark.parametrize("subject_session", ["", " ", "-", "-1", " - 2", "--3"])
def test_no_subject_is_rejected(subject_session: str) -> None:
    with pytest.raises(Rejected, match="subject"):
        read_subject_session(subject_session, START, CHARACTERS)


@pytest.mark.parametrize("session", ["", " ", "x", "a1", "100", "1.5", "+1", "1 2", "٣", "²", "1\n2"])
def test_a_session_that_is_no_number_of_two_digits_is_rejected(session: str) -> None:
    with pytest.raises(Rejected, match="session"):
        read_subject_session(f"7-{session}", START, CHARACTERS)


@given(st.integers(0, 99999), st.integers(0, 99), st.sampled_from(["-", " - ", "-  ", "\u2013"]))
def test_any_number_is_padded_to_three_characters(subject: int, session: int, dash: str) -> None:
    assert read_subject_session(f"{subject}{dash}{session}", START, CHARACTERS) == (f"{subject:03}", session)


@pytest.mark.parametrize("status", ["CONFIRMED", "TENTATIVE", "confirmed", " Tentative "])
def test_a_confirmed_or_tentative_booking_counts(status: str) -> None:
    assert counts(row(status=status), READING)


@pytest.mark.parametrize("status", ["CANCELLED", "", None, "CONFIRMED?", "UNCONFIRMED"])
def test_another_status_does_not_count(status: str | None) -> None:
    assert not counts(row(status=status), READING)


@pytest.mark.parametrize("subject_session", ["Cancellation", "cancellation", " Cancellation ", "0", 0])
def test_a_placeholder_does_not_count(subject_session: object) -> None:
    assert not counts(row(subject_session=subject_session), READING)


@pytest.mark.parametrize("subject_session", ["0-1", "00", "10", "Cancellations-1"])
def test_what_only_looks_like_a_placeholder_counts(subject_session: str) -> None:
    assert counts(row(subject_session=subject_session), READING)


@pytest.mark.parametrize(
    "day", [date(2026, 11, 24), datetime(2026, 11, 24, 1, 2), "2026-11-24", " 2026-11-24 ", b"2026-11-24"]  # noqa: DTZ001
)  # fmt: skip
def test_a_date_is_read_however_a_source_gives_it(day: object) -> None:
    assert read_booking(row(start_date=day), READING).start.date() == date(2026, 11, 24)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (time(9, 5, 7), time(9, 5, 7)),
        (timedelta(hours=9, minutes=5, seconds=7), time(9, 5, 7)),
        (timedelta(0), time(0)),
        ("09:05:07", time(9, 5, 7)),
        ("9:05:07", time(9, 5, 7)),
        ("09:05", time(9, 5)),
        ("09:05:07.000000", time(9, 5, 7)),
        (" 23:59:59 ", time(23, 59, 59)),
        (b"09:05:07", time(9, 5, 7)),
    ],
)
def test_a_time_is_read_however_a_source_gives_it(value: object, expected: time) -> None:
    assert read_booking(row(start_time=value), READING).start.time() == expected


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("start_date", None),
        ("start_date", ""),
        ("start_date", "24-11-2026"),
        ("start_date", "2026-02-30"),
        ("start_date", 5),
        ("start_time", None),
        ("start_time", ""),
        ("start_time", "9 am"),
        ("start_time", "24:00:00"),
        ("start_time", "09:60"),
        ("start_time", timedelta(hours=-1)),
        ("start_time", timedelta(hours=24)),
        ("booking_id", None),
        ("booking_id", " "),
    ],
)
def test_a_value_that_makes_no_session_is_rejected_by_its_column(column: str, value: object) -> None:
    with pytest.raises(Rejected, match=column):
        read_booking(row(**{column: value}), READING)


def test_null_is_empty_and_blanks_around_text_go() -> None:
    booking = read_booking(
        row(user_first_name=None, project_title="  Language \n", user_last_name=b"M\xc3\xbcller"), READING
    )
    assert (booking.user_first_name, booking.project_title, booking.user_last_name) == ("", "Language", "Müller")
