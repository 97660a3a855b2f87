"""What the page, the terminal, `--json` and the metrics say of SOP classes that Orthanc refused to scanners."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist.status.overview import Problem
from support.command import command
from support.timed_site import Site, at

PRIVATE, SPECTROSCOPY, QUERY = "1.3.12.2.1107.5.9.999", "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.31"
HOSTILE = "<script>alert(1)</script>\x1b[2J"


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(1, "1-1", "11:00")
    return field_site


def refused(
    sop_class: str = PRIVATE, scanner: str = "PRISMA", ago: timedelta = timedelta(), count: int = 1, **more: Any
) -> dict[str, Any]:
    """Return a class as Orthanc's script says it, refused for the last time so long before 08:00."""
    last = int((at("08:00") - ago).timestamp())
    return {
        "scanner": scanner, "sop_class": sop_class, "first": last - 60, "last": last, "count": count, "syntax": False,
        "stored": False,
    } | more  # fmt: skip


def problems(site: Site, *given: dict[str, Any]) -> list[Problem]:
    site.pacs.refused = list(given)
    assert site.run("08:00").warnings == []
    return [problem for problem in site.seen().problems if problem.kind == "refused"]


def test_nothing_refused_is_nothing_said(site: Site) -> None:
    assert problems(site) == []
    assert site.metric('refused_sop_classes{ae_title="PRISMA"}') == 0
    assert "refused" not in site.page


def test_class_scanner_count_time_and_what_to_do_are_on_the_page_and_everywhere(site: Site) -> None:
    (problem,) = problems(site, refused(count=14, ago=timedelta(hours=1)))
    assert problem.level.name == "WARNING"
    assert problem.text == (
        "PRISMA offered objects of a SOP class that Orthanc refused: a private class of Siemens "
        "1.3.12.2.1107.5.9.999 (14 times, the last time 2026-11-24 07:00)."
    )
    assert problem.remedy == (
        "See on the console whether it has objects that were not sent. If so, add the UID to orthanc_sop_classes in "
        "the inventory, and run site.yml. Then send the series since 2026-11-24 06:59 again."
    )
    assert problem.text in site.page
    assert problem.remedy in site.page
    assert site.metric('refused_sop_classes{ae_title="PRISMA"}') == 1
    shown = command("status", "--config", site.file, "--now", site.now.isoformat())
    assert problem.text in shown.stdout
    assert problem.remedy in shown.stdout
    (said,) = json.loads(command("status", "--json", "--config", site.file, "--now", site.now.isoformat()).stdout)[
        "refused"
    ]
    assert said == {
        "ae_title": "PRISMA", "sop_class": PRIVATE, "name": "a private class of Siemens", "count": 14,
        "first": "2026-11-24T06:59:00+01:00", "last": "2026-11-24T07:00:00+01:00", "reason": "class",
    }  # fmt: skip


def test_it_is_shown_for_seven_days_after_the_last_time(site: Site) -> None:
    assert problems(site, refused(ago=timedelta(days=7)))
    assert problems(site, refused(ago=timedelta(days=7, seconds=1))) == []
    site.pacs.refused = [refused()]
    site.run("08:00")
    site.pacs.close()
    site.run("08:00", 7)
    assert [problem for problem in site.seen().problems if problem.kind == "refused"]  # though the PACS is silent
    site.run("08:01", 7)
    assert [problem for problem in site.seen().problems if problem.kind == "refused"] == []
    site.pacs = type(site.pacs)()  # for who closes it


@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        (PRIVATE, "a private class of Siemens"),
        ("1.2.840.113619.4.999", "a private class of GE"),
        ("1.3.46.670589.5.0.999", "a private class of Philips"),
        (SPECTROSCOPY, "MR Spectroscopy Storage"),
        ("1.2.840.10008.5.1.4.1.1.999", "an unknown class"),
        ("1.2.999", "an unknown class"),
        (QUERY, None),
        ("1.2.840.10008.3.1.2.3.3", None),
        ("1.2.840.10008.1.20.1", None),
    ],
)
def test_classes_are_named_and_those_of_no_object_are_left_out(site: Site, sop_class: str, name: str | None) -> None:
    found = problems(site, refused(sop_class))
    assert [f"{name} {sop_class} (once, the last time" in problem.text for problem in found] == [True] * bool(name)


def test_each_reason_has_its_remedy(site: Site) -> None:
    classes = [refused(), refused(SPECTROSCOPY, syntax=True, stored=True), refused("1.2.999", stored=True)]
    (problem,) = problems(site, *classes)
    assert f"for {PRIVATE} add the UID to orthanc_sop_classes" in problem.remedy
    assert f"for {SPECTROSCOPY} let the console send it uncompressed" in problem.remedy
    assert "for 1.2.999 nothing has to be changed: Orthanc stores it now" in problem.remedy
    (problem,) = problems(site, classes[2])
    assert "If so, nothing has to be changed" in problem.remedy


def test_the_series_to_send_again_begin_with_the_first_refusal(site: Site) -> None:
    classes = [refused("1.2.1", ago=timedelta(hours=1)), refused("1.2.2", ago=timedelta(days=2), stored=True)]
    (problem,) = problems(site, *classes)
    assert problem.remedy.endswith("Then send the series since 2026-11-22 07:59 again.")


def test_many_classes_are_one_problem_a_scanner_the_latest_first(site: Site) -> None:
    many = [refused(f"1.2.{at}", ago=timedelta(minutes=at)) for at in range(1, 33)]
    found = problems(site, *many, refused(scanner="SKYRA"))
    assert len(found) == 2
    assert "offered objects of 32 SOP classes" in found[0].text
    assert "1.2.1 (once" in found[0].text
    assert "1.2.5 (once" in found[0].text
    assert "1.2.6 " not in found[0].text
    assert found[0].text.endswith(" and 27 more.")
    assert site.metric('refused_sop_classes{ae_title="PRISMA"}') == 32


def test_what_is_hostile_is_shown_as_text(site: Site) -> None:
    problems(site, refused(HOSTILE, HOSTILE))
    assert HOSTILE not in site.page
    assert "\x1b" not in site.page
    assert "&lt;script&gt;" in site.page
    assert "\x1b" not in command("status", "--config", site.file, "--now", site.now.isoformat()).stdout


def test_a_pacs_that_says_something_else_is_reported_and_what_was_known_stays(site: Site) -> None:
    assert problems(site, refused())
    for answer in ({"a": 1}, [1], [{"scanner": "A"}], [refused(first="x")], [refused(last=1e300)], "x", 5):
        site.pacs.refused = answer  # type: ignore[assignment]
        (warning,) = site.run().warnings
        assert warning.startswith("what was refused to scanners is not known: Orthanc at http://127.0.0.1:")
        assert [problem for problem in site.seen().problems if problem.kind == "refused"]
        assert site.found.asked  # what arrived is known
        assert not site.found.pacs_failure


def test_the_state_of_a_release_without_it_is_read(site: Site, tmp_path: Path) -> None:
    site.run("08:00")
    path = site.root / "status.json"
    state = json.loads(path.read_text())
    del state["refused"]
    path.write_text(json.dumps(state))
    assert site.seen().refused == []
    site.run("08:01")
