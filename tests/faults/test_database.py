"""The booking database fails in every place where it can: the worklist stays, and the run reports why, in time."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist import config, pipeline
from dicom_worklist.errors import SourceError
from dicom_worklist.settings import Config
from support import live
from support.booking_database import BookingDatabase
from support.calendar import DAY, NOW
from support.command import command
from support.configuration import Configure
from support.failing_proxy import Proxy, garbage, nobody_answers, proxy
from support.tally import Tally
from support.worklist_folder import entries, worklist_files

SIZE = 6
FIRST, LAST, TITLE = "Zoë", "Müßig-Çelik", "Größe, Länge é"
BOOK = (
    "INSERT INTO calendar_items_new SELECT seq, '3010000.01', {lab}, 'adalov', CONCAT(seq, '-1'), %s, '09:00:00', "
    "'CONFIRMED' FROM seq_{first}_to_{last}"
)
TABLES = ("calendar_items_new", "projects", "calendars", "users")


@dataclass(frozen=True)
class Worklist:
    """A worklist that holds what the booking database says."""

    database: BookingDatabase
    folder: Path
    configure: Configure
    source: dict[str, Any]
    held: dict[str, bytes]

    def configured(self, **source: object) -> Path:
        return self.configure({"source": self.source | source, "scanners.0.charset": "ISO_IR 192"})

    def fails(self, tally: Tally, *words: str, seconds: float = 10, **source: Any) -> None:
        """Run the command on a source that fails, and judge what it says and leaves."""
        began = time.monotonic()
        done = command("sync", "-c", self.configured(**source), "--day", str(DAY))
        lasted = time.monotonic() - began
        self.judge(tally, done, words)
        tally.failed += lasted > seconds
        print(f"{lasted:.1f} s, {done.returncode}: {done.stderr}")  # is read if the test fails

    def judge(self, tally: Tally, done: subprocess.CompletedProcess[str], words: Sequence[str]) -> None:
        tally.tried += 1
        tally.wrong += (done.returncode, done.stdout, done.stderr.count("\n")) != (4, "", 1)
        tally.wrong += not all(word in done.stderr for word in ("fcdc on 127.0.0.1:", *words))
        tally.wrong += any(secret in done.stderr for secret in (live.PASSWORD, "not-the-password"))
        self.look(tally)

    def look(self, tally: Tally) -> None:
        found = worklist_files(self.folder)
        tally.lost += len(self.held.items() - found.items())
        tally.wrong += len(found.items() - self.held.items())

    def ends(self, tally: Tally, settings: Config) -> bool:
        """Sync in this process; return whether the calendar was read, which is right only if all of it was."""
        tally.tried += 1
        try:
            report = pipeline.run(settings, DAY, now=NOW)
        except SourceError:
            return False
        finally:
            self.look(tally)
        tally.wrong += (len(report.unchanged), report.rejected) != (len(self.held), [])
        return True


@pytest.fixture
def worklist(
    booking_database: BookingDatabase, configure: Configure, folder: Path, tmp_path: Path
) -> Iterator[Worklist]:
    booking_database.clear()
    booking_database.do("INSERT INTO projects VALUES ('3010000.01', %s)", TITLE)
    booking_database.do("INSERT INTO users VALUES ('adalov', %s, %s)", FIRST, LAST)
    booking_database.do(BOOK.format(first=1, last=SIZE, lab=1), DAY)
    (tmp_path / "password").write_text(f"{live.PASSWORD}\n")
    source = {
        "type": "mysql", "host": "127.0.0.1", "port": booking_database.port, "database": "fcdc", "user": "dicomdf",
        "password_file": str(tmp_path / "password"), "connect_timeout": 1, "read_timeout": 1,
    }  # fmt: skip
    worklist = Worklist(booking_database, folder, configure, source, {})
    pipeline.run(config.load(worklist.configured()), DAY, now=NOW)
    worklist.held.update(worklist_files(folder))
    assert len(worklist.held) == SIZE
    yield worklist
    booking_database.clear()


@contextmanager
def altered(database: BookingDatabase, there: str, back: str) -> Iterator[None]:
    database.do(there)
    try:
        yield
    finally:
        database.do(back)


def test_a_database_that_refuses_is_named_with_the_remedy(
    worklist: Worklist, tmp_path: Path, tally: Tally, often: Callable[[int, int], int]
) -> None:
    (tmp_path / "wrong").write_text("not-the-password\n")
    wrong = {"password_file": str(tmp_path / "wrong")}
    account = ("refuses the user 'dicomdf'", "grant it SELECT on fcdc")
    query = ("source.query",)
    sources: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"port": 1}, ("Connection refused", "Check that the server runs")),
        (wrong, ("refuses the user 'dicomdf'", f"Put the right password into {tmp_path / 'wrong'}")),
        ({"password_file": str(tmp_path / "absent")}, (f"read from {tmp_path / 'absent'}: No such file", "Write it")),
        ({"user": "stranger"}, ("refuses the user 'stranger'",)),
        ({"query": "SELECT"}, query),
        ({"query": "SELECT 1 AS booking_id"}, ("gives no column project_id, ", "Fix source.query")),
    ]
    alterations = [
        ("ALTER USER dicomdf ACCOUNT LOCK", "ALTER USER dicomdf ACCOUNT UNLOCK", account),
        ("REVOKE SELECT ON fcdc.* FROM dicomdf", "GRANT SELECT ON fcdc.* TO dicomdf", account),
        ("ALTER USER dicomdf PASSWORD EXPIRE", f"ALTER USER dicomdf IDENTIFIED BY '{live.PASSWORD}'", account),
        ("RENAME TABLE users TO people", "RENAME TABLE people TO users", ("users", *query)),
        ("ALTER TABLE users RENAME COLUMN lastName TO surname", "ALTER TABLE users RENAME COLUMN surname TO lastName",
         ("users.lastName", *query)),
    ]  # fmt: skip
    every = often(3, 1)
    for source, words in sources[::every]:
        worklist.fails(tally, *words, **source)
    for there, back, words in alterations[::every]:
        with altered(worklist.database, there, back):
            worklist.fails(tally, *words)
    assert worklist.ends(tally, config.load(worklist.configured()))


def test_a_database_that_answers_too_late_is_given_up_in_time(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    with nobody_answers() as port:
        worklist.fails(tally, "timed out", "is reached from this host", seconds=3, port=port)
    with proxy(worklist.database.port) as between:
        between.then = "silence"
        between.limit = 0
        worklist.fails(tally, "timed out", "Check that the server runs", seconds=3, port=between.port)
        for _ in range(often(0, 1)):  # with the defaults of the configuration
            defaults = {"connect_timeout": 10, "read_timeout": 30}
            worklist.fails(tally, "timed out", seconds=33, port=between.port, **defaults)
            late = "SELECT SLEEP(60) AS booking_id"
            worklist.fails(tally, "timed out", seconds=33, query=late, **defaults)


def cuts(total: int, tries: int) -> list[int]:
    """Return about so many places in an answer of `total` bytes."""
    return list(range(0, total, max(1, total // tries)))


def faulty(worklist: Worklist, tally: Tally, tries: int, fault: Callable[[Proxy, int], None]) -> None:
    """Let the database's answers fail at so many places, without TLS and with it."""
    with proxy(worklist.database.port) as between:
        settings = config.load(worklist.configured(port=between.port))
        for between.plain in (True, False):
            between.limit, between.instead, between.then = None, b"", "close"
            assert worklist.ends(tally, settings)
            total = between.passed
            for turn, place in enumerate(cuts(total, tries)):
                between.limit = place
                fault(between, turn)
                began = time.monotonic()
                # the last four bytes are the end's count of warnings and its flags: every row is there
                complete = between.plain and bool(between.instead) and place >= total - 4
                tally.wrong += worklist.ends(tally, settings) and not complete
                tally.failed += time.monotonic() - began > 2


