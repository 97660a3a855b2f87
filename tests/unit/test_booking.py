"""The rules by which a row of the calendar is read."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.bookings.booking import Row, counts, read_booking, read_date
from dicom_worklist.bookings.identity import read_subject_session
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Reading

at = datetime.fromisoformat  # naive, as a booking's start is
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
    assert read_subject_session(subject_session, START, READING) == (subject, session)


@pytest.mark.parametrize("subject_session", ["", " ", "-", "-1", " - 2", "--3"])
def test_no_subject_is_rejected(subject_session: str) -> None:
    with pytest.raises(Rejected, match="subject"):
        read_subject_session(subject_session, START, READING)


@pytest.mark.parametrize("session", ["", " ", "x", "a1", "100", "1.5", "+1", "1 2", "٣", "²", "1\n2"])
def test_a_session_that_is_not_a_number_of_two_digits_is_rejected(session: str) -> None:
    with pytest.raises(Rejected, match="session"):
        read_subject_session(f"7-{session}", START, READING)


@given(st.integers(0, 99999), st.integers(0, 99), st.sampled_from(["-", " - ", "-  ", "\u2013"]))
def test_any_number_is_padded_to_three_characters(subject: int, session: int, dash: str) -> None:
    assert read_subject_session(f"{subject}{dash}{session}", START, READING) == (f"{subject:03}", session)


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
def test_a_value_that_can_not_be_read_is_rejected_with_its_column(column: str, value: object) -> None:
    with pytest.raises(Rejected, match=column):
        read_booking(row(**{column: value}), READING)


def test_null_is_empty_and_blanks_around_text_go() -> None:
    booking = read_booking(
        row(user_first_name=None, project_title="  Language \n", user_last_name=b"M\xc3\xbcller"), READING
    )
    assert (booking.user_first_name, booking.project_title, booking.user_last_name) == ("", "Language", "Müller")


# --- case 6 of the field: when it is ---


@pytest.mark.parametrize(
    "columns",
    [
        {"start_date": "2026-11-23T23:30:00Z", "start_time": "23:30:00"},
        {"start_date": "2026-11-23T23:30:00Z", "start_time": "09:00:00"},
        {"start_date": "2026-11-24T23:30:00Z", "start_time": timedelta(hours=23, minutes=30)},
        {"start_date": datetime(2026, 11, 23, 23, 30, tzinfo=UTC), "start_time": time(23, 30)},
        {"start_date": "2026-11-24T00:00:00Z", "start_time": "09:00:00"},  # west of Greenwich it is the day before
        {"start_date": "2026-11-24T01:00:00+05:00", "start_time": "01:00:00"},
        {"start_date": "2026-11-23 23:30+00", "start_time": "23:30"},
        {"start_time": time(9, tzinfo=UTC)},
        {"start_time": "09:00:00Z"},
        {"start_date": 1795478400},
        {"start_date": "1795478400000"},
        {"start_date": 46350},
        {"start_date": 46350.0},
        {"start": "2026-11-24"},
        {"start": date(2026, 11, 24)},
        {"start": "1795478400"},
        {"start": 1795478400},
        {"start": "2026-11-24T25:00"},
        {"start": "0001-01-01T00:00:00+05:00"},
        {"start": "yesterday 09:00"},
    ],
)
def test_case_6_a_moment_that_may_be_another_day_s_is_rejected(columns: dict[str, object]) -> None:
    with pytest.raises(Rejected, match=r"^start"):
        read_booking(row(**columns), READING)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"start": "2026-11-23T23:30:00Z"}, at("2026-11-24 00:30")),
        ({"start": "2026-11-24T01:30:00+05:00"}, at("2026-11-23 21:30")),
        ({"start": "2026-07-24T09:30:00Z"}, at("2026-07-24 11:30")),
        ({"start": datetime(2026, 11, 23, 23, 30, tzinfo=UTC)}, at("2026-11-24 00:30")),
        ({"start": "2026-11-24T09:30"}, at("2026-11-24 09:30")),
        ({"start": " 2026-11-24 09:30:15.5 "}, at("2026-11-24 09:30:15")),
        ({"start": b"20261124t083000z"}, at("2026-11-24 09:30")),
        ({"start": at("2026-11-24 09:30")}, at("2026-11-24 09:30")),
        ({"start": "2026-11-24T09:30", "start_date": None, "start_time": ""}, at("2026-11-24 09:30")),
        ({"start": " "}, at("2026-11-24 09:00")),
        ({"start_date": "2026-11-23T23:00:00Z"}, at("2026-11-24 09:00")),  # the first moment of the day
        ({"start_date": "2026-11-24T00:00:00+01:00"}, at("2026-11-24 09:00")),
        ({"start_date": "2026-11-24T08:00:00Z"}, at("2026-11-24 09:00")),
        ({"start_date": "20261124"}, at("2026-11-24 09:00")),
    ],
)
def test_case_6_a_moment_with_a_zone_is_converted_to_the_site_s(columns: dict[str, object], expected: datetime) -> None:
    booking = read_booking(row(**columns), READING)
    assert (booking.start, booking.warnings) == (expected, ())
    assert read_date(row(**columns), READING) == expected.date()


@pytest.mark.parametrize("value", ["2026-11-24 23:30", "2026-11-24T23:30:00", at("2026-11-24 23:30")])
def test_case_6_a_time_in_the_date_that_is_not_used_is_reported(value: object) -> None:
    booking = read_booking(row(start_date=value), READING)
    assert booking.start == at("2026-11-24 09:00")
    assert booking.warnings[0].startswith("start_date")
    assert read_booking(row(start_date=value, start_time="23:30"), READING).warnings == ()


# --- the end ---


@pytest.mark.parametrize(
    ("columns", "end"),
    [
        ({}, None),
        ({"end": None, "end_time": " ", "minutes": ""}, None),
        ({"end_date": date(2026, 11, 24)}, None),
        ({"end": "2026-11-24T10:30:00"}, at("2026-11-24 10:30")),
        ({"end": "2026-11-24T10:30:00Z"}, at("2026-11-24 11:30")),
        ({"end": datetime(2026, 11, 24, 9, 30, tzinfo=UTC), "minutes": 5}, at("2026-11-24 10:30")),
        ({"end_time": timedelta(hours=10, minutes=30)}, at("2026-11-24 10:30")),
        ({"end_time": "10:30"}, at("2026-11-24 10:30")),
        ({"start_time": "23:30", "end_time": "00:30"}, at("2026-11-25 00:30")),
        ({"start_time": "23:30", "end_time": "00:30", "end_date": "2026-11-25"}, at("2026-11-25 00:30")),
        ({"start_time": "23:30", "end_time": "24:00:00"}, at("2026-11-25 00:00")),
        ({"start_time": "23:30", "end_time": timedelta(days=1)}, at("2026-11-25 00:00")),
        ({"end_date": "2026-11-24", "end_time": "24:00"}, at("2026-11-25 00:00")),
        ({"start_date": "2026-12-31", "start_time": "23:30", "end_time": time(0, 30)}, at("2027-01-01 00:30")),
        ({"end_time": "08:59:59"}, at("2026-11-25 08:59:59")),
        ({"minutes": 90}, at("2026-11-24 10:30")),
        ({"minutes": 90.0}, at("2026-11-24 10:30")),
        ({"minutes": Decimal("90.5")}, at("2026-11-24 10:30:30")),
        ({"minutes": "90"}, at("2026-11-24 10:30")),
        ({"minutes": timedelta(hours=1, minutes=30)}, at("2026-11-24 10:30")),
        # the night in which the clock goes back: by the clock on the wall, as everywhere
        ({"start_date": "2026-10-25", "start_time": "01:30", "minutes": 120}, at("2026-10-25 03:30")),
    ],
)
def test_the_end_of_a_booking(columns: dict[str, object], end: datetime | None) -> None:
    booking = read_booking(row(**columns), READING)
    assert (booking.end, booking.warnings) == (end, ())


@pytest.mark.parametrize(
    ("column", "columns"),
    [
        ("end", {"end": "2026-11-24T08:00:00"}),
        ("end", {"end": "2026-11-24T09:00:00"}),
        ("end", {"end": "2026-11-25T09:00:00"}),
        ("end", {"end": "2062-11-24T10:00:00"}),
        ("end", {"end": "2026-11-24"}),
        ("end", {"end": "later\x1b[2J"}),
        ("end", {"end": "0001-01-01T00:00:00+05:00"}),
        ("end_time", {"end_time": "09:00:00"}),
        ("end_time", {"end_time": "10 am"}),
        ("end_time", {"end_time": timedelta(hours=-1)}),
        ("end_time", {"end_time": timedelta(hours=25)}),
        ("end_time", {"end_time": "10:00", "end_date": "2026-11-23"}),
        ("end_time", {"end_time": "10:00", "end_date": "2026-11-25"}),
        ("end_time", {"end_time": "10:00", "end_date": "tomorrow"}),
        ("end_time", {"end_time": "10:00", "end_date": "9999-12-31"}),
        ("minutes", {"minutes": 0}),
        ("minutes", {"minutes": -30}),
        ("minutes", {"minutes": 1440}),
        ("minutes", {"minutes": "1:30"}),
        ("minutes", {"minutes": "nan"}),
        ("minutes", {"minutes": float("inf")}),
        ("minutes", {"minutes": 1e300}),
        ("minutes", {"minutes": timedelta.max}),
        ("end_time", {"start_date": "9999-12-31", "start_time": "23:30", "end_time": "00:30"}),
    ],
)
def test_an_end_that_can_not_be_right_is_a_warning_not_a_rejection(column: str, columns: dict[str, object]) -> None:
    booking = read_booking(row(**columns), READING)
    assert booking.end is None
    [warning] = booking.warnings
    assert warning.startswith(f"{column} ")
    assert warning.isprintable()


# --- how a site reads its rows ---


def test_a_row_without_the_column_status_counts() -> None:
    without = {column: value for column, value in row().items() if column != "status"}
    assert counts(without, READING)
    assert read_booking(without, READING).status == ""


@pytest.mark.parametrize("status", ["Bestätigt", "BESTÄTIGT", " bestätigt "])
def test_a_site_has_statuses_of_its_own(status: str) -> None:
    reading = Reading(ZoneInfo("Europe/Amsterdam"), statuses=frozenset({"bestätigt"}))
    assert counts(row(status=status), reading)
    assert not counts(row(status="CONFIRMED"), reading)


@pytest.mark.parametrize("subject", ["Cancellation", "0", 0])
def test_a_placeholder_in_a_subject_s_own_column_does_not_count(subject: object) -> None:
    assert not counts(row(subject_session=None, subject=subject), READING)
    assert not counts(row(subject_session="Cancellation", subject="7"), READING)


# --- birth date, sex, weight and size ---


def person(**columns: object) -> tuple[dict[str, object], tuple[str, ...]]:
    booking = read_booking(row(**columns), READING)
    return {name: getattr(booking, name) for name in columns}, booking.warnings


@pytest.mark.parametrize(
    ("column", "given_as", "read"),
    [
        ("birth_date", date(1990, 2, 3), date(1990, 2, 3)),
        ("birth_date", datetime(1990, 2, 3), date(1990, 2, 3)),  # noqa: DTZ001
        ("birth_date", "1990-02-03", date(1990, 2, 3)),
        ("birth_date", "19900203", date(1990, 2, 3)),
        ("birth_date", date(2026, 11, 24), date(2026, 11, 24)),
        ("sex", "f", "F"),
        ("sex", " Male ", "M"),
        ("sex", "O", "O"),
        ("weight", "72.5", 72.5),
        ("weight", Decimal("72.50"), 72.5),
        ("weight", 72, 72.0),
        ("size", 1.8, 1.8),
        *((column, nothing, None) for column in ("birth_date", "sex", "weight", "size") for nothing in (None, "", " ")),
    ],
)
def test_a_person_s_data_is_read(column: str, given_as: object, read: object) -> None:
    assert person(**{column: given_as}) == ({column: read}, ())


@pytest.mark.parametrize(
    ("column", "typed", "rule"),
    [
        ("birth_date", "3.2.1990", "is not a date: write YYYY-MM-DD"),
        ("birth_date", "2026-11-25", "can't be right for a session on 2026-11-24"),
        ("birth_date", "1890-01-01", "can't be right for a session on 2026-11-24"),
        ("sex", "w", "is not M, F or O"),
        ("weight", "72,5", "is not a number: write a point, 72.5. "),
        ("weight", "72 kg", "is not a number: write 72, without a unit. "),
        ("weight", "72,5 kg", "is not a number: write 72.5, without a unit. "),
        ("weight", "heavy", "is not a number: write one such as 70.5. "),
        ("weight", "0", "is not a person's in kilograms, from 0.3 to 500. "),
        ("weight", "nan", "is not a person's in kilograms"),
        ("weight", "160000", "is not a person's in kilograms"),
        ("size", "1,8", "is not a number: write a point, 1.8. "),
        ("size", "180", "is more than 2.8 metres: centimetres? write 1.80. "),
        ("size", "180 cm", "is more than 2.8 metres: centimetres? write 1.80. "),
        ("size", "1800", "is not a person's in metres, from 0.2 to 2.8. "),
    ],
)
def test_a_person_s_data_that_can_not_be_right_is_left_out_with_a_warning(column: str, typed: str, rule: str) -> None:
    read, warnings = person(**{column: typed})
    assert read == {column: None}
    [warning] = warnings
    assert warning.startswith(f"{column} {typed!r} {rule}")
    assert warning.endswith("It is left out, so the console asks for it")


@pytest.mark.parametrize("blanks", [" ", "  ", "   "])
def test_blanks_between_date_and_time_are_one(blanks: str) -> None:
    start = f"2026-11-24{blanks}09:30"
    assert read_booking(row(start=start), READING).start == at("2026-11-24 09:30")
