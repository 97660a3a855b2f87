"""Cases 11 to 15 from the field: odd dates, AccessionNumbers, names, swapped entries and time zones of studies."""

from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.local import SKYRA
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


# --- 11: a study with an odd date or time ---

NO_CLOCK = {"StudyDate": "", "StudyTime": ""}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        pytest.param({"StudyDate": None}, "has no StudyDate", id="11-none"),
        pytest.param({"StudyDate": ""}, "has no StudyDate", id="11-empty"),
        pytest.param(NO_CLOCK, "has no StudyDate", id="11-empty, and no time"),
        pytest.param({"StudyDate": "20190101"}, "is of 2019-01-01", id="11-2019"),
        pytest.param({"StudyDate": "00000000"}, "has no StudyDate", id="11-0000"),
        pytest.param({"StudyDate": "20261330"}, "has no StudyDate", id="11-month 13"),
        pytest.param({"StudyDate": "20991231"}, "is of 2099-12-31", id="11-2099"),
    ],
)
@pytest.mark.parametrize("by", ["StudyInstanceUID", "AccessionNumber"])
def test_a_study_with_an_odd_date_is_found_and_its_date_is_what_is_said(
    by: str, tags: dict[str, Any], said: str, site: Site
) -> None:
    site.book(1)
    site.run("08:00")
    other: dict[str, Any] = {"StudyInstanceUID": "1.2.3"} if by == "AccessionNumber" else {"AccessionNumber": ""}
    site.scan(1, "09:05", **(other | tags))
    site.run("12:00")
    assert site.line(1).state is State.ODD
    assert list(site.said(1)) == ["CLOCK"]
    assert said in site.said(1)["CLOCK"]
    assert site.unscheduled() == []
    assert 2 <= len(site.pacs.asked[1:]) <= 3
    assert "cancel" not in " ".join(problem.said for problem in site.seen().problems)


def test_11_images_that_come_later_into_a_study_with_an_odd_date_count(site: Site) -> None:
    site.book(1)
    site.run("08:00")
    site.scan(1, "09:05", StudyDate="20190101")
    site.run("12:00")
    assert (site.line(1).series, site.line(1).instances) == (1, 5)
    site.scan(1, "12:05", StudyDate="20190101")
    site.run("12:10")
    assert (site.line(1).series, site.line(1).instances) == (2, 10)


@pytest.mark.parametrize(
    "tags", [pytest.param({"StudyDate": one}, id=f"11-{one!r}") for one in ("", "20190101", "20991231")]
)
def test_a_study_with_an_odd_date_stays_found_when_its_booking_is_cancelled_or_moved(
    tags: dict[str, Any], site: Site
) -> None:
    site.book(1)
    site.book(2, "8-1", "10:00")
    site.run("08:00")
    for booking_id in (1, 2):
        site.scan(booking_id, "09:05", study=f"{booking_id}", AccessionNumber="", **tags)
    site.run("12:00")
    site.calendar.delete(1)
    site.calendar.change(2, start_date="2026-12-10")
    for clock in ("12:10", "12:11", "12:12"):
        site.run(clock)
        assert "CANCELLED" in site.said(1)
        assert [line.studies[0].orthanc_id for line in site.lines(2)] == ["2"]


@pytest.mark.parametrize(
    ("clock", "began"),
    [
        pytest.param("", "00:00", id="11-empty time"),
        pytest.param(None, "00:00", id="11-no time"),
        pytest.param("9", "00:00", id="11-one digit"),
        pytest.param("nine", "00:00", id="11-a word"),
        pytest.param("09:32:11", "09:32", id="11-colons"),
        pytest.param("0932", "09:32", id="11-no seconds"),
        pytest.param("09", "09:00", id="11-an hour"),
        pytest.param("093211.123456", "09:32", id="11-a fraction"),
        pytest.param("093211.", "09:32", id="11-a point"),
        pytest.param(" 093211 ", "09:32", id="11-blanks"),
    ],
)
def test_a_time_is_read_in_every_form_or_raises_no_alarm(clock: str | None, began: str, site: Site) -> None:
    site.book(1)
    site.run("08:00")
    site.scan(1, "09:32", StudyTime=clock)
    site.run("12:00")
    line = site.line(1)
    assert (line.state, line.oddities) == (State.ARRIVED, ())
    assert f"{line.studies[0].start:%H:%M}" == began


