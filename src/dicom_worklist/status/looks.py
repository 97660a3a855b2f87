"""What the images of a series say of each other: which numbers are missing, which places have fewer. Pure logic.

InstanceNumbers (0020,0013) need not begin at 1 nor be consecutive: some consoles count in steps, in blocks of a
hundred, or once for each of several echoes. So only few numbers among many that follow each other count as missing.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from dicom_worklist.status.records import Look

#: Fewer images don't show how a console counts.
FEWEST = 4
#: So many places of a stack have to agree on how many images a place has.
MOST_AGREE = 0.7


class Image(NamedTuple):
    """An image of a series: its InstanceNumber, its place (position and orientation as text), and its frames."""

    number: int | None = None
    place: str = ""
    frames: int = 1


def look(images: Iterable[Image], *, derived: bool = False) -> Look:
    """Return what these images, all that a series has, say of each other."""
    images = list(images)
    counts = Counter(image.place for image in images if image.place)
    short, volumes = _short(counts) if sum(counts.values()) == len(images) else (0, 0)
    return Look(
        images=len(images),
        frames=sum(image.frames for image in images),
        lost=_lost(sorted({image.number for image in images if image.number is not None})),
        short=short,
        places=len(counts),
        volumes=volumes,
        derived=derived,
    )


def _lost(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of numbers that are missing, unless the console counts like that."""
    gaps = [(before + 1, after - 1) for before, after in pairwise(numbers) if after - before > 1]
    if len(numbers) < FEWEST or not gaps:
        return ()
    missing = sum(last - first + 1 for first, last in gaps)
    starts = [numbers[0], *(last + 1 for _, last in gaps)]
    ends = [*(first - 1 for first, _ in gaps), numbers[-1]]
    blocks = {end - start for start, end in zip(starts, ends, strict=True)}
    sizes = {last - first for first, last in gaps}
    in_steps = len(gaps) > len(numbers) * (1 - MOST_AGREE)
    in_hundreds = all((last + 1) % 100 in {0, 1} and last > first for first, last in gaps)
    in_blocks = len(blocks) == len(sizes) == 1 and sizes != {0}
    return () if missing > len(numbers) / 2 or in_steps or in_hundreds or in_blocks else tuple(gaps)


def _short(counts: Counter[str]) -> tuple[int, int]:
    """Return how many places have fewer images than most, and how many those have."""
    if not counts:
        return 0, 0
    [(volumes, agree)] = Counter(counts.values()).most_common(1)
    uneven = max(counts.values()) > volumes or agree < MOST_AGREE * len(counts)
    if uneven or volumes == 1 or len(counts) == 1:
        return 0, max(counts.values())
    return len(counts) - agree, volumes
