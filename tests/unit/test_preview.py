"""`dicom-worklist preview`: what becomes of each row, and what it was read as."""

import sqlite3
import textwrap
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.calendar import DAY
from support.configuration import Configure
from support.sources import HEADER, LINE

NOW = f"{DAY}T06:00:00+01:00"
RULES = {
    "booking.columns": {"lab": "{{ Room }}", "booking_id": "{{ Nr }}", "project_title": "", "user_first_name": "",
                        "user_last_name": "", "start": "{{ Day }}T{{ From }}"},
    "booking.patterns": {"Title": r"(?P<project_id>\S+) (?P<subject>\S+)"},
    "ignored_labs": ["kitchen"],
}  # fmt: skip
LINES = [
    f"1,SKYRA,3010000.01 7,{DAY},09:00,CONFIRMED",
    f"2,SKYRA,7,{DAY},10:00,CONFIRMED",
    f"3,EEG,3010000.01 7,{DAY},09:00,CONFIRMED",
    f"4,kitchen,lunch,{DAY},12:00,CONFIRMED",
    f"5,SKYRA,3010000.01 7,{DAY},09:00,Cancelled",
    f"6,SKYRA,3010000.01 8,{DAY + timedelta(days=9)},09:00,CONFIRMED",
    f"7,SKYRA,3010000.01 8,{DAY + timedelta(days=1)},09:00,CONFIRMED",
    f"8,SKYRA,3010000.01 9,{DAY},11:00,CONFIRMED",
    f"8,SKYRA,3010000.01 9,{DAY},12:00,CONFIRMED",
    f"9,,3010000.01 9,{DAY},13:00,CONFIRMED",
]


@pytest.fixture
def config(configure: Configure, tmp_path: Path) -> Path:
    (tmp_path / "bookings.csv").write_text("\n".join(["Nr,Room,Title,Day,From,status", *LINES, ""]))
    return configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}} | RULES)


def test_each_row_has_its_outcome_in_the_order_of_the_calendar(run: Any, config: Path, folder: Path) -> None:
    done = run("preview", "-c", config, "--now", NOW, "--json")
    assert done.status == 3
    rows = done.json["rows"]
    assert [(row["booking_id"], row["outcome"], row["ae_title"]) for row in rows] == [
        ("1", "entry", "SKYRA"),
        ("2", "rejected", "SKYRA"),
        ("3", "ignored", ""),
        ("4", "ignored", ""),
        ("5", "ignored", ""),
        ("6", "other day", ""),
        ("7", "other day", "SKYRA"),
        ("8", "rejected", "SKYRA"),
        ("8", "rejected", "SKYRA"),
        ("9", "ignored", ""),
    ]
    reasons = [row["reason"] for row in rows]
    assert reasons[0] == ""
    assert reasons[1].startswith("Title '7' doesn't match booking.patterns.Title")
    assert reasons[2:7] == [
        "lab 'EEG' matches no scanner: correct scanners[].lab, or name it in ignored_labs",
        "lab 'kitchen' is one of ignored_labs",
        "status 'Cancelled' is not one of CONFIRMED, TENTATIVE, which booking.statuses counts",
        f"it is on {DAY + timedelta(days=9)}",
        f"it is on {DAY + timedelta(days=1)}",
    ]
    assert reasons[8] == (
        f"the calendar has 2 bookings with this booking_id ({DAY} 11:00, {DAY} 12:00): give each an id of its own"
    )
    assert reasons[9] == "the booking has no lab (of an event: its location is empty): write the scanner's name there"
    assert list(folder.glob("*.wl")) == []


def test_a_row_says_what_was_read_and_from_which_column(run: Any, config: Path) -> None:
    first, second, *_ = run("preview", "-c", config, "--now", NOW, "--json").json["rows"]
    assert first["columns"] == {
        "booking_id": "1", "project_id": "3010000.01", "lab": "SKYRA", "status": "CONFIRMED", "subject": "7",
        "start": f"{DAY}T09:00",
    }  # fmt: skip
    assert first["origins"] == {
        "booking_id": "Nr", "project_id": "Title", "lab": "Room", "subject": "Title", "start": "Day, From",
    }  # fmt: skip
    assert first["row"] == {
        "Nr": "1", "Room": "SKYRA", "Title": "3010000.01 7", "Day": f"{DAY}", "From": "09:00", "status": "CONFIRMED",
    }  # fmt: skip
    assert first["attributes"]["PatientID"] == "3010000.01_sub-007"
    [warning] = first["warnings"]
    assert warning.startswith(
        "RequestedProcedureDescription: project '3010000.01' has no title, so its id is used: give"
    )
    assert second["attributes"] == {}
    assert "subject" not in second["columns"]


