"""Series in an iCalendar text: which instances there are, what they are called, and what became of them."""

import os
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from support.calendar import DAY
from support.ical import AMSTERDAM, DAILY, NINE, ZONE, at, calendar, event, ical_source, ids, only, read, starts
from support.invented_series import Inventor, within

ID = "a/20261124T080000Z"


def change(*lines: str, of: str = "RECURRENCE-ID:20261124T080000Z") -> str:
    return event(of, *lines)


def test_an_instance_of_a_series_is_named_by_its_original_time_in_utc(tmp_path: Path) -> None:
    rows = read(tmp_path, event(*DAILY), days=(date(2026, 11, 23), date(2026, 11, 25)))
    assert ids(rows) == [f"a/202611{day}T080000Z" for day in (23, 24, 25)]
    assert [row["recurrence_id"] for row in rows] == [f"202611{day}T080000Z" for day in (23, 24, 25)]
    floating = read(tmp_path, event("DTSTART:20261120T090000", *DAILY[1:]))
    assert ids(floating) == ["a/20261124T090000"]


@pytest.mark.parametrize(
    "of",
    [
        "RECURRENCE-ID:20261124T080000Z",
        "RECURRENCE-ID;TZID=Europe/Amsterdam:20261124T090000",
        "RECURRENCE-ID;TZID=America/New_York:20261124T030000",
        "RECURRENCE-ID;TZID=W. Europe Standard Time:20261124T090000",
        "RECURRENCE-ID;VALUE=DATE:20261124",
        "RECURRENCE-ID:20261124T090000",
    ],
)
def test_a_moved_instance_keeps_its_id_wherever_it_goes(of: str, tmp_path: Path) -> None:
    for moved, day in (
        ("20261124T130000Z", DAY),
        ("20261126T130000Z", date(2026, 11, 26)),
        ("20270226T130000Z", date(2027, 2, 26)),
    ):
        series = (event(*DAILY), change(f"DTSTART:{moved}", "LOCATION:SKYRA", of=of))
        rows = [row for row in read(tmp_path, *series, days=(day, day)) if row["booking_id"] == ID]
        assert starts(rows) == [at(14, day=day)]
        assert only(rows)["lab"] == "SKYRA"
        rows = read(tmp_path, *series, days=(date(2026, 11, 20), date(2026, 11, 29)))
        assert len(rows) == 10 - (day > date(2026, 11, 29))
        assert ids(rows).count(ID) == (day <= date(2026, 11, 29))


def test_an_instance_moved_into_the_window_from_far_away_is_there(tmp_path: Path) -> None:
    series = event(NINE.replace("20261124", "20280103"), "RRULE:FREQ=WEEKLY;COUNT=3")
    row = only(read(tmp_path, series, change(NINE, of="RECURRENCE-ID:20280110T080000Z")))
    assert row["booking_id"] == "a/20280110T080000Z"


def test_a_cancelled_instance_comes_as_cancelled_even_if_it_says_little(tmp_path: Path) -> None:
    for lines in (["STATUS:CANCELLED"], ["STATUS:CANCELLED", NINE], ["STATUS:CANCELLED", NINE, "LOCATION:PRISMA"]):
        row = only(read(tmp_path, event(*DAILY), change(*lines)))
        assert (row["booking_id"], row["status"], row["lab"], starts([row])) == (ID, "CANCELLED", "PRISMA", [at(9)])


def test_an_instance_that_is_left_out_is_not_there(tmp_path: Path) -> None:
    for typed in (
        "EXDATE:20261124T080000Z", "EXDATE;TZID=Europe/Amsterdam:20261124T090000", "EXDATE;VALUE=DATE:20261124",
        "EXDATE;TZID=America/New_York:20261123T030000,20261124T030000", "EXDATE:20261124T090000",
    ):  # fmt: skip
        assert read(tmp_path, event(*DAILY, typed)) == []
        assert len(read(tmp_path, event(*DAILY, typed), days=(date(2026, 11, 26), date(2026, 11, 27)))) == 2
    assert read(tmp_path, event(NINE.replace("24T", "23T"), "RRULE:FREQ=WEEKLY")) == []


