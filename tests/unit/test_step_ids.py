"""A ScheduledProcedureStepID of one booking only: what it is for a site that chooses it, and what of it comes back."""

from typing import Any

from dicom_worklist.status.booking_status import State
from support.timed_site import Site
from support.worklist_folder import entries

ONE_BOOKING_ONLY: dict[str, object] = {"attributes.ScheduledProcedureStepID": "{{ accession_number }}"}
#: An operator typed over all that people see; the images keep the entry's step, and another UID.
TYPED_OVER: dict[str, Any] = {
    "PatientID": "typed",
    "PatientName": "typed",
    "AccessionNumber": None,
    "StudyInstanceUID": "1.2.3",
}


def scanned(site: Site, changes: dict[str, object]) -> Site:
    """Two bookings of session 1, of which the first is scanned."""
    site.changes |= changes
    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "10:00")
    site.run("08:00")
    step = entries(site.folder)["booking-1-PRISMA.wl"].ScheduledProcedureStepSequence[0].ScheduledProcedureStepID
    site.scan(1, "09:05", **TYPED_OVER)
    site.pacs.series[-1]["MainDicomTags"] = {"RequestAttributesSequence": [{"ScheduledProcedureStepID": step}]}
    site.run("09:40")
    return site


def test_a_step_s_id_of_one_booking_only_finds_the_booking_where_nothing_else_does(field_site: Site) -> None:
    site = scanned(field_site, ONE_BOOKING_ONLY)
    assert site.found.bookings[0].step_id == "1"
    assert [study.orthanc_id for study in site.line(1).studies] == ["a"]
    assert "PATIENT_ID" in site.said(1)
    assert site.unscheduled() == []


def test_the_default_s_id_is_of_several_bookings_and_finds_none(field_site: Site) -> None:
    site = scanned(field_site, {})
    assert {booked.step_id for booked in site.found.bookings} == {"ses-mri01"}
    assert len(site.unscheduled()) == 1


def test_two_slots_of_one_session_have_two_ids_and_one_study(field_site: Site) -> None:
    site = field_site
    site.changes |= ONE_BOOKING_ONLY
    site.book(1, "7-1", "09:00")
    site.book(2, "7-1", "10:00")
    site.run("08:00")
    site.scan(1, "09:05")
    site.run("12:30")
    assert site.line(1).state is not State.MISSING
    assert site.line(2).state is not State.MISSING
