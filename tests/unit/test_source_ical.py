"""Bookings from an iCalendar text: columns, times and zones, versions, limits, and texts that are not whole."""

import json
import os
import random
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from dicom_worklist.bookings.booking import read_date, read_start
from dicom_worklist.bookings.sources import _ical_series, _ical_text
from dicom_worklist.errors import Rejected, SourceError
from dicom_worklist.settings import Reading
from support.calendar import DAY
from support.command import command
from support.configuration import Configure
from support.ical import AMSTERDAM, DAILY, NINE, ZONE, at, calendar, event, ical_source, ids, only, read, starts
from support.sources import TODAY, error_of
from support.worklist_folder import entries

SIXTY = ",".join(map(str, range(60)))


def test_an_event_has_the_columns_of_its_properties(tmp_path: Path) -> None:
    lines = (
        NINE, "DTEND;TZID=Europe/Amsterdam:20261124T103000", "SUMMARY:7-1 Language", "LOCATION:PRISMA",
        "STATUS:TENTATIVE",
        "DESCRIPTION:first\\nsecond\\, third\\; fourth \\\\ fifth", "CATEGORIES:mri,pilot\\, first", "CATEGORIES:adult",
        'ORGANIZER;CN="Lovelace, Ada":mailto:ada@example.org', "ATTENDEE;CN=Bob:mailto:bob@example.org",
        "ATTENDEE:MAILTO:eve@example.org", "X-PROJECT:3010000.01", "X-PROJECT-TITLE;X-A=b:Language\\, and more",
        "DTSTAMP:20261120T080000Z", "LAST-MODIFIED:20261121T080000Z", "PRIORITY:5", "COLOR:red", "URL:https://example.org/a,b",
    )  # fmt: skip
    row = only(read(tmp_path, event(*lines, uid="x@y")))
    wanted = {
        "uid": "x@y", "recurrence_id": "", "booking_id": "x@y", "summary": "7-1 Language", "location": "PRISMA",
        "lab": "PRISMA", "status": "TENTATIVE", "description": "first\nsecond, third; fourth \\ fifth",
        "categories": ["mri", "pilot, first", "adult"], "organizer": "Lovelace, Ada",
        "attendee": ["Bob", "eve@example.org"],
        "x_project": "3010000.01", "x_project_title": "Language, and more", "priority": 5, "color": "red",
        "url": "https://example.org/a,b", "start": datetime(2026, 11, 24, 9, tzinfo=AMSTERDAM), "start_date": None,
        "start_time": None, "end": datetime(2026, 11, 24, 10, 30, tzinfo=AMSTERDAM),
        "updated": datetime(2026, 11, 21, 8, tzinfo=UTC),
    }  # fmt: skip
    assert row == wanted
    assert {type(value) for value in row.values()} <= {str, int, type(None), list, datetime}
    assert [type(one) for one in (*row["categories"], *row["attendee"])] == [str] * 5


def test_an_event_has_all_columns_also_where_it_gives_none(tmp_path: Path) -> None:
    row = only(read(tmp_path, event(NINE)))
    named = "uid recurrence_id summary description location status categories organizer attendee start end updated lab"
    assert row.keys() == {*named.split(), "booking_id", "start_date", "start_time"}
    assert (row["status"], row["lab"], row["categories"], row["end"], row["updated"]) == (
        "CONFIRMED",
        None,
        [],
        None,
        None,
    )


@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("fold", ["\n ", "\n\t", "\n \n "])
def test_lines_may_be_folded_anywhere_also_inside_a_character(end: str, fold: str, tmp_path: Path) -> None:
    whole = calendar(event(NINE, "SUMMARY:Größe 日本", "LOCATION:PRISMA")).replace("\r\n", "\n").encode()
    for cut in range(whole.index(b"SUMMARY"), whole.index(b"\nLOCATION")):
        content = (whole[:cut] + fold.encode() + whole[cut:]).replace(b"\n", end.encode())
        assert only(ical_source(tmp_path, content).rows(**TODAY))["summary"] == "Größe 日本"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_bad_byte_in_one_title_hides_no_other_event(mark: bytes, tmp_path: Path) -> None:
    content = calendar(event(NINE, "SUMMARY:J?rgen"), event(NINE, "SUMMARY:Ada", uid="b"))
    rows = ical_source(tmp_path, mark + content.encode().replace(b"?", b"\xfc")).rows(**TODAY)
    assert [row["summary"] for row in rows] == ["J\udcfcrgen", "Ada"]


# Times and zones


@pytest.mark.parametrize(
    ("typed", "start"),
    [
        ("DTSTART:20261124T080000Z", at(9)),
        ("DTSTART;TZID=Europe/Amsterdam:20261124T090000", at(9)),
        ("DTSTART;TZID=/Europe/Amsterdam:20261124T090000", at(9)),
        ("DTSTART;TZID=America/New_York:20261124T030000", at(9)),
        ("DTSTART:20261124T090000", at(9)),
        ("DTSTART;VALUE=DATE-TIME:20261124T090000", at(9)),
        ("dtstart;tzid=Europe/Amsterdam:20261124T090000", at(9)),
        ("DTSTART;TZID=W. Europe Standard Time:20261124T090000", at(9)),
        ('DTSTART;TZID="Eastern Standard Time":20261124T030000', at(9)),
        ("DTSTART;TZID=Pacific/Kiritimati:20261124T220000", at(9)),
        ("DTSTART;TZID=Pacific/Pago_Pago:20261123T210000", at(9)),
    ],
)
def test_a_time_is_that_of_its_zone(typed: str, start: datetime, tmp_path: Path) -> None:
    row = only(read(tmp_path, event(typed)))
    assert starts([row]) == [start]
    assert (row["start"].tzinfo is None) == ("TZID" not in typed.upper() and "Z" not in typed)


