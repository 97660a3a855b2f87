"""How a row's own columns become those of a booking: `booking.patterns` and `booking.columns`."""

from datetime import date
from typing import Any

import pytest

from dicom_worklist import expressions
from dicom_worklist.bookings.booking import NEEDED, Row
from dicom_worklist.bookings.columns import ReadRow, Rules, shared_fault
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import BookingRules

TITLE = r"(?P<project_id>\d+\.\d+) +(?P<subject_session>\S+)(?: +(?P<comment>.*))?"


def rules(columns: dict[str, str] | None = None, patterns: dict[str, str] | None = None) -> Rules:
    return Rules(BookingRules(columns=columns or {}, patterns=patterns or {}))


def read(row: Row, columns: dict[str, str] | None = None, patterns: dict[str, str] | None = None) -> ReadRow:
    made = rules(columns, patterns).read(row)
    assert isinstance(made, ReadRow)
    return made


def test_without_rules_a_row_stays_as_it_is() -> None:
    row = {"lab": "SKYRA"}
    assert rules().read(row) is row
    assert rules().needed == list(NEEDED)


def test_a_pattern_makes_columns_of_what_was_typed() -> None:
    row = read({"title": "  3010000.01 7-1 ", "lab": "SKYRA"}, patterns={"title": TITLE})
    made = {"project_id": "3010000.01", "subject_session": "7-1", "comment": ""}
    assert {name: row[name] for name in made} == made
    assert (row["lab"], row["title"]) == ("SKYRA", "  3010000.01 7-1 ")
    assert row.origins == dict.fromkeys(made, "title")
    assert row.fault == ""


@pytest.mark.parametrize("typed", ["", None, "7-1", "3010000.01 7-1\n8-1", "x3010000.01 7-1", "3010000.01 7-1 ok\nno"])
def test_a_text_that_does_not_match_as_a_whole_is_a_fault(typed: str | None) -> None:
    row = read({"title": typed}, patterns={"title": TITLE})
    assert f"title {(typed or '')!r} doesn't match booking.patterns.title, which is {TITLE}" in row.fault
    assert "subject_session" not in row


def test_a_text_that_is_too_long_for_a_pattern_is_a_fault() -> None:
    assert "has 1001 characters" in read({"title": "7" * 1001}, patterns={"title": "(?P<subject>7*)"}).fault
    assert read({"title": "7" * 1000}, patterns={"title": "(?P<subject>7*)"}).fault == ""


def test_a_pattern_of_a_column_that_a_row_lacks_is_a_fault_that_names_those_that_it_has() -> None:
    fault = read({"summary": "7", "lab": "x"}, patterns={"title": "(?P<subject>.*)"}).fault
    assert "the row has no column title; it has lab, summary" in fault


def test_a_template_has_the_columns_of_the_row_and_of_the_patterns() -> None:
    columns = {
        "subject": "{{ who | replace('P', '') }}",
        "start": "{{ when }}T09:00",
        "lab": "{{ resource.name }} ({{ resource_id }})",
        "project_title": "{{ row['Project name'] }}{{ nothing }}",
    }
    source = {
        "code": "P7/2",
        "when": date(2026, 11, 24),
        "resource": {"name": "3T", "id": 5},
        "Project name": "Language",
        "nothing": None,
    }
    row = read(source, columns, {"code": "(?P<who>P[0-9]+)/(?P<session>[0-9]+)"})
    assert {name: row[name] for name in (*columns, "session")} == {
        "subject": "7", "start": "2026-11-24T09:00", "lab": "3T (5)", "project_title": "Language", "session": "2",
    }  # fmt: skip
    assert row.origins["lab"] == "resource.name, resource_id"
    assert row.origins["project_title"] == "Project name, nothing"
    assert row.origins["session"] == "code"


def test_a_template_that_fails_is_a_fault_and_the_others_are_there() -> None:
    row = read({"a": "1", "lab": "own"}, {"subject": "{{ b }}", "booking_id": "{{ a }}", "lab": "{{ a.b.c }}"})
    assert (
        "booking.columns.subject: the template '{{ b }}' fails: 'b' is undefined; the row has the columns a"
        in row.fault
    )
    assert "booking.columns.lab" in row.fault
    assert row["booking_id"] == "1"
    assert not {"subject", "lab"} & row.keys()


@pytest.mark.parametrize(
    "template",
    [
        "{{ who.nr }}{{ who.group }}",
        "{{ who.nr ~ who.group }}",
        "{{ row.who.nr ~ own }}",
        "{{ '%s%s' % (who.nr, row.own) }}",
        "{{ who.nr }}{{ who_group }}",
        "{{ who.nr ~ more[0].x }}",
        "{{ who.nr }}{{ none }}",
    ],
)
def test_null_is_an_empty_text_wherever_it_lies(template: str) -> None:
    source = {"who": {"nr": "7", "group": None}, "own": None, "more": [{"x": None}]}
    assert read(source, {"subject": template})["subject"] == "7"


