"""Case 7 from the field: two bookings that can't both be right."""

from collections.abc import Sequence
from typing import Any

import pytest

from support.calendar import SKYRA
from support.timed_site import Site, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


def doubles(report: Any) -> list[str]:
    return [warning for warning in report.warnings if "subject and session" in warning or "same time" in warning]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        pytest.param({"subj_ses": "7-1", "start": "14:00"}, ["of one subject and session"], id="7-one session"),
        pytest.param(
            {"subj_ses": "7-1", "start": "14:00", "lab": SKYRA}, ["of one subject and session"], id="7-on two scanners"
        ),
        pytest.param({"subj_ses": "8-1", "start": "09:00"}, ["at the same time"], id="7-one time"),
        pytest.param({"subj_ses": "8-1", "start": "09:30"}, ["at the same time"], id="7-before the first has ended"),
        pytest.param({"subj_ses": "8-1", "start": "08:30", "end": "09:01"}, ["at the same time"], id="7-one minute"),
        pytest.param(
            {"subj_ses": "7-1", "start": "09:00"}, ["of one subject and session", "at the same time"], id="7-both"
        ),
        pytest.param({"subj_ses": "8-1", "start": "09:45"}, [], id="7-after its end"),
        pytest.param({"subj_ses": "8-1", "start": "08:00", "end": "09:00"}, [], id="7-until its start"),
        pytest.param({"subj_ses": "8-1", "start": "09:00", "lab": SKYRA}, [], id="7-one time, two scanners"),
        pytest.param({"subj_ses": "7-2", "start": "14:00"}, [], id="7-another session"),
        pytest.param({"start": "09:00", "project": "3010000.02"}, ["at the same time"], id="7-both, apart"),
        pytest.param({"subj_ses": "7-1", "start": "09:00", "status": "CANCELLED"}, [], id="7-cancelled"),
        pytest.param({"subj_ses": "7-1", "start": "09:00", "day": day(1)}, [], id="7-tomorrow, not shown"),
    ],
)  # fmt: skip
def test_two_bookings_that_can_not_both_be_right_are_named(second: dict[str, str], said: list[str], site: Site) -> None:
    site.calendar.add_project("3010000.02", "Another")
    site.book(1, "7-1", "09:00", "09:45")
    site.book(2, **second)
    warnings = doubles(site.run("08:00"))
    assert len(warnings) == len(said)
    for warning, words in zip(warnings, said, strict=True):
        assert words in warning
        assert {"booking 1 (", "booking 2 ("} <= {f"{one} (" for one in warning.replace(", ", " (").split(" (")}
    assert [one["booking_id"] for one in site.run("08:01").unchanged]  # they are published anyway


@pytest.mark.parametrize(
    "starts",
    [
        pytest.param(("09:00", "09:00", "09:00"), id="7-three at once"),
        pytest.param(("09:00", "09:10", "09:20"), id="7-three in a chain"),
    ],
)
def test_a_group_is_named_once(starts: Sequence[str], site: Site) -> None:
    for one, start in enumerate(starts, 1):
        site.book(one, f"{one}-1", start, "09:45")
    [warning] = doubles(site.run("08:00"))
    assert all(f"booking {one} (PRISMA" in warning for one in (1, 2, 3))


def test_7_a_double_that_is_not_tomorrow_yet_but_shown_is_named(site: Site) -> None:
    site.changes["window.days_ahead"] = 7
    for one in (1, 2):
        site.book(one, f"{one}-1", "09:00", day=day(5))
    assert len(doubles(site.run("08:00"))) == 1


@pytest.mark.parametrize(
    ("start", "count"), [pytest.param("00:30", 1, id="7-over midnight"), pytest.param("01:00", 0, id="7-after it")]
)
def test_a_double_over_midnight_is_named(start: str, count: int, site: Site) -> None:
    site.book(1, "7-1", "23:30", "00:45")
    site.book(2, "8-1", start, "02:00", day=day(1))
    assert len(doubles(site.run("00:10", 1))) == count
