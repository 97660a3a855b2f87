"""What goes wrong at the console: something typed over, another entry taken, an old list, another scanner."""

from datetime import datetime

from support.month.plot import SCANNERS, Plot, cancel, change, missing_since, story
from support.month.truth import DAY, HOUR, MINUTE, Booking, Slot, Story, Visit, at, patient_id

ALL = "time clock day delivery reboot"


@story("PatientID mistyped", mixes=ALL)
def mistyped(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, values={"PatientID": patient_id(plot.typo(booking.subject))})
    story.due("PATIENT_ID", booking)


@story("PatientID and PatientName mistyped", mixes=ALL)
def both_mistyped(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    typed = patient_id(plot.typo(booking.subject))
    plot.own(story, booking, values={"PatientID": typed, "PatientName": f"{typed}_ses-01"})
    story.due("PATIENT_ID", booking)
    story.allow("PATIENT_NAME", booking)


@story("PatientName typed over", mixes=ALL)
def renamed(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, values={"PatientName": plot.random.choice(("Anna", "test", "sub-7^", "pilot 3"))})
    story.due("PATIENT_NAME", booking)


@story("PatientName of another session typed", mixes="delivery reboot")
def other_session(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0], session=1)
    plot.own(story, booking, values={"PatientName": f"{booking.patient_id}_ses-02"})
    story.due("PATIENT_NAME", booking)


