"""Bookings from a CSV file: encodings, delimiters, and files that are not whole."""

import json
import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_worklist import config
from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.errors import ConfigError, SourceError
from support.calendar import DAY
from support.command import command
from support.configuration import Configure
from support.sources import HEADER, LINE, TODAY, bookings, csv_source, error_of
from support.worklist_folder import entries


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
def test_windows_1252_is_a_guess_that_the_run_reports(
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


def test_a_bad_byte_in_utf_8_does_not_lead_to_a_guess(tmp_path: Path) -> None:
    for names in (["J\udcfcrgen", "Jürgen"], ["J\udcfcrgen", "Jürgen", "日本"], ["\udcfc", "\udcc3", "Ada", "é", "è"]):
        lines = [HEADER, *(LINE.replace("Ada", name) for name in names)]
        content = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
        rows = csv_source(tmp_path / "bookings.csv", content).rows(**TODAY)
        assert [row["user_first_name"] for row in rows] == names
        assert getattr(rows, "warnings", None) == ()


@pytest.mark.parametrize("encoding", ["cp-1252x", "hex", "€"])
def test_an_unknown_encoding_is_a_fault_of_the_configuration(encoding: str, configure: Configure) -> None:
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
def test_a_file_that_its_encoding_can_not_read_is_reported(
    encoding: str, content: bytes, said: str, tmp_path: Path
) -> None:
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
    assert [row["comment"] for row in rows] == ["", "", "x", "", "x"]
    assert all(row["status"] == "CONFIRMED" and "" not in row for row in rows)


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


def test_a_file_says_when_it_was_written(tmp_path: Path) -> None:
    source = csv_source(tmp_path / "bookings.csv", f"{HEADER}\n{LINE}\n")
    os.utime(tmp_path / "bookings.csv", (0, 86400))
    assert source.rows(**TODAY).made == datetime(1970, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_csv_that_is_cut_off_anywhere_is_an_error_or_ends_with_a_row(encoding: str, tmp_path: Path) -> None:
    """Nobody can see that a file was to go on after a row, or after what there is of a row's last column."""
    whole = spreadsheet(title='a line\nand "more"', rows=500).encode(encoding)
    rows = csv_source(tmp_path / "bookings.csv", whole).rows(**TODAY)
    failed, shorter = 0, []
    for cut in random.Random(14).sample(range(len(whole)), 500):
        source = csv_source(tmp_path / "bookings.csv", whole[:cut])
        try:
            shorter.append(source.rows(**TODAY))
        except SourceError:
            failed += 1
    assert failed + len(shorter) == 500
    assert failed > 400
    for read in shorter:
        assert read[:-1] == rows[: len(read[:-1])]
        for last, right in zip(read[-1:], rows[len(read) - 1 :], strict=False):
            assert {**last, "status": ""} == {**right, "status": ""}
            assert "CONFIRMED".startswith(str(last["status"]))


def test_a_csv_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "bookings.csv").open("wb") as file:
        file.truncate(100_000_001)
    assert "bookings.csv has more than 100 MB" in error_of(csv_source(tmp_path / "bookings.csv"))
