"""The recipes, each against a calendar that answers as the real one does, up to the entries."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dicom_worklist import pipeline
from dicom_worklist.bookings import Rules
from dicom_worklist.bookings.sources import _web
from dicom_worklist.config import load
from dicom_worklist.errors import SourceError
from dicom_worklist.report import Report
from dicom_worklist.settings import BookingRules
from support.calendar import DAY, NOW
from support.calendars import RECIPES, Calpendo, GraphQL, REDCap, published, recipe, variables
from support.configuration import Configure
from support.web import Certificates, WebServer, as_json, certificates
from support.worklist_folder import entries

Publish = Callable[..., Report]
SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_web, "PAUSE", 0.0)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def publish(configure: Configure, tls: Certificates, tmp_path: Path) -> Publish:
    """Returns the report of a run with a recipe against a server, with some keys of `source` changed."""
    for name in ("calendar.password", "calendar.token", "calendar.secret"):
        (tmp_path / name).write_text(f"{SECRET}\n")

    def publish(name: str, server: WebServer, **changes: Any) -> Report:
        made = recipe(name, server, tls, tmp_path)
        made["source"] |= changes
        return pipeline.run(load(configure(made)), DAY, now=NOW)

    return publish


def shown(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return what the entries say, by the booking's id as it was published."""
    found = dict[str, tuple[str, ...]]()
    for entry in entries(folder).values():
        step = entry.ScheduledProcedureStepSequence[0]
        when = f"{step.ScheduledProcedureStepStartDate}{step.ScheduledProcedureStepStartTime}"
        who = (str(entry.PatientID), str(entry.PatientName), str(entry.RequestedProcedureDescription))
        found[str(entry.AccessionNumber)] = (*who, str(entry.RequestingPhysician), step.ScheduledStationAETitle, when)
    return found


CALPENDO = {
    "id": 101,
    "title": "7-1 with EEG",
    "status": "Approved",
    "cancelled": False,
    "dateRange.start": "2026-11-24 09:00:00.0",
    "dateRange.finish": "2026-11-24 10:30:00.0",
    "durationInMinutes": 90,
    "resource.name": "3T SKYRA",
    "project.name": "3010000.01 Language",
    "booker.formattedName": "Ada Maria Lovelace",
}
WANTED = ("3010000.01_sub-007", "3010000.01_sub-007_ses-01", "Language", "Lovelace^Ada", "SKYRA", "20261124090000")


def test_calpendo(publish: Publish, tls: Certificates, folder: Path) -> None:
    calendar = Calpendo(
        [
            CALPENDO,
            CALPENDO | {"id": 102, "status": "Pending"},
            CALPENDO | {"id": 103, "cancelled": True},
            CALPENDO | {"id": 104, "dateRange.start": "2026-11-29 09:00:00.0"},
            CALPENDO | {"id": 105, "title": "<Hidden>"},
            CALPENDO | {"id": 106, "project.name": "<Hidden>", "dateRange.start": "2026-11-24 11:00:00.0"},
        ],
        SECRET,
    )
    with published(calendar, tls) as server:
        report = publish("calpendo", server)
        assert shown(folder) == {"101": (*WANTED[:3], "Maria Lovelace^Ada", *WANTED[4:])}
        assert [one["booking_id"] for one in report.rejected] == ["105", "106"]
        assert "title '<Hidden>' doesn't match booking.patterns.title" in report.rejected[0]["reason"]
        assert "project_id '<Hidden>'" in report.rejected[1]["reason"]
        assert all("the calendar's account may not see this field: let" in one["reason"] for one in report.rejected)
        assert len(server.asked) == 1


HIDDEN = "allow the account in source.auth to see it"


@pytest.mark.parametrize(
    "field", ["id", "title", "status", "cancelled", "resource.name", "project.name", "booker.formattedName"]
)
def test_a_field_of_calpendo_that_is_hidden_rejects_its_booking(
    field: str, publish: Publish, tls: Certificates, folder: Path
) -> None:
    bookings = [CALPENDO | {field: "<Hidden>"}, CALPENDO | {"id": 102, "title": "8-1"}]
    with published(Calpendo(bookings, SECRET), tls) as server:
        report = publish("calpendo", server)
    assert list(shown(folder)) == ["102"]
    [rejected] = report.rejected
    assert HIDDEN in rejected["reason"]


