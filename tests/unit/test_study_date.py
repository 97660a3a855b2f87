"""Case 11 from the field: a study with an odd date or time."""

from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


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
def test_a_study_with_an_odd_date_is_found_and_its_date_is_reported(
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
def test_a_time_is_read_in_every_form(clock: str | None, began: str, site: Site) -> None:
    site.book(1)
    site.run("08:00")
    site.scan(1, "09:32", StudyTime=clock)
    site.run("12:00")
    line = site.line(1)
    assert (line.state, line.oddities) == (State.ARRIVED, ())
    assert f"{line.studies[0].start:%H:%M}" == began


def test_11_one_query_is_enough_when_every_study_was_found(site: Site) -> None:
    site.book(1)
    site.book(2, "8-1", "18:00")
    site.run("08:00")
    site.scan(1, "09:05")
    site.run("12:00")
    assert [list(asked) for asked in site.pacs.asked[1:]] == [["StudyDate"]]


@pytest.mark.parametrize("booking_id", [pytest.param(one, id=f"11-{one}") for one in ("4*", "4?", "*")])
def test_an_id_with_a_wildcard_is_never_in_a_query(booking_id: str, site: Site) -> None:
    site.book(booking_id)
    site.book(41, "8-1", "10:00")
    site.run("08:00")
    site.scan(41, "10:05", StudyInstanceUID="1.2.3", StudyDate="", PatientID="other")
    site.run("12:00")
    asked = [asked for query in site.pacs.asked for asked in query.values()]
    assert not [one for one in asked if {*one} & {*"*?"}]
    assert "41" in asked
