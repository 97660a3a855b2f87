"""The time line: where each booking is on it, and what was scanned."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dicom_worklist.status import time_line
from dicom_worklist.status.booking_status import BookingStatus, State, Unscheduled
from dicom_worklist.status.overview import Day, Lane
from dicom_worklist.status.records import Study
from dicom_worklist.status.time_line import Part
from support import busy_day, sample_day
from support.sample_day import DAY, NOW, TOMORROW, YESTERDAY

HERE = NOW.astimezone(ZoneInfo("Europe/Amsterdam"))


def at(clock: str) -> datetime:
    return datetime.combine(DAY, time.fromisoformat(clock))


def day(*times: tuple[str, str | None], studies: Sequence[Study] = ()) -> Day:
    """Return a day with bookings at these times: beginning, end."""
    lines = [
        BookingStatus(
            msgspec.structs.replace(sample_day.booked(number, begin), end=at(end) if end else None),
            State.SCHEDULED,
            tuple(studies) if number == 0 else (),
            end=at(end) if end else None,
        )
        for number, (begin, end) in enumerate(times)
    ]
    return Day(DAY, [Lane("PRISMA", lines)], [])


def drawn(shown: Day, now: datetime = HERE) -> Part:
    (part,) = time_line.parts(shown, now)
    return part


def hours(shown: Day, now: datetime = HERE) -> list[tuple[int, int]]:
    return [(part.first, part.last) for part in time_line.parts(shown, now)]


def test_it_is_that_of_the_hours_that_are_booked() -> None:
    part = drawn(day(("08:30", "09:30"), ("17:00", "17:45")))
    assert (part.first, part.last) == (8, 18)
    first, second = part.tracks[0].blocks
    assert (first.left, first.width, second.left, second.width) == (5, 10, 90, 7.5)
    assert [part.left(hour) for hour in (8, 13)] == [0, 50]


def test_a_day_without_a_booking_has_none() -> None:
    assert time_line.parts(day(), HERE) == []


def test_a_lonely_booking_does_not_fill_it() -> None:
    for clock in ("00:00", "09:00", "23:59"):
        (block,) = drawn(day((clock, None))).tracks[0].blocks
        assert block.left >= 0
        assert block.left + block.width <= 100
        assert block.width < 26


@pytest.mark.parametrize("minutes", [5, 10, 45, 240])
def test_a_block_is_as_long_as_its_booking(minutes: int) -> None:
    end = at("08:00") + timedelta(minutes=minutes)
    part = drawn(day(("08:00", f"{end:%H:%M}"), ("17:00", "18:00")))
    assert part.tracks[0].blocks[0].width == pytest.approx(minutes / 6, abs=0.001)


def test_a_block_says_whether_the_calendar_gives_its_end() -> None:
    assert [block.certain for block in drawn(day(("09:00", "10:00"), ("11:00", None))).tracks[0].blocks] == [
        True,
        False,
    ]


def test_bookings_at_the_same_time_are_one_below_the_other() -> None:
    (track,) = drawn(day(("09:00", "10:00"), ("09:00", "09:05"), ("09:20", None), ("10:00", None))).tracks
    assert [block.row for block in track.blocks] == [0, 1, 1, 0]
    assert track.rows == 2


def test_a_booking_ends_with_its_day() -> None:
    late = BookingStatus(sample_day.booked(1, "23:30"), State.SCHEDULED, end=datetime.combine(TOMORROW, time(1)))
    part = drawn(Day(DAY, [Lane("PRISMA", [late])], []))
    (block,) = part.tracks[0].blocks
    assert part.last == 24
    assert block.left + block.width == 100


def test_a_booking_since_yesterday_begins_with_the_day() -> None:
    night = BookingStatus(sample_day.booked(1, "22:00", day=YESTERDAY), State.SCHEDULED, end=at("02:00"))
    (block,) = drawn(Day(DAY, [Lane("PRISMA", [night])], [])).tracks[0].blocks
    assert block.left == 0


def test_the_night_is_a_part_of_its_own_after_the_working_hours() -> None:
    shown = day(("01:00", "02:30"), ("09:00", "10:00"), ("17:00", "18:00"), ("21:30", "23:00"))
    assert hours(shown) == [(9, 18), (1, 9), (18, 24)]
    tracks = [track for part in time_line.parts(shown, HERE) for track in part.tracks]
    assert [[block.left for block in track.blocks] for track in tracks] == [[0, 88.889], [0], [58.333]]


@pytest.mark.parametrize(("clock", "first"), [("01:10", 1), ("09:00", 9), ("17:59", 9), ("18:00", 18), ("00:30", 9)])
def test_the_part_of_the_present_time_comes_first(clock: str, first: int) -> None:
    shown = day(("01:00", "02:30"), ("09:00", "10:00"), ("17:00", "18:00"), ("21:30", "23:00"))
    parts = time_line.parts(shown, at(clock).replace(tzinfo=HERE.tzinfo))
    assert parts[0].first == first
    assert [part.now is not None for part in parts[1:]] == [False, False]


def test_a_scanner_without_a_booking_is_shown_at_work_and_not_at_night() -> None:
    of_day = day(("09:00", "10:00"), ("21:30", "23:00"))
    shown = Day(DAY, [*of_day.lanes, Lane("SKYRA", []), Lane("", [])], [])
    names = [[track.ae_title for track in part.tracks] for part in time_line.parts(shown, HERE)]
    assert names == [["PRISMA", "SKYRA"], ["PRISMA"]]


def test_what_begins_in_the_evening_and_goes_on_belongs_to_the_working_hours() -> None:
    assert hours(day(("09:00", "10:00"), ("19:30", "21:30"), ("21:00", "22:15"))) == [(9, 23)]


@pytest.mark.parametrize("name", busy_day.DAYS)
def test_every_booking_with_a_time_is_on_it_once_and_within_it(name: str) -> None:
    seen = busy_day.busy(name)
    for of_day in (seen.yesterday, seen.today, seen.tomorrow):
        blocks = [
            block for part in time_line.parts(of_day, seen.now) for track in part.tracks for block in track.blocks
        ]
        assert sorted(id(block.line) for block in blocks) == sorted(id(one) for one in of_day.lines if one.booked.start)
        assert all(block.left >= 0 and block.left + block.width <= 100.001 for block in blocks)


def test_now_is_marked_where_it_is() -> None:
    shown = day(("08:00", "09:00"), ("17:00", "18:00"))
    for clock, left in (("08:00", 0), ("13:00", 50), ("07:59", None), ("18:00", None)):
        assert drawn(shown, datetime.combine(DAY, time.fromisoformat(clock), HERE.tzinfo)).now == left
    assert drawn(shown, HERE + timedelta(days=1)).now is None


def test_no_hour_is_named_beside_the_present_time() -> None:
    shown = day(("08:00", "09:00"), ("17:00", "18:00"))
    assert 13 not in drawn(shown, at("13:10").replace(tzinfo=HERE.tzinfo)).hours
    assert 13 in drawn(shown, at("15:10").replace(tzinfo=HERE.tzinfo)).hours


# --- what was scanned ---


def scan(begin: str | None, last: str | None, **changes: object) -> Study:
    """Return a study of the first booking of `day`; its last image came at `last`, by the site's clock."""
    came = at(last).replace(tzinfo=HERE.tzinfo) if last else None
    made = Study(orthanc_id="1", ae_titles=("PRISMA",), start=at(begin) if begin else None, updated=came)
    return msgspec.structs.replace(made, **changes)


