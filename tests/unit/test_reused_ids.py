"""Case 1 from the field: a booking's id that is used again."""

from typing import Any

import pytest

from support.timed_site import Site, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


@pytest.mark.parametrize(
    ("days", "status", "rejected"),
    [
        pytest.param((0, 0), "CONFIRMED", True, id="1-twice today"),
        pytest.param((-1, 0), "CONFIRMED", True, id="1-yesterday"),
        pytest.param((0, 1), "CONFIRMED", True, id="1-tomorrow"),
        pytest.param((-2300, 0), "CONFIRMED", True, id="1-in 2020"),
        pytest.param((-2300, 0), "CANCELLED", False, id="1-in 2020, cancelled"),
        pytest.param((0, 400), "TENTATIVE", True, id="1-next year"),
    ],
)
def test_an_id_on_two_rows_of_all_that_was_read_is_rejected(
    days: tuple[int, int], status: str, rejected: bool, site: Site
) -> None:
    first, second = days
    site.read_csv(
        ("1", "7-1", day(first), status),
        ("1", "21-1", day(second), "CONFIRMED"),
        ("2", "8-1", day(), "CONFIRMED"),
    )
    report = site.run()
    assert [one["booking_id"] for one in report.rejected] == (["1"] if rejected else [])
    assert site.shown() == (["2"] if rejected else ["1", "2"])
    if rejected:
        assert "2 bookings with this booking_id" in report.rejected[0]["reason"]


def used(site: Site, **tags: Any) -> None:
    """Let booking 1 have been subject 7's yesterday, with images."""
    site.book(1, "7-1", day=day(-1))
    site.run("08:00", -1)
    site.scan(1, "09:05", -1, **tags)
    site.run("12:00", -1)


@pytest.mark.parametrize("lost", ["", "state", "history"])
@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({}, id="1-images"),
        pytest.param({"PatientID": "edited"}, id="1-images, edited"),
        pytest.param({"StudyDate": ""}, id="1-images without a date"),
    ],
)
def test_an_id_of_another_subject_who_has_images_is_rejected(tags: dict[str, Any], lost: str, site: Site) -> None:
    used(site, **tags)
    if lost:
        site.forget(lost)
    site.calendar.change(1, subj_ses="21-1", start_date=day())
    for _ in range(3):
        report = site.run("08:00")
        assert [one["booking_id"] for one in report.rejected] == ["1"]
        reason = report.rejected[0]["reason"]
        assert "3010000.01_sub-007_ses-01" in reason
        assert day(-1) in reason
        assert "an id of its own" in reason
        assert site.shown() == []
    assert site.run("08:01", dry_run=True).rejected == report.rejected


@pytest.mark.parametrize("ahead", [pytest.param(one, id=f"1-{one} days later") for one in (7, 399)])
def test_an_id_is_remembered_for_long(ahead: int, site: Site) -> None:
    used(site)
    site.calendar.delete(1)
    site.run("08:00")
    site.run("08:00", ahead - 2)
    site.book(1, "21-1", day=day(ahead - 1))
    assert [one["booking_id"] for one in site.run("08:00", ahead - 1).rejected] == ["1"]


@pytest.mark.parametrize("ahead", [pytest.param(4, id="1-after history_days"), pytest.param(9, id="1-long after")])
def test_an_id_is_free_when_nothing_is_remembered_of_it(ahead: int, site: Site) -> None:
    site.changes["status.history_days"] = 2
    used(site)
    site.calendar.delete(1)
    for one in range(ahead):
        site.run("08:00", one)
    site.book(1, "21-1", day=day(ahead))
    assert site.run("08:00", ahead).rejected == []
    assert site.shown() == ["1"]


def test_1_a_subject_that_is_corrected_on_its_day_is_not_a_reuse(site: Site) -> None:
    site.book(1, "7-1")
    site.run("08:00")
    site.scan(1, "09:05")
    site.run("09:30")
    site.calendar.change(1, subj_ses="21-1")
    for clock in ("10:00", "10:01"):
        assert site.run(clock).rejected == []
    assert site.shown() == ["1"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"subj_ses": "21-1"}, id="1-another subject"),
        pytest.param({"subj_ses": "7-1"}, id="1-the same subject"),
    ],
)
def test_a_booking_without_images_may_move_and_change(change: dict[str, str], site: Site) -> None:
    site.book(1, "7-1", day=day(-1))
    site.run("08:00", -1)
    site.calendar.change(1, start_date=day(), **change)
    site.run("12:00", -1)
    assert site.run("08:00").rejected == []
    site.scan(1, "09:05")
    for clock in ("12:00", "12:01"):  # its own images don't count against it
        assert site.run(clock).rejected == []


def test_1_a_booking_of_the_same_subject_that_moves_after_its_scan_is_not_a_reuse(site: Site) -> None:
    used(site)
    site.calendar.change(1, start_date=day())
    assert site.run("08:00").rejected == []