def test_what_lies_deeper_than_ten_levels_has_no_name_of_its_own() -> None:
    value: object = {"a": None}
    for _ in range(2000):
        value = {"a": value}
    row = read({"a": value, "b": "1"}, {"subject": "{{ b }}", "lab": f"{{{{ {'_'.join('a' * 12)} }}}}"})
    assert row["subject"] == "1"
    assert "is undefined" in row.fault


@pytest.mark.parametrize(
    "attack", ["{{ ''.__class__.__mro__ }}", "{{ row.update({}) }}", "{{ row.__init__.__globals__ }}"]
)
def test_a_template_runs_in_a_sandbox(attack: str) -> None:
    assert read({"a": "1"}, {"subject": attack}).fault


@pytest.mark.parametrize(
    ("columns", "patterns", "said"),
    [
        ({"subjet": "{{ a }}"}, {}, "booking.columns.subjet is not a column of a booking: they are booking_id"),
        ({"subject": "{{ a"}, {}, "booking.columns.subject: the template '{{ a' has a fault"),
        ({"subject": "{{ a | nothing }}"}, {}, "booking.columns.subject: the template"),
        ({}, {"title": "(?P<subject>"}, "booking.patterns.title '(?P<subject>' is not a valid regular expression"),
        ({}, {"title": "([0-9]+)"}, "booking.patterns.title '([0-9]+)' has no named group"),
        ({}, {"a": "(?P<subject>.)", "b": "(?P<subject>.)"}, "booking.patterns gives the column subject twice"),
        ({"subject": "{{ a }}"}, {"b": "(?P<subject>.)"}, "both give the column subject: leave one of them out"),
    ],
)  # fmt: skip
def test_a_rule_that_can_not_be_used_is_refused(columns: dict[str, str], patterns: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        rules(columns, patterns)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "patterns", "missing", "more"),
    [
        ({"subject": "x"}, {}, {"subject_session"}, set()),
        ({"start": "x", "lab": "x"}, {}, {"start_date", "start_time", "lab"}, set()),
        ({}, {"title": "(?P<subject_session>.)(?P<status>.)"}, {"subject_session"}, {"title"}),
        ({}, {"lab": "(?P<project_title>.*)"}, set(), set()),
        ({}, {"user_last_name": "(?P<project_id>.*)"}, {"project_id"}, {"user_last_name"}),
    ],
)
def test_a_table_need_not_have_what_the_rules_make(
    columns: dict[str, str], patterns: dict[str, str], missing: set[str], more: set[str]
) -> None:
    needed: Any = rules(columns, patterns).needed
    assert {*needed} == {*NEEDED} - missing | more


def test_the_plain_identity_needs_no_project() -> None:
    assert Rules(BookingRules(identity="plain")).needed == [name for name in NEEDED if name != "project_id"]


@pytest.mark.parametrize(
    ("template", "origin"),
    [
        ("{{ resource.name }}", "resource.name"),
        ("{{ resource['name'] | upper }}", "resource.name"),
        ("{{ resource.name.split('-')[0] }}", "resource.name"),
        ("{{ row['Booked by'] }}{{ row.a.b }}", "Booked by, a.b"),
        ("{{ first[second.third].fourth }}", "first, second.third"),
        ("{{ first.strip(second.third) }}", "first, second.third"),
        ("{% set own = first.name %}{{ own.name }}", "first.name"),
    ],
)
def test_an_origin_is_named_as_the_calendar_gave_it(template: str, origin: str) -> None:
    assert ", ".join(sorted(path.removeprefix("row.") for path in expressions.paths(template))) == origin


WRONG = {"lab": "{{ Rom }}", "subject": "{{ who.nmae }}", "weight": "{{ kg + 1 }}"}


def test_a_name_that_no_row_has_is_one_reason_for_all() -> None:
    made = rules(WRONG, {"Titel": "(?P<session>.)"})
    rows = [
        made.read({"Room": "SKYRA", "kg": "1", "who": {"name": "7"}}),
        made.read({"Title": "7", "who": {}, "kg": 1}),
    ]
    fault = shared_fault(rows)
    assert fault.startswith("booking.patterns.Titel: the row has no column Titel; booking.columns.lab: the template")
    assert fault.endswith("has no attribute 'nmae'; no row has it, they have the columns Room, Title, kg, who")
    first, second = (getattr(row, "fault", "") for row in rows)
    assert first.startswith(f"{fault}; booking.columns.weight: the template '{{{{ kg + 1 }}}}' fails")
    assert second == fault


def test_a_name_that_one_row_has_is_a_fault_of_the_others_alone() -> None:
    made = rules({"lab": "{{ Room }}"})
    rows = [made.read({"Room": "SKYRA"}), made.read({"Rom": "SKYRA"})]
    assert shared_fault(rows) == shared_fault([]) == shared_fault([{"lab": "SKYRA"}]) == ""
    assert getattr(rows[1], "fault", "").endswith("'Room' is undefined; the row has the columns Rom")
