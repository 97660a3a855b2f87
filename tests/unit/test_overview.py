"""The overview: the days, the problems, and since when the list has not been updated."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import pytest

from dicom_worklist.config import load
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Day, Level, Overview, Problem, overview, spell
from dicom_worklist.status.records import BookingRecord, Study
from support.calendar import DAY
from support.configuration import Configure

SECOND, MINUTE, ONE_DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
YESTERDAY, TOMORROW = DAY - ONE_DAY, DAY + ONE_DAY
#: 15:00 in Amsterdam.
NOW = datetime.combine(DAY, time(14), UTC)
GOOD = Findings(good=NOW, began=NOW, asked=NOW)
STATUS = {"state": "/nowhere/status.json"}
PACS = {"url": "http://127.0.0.1:8042", "user": "reader", "password_file": "/nowhere/password"}
UNRECORDED = (
    "no run has been recorded since. On the host of the worklist see whether cron runs (`systemctl status cron`), "
    "whether there is room (`df -h /nowhere`), and what the log says: docs/troubleshooting.md"
)
MISSING = "no images, long after its time."
NEVER = "There is no list yet: "
#: The default of status.frozen_after.
FROZEN_AFTER = timedelta(minutes=5)


class Site:
    """A site with a PACS, and its overview."""

    def __init__(self, configure: Configure) -> None:
        self._configure = configure

    def seen(self, now: datetime = NOW, settings: Mapping[str, object] | None = None, **found: Any) -> Overview:
        """Return the overview after a good run, but for what is given."""
        config = load(self._configure({"status": {**STATUS}, "pacs": PACS, **(settings or {})}))
        return overview(config, msgspec.structs.replace(GOOD, **found), now)

    def problems(self, **found: Any) -> list[tuple[Level, str, str]]:
        return [(problem.level, problem.text, problem.booking_id) for problem in self.seen(**found).problems]


@pytest.fixture
def site(configure: Configure) -> Site:
    return Site(configure)


def booked(number: int, hour: int = 9, day: date = DAY, **changes: Any) -> BookingRecord:
    values: dict[str, Any] = {
        "booking_id": f"{number}",
        "day": day,
        "ae_title": "PRISMA",
        "start": datetime.combine(day, time(hour)),
        "patient_id": f"sub-{number:03}",
        "study_instance_uid": f"2.25.{number}",
    }
    return BookingRecord(**values | changes)


def rejected(number: int, day: date = DAY, ae_title: str = "PRISMA") -> BookingRecord:
    return BookingRecord(booking_id=f"{number}", day=day, ae_title=ae_title, reason="it has no session")


def study(number: int, hour: int = 9, day: date = DAY, **changes: Any) -> Study:
    values: dict[str, Any] = {
        "orthanc_id": f"{number}",
        "study_instance_uid": f"2.25.{number}",
        "patient_id": f"sub-{number:03}",
        "ae_titles": ("PRISMA",),
        "start": datetime.combine(day, time(hour, 5)),
    }
    return Study(**values | changes)


def ids(day: Day) -> list[str]:
    return [line.booked.booking_id for line in day.lines]


# --- days ---


def test_each_day_has_its_bookings_and_its_studies(site: Site) -> None:
    days = (YESTERDAY, DAY, TOMORROW)
    seen = site.seen(
        bookings=tuple(booked(number, day=day) for number, day in enumerate((YESTERDAY - ONE_DAY, *days))),
        studies=tuple(study(10 + number, day=day) for number, day in enumerate((YESTERDAY - ONE_DAY, *days))),
    )
    for number, (day, of_day) in enumerate(zip((seen.yesterday, seen.today, seen.tomorrow), days, strict=True), 1):
        assert (day.day, ids(day)) == (of_day, [f"{number}"])
        assert [one.study.orthanc_id for one in day.unscheduled] == [f"{10 + number}"]


@pytest.mark.parametrize(
    ("now", "today"),
    [
        (datetime.combine(DAY, time(22, 59, 59), UTC), DAY),
        (datetime.combine(DAY, time(23), UTC), TOMORROW),
        (datetime.fromisoformat(f"{DAY}T23:59:59+01:00"), DAY),
        (datetime.fromisoformat(f"{TOMORROW}T08:00:00+14:00"), DAY),
    ],
)
def test_today_is_the_sites(now: datetime, today: date, site: Site) -> None:
    seen = site.seen(now)
    assert (seen.yesterday.day, seen.today.day, seen.tomorrow.day) == (today - ONE_DAY, today, today + ONE_DAY)
    assert (seen.now, str(seen.now.tzinfo)) == (now, "Europe/Amsterdam")


def test_over_midnight_tomorrow_becomes_today_though_no_run_has_succeeded_since(site: Site) -> None:
    bookings = (booked(1, 20), booked(2, 20, TOMORROW), rejected(3, TOMORROW))
    [warning] = site.seen(bookings=bookings).problems
    assert (warning.level, warning.booking_id) == (Level.WARNING, "3")
    night = datetime.combine(TOMORROW, time(1), UTC)
    seen = site.seen(night, bookings=bookings)
    assert (ids(seen.yesterday), ids(seen.today), ids(seen.tomorrow)) == (["1"], ["3", "2"], [])
    assert [problem.booking_id for problem in seen.problems] == ["", "", "3"]
    assert seen.problems[1].text == "None of today's 1 bookings that wait is on a console."
    assert seen.frozen == timedelta(hours=11)
    shown = msgspec.structs.replace(bookings[1], on_console=True)
    assert len(site.seen(night, bookings=(shown, rejected(3, TOMORROW))).problems) == 2


def test_the_lanes_are_the_configured_scanners_then_strays(site: Site) -> None:
    seen = site.seen(bookings=(booked(1, ae_title="OLD"), rejected(2, ae_title=""), booked(3, ae_title="SKYRA")))
    assert [(lane.ae_title, [line.booked.booking_id for line in lane.lines]) for lane in seen.today.lanes] == [
        ("PRISMA", []),
        ("PRISMAFIT", []),
        ("SKYRA", ["3"]),
        ("", ["2"]),
        ("OLD", ["1"]),
    ]
    assert [lane.ae_title for lane in seen.tomorrow.lanes] == ["PRISMA", "PRISMAFIT", "SKYRA"]


def test_the_counts_have_every_state_in_order(site: Site) -> None:
    bookings = (booked(1), booked(2, 10), booked(3, 11), booked(4, 18), booked(5, 19), rejected(6))
    seen = site.seen(bookings=bookings, studies=(study(1), study(2, stable=False)))
    assert list(seen.today.counts.items()) == [
        (State.SCHEDULED, 2),
        (State.IN_PROGRESS, 1),
        (State.ARRIVED, 1),
        (State.ODD, 0),
        (State.MISSING, 1),
        (State.OVER, 0),
        (State.REJECTED, 1),
        (State.CANCELLED, 0),
    ]
    assert list(seen.tomorrow.counts.items()) == [(state, 0) for state in State]


@pytest.mark.parametrize(
    ("settings", "asked", "state"),
    [
        ({}, time(11), State.SCHEDULED),
        ({}, time(11, 0, 1), State.MISSING),
        ({"status.session": 90}, time(11, 30), State.SCHEDULED),
        ({"status.session": 90}, time(11, 30, 1), State.MISSING),
        ({"status.missing_after": 0}, time(10), State.SCHEDULED),
        ({"status.missing_after": 0}, time(10, 0, 1), State.MISSING),
    ],
)
def test_what_is_missing_was_missing_when_the_pacs_was_asked(
    settings: Mapping[str, object], asked: time, state: State, site: Site
) -> None:
    """Nine in Amsterdam is eight in UTC."""
    at = datetime.combine(DAY, asked, UTC) - timedelta(hours=1)
    seen = site.seen(settings=settings, bookings=(booked(1),), asked=at)
    assert [line.state for line in seen.today.lines] == [state]
    assert seen.asked == at


def test_nothing_is_missing_before_the_pacs_has_answered(site: Site) -> None:
    seen = site.seen(bookings=(booked(1, day=YESTERDAY), booked(2)), asked=None)
    assert {line.state for day in (seen.yesterday, seen.today) for line in day.lines} == {State.OVER}
    assert seen.asked is None


def test_a_site_says_whether_it_has_a_pacs(site: Site, configure: Configure) -> None:
    assert site.seen().pacs
    assert not overview(load(configure({"status": STATUS})), GOOD, NOW).pacs


def test_without_the_section_status_there_is_nothing_to_see(configure: Configure) -> None:
    seen = overview(load(configure()), msgspec.structs.replace(GOOD, bookings=(booked(1),)), NOW)
    assert not [*seen.yesterday.lines, *seen.today.lines, *seen.tomorrow.lines]


# --- a list that has not been updated ---


@pytest.mark.parametrize(
    ("found", "frozen", "text"),
    [
        ({}, None, ""),
        ({"good": NOW - FROZEN_AFTER}, None, ""),
        (
            {"good": NOW - FROZEN_AFTER - SECOND},
            FROZEN_AFTER + SECOND,
            f"The list has not been updated since {DAY} 14:54, for 5 minutes: {UNRECORDED}",
        ),
        (
            {"good": NOW - MINUTE, "failure": "the calendar is down"},
            MINUTE,
            f"The list has not been updated since {DAY} 14:59, for 1 minute: the calendar is down",
        ),
        (
            {"good": NOW - 125 * MINUTE, "failure": "the calendar is down"},
            125 * MINUTE,
            f"The list has not been updated since {DAY} 12:55, for 2 hours 5 minutes: the calendar is down",
        ),
        ({"good": None, "began": None}, timedelta(), f"{NEVER}{UNRECORDED.replace('since', 'yet')}"),
        (
            {"good": None, "began": NOW - MINUTE, "failure": "the calendar is down"},
            MINUTE,
            f"{NEVER}the calendar is down",
        ),
        ({"good": NOW + MINUTE}, None, ""),  # the clock was set back
    ],
)
def test_the_list_is_outdated_without_a_good_run(
    found: dict[str, Any], frozen: timedelta | None, text: str, site: Site
) -> None:
    seen = site.seen(**found)
    assert seen.frozen == frozen
    bad = Level.CRITICAL if frozen is not None and (seen.good is None or frozen > FROZEN_AFTER) else Level.WARNING
    assert list(seen.problems) == ([] if frozen is None else [Problem(bad, text, kind="outdated")])
    assert seen.failure == found.get("failure", "")


def test_a_site_decides_when_its_list_counts_as_outdated(site: Site) -> None:
    settings = {"status": {**STATUS, "frozen_after": 20}}
    assert site.seen(settings=settings, good=NOW - 20 * MINUTE).frozen is None
    assert site.seen(settings=settings, good=NOW - 19 * MINUTE, failure="down").level is Level.WARNING
    assert site.seen(settings=settings, good=NOW - 21 * MINUTE, failure="down").level is Level.CRITICAL


def test_a_clock_that_was_set_back_makes_no_negative_time(site: Site) -> None:
    [problem] = site.seen(good=NOW + 10 * MINUTE, failure="the calendar is down").problems
    assert "for less than a minute: the calendar" in problem.text


@pytest.mark.parametrize(
    "changed", ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"], ids=["spring", "autumn"]
)
def test_a_change_of_the_clock_neither_makes_the_list_outdated_nor_hides_that_it_is(changed: str, site: Site) -> None:
    now = datetime.fromisoformat(changed) + MINUTE
    assert site.seen(now, good=now - 2 * MINUTE).frozen is None
    assert site.seen(now, good=now - 10 * MINUTE).frozen == 10 * MINUTE


# --- problems ---


def test_a_day_without_anything_wrong_has_no_problem(site: Site) -> None:
    seen = site.seen(
        bookings=(booked(1), booked(2, 18), booked(3, 9, TOMORROW)),
        studies=(study(1), study(4)),  # nobody's, and nothing says whose it may be
    )
    assert list(seen.problems) == []
    assert seen.level is Level.OK
    assert [one.study.orthanc_id for one in seen.today.unscheduled] == ["4"]


def test_a_rejected_booking_is_a_problem_on_its_day_and_the_day_before(site: Site) -> None:
    bookings = (rejected(1, YESTERDAY), rejected(2), rejected(3, TOMORROW), rejected(4, ae_title=""))
    assert site.problems(bookings=bookings) == [
        (Level.CRITICAL, f"Booking 2, PRISMA {DAY}, is not on the console: it has no session.", "2"),
        (Level.CRITICAL, f"Booking 4, no scanner {DAY}, is not on the console: it has no session.", "4"),
        (Level.WARNING, f"Booking 3, PRISMA {TOMORROW}, will not be on the console: it has no session.", "3"),
    ]


def test_missing_images_of_today_and_yesterday_are_a_problem(site: Site) -> None:
    bookings = (booked(1, day=YESTERDAY), booked(2), booked(3, 15), booked(4, day=TOMORROW))
    assert site.problems(bookings=bookings) == [
        (Level.WARNING, f"Booking 2, PRISMA {DAY} 09:00: {MISSING}", "2"),
        (Level.WARNING, f"Booking 1, PRISMA {YESTERDAY} 09:00: {MISSING}", "1"),
    ]


def test_each_oddity_is_a_problem(site: Site) -> None:
    odd = (study(1, patient_id="edited", ae_titles=("SKYRA",)), study(2, day=YESTERDAY, patient_id="too"))
    named, yesterday = f"Booking 1, PRISMA {DAY} 09:00", f"Booking 2, PRISMA {YESTERDAY} 09:00"
    assert site.problems(bookings=(booked(1), booked(2, day=YESTERDAY)), studies=odd) == [
        (Level.WARNING, f'{named}: The PatientID was edited: "edited"; the booking says "sub-001".', "1"),
        (Level.WARNING, f'{yesterday}: The PatientID was edited: "too"; the booking says "sub-002".', "2"),
        (Level.WARNING, f"{named}: It was scanned on SKYRA; the booking says PRISMA.", "1"),
    ]


@pytest.mark.parametrize("day", [YESTERDAY, DAY])
def test_a_study_that_may_belong_to_a_booking_is_a_problem(day: date, site: Site) -> None:
    problems = site.problems(bookings=(booked(1, 18),), studies=(study(9, day=day, patient_id="sub-001"),))
    hint = f"Its PatientID is that of booking 1 (PRISMA {DAY} 18:00)."
    assert problems == [(Level.WARNING, f'The study of PatientID "sub-001" belongs to no booking. {hint}', "")]


def test_a_pacs_that_does_not_answer_is_a_problem_and_the_known_studies_stay(site: Site) -> None:
    found: dict[str, Any] = {"bookings": (booked(1),), "studies": (study(1),), "pacs_failure": "Orthanc is down."}
    assert site.problems(**found) == [(Level.WARNING, "What arrived is not known: Orthanc is down.", "")]
    assert site.seen(**found).today.counts[State.ARRIVED] == 1


def test_each_further_failure_of_a_run_is_a_problem(site: Site) -> None:
    assert site.problems(failures=("no page", "no metrics")) == [
        (Level.WARNING, "no page", ""),
        (Level.WARNING, "no metrics", ""),
    ]


def test_the_worst_come_first_and_are_the_level(site: Site) -> None:
    warned: dict[str, Any] = {"bookings": (booked(1),), "pacs_failure": "down", "failures": ("no page",)}
    assert site.seen(**warned).level is Level.WARNING
    seen = site.seen(
        **warned | {"bookings": (booked(1), rejected(2)), "failure": "no calendar", "good": NOW - 10 * MINUTE}
    )
    assert [problem.level for problem in seen.problems] == [Level.CRITICAL] * 2 + [Level.WARNING] * 3
    assert seen.level is Level.CRITICAL
    assert seen.problems[0].text.startswith("The list has not been updated since")


@pytest.mark.parametrize(
    ("bookings", "until"),
    [
        ([], None),
        ([(9, 14)], None),  # over
        ([(9, 15)], None),  # at this very moment
        ([(14, 16)], "2026-11-24T16:00"),
        ([(14, 16), (16, 17)], "2026-11-24T17:00"),  # no pause between them
        ([(14, 16), (17, 18)], "2026-11-24T16:00"),
        ([(16, 17)], None),  # not yet
        ([(14, 16), (13, 18)], "2026-11-24T18:00"),  # two scanners
    ],
)
def test_it_says_until_when_a_scanner_is_booked(bookings: list[tuple[int, int]], until: str | None, site: Site) -> None:
    """It is 15:00."""
    lines = [
        booked(number, begin, end=datetime.combine(DAY, time(end))) for number, (begin, end) in enumerate(bookings)
    ]
    assert site.seen(bookings=lines).as_dict()["booked_until"] == until


def test_a_booking_that_begins_in_ten_minutes_or_lasts_from_yesterday_counts(site: Site) -> None:
    night = booked(1, 20, YESTERDAY, end=datetime.combine(DAY, time(15, 5)))
    soon = booked(2, start=datetime.combine(DAY, time(15, 10)), end=datetime.combine(DAY, time(15, 40)))
    assert site.seen(bookings=[night]).as_dict()["booked_until"] == f"{DAY}T15:05"
    assert site.seen(bookings=[soon]).as_dict()["booked_until"] == f"{DAY}T15:40"
    assert site.seen(NOW - MINUTE, bookings=[soon]).as_dict()["booked_until"] is None


def test_a_session_without_an_end_counts_for_its_usual_length(site: Site) -> None:
    assert site.seen(bookings=[booked(1, 14), booked(2, 15)]).as_dict()["booked_until"] == f"{DAY}T16:00"
    assert site.seen(NOW + timedelta(hours=2), bookings=[booked(1, 14)]).as_dict()["booked_until"] is None


def test_the_levels_are_the_exit_statuses_of_nagios() -> None:
    assert [(level.name, int(level)) for level in Level] == [("OK", 0), ("WARNING", 1), ("CRITICAL", 2)]


# --- spell ---


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3600, "less than a minute"),
        (0, "less than a minute"),
        (59.9, "less than a minute"),
        (60, "1 minute"),
        (179, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (7500, "2 hours 5 minutes"),
        (86399, "23 hours 59 minutes"),
        (86400, "1 day"),
        (90060, "1 day 1 hour"),
        (2 * 86400 + 3 * 3600 + 240, "2 days 3 hours"),
        (400 * 86400, "400 days"),
    ],
)
def test_a_span_is_written_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert spell(timedelta(seconds=seconds)) == said


def test_bookings_without_a_lab_are_told_apart_from_labs_without_a_scanner(site: Site) -> None:
    none, other = [problem for problem in site.seen(labs={"": 1, "EEG": 2}).problems if problem.kind == "labs"]
    assert none.said == (
        "1 booking has no lab. Write the scanner's name there (of an event: its location); `dicom-worklist preview` "
        "lists it."
    )
    assert other.text == "No scanner has the labs 'EEG' (2)."
    [one] = [problem for problem in site.seen(labs={"": 2}).problems if problem.kind == "labs"]
    assert one.text == "2 bookings have no lab."
