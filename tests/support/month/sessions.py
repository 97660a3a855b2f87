"""Sessions with nothing wrong about who: good ones, and each manner in which any session may go."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from support.calendar import MEG
from support.month.plot import Plot, cancel, missing_since, story
from support.month.truth import DAY, HOUR, MINUTE, PROJECT, Send, Slot, Story, Take, Visit, at, local, right_clock


@story("good session", mixes="time clock day delivery reboot")
def good(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.own(story, plot.book(story, slots[0]), after=plot.random.randrange(-4, 9))


@dataclass(frozen=True)
class Manner:
    """What else may happen in a session; of each group a session has one at the most.

    One that is `alone` is that of a good session, and around it all is as booked: by its images it is of another
    time, and if nobody else was scanned then, no program could know.
    """

    name: str
    group: str
    apply: Callable[[Plot, Story], None]
    alone: bool = False


MANNERS: list[Manner] = []


def manner(
    name: str, group: str, *, alone: bool = False
) -> Callable[[Callable[[Plot, Story], None]], Callable[[Plot, Story], None]]:
    def add(apply: Callable[[Plot, Story], None]) -> Callable[[Plot, Story], None]:
        MANNERS.append(Manner(name, group, apply, alone))
        return apply

    return add


@manner("begun early", "time")
def early(plot: Plot, story: Story) -> None:
    for visit in story.visits:
        story.shift(visit, -plot.random.randrange(5, 12) * MINUTE)


@manner("begun late", "time")
def late(plot: Plot, story: Story) -> None:
    for visit in story.visits:
        story.shift(visit, plot.random.randrange(10, 31) * MINUTE)


def clocked(
    name: str, clock: Callable[[datetime], dict[str, str]], due: str = "", may: str = "", *, alone: bool = False
) -> None:
    """Add a manner in which the console's clock is as `clock` says."""

    def apply(_: Plot, story: Story) -> None:
        for visit in story.visits:
            visit.clock = clock
        if due:
            story.due(due, *story.bookings)
        story.allow(may, *story.bookings)

    manner(name, "clock", alone=alone)(apply)


def in_utc(moment: datetime) -> dict[str, str]:
    return {"StudyDate": f"{moment:%Y%m%d}", "StudyTime": f"{moment:%H%M%S}", "TimezoneOffsetFromUTC": "+0000"}


def off(by: timedelta) -> Callable[[datetime], dict[str, str]]:
    return lambda moment: right_clock(moment + by)


clocked("StudyTime empty", lambda moment: right_clock(moment) | {"StudyTime": ""})
clocked("StudyTime with colons", lambda moment: right_clock(moment) | {"StudyTime": f"{local(moment):%H:%M:%S}"})
clocked("UTC, TimezoneOffsetFromUTC +0000", in_utc)
clocked("StudyDate empty", lambda moment: right_clock(moment) | {"StudyDate": ""}, "CLOCK")
clocked("StudyDate and StudyTime empty", lambda moment: {"StudyDate": "", "StudyTime": ""}, "CLOCK")
clocked("StudyDate of 2019", lambda moment: right_clock(moment) | {"StudyDate": "20190101"}, "CLOCK")
clocked("StudyDate of yesterday", off(-DAY), "CLOCK DAY")
clocked("console's clock an hour behind", off(-HOUR), may="TIME CLOCK", alone=True)
clocked("console's clock an hour ahead", off(HOUR), may="TIME CLOCK", alone=True)


@manner("sent two hours late", "delivery")
def two_hours_late(plot: Plot, story: Story) -> None:
    for visit in story.visits:
        story.shift(visit, 2 * HOUR, Send)


@manner("sent a day late", "day")
def a_day_late(plot: Plot, story: Story) -> None:
    for visit in story.visits:
        story.shift(visit, DAY - HOUR, Send)
    (booking,) = story.bookings
    sent = min(visit.sent for visit in story.visits)
    story.due("MISSING", booking, since=missing_since(booking.slot), until=sent, visits=())


@manner("sent in two parts", "delivery")
def in_parts(plot: Plot, story: Story) -> None:
    for visit in story.visits:
        later = visit.sent + plot.random.choice((HOUR, 20 * HOUR))
        story.acts.append(Send(later, visit, (4, 5)))


@manner("sent twice", "delivery")
def twice(plot: Plot, story: Story) -> None:
    sends = [act for act in story.acts if isinstance(act, Send)]
    story.acts += [replace(act, at=act.at + plot.random.choice((HOUR, 20 * HOUR))) for act in sends]


@manner("console rebooted, same study", "reboot")
def rebooted(plot: Plot, story: Story) -> None:
    (visit,) = story.visits
    _again(story, visit, replace(visit, key=f"{visit.key}-again", continues=visit))


@manner("console rebooted, new StudyInstanceUID", "reboot")
def rebooted_anew(plot: Plot, story: Story) -> None:
    (visit,) = story.visits
    _again(story, visit, replace(visit, key=f"{visit.key}-again", own_uid=True))
    if any(due.kinds & {"MOVED", "CANCELLED", "CANCELLED_BEFORE"} for due in story.dues):  # there is more to say
        story.allow("STUDIES", *story.bookings)
    else:
        story.due("STUDIES", *story.bookings)


