"""The booking database as it fails, and as it types: MariaDB against SQLite and CSV."""

import csv
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

import live
from dicom_worklist.booking import COLUMNS, Booking, Reading, read_booking
from dicom_worklist.errors import SourceError
from dicom_worklist.sources import source_class

DAY = "2026-10-25"
DAYS = date(2026, 10, 25), date(2026, 10, 26)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{live.PASSWORD}\n")
    return path


def mysql(password_file: Path, **settings: Any) -> Any:
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": live.VARIABLES["worklist_sync_source"]["port"],
        "database": "fcdc",
        "user": "dicomdf",
        "password_file": str(password_file),
    }
    return msgspec.convert(defaults | settings, source_class("mysql"))


ROWS = [
    (1, "3010000.01", 1, "adalov", "7-2", DAY, "09:30:00", "CONFIRMED"),
    (2, "3010000.02", 2, "jurmul", " x2 - 3 ", DAY, "00:00:00", "TENTATIVE"),
    (3, "3010000.02", 3, "nobody", "Undefined", DAY, "23:59:59", "CONFIRMED"),
    (4, "3010000.03", 1, "adalov", "a-b-c-4", DAY, "12:00:00", "CONFIRMED"),
    (5, "3010000.01", 1, "adalov", "7-2", "2026-10-27", "09:30:00", "CONFIRMED"),
]
PROJECTS = [("3010000.01", "50% of \"what\" 'we' \\ say ^ = [脳] 👩‍🔬"), ("3010000.02", "line\r\nbreak\tand tab")]
USERS = [("adalov", "Ada", "Lovelace"), ("jurmul", "Jürgen", "Müller")]


def test_all_kinds_of_source_give_the_same_bookings(
    booking_database: live.BookingDatabase, password_file: Path, tmp_path: Path
) -> None:
    booking_database.clear()
    with closing(sqlite3.connect(tmp_path / "calendar.sqlite")) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE projects (id, projectName);
            CREATE TABLE calendars (id, description);
            CREATE TABLE users (id, firstName, lastName);
            CREATE TABLE calendar_items_new
                (id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status);
            INSERT INTO calendars VALUES (1, 'Siemens PRISMA 3T'), (2, 'Prismafit'), (3, 'SKYRA');
            """
        )
        tables: dict[str, Sequence[tuple[object, ...]]] = {
            "projects": PROJECTS,
            "users": USERS,
            "calendar_items_new": ROWS,
        }
        for table, rows in tables.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
                booking_database.do(f"INSERT INTO {table} VALUES ({marks.replace('?', '%s')})", *row)
    rows_of = {
        "mysql": mysql(password_file).rows(*DAYS),
        "sqlite": source_class("sqlite")(path=str(tmp_path / "calendar.sqlite")).rows(*DAYS),
    }
    with (tmp_path / "bookings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([[row[column] for column in COLUMNS] for row in rows_of["mysql"]])
    rows_of["csv"] = source_class("csv")(path=str(tmp_path / "bookings.csv")).rows(*DAYS)

    bookings: dict[str, list[Booking]] = {
        kind: [read_booking(row, Reading(ZoneInfo("Europe/Amsterdam"))) for row in rows]
        for kind, rows in rows_of.items()
    }
    assert [booking.booking_id for booking in bookings["mysql"]] == ["1", "2", "3", "4"]
    assert bookings["mysql"][0].project_title == PROJECTS[0][1]
    assert bookings["mysql"][2].user_last_name == "nobody"
    assert bookings["mysql"] == bookings["sqlite"]
    assert bookings["mysql"] == bookings["csv"]


def test_a_site_writes_its_own_query(booking_database: live.BookingDatabase, password_file: Path) -> None:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    query = (
        "SELECT id AS booking_id, project_id, '100% :)' AS project_title, subj_ses AS subject_session, start_date, "
        "start_time, 'PRISMA' AS lab, '' AS user_first_name, user_id AS user_last_name, status "
        "FROM calendar_items_new WHERE start_date >= :first_day AND start_date <= %(last_day)s AND subj_ses LIKE '7%'"
    )
    (row,) = mysql(password_file, query=query).rows(*DAYS)
    assert row["project_title"] == "100% :)"
    with pytest.raises(SourceError, match="gives no column project_id, project_title"):
        mysql(password_file, query="SELECT id AS booking_id FROM calendar_items_new").rows(*DAYS)


def published(site: live.Site) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((live.ROOT / "wlbroker").rglob("*.wl"))}


def failing_sync(site: live.Site) -> str:
    """Sync with a source that fails: status 4, the worklist as it was, no password; what it says."""
    before = published(site)
    assert before
    done = site.run("sync", "-c", str(site.config), "--day", DAY)
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stdout == ""
    assert live.PASSWORD not in done.stderr
    assert published(site) == before
    return done.stderr


@pytest.fixture
def synced(site: live.Site, booking_database: live.BookingDatabase) -> live.Site:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    site.sync(DAY)
    return site


def test_a_stopped_database_leaves_the_worklist(synced: live.Site, booking_database: live.BookingDatabase) -> None:
    with booking_database.stopped():
        said = failing_sync(synced)
    assert "127.0.0.1:13306" in said
    assert "Check that the server runs" in said


def test_a_refused_password_leaves_the_worklist(synced: live.Site, booking_database: live.BookingDatabase) -> None:
    booking_database.do("ALTER USER dicomdf IDENTIFIED BY 'another'")
    try:
        said = failing_sync(synced)
    finally:
        booking_database.do("ALTER USER dicomdf IDENTIFIED BY %s", live.PASSWORD)
    assert "refuses the user 'dicomdf'" in said
    assert "booking-db.password" in said


def test_a_missing_table_leaves_the_worklist(synced: live.Site, booking_database: live.BookingDatabase) -> None:
    booking_database.do("RENAME TABLE projects TO projects_old")
    try:
        assert "projects" in failing_sync(synced)
    finally:
        booking_database.do("RENAME TABLE projects_old TO projects")


def test_a_database_that_is_not_there_is_named(password_file: Path) -> None:
    source = mysql(password_file, host="127.0.0.1", port=1, connect_timeout=1)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1 can't be read"):
        source.rows(*DAYS)


def test_a_silent_database_is_given_up_after_its_timeout(
    booking_database: live.BookingDatabase, password_file: Path
) -> None:
    slow = "SELECT SLEEP(30) AS booking_id"
    with pytest.raises(SourceError, match="timed out"):
        mysql(password_file, query=slow, read_timeout=1).rows(*DAYS)