def test_a_booking_of_calpendo_whose_length_is_hidden_has_no_end(publish: Publish, tls: Certificates) -> None:
    with published(Calpendo([CALPENDO | {"durationInMinutes": "<Hidden>"}], SECRET), tls) as server:
        report = publish("calpendo", server)
    assert len(report.published) == 1
    assert "minutes '<Hidden>' can't be read" in str(report.warnings)


@pytest.mark.parametrize("cancelled", ["true", "True ", "", None, 1, 0, [], "no"])
def test_a_booking_of_calpendo_that_may_be_cancelled_is_not_shown(
    cancelled: object, publish: Publish, tls: Certificates, folder: Path
) -> None:
    with published(Calpendo([CALPENDO | {"cancelled": cancelled}], SECRET), tls) as server:
        report = publish("calpendo", server)
    assert shown(folder) == {}
    assert [one["booking_id"] for one in report.rejected] == ([] if cancelled == "True " else ["101"])


def test_calpendo_has_no_times_without_paths(publish: Publish, tls: Certificates, folder: Path) -> None:
    with published(Calpendo([CALPENDO], SECRET), tls) as server:
        url = server.url + "/webdav/q/Calpendo.Booking/AND/dateRange.start/GE/{{ first_day.strftime('%Y%m%d') }}-0000"
        report = publish("calpendo", server, url=url + "/dateRange.start/LT/{{ next_day.strftime('%Y%m%d') }}-0000")
    assert [one["booking_id"] for one in report.rejected] == ["101"]
    assert shown(folder) == {}


def test_calpendo_with_a_wrong_password(publish: Publish, tls: Certificates) -> None:
    with (
        published(Calpendo([CALPENDO], "another"), tls) as server,
        pytest.raises(SourceError, match=r"gets 401 .* Compare the user 'worklist' and the password in .*"),
    ):
        publish("calpendo", server)


RECORD = {
    "record_id": "12",
    "redcap_event_name": "visit_1_arm_1",
    "redcap_repeat_instance": "1",
    "subject": "7",
    "session": "1",
    "study": "Language",
    "scan_start": "2026-11-24 09:00",
    "scan_minutes": "90",
    "scanner": "SKYRA",
    "scan_status": "Booked",
    "phone": "nobody's business",
}


def test_redcap(publish: Publish, tls: Certificates, folder: Path) -> None:
    calendar = REDCap(
        [
            RECORD,
            RECORD | {"redcap_repeat_instance": "2", "session": "2", "scan_start": "2026-11-24 13:00"},
            RECORD | {"redcap_event_name": "visit_2_arm_1", "scan_status": "Planned"},
            RECORD | {"redcap_event_name": "visit_3_arm_1", "scan_start": "2026-11-26 09:00"},
            RECORD | {"record_id": "13", "subject": "", "scan_start": "2026-11-24 15:00"},
        ],
        SECRET,
    )
    with published(calendar, tls) as server:
        report = publish("redcap", server)
        assert [one["booking_id"] for one in report.published] == ["12/visit_1_arm_1/1", "12/visit_1_arm_1/2"]
        assert [one["booking_id"] for one in report.rejected] == ["13/visit_1_arm_1/1"]
        first, second = sorted(shown(folder).values())
        assert first == (*WANTED[:3], "", *WANTED[4:])
        assert (second[1], second[5]) == ("3010000.01_sub-007_ses-02", "20261124130000")
        assert "phone" not in server.asked[0].body.decode()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, r"gets 403 Status from .*You do not have permissions to use the API"),
        ({"body": {"token": SECRET, "content": "records"}}, r"gets 400 Status from .*is not valid"),
    ],
)
def test_redcap_that_refuses(changes: dict[str, Any], said: str, publish: Publish, tls: Certificates) -> None:
    with (
        published(REDCap([RECORD], SECRET if changes else "another"), tls) as server,
        pytest.raises(SourceError, match=said) as caught,
    ):
        publish("redcap", server, **changes)
    assert SECRET not in str(caught.value)


def test_redcap_that_reports_an_error_with_status_200(publish: Publish, tls: Certificates) -> None:
    with (
        published(as_json({"error": f"{SECRET} is no token"}), tls) as server,
        pytest.raises(SourceError, match="the answer reports an error: … is no token"),
    ):
        publish("redcap", server)


def graphql(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"b{number}",
        "start": f"2026-11-24T{8 + number:02}:00:00+01:00",
        "end": f"2026-11-24T{9 + number:02}:00:00+01:00",
        "status": "CONFIRMED",
        "subject": f"{number + 6}",
        "session": "1",
        "lab": {"name": "SKYRA"},
        "project": {"number": "3010000.01", "title": "Language"},
        "user": {"first": "Ada", "last": "Lovelace"},
        **changes,
    }


