"""Case 14 from the field: a scan with the entry of another booking."""

import pytest

from dicom_worklist.status.booking_status import State
from support.calendar import SKYRA
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


@pytest.fixture
def morning(site: Site) -> Site:
    """Three subjects after each other."""
    for booking_id, clock in ((1, "09:00"), (2, "10:00"), (3, "11:00")):
        site.book(booking_id, f"{booking_id}-1", clock)
    site.run("08:00")
    return site


def test_14_the_entry_of_the_next_subject_taken_in_the_slot_before_is_named_at_both(morning: Site) -> None:
    morning.scan(2, "09:05")
    morning.run("20:00")
    assert morning.line(2).state is morning.line(1).state is State.ODD
    assert "in the time of booking 1 " in morning.said(2)["SWAPPED"]
    assert "with the entry of booking 2 " in morning.said(1)["SWAPPED"]
    assert "send" not in " ".join(oddity.remedy for oddity in morning.line(1).oddities)
    assert morning.line(3).state is State.MISSING


def test_14_a_swap_is_reported_before_the_slot_is_over(morning: Site) -> None:
    morning.scan(2, "09:05")
    morning.run("09:20")
    assert "SWAPPED" in morning.said(2)


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param("10:05", "09:05", id="14-exchanged"), pytest.param("10:30", "09:30", id="14-exchanged, later")],
)
def test_two_entries_that_were_exchanged_are_named_at_both(first: str, second: str, morning: Site) -> None:
    morning.scan(1, first, study="one")
    morning.scan(2, second, study="two")
    morning.run("20:00")
    for booking_id in (1, 2):
        assert morning.line(booking_id).state is State.ODD
        assert "SWAPPED" in morning.said(booking_id)


@pytest.mark.parametrize(
    ("scans", "odd"),
    [
        pytest.param({1: "09:05", 2: "09:46", 3: "11:00"}, [], id="14-a quarter of an hour early"),
        pytest.param({1: "09:05", 2: "09:44", 3: "11:00"}, [], id="14-earlier, and the slot has its own images"),
        pytest.param({1: "09:05", 2: "10:30", 3: "11:40"}, [], id="14-late"),
        pytest.param({1: "10:10", 2: "10:40", 3: "11:40"}, [], id="14-the whole morning is late"),
        pytest.param({3: "09:05"}, [1, 3], id="14-the entry of the one after the next"),
        pytest.param({2: "09:46"}, [], id="14-a quarter of an hour early, and the slot is empty"),
        pytest.param({2: "09:44"}, [1, 2], id="14-earlier, and the slot is empty"),
    ],
)
def test_who_is_early_or_late_has_swapped_nothing(scans: dict[int, str], odd: list[int], morning: Site) -> None:
    for booking_id, clock in scans.items():
        morning.scan(booking_id, clock, study=f"{booking_id}")
    morning.run("20:00")
    assert [one for one in (1, 2, 3) if "SWAPPED" in morning.said(one)] == odd


def test_14_a_slot_whose_session_has_images_in_it_is_not_empty(site: Site) -> None:
    """Two slots of one session, both scanned with the first entry; then the next subject comes early."""
    for booking_id, who, clock in ((1, "1-1", "09:00"), (2, "1-1", "10:00"), (3, "3-1", "11:00")):
        site.book(booking_id, who, clock)
    site.run("08:00")
    site.scan(1, "10:05", study="one")
    site.scan(3, "10:40", study="three")
    site.run("20:00")
    assert [one for one in (1, 2, 3) if "SWAPPED" in site.said(one)] == []


def test_14_the_slot_of_another_scanner_does_not_count(site: Site) -> None:
    site.book(1, "1-1", "09:00")
    site.book(2, "2-1", "10:00", lab=SKYRA)
    site.run("08:00")
    site.scan(site.take(2, "SKYRA"), "09:05", ae_title="SKYRA")
    site.run("20:00")
    assert site.line(1).state is State.MISSING
    assert list(site.said(2)) == []