def test_an_answer_that_is_cut_off_anywhere_changes_nothing(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    def cut(between: Proxy, turn: int) -> None:
        between.then = ("close", "reset")[turn % 2]

    faulty(worklist, tally, often(10, 250), cut)


def test_an_answer_that_stops_anywhere_changes_nothing(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    def stop(between: Proxy, turn: int) -> None:
        between.then = "silence"

    faulty(worklist, tally, often(1, 20), stop)


def test_garbage_instead_of_an_answer_changes_nothing(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    chance = random.Random(4)

    def talk(between: Proxy, turn: int) -> None:
        between.instead = garbage(chance)

    faulty(worklist, tally, often(10, 250), talk)


def test_tables_that_are_locked_are_not_waited_for_and_nobody_is_left_waiting(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    def waiting() -> int:
        return len(worklist.database.do("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'dicomdf'"))

    with closing(worklist.database.connection()) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES calendar_items_new WRITE, projects WRITE, users WRITE, calendars WRITE")
        for _ in range(often(1, 20)):
            worklist.fails(tally, "timed out", seconds=3)
        time.sleep(2)
        tally.failed += waiting()
        cursor.execute("UNLOCK TABLES")
    assert worklist.ends(tally, config.load(worklist.configured()))


def test_a_calendar_of_100_000_rows_is_read_within_the_minute(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    """All are of the same day; one in a hundred is for a scanner, the others are the MEG's."""
    rows = often(10_000, 100_000)
    worklist.database.do(BOOK.format(first=1001, last=1000 + rows, lab="IF(seq %% 100, 4, 2)"), DAY)
    path = worklist.configured(read_timeout=30)
    began = time.monotonic()
    done = command("sync", "-c", path, "--day", str(DAY))
    tally.failed += done.returncode != 0 or time.monotonic() - began > 60
    found = worklist_files(worklist.folder)
    tally.tried += rows
    tally.lost += SIZE + rows // 100 - len(found)
    tally.lost += len(worklist.held.items() - found.items())
    tally.fault += f" ({time.monotonic() - began:.1f} s)"


def test_an_empty_table_is_a_calendar_without_bookings(worklist: Worklist, tally: Tally) -> None:
    for table in TABLES:
        worklist.database.do(f"DELETE FROM {table}")
    done = command("sync", "-c", worklist.configured(), "--day", str(DAY))
    tally.tried += 1
    tally.failed += done.returncode != 0
    tally.wrong += "warning: this run leaves the worklist empty" not in done.stdout
    tally.wrong += len(worklist_files(worklist.folder))


def test_texts_are_the_same_in_every_collation(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    sets = ("utf8mb4", "utf8mb3", "latin1", "latin2", "cp1250", "ucs2", "utf16")
    known = worklist.database.do(
        "SELECT CHARACTER_SET_NAME, FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY "
        "WHERE CHARACTER_SET_NAME IN %s ORDER BY FULL_COLLATION_NAME",
        sets,
    )
    assert {"utf8mb4", "utf8mb3", "latin1"} <= {charset for charset, _ in known}
    settings = config.load(worklist.configured())
    said = entries(worklist.folder)["booking-1-PRISMA.wl"]
    assert str(said.RequestingPhysician) == f"{LAST}^{FIRST}"
    assert said.RequestedProcedureDescription == TITLE
    try:
        for charset, collation in known[:: often(len(known) // 3, 1)]:
            for table in TABLES:
                worklist.database.do(f"ALTER TABLE {table} CONVERT TO CHARACTER SET {charset} COLLATE {collation}")
            tally.failed += not worklist.ends(tally, settings)
    finally:
        for table in TABLES:
            worklist.database.do(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4")
