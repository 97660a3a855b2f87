"""What the operator's attribute templates make of an entry."""

import pytest

from dicom_worklist.errors import Rejected
from dicom_worklist.worklist.entry import describe
from support.sample_entry import BOOKING, SCANNER, SITE, entry_of


def test_a_template_overrides_a_default() -> None:
    assert entry_of(attributes={"PatientID": "{{ project_id }}/{{ subject }}"}).PatientID == "3010000.01/007"


def test_a_template_adds_an_attribute_where_it_belongs() -> None:
    entry = entry_of(
        attributes={
            "PatientComments": "{{ booking.lab }} on {{ scanner.ae_title }}",
            "CommentsOnTheScheduledProcedureStep": "{{ start.strftime('%H:%M') }}",
            "PatientSize": "1.75",
            "PregnancyStatus": "4",
        }
    )
    [step] = entry.ScheduledProcedureStepSequence
    assert entry.PatientComments == "Siemens PRISMA 3T on PRISMA"
    assert step.CommentsOnTheScheduledProcedureStep == "09:05"
    assert (entry.PatientSize, entry.PregnancyStatus) == (1.75, 4)


def test_a_template_may_empty_what_is_not_required() -> None:
    assert entry_of(attributes={"RequestingPhysician": ""})["RequestingPhysician"].is_empty


@pytest.mark.parametrize(
    ("keyword", "template"),
    [
        ("PatientID", "{{ project_id * 10 }}"),
        ("PatientID", ""),
        ("RequestedProcedureDescription", " "),
        ("PatientBirthDate", "{{ subject }}"),
        ("PatientSex", "female"),
        ("PatientWeight", "heavy"),
        ("PregnancyStatus", "no"),
        ("PregnancyStatus", "70000"),
        ("PregnancyStatus", "-1"),
        ("RecommendedDisplayFrameRateInFloat", "1e39"),
        ("ScheduledStationAETitle", "A" * 17),
        ("IssuerOfPatientID", "I" * 65),
        ("StudyDate", "2026-11-24"),
        ("PatientComments", "{{ booking_id.nothing() }}"),
        ("PatientComments", "{{ project_id.split('.')[9] + 'x' }}"),
    ],
)
def test_a_template_s_value_that_the_vr_forbids_rejects_the_booking(keyword: str, template: str) -> None:
    with pytest.raises(Rejected, match=f"^{keyword}"):
        entry_of(attributes={keyword: template})


def test_a_template_s_description_is_made_to_fit_with_a_warning() -> None:
    entry, warnings = describe(BOOKING, SCANNER, SITE, {"SpecialNeeds": "{{ 'x' * 65 }}"})
    assert entry.values["SpecialNeeds"] == "x" * 64
    assert any(warning.startswith("SpecialNeeds") for warning in warnings)