def scans(study: Study) -> list[tuple[float, float]]:
    shown = day(("08:00", "09:00"), ("17:00", "18:00"), studies=[study])
    return [(one.left, round(one.width, 1)) for one in drawn(shown).tracks[0].scans]


def test_a_scan_lasts_from_the_time_of_the_study_to_its_last_image() -> None:
    assert scans(scan("08:30", "10:00")) == [(5, 15)]


@pytest.mark.parametrize(
    "study",
    [
        pytest.param(scan("08:30", None), id="nothing came yet"),
        pytest.param(scan("08:30", "08:10"), id="a wrong clock"),
        pytest.param(scan("08:30", "17:50"), id="sent in the evening"),
    ],
)
def test_of_a_scan_without_a_known_end_only_its_beginning_is_drawn(study: Study) -> None:
    assert scans(study) == [(5, 0.8)]


@pytest.mark.parametrize("study", [scan(None, "08:30"), scan("08:30", "09:00", timed=False)])
def test_a_study_without_a_time_is_not_drawn(study: Study) -> None:
    assert scans(study) == []


def test_a_scan_is_drawn_at_the_scanner_that_made_it() -> None:
    line = BookingStatus(sample_day.booked(1, "09:00"), State.ODD, (scan("09:00", "10:00", ae_titles=("SKYRA",)),))
    own, other = drawn(Day(DAY, [Lane("PRISMA", [line]), Lane("SKYRA", [])], [])).tracks
    assert [len(track.scans) for track in (own, other)] == [0, 1]


