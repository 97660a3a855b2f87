"""Sessions with images left out at random, and whole ones: what is found, what is missed, what is shown for nothing.

The sessions are invented (`support/protocols.py`), and so is the time; the judge is the real one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from statistics import quantiles

import pytest
from rich.table import Table

from dicom_worklist.status import whole
from dicom_worklist.status.oddities import Oddity
from support.protocols import DAMAGES, MINUTE, Made, Project, arrivals, play, project, stored
from support.tally import Tally

#: How often a protocol is changed on purpose from one session to the next.
CHANGED = 1 / 40


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("seed", metafunc.config.getoption("--seed") or [2026])


@dataclass
class Measured:
    """What was tried: whole sessions, by what was changed on purpose for them, and damaged ones, by damage."""

    whole: Counter[str] = field(default_factory=Counter)
    alarms: Counter[str] = field(default_factory=Counter)
    #: Of so many that were played minute by minute, so many had a hint for a while that was gone in the end.
    played: int = 0
    passing: int = 0
    #: By damage, and whether there were enough earlier sessions to compare with.
    damaged: Counter[tuple[str, bool]] = field(default_factory=Counter)
    found: Counter[tuple[str, bool]] = field(default_factory=Counter)
    #: Damaged sessions that have a hint at another series, which is whole.
    elsewhere: int = 0
    projects: int = 0
    delays: defaultdict[str, list[timedelta]] = field(default_factory=lambda: defaultdict(list))

    def table(self) -> Table:
        changed = [f"{what} {self.alarms[what]:,} of {count:,}" for what, count in self.whole.items() if what]
        title = (
            f"{self.projects:,} projects. {self.whole['']:,} whole sessions, {self.alarms['']:,} with a hint in the "
            f"end; {self.played:,} were played, {self.passing:,} had one for a while. Changed on purpose, with a hint "
            f"in the end: {', '.join(changed)}. Of {self.damaged.total():,} sessions with images left out "
            f"{self.elsewhere:,} had a hint elsewhere"
        )
        table = Table("left out", title=title, title_justify="left")
        for heading in ("first sessions", "found", "later ones", "found", "median delay", "95 % within"):
            table.add_column(heading, justify="right")
        for damage in DAMAGES:
            counts = [
                f"{counted[damage, later]:,}" for later in (False, True) for counted in (self.damaged, self.found)
            ]
            cuts = quantiles([delay / MINUTE for delay in self.delays[damage]] or [0, 0], n=20)
            table.add_row(damage, *counts, f"{cuts[9]:.0f} min", f"{cuts[18]:.0f} min")
        return table


def names(said: Oddity, made: Made) -> bool:
    """Return whether a hint is about a series, or another one of its name."""
    return f' "{made.name}"' in said.text


def measure(seed: int, sessions: int, share: float) -> Measured:
    """Return what is shown of so many sessions, of projects with up to 30 each; a share is played minute by minute."""
    random, measured = Random(seed), Measured()
    while measured.whole.total() < sessions:
        measured.projects += 1
        of = project(random, f"{3010000 + measured.projects}.01")
        for count in range(random.randrange(5, 30)):
            of.changed = ""
            if count and random.random() < CHANGED:
                of.change()
            series = of.session()
            one_session(of, series, random, measured, share)
            of.remember(series)
    return measured


def one_session(of: Project, series: list[Made], random: Random, measured: Measured, share: float) -> None:
    """Look at a session that is whole, and at the same one with images left out."""
    session, earlier = of.next(), of.earlier[: whole.LATEST]
    last = whole.hints(whole.Case(session, [stored(made, at) for at, made in enumerate(series)], earlier, over=True))
    measured.whole[of.changed] += 1
    measured.alarms[of.changed] += bool(last)
    if random.random() >= share:
        return
    came, end = arrivals(random, session.start or of.begun, series)
    if random.random() < 0.25 and not of.changed:
        measured.played += 1
        measured.passing += any(said for _, said in play(session, came, end, earlier)) and not last
    damage = random.choice([*DAMAGES])
    times = {step.made.name: step.times for step in of.steps}
    needed = [made for made in series if sum(one is made for one in series) <= times.get(made.name, 0)]
    at = random.choice([at for at, made in enumerate(series) if not made.stopped and made in needed])
    left = DAMAGES[damage](random, series[at])
    if len(left) == len(series[at].images):
        return  # it has no slices or no volumes
    came[at] = replace(came[at], images=left)
    case = (damage, len(earlier) >= whole.ENOUGH_FOR_A_PROTOCOL)
    measured.damaged[case] += 1
    runs = list(play(session, came, end, earlier))
    final = runs[-1][1] if runs else []
    made = came[at].made
    if any(names(said, made) for said in final):
        measured.found[case] += 1
        first = next(run for run, said in runs if any(names(one, made) for one in said))
        # of a series that did not come, from the last image of its session on
        since = came[at].at if left else max(one.at for one in came if one.images)
        measured.delays[damage].append(first - since)
    measured.elsewhere += any(not names(said, made) and said not in last for said in final)


def test_of_whole_sessions_nothing_is_said_and_what_is_left_out_is_found(
    tally: Tally, often: Callable[[int, int], int], seed: int, request: pytest.FixtureRequest
) -> None:
    measured = measure(seed, often(1000, 10_000), 0.25)
    request.node.user_properties.append(("table", measured.table()))
    tally.tried = measured.whole.total() + measured.damaged.total()
    assert measured.alarms[""] * 200 <= measured.whole[""], "more than 1 in 200 whole sessions has a hint"
    for damage, least in (("one image", 0.8), ("a volume", 0.7), ("the end", 0.7), ("a series", 0.7)):
        tried, found = measured.damaged[damage, True], measured.found[damage, True]
        assert found >= least * tried, f"{damage}: {found} of {tried}"
