"""Case 12 from the field: a study with the AccessionNumber of a booking, and nothing else of it."""

from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


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