def test_graphql(publish: Publish, tls: Certificates, folder: Path) -> None:
    calendar = GraphQL([graphql(number) for number in range(1, 6)], SECRET, good_for=2)
    with published(calendar, tls) as server:
        report = publish("graphql", server)
        assert (len(report.published), report.rejected, report.warnings) == (5, [], [])
        assert shown(folder)["b1"] == WANTED
        assert calendar.tokens == 2  # the first one ended before the third page
        assert len(server.asked) == 3 + 1 + 2
        assert publish("graphql", server).published == []


def test_graphql_with_errors_beside_data(publish: Publish, tls: Certificates, folder: Path) -> None:
    calendar = GraphQL([graphql(1)], SECRET)
    with published(calendar, tls) as server:
        publish("graphql", server)
        calendar.bookings, calendar.errors = [], [{"message": "the database is away"}]
        with pytest.raises(SourceError, match="the database is away"):
            publish("graphql", server)
    assert list(shown(folder)) == ["b1"]


def test_graphql_with_a_wrong_secret(publish: Publish, tls: Certificates) -> None:
    with (
        published(GraphQL([graphql(1)], "another"), tls) as server,
        pytest.raises(SourceError, match=r"gets 401 .*invalid_client.* the secret in .*/calendar.secret"),
    ):
        publish("graphql", server)


def test_every_recipe_has_a_test() -> None:
    assert sorted(path.stem for path in RECIPES.iterdir()) == ["graphql", "redcap"]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("7", "3010000.01_sub-007_ses-01"),
        ("7-2", "3010000.01_sub-007_ses-02"),
        ("7 - 2 pilot", "3010000.01_sub-007_ses-02"),
        ("7\u20132 pilot", "3010000.01_sub-007_ses-02"),
        ("x8-2, EEG", "3010000.01_sub-x008_ses-02"),
        ("7 ses 2", None),
        ("7 pilot", None),
        ("7-2b", None),
        ("sub-012 ses-2", None),
        ("P12 / ses 2", None),
        ("7-2-1", None),
    ],
)
def test_no_title_of_calpendo_is_read_as_another_session(
    title: str, name: str | None, publish: Publish, tls: Certificates, folder: Path
) -> None:
    with published(Calpendo([CALPENDO | {"title": title}], SECRET), tls) as server:
        report = publish("calpendo", server)
    assert [str(entry.PatientName) for entry in entries(folder).values()] == ([name] if name else [])
    assert len(report.rejected) == (not name)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Ada Lovelace", "Lovelace^Ada"),
        ("Jane van Doe", "van Doe^Jane"),
        ("Jane  Doe-Smith", "Doe-Smith^Jane"),
        ("Lovelace", "Lovelace"),
        ("", ""),
    ],
)
def test_all_after_the_first_word_is_the_last_name_in_calpendo(
    typed: str, name: str, publish: Publish, tls: Certificates, folder: Path
) -> None:
    with published(Calpendo([CALPENDO | {"booker.formattedName": typed}], SECRET), tls) as server:
        publish("calpendo", server)
    assert [str(entry.RequestingPhysician) for entry in entries(folder).values()] == [name]


@pytest.mark.parametrize(
    ("title", "session"),
    [("3010000.01 7-2", 2), ("3010000.01 7-2 Faces and", 2)]
    + [
        (f"3010000.01 {typed}", None) for typed in ("7 - 2", "sub-012 ses-2", "P12 / ses 2", "7", "7-2-1", "7-2b Faces")
    ],
)
def test_no_title_is_read_as_another_session_by_the_examples(title: str, session: int | None) -> None:
    page = (RECIPES.parent / "calendar.md").read_text(encoding="utf-8")
    patterns = re.findall(r"^        (\w+): ('\(\?P<project_id>.*')$", page, re.MULTILINE)
    assert {column for column, _ in patterns} == {"title", "Title"}
    read = [(column, yaml.safe_load(pattern)) for column, pattern in patterns]
    for column, pattern in [*read, *variables("ical")["worklist_sync_booking"]["patterns"].items()]:
        row = Rules(BookingRules(patterns={column: pattern})).read({column: title})
        assert (getattr(row, "fault", "") == "") == (session is not None)
        if session is not None:
            assert row["subject_session"] == f"7-{session}"