def test_11_one_question_is_enough_when_every_study_was_found(site: Site) -> None:
    site.book(1)
    site.book(2, "8-1", "18:00")
    site.run("08:00")
    site.scan(1, "09:05")
    site.run("12:00")
    assert [list(asked) for asked in site.pacs.asked[1:]] == [["StudyDate"]]


@pytest.mark.parametrize("booking_id", [pytest.param(one, id=f"11-{one}") for one in ("4*", "4?", "*")])
def test_an_id_with_a_wildcard_is_in_no_question(booking_id: str, site: Site) -> None:
    site.book(booking_id)
    site.book(41, "8-1", "10:00")
    site.run("08:00")
    site.scan(41, "10:05", StudyInstanceUID="1.2.3", StudyDate="", PatientID="other")
    site.run("12:00")
    asked = [asked for query in site.pacs.asked for asked in query.values()]
    assert not [one for one in asked if {*one} & {*"*?"}]
    assert "41" in asked


# --- 12: an AccessionNumber alone ---

PHANTOM = {"StudyInstanceUID": "1.2.3", "PatientID": "PHANTOM", "PatientName": "PHANTOM", "AccessionNumber": "1"}


@pytest.mark.parametrize(
    ("clock", "ae_title"),
    [
        pytest.param("07:30", "PRISMA", id="12-before"),
        pytest.param("11:30", "PRISMA", id="12-after"),
        pytest.param("09:10", "SKYRA", id="12-on another scanner"),
        pytest.param("09:10", "UNKNOWN", id="12-on a scanner that nobody knows"),
    ],
)
@pytest.mark.parametrize("scanned", [True, False])
def test_a_phantom_with_the_number_of_a_booking_is_a_hint(scanned: bool, clock: str, ae_title: str, site: Site) -> None:
    site.book(1)
    site.run("07:00")
    site.scan(PHANTOM, clock, study="phantom", ae_title=ae_title)
    if scanned:
        site.scan(1, "09:05")
    site.run("14:00")
    assert site.line(1).state is (State.ARRIVED if scanned else State.MISSING)
    assert [study.orthanc_id for study in site.line(1).studies] == (["a"] if scanned else [])
    [one] = site.unscheduled()
    assert [(oddity.kind.name, oddity.level) for oddity in one.oddities] == [("ACCESSION", "note")]


@pytest.mark.parametrize(
    ("tags", "kinds"),
    [
        pytest.param({}, ["PATIENT_ID"], id="12-in the booked time"),
        pytest.param({"PatientID": "3010000.01_sub-007"}, ["PATIENT_NAME"], id="12-with the PatientID"),
    ],
)
def test_an_accession_number_counts_with_the_patient_or_place_and_time(
    tags: dict[str, Any], kinds: list[str], site: Site
) -> None:
    site.book(1)
    site.run("08:00")
    site.scan(PHANTOM, "09:10", **tags)
    site.run("14:00")
    assert (site.line(1).state, list(site.said(1))) == (State.ODD, kinds)


# --- 13: the name ---

