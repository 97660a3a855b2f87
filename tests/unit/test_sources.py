"""Where bookings come from: each kind of source gives the same ones, or says what is wrong."""

import csv
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pymysql
import pytest

from dicom_worklist import sources
from dicom_worklist.booking import COLUMNS, Booking, Reading, read_booking
from dicom_worklist.errors import SourceError
from dicom_worklist.sources.mysql import TLS
from kit import DAY, Calendar

TODAY = {"first_day": DAY, "last_day": DAY}
HEADER = ",".join(COLUMNS)
LINE = f"1,3010000.01,Language,7-1,{DAY},09:00:00,SKYRA,Ada,Lovelace,CONFIRMED"


def sqlite_source(path: Path, query: str | None = None) -> sources.Source:
    source: sources.Source = sources.source_class("sqlite")(path=str(path), query=query)
    return source


def csv_source(path: Path, content: str | bytes | None = None) -> sources.Source:
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    source: sources.Source = sources.source_class("csv")(path=str(path))
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


@pytest.mark.parametrize("row", ["1,3010000.01", f"{LINE},more"], ids=["cut off in the middle", "a comma too many"])
def test_a_csv_that_is_not_whole_is_not_read_in_part(row: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"bookings.csv, line 3: it has \d+ fields, the header row 10"):
        csv_source(tmp_path / "bookings.csv", f"{HEADER}\n{LINE}\n{row}\n").rows(**TODAY)


def test_a_csv_with_semicolons_is_named_as_that(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="semicolons"):
        csv_source(tmp_path / "bookings.csv", f"{HEADER}\n{LINE}\n".replace(",", ";")).rows(**TODAY)


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


@pytest.mark.parametrize("code", [1044, 1045, 1142, 1143, 1698, 1820, 1862, 3118, 4151])
def test_a_user_who_may_not_read_is_named_with_the_remedy(
    code: int, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**options: object) -> None:
        raise pymysql.OperationalError(code, "no")

    monkeypatch.setattr(pymysql, "connect", refuse)
    with pytest.raises(
        SourceError, match=r"refuses the user 'dicomdf' \(no\).* unlock that user, or grant it SELECT on fcdc"
    ):
        mysql_source(closed_port).rows(**TODAY)


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