@pytest.mark.parametrize(
    ("zone", "day", "utc"),
    [
        ("Europe/Amsterdam", "20260328", "0800"),
        ("Europe/Amsterdam", "20260329", "0700"),
        ("Europe/Amsterdam", "20261024", "0700"),
        ("Europe/Amsterdam", "20261025", "0800"),
        ("America/New_York", "20260307", "1400"),
        ("America/New_York", "20260308", "1300"),
        ("America/New_York", "20261031", "1300"),
        ("America/New_York", "20261101", "1400"),
        ("W. Europe Standard Time", "20260328", "0800"),
        ("W. Europe Standard Time", "20260329", "0700"),
        ("Customized Time Zone", "20261024", "0700"),
        ("Customized Time Zone", "20261025", "0800"),
        ("(UTC+01:00) Amsterdam, Berlin", "20260328", "0800"),
        ("(UTC+01:00) Amsterdam, Berlin", "20260329", "0700"),
    ],
)
def test_nine_is_nine_before_and_after_the_clock_changes(zone: str, day: str, utc: str, tmp_path: Path) -> None:
    moment = datetime.strptime(day + utc, "%Y%m%d%H%M").replace(tzinfo=UTC)
    zones = (ZONE.format(name=zone),) if zone[0] in "C(" else ()
    begins = f'DTSTART;TZID="{zone}":{day}T090000'
    series = f'DTSTART;TZID="{zone}":{int(day[:4]) - 1}{day[4:]}T090000'
    days = (moment.date(), moment.date())
    row, instance = read(tmp_path, *zones, event(begins), event(series, "RRULE:FREQ=DAILY", uid="b"), days=days)
    assert [one["start"].astimezone(UTC) for one in (row, instance)] == [moment] * 2
    assert instance["booking_id"] == f"b/{day}T{utc}00Z"


def test_a_zone_of_the_calendars_own_may_come_after_the_event(tmp_path: Path) -> None:
    own = "DTSTART;TZID=Ours:20260701T090000"
    day = (date(2026, 7, 1), date(2026, 7, 1))
    for components in ((ZONE.format(name="Ours"), event(own)), (event(own), ZONE.format(name="Ours"))):
        row = only(read(tmp_path, *components, days=day))
        assert row["start"].astimezone(UTC).hour == 7


def test_each_calendar_has_its_own_zones(tmp_path: Path) -> None:
    east = ZONE.format(name="Ours").replace("+02", "+04").replace("+01", "+03")
    begins = "DTSTART;TZID=Ours:20261124T090000"
    content = calendar(ZONE.format(name="Ours"), event(begins)) + calendar(east, event(begins, uid="b"))
    rows = ical_source(tmp_path, content + calendar(event(begins, uid="c"))).rows(**TODAY)
    assert starts(rows)[:2] == [at(9), at(7)]
    assert "its time zone 'Ours' is not known" in str(starts(rows)[2])
    assert "its time zone 'Ours' is not known" in str(starts(read(tmp_path, event(begins)))[0])


def test_a_zone_of_the_calendars_own_is_that_of_amsterdam_in_all_weeks_of_a_year(tmp_path: Path) -> None:
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number) for number in range(0, 8760, 7)]
    begins = [hour.astimezone(AMSTERDAM) for hour in hours]
    events = [event(f"DTSTART;TZID=Ours:{one:%Y%m%dT%H%M%S}", uid=str(at)) for at, one in enumerate(begins)]
    rows = read(tmp_path, ZONE.format(name="Ours"), *events, days=(date(2026, 1, 1), date(2026, 12, 31)))
    read_as = {row["uid"]: row["start"].astimezone(UTC) for row in rows}
    assert len(read_as) > 1200
    assert read_as == {str(at): one.replace(fold=0).astimezone(UTC) for at, one in enumerate(begins)}


@pytest.mark.parametrize(
    "zone",
    ["Foo/Bar", "Amsterdam", "europe/amsterdam_", "/example.org/Europe/Amsterdam", "../../etc/passwd", "GMT+0100"],
)
def test_an_event_of_an_unknown_zone_is_rejected_and_never_guessed(zone: str, tmp_path: Path) -> None:
    typed = "20261124T090000"
    rule = "is not a date and time: write 2026-11-24T09:30:00, with a zone or without"
    for more in ([], ["RRULE:FREQ=DAILY"]):
        wrong, right = read(tmp_path, event(f"DTSTART;TZID={zone}:20261124T090000", *more), event(NINE, uid="b"))
        assert (wrong["booking_id"], right["booking_id"]) == ("a", "b")
        assert starts([wrong, right]) == [
            f"start \"{typed} (its time zone '{zone}' is not known, and the calendar doesn't define it)\" {rule}",
            at(9),
        ]


