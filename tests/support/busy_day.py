"""Days of one to twelve scanners, quiet and very busy: what the page is measured with.

They are invented with a seed, so each time the same: bookings of five minutes to four hours, back to back, at the same
time, at night. By the clock of `sample_day` most that have begun are scanned; some under a wrong name, elsewhere, or
not at all.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from random import Random

import msgspec

from dicom_worklist.settings import Config, Scanner
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Overview, overview
from dicom_worklist.status.records import BookingRecord, Study
from support import sample_day
from support.sample_day import DAY, NOW, TOMORROW, YESTERDAY

TITLES = (
    "PRISMA", "PRISMAFIT", "SKYRA", "TERRA7T", "CONNECTOM", "MEG", "CIMAX", "VIDA", "LUMINA", "AERA", "SOLA", "MOCK01",
)  # fmt: skip
#: Scanners and bookings of each day that is measured.
DAYS = {"quiet-1": (1, 4), "quiet-3": (3, 10), "eight": (8, 127), "twelve": (12, 300)}
_PEOPLE = ("Lovelace^Ada", "Hopper^Grace", "Noether^Emmy", "van den Berg^Mariëtte", "Müller-Lüdenscheidt^Jürgen")
_PROJECTS = (
    "Motor learning", "Language and the brain", "Memory consolidation during sleep in healthy older adults",
    "Effects of expectation on perceived pain and its relief in health and disease", "QA",
)  # fmt: skip
#: Half past two, by the site's clock.
_NOW = datetime.combine(DAY, time(14, 20))


def config(scanners: int) -> Config:
    """Return the configuration of a site with so many scanners."""
    titles = tuple(Scanner(ae_title=title, lab=title) for title in TITLES[:scanners])
    return msgspec.structs.replace(sample_day.config(), scanners=titles)


def busy(name: str, now: datetime = NOW, subjects: str = "") -> Overview:
    """Return the overview of one of DAYS; `subjects` is what a subject is called instead, from its number."""
    scanners, bookings = DAYS[name]
    found = findings(scanners, bookings)
    if subjects:
        renamed = [
            msgspec.structs.replace(one, patient_id=called, patient_name=called)
            for one in found.bookings
            for called in [subjects.format(int(one.booking_id) % 1000000)]
        ]
        found = msgspec.structs.replace(found, bookings=tuple(renamed))
    return overview(config(scanners), msgspec.structs.replace(found, good=now, asked=now, began=now), now)


def findings(scanners: int, bookings: int) -> Findings:
    """Return what the runs of such a day found."""
    random = Random(scanners * 1000 + bookings)
    made = [
        *_day(random, DAY, TITLES[:scanners], bookings, 1),
        *_day(random, YESTERDAY, TITLES[:scanners], bookings // 3, 1000),
        *_day(random, TOMORROW, TITLES[:scanners], bookings // 2, 2000),
    ]
    studies = [study for booked in made for study in _scanned(random, booked, TITLES[:scanners])]
    if bookings > 20:
        last = made[bookings - 1]
        made[bookings - 1] = BookingRecord(
            booking_id=last.booking_id, day=DAY, ae_title=last.ae_title, start=last.start, booked_by="Hopper^Grace",
            reason="subject_session '7-x' has the session 'x': write a number from 0 to 99 after the last dash",
        )  # fmt: skip
    return Findings(bookings=tuple(made), studies=tuple(studies), good=NOW, asked=NOW, began=NOW)


def _day(random: Random, day: date, titles: tuple[str, ...], count: int, first: int) -> Iterator[BookingRecord]:
    """Return so many bookings, each scanner's in the order of their time."""
    number = first
    for at, title in enumerate(titles):
        many = count // len(titles) + (at < count % len(titles))
        minute = 7 * 60 + random.choice((0, 30, 60))
        for index in range(many):
            left = max(20 * 60 - minute, 60) / (many - index)
            length = random.choice([x for x in (5, 10, 15, 20, 30, 45, 60, 90, 120, 240) if x <= max(left * 1.6, 5)])
            if many > 8 and index == many - 1:  # at night
                minute, length = random.choice((30, 135, 21 * 60 + 30)), 90
            begin = datetime.combine(day, time()) + timedelta(minutes=minute)
            yield _booked(random, number, title, begin, begin + timedelta(minutes=length))
            number += 1
            twice = many > 8 and index % 9 == 4
            minute += 0 if twice else length + (random.choice((0, 0, 0, 15)) if left > length else 0)
            minute = min(minute, 23 * 60)


def _booked(random: Random, number: int, title: str, start: datetime, end: datetime) -> BookingRecord:
    project, by, day = random.choice(_PROJECTS), random.choice(_PEOPLE), start.date()
    booked = sample_day.booked(number, "00:00", title, day=day, title=project, by=by, on_console=day == DAY)
    return msgspec.structs.replace(booked, start=start, end=end)


def _scanned(random: Random, booked: BookingRecord, titles: tuple[str, ...]) -> Iterator[Study]:
    """Return the study of a booking that has begun, if there is one."""
    assert booked.start
    assert booked.end
    late, number = random.choice((0, 2, 5, 9)), int(booked.booking_id)
    begun = booked.start + timedelta(minutes=late)
    if begun >= _NOW:
        return
    end = min(booked.end + timedelta(minutes=random.choice((-10, -3, 0, 6, 20))), _NOW)
    end = max(end, begun + timedelta(minutes=2))
    luck = random.random() if len(titles) > 1 else 1
    if luck < 0.07:
        return  # nobody came
    patient = f"3010000.01_sub-{number}x" if luck < 0.1 else ""
    other = random.choice(titles) if 0.1 < luck < 0.12 else ""
    made = sample_day.study(number, booked, late=late, patient_id=patient, ae_title=other, stable=end < _NOW)
    here = (end - timedelta(hours=1)).replace(tzinfo=NOW.tzinfo)  # the site is an hour ahead of UTC
    yield msgspec.structs.replace(made, updated=here)
