"""A text that a regular expression of the site can't be tried on rejects its booking, and never stops the others."""

import signal
import threading
from typing import Any

import pytest

from dicom_worklist import expressions
from dicom_worklist.errors import Rejected
from support.timed_site import Site

#: Where the expression is, with one that takes years on the text; and what the reason names.
SLOW: dict[str, tuple[dict[str, Any], str]] = {
    "a scanner's lab": ({"scanners.2.lab": "^(a+)+$"}, "scanners[].lab or ignored_labs"),
    "an ignored lab": ({"ignored_labs": ["^(a+)+$"]}, "scanners[].lab or ignored_labs"),
    "a pattern": (
        {"booking.patterns": {"lab": "(?P<comment>(a|PRISMA|aa)+)"}},
        "booking.patterns.lab",
    ),
}
NASTY = "a" * 60 + "!"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expressions, "PATIENCE", 0.1)


def book_nasty(site: Site, lab: str, **more: Any) -> None:
    site.calendar.add_lab(lab)
    site.book(1, lab="PRISMA")
    site.book(2, "8-1", "10:00", lab=lab, **more)


@pytest.mark.parametrize("place", ["a scanner's lab", "an ignored lab"])
def test_its_booking_is_rejected_with_the_place(place: str, field_site: Site) -> None:
    changes, named = SLOW[place]
    field_site.calendar.add_lab("PRISMA")
    book_nasty(field_site, NASTY)
    field_site.changes |= changes
    report = field_site.run()
    assert field_site.shown() == ["1"]
    [rejected] = report.rejected
    assert rejected["booking_id"] == "2"
    assert f"{named} takes longer than 0.1 s on this text" in rejected["reason"]


def test_a_pattern_rejects_its_booking_too(field_site: Site) -> None:
    changes, named = SLOW["a pattern"]
    field_site.calendar.add_lab("PRISMA")
    book_nasty(field_site, f"PRISMA{NASTY}")
    field_site.changes |= {"booking.patterns": changes["booking.patterns"]}
    report = field_site.run()
    assert field_site.shown() == ["1"]
    assert f"{named} takes longer than 0.1 s" in report.rejected[0]["reason"]


def test_a_cancelled_booking_with_such_a_lab_is_passed_over(field_site: Site) -> None:
    field_site.calendar.add_lab("PRISMA")
    book_nasty(field_site, NASTY, status="CANCELLED")
    field_site.changes |= SLOW["a scanner's lab"][0]
    assert field_site.run().rejected == []
    assert field_site.shown() == ["1"]


def test_a_lab_that_nobody_types_is_not_tried(field_site: Site) -> None:
    field_site.calendar.add_lab("PRISMA")
    book_nasty(field_site, f"PRISMA{'a' * 995}")
    report = field_site.run()
    assert field_site.shown() == ["1"]
    [rejected] = report.rejected
    assert rejected["reason"] == "lab has 1001 characters: scanners[].lab reads at most 1000"


def test_a_lab_of_the_longest_length_is_tried(field_site: Site) -> None:
    field_site.calendar.add_lab("PRISMA")
    book_nasty(field_site, f"PRISMA{'a' * 994}")
    assert field_site.run().rejected == []
    assert field_site.shown() == ["1", "2"]


def test_the_limit_goes_with_what_it_is_for() -> None:
    with expressions.in_time("a place", Rejected):
        pass
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGVTALRM) is signal.SIG_DFL
    with pytest.raises(Rejected, match="a place takes longer"), expressions.in_time("a place", Rejected):
        while True:
            pass
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_another_thread_has_no_limit_and_no_error() -> None:
    done: list[bool] = []

    def within() -> None:
        with expressions.in_time("a place", Rejected):
            done.append(True)

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert done == [True]
