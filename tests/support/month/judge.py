"""Compares what was reported in the evenings with what really happened."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rich.markup import escape
from rich.table import Table

from support.month.month import Month
from support.month.truth import DAY, HOUR, Story, Visit, at, local
from support.month.world import Look, Said

#: What nobody may be advised to do where the evidence isn't sure. "Do not cancel" is another thing.
DRASTIC = re.compile(r"(?<!not )(?<!not to )(?<!n't )(?<!never )\b(cancel|delete|remove)\b(?! nothing)", re.IGNORECASE)


@dataclass(slots=True)
class Judgement:
    """What was wrong of each story, and what was not reported, in sentences."""

    month: Month
    wrong: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    unreported: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: What was reported of nobody that the month knows.
    strange: set[str] = field(default_factory=set)

    @property
    def counts(self) -> tuple[int, int]:
        """How many stories something wrong was reported of, and how many something wasn't that should have been."""
        return len(self.wrong) + len(self.strange), len({*self.unreported} - {*self.wrong})

    def rows(self) -> list[tuple[str, int, int, int, int, str]]:
        """Return for each kind of story: its name, how many, reported rightly, wrongly, not at all, and why."""
        tried, wrong, unreported = Counter[str](), Counter[str](), Counter[str]()
        limits: dict[str, str] = {}
        for number, story in enumerate(self.month.stories):
            for name in story.names:
                tried[name] += 1
                wrong[name] += number in self.wrong
                unreported[name] += number in self.unreported and number not in self.wrong
            if story.limit:
                limits[story.names[0]] = story.limit
        return [
            (name, count, count - wrong[name] - unreported[name], wrong[name], unreported[name], limits.get(name, ""))
            for name, count in tried.items()
        ]

    def table(self) -> Table:
        month = self.month
        title = (
            f"What was reported of {month.bookings:,} bookings on eight scanners, "
            f"{month.first} and {month.days} days, seed {month.seed}"
        )
        table = Table("what happened", title=title, title_justify="left")
        for heading in ("times", "rightly", "wrongly", "not at all"):
            table.add_column(heading, justify="right")
        table.add_column("no program could know, as")
        for name, *counts, limit in self.rows():
            table.add_row(escape(name), *(f"{count:,}" for count in counts), escape(limit))
        return table

    def sentences(self, most: int = 40) -> str:
        """Return what is wrong, for the one who has to find out why."""
        stories = self.month.stories
        lines = [f"seed {self.month.seed}:"]
        for what, found in (("WRONG", self.wrong), ("UNREPORTED", self.unreported)):
            lines += [
                f"{what} {', '.join(stories[number].names)} ({stories[number].day}): {sentence}"
                for number, sentences in found.items()
                for sentence in sorted(sentences)
            ]
        lines += [f"STRANGE {sentence}" for sentence in sorted(self.strange)]
        return "\n".join(lines[: most + 1] + ([f"and {len(lines) - most - 1} more"] if len(lines) > most + 1 else []))


def judge(month: Month, looks: Iterable[Look], uid: Callable[[Visit], str], not_shown: Iterable[Visit]) -> Judgement:
    """Compare what was reported with the truth; `uid` gives a visit's study; `not_shown` had no entry to take."""
    judgement = Judgement(month)
    by_booking = {booking.booking_id: n for n, story in enumerate(month.stories) for booking in story.bookings}
    by_visit = {visit.key: n for n, story in enumerate(month.stories) for visit in story.visits}
    by_study = {uid(visit): visit for story in month.stories for visit in story.visits if uid(visit)}
    for visit in not_shown:
        judgement.unreported[by_visit[visit.key]].add(
            f"booking {visit.entry} was not on the console of {visit.ae_title}"
        )
    for look in looks:
        for said in look.said:
            of = by_study.get(said.where)
            number = by_visit[of.key] if of else by_booking.get(said.where)
            if number is None:
                judgement.strange.add(f"{said.where}: {said.kind} {said.text}")
            else:
                place = of.study if of else said.where
                judgement.wrong[number].update(_wrong(said, place, month.stories[number], look))
        for study, shown in look.shown.items():
            visit = by_study[study]
            if stray := shown - visit.owners:
                judgement.wrong[by_visit[visit.key]].add(f"{visit.key} is shown at booking {', '.join(sorted(stray))}")
        for number, story in enumerate(month.stories):
            judgement.wrong[number].update(_green(story, look))
            judgement.unreported[number].update(_unreported(story, look, uid))
    for found in (judgement.wrong, judgement.unreported):
        for number in [number for number, sentences in found.items() if not sentences]:
            del found[number]
    return judgement


def _wrong(said: Said, place: str, story: Story, look: Look) -> Iterable[str]:
    evening = f"{local(look.at):%m-%d}"
    nothing_came = not any(visit.sent <= look.at for visit in story.visits)
    if DRASTIC.search(said.remedy) and not nothing_came:
        yield f"{evening} {place}: {said.kind} advises {said.remedy!r}"
    waited = [one for one in story.bookings if one.booking_id == place and at(one.slot.start) + HOUR < look.at]
    unsent = waited and not any(place in visit.owners and visit.sent <= look.at for visit in story.visits)
    if said.warning and said.kind not in story.allowed(place, look.at) and not (said.kind == "MISSING" and unsent):
        yield f"{evening} {place}: {said.kind} {said.text!r}"


def _green(story: Story, look: Look) -> Iterable[str]:
    for said in look.said:
        if said.warning and said.where in look.green and any(said.where == one.booking_id for one in story.bookings):
            yield f"{local(look.at):%m-%d} {said.where} is {said.kind} and as green as a good one"


def _unreported(story: Story, look: Look, uid: Callable[[Visit], str]) -> Iterable[str]:
    evening = local(look.at)
    days = {evening.date(), evening.date() - DAY}
    places = {visit.study: uid(visit) for visit in story.visits}
    for due in story.dues:
        where = {places.get(place, place) for place in due.where}
        said = {one.kind for one in look.said if one.where in where}
        if due.day in days and due.holds(look.at) and not said & due.kinds:
            yield f"{evening:%m-%d} {', '.join(sorted(due.where))}: {' or '.join(sorted(due.kinds))} expected"
    for visit in story.visits:
        if story.day in days and visit.sent <= look.at and uid(visit):
            shown = look.shown.get(uid(visit), set()) & visit.owners
            if not shown and not (visit.stray and uid(visit) in look.nobodys):
                yield f"{evening:%m-%d} {visit.key} is not shown at {', '.join(sorted(visit.owners)) or 'all'}"
