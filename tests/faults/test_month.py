"""A month at a site of eight scanners, played through in minutes: what is reported is what really happened.

Its clock is an argument of the sync; Orthanc, wlmscpfs, the queries and the images are real.
"""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from support import live, scanner, twins
from support.month.judge import judge
from support.month.month import write
from support.month.plot import SCANNERS
from support.month.world import STABLE_AGE, World
from support.tally import Tally

#: What is played unless `--seed` says otherwise.
SEEDS = [2026]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", metafunc.config.getoption("--seed") or SEEDS)


@pytest.fixture
def world(deployment: live.Deployment, broker: twins.Broker, tmp_path: Path) -> Iterator[World]:
    """A site with a PACS of its own."""
    with twins.pacs(tmp_path / "orthanc", {"StableAge": STABLE_AGE}) as pacs:
        for title in SCANNERS:
            scanner.admit(pacs, title)
        yield World(tmp_path, broker, pacs)


def test_what_is_reported_of_a_month_is_what_happened(
    world: World, tally: Tally, often: Callable[[int, int], int], seed: int, request: pytest.FixtureRequest
) -> None:
    """The short one and the long one have the night in which the clocks are set back."""
    days = often(3, 31)
    month = write(seed, date(2026, 10, often(24, 1)), days, bookings=often(200, 1500), often=often(1, 10))
    looks = list(world.play(month))
    judgement = judge(month, looks, world.console.uid, world.console.not_shown)
    request.node.user_properties.append(("table", judgement.table()))
    assert len(looks) == days + 1
    tally.tried, (tally.wrong, tally.lost) = month.bookings, judgement.counts
    assert tally.clean, judgement.sentences()
