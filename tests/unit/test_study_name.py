"""Case 13 from the field: a PatientName that was edited."""

import pytest

from dicom_worklist.status.booking_status import State
from support.timed_site import Site


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


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
def test_a_name_in_another_spelling_is_as_booked(name: str, site: Site) -> None:
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
def test_an_edited_name_is_reported_and_can_be_repaired(name: str, site: Site) -> None:
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