def test_an_event_of_an_unknown_zone_on_another_day_is_nobodys_business(tmp_path: Path) -> None:
    far = event("DTSTART;TZID=Foo/Bar:20251124T090000")
    over = event("DTSTART;TZID=Foo/Bar:20251124T090000", "RRULE:FREQ=DAILY;UNTIL=20251201T000000Z", uid="b")
    later = event("DTSTART;TZID=Foo/Bar:20271124T090000", "RRULE:FREQ=DAILY", uid="c")
    assert read(tmp_path, far, over, later) == []


@pytest.mark.parametrize(
    "typed",
    [
        "DTSTART;VALUE=DATE:20261124",
        "DTSTART;VALUE=DATE;TZID=Europe/Amsterdam:20261124",
        "DTSTART;TZID=Europe/Amsterdam;VALUE=DATE:20261124",
        "DTSTART;TZID=Foo/Bar:20261124",
        "DTSTART:20261124",
    ],
)
def test_an_event_of_all_day_has_no_time_and_the_reader_says_so(typed: str, tmp_path: Path) -> None:
    for more in ([], ["DTEND;VALUE=DATE:20261125"], ["RRULE:FREQ=YEARLY"]):
        row = only(read(tmp_path, event(typed, *more)))
        assert (row["start"], row["end"], row["start_date"]) == (None, None, DAY)
        assert read_date(row, Reading(AMSTERDAM)) == DAY
        [reason] = map(str, starts([row]))
        assert reason == "the event is of all day and has no time: give it a start in the calendar"


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (["DTEND;TZID=Europe/Amsterdam:20261124T100000"], at(10)),
        (["DTEND:20261124T090000Z"], at(10)),
        (["DURATION:PT1H30M"], at(10, 30)),
        (["DURATION:PT90M"], at(10, 30)),
        (["DTEND;TZID=America/New_York:20261124T050000"], at(11)),
        (["DTEND;TZID=Europe/Amsterdam:20261125T013000"], at(1, 30, date(2026, 11, 25))),
    ],
)
def test_an_event_ends_with_dtend_or_its_duration_after_midnight_too(
    lines: list[str], end: datetime, tmp_path: Path
) -> None:
    for more in ([], ["RRULE:FREQ=DAILY;COUNT=1"]):
        row = only(read(tmp_path, event(NINE, *lines, *more)))
        assert row["end"].astimezone(AMSTERDAM).replace(tzinfo=None) == end


@pytest.mark.parametrize(
    ("begins", "lasts", "end"),
    [
        ("20260329T010000", "DURATION:PT3H", "20260329T020000"),
        ("20260329T010000", "DTEND;TZID=Europe/Amsterdam:20260329T050000", "20260329T030000"),
        ("20261025T010000", "DURATION:PT3H", "20261025T020000"),
        ("20261025T010000", "DTEND;TZID=Europe/Amsterdam:20261025T030000", "20261025T020000"),
    ],
)
def test_hours_are_hours_while_the_clock_changes(begins: str, lasts: str, end: str, tmp_path: Path) -> None:
    day = datetime.strptime(begins[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    row = only(read(tmp_path, event(f"DTSTART;TZID=Europe/Amsterdam:{begins}", lasts), days=(day, day)))
    wanted = datetime.strptime(end, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert row["end"].astimezone(UTC) == wanted if "PT3H" not in lasts else True
    assert row["end"].astimezone(UTC) - row["start"].astimezone(UTC) == timedelta(hours=3)


def test_an_end_of_an_unknown_zone_is_not_known(tmp_path: Path) -> None:
    row = only(read(tmp_path, event(NINE, "DTEND;TZID=Foo/Bar:20261124T100000")))
    assert starts([row]) == [at(9)]
    assert "its time zone 'Foo/Bar' is not known" in str(row["end"])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "it has no DTSTART"),
        (["DTSTART:20261124T250000Z"], "DTSTART can't be read"),
        (["DTSTART;TZID=Europe/Amsterdam:20261124T090000Z"], "a time has both a zone, TZID, and the Z of UTC"),
        (["DTSTART 20261124T090000"], "a line can't be read"),
        ([NINE, NINE.replace("09", "10")], "it has DTSTART twice"),
        ([NINE, "RRULE:FREQ=SOMETIMES"], "RRULE can't be read"),
        ([NINE, "RRULE:FREQ=DAILY;BYDAY"], "the rule 'FREQ=DAILY;BYDAY' can't be read"),
        ([NINE, "RRULE:BYDAY=MO"], "the rule has no FREQ that RFC 5545 knows"),
        ([NINE, "RRULE:FREQ=DAILY;INTERVAL=0"], "INTERVAL=0 is not a positive number"),
        ([NINE, "RRULE:FREQ=DAILY;RSCALE=HEBREW"], "RSCALE"),
        ([NINE, "RRULE:FREQ=DAILY;UNTIL=never"], "can't be read"),
        ([NINE, "RRULE:FREQ=MONTHLY;BYMONTHDAY=32"], "BYMONTHDAY=32 is not in the range of RFC 5545"),
        ([NINE, "RRULE:FREQ=DAILY;BYMONTH=13"], "BYMONTH"),
        ([NINE, "RRULE:FREQ=MONTHLY;BYDAY=6MO"], "BYDAY=6MO is not in the range of RFC 5545"),
        ([NINE, "RRULE:FREQ=MONTHLY;BYDAY=MO,-6TU"], "BYDAY=MO,-6TU is not in the range of RFC 5545"),
        ([NINE, "RRULE:FREQ=YEARLY;BYMONTH=1;BYDAY=6MO"], "BYDAY=6MO is not in the range of RFC 5545"),
        ([NINE, "RRULE:FREQ=YEARLY;BYDAY=54MO"], "BYDAY=54MO is not in the range of RFC 5545"),
        ([NINE, "RRULE:FREQ=YEARLY;BYEASTER=0"], "the rule has BYEASTER, which RFC 5545 doesn't know"),
        ([NINE, "RRULE:FREQ=WEEKLY", "EXRULE:FREQ=WEEKLY;INTERVAL=3"], "EXRULE is not supported"),
        ([NINE, "RRULE:FREQ=WEEKLY", "EXRULE FREQ=WEEKLY;INTERVAL=3"], "EXRULE is not supported"),
        ([NINE, "RRULE:FREQ=DAILY", "EXDATE;TZID=Foo/Bar:20261125T090000"], "its time zone 'Foo/Bar' is not known"),
        ([NINE, "RRULE:FREQ=DAILY", "EXDATE:yesterday"], "EXDATE can't be read"),
        ([NINE, "RDATE;TZID=Foo/Bar:20261125T090000"], "its time zone 'Foo/Bar' is not known"),
    ],
)
def test_one_broken_event_stops_no_other(lines: list[str], said: str, tmp_path: Path) -> None:
    wrong, right = read(tmp_path, event(*lines), event(NINE, uid="b"))
    assert (wrong["booking_id"], right["booking_id"]) == ("a", "b")
    assert said in str(starts([wrong])[0])
    assert starts([right]) == [at(9)]