NAME = "3010000.01_sub-x007_ses-01"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(NAME, id="13-the same"),
        pytest.param(f"{NAME}^^^^", id="13-carets"),
        pytest.param(f"{NAME}^ ^", id="13-carets and a blank"),
        pytest.param(f"{NAME}=", id="13-an empty group"),
        pytest.param(f"{NAME}^^==", id="13-two empty groups"),
        pytest.param(f"{NAME}=山田^太郎=やまだ^たろう", id="13-ideographic groups"),
        pytest.param(NAME.upper(), id="13-capitals"),
        pytest.param(f" {NAME}", id="13-a blank before it"),
    ],
)
def test_a_name_that_says_the_same_is_as_booked(name: str, site: Site) -> None:
    site.book(1, "x7-1")
    site.run("08:00")
    site.scan(1, "09:05", PatientName=name)
    site.run("12:00")
    assert (site.line(1).state, site.line(1).oddities) == (State.ARRIVED, ())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("3010000.01_sub-061_ses-01", id="13-another subject and session"),
        pytest.param(NAME.replace("ses-01", "ses-02"), id="13-another session"),
        pytest.param(NAME + "1", id="13-one more digit"),
        pytest.param("", id="13-empty"),
        pytest.param(f"^{NAME}", id="13-a given name"),
        pytest.param(f"x={NAME}", id="13-in another group"),
    ],
)
def test_a_name_that_was_edited_is_said_and_repaired(name: str, site: Site) -> None:
    site.book(1, "x7-1")
    site.run("08:00")
    site.scan(1, "09:05", PatientName=name)
    site.run("12:00")
    line = site.line(1)
    assert (line.state, list(site.said(1))) == (State.ODD, ["PATIENT_NAME"])
    assert f'"{name}"' in site.said(1)["PATIENT_NAME"]
    assert "dicom-worklist repair a 1" in line.oddities[0].remedy


@pytest.mark.parametrize("name", [pytest.param(NAME, id="13-plain"), pytest.param(f"{NAME.upper()}^^", id="13-carets")])
def test_a_study_with_an_edited_id_is_found_by_its_name(name: str, site: Site) -> None:
    site.book(1, "x7-1")
    site.run("08:00")
    edited = {"StudyInstanceUID": "1.2.3", "AccessionNumber": "", "PatientID": "edited", "PatientName": name}
    site.scan(edited, "09:05")
    site.scan(edited, "18:00", study="late")
    site.run("20:00")
    assert list(site.said(1)) == ["PATIENT_ID"]
    [one] = site.unscheduled()
    assert one.oddities[0].text.startswith("Its PatientName is that of booking 1 ")


# --- 14: the entry of another booking ---


@pytest.fixture
def morning(site: Site) -> Site:
    """Three subjects after each other."""
    for booking_id, clock in ((1, "09:00"), (2, "10:00"), (3, "11:00")):
        site.book(booking_id, f"{booking_id}-1", clock)
    site.run("08:00")
    return site


def test_14_the_entry_of_the_next_subject_taken_in_the_slot_before_is_named_at_both(morning: Site) -> None:
    morning.scan(2, "09:05")
    morning.run("20:00")
    assert morning.line(2).state is morning.line(1).state is State.ODD
    assert "in the time of booking 1 " in morning.said(2)["SWAPPED"]
    assert "with the entry of booking 2 " in morning.said(1)["SWAPPED"]
    assert "send" not in " ".join(oddity.remedy for oddity in morning.line(1).oddities)
    assert morning.line(3).state is State.MISSING


def test_14_it_is_said_before_the_slot_is_over(morning: Site) -> None:
    morning.scan(2, "09:05")
    morning.run("09:20")
    assert "SWAPPED" in morning.said(2)


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param("10:05", "09:05", id="14-exchanged"), pytest.param("10:30", "09:30", id="14-exchanged, later")],
)
def test_two_entries_that_were_exchanged_are_named_at_both(first: str, second: str, morning: Site) -> None:
    morning.scan(1, first, study="one")
    morning.scan(2, second, study="two")
    morning.run("20:00")
    for booking_id in (1, 2):
        assert morning.line(booking_id).state is State.ODD
        assert "SWAPPED" in morning.said(booking_id)


