"""The module `worklist_sync` through Ansible itself, with the project's own ansible.cfg."""

import socket
import sys
import venv
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import yaml

from dicom_worklist.config import load
from dicom_worklist.pipeline import run as sync_run
from support.calendar import DAY, NOW, PRISMA, SKYRA, Calendar
from support.configuration import changed, settings, write_yaml
from support.plays import Result, ansible, documented, run
from support.worklist_folder import entries, everything, locked_by_another_process, worklist_files

FIELDS = ["day", "published", "updated", "removed", "unchanged", "rejected"]


@dataclass
class Place:
    """A site under a folder of its own, and Ansible to change it."""

    path: Path

    def __post_init__(self) -> None:
        self.folder = self.path / "wlbroker" / "WLBROKER"
        self.folder.mkdir(parents=True)
        (self.folder / "lockfile").touch()
        self.calendar = Calendar(self.path / "calendar.sqlite")
        self.config = self.configure("config.yml")

    def configure(self, name: str, changes: dict[str, object] | None = None) -> Path:
        data = settings(self.calendar.path, self.folder.parent)
        return write_yaml(self.path / name, changed(data, changes or {}))

    def task(self, config: Path | None = None, *, day: object = DAY, **keywords: object) -> Result:
        arguments = {"config": str(config or self.config), "day": day}
        return {"name": "Publish", "worklist_sync": arguments, "ignore_errors": True, **keywords}

    def play(self, *tasks: Result, interpreter: str = sys.executable, options: tuple[str, ...] = ()) -> list[Result]:
        """Run the tasks in one play on this machine, and return each one's result."""
        given = ("-e", f"ansible_python_interpreter={interpreter}", *options)
        results, self.said = run(self.path, {"tasks": list(tasks)}, options=given)
        return results


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def fields(result: Result) -> Result:
    return {key: result[key] for key in (*FIELDS, "changed")} | {"warnings": sorted(result.get("warnings", []))}


def ids(entries: list[Result]) -> list[str]:
    return [entry["booking_id"] for entry in entries]


@dataclass
class Story:
    """An empty worklist is filled; then the calendar changes, and the worklist with it."""

    place: Place
    check: Result
    apply: Result
    again: Result
    check_of_changes: Result
    changes: Result
    changes_again: Result


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    place = Place(tmp_path_factory.mktemp("story"))
    calendar, task = place.calendar, place.task
    for name in ("stays", "moves", "is cancelled"):
        calendar.book(name, lab=PRISMA)
    first = place.play(task(check_mode=True, diff=True), task(), task())
    calendar.add_project("3010000.02", "x" * 65)
    calendar.change("moves", start_time="10:30:00")
    calendar.change("is cancelled", status="CANCELLED")
    calendar.book("is new", lab=SKYRA)
    calendar.book("is long", project="3010000.02")
    calendar.book("is bad", "7-x")
    second = place.play(task(check_mode=True, diff=True), task(diff=True), task())
    return Story(place, *first, *second)


# --- check, apply, apply again ---


def test_apply_publishes(story: Story) -> None:
    assert story.apply["changed"] is True
    assert {entry["file"] for entry in story.apply["published"]} == {
        "booking-is%20cancelled-PRISMA.wl",
        "booking-moves-PRISMA.wl",
        "booking-stays-PRISMA.wl",
    }


def test_apply_again_changes_nothing(story: Story) -> None:
    assert story.again["changed"] is False
    assert story.again["unchanged"] == story.apply["published"]
    assert story.changes_again["changed"] is False


def test_check_mode_predicts_exactly_and_writes_nothing(story: Story) -> None:
    # had it written, apply would have found nothing to do
    assert fields(story.check) == fields(story.apply)
    assert fields(story.check_of_changes) == fields(story.changes)
    assert story.check_of_changes["diff"] == story.changes["diff"]


def test_a_change_a_cancellation_and_a_new_booking_are_distinguished(story: Story) -> None:
    assert {key: ids(story.changes[key]) for key in ("published", "updated", "removed", "unchanged")} == {
        "published": ["is long", "is new"],
        "updated": ["moves"],
        "removed": ["is cancelled"],
        "unchanged": ["stays"],
    }
    [entry] = story.changes["updated"]
    assert entry == {"booking_id": "moves", "ae_title": "PRISMA", "file": "booking-moves-PRISMA.wl"}