@pytest.mark.parametrize(
    ("zone", "of"), [("Europe/Amsterdam", "99991231T235959Z"), ("America/New_York", "00010101T000000Z")]
)
def test_a_change_at_the_end_of_all_times_stops_no_other(zone: str, of: str, tmp_path: Path) -> None:
    for more in ([], ["EXDATE:20261125T080000Z"]):
        series = event(f"DTSTART;TZID={zone}:20261103T090000", "RRULE:FREQ=WEEKLY", *more)
        rows = read(tmp_path, series, event(f"RECURRENCE-ID:{of}", NINE), event(NINE, uid="b"))
        assert starts([row for row in rows if row["booking_id"] == "b"]) == [at(9)]
        assert any(str(row["booking_id"]).startswith("a/") for row in rows)


@pytest.mark.parametrize("line", ["CATEGORIES;VALUE=BINARY:x", "ATTENDEE;VALUE=BINARY:x", "RESOURCES;VALUE=BINARY:x"])
def test_a_property_of_a_strange_type_is_as_it_was_typed(line: str, tmp_path: Path) -> None:
    row = only(read(tmp_path, event(NINE, line)))
    assert (starts([row]), row[line.partition(";")[0].lower()]) in (([at(9)], ["x"]), ([at(9)], "x"))


NAMES = """DTSTART DTEND DURATION RECURRENCE-ID RRULE RDATE EXDATE EXRULE DTSTAMP LAST-MODIFIED SEQUENCE STATUS SUMMARY
LOCATION GEO ORGANIZER ATTENDEE CATEGORIES CREATED COMPLETED ATTACH PERCENT-COMPLETE PRIORITY REQUEST-STATUS RELATED-TO
RESOURCES TRIGGER FREEBUSY URL CLASS TRANSP X-FOO CONFERENCE IMAGE COLOR REFRESH-INTERVAL TZOFFSETFROM UID TZID
CONTACT DUE REPEAT""".split()  # fmt: skip
PARAMETERS = """ ;TZID=Europe/Amsterdam ;TZID=America/New_York ;TZID=W.~Europe~Standard~Time ;TZID=Foo/Bar ;TZID=Ours
;TZID=Pacific/Kiritimati ;VALUE=DATE ;VALUE=PERIOD ;VALUE=BINARY;ENCODING=BASE64 ;VALUE=BINARY ;RANGE=THISANDFUTURE
;VALUE=DURATION ;VALUE=INTEGER ;FOO ;TZID="x""".replace("\n", " ").split(" ")
VALUES = """ 0 -1 99991231T235959Z 99991231T235959 00010101T000000Z 00010101T000000 20261124T100000 20261124T100000Z
20261124 19000101 P1D -P1D PT99999999999H P99999999999W abc 1;2 MAILTO:x a,b 20261124T100000Z/PT1H
20261124T100000Z/99991231T000000Z FREQ=DAILY FREQ=WEEKLY;COUNT=3 FREQ=DAILY;UNTIL=00010101T000000Z 1e999 -99
20261124T100000,20261125T100000 FREQ=YEARLY;BYDAY=1MO 20261329T256199 \\n FREQ=DAILY;INTERVAL=99999999999
FREQ=MONTHLY;BYDAY=6MO FREQ=DAILY;BYDAY= """.replace("\n", " ").split(" ")


