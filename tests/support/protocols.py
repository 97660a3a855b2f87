"""Sessions of projects, invented: protocols of every kind of console, whole and with images left out at random."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from random import Random

import msgspec

from dicom_worklist.status import whole
from dicom_worklist.status.looks import Image, look
from dicom_worklist.status.oddities import Oddity
from dicom_worklist.status.records import Look, Series, Session

BEGIN = datetime(2026, 1, 5, 9)  # noqa: DTZ001 - the site's own time
MINUTE = timedelta(minutes=1)
#: Orthanc's StableAge.
STABLE_AGE = timedelta(seconds=45)


@dataclass(frozen=True)
class Made:
    """A series as a console made it: each image with the volume that it is of, and what its header says."""

    name: str
    images: Sequence[tuple[Image, int]]
    header: dict[str, int] = field(default_factory=dict)
    modality: str = "MR"
    derived: bool = False
    minutes: float = 4
    #: Stopped by the operator: it is not whole, and that is known.
    stopped: bool = False

    @cached_property
    def look(self) -> Look:
        """How all of its images look."""
        return look([image for image, _ in self.images], derived=self.derived)


Kind = Callable[[Random, str], Made]
KINDS: dict[str, Kind] = {}


def kind(name: str) -> Callable[[Kind], Kind]:
    def add(make: Kind) -> Kind:
        KINDS[name] = make
        return make

    return add


def stack(places: int, volumes: int, number: Callable[[int, int], int], *, turn: int = 0) -> list[tuple[Image, int]]:
    """Return the images of volumes of so many places; `number` is the InstanceNumber of a place in a volume."""
    return [
        (Image(number(place, volume), f"{place * 3.3:.2f}/{turn}"), volume)
        for volume in range(volumes)
        for place in range(places)
    ]


@kind("localizer of three orientations")
def localizer(random: Random, name: str) -> Made:
    each, step = random.choice((3, 5)), random.choice((0, 100))
    images = [
        one
        for turn in range(3)
        for one in stack(each, 1, lambda place, _, turn=turn: place + 1 + turn * (step or each), turn=turn)  # type: ignore[misc]
    ]
    return Made(name, images, minutes=0.5)


@kind("anatomy")
def anatomy(random: Random, name: str) -> Made:
    """Numbers begin at 0, 1 or 2."""
    first = random.choice((0, 1, 1, 1, 2))
    return Made(name, stack(random.choice((160, 176, 192)), 1, lambda place, _: place + first), minutes=6)


@kind("mosaics (Siemens)")
def mosaics(random: Random, name: str) -> Made:
    volumes = random.randrange(60, 500)
    return Made(name, [(Image(at + 1, "one"), at) for at in range(volumes)], minutes=volumes / 40)


@kind("slices by volume (GE)")
def by_volume(random: Random, name: str) -> Made:
    places, volumes = random.randrange(24, 40), random.randrange(20, 60)
    header = {"in_acquisition": places * volumes}
    if random.random() < 0.5:
        header["temporal_positions"] = volumes
    return Made(name, stack(places, volumes, lambda place, at: at * places + place + 1), header, minutes=8)


@kind("volumes by slice (Philips)")
def by_slice(random: Random, name: str) -> Made:
    places, volumes = random.randrange(24, 40), random.randrange(20, 60)
    header = {"temporal_positions": volumes} | ({"in_acquisition": places} if random.random() < 0.5 else {})
    return Made(name, stack(places, volumes, lambda place, at: place * volumes + at + 1), header, minutes=8)


@kind("interleaved slices")
def interleaved(random: Random, name: str) -> Made:
    places, volumes = 2 * random.randrange(12, 18), random.randrange(20, 60)
    return Made(
        name,
        stack(places, volumes, lambda place, at: at * places + place // 2 + (place % 2) * (places // 2) + 1),
        minutes=8,
    )


@kind("magnitude and phase in one series")
def both(random: Random, name: str) -> Made:
    places = random.randrange(30, 60)
    return Made(name, stack(places, 2, lambda place, at: 2 * place + at + 1), {"temporal_positions": 1}, minutes=2)


@kind("two echoes with the same numbers")
def echoes(random: Random, name: str) -> Made:
    return Made(name, stack(random.randrange(30, 60), 2, lambda place, _: place + 1), minutes=2)


@kind("every second number")
def in_steps(random: Random, name: str) -> Made:
    return Made(name, stack(random.randrange(20, 60), 1, lambda place, _: 2 * place + 1), minutes=3)


@kind("diffusion, in blocks of a hundred")
def in_blocks(random: Random, name: str) -> Made:
    return Made(name, stack(64, random.randrange(6, 12), lambda place, at: at * 100 + place + 1), minutes=5)


@kind("a volume an object (enhanced)")
def enhanced(random: Random, name: str) -> Made:
    places, volumes = random.randrange(30, 70), random.randrange(60, 400)
    return Made(name, [(Image(at + 1, "", places), at) for at in range(volumes)], {"temporal_positions": 1}, minutes=8)


@kind("all in one object (enhanced)")
def one_object(random: Random, name: str) -> Made:
    return Made(name, [(Image(1, "", random.randrange(30, 70) * random.randrange(20, 300)), 0)], minutes=6)


@kind("a map, with the header of its source")
def derived(random: Random, name: str) -> Made:
    places = random.randrange(24, 40)
    return Made(name, stack(places, 1, lambda place, _: place + 1), {"in_acquisition": places * 31}, derived=True)


@kind("slices that follow the head")
def following(random: Random, name: str) -> Made:
    places, volumes = random.randrange(24, 40), random.randrange(20, 40)
    images = []
    for volume in range(volumes):
        moved = random.gauss(0, 0.3)
        images += [
            (Image(volume * places + at + 1, f"{at * 3.3 + moved:.2f}/{moved:.3f}"), volume) for at in range(places)
        ]
    return Made(name, images, minutes=8)


@kind("recordings of pulse and breath")
def physio(_: Random, name: str) -> Made:
    return Made(name, [(Image(1), 0)], minutes=0.1)


@kind("report")
def report(random: Random, _: str) -> Made:
    return Made("Report", [(Image(random.randrange(1, 9)), 0)], modality="SR", minutes=0.1)


@dataclass(frozen=True)
class Step:
    """A scan of a project's protocol: what it makes, how often it is scanned in a session, and how it varies."""

    made: Made
    times: int = 1
    #: Self-paced: another number of volumes in each session, in this range.
    varies: tuple[int, int] | None = None
    #: How often it is left out.
    optional: float = 0