def test_the_worklist_is_as_reported(story: Story) -> None:
    told = {entry["file"] for key in ("published", "updated", "unchanged") for entry in story.changes[key]}
    shown = entries(story.place.folder)
    assert shown.keys() == told
    [step] = shown["booking-moves-PRISMA.wl"].ScheduledProcedureStepSequence
    assert step.ScheduledProcedureStepStartTime == "103000"


def test_a_rejected_booking_is_a_warning_and_never_a_failure(story: Story) -> None:
    [rejection] = story.changes["rejected"]
    assert rejection["booking_id"] == "is bad"
    assert any("is bad" in warning and rejection["reason"] in warning for warning in story.changes["warnings"])
    assert not story.changes.get("failed")


def test_a_shortened_description_is_a_warning(story: Story) -> None:
    assert any(warning.startswith("booking is long: Requested") for warning in story.changes["warnings"])
    doubles = [
        one for one in story.changes["warnings"] if "one subject and session" in one or "at the same time" in one
    ]
    assert len(story.changes["warnings"]) == 2 + len(doubles)


def test_it_returns_the_fields_of_json_whatever_form_the_day_has(story: Story) -> None:
    expected = sync_run(load(story.place.config), DAY, now=NOW, dry_run=True).as_dict()
    del expected["warnings"]  # Ansible's own
    assert {key: story.changes_again[key] for key in FIELDS} == expected
    assert story.changes_again["day"] == "2026-11-24"


def test_the_diff_is_a_readable_list_of_the_changed_entries(story: Story) -> None:
    [before, after] = (story.changes["diff"][key].splitlines() for key in ("before", "after"))
    assert [line for line in before if not line.startswith(" ")] == [
        "WLBROKER/booking-is%20cancelled-PRISMA.wl:",
        "WLBROKER/booking-moves-PRISMA.wl:",
    ]
    assert [line for line in after if not line.startswith(" ")] == [
        "WLBROKER/booking-is%20long-PRISMA.wl:",
        "WLBROKER/booking-is%20new-SKYRA.wl:",
        "WLBROKER/booking-moves-PRISMA.wl:",
    ]
    assert "  ScheduledProcedureStepStartTime: 090000" in before
    assert "  ScheduledProcedureStepStartTime: 103000" in after
    assert "  PatientName: 3010000.01_sub-007_ses-01" in after


def test_without_diff_mode_there_is_no_diff(story: Story) -> None:
    assert "diff" not in story.apply


def test_a_check_of_the_whole_play_writes_nothing(place: Place) -> None:
    place.calendar.book(1)
    before = everything(place.folder)
    [result] = place.play(place.task(), options=("--check", "--diff"))
    assert (result["changed"], ids(result["published"])) == (True, ["1"])
    assert everything(place.folder) == before


def test_a_day_that_is_not_given_is_today_at_the_site(place: Place) -> None:
    """Two sites, 25 hours apart, never have the same day, at any time by the machine's clock."""
    tasks = [
        place.task(place.configure(f"{name}.yml", {"site.timezone": f"Pacific/{name}"}))
        for name in ("Pago_Pago", "Kiritimati")
    ]
    for task in tasks:
        del task["worklist_sync"]["day"]
    west, east = (date.fromisoformat(result["day"]) for result in place.play(*tasks))
    assert (east - west).days in {1, 2}


