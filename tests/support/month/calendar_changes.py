"""What is changed in the calendar, before a scan and after it."""

from datetime import datetime

from support.month.plot import Plot, cancel, change, moved, story
from support.month.truth import DAY, MINUTE, Booking, Slot, Story, at, patient_id

#: What else may happen in a session whose calendar is changed afterwards.
AFTER = "time delivery reboot"


def before(plot: Plot, booking: Booking) -> datetime:
    """Return some time before a session, at which the console hasn't asked for its list yet."""
    return at(booking.slot.start) - plot.random.choice((25, 40, 120, 26 * 60)) * MINUTE


def after(plot: Plot, booking: Booking) -> datetime:
    """Return some time after a session: the same evening, or the next day."""
    return at(booking.slot.end) + plot.random.choice((50, 70, 120, 15 * 60, 20 * 60)) * MINUTE


@story("subject corrected before the scan", mixes="time delivery")
def subject_before(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    change(story, before(plot, booking), booking, subj_ses=f"{plot.subject()}-1")


@story("session corrected before the scan", mixes="time delivery")
def session_before(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    change(story, before(plot, booking), booking, subj_ses=f"{booking.subject}-2")


@story("scanner or time changed before the scan", mixes="time delivery")
def slot_before(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    new = plot.evening(story.day)
    plot.visit(story, new, booking, entry=booking)
    change(story, before(plot, booking), booking, **moved(new))


@story("moved to another day before the scan", days=1)
def day_before(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    new = plot.evening(story.day + DAY)
    plot.visit(story, new, booking, entry=booking)
    change(story, before(plot, booking), booking, **moved(new))


@story("cancelled before its time, not scanned")
def cancelled_before(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    cancel(story, before(plot, booking), booking, plot.random.randrange(3))


@story("subject corrected after the scan", days=1, mixes=AFTER)
def subject_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    moment = change(story, after(plot, booking), booking, subj_ses=f"{plot.subject()}-1")
    story.due("CHANGED", booking, since=moment)


@story("session corrected after the scan", days=1, mixes=AFTER)
def session_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    moment = change(story, after(plot, booking), booking, subj_ses=f"{booking.subject}-2")
    story.due("CHANGED", booking, since=moment)


@story("scanner changed after the scan", days=1, mixes=AFTER)
def scanner_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    lab = plot.evening(story.day).ae_title
    moment = change(story, after(plot, booking), booking, calendar_id=lab)
    if lab != slots[0].ae_title:
        story.due("CHANGED", booking, since=moment)


@story("moved by hours after the scan", days=1, mixes=AFTER)
def hours_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    new = plot.evening(story.day, slots[0].ae_title)
    moment = change(story, after(plot, booking), booking, **moved(new))
    story.due("CHANGED", booking, since=moment)


@story("moved to the next day after the scan", days=2, mixes=AFTER)
def next_day_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    _day_after(plot, story, slots, 1)


@story("moved to a later day after the scan", days=4, mixes=AFTER)
def later_day_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    _day_after(plot, story, slots, plot.random.choice((2, 3)))


def _day_after(plot: Plot, story: Story, slots: list[Slot], days: int) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking)
    new = plot.evening(story.day + days * DAY)
    moment = change(story, at(slots[0].end) + plot.random.choice((40, 120)) * MINUTE, booking, **moved(new))
    story.due("MOVED", booking, since=moment)


@story("cancelled after the scan", days=1, mixes=AFTER)
def cancelled_after(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = plot.own(story, booking, stray=True)
    moment = cancel(story, after(plot, booking), booking, plot.random.randrange(3))
    story.due("CANCELLED", booking, visit, since=moment)


@story("PatientID put right at the console, the calendar afterwards", days=1, mixes="delivery reboot")
def put_right(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """In the end the study is what is booked."""
    booking, came = plot.book(story, slots[0]), plot.subject()
    values = {"PatientID": patient_id(came), "PatientName": f"{patient_id(came)}_ses-01"}
    visit = plot.own(story, booking, values=values)
    moment = change(story, after(plot, booking), booking, subj_ses=f"{came}-1")
    story.due("PATIENT_ID", booking, until=max(moment, visit.sent))
    story.allow("PATIENT_NAME CHANGED", booking)


@story("PatientID mistyped, and cancelled after the scan", days=1, mixes="delivery")
def mistyped_and_cancelled(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = plot.own(story, booking, stray=True, values={"PatientID": patient_id(plot.typo(booking.subject))})
    moment = cancel(story, after(plot, booking), booking, plot.random.randrange(3))
    story.due("PATIENT_ID", booking, until=moment)
    story.due("CANCELLED", booking, visit, since=moment)
    story.allow("PATIENT_ID", booking, visit)


@story("booking id used again for another subject", days=2)
def used_again(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = plot.own(story, booking, stray=True)
    new = plot.evening(story.day + 2 * DAY)
    moment = at(slots[0].start.replace(hour=23, minute=10)) + DAY
    change(story, moment, booking, subj_ses=f"{plot.subject()}-1", **moved(new))
    story.due("REJECTED", booking, since=moment, day=story.day + 2 * DAY)
    story.allow("CHANGED MOVED CANCELLED", booking, visit)