@dataclass
class Project:
    """A project whose sessions follow each other. `changed` says what was changed on purpose for this session."""

    random: Random
    name: str
    steps: list[Step]
    earlier: list[Session] = field(default_factory=list)
    begun: datetime = BEGIN
    changed: str = ""

    def session(self) -> list[Made]:
        """Return the series of the next session, all whole: what was stopped was scanned again."""
        random, series = self.random, list[Made]()
        for step in self.steps:
            if random.random() < step.optional:
                continue
            for _ in range(step.times):
                made = step.made
                if step.varies:
                    volumes = random.randint(*step.varies)
                    made = replace(made, images=[(Image(at + 1, "one"), at) for at in range(volumes)])
                if random.random() < 0.03 and len(made.images) > 5:  # stopped, and scanned again
                    share = random.uniform(0.1, 0.9)
                    kept = made.images[: int(len(made.images) * share)]
                    series.append(replace(made, images=kept, minutes=made.minutes * share, stopped=True))
                series.append(made)
                if random.random() < 0.02:  # somebody moved: once more
                    series.append(made)
        if random.random() < 0.05:  # in another order
            series.append(series.pop(random.randrange(len(series))))
        if random.random() < 0.05:  # out for a while: the localizer again, and one more scan
            series.append(self.steps[0].made)
        if random.random() < 0.3:
            series.insert(random.randrange(len(series)), KINDS["report"](random, ""))
        return series

    def change(self) -> None:
        """Change the protocol on purpose, from the next session on."""
        at = self.random.randrange(1, len(self.steps))
        step = self.steps[at]
        self.changed = self.random.choice(("renamed", "longer", "added", "shorter", "left out"))
        if self.changed == "renamed":
            self.steps[at] = replace(step, made=replace(step.made, name=f"{step.made.name}_v2"))
        elif self.changed == "added":
            self.steps.append(Step(KINDS["mosaics (Siemens)"](self.random, f"{self.name}-new")))
        elif self.changed == "left out" and len(self.steps) > 3:
            del self.steps[at]
        else:
            self.changed = "longer"
            volumes = sum(image.frames for image, _ in step.made.images) + 20
            made = KINDS["mosaics (Siemens)"](self.random, step.made.name)
            images = [(Image(number + 1, "one"), number) for number in range(volumes)]
            shorter = self.random.random() < 0.5 and len(step.made.images) > 60
            if shorter:
                self.changed, images = "shorter", images[: len(step.made.images) * 9 // 10]
            self.steps[at] = replace(step, made=replace(made, images=images), varies=None)

    def next(self) -> Session:
        """Return the session that comes next, without its series."""
        number = len(self.earlier)
        return Session(
            booking_id=f"{self.name}-{number}", project=self.name, ae_title="PRISMA",
            start=self.begun + timedelta(days=number),
        )  # fmt: skip

    def remember(self, series: Sequence[Made]) -> None:
        """Let a session be one of the earlier ones."""
        self.earlier.insert(0, whole.remembered(self.next(), [stored(one, at) for at, one in enumerate(series)]))


def project(random: Random, name: str) -> Project:
    """Return a project with a protocol of several kinds of scans."""
    kinds = [one for one in KINDS if one not in {"report", "localizer of three orientations"}]
    steps = [Step(KINDS["localizer of three orientations"](random, "localizer"))]
    for at in range(random.randrange(4, 11)):
        one = random.choice(kinds)
        steps.append(Step(KINDS[one](random, f"{one.split()[0]}-{at}"), times=random.choice((1, 1, 1, 2, 3))))
    task = KINDS["mosaics (Siemens)"]
    if random.random() < 0.4:
        steps.append(Step(task(random, "self-paced"), varies=(350, random.choice((360, 400, 500)))))
    if random.random() < 0.2:
        steps.append(Step(task(random, "until the trigger"), varies=(300, 303)))
    if random.random() < 0.3:
        steps.append(Step(KINDS["anatomy"](random, "if there is time"), optional=random.choice((0.3, 0.5, 0.7))))
    return Project(random, name, steps)


def stored(made: Made, at: int, left: Sequence[tuple[Image, int]] | None = None) -> Series:
    """Return what is known in the end of a series of which these images came."""
    images = made.images if left is None else left
    volume, times = made.header.get("in_acquisition", 0), made.header.get("temporal_positions", 0)
    return Series(
        orthanc_id=f"{at:03}", study="study", number=at + 1, name=made.name, modality=made.modality, images=len(images),
        in_acquisition=volume, temporal_positions=times, expected=volume * times,  # as Orthanc computes it
        look=made.look if images is made.images else look([image for image, _ in images], derived=made.derived),
    )  # fmt: skip


# --- images left out ---


def one(random: Random, made: Made) -> list[tuple[Image, int]]:
    """Leave out an image."""
    gone = random.choice(made.images)
    return [image for image in made.images if image is not gone or len(made.images) == 1]


def a_slice(random: Random, made: Made) -> list[tuple[Image, int]]:
    """Leave out a place of all volumes."""
    places = sorted({image.place for image, _ in made.images})
    gone = random.choice(places)
    return [image for image in made.images if image[0].place != gone] if len(places) > 1 else list(made.images)


def a_volume(random: Random, made: Made) -> list[tuple[Image, int]]:
    """Leave out a volume."""
    volumes = sorted({volume for _, volume in made.images})
    gone = random.choice(volumes)
    return [image for image in made.images if image[1] != gone or len(volumes) == 1]


def the_end(random: Random, made: Made) -> list[tuple[Image, int]]:
    """Leave out the last images in the order in which they were made: one to half of them."""
    return list(made.images[: len(made.images) - random.randint(0, len(made.images) // 2)])


def a_series(_: Random, __: Made) -> list[tuple[Image, int]]:
    """Leave out all of it."""
    return []


DAMAGES = {"one image": one, "a slice": a_slice, "a volume": a_volume, "the end": the_end, "a series": a_series}


# --- a session, minute by minute ---


@dataclass(frozen=True)
class Arrival:
    """A series, its images that came, and when the last one did."""

    made: Made
    images: Sequence[tuple[Image, int]]
    at: datetime


def arrivals(random: Random, begin: datetime, series: Sequence[Made]) -> tuple[list[Arrival], datetime]:
    """Return when each series comes, a little after its scan, and when the session's booking ends."""
    moment, came = begin, []
    pause = random.randrange(len(series)) if random.random() < 0.05 else -1
    for at, made in enumerate(series):
        if at == pause:
            moment += random.randrange(8, 25) * MINUTE
        moment += made.minutes * MINUTE + timedelta(seconds=random.randrange(20, 90))
        came.append(Arrival(made, made.images, moment + timedelta(seconds=random.randrange(2, 40))))
    return came, moment + random.randrange(0, 20) * MINUTE


def play(
    session: Session, came: Sequence[Arrival], end: datetime, earlier: Sequence[Session]
) -> Iterator[tuple[datetime, list[Oddity]]]:
    """Yield what each run says, every minute from the first image on, until the session is over for half an hour."""
    there = sorted(((one, at) for at, one in enumerate(came) if one.images), key=lambda pair: pair[0].at)
    if not there:
        return
    series = [(one.at, stored(one.made, at, one.images)) for one, at in there]
    run = there[0][0].at.replace(second=0)
    while run <= max(series[-1][0], end) + 30 * MINUTE:
        run += MINUTE
        present = [(at, one) for at, one in series if at <= run]
        quiet = run - present[-1][0] if present else timedelta()
        over = quiet >= (whole.QUIET_AFTER if run >= end else whole.QUIET_BEFORE)
        known = [one if run - at >= STABLE_AGE else msgspec.structs.replace(one, stable=False) for at, one in present]
        yield run, whole.hints(whole.Case(session, known, earlier[: whole.LATEST], over))
