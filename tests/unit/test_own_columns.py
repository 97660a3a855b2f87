"""A calendar with columns of its own, from the file to the entries."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_worklist import checks, pipeline
from dicom_worklist.config import load
from dicom_worklist.errors import SourceError
from dicom_worklist.report import Report
from support.calendar import DAY, NOW
from support.configuration import Configure
from support.worklist_folder import entries

HEADER = "Nr;Room;Title;From;To;Born;Sex;Kg;Coil"
RULES = {
    "booking.columns": {
        "booking_id": "{{ Nr }}",
        "lab": "{{ Room }}",
        "start": f"{DAY}T{{{{ From }}}}",
        "end": f"{DAY}T{{{{ To }}}}",
        "birth_date": "{{ Born }}",
        "sex": "{{ Sex }}",
        "weight": "{{ Kg | replace(',', '.') }}",
        "project_title": "{{ comment }}",
        "user_first_name": "",
        "user_last_name": "",
        "status": "{{ 'CANCELLED' if comment.startswith('off') else 'CONFIRMED' }}",
    },
    "booking.patterns": {"Title": r"(?P<project_id>\S+)/(?P<subject>[0-9]+)/(?P<session>[0-9])(?: (?P<comment>.*))?"},
    "attributes.PatientComments": "coil {{ Coil }}",
}
Publish = Callable[..., Report]


@pytest.fixture
def publish(configure: Configure, tmp_path: Path) -> Publish:
    def publish(*lines: str, header: str = HEADER, **rules: object) -> Report:
        path = tmp_path / "bookings.csv"
        path.write_text("\n".join([header, *lines, ""]))
        changes = {"source": {"type": "csv", "path": str(path)}} | RULES | rules
        return pipeline.run(load(configure(changes)), DAY, now=NOW)

    return publish


def test_a_row_with_other_names_becomes_an_entry(publish: Publish, folder: Path) -> None:
    report = publish(
        "1;SKYRA;3010000.01/7/2 Language;09:00;10:00;1990-02-03;f;72,5;head",
        "2;SKYRA;3010000.01/8/1 off today;11:00;12:00;;;;",
    )
    assert (report.rejected, report.warnings) == ([], [])
    [entry] = entries(folder).values()
    assert (entry.PatientID, entry.PatientBirthDate, entry.PatientSex) == ("3010000.01_sub-007", "19900203", "F")
    assert (entry.PatientWeight, entry.PatientComments, entry.RequestedProcedureDescription) == (
        72.5,
        "coil head",
        "Language",
    )
    [step] = entry.ScheduledProcedureStepSequence
    assert step.ScheduledProcedureStepStartTime == "090000"


def test_a_title_that_does_not_match_rejects_its_row_alone(publish: Publish, folder: Path) -> None:
    report = publish(
        "1;SKYRA;3010000.01/7/2 Language;09:00;10:00;;;;head",
        "2;SKYRA;7-2;11:00;12:00;;;;head",
        "3;EEG;anything;11:00;12:00;;;;head",
    )
    [rejected] = report.rejected
    assert rejected["booking_id"] == "2"
    assert rejected["reason"].startswith("Title '7-2' doesn't match booking.patterns.Title")
    assert "booking.columns" not in rejected["reason"]
    assert len(entries(folder)) == 1


def test_a_row_whose_lab_can_not_be_made_is_rejected_and_not_overlooked(publish: Publish) -> None:
    columns = RULES["booking.columns"] | {"lab": "{{ Nothing }}"}  # type: ignore[operator]
    report = publish("1;SKYRA;3010000.01/7/2;09:00;10:00;;;;head", **{"booking.columns": columns})
    [rejected] = report.rejected
    assert "booking.columns.lab: the template '{{ Nothing }}' fails" in rejected["reason"]


def test_a_wrong_name_in_the_rules_is_told_once(publish: Publish) -> None:
    columns = RULES["booking.columns"] | {"lab": "{{ Rom }}"}  # type: ignore[operator]
    lines = [f"{at};SKYRA;3010000.01/{at}/1;1{at}:00;;;;;head" for at in range(1, 4)]
    report = publish(*lines, "4;SKYRA;7-1;15:00;;;;;head", **{"booking.columns": columns})
    assert [one["booking_id"] for one in report.rejected] == ["1", "2", "3", "4"]
    assert all(one["reason"].startswith(report.fault) for one in report.rejected)
    shared, own, *warnings = report.remarks()
    assert shared == f"rejected every booking: {report.fault}"
    assert "booking.columns.lab: the template '{{ Rom }}' fails: 'Rom' is undefined" in shared
    assert shared.endswith("no row has it, they have the columns Born, Coil, From, Kg, Nr, Room, Sex, Title, To")
    assert own.startswith("rejected booking 4: Title '7-1' doesn't match booking.patterns.Title")
    assert all(line.startswith("warning: ") for line in warnings)


def test_a_file_that_lacks_the_column_of_a_pattern_is_not_read(publish: Publish) -> None:
    with pytest.raises(SourceError, match="gives no column Title"):
        publish("1;SKYRA;3010000.01/7/2;09:00;10:00;;;;head", header=HEADER.replace("Title", "Subject"))


def test_a_plain_subject_is_the_patient_id(publish: Publish, folder: Path) -> None:
    pattern = {"Title": "(?P<subject>.+)"}
    columns = RULES["booking.columns"] | {"project_title": "", "project_id": "", "status": "confirmed"}  # type: ignore[operator]
    rules = {"booking.columns": columns, "booking.patterns": pattern, "booking.identity": "plain"}
    report = publish("1;SKYRA;MRN-0012;09:00;10:00;;;;head", **rules)
    assert report.rejected == []
    [entry] = entries(folder).values()
    assert (entry.PatientID, str(entry.PatientName)) == ("MRN-0012", "MRN-0012_ses-01")


OWN = {name: template for name, template in RULES["booking.columns"].items() if name != "status"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "published", "rejected"),
    [("Approved", ["1"], []), ("approved", [], ["1"]), ("Cancelled", [], []), ("", [], ["1"])],
)
def test_a_row_whose_own_status_stands_where_the_rule_fails_is_rejected_and_not_ignored(
    status: str, published: list[str], rejected: list[str], publish: Publish
) -> None:
    columns = OWN | {"status": "{{ {'Approved': 'CONFIRMED', 'Cancelled': 'CANCELLED'}[status] }}"}
    line = f"1;SKYRA;3010000.01/7/2;09:00;10:00;;;;head;{status}"
    report = publish(line, header=f"{HEADER};status", **{"booking.columns": columns})
    assert [one["booking_id"] for one in report.published] == published
    assert [one["booking_id"] for one in report.rejected] == rejected
    assert "the calendar gives no" not in str(report.warnings)


@pytest.mark.parametrize(("title", "rejected"), [("SKYRA 7-1", []), ("SKYRA  7-1", ["1"]), ("MEG 7-1", [])])
def test_a_row_whose_own_lab_stands_where_the_pattern_fails_is_rejected_and_not_ignored(
    title: str, rejected: list[str], publish: Publish
) -> None:
    columns = {name: template for name, template in OWN.items() if name not in {"lab", "project_title"}}
    rules = {
        "booking.columns": columns | {"project_id": "3010000.01", "project_title": ""},
        "booking.patterns": {"Title": r"(?P<lab>\S+) (?P<subject_session>\d+-\d+)"},
    }
    report = publish(f"1;Building 5;{title};09:00;10:00;;;;head", header=HEADER.replace("Room", "lab"), **rules)
    assert [one["booking_id"] for one in report.rejected] == rejected


def test_what_a_failed_pattern_would_have_made_is_not_the_row_s_own_for_a_template(publish: Publish) -> None:
    columns = {name: template for name, template in OWN.items() if name != "lab"}
    rules = {
        "booking.columns": columns | {"lab": "{{ Coil }}"},
        "booking.patterns": {
            "Title": r"(?P<project_id>\S+)/(?P<subject>[0-9]+)/(?P<session>[0-9]) (?P<Coil>\S+)(?P<comment>)"
        },
    }
    report = publish("1;Room 5;3010000.01/7/2  SKYRA;09:00;10:00;;;;head", **rules)
    assert [one["booking_id"] for one in report.rejected] == ["1"]


def test_a_row_of_another_lab_is_ignored_whatever_is_typed_into_it(publish: Publish) -> None:
    report = publish("1;Meeting room;lunch;09:00;10:00;;;;")
    assert report.rejected == []


@pytest.mark.parametrize(
    ("title", "published"),
    [("3010000.01/7/2", True), ("3010000.01/7/2 [confirmed]", True), ("3010000.01/7/2 [off]", False)],
)
def test_a_status_that_is_not_typed_is_none(title: str, published: bool, publish: Publish) -> None:
    pattern = r"(?P<project_id>\S+)/(?P<subject>[0-9]+)/(?P<session>[0-9])(?P<comment>)(?: \[(?P<status>\w+)\])?"
    report = publish(
        f"1;SKYRA;{title};09:00;10:00;;;;head", **{"booking.columns": OWN, "booking.patterns": {"Title": pattern}}
    )
    assert (len(report.published), report.rejected) == (published, [])
    assert "the calendar gives no" not in str(report.warnings)


def test_the_calendar_s_own_status_stands_where_none_is_typed(publish: Publish) -> None:
    pattern = r"(?P<project_id>\S+)/(?P<subject>[0-9]+)/(?P<session>[0-9])(?P<comment>)(?: \[(?P<status>\w+)\])?"
    rules = {"booking.columns": OWN, "booking.patterns": {"Title": pattern}}
    report = publish("1;SKYRA;3010000.01/7/2;09:00;10:00;;;;head;CANCELLED", header=f"{HEADER};status", **rules)
    assert (report.published, report.rejected) == ([], [])


TABLE = "booking_id,project_id,subject_session,start_date,start_time,lab"


@pytest.mark.parametrize("rules", [{}, {"booking.columns": {"status": "CONFIRMED"}}])
def test_a_calendar_whose_status_is_gone_is_told_in_each_run(
    rules: dict[str, object], configure: Configure, tmp_path: Path
) -> None:
    path = tmp_path / "bookings.csv"
    path.write_text(f"{TABLE},statuss\n1,3010000.01,7-1,{DAY},09:00,SKYRA,CANCELLED\n")
    config = load(configure({"source": {"type": "csv", "path": str(path)}} | rules))
    warnings = pipeline.run(config, DAY, now=NOW).warnings
    assert [warning.partition(":")[0] for warning in warnings] == (
        [] if rules else ["the calendar gives no status, so every booking counts, a cancelled one too"]
    )


@pytest.mark.parametrize("template", ["{{ Length }}", "{{ row.Length }}"])
def test_check_says_why_no_row_can_be_read(template: str, configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "bookings.csv"
    path.write_text(f"{TABLE},status\n1,3010000.01,7-1,{DAY},09:00,SKYRA,CONFIRMED\n")
    rules = {"booking.columns": {"minutes": template}}
    config = load(configure({"source": {"type": "csv", "path": str(path)}} | rules))
    said = str(dict(checks.run(config, NOW, "source", DAY))["source"])
    assert f"every row: booking.columns.minutes: the template {template!r} fails: " in said
    assert "no row has it, they have the columns booking_id, lab" in said
    assert "ReadRow" not in said
