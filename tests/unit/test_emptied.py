"""Case 20 from the field: a calendar that empties, and labs and statuses that nobody knows."""

import json

import pytest

from dicom_worklist.errors import SourceError
from support.calendar import MEG, PRISMA, SKYRA
from support.command import command
from support.timed_site import Site, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


def emptied(site: Site) -> list[str]:
    return [problem.text for problem in site.seen().problems if problem.kind == "emptied"]


@pytest.fixture
def full(site: Site) -> Site:
    """Four bookings on PRISMA, one on SKYRA."""
    for one in range(1, 5):
        site.book(one, f"{one}-1", f"{10 + one}:00")
    site.book(5, "5-1", "11:00", lab=SKYRA)
    site.run("08:00")
    return site


EMPTYING = [
    pytest.param("UPDATE calendars SET description = 'Siemens Prism 3T' WHERE id = ?", [PRISMA], id="20-lab renamed"),
    pytest.param("UPDATE calendar_items_new SET status = 'BOOKED' WHERE calendar_id = ?", [PRISMA], id="20-statuses"),
    pytest.param("UPDATE calendar_items_new SET start_date = NULL WHERE calendar_id = ?", [PRISMA], id="20-NULL"),
    pytest.param("DELETE FROM calendar_items_new WHERE calendar_id = ?", [PRISMA], id="20-deleted"),
    pytest.param("UPDATE calendar_items_new SET start_date = NULL", [], id="20-the whole site"),
]


@pytest.mark.parametrize(("statement", "values"), EMPTYING)
def test_a_calendar_that_empties_at_once_is_reported_everywhere(statement: str, values: list[str], full: Site) -> None:
    full.calendar._run(statement, *values)
    full.run("08:01")
    whole = not values
    for clock in ("08:02", "10:00", "20:00"):
        texts = emptied(full)
        assert len(texts) == (2 if whole else 1)
        assert texts[0] == f"Since 08:01 the calendar has no booking for PRISMA on {day()}; it had 4."
        assert "the calendar has no booking for PRISMA" in full.page
        assert full.metric("emptied_scanners") == len(texts)
        now = full.now.isoformat()
        plugin = command("status", "--exit-code", "--config", full.file, "--now", now)
        assert (plugin.returncode, texts[0] in plugin.stdout) == (2, True)
        full.run(clock)
    said = json.loads(command("status", "--json", "--config", full.file, "--now", full.now.isoformat()).stdout)
    assert {(one["kind"], one["level"]) for one in said["problems"] if one["text"] in texts} == {
        ("emptied", "CRITICAL")
    }
    assert texts[0] in command("status", "--config", full.file, "--now", full.now.isoformat()).stdout


def test_20_it_is_over_when_bookings_are_back(full: Site) -> None:
    full.calendar._run("UPDATE calendar_items_new SET status = 'BOOKED' WHERE calendar_id = ?", PRISMA)
    full.run("08:01")
    full.calendar.change(3, status="CONFIRMED")
    full.run("08:02")
    assert (emptied(full), full.metric("emptied_scanners")) == ([], 0)


def test_20_it_is_not_over_when_the_day_ends_but_after_a_week(full: Site) -> None:
    full.calendar._run("DELETE FROM calendar_items_new")
    full.run("08:01")
    for ahead in (1, 7):
        full.run("00:00", ahead)
        assert len(emptied(full)) == 2
    full.run("00:00", 8)
    assert emptied(full) == []


@pytest.mark.parametrize("change", ["status = 'CANCELLED'", "subj_ses = 'Cancellation'", f"calendar_id = '{SKYRA}'"])
def test_20_a_change_on_purpose_is_not_reported(change: str, full: Site) -> None:
    full.calendar._run(f"UPDATE calendar_items_new SET {change} WHERE calendar_id = ?", PRISMA)
    full.run("08:01")
    assert emptied(full) == []


