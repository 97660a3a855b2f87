"""The month of tests/faults: the same seed gives the same month, everything happens in it, and it is possible."""

from datetime import date

import pytest

from support.month.month import Month, write
from support.month.plot import KINDS
from support.month.sessions import MANNERS
from support.month.truth import Change, Send, Take

DAY = date(2026, 10, 24)


@pytest.fixture(scope="module")
def month() -> Month:
    return write(1, DAY, 3, bookings=200, often=1)


def test_the_same_seed_gives_the_same_month(month: Month) -> None:
    assert repr(write(1, DAY, 3, bookings=200, often=1)) == repr(month)
    assert repr(write(2, DAY, 3, bookings=200, often=1)) != repr(month)


def test_everything_happens_in_a_short_month(month: Month) -> None:
    assert {kind.name for kind in KINDS} | {manner.name for manner in MANNERS} <= {*month.counts()}


def test_everything_happens_ten_times_in_a_long_one() -> None:
    month = write(1, date(2026, 10, 1), 31, bookings=1500, often=10)
    assert month.bookings >= 1500
    assert min(month.counts().values()) >= 10
    assert month.counts()["good session"] > len(month.stories) / 2


@pytest.mark.parametrize("seed", range(5))
def test_a_month_is_possible(seed: int) -> None:
    """An entry is taken before its images come, a booking belongs to one story, and each due is of what there is."""
    month = write(seed, DAY, 3, bookings=200, often=1)
    bookings = [booking.booking_id for story in month.stories for booking in story.bookings]
    assert len({*bookings}) == len(bookings)
    for story in month.stories:
        ids, visits = {booking.booking_id for booking in story.bookings}, {visit.study for visit in story.visits}
        assert all(due.where <= ids | visits for due in story.dues)
        taken = {act.visit.key: act.at for act in story.acts if isinstance(act, Take)}
        for act in story.acts:
            assert not isinstance(act, Change) or act.booking_id in ids
            if isinstance(act, Send):
                assert act.at >= act.visit.sent > act.visit.begins
                assert not act.visit.entry or taken[act.visit.key] <= act.visit.begins