@pytest.mark.parametrize(
    ("scans", "odd"),
    [
        pytest.param({1: "09:05", 2: "09:46", 3: "11:00"}, [], id="14-a quarter of an hour early"),
        pytest.param({1: "09:05", 2: "09:44", 3: "11:00"}, [], id="14-earlier, and the slot has its own images"),
        pytest.param({1: "09:05", 2: "10:30", 3: "11:40"}, [], id="14-late"),
        pytest.param({1: "10:10", 2: "10:40", 3: "11:40"}, [], id="14-the whole morning is late"),
        pytest.param({3: "09:05"}, [1, 3], id="14-the entry of the one after the next"),
        pytest.param({2: "09:46"}, [], id="14-a quarter of an hour early, and the slot is empty"),
        pytest.param({2: "09:44"}, [1, 2], id="14-earlier, and the slot is empty"),
    ],
)
def test_who_is_early_or_late_has_swapped_nothing(scans: dict[int, str], odd: list[int], morning: Site) -> None:
    for booking_id, clock in scans.items():
        morning.scan(booking_id, clock, study=f"{booking_id}")
    morning.run("20:00")
    assert [one for one in (1, 2, 3) if "SWAPPED" in morning.said(one)] == odd


def test_14_a_slot_whose_session_has_images_in_it_is_not_empty(site: Site) -> None:
    """Two slots of one session, both scanned with the first entry; then the next subject comes early."""
    for booking_id, who, clock in ((1, "1-1", "09:00"), (2, "1-1", "10:00"), (3, "3-1", "11:00")):
        site.book(booking_id, who, clock)
    site.run("08:00")
    site.scan(1, "10:05", study="one")
    site.scan(3, "10:40", study="three")
    site.run("20:00")
    assert [one for one in (1, 2, 3) if "SWAPPED" in site.said(one)] == []


def test_14_the_slot_of_another_scanner_is_nobody_s(site: Site) -> None:
    site.book(1, "1-1", "09:00")
    site.book(2, "2-1", "10:00", lab=SKYRA)
    site.run("08:00")
    site.scan(site.take(2, "SKYRA"), "09:05", ae_title="SKYRA")
    site.run("20:00")
    assert site.line(1).state is State.MISSING
    assert list(site.said(2)) == []


# --- 15: the scanner's zone ---


@pytest.mark.parametrize(
    ("booked", "scanned", "tags"),
    [
        # the site is an hour ahead of UTC
        pytest.param("14:00", "14:05", {"StudyTime": "130500", "TimezoneOffsetFromUTC": "+0000"}, id="15-UTC"),
        pytest.param("14:00", "14:05", {"StudyTime": "140500", "TimezoneOffsetFromUTC": "+0100"}, id="15-the site's"),
        pytest.param("14:00", "14:05", {"StudyTime": "093500", "TimezoneOffsetFromUTC": "-0330"}, id="15-half an hour"),
        pytest.param(
            "09:00", "09:05", {"StudyTime": "220500", "TimezoneOffsetFromUTC": "+1400"}, id="15-as far as there is"
        ),
        pytest.param(
            "00:30", "00:35",
            {"StudyDate": "20261123", "StudyTime": "233500", "TimezoneOffsetFromUTC": "+0000"}, id="15-before midnight",
        ),
        pytest.param(
            "20:00", "20:05",
            {"StudyDate": "20261125", "StudyTime": "080500", "TimezoneOffsetFromUTC": "+1300"}, id="15-after midnight",
        ),
        *(
            pytest.param("14:00", "14:05", {"StudyTime": "140500", "TimezoneOffsetFromUTC": zone}, id=f"15-{zone!r}")
            for zone in ("nonsense", "+01", "+9900", "+0175", "0100", "", "+2500")
        ),
    ],
)  # fmt: skip
def test_the_zone_of_a_study_is_heeded(booked: str, scanned: str, tags: dict[str, Any], site: Site) -> None:
    site.book(1, start=booked)
    site.run("00:10")
    site.scan(1, scanned, **tags)
    site.run("23:00")
    line = site.line(1)
    assert (line.state, line.oddities) == (State.ARRIVED, ())
    assert f"{line.studies[0].start:%m-%d %H:%M}" == f"11-24 {scanned}"


def test_15_a_zone_does_not_hide_that_it_was_another_time(site: Site) -> None:
    site.book(1, start="14:00")
    site.run("08:00")
    site.scan(1, "14:05", TimezoneOffsetFromUTC="+0900")
    site.run("20:00")
    assert list(site.said(1)) == ["TIME"]
