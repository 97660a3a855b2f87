"""The problems in the order of their harm, and those that are one thing to look at."""

import pytest

from dicom_worklist.status import triage
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.oddities import Kind
from dicom_worklist.status.overview import Level, Problem
from support import busy_day


def problem(kind: str, level: Level = Level.WARNING, text: str = "") -> Problem:
    return Problem(level, text or kind, kind=kind)


def test_who_it_is_comes_before_where_before_missing_before_the_rest() -> None:
    kinds = ["disk", State.MISSING, Kind.STUDIES, Kind.SCANNER, Kind.SWAPPED, ""]
    assert [group.kind for group in triage.groups(map(problem, kinds))] == [
        "", Kind.SWAPPED, Kind.SCANNER, State.MISSING, "disk", Kind.STUDIES,
    ]  # fmt: skip


def test_a_critical_problem_comes_before_every_warning() -> None:
    first, second = triage.groups([problem(Kind.SWAPPED), problem("emptied", Level.CRITICAL)])
    assert (first.kind, second.kind) == ("emptied", Kind.SWAPPED)


def test_problems_of_one_kind_are_one_group_and_each_is_in_it() -> None:
    missing, disk = triage.groups([problem(State.MISSING, text="a"), problem("disk"), problem(State.MISSING, text="b")])
    assert (missing.title, [one.text for one in missing.problems]) == ("2 bookings without images", ["a", "b"])
    assert (disk.title, len(disk.problems)) == ("", 1)
    assert triage.groups([problem(State.MISSING)])[0].title == "1 booking without images"


@pytest.mark.parametrize("kind", ["", "disk", "run"])
def test_what_is_no_kind_of_its_own_stands_alone(kind: str) -> None:
    assert [len(group.problems) for group in triage.groups([problem(kind, text="a"), problem(kind, text="b")])] == [
        1,
        1,
    ]


#: Notes and hints: they are not problems.
NEVER = {Kind.SLOTS, Kind.IN_ITS_TIME, Kind.ACCESSION, Kind.SERIES, Kind.PROTOCOL}


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in NEVER])
def test_every_kind_that_can_be_a_warning_has_its_harm_and_its_words(kind: Kind) -> None:
    (group,) = triage.groups([problem(kind)])
    assert group.title.startswith("1 ")


def test_nothing_is_lost_and_the_worst_is_first() -> None:
    seen = busy_day.busy("twelve")
    found = triage.groups(seen.problems)
    assert sorted(one.text for group in found for one in group.problems) == sorted(one.text for one in seen.problems)
    assert len(found) < 8
    assert list(seen.problems) == [one for group in found for one in group.problems]


def test_a_problem_of_a_booking_says_whose_it_is_where_and_whom_to_ask() -> None:
    seen = busy_day.busy("eight")
    told = [one for one in seen.problems if one.booking_id]
    assert len(told) > 10
    for one in told:
        assert one.about
        assert all([one.about.what, one.about.when, one.about.scanner, one.about.ask])
        assert all(part in one.text for part in (one.about.when, one.about.scanner, one.about.subject))
