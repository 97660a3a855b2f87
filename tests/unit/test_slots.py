"""Case 17 from the field: one study for the several slots of a session."""

from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.calendar import SKYRA
from support.timed_site import Site


@pytest.mark.parametrize("ends", [pytest.param(True, id="17-with ends"), pytest.param(False, id="17-without")])
@pytest.mark.parametrize("slots", [2, 3])
@pytest.mark.parametrize("used", [0, 1])
def test_one_study_is_enough_for_several_slots_of_a_session(
    used: int, slots: int, ends: bool, field_site: Site
) -> None:
    site, names = field_site, range(1, slots + 1)
    for one in names:
        site.book(one, "7-1", f"{8 + one:02}:00", f"{9 + one:02}:00" if ends else "")
    site.run("07:00")
    site.scan(names[used], "09:05")
    site.run("20:00")
    assert [site.line(one).state for one in names] == [State.ARRIVED] * slots
    assert [list(site.said(one)) for one in names] == [[] if one == names[used] else ["SLOTS"] for one in names]
    assert "missing" not in [problem.kind for problem in site.seen().problems]


def test_17_a_study_in_each_slot(field_site: Site) -> None:
    site = field_site
    for one, start in ((1, "09:00"), (2, "10:00")):
        site.book(one, "7-1", start)
    site.run("07:00")
    for one, start in ((1, "09:05"), (2, "10:05")):
        site.scan(one, start, study=f"{one}")
    site.run("20:00")
    assert [(site.line(one).state, site.line(one).oddities) for one in (1, 2)] == [(State.ARRIVED, ())] * 2


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"subj_ses": "7-2", "start": "10:00"}, id="17-another session"),
        pytest.param({"subj_ses": "8-1", "start": "10:00"}, id="17-another subject"),
        pytest.param({"subj_ses": "7-1", "start": "16:00"}, id="17-in the afternoon"),
        pytest.param({"subj_ses": "7-1", "start": "10:00", "lab": SKYRA}, id="17-on another scanner"),
    ],
)
def test_a_booking_that_is_not_a_slot_of_the_session_is_missing(other: dict[str, Any], field_site: Site) -> None:
    site = field_site
    site.book(1, "7-1", "09:00", "10:00")
    site.book(2, **other)
    site.run("07:00")
    site.scan(1, "09:05")
    site.run("20:00")
    assert site.line(2).state is State.MISSING
