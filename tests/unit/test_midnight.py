"""Case 19 from the field: an entry stays until its booking has ended, and the grace."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from dicom_worklist.errors import SourceError
from support.calendar import DAY
from support.timed_site import Site, at, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


@pytest.mark.parametrize(
    ("end", "shown", "gone"),
    [
        # the session takes an hour where the calendar has no end; the grace is an hour
        pytest.param("", "01:29", "01:30", id="19-without an end"),
        pytest.param("00:15", "01:14", "01:15", id="19-with an end"),
        pytest.param("23:45", "00:44", "00:45", id="19-over before midnight"),
        pytest.param("02:00", "02:59", "03:00", id="19-a long one"),
    ],
)
@pytest.mark.parametrize("readable", [True, False])
def test_an_entry_stays_until_its_booking_has_ended_and_the_grace(
    readable: bool, end: str, shown: str, gone: str, site: Site
) -> None:
    site.book(1, "7-1", "23:30", end)
    site.run("23:00")
    if not readable:
        site.calendar.path.rename(site.calendar.path.with_suffix(".away"))

    def run(clock: str, **options: Any) -> Any:
        if readable:
            return site.run(clock, 1, **options)
        with pytest.raises(SourceError):
            site.run(clock, 1, **options)
        return None

    for clock in ("00:00", "00:01", shown):
        run(clock, dry_run=True)
        run(clock)
        assert site.shown() == ["1"]
        assert site.line(1).booked.on_console
    predicted = run(gone, dry_run=True)
    assert site.shown() == ["1"]
    assert run(gone) == predicted
    assert site.shown() == []
    assert not site.line(1).booked.on_console


@pytest.mark.parametrize(
    ("grace", "gone"), [pytest.param(0, "00:30", id="19-none"), pytest.param(180, "03:30", id="19-3 h")]
)
def test_the_grace_is_the_site_s(grace: int, gone: str, site: Site) -> None:
    site.changes["window.grace"] = grace
    site.book(1, "7-1", "23:30")
    site.run("23:00")
    site.now = at(gone, 1) - timedelta(minutes=1)
    site.run()
    assert site.shown() == ["1"]
    site.run(gone, 1)
    assert site.shown() == []


@pytest.mark.parametrize(
    ("window", "ahead", "shown"),
    [
        pytest.param({}, 1, ["now"], id="19-one day"),
        pytest.param({"window.days_back": 1}, 1, ["now", "yesterday"], id="19-a day back"),
        pytest.param({"window.days_ahead": 1}, 0, ["now", "tomorrow", "yesterday"], id="19-a day ahead"),
    ],
)
def test_the_window_is_what_it_was(window: dict[str, int], ahead: int, shown: list[str], site: Site) -> None:
    site.changes |= window
    site.book("before", "6-1", "23:00", "23:40", day=day(ahead - 2))
    site.book("yesterday", "7-1", "23:00" if ahead == 0 else "12:00", day=day(ahead - 1))
    site.book("now", "8-1", "12:00", day=day(ahead))
    site.book("tomorrow", "9-1", "12:00", day=day(ahead + 1))
    site.run("00:20", ahead)
    assert site.shown() == shown


@pytest.mark.parametrize(
    ("night", "now", "shown"),
    [
        # on 2026-10-25 at 03:00 it is 02:00 again; on 2027-03-28 at 02:00 it is 03:00
        pytest.param("2026-10-24", "2026-10-25T02:29:00+02:00", True, id="19-autumn, the first half past two"),
        pytest.param("2026-10-24", "2026-10-25T02:30:00+02:00", False, id="19-autumn, over"),
        pytest.param("2026-10-24", "2026-10-25T02:00:00+01:00", False, id="19-autumn, two again"),
        pytest.param("2026-10-24", "2026-10-25T02:31:00+01:00", False, id="19-autumn, the second half past two"),
        pytest.param("2027-03-27", "2027-03-28T01:59:00+01:00", True, id="19-spring, before"),
        pytest.param("2027-03-27", "2027-03-28T03:29:00+02:00", True, id="19-spring, the hour is skipped"),
        pytest.param("2027-03-27", "2027-03-28T03:30:00+02:00", False, id="19-spring, over"),
    ],
)
@pytest.mark.parametrize("readable", [True, False])
def test_when_the_clock_changes_the_grace_stays_an_hour(
    readable: bool, night: str, now: str, shown: bool, site: Site
) -> None:
    site.book(1, "7-1", "23:30", "01:30", day=night)
    site.now = datetime.fromisoformat(f"{night}T23:00:00+01:00")
    site.run()
    assert site.shown() == ["1"]
    site.now = datetime.fromisoformat(now)
    if readable:
        site.run()
    else:
        site.calendar.path.unlink()
        with pytest.raises(SourceError):
            site.run()
    assert site.shown() == (["1"] if shown else [])


@pytest.mark.parametrize("other", [pytest.param(1, id="19-tomorrow"), pytest.param(-1, id="19-yesterday")])
def test_another_day_is_that_day_alone(other: int, site: Site) -> None:
    for ahead in (-2, -1, 0, 1, 2):
        site.book(ahead + 3, f"{ahead + 3}-1", "23:30", day=day(ahead))
    report = site.run("00:10", day=DAY + timedelta(days=other), dry_run=True)
    assert [one["booking_id"] for one in report.published] == [f"{other + 3}"]
    site.run("00:10", day=DAY + timedelta(days=other))
    assert site.shown() == [f"{other + 3}"]
    site.run("00:10")
    assert site.shown() == ["2", "3"]  # yesterday's goes on
