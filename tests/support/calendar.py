"""The DCCN calendar in SQLite, and the day, the time and the labs of the tests."""

import sqlite3
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

DAY = date(2026, 11, 24)
#: Noon of that day at the site.
NOW = datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))
PRISMA, PRISMAFIT, SKYRA, MEG = "Siemens PRISMA 3T", "Prismafit", "SKYRA", "MEG lab"
#: Who has an entry for PRISMA, where tests of faults need some.
PATIENTS = [f"3010000.01_sub-{number:03}" for number in range(1, 6)]


class Calendar:
    """The DCCN calendar in SQLite; an id may be there twice, as in somebody's faulty view."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._do(
            "CREATE TABLE calendar_items_new "
            "(id, project_id, calendar_id, user_id, subj_ses, start_date DATE, start_time TIME, status)",
            "CREATE TABLE projects (id PRIMARY KEY, projectName)",
            "CREATE TABLE calendars (id PRIMARY KEY, description)",
            "CREATE TABLE users (id PRIMARY KEY, firstName, lastName)",
            "INSERT INTO projects VALUES ('3010000.01', 'Language and the brain')",
            "INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace')",
        )
        for lab in (PRISMA, PRISMAFIT, SKYRA, MEG):
            self.add_lab(lab)

    def add_lab(self, lab: str) -> None:
        self._run("INSERT INTO calendars VALUES (?, ?)", lab, lab)

    def add_project(self, project: str, title: object) -> None:
        self._run("INSERT INTO projects VALUES (?, ?)", project, title)

    def add_user(self, login: str, first: str | None, last: str | None) -> None:
        self._run("INSERT INTO users VALUES (?, ?, ?)", login, first, last)

    def book(
        self,
        booking_id: object,
        subj_ses: str = "7-1",
        *,
        lab: str = PRISMA,
        day: object = DAY.isoformat(),
        time: str = "09:00:00",
        project: str = "3010000.01",
        user: str = "adalov",
        status: str = "CONFIRMED",
    ) -> None:
        values = (booking_id, project, lab, user, subj_ses, str(day), time, status)
        columns = "id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status"
        self._run(f"INSERT INTO calendar_items_new ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)

    def change(self, booking_id: object, **columns: object) -> None:
        settings = ", ".join(f"{name} = ?" for name in columns)
        self._run(f"UPDATE calendar_items_new SET {settings} WHERE id = ?", *columns.values(), booking_id)

    def with_ends(self) -> None:
        """Give bookings the column `stop_time`."""
        self._run("ALTER TABLE calendar_items_new ADD COLUMN stop_time TIME")

    def delete(self, booking_id: object) -> None:
        self._run("DELETE FROM calendar_items_new WHERE id = ?", booking_id)

    def _do(self, *statements: str) -> None:
        for statement in statements:
            self._run(statement)

    def _run(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(statement, values)
