"""Case 16 from the field: bookings that are changed, moved or cancelled around their scan."""

import pytest

from dicom_worklist.status.booking_status import State
from support.calendar import SKYRA
from support.timed_site import Site, day

KEPT = pytest.mark.parametrize("kept", ["state and history", "state", "history"])


@pytest.fixture
def site(field_site: Site) -> Site:
    field_site.book(31, "31-1")
    field_site.run("07:00")
    return field_site


def lose(site: Site, kept: str) -> None:
    """Lose what isn't kept, between two runs."""
    if kept == "history":
        site.forget("state")
    elif kept == "state":
        site.forget("history")


SUBJECT, SESSION = {"subj_ses": "32-1"}, {"subj_ses": "31-2"}
SCANNER, TIME = {"calendar_id": SKYRA}, {"start_time": "15:00:00"}


@KEPT
@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        pytest.param(
            SUBJECT, State.ODD,
            'after its scan: it was "3010000.01_sub-031_ses-01", and is "3010000.01_sub-032_ses-01"', id="16-subject",
        ),
        pytest.param(
            SESSION, State.ODD,
            'after its scan: it was "3010000.01_sub-031_ses-01", and is "3010000.01_sub-031_ses-02"', id="16-session",
        ),
        pytest.param(SCANNER, State.ARRIVED, "it was on PRISMA, and is on SKYRA", id="16-scanner"),
        pytest.param(
            TIME, State.ARRIVED,
            "it was at 2026-11-24 09:00, and is at 2026-11-24 15:00", id="16-time",
        ),
        pytest.param({"subj_ses": "31-x"}, State.REJECTED, "and is rejected now", id="16-rejected"),
        pytest.param({"subj_ses": "32-1", "start_time": "15:00:00"}, State.ODD, "sub-032", id="16-both"),
    ],
)  # fmt: skip
def test_a_change_after_the_scan_is_reported(
    change: dict[str, str], state: State, said: str, kept: str, site: Site
) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    lose(site, kept)
    site.calendar.change(31, **change)
    site.run("16:39")
    for clock in ("16:40", "16:41"):
        assert site.line(31).state is state
        assert list(site.said(31)) == ["CHANGED"]
        assert site.said(31)["CHANGED"].startswith("The booking was changed at 16:39, after its scan")
        assert said in site.said(31)["CHANGED"]
        assert ("correct the booking" in site.line(31).oddities[0].remedy) == (state is State.REJECTED)
        site.run(clock)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        pytest.param(SUBJECT, State.ODD, id="16-subject"),
        pytest.param(SESSION, State.ODD, id="16-session"),
        pytest.param(SCANNER, State.ODD, id="16-scanner"),
        pytest.param(TIME, State.ARRIVED, id="16-time"),
    ],
)
def test_a_console_that_had_the_entry_from_before_a_change_is_named(
    change: dict[str, str], state: State, site: Site
) -> None:
    before = site.take(31)
    site.calendar.change(31, **change)
    site.run("08:00")
    site.scan(before, "09:05")
    site.run("20:00")
    assert (site.line(31).state, list(site.said(31))) == (state, ["STALE_ENTRY"])
    assert "from before 08:00" in site.said(31)["STALE_ENTRY"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(SUBJECT, id="16-subject"), pytest.param(SESSION, id="16-session"),
        pytest.param(SCANNER, id="16-scanner"), pytest.param(TIME, id="16-time"),
    ],
)  # fmt: skip
def test_a_change_before_the_scan_is_not_reported_if_the_console_had_it(change: dict[str, str], site: Site) -> None:
    site.calendar.change(31, **change)
    site.run("08:00")
    scanner = "SKYRA" if change == SCANNER else "PRISMA"
    site.scan(site.take(31, scanner), "15:05" if change == TIME else "09:05", ae_title=scanner)
    site.run("20:00")
    assert (site.line(31).state, site.line(31).oddities) == (State.ARRIVED, ())


@pytest.mark.parametrize(
    ("scanned", "kind", "until"),
    [
        pytest.param("08:10", "STALE_ENTRY", "08:00", id="16-as it was first"),
        pytest.param("09:05", "CHANGED", "16:39", id="16-as it was then"),
        pytest.param("17:00", "TIME", "", id="16-as it is"),  # eight hours late
    ],
)
def test_of_two_changes_the_one_that_explains_the_study_is_reported(
    scanned: str, kind: str | None, until: str, site: Site
) -> None:
    first = site.take(31)
    site.calendar.change(31, subj_ses="32-1")
    site.run("08:00")
    second = site.take(31)
    site.calendar.change(31, subj_ses="33-1")
    site.run("16:39")
    taken = {"08:10": first, "09:05": second, "17:00": site.take(31)}[scanned]
    site.scan(taken, scanned)
    site.run("20:00")
    kinds = list(site.said(31))
    assert kinds == ([kind] if kind else [])
    assert until in site.said(31).get(str(kind), "")


def test_16_of_two_times_that_it_was_so_the_last_counts(site: Site) -> None:
    for who, clock in (("32-1", "07:30"), ("31-1", "08:00")):
        site.calendar.change(31, subj_ses=who)
        site.run(clock)
    site.scan(31, "09:05")
    site.calendar.change(31, subj_ses="33-1")
    site.run("16:39")
    assert list(site.said(31)) == ["CHANGED"]
    assert "changed at 16:39" in site.said(31)["CHANGED"]


