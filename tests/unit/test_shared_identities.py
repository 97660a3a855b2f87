"""Two people under one PatientID or PatientName, which a site's own templates can make: the run says so."""

from pathlib import Path
from typing import Any

import pytest

from support.configuration import Configure
from support.sources import HEADER, LINE
from support.timed_site import Site


def shared(report: Any) -> list[str]:
    return [warning for warning in report.warnings if "different people" in warning]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"PatientID": "{{ project_id | replace('.', '') }}{{ subject }}"}, "one PatientID, 30007"),
        ({"PatientName": "{{ project_id[0] }}{{ subject }}"}, "one PatientName, 3007"),
        ({"PatientID": "{{ subject }}", "PatientName": "{{ subject }}"}, "one PatientID, 007"),
        ({}, None),
        ({"PatientComments": "{{ subject }}"}, None),
    ],
)
def test_two_people_with_one_identity_are_named(attributes: dict[str, str], said: str | None, field_site: Site) -> None:
    site = field_site
    site.changes |= {f"attributes.{keyword}": template for keyword, template in attributes.items()}
    for project in ("3.0", "30"):
        site.calendar.add_project(project, "A title")
    site.book(1, "7-1", "09:00", "09:45", project="3.0")
    site.book(2, "7-1", "14:00", "14:45", project="30")
    site.book(3, "7-2", "16:00", "16:45", project="30")
    report = site.run("08:00")
    assert len(report.published) == 3
    assert len(shared(report)) == (said is not None)
    for warning in shared(report):
        assert said
        assert said in warning
        assert "booking 1 (" in warning
        assert "project 3.0, subject 007" in warning
        assert "booking 2 (" in warning
        assert "project 30, subject 007" in warning


def test_where_the_patient_id_is_the_subject_the_project_makes_nobody_another(field_site: Site) -> None:
    site = field_site
    site.changes["booking.identity"] = "plain"
    site.calendar.add_project("3010000.02", "Another")
    site.book(1, "7-1", "09:00", "09:45")
    site.book(2, "7-2", "14:00", "14:45", project="3010000.02")
    assert shared(site.run("08:00")) == []


def test_preview_says_it_too(run: Any, configure: Configure, tmp_path: Path) -> None:
    other = f"2{LINE[1:]}".replace("3010000.01", "3010000.02")
    path = tmp_path / "bookings.csv"
    path.write_text(f"{HEADER}\n{LINE}\n{other}\n")
    config = configure({"source": {"type": "csv", "path": str(path)}, "attributes.PatientID": "{{ subject }}"})
    done = run("preview", "-c", config, "--now", "2026-11-24T06:00:00+01:00", "--json")
    assert any("different people" in warning for warning in done.json["warnings"])
