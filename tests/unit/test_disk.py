"""When the PACS's disk will be full, at the rate of the last weeks; and what page, terminal, --json and metrics say."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.status import disk
from dicom_worklist.status.overview import Problem
from dicom_worklist.status.records import DiskSpace
from support.command import command
from support.timed_site import Site, at

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GB, SIZE = 10**9, 2 * 10**12


def measured(used: Sequence[float], size: int = SIZE, now: datetime = NOW) -> tuple[DiskSpace, ...]:
    """Return what was used on each of the last days, in GB, as runs measured it."""
    found: tuple[DiskSpace, ...] = ()
    for ago, one in enumerate(reversed(used)):
        found = (DiskSpace(at=now - ago * DAY, free=size - round(one * GB), size=size), *found)
    return found


def days_left(used: Sequence[float], size: int = SIZE) -> float | None:
    full = disk.full(measured(used, size))
    return None if full is None else (full.at - NOW) / DAY


def test_a_steady_rate_is_foreseen() -> None:
    full = disk.full(measured([1000 + 50 * day for day in range(15)]))
    assert full
    assert (full.at, full.free, full.size, full.daily) == (NOW + 6 * DAY, 300 * GB, SIZE, 50 * GB)


@pytest.mark.parametrize("days", [0, 1, 2, 3])
def test_less_than_three_days_say_nothing(days: int) -> None:
    assert disk.full(measured([1900 + 10 * day for day in range(days)])) is None


def test_three_days_are_enough_also_with_gaps() -> None:
    assert days_left([1900, 1910, 1920, 1930]) == pytest.approx(7)
    some = measured([1900, 1910, 1920, 1930])
    assert disk.full([some[0], some[3]]) is not None
    assert disk.full([some[0], some[2]]) is None


@given(st.lists(st.floats(0, 50), min_size=4, max_size=29), st.integers(0, 10**6))
def test_level_or_shrinking_says_nothing(changes: list[float], start: int) -> None:
    used, found = 1000.0 + start / 1000, []
    for change in changes:
        found.append(used)
        used -= change
    assert disk.full(measured(found, 10**13)) is None


@given(
    st.integers(4, 29), st.floats(10, 200), st.lists(st.floats(-0.2, 0.2), min_size=29, max_size=29),
    st.integers(0, 28), st.floats(-500, 500),
)  # fmt: skip
def test_neither_noise_nor_one_odd_day_moves_it_far(
    days: int, rate: float, noise: list[float], odd: int, jump: float
) -> None:
    """One measure may be anything, such as a day on which an archive was unpacked and removed."""
    used = [1000 + rate * (day + noise[day]) for day in range(days)]
    if days >= 10:
        used[odd % days] += jump
    full = disk.full(measured(used, 10**13))
    assert full
    assert 0.5 * rate * GB < full.daily < 2 * rate * GB


@given(st.integers(10, 200), st.floats(10, 1000), st.integers(0, 27))
def test_a_study_that_was_deleted_does_not_hide_that_it_fills(rate: int, deleted: float, when: int) -> None:
    used = [1000 + rate * day - (deleted if day > when else 0) for day in range(29)]
    full = disk.full(measured(used, 10**13))
    if min(when, 28 - when) <= 5:  # near an end of the weeks it is one step of many
        assert full
        assert 0.5 * rate * GB < full.daily <= rate * GB


@given(st.integers(0, 6), st.integers(14, 28))
def test_weekends_without_scans_move_it_by_a_third_at_most(first: int, days: int) -> None:
    used = [1000.0]
    for day in range(days):
        used.append(used[-1] + (0 if (first + day) % 7 in {5, 6} else 70))
    full = disk.full(measured(used, 10**13))
    assert full
    assert 33 * GB <= full.daily <= 70 * GB


@given(st.floats(10, 100), st.integers(1, 9))
def test_a_larger_disk_is_only_further_away(rate: float, times: int) -> None:
    used = [1000 + rate * day for day in range(20)]
    small, large = measured(used[:10], 4 * 10**12, NOW - 10 * DAY), measured(used[10:], 4 * 10**12 * times)
    full = disk.full([*small, *large])
    assert full
    assert full.daily == pytest.approx(rate * GB, rel=0.01)
    assert full.free == large[-1].free


def test_a_disk_that_has_long_been_full_is_level() -> None:
    assert disk.full(measured([SIZE / GB] * 28)) is None


def test_what_is_far_away_is_not_foreseen() -> None:
    assert days_left([1000 + 0.0001 * day for day in range(28)]) is None


def run_each(minutes: int, days: float, used: Callable[[float], float]) -> tuple[DiskSpace, ...]:
    kept: tuple[DiskSpace, ...] = ()
    for step in range(round(days * 1440 / minutes)):
        moment = NOW + timedelta(minutes=minutes * step)
        kept = disk.added(kept, DiskSpace(at=moment, free=SIZE - round(used(step * minutes / 1440) * GB), size=SIZE))
        assert len(kept) <= 29
        assert [one.at for one in kept] == sorted(one.at for one in kept)
    return kept


def test_one_measure_a_day_is_kept_for_four_weeks() -> None:
    kept = run_each(173, 60, lambda day: 1000 + 10 * day)
    assert len({one.at.date() for one in kept}) == len(kept) >= 28
    full = disk.full(kept)
    assert full
    assert full.daily == pytest.approx(10 * GB, rel=0.01)


def test_a_run_that_learned_nothing_keeps_what_was_known() -> None:
    kept = measured([1, 2, 3, 4])
    assert disk.added(kept, None) == kept


def test_a_clock_that_was_ahead_leaves_nothing_of_it() -> None:
    ahead = disk.added((), DiskSpace(at=NOW + 400 * DAY, free=1, size=2))
    now = DiskSpace(at=NOW, free=1, size=2)
    assert disk.added(ahead, now) == (now,)


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (41_230_000_000, "41.2 GB"), (2 * 10**15, "2000.0 TB")],
)
def test_amounts(size: int, said: str) -> None:
    assert disk.amount(size) == said


# --- what is shown ---


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(1, "1-1", "11:00")
    return field_site


def filling(site: Site, left: float, days: int = 10) -> list[Problem]:
    """Let a run each morning see 10 GB less, until there is room for so many days."""
    for ahead in range(-days, 1):
        site.pacs.disk = {"free": round((left - ahead) * 10 * GB), "size": SIZE}
        assert site.run("08:00", ahead).warnings == []
    return [problem for problem in site.seen().problems if problem.kind == "disk"]


def test_days_ahead_it_is_on_the_page_and_everywhere(site: Site) -> None:
    (problem,) = filling(site, 9.5)
    assert problem.level.name == "WARNING"
    assert problem.text == (
        "The PACS's disk will be full in 9 days, on 2026-12-03, at the rate of the last weeks: 95.0 GB of 2.0 TB are "
        "free, and 10.0 GB come a day."
    )
    assert "docs/operations.md" in problem.remedy
    assert problem.text.replace("'", "&#39;") in site.page
    assert site.metric("disk_full_timestamp_seconds") == (at("08:00") + timedelta(days=9.5)).timestamp()
    shown = ("status", "--config", site.file, "--now", site.now.isoformat())
    assert problem.text in command(*shown).stdout
    said = json.loads(command(*shown, "--json").stdout)["disk_full"]
    assert said == {"at": "2026-12-03T20:00:00+01:00", "free": 95 * GB, "size": SIZE, "daily": 10 * GB}


def test_beyond_the_days_of_the_site_it_is_no_problem(site: Site) -> None:
    assert filling(site, 14.1) == []
    assert site.metric("disk_full_timestamp_seconds") > 0
    site.changes["status.disk_full_within"] = 15
    assert len([problem for problem in site.seen().problems if problem.kind == "disk"]) == 1
    site.changes["status.disk_full_within"] = 0
    assert [problem for problem in site.seen().problems if problem.kind == "disk"] == []


def test_a_site_can_want_no_warning(site: Site) -> None:
    site.changes["status.disk_full_within"] = 0
    assert filling(site, 2.5) == []
    site.changes["status.disk_full_within"] = 3
    (problem,) = (problem for problem in site.seen().problems if problem.kind == "disk")
    assert "will be full in 2 days, on 2026-11-26" in problem.text


@pytest.mark.parametrize(("free", "is_full"), [(0, True), (19 * GB, True), (21 * GB, False)])
def test_a_disk_that_is_full_is_critical_whatever_the_rate(site: Site, free: int, *, is_full: bool) -> None:
    site.pacs.disk = {"free": free, "size": SIZE}
    site.run("08:00")
    problems = [problem for problem in site.seen().problems if problem.kind == "disk"]
    assert [problem.level.name for problem in problems] == ["CRITICAL"] * is_full
    for problem in problems:
        assert problem.text == f"The PACS's disk is full: {disk.amount(free)} of 2.0 TB are free."
        assert "Orthanc refuses images" in problem.remedy


def test_a_disk_that_is_not_filling_is_never_full(site: Site) -> None:
    assert filling(site, 3, 2) == []
    assert site.metric("disk_full_timestamp_seconds") == 0


@pytest.mark.parametrize("answer", [{}, [], 5, *({"free": free, "size": 2} for free in (-1, "x", 1e300))])
def test_a_pacs_that_says_something_else_is_reported_and_what_was_known_stays(site: Site, answer: object) -> None:
    filling(site, 9.5)
    before = site.found.disk
    site.pacs.disk = answer  # type: ignore[assignment]
    (warning,) = site.run("08:01").warnings
    assert warning.startswith("the free space of the PACS's disk is not known: Orthanc at http://127.0.0.1:")
    assert site.found.disk == before
    assert not site.found.pacs_failure


def test_while_the_calendar_fails_it_is_measured_too(site: Site) -> None:
    filling(site, 9.5)
    site.calendar.path.rename(site.root / "away")
    site.pacs.disk = {"free": 1, "size": SIZE}
    with pytest.raises(Exception, match="calendar"):
        site.run("08:01")
    assert site.found.disk[-1].free == 1


def test_what_was_measured_days_ago_foresees_nothing() -> None:
    measures = measured([1000 + 50 * day for day in range(15)])
    assert disk.foreseen(measures, measures[-1].at + timedelta(hours=23)) == disk.full(measures) is not None
    assert disk.foreseen(measures, measures[-1].at + timedelta(hours=25)) is None
    assert disk.foreseen([], NOW) is None