def test_no_event_whatever_it_says_stops_the_others(tmp_path: Path) -> None:
    chance = random.Random(5)
    for number in range(int(os.environ.get("EVENTS", "1500"))):
        series = event("DTSTART;TZID=Europe/Amsterdam:20261110T090000", "RRULE:FREQ=WEEKLY", *_odd(chance))
        changes = [
            event("RECURRENCE-ID:20261117T080000Z", "DTSTART:20261124T100000Z", *_odd(chance)),
            event(f"DTSTART:20261{chance.randint(100, 999)}T100000Z", *_odd(chance)),
            event(*_odd(chance), *_odd(chance)),
        ]
        components = chance.sample([series, *changes], chance.randint(1, 3))
        zones = [ZONE.format(name="Ours")] if chance.random() < 0.2 else []
        content = calendar(*zones, *components, event(NINE, uid="b"))
        try:
            rows = _ical_series.Reading("it", DAY, DAY).rows(_ical_text.take_apart(content.encode(), "it"))
        except Exception as error:
            raise AssertionError(f"{number}: {error!r} of\n{content}") from error
        assert starts([row for row in rows if row["booking_id"] == "b"]) == [at(9)], content
        starts(rows)


def _odd(chance: random.Random) -> list[str]:
    """Return some lines that nobody would write."""
    return [
        f"{chance.choice(NAMES)}{chance.choice(PARAMETERS).replace('~', ' ')}:{chance.choice(VALUES)}"
        for _ in range(chance.randint(0, 3))
    ]


def test_a_broken_line_that_says_nothing_of_the_time_is_no_reason(tmp_path: Path) -> None:
    lines = ("GEO:nowhere", "an unescaped line of a description", "X-APPLE-TRAVEL;x=1:2", "TRANSP:", "SEQUENCE:first")
    assert starts(read(tmp_path, event(NINE, *lines))) == [at(9)]


def test_an_event_without_a_uid_is_its_own_and_has_no_id(tmp_path: Path) -> None:
    rows = read(tmp_path, event(NINE, uid=""), event(NINE, uid=""))
    assert ids(rows) == ["", ""]


def test_events_without_a_uid_are_their_own_in_several_texts_too(tmp_path: Path) -> None:
    one, other = (calendar(event(NINE, f"SUMMARY:{name}", uid="")) for name in "12")
    calendars = [*_ical_text.take_apart(one.encode(), "one"), *_ical_text.take_apart(other.encode(), "other")]
    rows = _ical_series.Reading("the calendar", DAY, DAY).rows(calendars)
    assert ([row["summary"] for row in rows], ids(rows)) == (["1", "2"], ["", ""])
    assert read(tmp_path, event(NINE.replace("24T", "20T"), uid=""), event(NINE.replace("24T", "28T"), uid="")) == []


def test_what_is_in_an_event_is_not_the_event(tmp_path: Path) -> None:
    inner = "BEGIN:VALARM\nUID:inner\nDESCRIPTION:inner\nTRIGGER:-PT5M\nACTION:DISPLAY\nEND:VALARM"
    content = f"BEGIN:VEVENT\n{inner}\nUID:a\n{NINE}\nEND:VEVENT"
    todo = "BEGIN:VTODO\nUID:t\nDTSTART:20261124T080000Z\nEND:VTODO"
    row = only(read(tmp_path, content, todo))
    assert (row["uid"], row["description"]) == ("a", None)


# Versions and cancellations


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["SEQUENCE:1"], ["SEQUENCE:2"]),
        ([], ["SEQUENCE:1"]),
        (["SEQUENCE:9"], ["SEQUENCE:10"]),
        (["SEQUENCE:1", "LAST-MODIFIED:20261123T080000Z"], ["SEQUENCE:2", "LAST-MODIFIED:20261122T080000Z"]),
        (["LAST-MODIFIED:20261122T080000Z"], ["LAST-MODIFIED:20261123T080000Z"]),
        (["DTSTAMP:20261122T080000Z"], ["DTSTAMP:20261123T080000Z"]),
        (["DTSTAMP:20261122T080000Z"], ["LAST-MODIFIED:20261123T080000Z"]),
        (
            ["LAST-MODIFIED:20261122T080000Z", "DTSTAMP:20261122T080000Z"],
            ["LAST-MODIFIED:20261122T080000Z", "DTSTAMP:20261123T080000Z"],
        ),
    ],
)
def test_of_one_uid_the_newest_counts(old: list[str], new: list[str], tmp_path: Path) -> None:
    older, newer = event(NINE, *old), event(NINE.replace("T09", "T11"), *new)
    for content in ((older, newer), (newer, older), (older, newer, older)):
        assert starts(read(tmp_path, *content)) == [at(11)]
    series = [event(NINE, "RRULE:FREQ=DAILY;COUNT=3")]
    series += [text.replace("UID", "RECURRENCE-ID:20261124T080000Z\nUID") for text in (newer, older)]
    assert starts(read(tmp_path, *series)) == [at(11)]


def test_a_newer_version_on_another_day_counts_too(tmp_path: Path) -> None:
    away = event("DTSTART:20300101T080000Z", "SEQUENCE:1")
    assert read(tmp_path, event(NINE), away) == []
    [row] = read(tmp_path, event(NINE), away, days=(date(2030, 1, 1), date(2030, 1, 1)))
    assert row["booking_id"] == "a"