@KEPT
@pytest.mark.parametrize(
    ("how", "what"),
    [
        pytest.param({"status": "CANCELLED"}, "was cancelled at 10:00", id="16-status"),
        pytest.param({"subj_ses": "Cancellation"}, "was cancelled at 10:00", id="16-Cancellation"),
        pytest.param(None, "left the calendar (deleted, or moved to another day) at 10:00", id="16-deleted"),
    ],
)
def test_a_booking_cancelled_after_its_scan_is_reported(
    how: dict[str, str] | None, what: str, kept: str, site: Site
) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    lose(site, kept)
    if how:
        site.calendar.change(31, **how)
    else:
        site.calendar.delete(31)
    site.run("10:00")
    for clock in ("10:01", "10:02"):
        assert (site.line(31).state, list(site.said(31))) == (State.CANCELLED, ["CANCELLED"])
        assert site.said(31)["CANCELLED"].startswith("It was scanned at 09:05, and ")
        assert what in site.said(31)["CANCELLED"]
        assert site.unscheduled() == []
        site.run(clock)
    assert site.shown() == []


@pytest.mark.parametrize(
    "how", [pytest.param({"status": "CANCELLED"}, id="16-status"), pytest.param({"subj_ses": "0"}, id="16-0")]
)
def test_a_booking_cancelled_before_its_scan_is_reported(how: dict[str, str], site: Site) -> None:
    before = site.take(31)
    site.calendar.change(31, **how)
    site.run("08:00")
    assert site.lines(31) == []  # without images nobody has to know
    site.scan(before, "09:05")
    site.run("10:00")
    assert (site.line(31).state, list(site.said(31))) == (State.CANCELLED, ["CANCELLED_BEFORE"])


def test_16_a_booking_that_was_cancelled_and_is_back_is_as_it_was(site: Site) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    site.calendar.change(31, status="CANCELLED")
    site.run("10:00")
    site.calendar.change(31, status="CONFIRMED")
    site.run("11:00")
    assert (site.line(31).state, site.line(31).oddities) == (State.ARRIVED, ())


@pytest.mark.parametrize("kept", ["state and history", "state"])  # without the state nobody looks further ahead
@pytest.mark.parametrize("ahead", [pytest.param(one, id=f"16-{one} days") for one in (1, 7, 90)])
def test_a_booking_that_moves_after_its_scan_is_reported_on_the_day_of_the_scan(
    ahead: int, kept: str, site: Site
) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    lose(site, kept)
    site.calendar.change(31, start_date=day(ahead))
    site.run("16:39")
    for clock in ("16:40", "16:41"):
        [line] = [one for one in site.seen().today.lines if one.booked.booking_id == "31"]
        assert (line.state, [oddity.kind.name for oddity in line.oddities]) == (State.ODD, ["MOVED"])
        assert line.oddities[0].text == f"It was scanned on {day()}; the booking was moved to {day(ahead)} at 16:39."
        assert site.unscheduled() == []
        site.run(clock)
    site.run("08:00", 1)
    assert "MOVED" in [oddity.kind.name for line in site.seen().yesterday.lines for oddity in line.oddities]


def test_16_further_than_is_looked_it_went_from_the_calendar(site: Site) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    site.calendar.change(31, start_date=day(120))
    site.run("16:39")
    assert list(site.said(31)) == ["CANCELLED"]


@pytest.mark.parametrize("ahead", [pytest.param(1, id="16-tomorrow"), pytest.param(7, id="16-next week")])
def test_a_booking_that_is_moved_back_is_as_it_was(ahead: int, site: Site) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    site.calendar.change(31, start_date=day(ahead))
    site.run("10:00")
    site.calendar.change(31, start_date=day())
    site.run("11:00")
    assert (site.line(31).state, site.line(31).oddities) == (State.ARRIVED, ())


@pytest.mark.parametrize("ahead", [pytest.param(1, id="16-tomorrow"), pytest.param(7, id="16-next week")])
def test_a_booking_that_moves_before_any_scan_is_not_reported(ahead: int, site: Site) -> None:
    site.calendar.change(31, start_date=day(ahead))
    site.run("08:30")
    site.run("20:00")
    assert [line.state for line in site.lines(31)] == ([State.SCHEDULED] if ahead == 1 else [])
    assert site.seen().problems == []


@pytest.mark.parametrize("kept", ["history", "state"])
def test_16_the_past_is_not_remembered_for_ever(kept: str, site: Site) -> None:
    for ahead in range(1, 5):
        site.run("08:00", ahead)
        lose(site, kept)
    assert site.found.bookings == ()


def test_16_deleted_and_booked_again_under_a_new_id_is_one_session(site: Site) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    site.calendar.delete(31)
    site.book(32, "31-1")
    site.run("10:00")
    site.run("20:00")
    assert (site.line(32).state, site.line(32).oddities) == (State.ARRIVED, ())
    assert (site.lines(31), site.unscheduled()) == ([], [])


def test_16_deleted_and_the_time_booked_for_somebody_else(site: Site) -> None:
    site.scan(31, "09:05")
    site.run("09:30")
    site.calendar.delete(31)
    site.book(32, "99-1")
    site.run("10:00")
    site.run("20:00")
    assert list(site.said(31)) == ["CANCELLED"]
    assert site.line(32).studies == ()
