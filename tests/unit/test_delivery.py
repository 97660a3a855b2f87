"""What the section `delivery` may say, which series go where, and what page and terminal say of it."""

from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import msgspec
import pytest

from dicom_worklist.config import load
from dicom_worklist.delivery import Copied, State, Summary
from dicom_worklist.delivery import outbox as outboxes
from dicom_worklist.delivery.destinations import Down, Undelivered
from dicom_worklist.delivery.destinations.folder import Folder
from dicom_worklist.delivery.outbox import pause
from dicom_worklist.delivery.pace import HALF_SPEED_AT, LONGEST_REST, Pace, rest
from dicom_worklist.delivery.rules import matches
from dicom_worklist.delivery.run import LOOK_FOR, Delivered, _Run
from dicom_worklist.delivery.series import Series, _series
from dicom_worklist.delivery.summary import Failure, Superseded
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import Config, Delivery, FolderDestination, Matched, Pacs
from dicom_worklist.status import page
from dicom_worklist.status.overview import Level, Overview, overview
from support import sample_day
from support.configuration import Configure
from support.sample_day import NOW

RAW = {"type": "folder", "name": "raw", "path": "/project/{{ project_id }}/{{ subject }}"}
SECTION = {"user": "delivery", "password_file": "/p", "outbox": "/o", "summary": "/s", "destinations": [RAW]}
PACS = {"url": "http://127.0.0.1:8042", "user": "reader", "password_file": "/p"}
VALUES: dict[str, str | int] = {"project_id": "3010000.01", "subject": "007", "session": "01", "patient_id": "P",
                                "patient_name": "N", "series_number": 3, "series_description": "T1 w/o"}  # fmt: skip


def faults(configure: Configure, **changes: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(configure({"pacs": PACS, "delivery": SECTION | changes}))
    return str(caught.value)


def test_a_section_that_is_right_is_taken(configure: Configure) -> None:
    found = load(configure({"pacs": PACS, "delivery": SECTION})).delivery
    assert found
    assert [one.name for one in found.destinations] == ["raw"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"destinations": []}, "delivery.destinations"),
        ({"destinations": [RAW, RAW]}, "the name raw is there twice"),
        ({"destinations": [RAW | {"path": "project"}]}, "delivery.destinations[0].path"),
        ({"destinations": [RAW | {"path": "/{{ subjekt }}"}]}, "uses subjekt, which no series has: it can use"),
        ({"destinations": [RAW | {"path": "/{{ subject"}]}, "is not a valid template"),
        ({"destinations": [RAW | {"when": {"modality": "("}}]}, "is not a valid regular expression: a ( has no )"),
        ({"destinations": [RAW | {"when": {"modalty": "MR"}}]}, "modalty"),
        ({"destinations": [RAW | {"mode": "640"}]}, "delivery.destinations[0].mode"),
        ({"destinations": [RAW | {"kind": "x"}]}, "the unknown field `kind`"),
    ],
)
def test_what_is_wrong_is_named(configure: Configure, changes: dict[str, object], message: str) -> None:
    assert message in faults(configure, **changes)


def test_it_needs_the_pacs(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="delivery needs the section pacs"):
        load(configure({"delivery": SECTION}))


@pytest.mark.parametrize(
    ("when", "goes"),
    [
        ({}, True),
        ({"project_id": "3010000[.].*"}, True),
        ({"project_id": "3010000"}, False),  # the whole of it
        ({"series_description": "t1 .*"}, True),
        ({"project_id": ".*", "modality": "MR"}, False),
    ],
)
def test_rules(when: dict[Matched, str], goes: bool) -> None:
    assert matches(when, VALUES) is goes


def folder(path: str, mount: str | None = None) -> Folder:
    return Folder(FolderDestination(name="raw", path=path, mount=mount))


def test_a_path_has_no_character_that_means_something() -> None:
    path = "/project/{{ project_id }}/{{ '%03d' % series_number }}-{{ series_description }}"
    assert folder(path).place(VALUES) == Path("/project/3010000.01/003-T1_w_o")


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_a_value_can_not_lead_elsewhere(value: str) -> None:
    with pytest.raises(Undelivered):
        folder("/project/{{ subject }}/x").place(VALUES | {"subject": value})


@pytest.mark.parametrize(("mount", "why"), [("/proc/self", "isn't mounted"), (None, "is missing")])
def test_a_root_that_is_not_there(mount: str | None, why: str) -> None:
    with pytest.raises(Down, match=why):
        folder("/nowhere/at/all/{{ subject }}", mount).deliver(None, (), lambda _: b"")  # type: ignore[arg-type]


