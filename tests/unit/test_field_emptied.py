"""Cases 20 to 22 from the field: a calendar that empties, and what nobody has accounted for."""

import json
from pathlib import Path

import pytest

from dicom_worklist.errors import SourceError
from support.local import MEG, PRISMA, SKYRA, command
from support.timed_site import Site, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


# --- 20: a calendar that empties ---


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
def test_a_calendar_that_empties_at_once_is_said_everywhere(statement: str, values: list[str], full: Site) -> None:
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
def test_20_what_people_do_on_purpose_is_no_emptying(change: str, full: Site) -> None:
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
def test_what_may_well_be_is_no_emptying(statement: str, full: Site) -> None:
    full.calendar._run(statement)
    full.run("08:01")
    assert emptied(full) == []


def test_20_bookings_that_end_or_a_scanner_that_is_taken_away_are_no_emptying(full: Site) -> None:
    full.run("23:59")
    full.run("00:00", 1)
    assert emptied(full) == []


def test_20_a_scanner_that_the_site_no_longer_has_is_no_emptying(full: Site) -> None:
    full.changes |= {"scanners.0.ae_title": "PRISMA2"}
    full.run("08:01")
    assert emptied(full) == []


def test_20_tomorrow_s_bookings_that_go_are_said_today(site: Site) -> None:
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
def test_labs_and_statuses_that_nobody_accounts_for_are_counted(
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
def test_the_run_that_empties_the_worklist_says_why(statement: str, said: str, site: Site) -> None:
    site.book(1)
    site.run("08:00")
    site.calendar._run(statement)
    [warning] = [one for one in site.run("08:01").warnings if "empty now" in one]
    assert said in warning


# --- 21: what check counts ---


def check(site: Site, only: str = "source") -> str:
    done = command("check", "--only", only, "--config", site.file, "--now", site.now.isoformat())
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("window", "said"),
    [
        pytest.param({}, f"has 2 bookings of scanners for {day()} at the site", id="21-today"),
        pytest.param(
            {"window.days_ahead": 1}, f"has 3 bookings of scanners for {day()} to {day(1)}", id="21-tomorrow too"
        ),
        pytest.param(
            {"window.days_back": 1}, f"has 3 bookings of scanners for {day(-1)} to {day()}", id="21-yesterday too"
        ),
    ],
)
def test_check_counts_the_rows_of_the_window(window: dict[str, int], said: str, site: Site) -> None:
    site.changes |= window
    rows = [
        (f"{one}", f"{one}-1", when) for one, when in enumerate((day(), "2020-01-01", "2020-01-02", day(1), day(-1)))
    ]
    site.read_csv(
        *((*row, "CONFIRMED") for row in rows), ("9", "x-", day(), "CONFIRMED"), ("8", "8-1", day(), "CANCELLED")
    )
    assert said in check(site)
    assert "1 rejected" in check(site)


# --- 22: files that others left ---


def leave(site: Site) -> list[str]:
    """Leave an entry of 2015, a broken one, one in a worklist that no scanner has any more, and what is no entry."""
    site.book(1, day=day())
    site.run("08:00")
    entry = (site.folder / "booking-1-PRISMA.wl").read_bytes()
    old = site.folder.parent / "OLD"
    old.mkdir()
    (site.folder / "phantom.wl").write_bytes(entry.replace(b"20261124", b"20150101"))
    (site.folder / "broken.wl").write_text("no DICOM")
    (old / "booking-1-PRISMA.wl").write_bytes(entry)
    for name in ("notes.txt", "lockfile.bak"):
        (site.folder / name).write_text("theirs")
    return ["WLBROKER/phantom.wl (of 20150101)", "WLBROKER/broken.wl (broken)", "OLD/booking-1-PRISMA.wl (of 20261124)"]


def test_22_check_names_the_files_of_others_with_their_date(site: Site) -> None:
    names = leave(site)
    said = check(site, "folder")
    assert [name for name in names if name not in said] == []
    assert "notes.txt" not in said
    assert "lockfile" not in said


def test_22_page_status_and_metrics_name_them_and_no_run_touches_them(site: Site) -> None:
    names = leave(site)
    site.run("08:01")
    [problem] = [one for one in site.seen().problems if one.kind == "leftovers"]
    for name in names:
        assert name.split(" ")[0] in problem.text
        assert name.split(" ")[0] in site.page
    assert site.metric("foreign_entries") == 3
    assert all(Path(site.folder.parent, name.split(" ")[0]).exists() for name in names)


def test_22_without_any_there_is_no_word(site: Site) -> None:
    site.run("08:00")
    assert "what no sync wrote" not in check(site, "folder")
    assert site.metric("foreign_entries") == 0


def test_22_a_name_that_is_no_text_is_printed_as_such(site: Site) -> None:
    (site.folder / "a\x1b[31m.wl").write_text("x")
    site.run("08:00")
    assert "a\\x1b[31m.wl (broken)" in check(site, "folder")
    assert "\x1b" not in site.page
