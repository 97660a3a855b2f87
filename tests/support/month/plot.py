"""The days of the month, their free time, and what all stories are made with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from random import Random

from support.month.truth import DAY, HOUR, MINUTE, Booking, Change, Send, Slot, Story, Take, Visit, at

#: Each is also what the calendar calls its lab.
SCANNERS = ("PRISMA", "PRISMAFIT", "SKYRA", "TRIO", "VIDA", "LUMINA", "TERRA", "CIMA")
#: How long sessions are, in minutes, and how many of a hundred.
MINUTES = {5: 5, 15: 8, 30: 20, 45: 12, 60: 35, 90: 12, 120: 6, 240: 2}
OPENS, CLOSES = time(7, 30), time(19, 30)
#: When the days' reports are read.
EVENING = time(22, 50)


class Plot:
    """Random numbers, free time, and names that nobody else has."""

    def __init__(self, seed: int, first: date, days: int) -> None:
        self.random, self.first, self.last = Random(seed), first, first + (days - 1) * DAY
        self._subject, self._visit, self._booking = 1000, 0, 0
        self._evenings: dict[tuple[str, date], int] = {}
        self._nights: set[tuple[str, date]] = set()
        #: The times in which something else than a good session happens.
        self.taken: set[Slot] = set()
        #: Those in which nothing else may happen.
        self.kept: set[Slot] = set()
        #: Good sessions of the same day whose names others may use.
        self.good: dict[date, list[Booking]] = {}

    def slots(self, ae_title: str, day: date) -> list[Slot]:
        """Return a scanner's times of a day, with gaps here and there."""
        found, start = [], datetime.combine(day, OPENS) + 5 * self.random.randrange(12) * MINUTE
        while start.time() < time(18) and start.date() == day:
            minutes = self.random.choices([*MINUTES], [*MINUTES.values()])[0]
            found.append(Slot(ae_title, start, minutes, self.random.random() < 0.6))
            start = found[-1].end + self.random.choice((0, 0, 0, 15, 30)) * MINUTE
        return [slot for slot in found if slot.end <= datetime.combine(day, CLOSES)]

    def evening(self, day: date, ae_title: str = "") -> Slot:
        """Return a time after the day's last session that nobody has, of this scanner or of another one."""
        free = [title for title in SCANNERS if self._evenings.get((title, day), 0) < 4]
        title = ae_title if ae_title in free else self.random.choice([one for one in free if one != ae_title] or free)
        number = self._evenings.get((title, day), 0)
        self._evenings[title, day] = number + 1
        return Slot(title, datetime.combine(day, time(19, 45)) + number * 35 * MINUTE, 30)

    def night(self, day: date) -> Slot:
        """Return half past eleven in the evening, on a scanner where nobody has it."""
        title = self.random.choice([title for title in SCANNERS if (title, day) not in self._nights])
        self._nights.add((title, day))
        return Slot(title, datetime.combine(day, time(23, 30)), 45, self.random.random() < 0.5)

    def subject(self) -> str:
        """Return a subject, of four digits, whom nobody else has."""
        self._subject += 1
        return str(self._subject)

    def typo(self, subject: str) -> str:
        """Return the subject with a digit doubled or left out: it is nobody's, as all have four."""
        number = self.random.randrange(len(subject))
        return subject[:number] + subject[number] * self.random.choice((0, 2)) + subject[number + 1 :]

    def book(self, story: Story, slot: Slot, subject: str = "", session: int = 1, **more: str) -> Booking:
        """Book a session; `more` are fields of Booking."""
        self._booking += 1
        status = self.random.choice(("CONFIRMED", "CONFIRMED", "TENTATIVE"))
        booking = Booking(str(self._booking), slot, subject or self.subject(), session, status, **more)
        story.bookings.append(booking)
        return booking

    def visit(
        self, story: Story, slot: Slot, of: Booking | None = None, *, entry: Booking | None = None,
        after: int | None = None, minutes: int | None = None, taken: int | None = None,
        values: dict[str, str] | None = None,
        also: tuple[Booking, ...] = (), stray: bool = False, everybodys: bool = False, continues: Visit | None = None,
        own_uid: bool = False,
    ) -> Visit:  # fmt: skip
        """Scan somebody on the scanner of the slot, `after` minutes after its beginning (as a rule a few).

        The study is that of the booking `of`, or `also` of others; the console's list is asked `taken` minutes before.
        """
        self._visit += 1
        after = self.random.randrange(6) if after is None else after
        visit = Visit(
            f"visit-{self._visit}", slot.ae_title, at(slot.start) + after * MINUTE, entry.booking_id if entry else "",
            values or {}, frozenset(booking.booking_id for booking in (*([of] if of else []), *also)),
            stray, own_uid, everybodys, continues,
        )  # fmt: skip
        lasts = (slot.minutes if minutes is None else minutes) * MINUTE
        visit.sent = visit.begins + max(lasts - MINUTE, 3 * MINUTE)
        if entry:
            story.acts.append(Take(visit.begins - (3 if taken is None else taken) * MINUTE, visit))
        story.acts.append(Send(visit.sent, visit, tuple(range(1, self.random.choice((1, 1, 2, 3)) + 1))))
        story.visits.append(visit)
        return visit

    def own(self, story: Story, booking: Booking, **more: object) -> Visit:
        """Scan the right subject with the right entry, or as `more` (of `visit`) says."""
        return self.visit(story, booking.slot, booking, **{"entry": booking, **more})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kind:
    """A story that may happen: its name, in how many slots in a row, and how many days it goes on.

    `mixes` names the groups of manners that may come with it.
    """

    name: str
    write: Callable[[Plot, Story, list[Slot]], None]
    slots: int = 1
    days: int = 0
    mixes: str = ""
    #: The least minutes that each of its slots has, and whether there is no gap between them.
    minutes: int = 5
    joined: bool = False


KINDS: list[Kind] = []
Write = Callable[[Plot, Story, list[Slot]], None]


def story(
    name: str, *, slots: int = 1, days: int = 0, mixes: str = "", minutes: int = 5, joined: bool = False
) -> Callable[[Write], Write]:
    """Add a story to those that may happen."""

    def add(write: Write) -> Write:
        KINDS.append(Kind(name, write, slots, days, mixes, minutes, joined))
        return write

    return add


def missing_since(slot: Slot) -> datetime:
    """Return when a booking without images must be reported as missing, with or without an end in the calendar."""
    return at(slot.start) + max(slot.minutes, 60) * MINUTE + HOUR + 2 * MINUTE


def change(story: Story, moment: datetime, booking: Booking, **columns: str) -> datetime:
    """Change the calendar at a moment; return it. Without columns the booking is deleted."""
    moment = moment.replace(second=0)
    story.acts.append(Change(moment, booking.booking_id, columns))
    return moment


def cancel(story: Story, moment: datetime, booking: Booking, how: int) -> datetime:
    """Cancel a booking by its status, by its subject or by deletion."""
    columns: dict[str, str] = ({"status": "CANCELLED"}, {"subj_ses": "Cancellation"}, {})[how % 3]
    return change(story, moment, booking, **columns)


def moved(slot: Slot) -> dict[str, str]:
    """Return the columns of a booking that is moved to another slot."""
    return {
        "calendar_id": slot.ae_title, "start_date": slot.day.isoformat(), "start_time": f"{slot.start:%H:%M:%S}",
        "stop_time": f"{slot.end:%H:%M:%S}",
    }  # fmt: skip
