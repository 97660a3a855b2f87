"""Case 26 from the field: a problem is in the log once when it begins and once when it has ended."""

import re
from collections.abc import Callable

import pytest

from support.command import command
from support.timed_site import Site, at
from support.worklist_folder import locked_by_another_process


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(1)
    return field_site


def log(site: Site, clock: str, *options: str, exit_status: int = 0) -> list[str]:
    """Return what a run puts into the log, without the moment, which is the same on every line."""
    site.now = at(clock)
    done = command("sync", "--log", "--config", site.file, "--now", site.now.isoformat(), *options)
    assert (done.returncode, done.stderr) == (exit_status, "")
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert {moment for moment, _ in lines} <= {site.now.isoformat(timespec="seconds")}
    return [said for _, said in lines]


def remarks(lines: list[str]) -> list[str]:
    return [line for line in lines if not re.match(r"(published|updated|removed) booking|2026-", line)]


def rejected(site: Site) -> Callable[[], object]:
    site.book(2, "8-x", "10:00")
    return lambda: site.calendar.delete(2)


def double(site: Site) -> Callable[[], object]:
    site.book(2, "7-1", "14:00")
    return lambda: site.calendar.delete(2)


def no_pacs(site: Site) -> Callable[[], object]:
    port, site.changes["pacs.url"] = site.changes["pacs.url"], "http://127.0.0.1:1"
    return lambda: site.changes.update({"pacs.url": port})


def no_page(site: Site) -> Callable[[], object]:
    site.changes["status.page"] = str(site.root / "nowhere")
    return lambda: site.changes.pop("status.page")


def no_metrics(site: Site) -> Callable[[], object]:
    site.changes["status.metrics"] = str(site.root / "nowhere")
    return lambda: site.changes.pop("status.metrics")


def no_history(site: Site) -> Callable[[], object]:
    site.forget("history")
    (site.root / "status.history.sqlite").write_text("no database " * 100)
    return lambda: site.forget("history")


def no_calendar(site: Site) -> Callable[[], object]:
    away = site.calendar.path.with_suffix(".away")
    site.calendar.path.rename(away)
    return lambda: away.rename(site.calendar.path)


def neither(site: Site) -> Callable[[], object]:
    calendar, pacs = no_calendar(site), no_pacs(site)
    return lambda: (calendar(), pacs())


@pytest.mark.parametrize(
    ("begin", "words", "exit_status"),
    [
        pytest.param(rejected, ["rejected booking 2: subject_session"], 3, id="26-rejected"),
        pytest.param(double, ["warning: booking 1 "], 0, id="26-double"),
        pytest.param(no_pacs, ["warning: what arrived is not known: Orthanc"], 0, id="26-no PACS"),
        pytest.param(no_page, ["warning: status.page"], 0, id="26-no page"),
        pytest.param(no_metrics, ["warning: status.metrics"], 0, id="26-no metrics"),
        pytest.param(no_history, ["warning: the history "] * 2, 0, id="26-no history"),
        pytest.param(no_calendar, ["the booking database "], 4, id="26-no calendar"),
        pytest.param(neither, ["the booking database ", "warning: what arrived is not known"], 4, id="26-neither"),
    ],
)
def test_a_problem_is_in_the_log_when_it_begins_and_when_it_has_ended(
    begin: Callable[[Site], Callable[[], object]], words: list[str], exit_status: int, site: Site
) -> None:
    assert remarks(log(site, "08:00")) == []
    end = begin(site)
    begun = remarks(log(site, "08:01", exit_status=exit_status))
    assert len(begun) == len(words)
    assert [line for line, said in zip(begun, words, strict=True) if not line.startswith(said)] == []
    for clock in ("08:02", "08:03", "08:59", "09:00"):
        assert remarks(log(site, clock, exit_status=exit_status)) == []
    end()
    assert remarks(log(site, "09:01")) == [f"no longer: {line}" for line in begun]
    assert remarks(log(site, "09:02")) == []


def test_26_a_failed_run_ends_no_problem_that_it_can_not_see(site: Site) -> None:
    rejected(site)
    (begun,) = remarks(log(site, "08:00", exit_status=3))
    back = no_calendar(site)
    (failure,) = remarks(log(site, "08:01", exit_status=4))
    assert remarks(log(site, "08:02", exit_status=4)) == []
    back()
    assert remarks(log(site, "08:03", exit_status=3)) == [f"no longer: {failure}"]
    site.calendar.delete(2)
    assert remarks(log(site, "08:04")) == [f"no longer: {begun}"]


def test_26_another_failure_is_another_line(site: Site) -> None:
    log(site, "08:00")
    back = no_calendar(site)
    (failure,) = remarks(log(site, "08:01", exit_status=4))
    back()
    with locked_by_another_process(site.folder):
        site.changes["worklist.lock_timeout"] = 0.2
        site.book(2, "8-1", "10:00")
        first, second = remarks(log(site, "08:02", exit_status=5))
        assert (second, "lock_timeout" in first) == (f"no longer: {failure}", True)
        assert remarks(log(site, "08:03", exit_status=5)) == []


def test_26_without_a_writable_state_each_run_logs_the_problem_and_publishes(site: Site) -> None:
    site.changes["status.state"] = str(site.root / "nowhere/status.json")
    double(site)
    for clock in ("08:00", "08:01"):
        first, second = remarks(log(site, clock))
        assert first.startswith("warning: booking 1 ")
        assert second.startswith("warning: status.state ")
        assert site.shown() == ["1", "2"]


def test_26_after_the_state_was_lost_the_problem_is_logged_once_more(site: Site) -> None:
    double(site)
    (begun,) = remarks(log(site, "08:00"))
    site.forget("state")
    assert remarks(log(site, "08:01")) == [begun]
    assert remarks(log(site, "08:02")) == []


@pytest.mark.parametrize(
    "options",
    [pytest.param(("--dry-run",), id="26-dry run"), pytest.param(("--day", "2026-11-25"), id="26-another day")],
)
def test_a_run_that_is_not_recorded_ends_no_problem_for_the_next_run(options: tuple[str, ...], site: Site) -> None:
    double(site)
    log(site, "08:00")
    log(site, "08:01", *options)
    assert remarks(log(site, "08:02")) == []


def test_26_each_run_and_each_change_has_a_line(site: Site) -> None:
    assert log(site, "08:00") == [
        "published booking 1 on PRISMA",
        "2026-11-24: 1 published, 0 updated, 0 removed, 0 unchanged, 0 rejected, 0 warnings",
    ]
    assert log(site, "08:01") == ["2026-11-24: 0 published, 0 updated, 0 removed, 1 unchanged, 0 rejected, 0 warnings"]


@pytest.mark.parametrize(
    ("zone", "now", "moment"),
    [
        pytest.param("Europe/Amsterdam", "2026-07-24T10:00:00+00:00", "2026-07-24T12:00:00+02:00", id="26-summer"),
        pytest.param("Europe/Amsterdam", "2026-10-25T01:00:00+00:00", "2026-10-25T02:00:00+01:00", id="26-two again"),
        pytest.param("Asia/Kolkata", "2026-11-24T20:00:00+00:00", "2026-11-25T01:30:00+05:30", id="26-half an hour"),
    ],
)
def test_the_times_are_the_site_s_with_their_offset(zone: str, now: str, moment: str, site: Site) -> None:
    site.changes["site.timezone"] = zone
    done = command("sync", "--log", "--config", site.file, "--now", now)
    assert {line.split(" ")[0] for line in done.stdout.splitlines()} == {moment}