def test_a_scan_without_a_booking_is_told_apart() -> None:
    stray = Unscheduled(scan("11:00", "11:30"), day=DAY)
    (track,) = drawn(Day(DAY, [Lane("PRISMA", day(("09:00", "10:00")).lines)], [stray])).tracks
    assert [one.booked for one in track.scans] == [False]


# --- what a block says ---


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("3010000.01_sub-007_ses-01", ("sub-", "007", ["ses-01", "3010000.01"])),
        ("sub-HC12_ses-02", ("sub-", "HC12", ["ses-02"])),
        ("HC_0012", ("", "HC_0012", [])),
        ("1_sub-", ("", "1_sub-", [])),
    ],
)
def test_a_name_is_read_for_its_subject(name: str, said: tuple[str, str, list[str]]) -> None:
    prefix, subject, rest = time_line.label(msgspec.structs.replace(sample_day.booked(1, "09:00"), patient_name=name))
    assert (prefix, subject, [*rest]) == said


def test_a_booking_without_a_name_is_called_by_its_id() -> None:
    nameless = msgspec.structs.replace(sample_day.booked(1, "09:00"), patient_name="", patient_id="")
    assert time_line.label(nameless)[1] == "41001"


# --- now ---


def test_what_a_scanner_has_now_and_next() -> None:
    (one,) = time_line.current(day(("09:00", "10:00"), ("10:00", "11:00"), ("12:00", "13:00")), (), at("10:00"))
    assert [line.booked.start for line in one.lines] == [at("10:00")]
    assert one.following
    assert one.following.booked.start == at("12:00")
    (free,) = time_line.current(day(("09:00", "10:00")), (), at("10:00"))
    assert (free.lines, free.unbooked, free.following) == ([], False, None)


def test_a_booking_across_midnight_is_still_on() -> None:
    late = BookingStatus(sample_day.booked(1, "23:30", day=YESTERDAY), State.SCHEDULED, end=at("02:30"))
    yesterday = Day(YESTERDAY, [Lane("PRISMA", [late])], [])
    for clock, there in (("02:00", [late]), ("02:30", [])):
        (one,) = time_line.current(day(), (yesterday,), at(clock))
        assert one.lines == there


@pytest.mark.parametrize(("stable", "ae_title"), [(False, "PRISMA"), (True, "PRISMA"), (False, "SKYRA")])
def test_who_overruns_or_came_at_another_time_is_there_while_images_come(stable: bool, ae_title: str) -> None:
    study = Study(orthanc_id="1", stable=stable, ae_titles=(ae_title,))
    (one,) = time_line.current(day(("09:00", "10:00"), studies=[study]), (), at("10:05"))
    assert bool(one.lines) == (not stable and ae_title == "PRISMA")
    assert not one.unbooked


@pytest.mark.parametrize("stable", [False, True])
def test_a_scan_without_a_booking_is_there_while_its_images_come(stable: bool) -> None:
    study = Study(orthanc_id="1", stable=stable, ae_titles=("PRISMA",))
    (one,) = time_line.current(Day(DAY, [Lane("PRISMA", [])], [Unscheduled(study)]), (), at("10:05"))
    assert one.unbooked == (not stable)