def _again(story: Story, first: Visit, second: Visit) -> None:
    """Let the session go on, with what the console has of it already."""
    story.acts += [replace(act, visit=second) for act in story.acts if isinstance(act, Take)]
    story.acts.append(Send(first.sent, second, (1, 2)))
    story.visits.append(second)
    second.begins += 3 * MINUTE


@story("session overruns, next one late", slots=2, minutes=30)
def overrun(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first, second = (plot.book(story, slot) for slot in slots)
    over = plot.random.randrange(20, 50)
    plot.own(story, first, minutes=first.slot.minutes + over)
    plot.own(story, second, after=over + 5)


@story("two sessions of a subject in a row, a study each", slots=2, minutes=15)
def both_sessions(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, slots[1], first.subject, 2)
    plot.own(story, first)
    plot.own(story, second)


@story("two sessions of a subject on a day, a study each")
def twice_a_day(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, plot.evening(story.day), first.subject, 2)
    plot.own(story, first)
    plot.own(story, second)


@story("two slots of a session, one study", slots=2, minutes=15, joined=True)
@story("three slots of a session, one study", slots=3, minutes=15, joined=True)
def one_for_all(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    bookings = [first, *(plot.book(story, slot, first.subject) for slot in slots[1:])]
    minutes = sum(slot.minutes for slot in slots)
    plot.own(story, first, minutes=minutes, also=tuple(bookings[1:]))
    story.due("SLOTS", *bookings)


@story("two slots of a session, one study by the second's entry", slots=2, minutes=15, joined=True)
def by_the_second(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, slots[1], first.subject)
    minutes = slots[0].minutes + slots[1].minutes
    plot.own(story, first, minutes=minutes, entry=second, also=(second,))
    story.due("SLOTS", first, second)


@story("two slots of a session, a study each", slots=2, minutes=15, joined=True)
def one_each(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, slots[1], first.subject)
    plot.own(story, first)
    plot.own(story, second)


@story("two slots of a session, two studies by the first's entry", slots=2, minutes=15, joined=True)
def two_by_the_first(plot: Plot, story: Story, slots: list[Slot]) -> None:
    first = plot.book(story, slots[0])
    second = plot.book(story, slots[1], first.subject)
    plot.own(story, first, also=(second,))
    visit = plot.own(story, second, entry=first, also=(first,), taken=slots[0].minutes)
    visit.own_uid = True
    story.allow("STUDIES", first, second)


@story("session at 23:30", slots=0, mixes="delivery")
def night(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.own(story, plot.book(story, plot.night(story.day)))


@story("session at 23:30, begun after midnight", slots=0)
def after_midnight(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.own(story, plot.book(story, plot.night(story.day)), after=plot.random.randrange(32, 50))


@story("session at 23:30, console's times in UTC", slots=0)
def night_in_utc(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.own(story, plot.book(story, plot.night(story.day)), after=plot.random.randrange(50)).clock = in_utc


def change_of_clock(plot: Plot, ae_title: str, start: datetime, *, fold: int) -> Story:
    """Return a session in the night in which the clock is set back; `fold` 1 is the second of the two hours."""
    story = Story(["session in the night of the clock's change"], start.date())
    slot = Slot(ae_title, start.replace(fold=fold), 30, ends=plot.random.random() < 0.5)
    visit = plot.own(story, plot.book(story, slot), after=plot.random.randrange(10))
    visit.clock = plot.random.choice((right_clock, in_utc))
    return story


@story("nobody came")
def no_show(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    story.due("MISSING", booking, since=missing_since(slots[0]))


@story("nobody came, cancelled the same day", days=1)
def no_show_cancelled(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    moment = cancel(story, missing_since(slots[0]) + 10 * MINUTE, booking, plot.random.randrange(3))
    story.due("MISSING", booking, since=missing_since(slots[0]), until=moment)


@story("nobody came, cancelled the next day", days=1)
def no_show_cancelled_later(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    moment = cancel(story, at(slots[0].start) + DAY, booking, plot.random.randrange(3))
    story.due("MISSING", booking, since=missing_since(slots[0]), until=moment)


@story("rejected booking")
def rejected(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0], subj_ses=plot.random.choice(("7-x", "-1", "2026-01-07", "7-1-2", "12-")))
    story.due("REJECTED", booking)


@story("rejected booking, scanned by hand")
def rejected_and_scanned(plot: Plot, story: Story, slots: list[Slot]) -> None:
    booking = plot.book(story, slots[0])
    story.bookings[0] = booking = replace(booking, subj_ses=f"{booking.subject}-one")
    typed = {"PatientID": f"{PROJECT}_sub-{booking.subject}", "PatientName": booking.patient_name}
    plot.visit(story, slots[0], booking, values=typed, stray=True)
    story.due("REJECTED", booking, visits=())


@story("lab without scanner")
def no_scanner(plot: Plot, story: Story, slots: list[Slot]) -> None:
    plot.book(story, slots[0], lab=MEG)