def test_pauses_grow_to_an_hour() -> None:
    minutes = [pause(attempts) / timedelta(minutes=1) for attempts in (1, 2, 3, 7, 8, 1000)]
    assert minutes == [1, 2, 4, 60, 60, 60]


def seen(tmp_path: Path, summary: Summary | None) -> Overview:
    file = tmp_path / "delivery.json"
    if summary:
        file.write_bytes(msgspec.json.encode(summary))
    destination = FolderDestination(name="raw", path="/project/{{ subject }}")
    section = Delivery(user="u", password_file="/p", outbox="/o", summary=str(file), destinations=(destination,))
    config: Config = msgspec.structs.replace(sample_day.config(), delivery=section)
    return overview(config, sample_day.found(), NOW)


def problems(tmp_path: Path, state: State, minutes: int = 1) -> list[str]:
    state = msgspec.structs.replace(state, ended=NOW - timedelta(minutes=minutes))
    shown = seen(tmp_path, Summary(NOW, {"raw": state}, {}))
    found = [problem for problem in shown.problems if problem.kind == "delivery"]
    assert all(problem.level is Level.WARNING for problem in found)
    return [problem.said for problem in found]


def test_what_waits_and_what_fails_is_reported(tmp_path: Path) -> None:
    assert problems(tmp_path, State(0, None)) == []
    assert problems(tmp_path, State(3, NOW - timedelta(minutes=59))) == []
    [waits] = problems(tmp_path, State(3, NOW - timedelta(minutes=61)))
    assert waits == "3 series wait for raw, the oldest since 2026-11-24 13:19: more comes than goes there."
    assert problems(tmp_path, State(1, NOW, down="full", down_since=NOW - timedelta(minutes=9))) == []
    [down] = problems(tmp_path, State(1, NOW, down="/raw: No space left", down_since=NOW - timedelta(minutes=11)))
    assert down == "Nothing is delivered to raw since 2026-11-24 14:09, 1 series waits: /raw: No space left"
    [fails] = problems(tmp_path, State(1, NOW, failures=(Failure("sub-007 3 T1w", "a reason"),)))
    assert fails == "The series sub-007 3 T1w can't be delivered to raw: a reason"


@pytest.mark.parametrize(
    ("now", "series", "said"),
    [
        (
            "sub-008 (P8)",
            2,
            "At raw 2 series are still there as sub-007 (P7), which is sub-008 (P8) since a repair: /p.",
        ),
        ("", 1, "At raw 1 series is still there as sub-007 (P7), which is no longer in the PACS: /p."),
    ],
)
def test_copies_under_a_name_of_before_are_told(tmp_path: Path, now: str, series: int, said: str) -> None:
    state = State(0, None, NOW, superseded=(Superseded("sub-007 (P7)", now, series, "/p"),))
    [problem] = [one for one in seen(tmp_path, Summary(NOW, {"raw": state}, {})).problems if one.kind == "superseded"]
    assert problem.said == f"{said} Warn those who use these images, and remove them there."


def test_a_delivery_that_does_not_run_is_reported(tmp_path: Path) -> None:
    [silent] = problems(tmp_path, State(0, None), 21)
    assert silent.startswith("No run of the delivery to raw has ended for 21 minutes.")
    [never] = [one.said for one in seen(tmp_path / "other", None).problems if one.kind == "delivery"]
    assert never.startswith("No run of the delivery to raw has ended yet.")


@pytest.mark.parametrize(("series", "images", "safe"), [(0, 0, True), (1, 0, False), (0, 1, False), (0, -1, False)])
def test_safe_is_only_what_has_as_many_images_as_the_pacs(
    tmp_path: Path, series: int, images: int, *, safe: bool
) -> None:
    [study, *_] = sample_day.found().studies
    copied = Copied(study.series + series, study.instances + images, NOW - timedelta(minutes=20), ("raw",))
    shown = seen(tmp_path, Summary(NOW, {"raw": State(0, None)}, {study.orthanc_id: copied}))
    assert (shown.copied(study) == copied) is safe
    text = " ".join(page.render(shown).split())
    assert ("safe to delete on the console" in text) is safe
    without = replace(shown, delivery=None)
    assert "safe to delete" not in page.render(without)


@pytest.mark.parametrize(("hours", "safe"), [(1, True), (47, True), (49, False), (-1, False)])
def test_a_comparison_of_long_ago_says_nothing(tmp_path: Path, hours: int, *, safe: bool) -> None:
    """Also if the delivery no longer runs."""
    [study, *_] = sample_day.found().studies
    copied = Copied(study.series, study.instances, NOW - timedelta(hours=hours), ("raw",))
    shown = seen(tmp_path, Summary(NOW - timedelta(days=10), {}, {study.orthanc_id: copied}))
    assert (shown.copied(study) is not None) is safe
    assert bool(shown.as_dict()["delivery"]["copied"]) is safe


