"""The judge of the month of tests/faults: it sees what is wrong, and passes what is right."""

from collections.abc import Iterable
from datetime import date, datetime, time

import pytest

from support.month.judge import Judgement, judge
from support.month.month import Month
from support.month.truth import HOUR, MINUTE, Booking, Slot, Story, Visit, at
from support.month.world import Look, Said

DAY = date(2026, 10, 24)
NINE = datetime.combine(DAY, time(9))
EVENING = at(datetime.combine(DAY, time(22, 50)))


def scanned() -> tuple[Story, Booking, Visit]:
    """Return a session with a study, which came an hour after its beginning."""
    booking = Booking("7", Slot("PRISMA", NINE, 60), "1001")
    visit = Visit("visit-1", "PRISMA", at(NINE), owners=frozenset({"7"}), sent=at(NINE) + HOUR)
    return Story(["a session"], DAY, [booking], visits=[visit]), booking, visit


def judged(story: Story, *said: Said, shown: Iterable[str] = ("7",), green: Iterable[str] = ()) -> Judgement:
    """Return what the judge says of one evening; `visit-1` has the StudyInstanceUID 1.2."""
    look = Look(EVENING, list(said), {"1.2": {*shown}} if shown else {}, green={*green})
    return judge(Month(1, DAY, 1, [story]), [look], lambda visit: "1.2", [])


def test_the_judge_lets_a_good_session_pass() -> None:
    story, *_ = scanned()
    assert judged(story, green=["7"]).counts == (0, 0)


@pytest.mark.parametrize(
    "said",
    [
        Said("7", "PATIENT_ID", "It was edited."),
        Said("7", "MISSING", "no images"),
        Said("1.2", "PATIENT", "It may be booking 9's."),
        Said("7", "SLOTS", "One study for two.", remedy="If it isn't there, cancel it.", warning=False),
        Said("9", "MISSING", "Nobody knows this booking."),
    ],
    ids=lambda said: said.kind,
)
def test_the_judge_sees_what_is_wrong(said: Said) -> None:
    story, *_ = scanned()
    assert judged(story, said).counts == (1, 0)


def test_the_judge_sees_a_study_at_another_booking_and_one_nowhere() -> None:
    story, *_ = scanned()
    assert judged(story, shown=["7", "8"]).counts == (1, 0)
    assert judged(story, shown=[]).counts == (0, 1)


def test_the_judge_sees_what_was_not_reported() -> None:
    story, booking, visit = scanned()
    story.due("PATIENT_ID OTHER_SUBJECT", booking)
    told = Said("7", "PATIENT_ID", "It was edited.")
    assert judged(story).counts == (0, 1)
    assert judged(story, told).counts == (0, 0)
    assert judged(story, told, green=["7"]).counts == (1, 0)
    visit.sent = EVENING + MINUTE
    assert judged(story, shown=[]).counts == (0, 0)


def test_only_where_nothing_came_may_be_advised_to_cancel() -> None:
    story, booking, visit = scanned()
    missing = Said("7", "MISSING", "no images", remedy="If it did not take place, cancel it in the calendar.")
    story.allow("MISSING", booking)
    assert judged(story, missing).counts == (1, 0)
    visit.sent = EVENING + MINUTE
    assert judged(story, missing, shown=[]).counts == (0, 0)