def test_a_row_says_the_codes_of_its_entry(run: Any, configure: Configure, config: Path) -> None:
    before = yaml.safe_load(config.read_text())
    code = {"CodeValue": "{{ Room }}", "CodingSchemeDesignator": "99DCCN", "CodeMeaning": "{{ From }}"}
    changed = {"attributes.ScheduledProtocolCodeSequence": [code]}
    done = run("preview", "-c", configure(before | changed), "--now", NOW, "--json")
    assert done.json["rows"][0]["attributes"]["ScheduledProtocolCodeSequence"] == '(SKYRA, 99DCCN, "09:00")'


def test_a_session_that_is_assumed_is_told(run: Any, config: Path, configure: Configure, tmp_path: Path) -> None:
    first, *_ = run("preview", "-c", config, "--now", NOW, "--json").json["rows"]
    assert first["assumed"] == ["session 1"]
    typed = {"7": True, "7-1": False, "7 \u2013 1": False, "sub-007_ses-01": False, "sub-007": True}
    lines = [LINE.replace("1,", f"{at},", 1).replace(",7-1,", f",{who},") for at, who in enumerate(typed)]
    (tmp_path / "bookings.csv").write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    named = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    done = run("preview", "-c", named, "--now", NOW, "--json")
    assert {row["row"]["subject_session"]: row["assumed"] == ["session 1"] for row in done.json["rows"]} == typed
    assert run("preview", "-c", named, "--now", NOW).out.count("session 1 assumed") == 2


def test_times_are_those_of_the_site(run: Any, configure: Configure, tmp_path: Path) -> None:
    header, line = "booking_id,project_id,subject,session,lab,start,end,made", "1,3010000.01,7,1,SKYRA"
    (tmp_path / "bookings.csv").write_text(f"{header}\n{line},{DAY}T08:00:00Z,{DAY} 09:30,{DAY}T01:00:00+09:00\n")
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    [row] = run("preview", "-c", config, "--now", NOW, "--json").json["rows"]
    said = {name: row["columns"][name] for name in ("start", "end", "made")}
    assert said == {"start": f"{DAY}T09:00:00", "end": f"{DAY} 09:30", "made": f"{DAY - timedelta(days=1)}T17:00:00"}
    assert row["row"]["start"] == f"{DAY}T08:00:00Z"
    assert "08:00:00Z" not in run("preview", "-c", config, "--now", NOW).out


def test_columns_that_the_calendar_lacks_are_told(run: Any, config: Path, configure: Configure) -> None:
    done = run("preview", "-c", config, "--now", NOW)
    lacking = ["session", "end", "birth_date", "sex", "weight", "size", "made"]
    assert f"the calendar gives no {', '.join(lacking)}; if it has one of them, give it that name" in done.out
    assert run("preview", "-c", config, "--now", NOW, "--json").json["not_given"] == lacking
    path = Path(yaml.safe_load(config.read_text())["source"]["path"])
    path.write_text(path.read_text().replace(",status\n", ",staus\n"))
    said = run("check", "-c", config, "--now", NOW, "--only", "source").out
    assert (
        "gives no status, session, end, birth_date, sex, weight, size, made; without status every booking counts; if"
        in said
    )


def test_a_wrong_name_in_the_rules_is_told_once_for_all_rows(run: Any, config: Path, configure: Configure) -> None:
    changed = configure(yaml.safe_load(config.read_text()) | {"booking.columns.lab": "{{ Rom }}"})
    out = " ".join(run("preview", "-c", changed, "--now", NOW).out.split())
    assert out.count("'Rom' is undefined") == 1
    assert out.count("as every row, see below") > 2
    assert "every row: booking.columns.lab: the template '{{ Rom }}' fails" in out
    shown = run("preview", "-c", changed, "--now", NOW, "--json").json
    rejected = [row for row in shown["rows"] if row["outcome"] == "rejected"]
    assert len(rejected) > 2
    assert all(row["reason"].startswith(shown["fault"]) for row in rejected)


def test_the_day_can_be_another_one(run: Any, config: Path) -> None:
    shown = run("preview", "-c", config, "--day", f"{DAY + timedelta(days=9)}", "--json").json
    assert shown["first_day"] == shown["last_day"] == f"{DAY + timedelta(days=9)}"
    assert [row["booking_id"] for row in shown["rows"] if row["outcome"] == "entry"] == ["6"]


def test_the_table_says_it_for_people(run: Any, config: Path) -> None:
    out = run("preview", "-c", config, "--now", NOW).out
    for said in (
        "subject: 7  (Title)",
        "PatientID: 3010000.01_sub-007",
        "lab 'EEG' matches no scanner",
        "warning: Requ",
    ):
        assert said in out
    assert "10 rows: 1 with an entry, 3 rejected (2 bookings), 4 ignored, 2 of other days" in out


def test_a_calendar_that_can_not_be_read_is_status_4(run: Any, configure: Configure, tmp_path: Path) -> None:
    done = run("preview", "-c", configure({"source": {"type": "csv", "path": str(tmp_path / "none.csv")}}))
    assert done.status == 4
    assert "none.csv can't be read" in done.err