def test_20_it_survives_runs_that_fail(full: Site) -> None:
    full.calendar._run("DELETE FROM calendar_items_new")
    full.run("08:01")
    full.calendar.path.rename(full.calendar.path.with_suffix(".away"))
    with pytest.raises(SourceError):
        full.run("08:02")
    assert len(emptied(full)) == 2
    full.calendar.path.with_suffix(".away").rename(full.calendar.path)
    full.run("08:03")
    assert len(emptied(full)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE calendar_items_new SET status = 'CANCELLED' WHERE id = 1", id="20-one of four cancelled"),
        pytest.param("DELETE FROM calendar_items_new WHERE id < 4", id="20-three of four deleted"),
        pytest.param("DELETE FROM calendar_items_new WHERE id = 5", id="20-the only one of a scanner"),
        pytest.param("UPDATE calendar_items_new SET subj_ses = 'x-y-z' WHERE id < 5", id="20-rejected"),
    ],
)
def test_an_ordinary_change_is_not_reported(statement: str, full: Site) -> None:
    full.calendar._run(statement)
    full.run("08:01")
    assert emptied(full) == []


def test_20_bookings_that_end_and_a_scanner_that_is_removed_are_not_reported(full: Site) -> None:
    full.run("23:59")
    full.run("00:00", 1)
    assert emptied(full) == []


def test_20_a_scanner_that_the_site_no_longer_has_is_not_reported(full: Site) -> None:
    full.changes |= {"scanners.0.ae_title": "PRISMA2"}
    full.run("08:01")
    assert emptied(full) == []


def test_20_bookings_of_tomorrow_that_go_are_reported_today(site: Site) -> None:
    for one in range(1, 4):
        site.book(one, f"{one}-1", f"{10 + one}:00", day=day(1))
    site.run("08:00")
    site.calendar._run("DELETE FROM calendar_items_new")
    site.run("08:01")
    assert emptied(site) == [f"Since 08:01 the calendar has no booking for PRISMA on {day(1)}; it had 3."]
    site.run("08:00", 1)
    assert len(emptied(site)) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, [("labs", "'MEG lab' (2)"), ("statuses", "'BOOKED' (3)")], id="20-unknown"),
        pytest.param({"ignored_labs": ["meg"]}, [("statuses", "'BOOKED' (3)")], id="20-ignored lab"),
        pytest.param(
            {"ignored_labs": ["^MEG lab$"], "booking": {"statuses": ["confirmed", "booked"]}}, [], id="20-both known"
        ),
    ],
)
def test_unknown_labs_and_statuses_are_counted(
    changes: dict[str, object], said: list[tuple[str, str]], site: Site
) -> None:
    site.changes |= changes
    site.book(1, "1-1", "10:00")
    for one in (2, 3):
        site.book(one, f"{one}-1", lab=MEG)
    site.book(4, "4-1", lab=MEG, day=day(-1000))
    for one in (5, 6, 7):
        site.book(one, f"{one}-1", f"{7 + one}:00", status="BOOKED")
    site.book(8, "8-1", "16:00", status="CANCELLED")
    site.run("08:00")
    problems = {problem.kind: problem.text for problem in site.seen().problems}
    assert problems.keys() == {kind for kind, _ in said}
    for kind, counted in said:
        assert counted in problems[kind]
        assert counted.replace("'", "&#39;") in site.page
    kinds = dict(said)
    assert site.metric("unknown_lab_bookings") == (2 if "labs" in kinds else 0)
    checked = command("check", "--only", "source", "--config", site.file, "--now", site.now.isoformat()).stdout
    for _, counted in said:
        assert counted in checked


@pytest.mark.parametrize("ahead", [pytest.param(-2300, id="20-of 2020"), pytest.param(400, id="20-of next year")])
def test_rows_of_other_days_are_not_counted(ahead: int, site: Site) -> None:
    site.read_csv(("1", "1-1", day(ahead), "BOOKED"), ("2", "2-1", day(ahead), "CONFIRMED", MEG))
    site.run("08:00")
    assert (site.found.labs, site.found.statuses) == ({}, {})


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        pytest.param("UPDATE calendar_items_new SET subj_ses = 'x-'", "1 were rejected", id="20-rejected"),
        pytest.param("DELETE FROM calendar_items_new", "the calendar has none", id="20-deleted"),
        pytest.param("UPDATE calendar_items_new SET status = 'BOOKED'", "statuses that don't count", id="20-status"),
        pytest.param("UPDATE calendars SET description = 'x'", "labs that no scanner has", id="20-lab"),
    ],
)
def test_the_run_that_empties_the_worklist_gives_the_reason(statement: str, said: str, site: Site) -> None:
    site.book(1)
    site.run("08:00")
    site.calendar._run(statement)
    [warning] = [one for one in site.run("08:01").warnings if "leaves the worklist empty" in one]
    assert said in warning