def test_only_the_instance_that_is_named_is_left_out_or_moved_not_the_one_an_hour_later(tmp_path: Path) -> None:
    hourly = (NINE, "RRULE:FREQ=DAILY;BYHOUR=8,9,10,11;BYMINUTE=0;COUNT=8")
    assert starts(read(tmp_path, event(*hourly, "EXDATE;TZID=Europe/Amsterdam:20261124T100000"))) == [at(9), at(11)]
    moved = change("DTSTART:20261124T170000Z", of="RECURRENCE-ID;TZID=Europe/Amsterdam:20261124T100000")
    assert sorted(map(str, starts(read(tmp_path, event(*hourly), moved)))) == [str(at(hour)) for hour in (9, 11, 18)]


def test_a_whole_series_that_is_cancelled_cancels_older_changes_and_no_newer_ones(tmp_path: Path) -> None:
    series = event(*DAILY, "STATUS:CANCELLED", "SEQUENCE:2")
    older, newer = (change(NINE.replace("T09", "T11"), f"SEQUENCE:{number}") for number in (1, 3))
    assert [row["status"] for row in read(tmp_path, series, older)] == ["CANCELLED"]
    assert [row["status"] for row in read(tmp_path, series, newer)] == ["CONFIRMED"]


def test_dates_of_their_own_belong_to_a_series(tmp_path: Path) -> None:
    lines = (NINE.replace("24T", "02T"), "DURATION:PT1H", "RDATE;TZID=Europe/Amsterdam:20261109T090000,20261124T140000")
    period = "RDATE;VALUE=PERIOD:20261124T160000Z/20261124T183000Z,20261124T190000Z/PT30M"
    rows = read(tmp_path, event(*lines, period))
    assert starts(rows) == [at(14), at(17), at(20)]
    assert [row["end"].astimezone(AMSTERDAM).strftime("%H:%M") for row in rows] == ["15:00", "19:30", "20:30"]
    assert ids(rows) == [f"a/20261124T{hour}0000Z" for hour in (13, 16, 19)]
    first = read(tmp_path, event(*lines), days=(date(2026, 11, 2), date(2026, 11, 2)))
    assert ids(first) == ["a/20261102T080000Z"]


def test_this_and_all_following_may_be_changed(tmp_path: Path) -> None:
    following = "RECURRENCE-ID;RANGE=THISANDFUTURE:20261122T080000Z"
    moved = change(NINE.replace("24T09", "22T11"), "DURATION:PT2H", "LOCATION:SKYRA", of=following)
    days = (date(2026, 11, 21), date(2026, 11, 23))
    rows = sorted(read(tmp_path, event(*DAILY), moved, days=days), key=lambda row: str(row["booking_id"]))
    assert ids(rows) == [f"a/202611{day}T080000Z" for day in (21, 22, 23)]
    assert starts(rows) == [
        at(9, day=date(2026, 11, 21)),
        at(11, day=date(2026, 11, 22)),
        at(11, day=date(2026, 11, 23)),
    ]
    assert [row["lab"] for row in rows] == ["PRISMA", "SKYRA", "SKYRA"]
    assert rows[2]["end"] - rows[2]["start"] == timedelta(hours=2)
    own = change(NINE.replace("T09", "T15"))
    assert starts(read(tmp_path, event(*DAILY), moved, own)) == [at(15)]


def test_this_and_all_following_may_be_a_week_later_or_cancelled(tmp_path: Path) -> None:
    weekly = event(NINE.replace("24T", "03T"), "RRULE:FREQ=WEEKLY;UNTIL=20261117T235959Z")
    following = "RECURRENCE-ID;RANGE=THISANDFUTURE:20261110T080000Z"
    row = only(read(tmp_path, weekly, change("DTSTART:20261117T080000Z", of=following)))
    assert row["booking_id"] == "a/20261117T080000Z"
    endless = event(NINE.replace("24T", "03T"), "RRULE:FREQ=WEEKLY")
    assert only(read(tmp_path, endless, change("STATUS:CANCELLED", of=following)))["status"] == "CANCELLED"


