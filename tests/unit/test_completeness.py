"""From a series in the PACS to a hint on the page: what is asked, what is remembered, and when it is shown."""

import sqlite3
from contextlib import closing
from types import ModuleType

import pytest

from dicom_worklist.status import pacs_series, sessions
from dicom_worklist.status.oddities import Weight
from support.timed_site import Site, day

WHOLE = range(1, 301)
GAP = [number for number in WHOLE if number != 57]


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


def scan_days(site: Site, days: int) -> None:
    """Let sessions of one project take place on so many days before the tests' own, each with two series."""
    for ahead in range(-days, 0):
        booking = 1000 + ahead
        site.book(booking, f"{100 + ahead}-1", "09:00", "10:00", day=day(ahead))
        site.run("09:00", ahead)
        site.make(booking, "09:05", "T1", WHOLE, "09:20")
        site.make(booking, "09:25", "bold", WHOLE, "09:40")
        site.run("10:30", ahead)


def hints(site: Site, booking_id: object) -> list[str]:
    line = site.line(booking_id)
    return [oddity.text for oddity in line.oddities if oddity.level is Weight.HINT]


def test_a_gap_is_told_in_the_run_after_its_series_is_stable(site: Site) -> None:
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", GAP, "09:20")
    site.pacs.series[-1]["IsStable"] = False
    site.run("09:20")
    assert hints(site, 1) == []
    site.pacs.series[-1]["IsStable"] = True
    site.run("09:21")
    assert hints(site, 1) == ['Series 1 "bold" has 299 images; InstanceNumber 57 is missing.']
    assert site.line(1).state == "arrived"  # a hint is not an oddity
    assert site.seen().problems == []


def test_the_images_of_a_series_are_asked_for_once_and_again_when_more_came(site: Site) -> None:
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", GAP, "09:20")

    def asked() -> int:
        return sum("SeriesInstanceUID" in question for question in site.pacs.asked)

    site.run("09:21")
    site.run("09:22")
    assert asked() == 1
    site.pacs.series[-1]["RequestedTags"]["NumberOfSeriesRelatedInstances"] = "300"
    site.pacs.images["1.2.0"].append({"ParentSeries": "1.2.0", "MainDicomTags": {"InstanceNumber": "57"}})
    site.run("09:23")
    assert (asked(), hints(site, 1)) == (2, [])


def test_earlier_sessions_are_remembered(site: Site) -> None:
    scan_days(site, 5)
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", range(1, 297), "09:20")
    site.run("09:21")
    number = len(site.pacs.series)
    fewer = f'Series {number} "bold" has 296 images; all 5 earlier sessions of project 3010000.01 had 300.'
    assert hints(site, 1) == [fewer]  # the T1 may still come
    site.run("09:36")
    assert hints(site, 1) == [
        fewer, 'No series "T1" is here; all 5 earlier sessions of project 3010000.01 had it.',
    ]  # fmt: skip


def test_sessions_are_compared_with_those_of_the_same_number_and_scanner_only(site: Site) -> None:
    scan_days(site, 5)
    site.book(1, "7-2", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", range(1, 297), "09:20")
    site.run("10:30")
    assert hints(site, 1) == []


def test_what_has_another_subject_is_compared_with_nothing_and_not_remembered(site: Site) -> None:
    scan_days(site, 5)
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", range(1, 297), "09:20")
    site.pacs.series[-1]["RequestedTags"]["PatientID"] = "somebody"
    site.run("10:30")
    assert hints(site, 1) == []
    with closing(sqlite3.connect(site.root / "status.history.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM session WHERE booking_id = '1'").fetchone() == (0,)


def test_the_memory_has_no_name_of_a_subject_and_ends_with_history_days(site: Site) -> None:
    scan_days(site, 5)
    path = site.root / "status.history.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM session").fetchall()
    assert len(rows) == 5
    assert "sub-" not in str(rows)
    site.changes["status.history_days"] = 3
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.run("09:01")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (3,)


def test_a_history_of_an_older_release_goes_on(site: Site) -> None:
    scan_days(site, 1)
    path = site.root / "status.history.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE session")
        versions = connection.execute("SELECT count(*) FROM version").fetchone()
    site.run("11:00", -1)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM session").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM version").fetchone() == versions


def test_a_run_without_the_history_tells_what_the_series_say_alone(site: Site) -> None:
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", GAP, "09:20")
    (site.root / "status.history.sqlite").write_bytes(b"no database" * 100)
    report = site.run("09:21")
    assert len(hints(site, 1)) == 1
    assert sum("history" in warning for warning in report.warnings) == 2  # read, and written


def test_what_was_known_stays_when_the_pacs_is_silent(site: Site) -> None:
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", GAP, "09:20")
    site.run("09:21")
    site.changes["pacs.url"] = "http://127.0.0.1:1"
    site.run("09:22")
    assert len(hints(site, 1)) == 1


@pytest.mark.parametrize("project", ["3010000.01", "*"])
def test_a_rule_can_be_turned_off_by_project(site: Site, project: str) -> None:
    site.changes["status.hints_off"] = {project: ["gaps"]}
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "bold", GAP, "09:20")
    site.run("09:21")
    assert hints(site, 1) == []


def test_a_study_of_no_booking_is_judged_by_itself(site: Site) -> None:
    site.run("09:00")
    site.pacs.add("a", site.now, "PRISMA", {"PatientID": "phantom"}, name="QA", numbers=GAP, last=site.now)
    site.run("09:21")
    [one] = site.unscheduled()
    assert [oddity.text for oddity in one.oddities] == ['Series 1 "QA" has 299 images; InstanceNumber 57 is missing.']


def test_it_is_shown_everywhere(site: Site) -> None:
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    site.make(1, "09:05", "<script>", GAP, "09:20")
    site.run("09:21")
    assert "Hint:</b>" in site.page
    assert "&lt;script&gt;" in site.page
    assert '"<script>"' not in site.page
    assert site.metric("incomplete_sessions") == 1
    [line] = site.seen().as_dict()["today"]["lanes"][0]["lines"]
    assert [oddity["level"] for oddity in line["oddities"]] == ["hint"]


@pytest.mark.parametrize("broken", [(pacs_series, "looked_into"), (sessions, "hints")], ids=lambda one: str(one[1]))
def test_a_hint_that_fails_stops_neither_the_worklist_nor_the_page(
    field_site: Site, monkeypatch: pytest.MonkeyPatch, broken: tuple[ModuleType, str]
) -> None:
    def fails(*_: object) -> None:
        raise IndexError("unforeseen")

    monkeypatch.setattr(*broken, fails)
    field_site.changes["status.leave_after"] = 5
    field_site.book(1)
    report = field_site.run("08:00")
    assert [entry["booking_id"] for entry in report.published] == ["1"]
    assert field_site.found.good is not None
    assert any("whether all images have come is not known" in warning for warning in report.warnings)
