"""A real MariaDB in a container, with the tables of the DCCN calendar."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pymysql
from docker.models.containers import Container

from support import live
from support.waiting import wait_until


class BookingDatabase:
    """A real MariaDB in a container, with the tables of the DCCN calendar."""

    def __init__(
        self,
        name: str = "test-mariadb",
        port: int = live.VARIABLES["worklist_sync_source"]["port"],
        *options: str,
        files: Path | None = None,
    ) -> None:
        """Start it; `options` are mariadbd's, `files` is a folder that it finds at /tls."""
        self.engine, self.port = docker.from_env(), port
        image, _ = self.engine.images.build(
            path=str(live.PROJECT / "tests/images/mariadb"), tag="test-mariadb", rm=True
        )
        for old in self.engine.containers.list(all=True, filters={"name": f"^{name}$"}):
            old.remove(force=True, v=True)
        self.container: Container = self.engine.containers.run(
            image,
            ["sh", "/start", *options],
            name=name,
            detach=True,
            ports={"3306/tcp": ("127.0.0.1", port)},
            volumes={str(files): {"bind": "/tls", "mode": "ro"}} if files else {},
        )
        self._wait()

    def connection(self) -> "pymysql.connections.Connection[Any]":
        """Connect as the calendar's own program would."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="tests", password=live.PASSWORD, database="fcdc", charset="utf8mb4",
            autocommit=True,
        )  # fmt: skip

    def do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as the calendar's own program would; return the rows that it gives."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def clear(self) -> None:
        for table in ("calendar_items_new", "projects", "calendars", "users"):
            self.do(f"DELETE FROM {table}")
        for at, lab in enumerate(("Siemens PRISMA 3T", "Prismafit", "SKYRA", "MEG lab"), start=1):
            self.do("INSERT INTO calendars VALUES (%s, %s)", at, lab)

    def book(
        self, booking_id: int, subj_ses: str, start: str, *, lab: int = 1, project: str = "3010000.01",
        user: str = "adalov", status: str = "CONFIRMED",
    ) -> None:  # fmt: skip
        """Book a session; `start` is `YYYY-MM-DD HH:MM:SS`, `lab` the place in the list of `clear`."""
        day, clock = start.split()
        values = (booking_id, project, lab, user, subj_ses, day, clock, status)
        self.do("INSERT INTO calendar_items_new VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", *values)

    def book_daily(self, booking_id: int, subj_ses: str) -> None:
        """Book the same for noon of yesterday, today and the next two days, for a cron job by the machine's own clock.

        The console has one of them, whichever day it is at the site, and should that change meanwhile.
        """
        for number in range(4):
            day = datetime.now(UTC).date() + timedelta(days=number - 1)
            self.book(booking_id + number, subj_ses, f"{day} 12:00:00")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.container.stop()
        try:
            yield
        finally:
            self.container.start()
            self._wait()

    def _wait(self) -> None:
        wait_until(lambda: self.do("SELECT 1"))

    def remove(self) -> None:
        self.container.remove(force=True, v=True)