def test_the_configuration_file_of_the_page_is_enough_for_a_preview(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs/command.md").read_text()
    example = page.partition("write one by hand:\n\n")[2].partition("\n\n")[0]
    (tmp_path / "config.yml").write_text(textwrap.dedent(example))
    (tmp_path / "bookings.csv").write_text(f"{HEADER}\n{LINE}\n".replace("SKYRA", "Prisma").replace(",7-1,", ",MRN7,"))
    monkeypatch.chdir(tmp_path)
    done = run("preview", "-c", "config.yml", "--day", DAY.isoformat(), "--json")
    assert done.status == 0, done.err
    [row] = done.json["rows"]
    assert (row["attributes"]["PatientID"], row["attributes"]["PatientComments"]) == ("MRN7", "Prisma")


def test_two_bookings_of_one_subject_and_session_are_told_in_the_preview(
    run: Any, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "bookings.csv").write_text(f"{HEADER}\n{LINE}\n{LINE.replace('1,', '2,', 1)}\n")
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    shown = run("preview", "-c", config, "--day", DAY.isoformat(), "--json").json
    assert any("are of one subject and session" in warning for warning in shown["warnings"])


def test_one_row_is_a_row(run: Any, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "bookings.csv").write_text(f"{HEADER}\n{LINE}\n")
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    out = run("preview", "-c", config, "--day", DAY.isoformat()).out
    assert "\n1 row: 1 with an entry, 0 rejected, 0 ignored, 0 of other days" in out


@pytest.mark.parametrize("column", ["subject_session", "project_id", "start_time", "lab"])
def test_a_field_that_the_account_may_not_see_is_told_with_the_remedy(
    column: str, run: Any, configure: Configure, tmp_path: Path
) -> None:
    values = dict(zip(HEADER.split(","), LINE.split(","), strict=True)) | {column: "<Hidden>"}
    (tmp_path / "bookings.csv").write_text(f"{HEADER}\n{','.join(values.values())}\n")
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}, "booking.characters": "."})
    [row] = run("preview", "-c", config, "--day", DAY.isoformat(), "--json").json["rows"]
    assert row["outcome"] != "entry"
    assert f"{column} '<Hidden>'" in row["reason"]
    assert "the calendar's account may not see this field: let the calendar's administrator" in row["reason"]


def test_a_value_that_its_attribute_forbids_is_rejected_as_the_sync_does(
    run: Any, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "bookings.csv").write_text(f"{HEADER},born\n{LINE},3-2-1990\n")
    changes = {"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}}
    config = configure(changes | {"attributes.PatientBirthDate": "{{ born }}"})
    [row] = run("preview", "-c", config, "--now", NOW, "--json").json["rows"]
    assert (row["outcome"], row["ae_title"]) == ("rejected", "SKYRA")
    [rejected] = run("sync", "-c", config, "--now", NOW, "--json").json["rejected"]
    assert row["reason"] == rejected["reason"]
    assert "a date such as 20261124" in row["reason"]


def test_a_session_that_goes_on_past_midnight_is_there_as_in_the_sync(
    run: Any, configure: Configure, tmp_path: Path
) -> None:
    path, yesterday = tmp_path / "bookings.sqlite", DAY - timedelta(days=1)
    days = {"1": (yesterday, "23:45", "7-1"), "2": (yesterday, "08:00", "8-1"), "3": (yesterday, "23:50", "?")}
    days |= {
        "6": (yesterday, "08:00", "?"),
        "4": (DAY, "09:00", "9-1"),
        "5": (DAY + timedelta(days=1), "09:00", "10-1"),
    }
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"CREATE TABLE bookings ({HEADER})")
        for booking_id, (day, start, who) in days.items():
            row = LINE.split(",")
            row[0], row[3], row[4], row[5] = booking_id, who, f"{day}", start
            database.execute(f"INSERT INTO bookings VALUES ({','.join('?' * len(row))})", row)
        database.commit()
    query = "SELECT * FROM bookings WHERE start_date BETWEEN :first_day AND :last_day"
    config = configure({"source": {"type": "sqlite", "path": str(path), "query": query}})
    now = f"{DAY}T00:10:00+01:00"
    rows = run("preview", "-c", config, "--now", now, "--json").json["rows"]
    outcomes = {row["booking_id"]: row["outcome"] for row in rows}
    assert outcomes == {"1": "entry", "2": "other day", "3": "rejected", "4": "entry", "6": "other day"}
    synced = run("sync", "-c", config, "--now", now, "--json").json
    assert [one["booking_id"] for one in synced["published"]] == ["1", "4"]
    assert [one["booking_id"] for one in synced["rejected"]] == ["3"]


def test_a_calendar_that_gives_nothing_is_told(run: Any, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "bookings.csv").write_text(f"{HEADER}\n")
    config = configure({"source": {"type": "csv", "path": str(tmp_path / "bookings.csv")}})
    done = run("preview", "-c", config, "--day", DAY.isoformat())
    assert (
        f"The calendar gave nothing for {DAY}. If bookings are there: look at the days in source.query or source.url, "
        "at the address, and at what this login may see.\n" in done.out
    )
    assert "0 rows" not in done.out
