"""Case 15 from the field: a scanner whose clock is in another time zone."""

from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


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
def test_the_time_zone_of_a_study_counts(booked: str, scanned: str, tags: dict[str, Any], site: Site) -> None:
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
