"""Where bookings come from: each kind of source gives the same ones, or says what is wrong."""

import csv
import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pymysql
import pytest

from dicom_worklist import config
from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import COLUMNS, OPTIONAL, Booking, read_booking
from dicom_worklist.bookings.sources import _dccn, as_rows
from dicom_worklist.bookings.sources import sqlite as sqlite_module
from dicom_worklist.bookings.sources.mysql import TLS
from dicom_worklist.errors import ConfigError, SourceError
from dicom_worklist.settings import Reading
from support.local import DAY, Calendar, Configure, command, entries, start

TODAY = {"first_day": DAY, "last_day": DAY}
HEADER = ",".join(COLUMNS)
LINE = f"1,3010000.01,Language,7-1,{DAY},09:00:00,SKYRA,Ada,Lovelace,CONFIRMED"


def sqlite_source(path: Path, query: str | None = None) -> sources.Source:
    source: sources.Source = sources.source_class("sqlite")(path=str(path), query=query)
    return source


def csv_source(path: Path, content: str | bytes | None = None, encoding: str | None = None) -> sources.Source:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source: sources.Source = sources.source_class("csv")(path=str(path), encoding=encoding)
    return source


def mysql_source(port: int, **settings: object) -> sources.Source:
    where = {"host": "127.0.0.1", "port": port, "database": "fcdc", "user": "dicomdf", "connect_timeout": 1}
    source: sources.Source = sources.source_class("mysql")(**(where | settings))
    return source


def bookings(source: sources.Source) -> dict[str, Booking]:
    read = [read_booking(row, Reading(ZoneInfo("Europe/Amsterdam"))) for row in source.rows(**TODAY)]
    return {booking.booking_id: booking for booking in read}


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that accepts and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_file_is_a_kind_of_source() -> None:
    assert sources.kinds() == ["csv", "mysql", "sqlite"]


def test_sqlite_and_csv_give_the_same_bookings_for_the_same_rows(calendar: Calendar, tmp_path: Path) -> None:
    calendar.add_project("3010000.02", 'Titles, "quoted"; C:\\brain [2]\nand Zürich 日本')
    calendar.add_user("umlaut", "Jürgen", "Müller")
    calendar.book(1, " x2 - 3 ", project="3010000.02", user="umlaut", time="08:30:00")
    calendar.book(2, "Undefined", status="TENTATIVE")
    calendar.book("c-3", "12", user="gone")
    expected = bookings(sqlite_source(calendar.path))
    with (tmp_path / "bookings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*reversed(COLUMNS), "comment"], restval="ignored")
        writer.writeheader()
        writer.writerows([dict(row) for row in sqlite_source(calendar.path).rows(**TODAY)])
    assert bookings(csv_source(tmp_path / "bookings.csv")) == expected
    assert expected.keys() == {"1", "2", "c-3"}


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


@pytest.mark.parametrize("form", [":{}", "%({})s"])
def test_a_query_may_use_the_days_as_parameters_in_any_order_and_more_than_once(form: str, tmp_path: Path) -> None:
    first, last = form.format("first_day"), form.format("last_day")
    columns = ", ".join(f"'{column}' AS {column}" for column in COLUMNS[1:])
    query = f"SELECT {last} || ' ' || {first} || ' ' || {last} || ' 10%' AS booking_id, {columns}"
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    [row] = sqlite_source(tmp_path / "empty.sqlite", query).rows(date(2026, 1, 1), date(2026, 1, 2))
    assert row["booking_id"] == "2026-01-02 2026-01-01 2026-01-02 10%"


def test_a_query_needs_no_parameters(calendar: Calendar) -> None:
    query = "SELECT " + ", ".join(f"'{column}' AS {column}" for column in COLUMNS)
    assert sqlite_source(calendar.path, query).rows(**TODAY) == [{column: column for column in COLUMNS}]


def test_a_source_may_give_further_columns_and_no_others_are_kept() -> None:
    names = [*OPTIONAL, "comment", *reversed(COLUMNS)]
    [row] = as_rows(names, [[f"the {name}" for name in names]], "it")
    assert row == {name: f"the {name}" for name in (*COLUMNS, *OPTIONAL)}


@pytest.mark.parametrize(
    ("instead", "left_out"),
    [
        (["subject"], ["subject_session"]),
        (["start"], ["start_date", "start_time"]),
        (["subject", "session"], ["subject_session"]),
    ],
)
def test_one_column_stands_in_place_of_another(instead: list[str], left_out: list[str], tmp_path: Path) -> None:
    names = [*instead, *(name for name in COLUMNS if name not in left_out)]
    columns = ", ".join(f"'{name}' AS {name}" for name in names)
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    csv_text = f"{','.join(names)}\n{','.join(names)}\n"
    for source in (
        sqlite_source(tmp_path / "empty.sqlite", f"SELECT {columns}"),
        csv_source(tmp_path / "bookings.csv", csv_text),
        csv_source(tmp_path / "semicolons.csv", csv_text.replace(",", ";")),
    ):
        assert source.rows(**TODAY) == [{name: name for name in names}]


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("subject_session", "no column subject_session (or subject in its place):"),
        ("start_date", "no column start_date (or start in its place):"),
        ("start_time", "no column start_time (or start in its place):"),
        ("lab", "no column lab:"),
    ],
)
def test_a_missing_column_is_named_with_what_may_stand_in_its_place(missing: str, named: str) -> None:
    with pytest.raises(SourceError, match=r"Fix source[.]query, or the header row") as caught:
        as_rows([name for name in COLUMNS if name != missing], [], "it")
    assert named in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
