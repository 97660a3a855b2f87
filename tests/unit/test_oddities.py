"""Case 18 from the field: what is odd about a study is on the page, in the table, in the metrics."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest

from dicom_worklist.status.booking_status import State
from support.command import command
from support.timed_site import Site, at


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(31, "31-1")
    field_site.run("07:00")
    return field_site


ODD = [
    pytest.param({"PatientID": "edited"}, "PATIENT_ID", id="18-wrong subject"),
    pytest.param({"ae_title": "SKYRA"}, "SCANNER", id="18-wrong scanner"),
    pytest.param({}, "STUDIES", id="18-two studies"),
]


@pytest.mark.parametrize(("edited", "kind"), ODD)
def test_an_odd_study_is_shown_as_odd_everywhere(edited: dict[str, Any], kind: str, site: Site) -> None:
    site.scan(31, "09:05", **edited)
    if kind == "STUDIES":
        site.scan(31, "09:25", study="b", StudyInstanceUID="1.2.3")
    site.run("10:30")
    assert (site.line(31).state, list(site.said(31))) == (State.ODD, [kind])
    assert 'class="card odd"' in site.page
    assert 'class="card arrived"' not in site.page
    mark, word = "◆", "odd"
    assert f'<span class="badge odd"><span aria-hidden="true">{mark}</span> {word}</span>' in site.page
    assert site.metric('bookings{ae_title="PRISMA",state="odd"}') == 1
    assert site.metric('bookings{ae_title="PRISMA",state="arrived"}') == 0
    assert site.metric("odd_studies") == (2 if kind == "STUDIES" else 1)
    now = site.now.isoformat()
    told = command("status", "--config", site.file, "--now", now)
    row = next(line for line in told.stdout.splitlines() if "sub-031_ses-01" in line and "│" in line)
    assert "odd" in [cell.strip() for cell in row.split("│")]
    done = command("status", "--exit-code", "--config", site.file, "--now", now)
    assert (done.returncode, done.stdout.split(" - ")[0]) == (1, "WORKLIST WARNING")
    said = json.loads(command("status", "--json", "--config", site.file, "--now", now).stdout)
    [line] = [line for lane in said["today"]["lanes"] for line in lane["lines"]]
    assert (line["state"], line["oddities"][0].keys()) == ("odd", {"kind", "text", "remedy", "level"})


def test_18_odd_has_a_mark_and_a_colour_of_its_own(site: Site) -> None:
    site.run()
    counts = site.page.partition('aria-label="Bookings of today by state"')[2].partition("</ul>")[0]
    marks = [one.partition("</span>")[0] for one in counts.split('<span class="mark" aria-hidden="true">')[1:]]
    assert len({*marks}) == len(marks) == len(State)
    colours = {
        name.strip(): colour
        for names, colour in re.findall(r"^([.\w, -]+) { --state: var\(--([\w-]+)\);", site.page, re.MULTILINE)
        for name in names.split(",")
    }
    assert (colours[".odd"], colours[".arrived"], colours[".level-0"]) == ("odd", "arrived", "arrived")


def test_18_a_good_study_is_arrived_and_the_level_is_ok(site: Site) -> None:
    site.scan(31, "09:05")
    site.run("10:30")
    assert site.line(31).state is State.ARRIVED
    done = command("status", "--exit-code", "--config", site.file, "--now", site.now.isoformat())
    assert (done.returncode, done.stdout.split(" - ")[0]) == (0, "WORKLIST OK")


def test_18_the_entry_of_an_odd_study_stays(site: Site) -> None:
    site.changes["status.leave_after"] = 10
    site.scan(31, "09:05", PatientID="edited")
    site.now = at("12:00")
    site.run()
    site.now += timedelta(minutes=1)
    site.run()
    assert site.shown() == ["31"]


def test_18_two_scanners_that_stored_it_are_not_odd_if_one_is_the_booked(site: Site) -> None:
    site.scan(31, "09:05")
    site.scan(31, "09:15", ae_title="PRISMAFIT")
    site.run("10:30")
    assert (site.line(31).state, site.line(31).oddities) == (State.ARRIVED, ())