def test_this_and_all_following_may_be_a_series_of_their_own(tmp_path: Path) -> None:
    old = event(*DAILY[:2], "RRULE:FREQ=DAILY;UNTIL=20261123T225959Z")
    new = event(NINE.replace("T09", "T11"), "RRULE:FREQ=DAILY;COUNT=5", uid="a_R20261124T080000")
    days = (date(2026, 11, 23), DAY)
    assert ids(read(tmp_path, old, new, days=days)) == ["a/20261123T080000Z", "a_R20261124T080000/20261124T100000Z"]


def test_a_change_whose_series_is_not_in_the_feed_is_an_instance_of_it(tmp_path: Path) -> None:
    row = only(read(tmp_path, change(NINE.replace("T09", "T11"), "LOCATION:SKYRA")))
    assert (row["booking_id"], row["lab"], starts([row])) == (ID, "SKYRA", [at(11)])


@pytest.mark.parametrize("of", ["RECURRENCE-ID;VALUE=DATE:20261124", "RECURRENCE-ID:20261124T090000"])
@pytest.mark.parametrize(
    "begins",
    [
        NINE,
        NINE.replace("T09", "T11"),
        "DTSTART:20261124T080000Z",
        "DTSTART:20261124T090000Z",
        "DTSTART;TZID=America/New_York:20261124T040000",
    ],
)
def test_a_change_without_its_series_has_the_id_that_it_has_with_it_or_none(
    of: str, begins: str, tmp_path: Path
) -> None:
    alone, with_series = read(tmp_path, change(begins, of=of)), read(tmp_path, event(*DAILY), change(begins, of=of))
    assert ids(with_series) == [ID]
    if "T090000" in of and begins == NINE:
        assert (ids(alone), starts(alone)) == ([ID], starts(with_series))
    else:
        assert "its RECURRENCE-ID has no time" in str(starts(alone)[0])
    unreadable = event("DTSTART;TZID=Foo/Bar:20261120T090000", "RRULE:FREQ=DAILY")
    assert ids(read(tmp_path, unreadable, change(begins, of=of)))[1:] == ids(alone)


@pytest.mark.parametrize(
    ("of", "begins", "name"),
    [
        ("RECURRENCE-ID:20261124T090000", "DTSTART:20261124T110000", "20261124T090000"),
        ("RECURRENCE-ID;VALUE=DATE:20261124", "DTSTART;VALUE=DATE:20261124", "20261124"),
    ],
)
def test_a_change_without_its_series_may_have_no_zone_or_no_time_at_all(
    of: str, begins: str, name: str, tmp_path: Path
) -> None:
    assert ids(read(tmp_path, change(begins, of=of))) == [f"a/{name}"]


def test_a_change_that_can_not_be_read_replaces_its_instance_all_the_same(tmp_path: Path) -> None:
    row = only(read(tmp_path, event(*DAILY), change("DTSTART;TZID=Foo/Bar:20261124T110000")))
    assert row["booking_id"] == ID
    assert "its time zone 'Foo/Bar' is not known" in str(starts([row])[0])


WEEKLY = (
    NINE.replace("24T", "03T"),
    "DURATION:PT1H",
    "RRULE:FREQ=WEEKLY",
    "DTSTAMP:20260101T000000Z",
    "LOCATION:PRISMA",
)
#: A RECURRENCE-ID that can't be read, with the day that it seems to name.
BROKEN = (
    "RECURRENCE-ID;TZID:202611{}T090000",
    "RECURRENCE-ID;FOO:202611{}T090000",
    'RECURRENCE-ID;TZID="Europe/Amsterdam:202611{}T090000',
    "RECURRENCE-ID TZID=Europe/Amsterdam:202611{}T090000",
    "recurrence-id;TZID=Foo/Bar:202611{}T090000",
)


