"""Orthanc's answer about its series, read as studies. The real Orthanc is asked in tests/integration."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dicom_worklist.status.pacs import gathered
from dicom_worklist.status.records import Study

NINE = datetime.fromisoformat("2026-11-24T09:05:00")


def series(study: str = "a", **tags: object) -> dict[str, Any]:
    """Return a series as Orthanc 1.13 answers it."""
    named = {"StudyInstanceUID": "1.2.3", "PatientID": "sub-001", "StudyDate": "20261124", "StudyTime": "090500"}
    return {
        "ParentStudy": study,
        "IsStable": True,
        "MainDicomTags": {"RequestAttributesSequence": [{"ScheduledProcedureStepID": "ses-mri01"}]},
        "Metadata": {"LastUpdate": "20261124T081000", "RemoteAET": "PRISMA"},
        "RequestedTags": named | {"NumberOfSeriesRelatedInstances": "3"} | tags,
    }


def test_series_of_a_study_are_one_study() -> None:
    other = series() | {
        "IsStable": False, "Metadata": {"LastUpdate": "20261124T082000", "RemoteAET": "SKYRA"}, "MainDicomTags": {},
    }  # fmt: skip
    assert gathered([series("b", PatientID="sub-002"), series(), other]) == (
        Study(
            orthanc_id="a", study_instance_uid="1.2.3", patient_id="sub-001", step_ids=("ses-mri01",),
            ae_titles=("PRISMA", "SKYRA"), start=NINE, series=2, instances=6, stable=False,
            updated=datetime(2026, 11, 24, 8, 20, tzinfo=UTC),
        ),
        Study(
            orthanc_id="b", study_instance_uid="1.2.3", patient_id="sub-002", step_ids=("ses-mri01",),
            ae_titles=("PRISMA",), start=NINE, series=1, instances=3, stable=True,
            updated=datetime(2026, 11, 24, 8, 10, tzinfo=UTC),
        ),
    )  # fmt: skip


def test_the_last_series_is_the_one_that_began_last() -> None:
    begins = [("20261124", "091500"), ("20261124", "101500.25"), ("20261124", ""), ("", "")]
    parts = [series() | {"MainDicomTags": {"SeriesDate": day, "SeriesTime": clock}} for day, clock in begins]
    [study] = gathered(parts)
    assert study.last_series == datetime.fromisoformat("2026-11-24T10:15:00")
    [study] = gathered(
        [*parts, series(), parts[1] | {"RequestedTags": series(TimezoneOffsetFromUTC="-0100")["RequestedTags"]}]
    )
    assert study.last_series == datetime.fromisoformat("2026-11-24T10:15:00")
    [study] = gathered([parts[1] | {"RequestedTags": series(TimezoneOffsetFromUTC="-0100")["RequestedTags"]}])
    assert study.last_series == datetime.fromisoformat("2026-11-24T11:15:00")


@pytest.mark.parametrize(
    ("day", "clock", "start"),
    [
        ("20261124", "143005", "2026-11-24T14:30:05"),
        ("20261124", "143005.123456", "2026-11-24T14:30:05"),
        ("20261124", "1430", "2026-11-24T14:30:00"),
        ("20261124", "0905", "2026-11-24T09:05:00"),
        ("20261124", "14", "2026-11-24T14:00:00"),
        ("20261124", "", "2026-11-24T00:00:00"),
        ("20261124", None, "2026-11-24T00:00:00"),
        ("20261124", "14:30:05", "2026-11-24T14:30:05"),
        ("20261124", "256161", "2026-11-24T00:00:00"),
        ("2026112", "4143005", None),
        ("20261324", "143005", None),
        ("", "143005", None),
    ],
)
def test_the_start_is_studydate_and_studytime_in_every_form(day: str, clock: str | None, start: str | None) -> None:
    (study,) = gathered([series(StudyDate=day, StudyTime=clock)])
    assert (study.start and study.start.isoformat()) == start


def test_an_odd_value_in_one_study_spoils_no_other() -> None:
    odd = series("b", PatientID=None, PatientName=5, AccessionNumber="\ud800", NumberOfSeriesRelatedInstances="")
    odd |= {"Metadata": {"RemoteAET": None}, "MainDicomTags": {"RequestAttributesSequence": None}}
    whole, other = gathered([series(), odd])
    assert whole.patient_id == "sub-001"
    assert (other.patient_id, other.patient_name, other.accession_number) == ("", "5", "?")
    assert (other.ae_titles, other.step_ids, other.instances, other.updated) == ((), (), 0, None)