def test_of_equal_versions_the_later_counts(tmp_path: Path) -> None:
    assert starts(read(tmp_path, event(NINE), event(NINE.replace("T09", "T11")))) == [at(11)]


@pytest.mark.parametrize("more", [[], ["RRULE:FREQ=DAILY;COUNT=3"]])
def test_a_cancelled_event_and_a_cancelled_series_come_as_cancelled(more: list[str], tmp_path: Path) -> None:
    for status in ("CANCELLED", "cancelled", "CANCELED"):
        assert only(read(tmp_path, event(NINE, f"STATUS:{status}", *more)))["status"] == "CANCELLED"
    assert only(read(tmp_path, event(NINE, "STATUS:CONFIRMED", *more), method="CANCEL"))["status"] == "CANCELLED"
    assert only(read(tmp_path, event(NINE, "STATUS:CONFIRMED", *more), method="PUBLISH"))["status"] == "CONFIRMED"


@pytest.mark.parametrize("more", [[], ["RRULE:FREQ=DAILY;COUNT=3"]])
def test_a_cancellation_may_leave_out_everything_but_the_uid(more: list[str], tmp_path: Path) -> None:
    booked = calendar(event(NINE, "LOCATION:PRISMA", "DURATION:PT1H", *more), method="REQUEST")
    cancelled = calendar(event("DTSTAMP:20261123T080000Z", "SEQUENCE:1"), method="CANCEL")
    for content in (booked + cancelled, cancelled + booked):
        rows = [row for row in ical_source(tmp_path, content).rows(**TODAY) if starts([row]) == [at(9)]]
        assert [(row["status"], row["lab"]) for row in rows] == [("CANCELLED", "PRISMA")]
    assert only(ical_source(tmp_path, cancelled).rows(**TODAY))["status"] == "CANCELLED"


def test_what_was_booked_again_after_a_cancellation_counts(tmp_path: Path) -> None:
    content = calendar(event(NINE, "SEQUENCE:1"), method="CANCEL") + calendar(
        event(NINE, "SEQUENCE:2"), method="REQUEST"
    )
    assert only(ical_source(tmp_path, content).rows(**TODAY))["status"] == "CONFIRMED"


# Limits


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["RRULE:FREQ=SECONDLY"], "the rule FREQ=SECONDLY takes [0-9,]+ steps .* and the limit is 100,000"),
        (["RRULE:FREQ=MINUTELY"], "the rule FREQ=MINUTELY takes [0-9,]+ steps .* and the limit is 100,000"),
        (["RRULE:FREQ=YEARLY;BYHOUR=9;BYMINUTE=" + SIXTY + ";BYSECOND=" + SIXTY], "the rule FREQ=YEARLY takes"),
        (["RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"], "no day is in both BYMONTH=2 and BYMONTHDAY=30"),
        (["RRULE:FREQ=YEARLY;BYMONTH=4,6;BYMONTHDAY=31"], "no day is in both BYMONTH=4,6 and BYMONTHDAY=31"),
        (["RRULE:FREQ=DAILY;BYMONTH=2;BYYEARDAY=200"], "BYMONTH and BYYEARDAY may be a rule without any day"),
        (["RRULE:FREQ=HOURLY;BYSETPOS=2"], "BYSETPOS may be a rule without any day"),
        (["RDATE:" + ",".join(["20261125T080000Z"] * 10_001)], "name 10,001 dates, and the limit is 10,000"),
        (["RRULE:FREQ=DAILY", *["EXDATE:20261125T080000Z"] * 10_001], "name 10,001 dates, and the limit is 10,000"),
    ],
)  # fmt: skip
def test_a_series_without_bounds_is_rejected_with_the_limit(lines: list[str], said: str, tmp_path: Path) -> None:
    wrong, right = read(tmp_path, event("DTSTART:20250101T080000Z", *lines), event(NINE, uid="b"))
    assert (wrong["booking_id"], right["booking_id"]) == ("a", "b")
    with pytest.raises(Rejected, match=said):
        read_start(wrong, Reading(AMSTERDAM))


def test_an_endless_series_is_expanded_in_the_days_that_are_asked_for(tmp_path: Path) -> None:
    endless = event("DTSTART;TZID=Europe/Amsterdam:19700101T090000", "RRULE:FREQ=DAILY")
    for days in (1, 3, 92):
        first = date(2026, 11, 24)
        rows = ical_source(tmp_path, calendar(endless)).rows(first, first + timedelta(days=days - 1))
        assert days <= len(rows) <= days + 4


