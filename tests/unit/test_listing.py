"""`dicom-worklist list`: the entries that the scanners see now."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.calendar import DAY, PRISMA, SKYRA, Calendar
from support.command import command
from support.configuration import Configure


def test_list_shows_the_entries_in_the_order_of_the_day(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.add_project("3010000.02", "Zürich 日本")
    calendar.book(1, lab=PRISMA, time="11:00:00")
    calendar.book(2, lab=PRISMA, time="09:30:00", project="3010000.02")
    calendar.book(3, lab=SKYRA, time="08:00:00")
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    done = run("list", "-c", config)
    lines = [line for line in done.out.splitlines() if "_sub-" in line]
    assert [re.findall(r"\b\d\d:\d\d\b", line) for line in lines] == [["09:30"], ["11:00"], ["08:00"]]
    for said in ("PRISMA", "2026-11-24 09:30", "3010000.02_sub-007_ses-01", "Zürich 日本", "Lovelace^Ada", "2"):
        assert said in lines[0]
    assert (done.status, done.err) == (0, "")


def test_list_json_holds_every_attribute(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.book(1)
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    [entry] = run("list", "-c", config, "--json").json["entries"]
    expected = {
        "booking_id": "1",
        "ae_title": "PRISMA",
        "worklist": "WLBROKER",
        "file": "booking-1-PRISMA.wl",
        "PatientID": "3010000.01_sub-007",
        "ScheduledProcedureStepStartTime": "090000",
    }
    assert expected.items() <= entry.items()


def test_list_json_holds_the_codes(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.book(1)
    code = {
        "CodeValue": "{{ scanner.modality }}-{{ session }}",
        "CodingSchemeDesignator": "99DCCN",
        "CodeMeaning": "Größe",
    }
    config = configure({"attributes.RequestedProcedureCodeSequence": [code]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    [entry] = run("list", "-c", config, "--json").json["entries"]
    assert entry["RequestedProcedureCodeSequence"] == '(MR-1, 99DCCN, "Größe")'


def test_list_accepts_a_name_of_many_bytes_but_few_characters(calendar: Calendar, configure: Configure) -> None:
    calendar.add_user("long", "Вильгельмина-Александра", "Константинопольская")
    calendar.book(1, user="long")
    config = configure()
    command("sync", "-c", config, "--day", DAY.isoformat())
    done = command("list", "-c", config)
    assert "Константинопольская^Вильгельмина-Александра" in done.stdout
    assert done.stderr == ""


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_list_shows_foreign_entries_and_reports_broken_files(
    configure: Configure, calendar: Calendar, folder: Path, run: Any
) -> None:
    calendar.book(1)
    config = configure()
    run("sync", "-c", config, "--day", DAY.isoformat())
    (folder / "booking-1-PRISMA.wl").rename(folder / "phantom.wl")
    (folder / "broken.wl").write_text("no DICOM")
    done = run("list", "-c", config, "--json")
    assert [(entry["booking_id"], entry["file"]) for entry in done.json["entries"]] == [(None, "phantom.wl")]
    assert "broken.wl is shown to no scanner" in done.err
    assert done.status == 0


def test_list_of_an_empty_worklist_says_so(configure: Configure, run: Any) -> None:
    assert "0 worklist entries" in run("list", "-c", configure()).out
