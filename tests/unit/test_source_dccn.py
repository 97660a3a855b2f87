"""The query of the DCCN calendar, as SQLite answers it."""

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from dicom_worklist.bookings.sources import _dccn
from support.calendar import DAY, Calendar
from support.sources import TODAY, bookings, error_of, sqlite_source


def test_the_dccn_query_names_each_column_from_its_table(calendar: Calendar) -> None:
    calendar.book(1, "7-2", lab="SKYRA")
    [booking] = bookings(sqlite_source(calendar.path)).values()
    assert (booking.project_id, booking.project_title) == ("3010000.01", "Language and the brain")
    assert (booking.user_last_name, booking.user_first_name) == ("Lovelace", "Ada")
    assert (booking.lab, booking.status, f"{booking.start}") == ("SKYRA", "CONFIRMED", f"{DAY} 09:00:00")


def test_a_missing_user_is_named_by_the_login(calendar: Calendar) -> None:
    calendar.add_user("empty", "", "")
    calendar.add_user("nameless", None, None)
    for booking_id, user in enumerate(["gone", "empty", "nameless", "adalov"]):
        calendar.book(booking_id, user=user)
    names = [booking.user_last_name for booking in bookings(sqlite_source(calendar.path)).values()]
    assert names == ["gone", "empty", "nameless", "Lovelace"]


def test_a_missing_project_leaves_the_booking(calendar: Calendar) -> None:
    calendar.book(1, project="3019999.99")
    assert bookings(sqlite_source(calendar.path))["1"].project_title == ""


def test_the_dccn_query_reads_only_the_days_asked_for(calendar: Calendar) -> None:
    for offset in range(-2, 3):
        calendar.book(offset, day=DAY + timedelta(days=offset))
    rows = sqlite_source(calendar.path).rows(DAY - timedelta(days=1), DAY + timedelta(days=1))
    assert [row["booking_id"] for row in rows] == [-1, 0, 1]


@pytest.mark.parametrize("there", [True, False])
def test_the_end_of_a_booking_is_read_where_the_calendar_has_it(there: bool, calendar: Calendar) -> None:
    calendar.book(1)
    if there:
        with closing(sqlite3.connect(calendar.path)) as connection, connection:
            connection.execute("ALTER TABLE calendar_items_new ADD COLUMN stop_time")
        calendar.change(1, stop_time="10:30:00")
    [row] = sqlite_source(calendar.path).rows(**TODAY)
    assert row.get("end_time", "none") == ("10:30:00" if there else "none")
    assert "stop_time" not in _dccn.QUERY_WITHOUT_END


@pytest.mark.parametrize("column", ["start_time", "subj_ses"])
def test_another_column_that_is_missing_is_an_error(column: str, calendar: Calendar) -> None:
    with closing(sqlite3.connect(calendar.path)) as connection, connection:
        connection.execute(f"ALTER TABLE calendar_items_new RENAME COLUMN {column} TO stop_times")
    assert f"no such column: item.{column}" in error_of(sqlite_source(calendar.path))
    query = "SELECT stop_time FROM calendar_items_new AS item"
    assert "no such column: stop_time. Check source.query" in error_of(sqlite_source(calendar.path, query))
