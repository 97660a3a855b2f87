"""What all kinds of source share: the same rows give the same bookings; columns, and files that are missing."""

import csv
import itertools
import sqlite3
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_worklist.bookings import sources
from dicom_worklist.bookings.booking import COLUMNS, MORE, NEEDED, OPTIONAL, counts, not_given
from dicom_worklist.bookings.sources import as_rows
from dicom_worklist.config import load
from dicom_worklist.errors import ConfigError, SourceError
from dicom_worklist.settings import Reading
from support.calendar import DAY, Calendar
from support.configuration import Configure
from support.sources import TODAY, bookings, csv_source, error_of, sqlite_source


def test_every_module_is_a_kind_of_source() -> None:
    assert sources.kinds() == ["csv", "http", "ical", "mysql", "postgresql", "sqlite"]


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


def test_a_source_may_give_further_columns_but_not_two_of_one_name() -> None:
    names = [*OPTIONAL, "comment", "twice", *reversed(COLUMNS), "twice"]
    [row] = as_rows(names, [[f"the {name}" for name in names]], "it")
    assert row == {name: f"the {name}" for name in (*COLUMNS, *OPTIONAL, "comment")}
    with pytest.raises(SourceError, match="gives the column twice twice"):
        as_rows(names, [], "it", ["twice"])


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
    with pytest.raises(SourceError, match=r"no column project_id, .*start_time") as caught:
        source.rows(**TODAY)
    assert not any(name in str(caught.value) for name in ("lab,", "project_title", "user_", "status"))


@pytest.mark.parametrize("kind", ["sqlite", "csv"])
@pytest.mark.parametrize("names", [NEEDED, ("booking_id", "project_id", "subject", "start", "lab")])
def test_a_booking_without_title_booker_and_status_is_one(kind: str, names: tuple[str, ...], tmp_path: Path) -> None:
    given = {"booking_id": "1", "project_id": "3010000.01", "subject_session": "7-1", "start_date": f"{DAY}",
             "start_time": "09:00", "lab": "SKYRA", "subject": "7", "start": f"{DAY}T09:00"}  # fmt: skip
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    columns = ", ".join(f"'{given[name]}' AS {name}" for name in names)
    csv_text = f"{','.join(names)}\n{','.join(given[name] for name in names)}\n"
    source = {
        "sqlite": sqlite_source(tmp_path / "empty.sqlite", f"SELECT {columns}"),
        "csv": csv_source(tmp_path / "bookings.csv", csv_text),
    }[kind]
    [booking] = bookings(source).values()
    assert (booking.project_title, booking.user_first_name, booking.user_last_name, booking.status) == ("", "", "", "")
    [row] = source.rows(**TODAY)
    assert counts(row, Reading(ZoneInfo("Europe/Amsterdam")))


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        ((), []),
        ((*COLUMNS, *MORE), []),
        ((*COLUMNS, *MORE[1:], "end_time"), []),
        (("booking_id", "project_id", "subject", "start", "lab", "staus", *MORE),
         ["project_title", "user_first_name", "user_last_name", "status", "session"]),
        ((*COLUMNS, "minutes", "birthdate", "sex", "weight", "size"), ["birth_date", "made"]),
    ],
)  # fmt: skip
def test_the_known_columns_that_a_calendar_lacks(names: tuple[str, ...], lacking: list[str]) -> None:
    assert not_given([dict.fromkeys(names[:3]), dict.fromkeys(names)]) == lacking


@pytest.mark.parametrize("make", [sqlite_source, csv_source])
def test_a_missing_file_is_named_and_not_made(make: type, tmp_path: Path) -> None:
    path = tmp_path / "absent é.db"
    with pytest.raises(SourceError, match=r"absent é[.]db"):
        make(path).rows(**TODAY)
    assert not path.exists()


ROW = ", ".join(f"'{name}' AS {name}" for name in COLUMNS)


@pytest.mark.parametrize(
    "query", [f"SELECT {ROW} FROM n", f"SELECT {ROW}, n, printf('%.*c', 100000, 'x') AS notes FROM n WHERE n <= 30"]
)
def test_a_query_that_gives_too_much_is_an_error_and_nothing_of_it_is_used(
    query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MOST_ROWS", 100)
    monkeypatch.setattr(sources, "MOST_BYTES", 1_000_000)
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    counted = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 101) "
    said = error_of(sqlite_source(tmp_path / "empty.sqlite", counted + query))
    assert "gives more than 100 rows or 1 MB" in said
    assert said.endswith("Narrow source.query to :first_day and :last_day")
    assert sqlite_source(tmp_path / "empty.sqlite", f"{counted} {query} LIMIT 30".replace("100000", "10000")).rows(
        **TODAY
    )


def test_parameters_are_found_in_a_query_whatever_else_is_in_it() -> None:
    query = "SELECT '100% :)', a::date FROM b WHERE c BETWEEN :first_day::date AND %(last_day)s AND d ? 'x' AND :days"
    bound, names = sources.bind(query, {"first_day": "$1", "last_day": "$2"})
    assert bound == "SELECT '100% :)', a::date FROM b WHERE c BETWEEN $1::date AND $2 AND d ? 'x' AND :days"
    assert names == ["first_day", "last_day"]


@pytest.mark.parametrize("value", [{"a": "x" * 10_000}, ["x" * 10_000], Decimal("1" * 10_000), b"x" * 10_000])
def test_a_value_that_is_no_text_counts_with_what_it_holds(value: object) -> None:
    with pytest.raises(SourceError, match="more than 100,000 rows or 100 MB"):
        for number, _ in enumerate(sources.limited(itertools.repeat([value]), "the calendar")):
            assert number < 10_000


ELSEWHERE = {"host": "db.example.org", "database": "bookings", "user": "reader"}


@pytest.mark.parametrize(
    "kind", [{"type": "sqlite", "path": "x"}, {"type": "mysql"} | ELSEWHERE, {"type": "postgresql"} | ELSEWHERE]
)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("day >= :firstday", "query uses :firstday; there is :first_day and :last_day"),
        ("day >= :first_day AND day < :tomorrow", "query uses :tomorrow; there is :first_day and :last_day"),
        ("day >= ':first_day'", "query has ':first_day' in quotes: take the quotes away"),
        ("day >= '%(last_day)s'", "query has '%(last_day)s' in quotes: take the quotes away"),
        ("day::date BETWEEN :first_day::date AND %(last_day)s AND note <> 'it''s :x' -- don't :y", ""),
        ("format(day, 'HH24:MI') < '09:00' /* :z ' */ AND a[1:n] = 1 AND \":q\" = :last_day", ""),
    ],
)
def test_a_parameter_that_there_is_not_is_told_when_the_file_is_read(
    where: str, said: str, kind: dict[str, object], configure: Configure
) -> None:
    path = configure({"source": kind | {"query": f"SELECT * FROM b WHERE {where}"}})
    if not said:
        assert load(path)
        return
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert f"source: {said}" in str(refused.value)