@pytest.mark.parametrize(
    ("number", "read"), [("3", 3), ("", ""), ("1\\2", ""), ("1.5", ""), ("IMG", ""), ("9" * 400, ""), (None, "")]
)
def test_an_odd_series_number_is_none(number: str | None, read: object) -> None:
    assert series_of(SeriesNumber=number).values["series_number"] == read


@pytest.mark.parametrize("end", ["", "^^^^", " ", "^=="])
def test_consoles_may_add_an_empty_end_to_a_name(end: str) -> None:
    found = series_of(PatientID="3010000.01_sub-004", PatientName=f"3010000.01_sub-004_ses-01{end}").values
    assert (found["project_id"], found["subject"], found["session"]) == ("3010000.01", "004", "01")


def test_a_name_of_another_than_the_id_is_nobody_s() -> None:
    found = series_of(PatientID="3010000.01_sub-005", PatientName="3010000.01_sub-004_ses-01").values
    assert "subject" not in found


def series_of(**tags: str | None) -> Series:
    return _series({"ID": "a-b", "ParentStudy": "c-d", "Instances": None, "IsStable": True,
                    "Metadata": {"LastUpdate": "20261124T093000"}, "RequestedTags": tags or None})  # fmt: skip


def test_a_usual_day_is_hardly_slowed_and_many_at_once_go_first() -> None:
    assert rest(0.02, 0) == 0
    assert rest(0.02, 4) < 0.001  # 100,000 images in seven hours
    assert rest(0.02, HALF_SPEED_AT) == 0.02
    assert rest(0.02, 2 * HALF_SPEED_AT) == 0.08
    assert rest(0.02, 10_000) == LONGEST_REST


class Repaired(Folder):
    """A destination with the copies of five series that were repaired. It takes a while for each answer."""

    def __init__(self, takes: timedelta, *fails: Undelivered | None) -> None:
        self.takes, self.fails = takes, [*fails]
        self.now, self.asked = NOW.astimezone(UTC), 0

    def holds(self, *_: object) -> bool:
        self.asked += 1
        self.now += self.takes
        if self.fails and (error := self.fails.pop(0)):
            raise error
        return True

    def looked_for(self, tmp_path: Path, *, down: bool = False) -> int:
        """Look for these copies, and return how many are known to be there."""
        section = Delivery(user="u", password_file="/p", outbox="/o", summary="/s", destinations=())
        pacs = Pacs(url="http://127.0.0.1:1", user="u", password_file="/p")
        raw = FolderDestination(name="raw", path="/x")
        with outboxes.opened(str(tmp_path / "outbox")) as outbox:
            for number in range(5):
                for patient in ("before", "after"):
                    one = series_of(PatientID=patient, PatientName=patient, SeriesInstanceUID=str(number))
                    outbox.want(msgspec.structs.replace(one, id=str(number)), ["raw"], self.now)
            if down:
                outbox.failed("raw", "0", "it is off", self.now, down=True)
            run = _Run(section, pacs, raw, outbox, lambda: self.now, None, Delivered(), Pace(pacs))
            run._look_for_superseded(self)
            [(held,)] = outbox.rows("SELECT count(held) FROM superseded")
            assert outbox.rows("SELECT count(*) FROM superseded") == [(5,)]
            return int(held)


def test_copies_under_a_name_of_before_are_looked_for(tmp_path: Path) -> None:
    place = Repaired(timedelta(seconds=1), Undelivered("this one can't be seen"))
    assert (place.looked_for(tmp_path), place.asked) == (4, 5)


def test_a_destination_that_is_down_is_not_asked_for_them(tmp_path: Path) -> None:
    place = Repaired(timedelta(seconds=1))
    assert (place.looked_for(tmp_path, down=True), place.asked) == (0, 0)


def test_one_that_goes_down_meanwhile_is_asked_for_no_more_of_them(tmp_path: Path) -> None:
    place = Repaired(timedelta(seconds=1), None, Down("it is off"))
    assert (place.looked_for(tmp_path), place.asked) == (1, 2)


def test_one_that_is_slow_is_asked_only_for_some_in_a_run(tmp_path: Path) -> None:
    place = Repaired(LOOK_FOR * 0.6)
    assert (place.looked_for(tmp_path), place.asked) == (2, 2)
