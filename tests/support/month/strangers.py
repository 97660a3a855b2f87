"""Studies without a booking."""

from support.month.plot import Plot, story
from support.month.truth import Slot, Story


def typed(plot: Plot) -> dict[str, str]:
    """Return what is typed for somebody who isn't booked."""
    number = plot.random.randrange(10000)
    patient = plot.random.choice((f"pilot_{number}", f"volunteer{number}", f"{number}", f"Jansen-{number}", ""))
    return {"PatientID": patient, "PatientName": patient.replace("_", "^") or "Anonymous"}


def phantom(plot: Plot, accession: str = "") -> dict[str, str]:
    name = plot.random.choice(("phantom", "QA", "Phantom^QA", "service"))
    return {"PatientID": name, "PatientName": name, "AccessionNumber": accession}


@story("phantom", slots=0)
def quality(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.visit(story, plot.evening(story.day), values=phantom(plot), stray=True)


@story("phantom with the AccessionNumber of somebody's booking", slots=0)
def numbered(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """The booking is of the same day, at another time and on another scanner."""
    slot = plot.evening(story.day)
    booking = plot.random.choice([one for one in plot.good[story.day] if one.slot.ae_title != slot.ae_title])
    visit = plot.visit(story, slot, values=phantom(plot, booking.booking_id), stray=True)
    story.due("ACCESSION", visit)


@story("phantom with AccessionNumber 1", slots=0)
def number_one(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """Which is the id of a booking of the first day."""
    visit = plot.visit(story, plot.evening(story.day), values=phantom(plot, "1"), stray=True)
    story.allow("ACCESSION", visit)


@story("somebody without a booking", slots=0)
def nobodys(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.visit(story, plot.evening(story.day), values=typed(plot), stray=True)


@story("somebody else in the slot, typed by hand")
def stranger(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """It may be the booking's subject under another name: nobody may be advised to cancel it."""
    booking = plot.book(story, slots[0])
    visit = plot.visit(story, slots[0], booking, values=typed(plot), stray=True)
    story.due("MISSING PATIENT_ID", booking, visit)
    story.allow("MISSING PATIENT_ID AMBIGUOUS", booking, visit)


@story("phantom in the time of another's session", slots=1, minutes=30)
def phantom_between(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """A phantom right after a short session, in what is left of its time."""
    plot.own(story, plot.book(story, slots[0]), minutes=15)
    plot.visit(story, slots[0], values=phantom(plot), after=slots[0].minutes - 8, minutes=5, stray=True)