def test_rules_that_never_come_are_bounded_together(tmp_path: Path) -> None:
    never = [event(NINE, "RRULE:FREQ=YEARLY;BYMONTH=2;BYYEARDAY=200", uid=f"never-{number}") for number in range(3)]
    assert starts(read(tmp_path, *never)) == [at(9)] * 3
    limit = pytest.MonkeyPatch()
    with limit.context() as patch:
        patch.setattr(_ical_series, "MOST_STEPS_OF_ALL", 50_000)
        message = error_of(ical_source(tmp_path, calendar(*never)))
    assert "with the event never-2 their rules take more than 50,000 steps" in message


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", 20_871),
        ("FREQ=HOURLY;INTERVAL=168;BYDAY=MO", 20_871),
        ("FREQ=MINUTELY;INTERVAL=10080;BYDAY=MO", 20_871),
        ("FREQ=MONTHLY;INTERVAL=2;BYMONTH=3", 10_000),
        ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31", 1666),
        ("FREQ=WEEKLY;BYMONTH=2;BYSETPOS=9", 20_000),
        ("FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=15", 20_000),
        ("FREQ=HOURLY;INTERVAL=21;BYHOUR=3;BYDAY=WE", 146_097),
    ],
)
def test_a_rule_that_never_comes_counts_as_the_time_that_it_takes(rule: str, steps: int, tmp_path: Path) -> None:
    limit = pytest.MonkeyPatch()
    never = [event("DTSTART:20250603T090000Z", f"RRULE:{rule}", uid=str(number)) for number in range(5)]
    for most, fits in ((5 * steps + 5000, True), (5 * steps - 1, False)):
        with limit.context() as patch:
            patch.setattr(_ical_series, "MOST_STEPS_OF_ALL", most)
            if fits:
                assert ids(read(tmp_path, *never)) == []
            else:
                assert "with the event 4 their rules take more than" in error_of(
                    ical_source(tmp_path, calendar(*never))
                )


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR",
        "FREQ=DAILY;INTERVAL=2;BYDAY=TU",
        "FREQ=DAILY;INTERVAL=2;BYMONTH=11",
        "FREQ=HOURLY;INTERVAL=12;BYDAY=TU",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH",
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=4TU",
        "FREQ=YEARLY;BYMONTH=11;BYDAY=-1TU",
    ],
)
def test_what_people_write_counts_its_own_steps_only(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ical_series, "MOST_STEPS_OF_ALL", 1000)
    ours = [event(NINE, f"RRULE:{rule}", uid=str(number)) for number in range(50)]
    assert starts(read(tmp_path, *ours)).count(at(9)) == 50


def test_years_of_all_kinds_are_the_same_four_hundred_years_later(tmp_path: Path) -> None:
    """Rules are expanded there: see the comment at `_CYCLE`."""
    weeks = event("DTSTART;VALUE=DATE:19561231", "RRULE:FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO")
    leap = event("DTSTART;VALUE=DATE:18960229", "RRULE:FREQ=YEARLY", uid="leap")
    for year, weekday in ((1900, None), (2000, 1), (2024, 3), (2100, None), (2400, 1), (4000, 1)):
        days = (date(year, 2, 27), date(year, 3, 1))
        found = [row["start_date"] for row in read(tmp_path, leap, days=days)]
        assert [day.weekday() for day in found if day and day.month == 2] == ([] if weekday is None else [weekday])
    found = read(tmp_path, weeks, days=(date(2024, 12, 30), date(2024, 12, 30)))
    assert date(2024, 12, 30) in [row["start_date"] for row in found]


def test_many_days_of_a_year_are_no_reason_to_stop(tmp_path: Path) -> None:
    birthdays = [
        event("DTSTART;VALUE=DATE:19800229", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", uid=f"birthday-{number}")
        for number in range(300)
    ]
    second = [event(NINE, "RRULE:FREQ=MONTHLY;BYDAY=TU;BYSETPOS=4", uid=f"monthly-{number}") for number in range(100)]
    assert len(read(tmp_path, *birthdays, *second)) == 100


@pytest.mark.parametrize("rule", ["FREQ=SECONDLY", "FREQ=YEARLY;BYHOUR=1,2,3", "FREQ=DAILY"])
def test_a_zone_whose_clock_changes_all_the_time_is_not_known(rule: str, tmp_path: Path) -> None:
    zone = ZONE.format(name="Ours").replace("FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10", rule)
    assert "its time zone 'Ours' is not known" in str(
        starts(read(tmp_path, zone, event("DTSTART;TZID=Ours:20261124T090000")))[0]
    )


def test_a_file_that_is_too_large_is_an_error_with_the_limit(tmp_path: Path) -> None:
    made = ical_source(tmp_path, "")
    os.truncate(tmp_path / "calendar.ics", 50 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert "has more than 32 MB, the most that is read" in error_of(made)
        assert tracemalloc.get_traced_memory()[1] < 100 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("days", [(date.min, date.min), (date.min + timedelta(days=1), DAY), (date.max, date.max)])
def test_the_first_and_the_last_days_that_there_are_can_be_asked_for(days: tuple[date, date], tmp_path: Path) -> None:
    components = (
        event(NINE, "RRULE:FREQ=YEARLY"),
        event("DTSTART:99991231T230000Z", uid="b"),
        event("DTSTART:00010101T000000Z", uid="c"),
    )
    ical_source(tmp_path, calendar(*components)).rows(*days)


# Texts that are not whole


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty, not even a calendar without events"),
        (" \r\n\r\n", "is empty"),
        ("<!DOCTYPE html><html>Please log in</html>", "It begins with '<!DOCTYPE html><html>.*web page.*login"),
        ('{"error": "no"}', "is not an iCalendar text"),
        ("BEGIN:VEVENT\r\nUID:a\r\nEND:VEVENT\r\n", "is not an iCalendar text"),
        (calendar() + "more", "is not an iCalendar text"),
        ("more\r\n" + calendar(), "is not an iCalendar text"),
        (calendar(event(NINE, uid="x1").replace("END:VEVENT", ""), event(NINE)), "VEVENT"),
        (calendar(event(NINE, uid="x1").replace("\nEND:VEVENT", "")), "not whole.*VEVENT x1 has no END"),
        (calendar(event(NINE)).replace("END:VCALENDAR\r\n", ""), "not whole.*VCALENDAR has no END"),
        (calendar(event(NINE)).replace("END:VEVENT\r\n", "END:VTODO\r\n"), "not whole.*VEVENT a has no END"),
    ],
)
def test_what_is_not_a_whole_calendar_is_an_error(content: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        ical_source(tmp_path, content).rows(**TODAY)
    assert str(tmp_path / "calendar.ics") in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content", [calendar(), calendar(ZONE.format(name="Ours")), calendar() + "\r\n\r\n" + calendar()]
)
def test_a_calendar_without_events_is_none_without_bookings(content: str, tmp_path: Path) -> None:
    assert ical_source(tmp_path, content).rows(**TODAY) == []


