"""The whole month: which story happens where, so that each happens as often as is asked for."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, time
from itertools import pairwise

from support.month import calendar_changes, console_errors, sessions, strangers
from support.month.plot import KINDS, SCANNERS, Kind, Plot
from support.month.sessions import MANNERS, Manner
from support.month.truth import DAY, MINUTE, Slot, Story

#: In the order in which they change a session: the first ones move it.
GROUPS = ("time", "clock", "day", "delivery", "reboot")
#: How far around a session with a wrong clock all is as booked.
NEAR = 90 * MINUTE
#: In this night the clocks are set back.
NIGHT = date(2026, 10, 25)
#: Each adds its stories to KINDS when it is imported.
CHAPTERS = (sessions, console_errors, calendar_changes, strangers)

Lane = list[Slot]
Place = tuple[Kind, list[Slot], date, list[Manner]]


@dataclass(frozen=True, slots=True)
class Month:
    """Stories of some days; the same seed gives the same ones."""

    seed: int
    first: date
    days: int
    stories: list[Story]

    @property
    def bookings(self) -> int:
        return sum(len(story.bookings) for story in self.stories)

    def counts(self) -> Counter[str]:
        """Return how often each thing happens."""
        return Counter(name for story in self.stories for name in story.names)


def write(seed: int, first: date, days: int, bookings: int, often: int) -> Month:
    """Write about so many bookings, in which each story and each manner happens `often` times at the least.

    A manner that other stories don't have as often is that of good sessions.
    """
    plot = Plot(seed, first, days)
    lanes = _lanes(plot, bookings)
    good = next(kind for kind in KINDS if kind.name == "good session")
    rest = [kind for kind in KINDS if kind is not good for _ in range(often)]
    places = [_place(plot, lanes, good, [manner]) for manner in MANNERS if manner.alone for _ in range(often)]
    for kind in sorted(rest, key=lambda one: (-one.slots, -one.minutes)):
        _, slots, day, _ = _place(plot, lanes, kind, [])
        places.append((kind, slots, day, _manners(plot, kind)))
    have = Counter(manner.name for *_, manners in places for manner in manners)
    places += [
        _place(plot, lanes, good, [manner])
        for manner in MANNERS
        if not manner.alone
        for _ in range(max(often - have[manner.name], 1))
    ]
    plain: list[Place] = [(good, [slot], slot.day, []) for lane in lanes for slot in lane if slot not in plot.taken]
    stories = [_written(plot, place) for place in plain]
    for story in stories:
        plot.good.setdefault(story.day, []).extend(story.bookings)
    stories += [_written(plot, place) for place in places]
    return Month(seed, first, days, stories + _nights(plot, often))


def _lanes(plot: Plot, bookings: int) -> list[Lane]:
    """Return the times of each day and scanner, as many in all as bookings are asked for."""
    days = (plot.last - plot.first).days + 1
    a_day = -(-bookings // (days * len(SCANNERS)))
    lanes = []
    for number in range(days):
        for title in SCANNERS:
            slots = plot.slots(title, plot.first + number * DAY)
            begin = plot.random.randrange(max(len(slots) - a_day, 0) + 1)
            lanes.append(slots[begin : begin + a_day])
    return lanes


def _place(plot: Plot, lanes: list[Lane], kind: Kind, manners: list[Manner]) -> Place:
    """Return where a story may happen: what is before and after it on its scanner stays without one."""
    days = max((plot.last - plot.first).days + 1 - kind.days, 1)
    if not kind.slots:
        return kind, [], plot.first + plot.random.randrange(days) * DAY, manners
    starts = [(lane, begin) for lane in lanes for begin in range(len(lane) - kind.slots + 1)]
    for lane, begin in plot.random.sample(starts, len(starts)):
        slots = lane[begin : begin + kind.slots]
        around = lane[max(begin - 1, 0) : begin + kind.slots + 1]
        alone = lane if any(manner.alone for manner in manners) else []
        near = [one for one in alone if one.end > slots[0].start - NEAR and one.start < slots[0].start + NEAR]
        fits = slots[0].day < plot.first + days * DAY and all(slot.minutes >= kind.minutes for slot in slots)
        fits = fits and (not kind.joined or all(one.end == other.start for one, other in pairwise(slots)))
        if fits and plot.taken.isdisjoint([*around, *near]) and plot.kept.isdisjoint(slots):
            plot.taken.update(slots)
            plot.kept.update(near)
            return kind, slots, slots[0].day, manners
    raise ValueError(f"no room for {kind.name!r}: let there be more bookings")


def _manners(plot: Plot, kind: Kind) -> list[Manner]:
    """Return what else happens in a story: usually nothing."""
    groups = kind.mixes.split()
    groups = plot.random.sample(groups, min(plot.random.choices((0, 1, 2), (5, 3, 1))[0], len(groups)))
    chosen = [
        plot.random.choice([manner for manner in MANNERS if manner.group == group and not manner.alone])
        for group in groups
    ]
    return sorted(chosen, key=lambda manner: GROUPS.index(manner.group))


def _written(plot: Plot, place: Place) -> Story:
    kind, slots, day, manners = place
    story = Story([kind.name], day)
    kind.write(plot, story, slots)
    for manner in manners:
        manner.apply(plot, story)
        story.names.append(manner.name)
    return story


def _nights(plot: Plot, often: int) -> list[Story]:
    """Return sessions around the change of the clock: before it, in both of its hours, and after it."""
    if not plot.first <= NIGHT <= plot.last:
        return []
    times = [(time(0, 45), 0), (time(2, 20), 0), (time(2, 20), 1), (time(3, 10), 0)]
    return [
        sessions.change_of_clock(plot, title, datetime.combine(NIGHT, clock), fold=fold)
        for number, title in enumerate(SCANNERS)
        for clock, fold in times[number % 2 :: 2][: 1 if often == 1 else 2]
    ]