@story("PatientID of another booking's subject typed", mixes=ALL)
def other_subject(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking, other = plot.book(story, slots[0]), plot.random.choice(plot.good[story.day])
    plot.own(story, booking, values={"PatientID": other.patient_id})
    story.due("OTHER_SUBJECT", booking)


@story("PatientID and PatientName of another booking's subject typed", mixes=ALL)
def other_person(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking, other = plot.book(story, slots[0]), plot.random.choice(plot.good[story.day])
    plot.own(story, booking, values={"PatientID": other.patient_id, "PatientName": other.patient_name})
    story.due("OTHER_SUBJECT", booking)
    story.allow("PATIENT_NAME", booking)


@story("next subject came in this slot, PatientID put right, own slot empty", slots=2, minutes=15)
def next_put_right(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    typed = {"PatientID": second.patient_id, "PatientName": second.patient_name}
    plot.own(story, first, values=typed, also=(second,))
    story.due("OTHER_SUBJECT SWAPPED", first)
    story.due("OTHER_SUBJECT SWAPPED MISSING", second)
    story.allow("PATIENT_NAME MISSING", first, second)


@story("two entries exchanged", slots=2, minutes=30)
def exchanged(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    _swap(plot, story, first, second)
    _swap(plot, story, second, first, taken=slots[0].minutes)
    story.due("SWAPPED", first)
    story.due("SWAPPED", second)
    story.allow("TIME", first, second)


@story("two sessions of a subject, entries exchanged")
def sessions_exchanged(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, plot.evening(story.day, slots[0].ae_title), first.subject, 2)
    _swap(plot, story, first, second)
    # the list of the day's beginning: by the evening the entry has left the console
    _swap(plot, story, second, first, taken=int((second.slot.start - slots[0].start) / MINUTE))
    story.due("SWAPPED TIME", first, second)
    story.allow("SWAPPED TIME", first, second)


@story("next one's entry taken, none of the slot's own, next slot empty", slots=2, minutes=30)
def next_entry(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    _swap(plot, story, first, second)
    story.due("SWAPPED", first)
    story.due("SWAPPED", second)
    story.allow("TIME MISSING", first, second)


@story("next one's entry taken, and again in its own slot, one study", slots=2, minutes=30)
def next_entry_twice(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    visit = _swap(plot, story, first, second)
    plot.own(story, second, continues=visit)
    story.due("SWAPPED", first)
    story.due("SWAPPED", second)
    story.allow("TIME MISSING STUDIES", first, second)


@story("next one's entry taken, and again in its own slot, two studies", slots=2, minutes=30)
def next_entry_two_studies(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    _swap(plot, story, first, second)
    plot.own(story, second, own_uid=True, also=(first,))
    story.due("SWAPPED STUDIES MISSING", first)
    story.due("SWAPPED STUDIES", second)
    story.allow("TIME MISSING", first, second)


@story("entry of the slot before taken again, two studies", slots=2, minutes=30)
def last_entry(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    plot.own(story, first)
    _swap(plot, story, second, first, taken=slots[0].minutes).own_uid = True
    story.due("SWAPPED STUDIES", first)
    story.due("SWAPPED MISSING", second)
    story.allow("MISSING", second)


@story("entry of the slot before taken again, one study", slots=2, minutes=30)
def last_entry_one_study(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    visit = plot.own(story, first)
    _swap(plot, story, second, first, taken=slots[0].minutes, continues=visit)
    story.due("SWAPPED MISSING", second)
    story.allow("SWAPPED STUDIES", first)
    story.limit = (
        "the study says one time, its first: that more came in the next slot looks like a session that took longer"
    )


def _swap(
    plot: Plot, story: Story, lies: Booking, taken_for: Booking, *, taken: int | None = None,
    continues: Visit | None = None,
) -> Visit:  # fmt: skip
    """Scan a booking's subject in its slot by the entry of another booking; the study may be shown at either."""
    return plot.own(story, lies, entry=taken_for, also=(taken_for,), taken=taken, continues=continues)


@story("nobody came, next one came early", slots=2, minutes=15)
def next_is_early(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """It looks as if another entry was taken: no program could know, so either may be reported."""
    first, second = (plot.book(story, slot) for slot in slots)
    plot.own(story, second, after=3 - slots[0].minutes, also=(first,))
    story.due("MISSING SWAPPED", first)
    story.allow("SWAPPED TIME", second)


@story("another entry taken at that one's own time")
def nobody_could_tell(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.own(story, plot.book(story, slots[0]))
    story.limit = "who lies in the scanner is in no image: expected is nothing"


@story("own entry, hours before its time")
def hours_early(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """The subject comes in a time that nobody has booked."""
    booking = plot.book(story, plot.evening(story.day, slots[0].ae_title))
    plot.visit(story, slots[0], booking, entry=booking)
    if booking.slot.start - slots[0].start > HOUR + 10 * MINUTE:
        story.due("TIME", booking)
    story.allow("TIME", booking)


@story("old list: subject changed before the scan", mixes="day delivery reboot")
def old_subject(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, taken=60)
    change(story, _before(slots[0]), booking, subj_ses=f"{plot.subject()}-1")
    story.due("STALE_ENTRY", booking)


@story("old list: session changed before the scan", mixes="day delivery reboot")
def old_session(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, taken=60)
    change(story, _before(slots[0]), booking, subj_ses=f"{booking.subject}-2")
    story.due("STALE_ENTRY", booking)


@story("old list: time changed before the scan")
def old_time(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, plot.evening(story.day))
    plot.own(story, booking, taken=60, after=12)
    start = booking.slot.start + 10 * MINUTE
    change(
        story, _before(booking.slot), booking, start_time=f"{start:%H:%M:%S}", stop_time=f"{start + HOUR / 2:%H:%M:%S}"
    )


@story("old list: scanner changed before the scan")
def old_scanner(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, taken=60)
    new = plot.evening(story.day)
    if new.ae_title != slots[0].ae_title:
        change(story, _before(slots[0]), booking, calendar_id=new.ae_title)
        story.due("STALE_ENTRY SCANNER", booking)


@story("old list: cancelled before the scan", mixes="delivery reboot")
def old_cancelled(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = plot.own(story, booking, taken=60, stray=True)
    cancel(story, _before(slots[0]), booking, plot.random.randrange(3))
    story.due("CANCELLED_BEFORE", booking, visit)


@story("cancelled before the scan, scanned by hand")
def cancelled_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = by_hand(plot, story, slots[0], booking, stray=True)
    cancel(story, _before(slots[0]), booking, plot.random.randrange(3))
    story.due("CANCELLED_BEFORE PATIENT", booking, visit)


def _before(slot: Slot) -> datetime:
    return at(slot.start) - 35 * MINUTE


@story("another scanner, entry from everybody's list", mixes="clock day delivery reboot")
def other_scanner(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    plot.own(story, booking, everybodys=True).ae_title = elsewhere(plot, slots[0])
    story.due("SCANNER", booking)


@story("another scanner, and PatientID mistyped", mixes="delivery")
def other_scanner_mistyped(plot: Plot, story: Story, slots: list[Slot]) -> None:
    mistyped(plot, story, slots)
    (visit,) = story.visits
    visit.everybodys, visit.ae_title = True, elsewhere(plot, slots[0])
    story.due("SCANNER", *story.bookings)


def elsewhere(plot: Plot, slot: Slot) -> str:
    """Return another scanner."""
    return plot.random.choice([title for title in SCANNERS if title != slot.ae_title])


def by_hand(plot: Plot, story: Story, slot: Slot, booking: Booking, *, name: str = "", stray: bool = False) -> Visit:
    """Scan a booking's subject without the worklist."""
    typed = {"PatientID": booking.patient_id, "PatientName": name or booking.patient_name}
    after = plot.random.randrange(min(slot.minutes, 6))  # nothing else says that it is of this time
    return plot.visit(story, slot, booking, values=typed, stray=stray, after=after)


@story("by hand, in time, on the booked scanner", mixes="delivery")
def right_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    by_hand(plot, story, slots[0], plot.book(story, slots[0]))


@story("by hand, in time, PatientName typed otherwise")
def name_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    by_hand(plot, story, slots[0], booking, name=booking.patient_id)
    story.due("PATIENT_NAME", booking)


@story("by hand, at another time")
def late_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = by_hand(plot, story, plot.evening(story.day, slots[0].ae_title), booking, stray=True)
    story.due("PATIENT TIME MISSING", booking, visit)
    story.allow("MISSING PATIENT TIME", booking, visit)


@story("by hand, on another day", days=1)
def next_day_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = by_hand(plot, story, plot.evening(story.day + DAY), booking, stray=True)
    story.due("MISSING", booking, since=missing_since(slots[0]), until=visit.sent, visits=())
    story.due("PATIENT DAY", booking, visit)
    story.allow("MISSING PATIENT DAY", booking, visit)


@story("by hand, on another scanner")
def elsewhere_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    visit = by_hand(plot, story, slots[0], booking, stray=True)
    visit.ae_title = elsewhere(plot, slots[0])
    story.due("PATIENT SCANNER", booking, visit)
    story.allow("MISSING", booking)


@story("PatientID mistyped by hand, in time")
def mistyped_by_hand(plot: Plot, story: Story, slots: list[Slot]) -> None:
    """Its PatientName says whose it is."""
    booking = plot.book(story, slots[0])
    visit = by_hand(plot, story, slots[0], booking, stray=True)
    visit.values["PatientID"] = patient_id(plot.typo(booking.subject))
    story.due("PATIENT_ID", booking, visit)
    story.allow("MISSING", booking)