def test_a_feed_that_is_cut_off_anywhere_is_never_read_in_part(tmp_path: Path) -> None:
    series = [event(*DAILY, "X-NOTE:é日" * 20, uid=f"s{number}") for number in range(20)]
    alarm = "BEGIN:VALARM\nTRIGGER:-PT5M\nACTION:DISPLAY\nEND:VALARM"
    whole = calendar(ZONE.format(name="Ours"), *series, event(NINE, alarm)).encode()
    assert len(ical_source(tmp_path, whole).rows(**TODAY)) > 20
    assert len(ical_source(tmp_path, whole.rstrip()).rows(**TODAY)) > 20
    chance = random.Random(14)
    cuts = {*chance.sample(range(len(whole) - 2), 450), *range(50), *range(len(whole) - 52, len(whole) - 2)}
    assert len(cuts) > 500
    for cut in cuts:
        made = ical_source(tmp_path, whole[:cut])
        with pytest.raises(SourceError, match=r"is not whole|is empty|is not an iCalendar"):
            made.rows(**TODAY)


# With the rest


def test_the_example_inventory_publishes_what_can_be_and_rejects_the_rest_with_reasons(
    configure: Configure, folder: Path, tmp_path: Path
) -> None:
    example = (Path(__file__).parents[2] / "inventories/ical/group_vars/all/calendar.yml").read_text(encoding="utf-8")
    lines = ("LOCATION:PRISMA", "ORGANIZER;CN=Ada Lovelace:mailto:ada@example.org")
    ical_source(
        tmp_path,
        calendar(
            event(*DAILY, "SUMMARY:3010000.01 7-1 Language and more", lines[1], uid="series"),
            event("DTSTART;VALUE=DATE:20261124", "SUMMARY:3010000.01 8-1", *lines, uid="all-day"),
            event("DTSTART;TZID=Foo/Bar:20261124T090000", "SUMMARY:3010000.01 9-1", *lines, uid="zone"),
            event("DTSTART:20240101T000000Z", "RRULE:FREQ=SECONDLY", "SUMMARY:3010000.01 9-1", *lines, uid="seconds"),
            event(NINE, "SUMMARY:3010000.01 10-1", "STATUS:CANCELLED", *lines, uid="cancelled"),
            event(NINE, "SUMMARY:Service", *lines, uid="service"),
        ),
    )
    booking = yaml.safe_load(example.replace("!unsafe ", ""))["worklist_sync_booking"]
    changes = {"source": {"type": "ical", "path": str(tmp_path / "calendar.ics")}, "booking": booking}
    done = command("sync", "-c", configure(changes), "--day", str(DAY), "--json")
    report = json.loads(done.stdout)
    [entry] = entries(folder).values()
    assert (entry.PatientID, str(entry.RequestingPhysician)) == ("3010000.01_sub-007", "Ada Lovelace")
    assert entry.RequestedProcedureDescription == "Language and more"
    step = entry.ScheduledProcedureStepSequence[0]
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20261124", "090000")
    reasons = {one["booking_id"]: one["reason"] for one in report["rejected"]}
    assert reasons.keys() == {"all-day", "zone", "seconds", "service"}
    assert "the event is of all day and has no time" in reasons["all-day"]
    assert "its time zone 'Foo/Bar' is not known" in reasons["zone"]
    assert "the limit is 100,000" in reasons["seconds"]
    assert "doesn't match booking.patterns.summary" in reasons["service"]
    assert done.returncode == 3


# How old it is


def test_a_feed_with_a_method_says_when_it_was_made_and_a_file_without_has_its_own_time(tmp_path: Path) -> None:
    events = (
        event(NINE, "DTSTAMP:20261123T080000Z"),
        event(NINE, "DTSTAMP:20261123T093000Z", uid="b"),
        event(NINE, uid="c"),
    )
    made = ical_source(tmp_path, calendar(*events, method="PUBLISH"))
    os.utime(tmp_path / "calendar.ics", (1795500000, 1795500000))
    assert getattr(made.rows(**TODAY), "made") == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # noqa: B009
    made = ical_source(tmp_path, calendar(*events))
    os.utime(tmp_path / "calendar.ics", (1795500000, 1795500000))
    assert getattr(made.rows(**TODAY), "made") == datetime.fromtimestamp(1795500000, UTC)  # noqa: B009