def test_missing_columns_are_named(kind: str, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    source = {
        "sqlite": sqlite_source(tmp_path / "empty.sqlite", "SELECT 1 AS booking_id, 2 AS lab"),
        "csv": csv_source(tmp_path / "bookings.csv", "booking_id,lab\n1,SKYRA\n"),
    }[kind]
    with pytest.raises(SourceError, match=r"no column project_id, .*status") as caught:
        source.rows(**TODAY)
    assert "lab," not in str(caught.value).partition(":")[0]


@pytest.mark.parametrize("make", [sqlite_source, csv_source])
def test_a_missing_file_is_named_and_not_made(make: type, tmp_path: Path) -> None:
    path = tmp_path / "absent é.db"
    with pytest.raises(SourceError, match=r"absent é[.]db"):
        make(path).rows(**TODAY)
    assert not path.exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("no database" * 100)
    with pytest.raises(SourceError, match=r"text.sqlite can't be read: .*database"):
        sqlite_source(tmp_path / "text.sqlite").rows(**TODAY)


def said_of(source: sources.Source) -> str:
    with pytest.raises(SourceError) as caught:
        source.rows(**TODAY)
    return str(caught.value)


def test_each_failure_of_a_database_file_has_its_remedy(calendar: Calendar, tmp_path: Path) -> None:
    (tmp_path / "short.sqlite").write_text("no")
    (tmp_path / "zero.sqlite").touch()
    (tmp_path / "other.sqlite").write_bytes(b"")
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection:
        connection.execute("CREATE TABLE bookings (id)")
    (tmp_path / "cut.sqlite").write_bytes(calendar.path.read_bytes()[:5000])
    assert "short.sqlite can't be read: file is not a database. Check source.path" in said_of(
        sqlite_source(tmp_path / "short.sqlite")
    )
    assert "zero.sqlite can't be read: the file is empty" in said_of(sqlite_source(tmp_path / "zero.sqlite"))
    assert "no such table: calendar_items_new. Other tables" in said_of(sqlite_source(tmp_path / "other.sqlite"))
    assert "malformed. The file is damaged" in said_of(sqlite_source(tmp_path / "cut.sqlite"))
    assert f"{tmp_path} can't be read: Is a directory. Check source.path" in said_of(sqlite_source(tmp_path))
    assert "absent can't be read: No such file or directory. Check" in said_of(sqlite_source(tmp_path / "absent"))
    assert "write a SELECT" in said_of(sqlite_source(calendar.path, "DELETE FROM users"))


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_database_that_is_held_is_named_as_that(
    mode: str, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "PATIENCE", 0)
    with closing(sqlite3.connect(calendar.path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        assert "is locked. Another program has held it" in said_of(sqlite_source(calendar.path))
        other.execute("ROLLBACK")


def killed_in_the_middle(path: Path, mode: str) -> None:
    """Let a process change a database and die before it is done."""
    if (child := os.fork()) == 0:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO projects VALUES (?, ?)", ((at, "x" * 1000) for at in range(1000)))
        if mode == "wal":
            connection.execute("COMMIT")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_change_that_was_not_finished_is_named(calendar: Calendar) -> None:
    killed_in_the_middle(calendar.path, "delete")
    assert Path(f"{calendar.path}-journal").exists()
    said = said_of(sqlite_source(calendar.path))
    assert "a program stopped in the middle of a change" in said
    assert "source.query" not in said


def as_nobody(source: sources.Source) -> str:
    """Read as a user without rights, in a process of its own; return what it says."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            said = f"{len(source.rows(**TODAY))} bookings"
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent judges it
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may look into."""
    with TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


HOLD_OPEN = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("UPDATE projects SET projectName = 'another'")
print("open", flush=True)
sys.stdin.read()
"""
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")


@only_root
def test_a_database_in_wal_mode_that_this_user_can_not_write_beside_is_named_as_that(open_folder: Path) -> None:
    calendar = Calendar(open_folder / "calendar.sqlite")
    calendar.book(1)
    source = sqlite_source(calendar.path)
    assert as_nobody(source) == "1 bookings"
    with closing(sqlite3.connect(calendar.path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    log, index = (Path(f"{calendar.path}-{what}") for what in ("wal", "shm"))
    assert not log.exists()
    wal = f"it is in WAL mode, and this user can't use or make {index}"
    assert wal in as_nobody(source)  # nobody has it open
    with start("-c", HOLD_OPEN, calendar.path) as program:
        assert program.stdout and program.stdout.readline() == "open\n"
        assert as_nobody(source) == "1 bookings"  # the calendar's own program has it open
        for path in (log, index):
            path.chmod(0o600)
            assert wal in as_nobody(source)
            path.chmod(0o644)
        program.communicate(timeout=10)
    killed_in_the_middle(calendar.path, "wal")
    index.unlink()
    said = as_nobody(source)
    assert wal in said
    assert f"Let this user write to them and in {open_folder}" in said
    assert "PRAGMA journal_mode = DELETE" in said
    assert "source.query" not in said
    open_folder.chmod(0o777)
    for path in (calendar.path, log):
        path.chmod(0o666)
    assert as_nobody(source) == "1 bookings"  # the remedy works


@only_root
def test_a_database_that_this_user_may_not_read_is_named_as_that(open_folder: Path) -> None:
    calendar = Calendar(open_folder / "calendar.sqlite")
    for path, mode in ((calendar.path, 0o600), (open_folder, 0o700)):
        before = path.stat().st_mode
        path.chmod(mode)
        assert "calendar.sqlite can't be read: Permission denied. Check source.path, and that this user may read" in (
            as_nobody(sqlite_source(calendar.path))
        )
        path.chmod(before & 0o777)


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
    assert f"no such column: item.{column}" in said_of(sqlite_source(calendar.path))
    query = "SELECT stop_time FROM calendar_items_new AS item"
    assert "no such column: stop_time. Check source.query" in said_of(sqlite_source(calendar.path, query))


def test_a_faulty_query_is_reported(calendar: Calendar) -> None:
    with pytest.raises(SourceError, match=r"near \"SELEKT\".*source.query"):
        sqlite_source(calendar.path, "SELEKT 1").rows(**TODAY)


def test_a_query_can_not_change_the_database(calendar: Calendar) -> None:
    calendar.book(1)
    with pytest.raises(SourceError, match="readonly"):
        sqlite_source(calendar.path, "DELETE FROM calendar_items_new").rows(**TODAY)
    assert len(sqlite_source(calendar.path).rows(**TODAY)) == 1


def test_bad_bytes_in_one_row_hide_no_other_row_of_a_database(calendar: Calendar) -> None:
    with closing(sqlite3.connect(calendar.path)) as connection, connection:
        connection.execute("INSERT INTO projects VALUES ('3010000.02', CAST(x'4dfc6c6c6572' AS TEXT))")
    calendar.book(1, project="3010000.02")
    calendar.book(2)
    assert bookings(sqlite_source(calendar.path)).keys() == {"1", "2"}


def test_bad_bytes_in_one_row_hide_no_other_row_of_a_csv(tmp_path: Path) -> None:
    lines = f"{HEADER}\n{LINE}\n{LINE.replace('1,', '2,', 1)}\n".encode().replace(b"Ada", b"J\xfcrgen", 1)
    assert bookings(csv_source(tmp_path / "bookings.csv", lines)).keys() == {"1", "2"}


@pytest.mark.parametrize(
    "content",
    [f"\ufeff{HEADER}\n{LINE}\n", f"{HEADER}\r\n{LINE}\r\n", f"{HEADER}\n\n{LINE}", f" {HEADER} \n{LINE}\n"],
    ids=["byte order mark", "CRLF", "empty line, no last line end", "blanks in the header"],
)
def test_a_csv_is_read_as_spreadsheets_write_it(content: str, tmp_path: Path) -> None:
    assert bookings(csv_source(tmp_path / "bookings.csv", content)).keys() == {"1"}


@pytest.mark.parametrize(
    "row",
    ["1,3010000.01", f"{LINE},more", LINE.rpartition(",")[0], f"{LINE},,more"],
    ids=["cut off in the middle", "a comma too many", "one field short", "one field further"],
)
def test_a_csv_that_is_not_whole_is_not_read_in_part(row: str, tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"bookings.csv, line 3: it has \d+ fields, the header row 10 .*UTF-8.*commas"
    ):
        csv_source(tmp_path / "bookings.csv", f"{HEADER}\n{LINE}\n{row}\n").rows(**TODAY)


TITLE = 'Zoë; Müller, 50\u20ac\tand "more"'


def spreadsheet(delimiter: str = ",", title: str = TITLE, lab: str = "Prüfstand PRISMA", rows: int = 1) -> str:
    """Return what a spreadsheet writes of this many bookings."""

    def line(*fields: object) -> str:
        quoted = (
            '"' + str(field).replace('"', '""') + '"' if set(str(field)) & set(',;\t"') else field for field in fields
        )
        return delimiter.join(map(str, quoted)) + "\r\n"

    booked = ("7-1", DAY, "09:00:00", lab, "Zoë", "Müller", "CONFIRMED")
    return line(*COLUMNS) + "".join(line(at, "3010000.01", title, *booked) for at in range(1, rows + 1))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("utf-16-le", None),
        ("utf-16-be", None),
        ("windows-1252", None),
        ("windows-1252", "windows-1252"),
        ("iso8859-15", "iso8859-15"),
        ("utf-8-sig", "windows-1252"),
    ],
)
def test_a_csv_is_read_in_whatever_it_was_saved(
    encoding: str, named: str | None, delimiter: str, tmp_path: Path
) -> None:
    content = spreadsheet(delimiter, rows=3)
    for mark in ("", "\ufeff") if encoding in ("utf-16-le", "utf-16-be") else ("",):
        source = csv_source(tmp_path / "bookings.csv", (mark + content).encode(encoding), named)
        read = bookings(source)
        assert read.keys() == {"1", "2", "3"}
        assert {(one.project_title, one.lab, one.user_first_name) for one in read.values()} == {
            (TITLE, "Prüfstand PRISMA", "Zoë")
        }


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_windows_1252_is_a_guess_that_the_run_tells(
    rows: int, configure: Configure, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bookings.csv"
    path.write_bytes(spreadsheet(";", title="Größe", rows=rows).encode("windows-1252"))
    changes = {"source": {"type": "csv", "path": str(path)}, "scanners.0.lab": "Prüf"}
    done = command("sync", "-c", configure(changes), "--day", str(DAY), "--json")
    report = json.loads(done.stdout)
    assert f"{path} is not UTF-8 (line 2 has the byte 0xF6): it is read as Windows-1252" in report["warnings"][0]
    assert "set source.encoding" in report["warnings"][0]
    shown = entries(folder)
    assert len(shown) == rows
    assert {str(entry.RequestingPhysician) for entry in shown.values()} == {"Müller^Zoë"}
    assert {entry.RequestedProcedureDescription for entry in shown.values()} == {"Größe"}
    changes["source"] = {"type": "csv", "path": str(path), "encoding": "windows-1252"}
    again = json.loads(command("sync", "-c", configure(changes), "--day", str(DAY), "--json").stdout)
    assert not [warning for warning in again["warnings"] if "Windows-1252" in warning]
    assert len(again["unchanged"]) == rows


@pytest.mark.parametrize("column", ["booking_id", "project_id", "subject_session"])
def test_no_identifier_is_a_guess(column: str, tmp_path: Path) -> None:
    typed = dict(zip(COLUMNS, LINE.split(","), strict=True)) | {column: "é7-1", "user_first_name": "Zoë"}
    content = f"{HEADER}\n{','.join(typed.values())}\n".encode("windows-1252")
    [row] = csv_source(tmp_path / "bookings.csv", content).rows(**TODAY)
    assert (row[column], row["user_first_name"]) == ("\udce97-1", "Zoë")
    [row] = csv_source(tmp_path / "bookings.csv", content, "windows-1252").rows(**TODAY)
    assert (row[column], row["user_first_name"]) == ("é7-1", "Zoë")


def test_a_byte_that_windows_1252_does_not_have_stays_a_fault_of_its_row(tmp_path: Path) -> None:
    content = "\n".join([HEADER, LINE, LINE.replace("Ada", "Müller"), ""]).encode("cp850")
    for encoding in (None, "windows-1252"):
        rows = csv_source(tmp_path / "bookings.csv", content, encoding).rows(**TODAY)
        assert [row["user_first_name"] for row in rows] == ["Ada", "M\udc81ller"]


def test_a_bad_byte_in_utf_8_is_no_reason_to_guess(tmp_path: Path) -> None:
    for names in (["J\udcfcrgen", "Jürgen"], ["J\udcfcrgen", "Jürgen", "日本"], ["\udcfc", "\udcc3", "Ada", "é", "è"]):
        lines = [HEADER, *(LINE.replace("Ada", name) for name in names)]
        content = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
        rows = csv_source(tmp_path / "bookings.csv", content).rows(**TODAY)
        assert [row["user_first_name"] for row in rows] == names
        assert getattr(rows, "warnings", None) == ()


@pytest.mark.parametrize("encoding", ["cp-1252x", "hex", "€"])
def test_an_encoding_that_is_none_is_a_fault_of_the_configuration(encoding: str, configure: Configure) -> None:
    path = configure({"source": {"type": "csv", "path": "/b.csv", "encoding": encoding}})
    with pytest.raises(ConfigError, match=r"source: encoding: .*write utf-8, utf-16 or windows-1252"):
        config.load(path)


@pytest.mark.parametrize(
    ("encoding", "content", "said"),
    [
        ("utf-16", b"\xff\xfeb\0o", "not whole, or not utf-16: truncated data at byte"),
        ("utf-16", spreadsheet().encode("utf-16")[:-1], "not whole, or not utf-16: truncated data at byte"),
        ("utf-32", b"abcdefg", "not whole, or not utf-32: "),
    ],
)
def test_what_an_encoding_can_not_say_is_named(encoding: str, content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"bookings.csv is {said}"):
        csv_source(tmp_path / "bookings.csv", content, encoding).rows(**TODAY)


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        ("sep=,\r\n", ","),
        ("sep=;\n", ";"),
        ("SEP=\t\r", "\t"),
        ("sep=|\n", "|"),
        ('"sep=;"\r\n', ";"),
        ("sep=;;;;\n", ";"),
    ],
)
def test_a_first_line_may_name_the_delimiter(first: str, delimiter: str, tmp_path: Path) -> None:
    content = first + spreadsheet(delimiter, title="a, b and c", rows=2)
    assert bookings(csv_source(tmp_path / "bookings.csv", content)).keys() == {"1", "2"}
    with pytest.raises(SourceError, match="line 5: it has 1 fields, the header row 10"):
        csv_source(tmp_path / "bookings.csv", content + "3\r\n").rows(**TODAY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sep=;\n" + spreadsheet(","), "UTF-8 with semicolons between its columns, gives no column booking_id, "),
        (spreadsheet("|"), "UTF-8 with commas between its columns, gives no column booking_id, .* is: booking_id|"),
        (spreadsheet(";").replace("lab", "room"), "UTF-8 with semicolons .*, gives no column lab. Its .*, room, "),
        (spreadsheet("\t").replace("lab", "room").encode("utf-16"), "UTF-16 with tabs .*, gives no column lab. Its "),
        (spreadsheet(";").replace("lab", "Löb").encode("cp1252"), r"Windows-1252 with semi.* lab. .* L\\udcf6b, "),
        (LINE, "UTF-8 with commas .* gives no column booking_id, .* Its first row is: 1, 3010000.01"),
    ],
)  # fmt: skip
def test_a_csv_without_its_columns_names_what_it_was_read_as(content: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        csv_source(tmp_path / "bookings.csv", content).rows(**TODAY)
    assert "source.encoding" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_row_may_be_short_of_columns_that_no_booking_needs(tmp_path: Path) -> None:
    header = f"{HEADER},end_time,comment,,"
    lines = [LINE, f"{LINE},10:30", f"{LINE},10:30,x", f"{LINE},,", f"{LINE},10:30,x,,,,", ",,,", ",,,,,,,,,,,,,,,", ""]
    rows = csv_source(tmp_path / "bookings.csv", "\n".join([header, *lines])).rows(**TODAY)
    assert [row["end_time"] for row in rows] == ["", "10:30", "10:30", "", "10:30"]
    assert all("comment" not in row and row["status"] == "CONFIRMED" for row in rows)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_a_short_row_without_a_line_end_is_a_file_that_was_cut_off(end: str, tmp_path: Path) -> None:
    source = csv_source(tmp_path / "bookings.csv", f"{HEADER},end_time,comment\n{LINE},10:30,x\n{LINE},10:3{end}")
    if end:
        assert len(source.rows(**TODAY)) == 2
    else:
        with pytest.raises(SourceError, match=r"bookings.csv ends in the middle of a row"):
            source.rows(**TODAY)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_csv_may_have_any_line_end_and_empty_lines(end: str, tmp_path: Path) -> None:
    titles = ["Language", f"one{end}two", "one\u2028two\x85three\x0bfour"]  # only the second ends a line, in quotes
    lines = [LINE.replace("1,", f"{at},", 1).replace("Language", f'"{title}"') for at, title in enumerate(titles)]
    content = end.join([HEADER, lines[0], "", lines[1], lines[2].replace('"', ""), "", ""])
    read = bookings(csv_source(tmp_path / "bookings.csv", content))
    assert [booking.project_title for booking in read.values()] == titles


def test_zeros_in_a_title_are_its_own_and_zeros_at_the_end_a_file_that_is_not_whole(tmp_path: Path) -> None:
    content = "\n".join([HEADER, LINE.replace("Language", "Lang\0uage"), ""])
    assert bookings(csv_source(tmp_path / "bookings.csv", content))["1"].project_title == "Lang\0uage"
    with pytest.raises(SourceError, match="line 3: it has 1 fields"):
        csv_source(tmp_path / "bookings.csv", content + "\0" * 512).rows(**TODAY)
    with pytest.raises(SourceError, match="is empty"):
        csv_source(tmp_path / "bookings.csv", b"\0" * 512).rows(**TODAY)


@pytest.mark.parametrize("content", [HEADER, f"{HEADER}\n", f"sep=,\n{HEADER}\n\n\n,,,\n"])
def test_a_csv_of_a_header_row_is_a_calendar_without_bookings(content: str, tmp_path: Path) -> None:
    assert csv_source(tmp_path / "bookings.csv", content).rows(**TODAY) == []


@pytest.mark.parametrize("column", ["booking_id", "status", "end_time"])
def test_a_column_that_is_there_twice_is_named(column: str, tmp_path: Path) -> None:
    content = f"{HEADER},end_time,end_time,comment,comment\n".replace("end_time,end_time", "end_time")
    assert csv_source(tmp_path / "bookings.csv", content).rows(**TODAY) == []
    with pytest.raises(SourceError, match=rf"read as UTF-8 with commas .* gives the column {column} twice"):
        csv_source(tmp_path / "bookings.csv", content.replace("comment", column, 1)).rows(**TODAY)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (f'{LINE}\n2,"never closed\n{LINE}\n{LINE}\n', 3),
        (f'{LINE}\n\n2,"closed" and more,x\n', 4),
        (f'{LINE}\n"' + "x" * 140_000 + '"\n', 3),
    ],
    ids=["never closed", "more behind the quote", "too long"],
)
def test_a_faulty_row_is_reported_with_the_line_in_which_it_begins(content: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"bookings.csv, line {line}: the row .* written twice"):
        csv_source(tmp_path / "bookings.csv", f"{HEADER}\n{content}").rows(**TODAY)


def test_a_faulty_csv_is_reported_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"bookings.csv, line 3"):
        csv_source(tmp_path / "bookings.csv", f'{HEADER}\n{LINE}\n2,"never closed\n').rows(**TODAY)


def test_an_empty_csv_lacks_its_columns(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no column booking_id"):
        csv_source(tmp_path / "bookings.csv", "").rows(**TODAY)


def test_a_refused_connection_names_host_and_port(closed_port: int) -> None:
    with pytest.raises(SourceError, match=f"fcdc on 127.0.0.1:{closed_port} can't be read.*source.host"):
        mysql_source(closed_port).rows(**TODAY)


def test_a_host_that_does_not_exist_is_named(closed_port: int) -> None:
    with pytest.raises(SourceError, match=f"db.invalid:{closed_port} can't be read"):
        mysql_source(closed_port, host="db.invalid").rows(**TODAY)


def test_a_silent_server_is_given_up_after_the_timeout(silent_port: int) -> None:
    began = time.monotonic()
    with pytest.raises(SourceError, match=f"127.0.0.1:{silent_port} can't be read"):
        mysql_source(silent_port, read_timeout=1).rows(**TODAY)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "said",
    [b"\1\0\0\0\x0a", b"\x05\0\0\0\x0a8.0\0", b"\1\0\0\0\xff", b"HTTP/1.1 400 Bad Request\r\n\r\n"],
    ids=["a version", "half a greeting", "half an error", "another protocol"],
)
def test_what_answers_and_is_no_mysql_is_told(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(said)

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(SourceError, match=rf"127.0.0.1:{port} can't be read: .+source.host"):
            mysql_source(port).rows(**TODAY)


def test_an_answer_that_is_no_utf_8_is_not_shown(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymysql, "connect", lambda **options: b"somebody \xff".decode())
    with pytest.raises(SourceError, match="can't decode byte 0xff") as caught:
        mysql_source(closed_port).rows(**TODAY)
    assert "somebody" not in str(caught.value)


def error_packet(code: int, said: str) -> bytes:
    """Return what a MySQL server says in place of its greeting."""
    body = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + said.encode()
    return len(body).to_bytes(3, "little") + b"\0" + body


@pytest.fixture
def refusing() -> Iterator[Callable[[int], str]]:
    """Returns what the source says of a server that answers with an error code."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refused(code: int) -> str:
            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.sendall(error_packet(code, "no"))

            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises(SourceError) as caught:
                mysql_source(server.getsockname()[1]).rows(**TODAY)
            return str(caught.value)

        yield refused


@pytest.mark.parametrize("code", [1044, 1045, 1142, 1143, 1698, 1820, 1862, 3118, 4151])
def test_a_user_who_may_not_read_is_named_with_the_remedy(code: int, refusing: Callable[[int], str]) -> None:
    said = refusing(code)
    assert "refuses the user 'dicomdf' (no). Put the right password into a file" in said
    assert "unlock that user, or grant it SELECT on fcdc" in said


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (1044, "or source.database is wrong"),
        (1698, "unix_socket"),
        (1040, "max_connections"),
        (1203, "MAX_USER_CONNECTIONS"),
        (1226, "MAX_USER_CONNECTIONS"),
        (1049, "Check source.database"),
        (1129, "FLUSH HOSTS"),
        (1130, "CREATE USER"),
        (3159, "set source.tls"),
        (1053, "Check that the server runs"),
    ],
)
def test_a_server_that_refuses_is_named_with_the_remedy(code: int, remedy: str, refusing: Callable[[int], str]) -> None:
    said = refusing(code)
    assert remedy in said
    assert ("source.host" in said) == (code == 1053)


def test_a_missing_password_file_is_named(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"password .*db.password: No such file"):
        mysql_source(closed_port, password_file=str(tmp_path / "db.password")).rows(**TODAY)


def test_a_password_that_is_no_text_is_not_shown(closed_port: int, tmp_path: Path) -> None:
    (tmp_path / "db.password").write_bytes(b"secret\xff")
    with pytest.raises(SourceError, match=r"db.password: it is not UTF-8") as caught:
        mysql_source(closed_port, password_file=str(tmp_path / "db.password")).rows(**TODAY)
    assert "secret" not in str(caught.value)


def test_missing_tls_files_are_reported(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"127.0.0.1:{closed_port} can't be read"):
        mysql_source(closed_port, tls=TLS(ca=str(tmp_path / "absent.pem"))).rows(**TODAY)