@pytest.mark.parametrize("of", BROKEN)
def test_a_change_of_an_instance_that_can_not_be_read_is_never_taken_for_the_series(of: str, tmp_path: Path) -> None:
    newer = ("DTSTAMP:20260601T000000Z", "LOCATION:SKYRA")
    away = change("DTSTART:20261110T120000Z", *newer, of=of.format("10"))
    row = only(read(tmp_path, event(*WEEKLY), away))
    assert (row["booking_id"], row["lab"], starts([row])) == (ID, "PRISMA", [at(9)])
    for lines in ("DTSTART:20261124T120000Z", of.format("10")), ("DTSTART:20261110T120000Z", of.format("24")):
        wrong, right = read(tmp_path, event(*WEEKLY), change(lines[0], *newer, of=lines[1]))
        assert "RECURRENCE-ID" in str(wrong["start"]).upper() or "time zone" in str(wrong["start"])
        assert (right["booking_id"], starts([right])) == (ID, [at(9)])


@pytest.mark.parametrize(
    "lines",
    [
        ("RRULE FREQ=WEEKLY", NINE.replace("24T", "03T")),
        ("RRULE;FOO:FREQ=WEEKLY", NINE.replace("24T", "03T")),
        ("RDATE;FOO:20261124T080000Z", NINE.replace("24T", "03T")),
        ("DTSTART;TZID=Foo/Bar:20261103T090000", "RRULE:FREQ=WEEKLY"),
        ("DTSTART;FOO:20261103T090000",),
        ("DTSTART;TZID=Foo/Bar:20261103T090000",),
    ],
)
def test_a_series_whose_newest_version_can_not_be_read_is_rejected_wherever_it_is_near(
    lines: tuple[str, ...], tmp_path: Path
) -> None:
    row = only(read(tmp_path, event(*WEEKLY), event("DTSTAMP:20260601T000000Z", *lines)))
    assert row["booking_id"] == "a"
    assert "is not a date and time" in str(starts([row])[0])


def test_an_event_may_have_several_rules(tmp_path: Path) -> None:
    lines = ("DTSTART:20200107T080000Z", "RRULE:FREQ=DAILY;UNTIL=20200201T000000Z", "RRULE:FREQ=WEEKLY;BYDAY=TU")
    for one, other in ((lines[1], lines[2]), (lines[2], lines[1])):
        assert starts(read(tmp_path, event(lines[0], one, other))) == [at(9)]


def test_a_change_that_names_no_instance_is_rejected(tmp_path: Path) -> None:
    unknown = "RECURRENCE-ID;TZID=Foo/Bar:20261124T090000"
    zoned = event("DTSTART:20261120T090000", *DAILY[1:])
    for series, of in ((event(*DAILY), unknown), (zoned, "RECURRENCE-ID:20261124T080000Z")):
        wrong = [row for row in read(tmp_path, series, change(NINE, of=of)) if isinstance(row["start"], str)]
        assert "zone" in str(starts(wrong)[0])


def test_changes_are_read_where_their_series_can_not(tmp_path: Path) -> None:
    wrong = event("DTSTART;TZID=Foo/Bar:20261120T090000", "RRULE:FREQ=DAILY")
    rows = read(tmp_path, wrong, change(NINE.replace("T09", "T11")))
    assert ids(rows) == ["a", ID]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20261124T080000Z", 24),
        ("20261124T075959Z", 23),
        ("20261124T090000", 24),
        ("20261124", 24),
        ("20261123", 23),
        ("99991231T235959Z", 29),
        ("99981231T235959Z", 29),
        ("25001231", 29),
    ],
)
def test_a_rule_ends_with_its_last_moment(until: str, last: int, tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        event(*DAILY[:2], f"RRULE:FREQ=DAILY;UNTIL={until}"),
        days=(date(2026, 11, 20), date(2026, 11, 29)),
    )
    assert starts(rows)[-1] == at(9, day=date(2026, 11, last))