# --- failures ---


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Each way to fail, tried over a worklist that stays as it was; the calendar holds a change."""
    place = Place(tmp_path_factory.mktemp("failures"))
    place.calendar.book(1)
    place.play(place.task())
    place.calendar.book(2)
    before = everything(place.folder)
    (place.path / "password").write_text("geheim!\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    mysql = {"type": "mysql", "host": "127.0.0.1", "port": port, "database": "fcdc", "user": "dicomdf"}
    tasks = {
        "no configuration": place.task(place.path / "absent.yml"),
        "unknown key": place.task(place.configure("key.yml", {"site.nam": "x"})),
        "time zone": place.task(place.configure("zone.yml", {"site.timezone": "Mars/Olympus"})),
        "day": place.task(day="tomorrow"),
        "source": place.task(
            place.configure("mysql.yml", {"source": mysql | {"password_file": str(place.path / "password")}})
        ),
        "no folder": place.task(place.configure("folder.yml", {"worklist.root": "/nonexistent"})),
        "locked": place.task(place.configure("locked.yml", {"worklist.lock_timeout": 0.2})),
    }
    with locked_by_another_process(place.folder):
        results = dict(zip(tasks, place.play(*tasks.values(), options=("-vvv",)), strict=True))
    assert everything(place.folder) == before
    assert "geheim" not in place.said
    return results


@pytest.mark.parametrize(
    ("failure", "exit_status", "said"),
    [
        ("no configuration", 2, "absent.yml can't be read: No such file"),
        ("unknown key", 2, "site has the unknown field `nam`"),
        ("time zone", 2, "site.timezone 'Mars/Olympus'"),
        ("day", 2, "day is 'tomorrow': write YYYY-MM-DD"),
        ("source", 4, "fcdc on 127.0.0.1:"),
        ("no folder", 5, "/nonexistent/WLBROKER can't be opened"),
        ("locked", 5, "worklist.lock_timeout (0.2 s)"),
    ],
)
def test_it_fails_with_the_command_s_exit_status_and_message(
    failure: str, exit_status: int, said: str, failures: dict[str, Result]
) -> None:
    result = failures[failure]
    assert result["failed"] is True
    assert result.get("exit_status") == exit_status, result["msg"]
    assert said in result["msg"]
    assert not result["changed"]


def test_a_missing_package_is_reported_with_the_interpreter(place: Place) -> None:
    venv.create(place.path / "bare", symlinks=True)
    bare = str(place.path / "bare" / "bin" / "python")
    task = place.task() | {"environment": {"PYTHONPATH": ""}}
    [result] = place.play(task, interpreter=bare)
    assert result["failed"] is True
    assert "dicom-worklist" in result["msg"]
    assert bare in result["msg"]


def test_text_of_the_calendar_can_not_break_the_result(place: Place) -> None:
    row = b"%s,P,%s,7-1,2026-11-24,09:00,SKYRA,{{ 1 }},M\xc3\xbcller,CONFIRMED\n"
    header = b"booking_id,project_id,project_title,subject_session,start_date,start_time,lab,"
    rows = [row % (b"1", b"Z\xfcrich {{ 1 + 1 }}"), row % (b"\xfc", b"T"), row % (b"\x1b[31m", b"T")]
    path = place.path / "bookings.csv"
    path.write_bytes(header + b"user_first_name,user_last_name,status\n" + b"".join(rows))
    config = place.configure("csv.yml", {"source": {"type": "csv", "path": str(path)}})
    [result] = place.play(place.task(config, diff=True))
    assert ids(result["published"]) == ["1"]
    assert len(result["rejected"]) == 2
    assert "RequestedProcedureDescription: Z?rich {{ 1 + 1 }}" in result["diff"]["after"]
    assert worklist_files(place.folder).keys() == {"booking-1-SKYRA.wl"}


# --- the ad-hoc command, and the documentation ---


def test_it_runs_from_the_project_s_root_without_a_playbook(place: Place) -> None:
    place.calendar.book(1)
    arguments = f"config={place.config} day={DAY}"
    interpreter = ("-e", f"ansible_python_interpreter={sys.executable}")
    line = ("localhost", "-i", "localhost,", "-c", "local", *interpreter, "-m", "worklist_sync", "-a", arguments)
    done = ansible("ansible", *line, home=place.path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CHANGED" in done.stdout
    assert worklist_files(place.folder).keys() == {"booking-1-PRISMA.wl"}


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return documented("worklist_sync", tmp_path_factory.mktemp("doc"))


def test_ansible_doc_prints_it_for_people(tmp_path: Path) -> None:
    done = ansible("ansible-doc", "worklist_sync", home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for heading in ("OPTIONS", "config", "day", "ATTRIBUTES", "EXAMPLES", "RETURN VALUES"):
        assert heading in done.stdout


def test_the_documentation_names_every_argument(documentation: Result) -> None:
    options = documentation["doc"]["options"]
    assert {name: option.get("required", False) for name, option in options.items()} == {"config": True, "day": False}


def test_the_documentation_names_every_value_returned(documentation: Result, story: Story) -> None:
    assert documentation["return"].keys() == {*FIELDS, "warnings", "exit_status"}
    assert {*FIELDS, "changed"} <= story.changes.keys()


def test_the_examples_use_arguments_that_there_are(documentation: Result) -> None:
    examples = yaml.safe_load(documentation["examples"])
    assert examples
    for example in examples:
        assert example["worklist_sync"].keys() <= documentation["doc"]["options"].keys()