def test_an_hour_that_comes_twice_ends_a_rule_by_the_moment(tmp_path: Path) -> None:
    nightly = ("DTSTART;TZID=Europe/Amsterdam:20261024T023000", "RRULE:FREQ=DAILY;UNTIL=20261025T011000Z")
    days = (date(2026, 10, 24), date(2026, 10, 26))
    assert ids(read(tmp_path, event(*nightly), days=days)) == ["a/20261024T003000Z", "a/20261025T003000Z"]


@pytest.mark.parametrize("zone", ["Europe/Amsterdam", "W. Europe Standard Time", "Ours"])
def test_a_time_that_the_clock_leaves_out_is_an_hour_later(zone: str, tmp_path: Path) -> None:
    ours = ZONE.format(name="Ours")
    nightly = event(f"DTSTART;TZID={zone}:20260328T023000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3")
    single = event(f"DTSTART;TZID={zone}:20260329T023000", uid="b")
    days = (date(2026, 3, 29), date(2026, 3, 29))
    row, other = read(tmp_path, ours, nightly, single, days=days)
    assert (starts([row, other]), row["booking_id"]) == ([at(3, 30, days[0])] * 2, "a/20260329T013000Z")
    assert row["end"].astimezone(AMSTERDAM).hour == 4
    for of in (":20260329T013000Z", f";TZID={zone}:20260329T023000"):
        moved = change("DTSTART:20260329T170000Z", of=f"RECURRENCE-ID{of}")
        assert ids(read(tmp_path, ours, nightly, moved, days=days)) == ["a/20260329T013000Z"]


def test_a_date_of_its_own_is_moved_with_all_following_in_the_zone_of_the_series(tmp_path: Path) -> None:
    series = event("DTSTART;TZID=America/New_York:20261030T140000", "RDATE:20261031T180000Z")
    moved = change(
        "DTSTART;TZID=America/New_York:20261031T140000", of="RECURRENCE-ID;RANGE=THISANDFUTURE:20261030T180000Z"
    )
    row = only(read(tmp_path, series, moved, days=(date(2026, 11, 1), date(2026, 11, 1))))
    assert (row["booking_id"], row["start"].astimezone(UTC).hour) == ("a/20261031T180000Z", 19)


# Series that nobody thought of, against a second reading. SERIES=5000 was run once.

SERIES = int(os.environ.get("SERIES", "500"))


def differences(folder: Path, numbers: range) -> tuple[list[str], int]:
    """Return in how many invented series, and how, the source differs from the second reading; and their instances."""
    wrong, instances = [], 0
    for number in numbers:
        series = Inventor(random.Random(number)).invent(f"s{number}")
        rows = ical_source(folder, calendar(*series.components)).rows(*series.days)
        found = [
            (str(row["booking_id"]), (_utc(row["start"]), _utc(row["end"]), row["status"], row["lab"])) for row in rows
        ]
        got = within(dict(found), series.days)  # type: ignore[arg-type]
        instances += len(series.expected)
        if got != series.expected or len(found) != len(dict(found)):
            names = sorted({*got, *series.expected})
            differ = [f"{name} is {got.get(name)}, not {series.expected.get(name)}" for name in names]
            wrong += [
                f"{number}: {what}"
                for what, name in zip(differ, names, strict=True)
                if got.get(name) != series.expected.get(name)
            ]
    return wrong, instances


def _utc(moment: object) -> object:
    return moment.astimezone(UTC) if isinstance(moment, datetime) and moment.tzinfo else moment


def test_invented_series_are_what_a_second_reading_makes_of_them(tmp_path: Path) -> None:
    wrong, instances = differences(tmp_path, range(SERIES))
    assert instances > 2 * SERIES
    assert not wrong, f"{len(wrong)} of {SERIES}: " + "\n".join(wrong[:5])
