"""The figures of usage: what the history of real runs says of booked, scanned, idle and overrun time, case by case."""

import csv
import io
import re
import sqlite3
from contextlib import closing
from datetime import UTC, timedelta
from typing import Any

import pytest

from dicom_worklist.status.usage import report
from dicom_worklist.status.usage.figures import By
from support.calendar import DAY, SKYRA
from support.terminal import narrow
from support.timed_site import Site, at, day


def used(site: Site, ahead: int = 0, *, by: By = "scanner", days: int = 1) -> dict[str, dict[str, int]]:
    """Return the figures of a day, so many after the tests' own, by name; without those that are 0."""
    config = site.config
    assert config.status is not None
    first = DAY + timedelta(days=ahead)
    found = report.read(config, config.status, first, first + timedelta(days=days - 1), site.now)
    rows = {name: report.flat(figures) for (_, name), figures in found.rows(by).items()}
    return {name: {figure: value for figure, value in row.items() if value} for name, row in rows.items()}


def prisma(site: Site, ahead: int = 0) -> dict[str, int]:
    return used(site, ahead).get("PRISMA", {})


def scanned(site: Site, entry: Any, begins: str, came: str, ahead: int = 0, *, last: str = "", **more: Any) -> None:
    """Make images from `begins` on; the last series began at `last`, and the last image came at `came`."""
    site.scan(entry, begins, ahead, **more)
    series = site.pacs.series[-1]
    series["Metadata"]["LastUpdate"] = f"{at(came, ahead).astimezone(UTC):%Y%m%dT%H%M%S}"
    if last:
        series["MainDicomTags"] = {
            "SeriesDate": f"{at(last, ahead):%Y%m%d}",
            "SeriesTime": f"{at(last, ahead):%H%M%S}",
        }


def played(site: Site, *clocks: str, ahead: int = 0) -> None:
    for clock in clocks:
        site.run(clock, ahead)


def times(name: str, time: int, at_least: int | None = None, at_most: int | None = None) -> dict[str, int]:
    """Return a time as `flat` has it."""
    values = {name: time, f"{name}_at_least": time if at_least is None else at_least}
    return {key: value for key, value in (values | {f"{name}_at_most": at_most or time}).items() if value}


def test_a_session_that_took_place(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:05", "09:50", last="09:40")
    played(site, "09:51", "23:00")
    assert prisma(site) == {
        "sessions": 1,
        "booked": 60,
        **times("scanned", 45, 35, 45),
        **times("idle", 15, 15, 25),
    }


def test_an_overrun_that_is_proven_by_the_last_series(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "10:20", last="10:12")
    played(site, "10:21", "23:00")
    assert prisma(site) == {
        "sessions": 1,
        "booked": 60,
        **times("scanned", 80, 72, 80),
        **times("overrun", 20, 12, 20),
    }


def test_an_early_beginning_is_scanned_and_not_overrun(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "08:50", "09:50", last="09:50")
    played(site, "10:00", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("scanned", 60), **times("idle", 10)}


def test_images_that_were_sent_in_the_evening_end_with_the_slot_or_their_last_series(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    site.book(2, "8-1", start="11:00", end="12:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "20:00", last="09:40", study="a")
    scanned(site, 2, "11:00", "20:00", last="12:10", study="b")
    played(site, "20:01", "23:00")
    found = prisma(site)
    # the first ended at eleven at the latest: then the scanner was another's
    assert times("scanned", 130, 110, 120 + 540).items() <= found.items()
    assert times("overrun", 10, 10, 60 + 480).items() <= found.items()


def test_a_no_show(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00", "10:59")
    assert prisma(site) == {"sessions": 1, "booked": 60, "unclear": 1}, "not yet"
    played(site, "11:01")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("idle", 60), "no_shows": 1}


def test_without_an_answer_of_the_pacs_nobody_is_a_no_show(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    port = site.changes["pacs.url"]
    site.changes["pacs.url"] = "http://127.0.0.1:9"
    played(site, "12:00", "23:00")
    site.changes["pacs.url"] = port
    played(site, "08:00", ahead=2)
    assert prisma(site) == {"sessions": 1, "booked": 60, "unclear": 1}


def test_days_without_a_run_are_named(field_site: Site) -> None:
    site = field_site
    played(site, "08:00")
    played(site, "08:00", ahead=4)
    config = site.config
    assert config.status is not None
    found = report.read(config, config.status, DAY, DAY + timedelta(days=9), site.now)
    assert [*found.unknown] == [DAY + timedelta(days=ahead) for ahead in (1, 2)]
    assert any("no answer of the PACS" in line for line in report.remarks(found))


@pytest.mark.parametrize(
    ("clock", "ahead", "figures"),
    [
        ("08:59", 0, {"late_cancellations": 1}),
        ("09:01", -1, {"late_cancellations": 1}),
        ("08:59", -1, {}),
        # it was there when it began
        ("09:01", 0, {"sessions": 1, "booked": 60, **times("idle", 60), "no_shows": 1}),
    ],
)
@pytest.mark.parametrize("how", ["cancelled", "deleted", "moved"])
def test_a_cancellation_is_late_in_the_24_hours_before(
    field_site: Site, clock: str, ahead: int, figures: dict[str, int], how: str
) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "00:01", ahead=-1)
    if how == "cancelled":
        site.calendar.change(1, status="CANCELLED")
    elif how == "deleted":
        site.calendar.delete(1)
    else:
        site.calendar.change(1, start_date=day(1))
    played(site, clock, ahead=ahead)
    played(site, "23:00")
    assert prisma(site) == figures


def test_a_slot_that_moves_a_little_is_the_same_slot(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    site.calendar.change(1, start_time="09:30:00", stop_time="10:30:00")
    played(site, "08:30")
    scanned(site, 1, "09:30", "10:30", last="10:30")
    played(site, "10:31", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("scanned", 60)}


def test_a_slot_is_as_long_as_it_was_in_the_end(field_site: Site) -> None:
    """It was made longer while it was scanned: only what is after that is overrun."""
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "10:30", last="10:30")
    site.calendar.change(1, stop_time="10:30:00")
    played(site, "09:50", "10:31", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 90, **times("scanned", 90)}


def test_who_books_anew_what_is_deleted_has_cancelled_nothing(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    site.calendar.delete(1)
    site.book(2, start="09:30", end="10:30")
    played(site, "08:30", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("idle", 60), "no_shows": 1}


def test_a_cancelled_booking_with_images_took_place(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    taken = site.take(1)
    site.calendar.change(1, status="CANCELLED")
    played(site, "08:50")
    scanned(site, taken, "09:00", "10:00", last="10:00")
    played(site, "10:01", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("scanned", 60)}


def test_an_unbooked_scan(field_site: Site) -> None:
    site = field_site
    played(site, "08:00")
    phantom: dict[str, str | None] = {"StudyInstanceUID": "1.2.3", "PatientID": "phantom", "PatientName": "QA"}
    scanned(site, phantom, "07:00", "07:20", last="07:15")
    scanned(site, phantom | {"StudyInstanceUID": "1.2.4"}, "07:00", "07:20", study="b", ae_title="WORKSTATION")
    played(site, "08:30", "23:00")
    assert used(site) == {"PRISMA": {**times("scanned", 20, 15, 20), "unbooked_scans": 1}}
    assert [*used(site, by="project")] == [""]


def test_slots_in_a_row_of_one_session_are_one(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    site.book(2, start="10:00", end="11:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "11:10", last="11:10")
    played(site, "11:11", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 120, **times("scanned", 130), **times("overrun", 10)}


def test_several_studies_of_a_booking_are_not_counted_twice(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "09:20", last="09:20", study="a")
    scanned(site, 1, "09:30", "10:00", last="10:00", study="b", StudyInstanceUID="1.2.9")
    played(site, "10:01", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("scanned", 50), **times("idle", 10)}


def test_a_repaired_study_is_one_and_ended_when_it_did(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "09:50", last="09:45", PatientID="typed", PatientName="wrong")
    played(site, "10:00")
    site.pacs.series.clear()
    scanned(site, 1, "09:00", "14:00", last="09:45", study="repaired")
    played(site, "14:01", "23:00")
    assert prisma(site) == {"sessions": 1, "booked": 60, **times("scanned", 50, 45, 50), **times("idle", 10, 10, 15)}


def test_a_scan_on_another_scanner_leaves_the_booked_one_idle(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "10:00", last="10:00", ae_title="SKYRA")
    played(site, "10:01", "23:00")
    assert used(site) == {
        "PRISMA": {"sessions": 1, "booked": 60, **times("idle", 60)},
        "SKYRA": times("scanned", 60),
    }


def test_a_study_without_a_time_is_an_estimate_of_its_slot(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "12:00", StudyTime=None)
    played(site, "12:01", "23:00")
    assert prisma(site) == {
        "sessions": 1,
        "booked": 60,
        **times("scanned", 60, 0, 12 * 60),
        "idle_at_most": 60,
        "overrun_at_most": 120,
    }


def test_a_rejected_booking_is_counted_and_nothing_else(field_site: Site) -> None:
    site = field_site
    site.book(1, "nobody knows", start="09:00", end="10:00")
    site.book(2, "8-1", start="11:00", end="12:00")
    played(site, "08:00")
    site.calendar.change(2, subj_ses="nor this")
    played(site, "08:30", "23:00")
    assert prisma(site) == {"rejected": 2}


def test_a_booking_without_an_end_lasts_as_the_page_says(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00")
    site.book(2, "8-1", start="09:40", end="10:00")
    played(site, "08:00", "23:00")
    assert {"booked": 60, "without_end": 1, "no_shows": 2}.items() <= prisma(site).items()


def test_a_booking_over_midnight_is_of_the_day_on_which_it_begins(field_site: Site) -> None:
    site = field_site
    site.book(1, start="23:00", end="01:00")
    played(site, "22:00")
    scanned(site, 1, "23:00", "00:00", last="23:59", study="a")
    site.pacs.series[-1]["Metadata"]["LastUpdate"] = f"{at('01:10', 1).astimezone(UTC):%Y%m%dT%H%M%S}"
    played(site, "01:11", "12:00", ahead=1)
    assert {"booked": 120, "overrun": 10}.items() <= prisma(site).items()
    assert prisma(site, 1) == {}


def test_the_hour_that_the_clocks_repeat_counts(field_site: Site) -> None:
    """25 October 2026: after 02:59 comes 02:00."""
    site, ahead = field_site, -30
    site.book(1, start="01:30", end="03:30", day=day(ahead))
    played(site, "00:10", ahead=ahead)
    scanned(site, 1, "01:40", "03:20", ahead, last="03:20")
    played(site, "03:21", "23:00", ahead=ahead)
    assert prisma(site, ahead) == {"sessions": 1, "booked": 180, **times("scanned", 160), **times("idle", 20)}


def test_a_beginning_in_that_hour_is_one_of_two_moments(field_site: Site) -> None:
    site, ahead = field_site, -30
    site.book(1, start="02:00", end="03:30", day=day(ahead))
    played(site, "00:10", ahead=ahead)
    scanned(site, 1, "02:30", "03:30", ahead, last="03:30")
    played(site, "03:31", "23:00", ahead=ahead)
    assert times("scanned", 120, 60, 120).items() <= prisma(site, ahead).items()


def test_the_hour_that_the_clocks_skip_does_not_count(field_site: Site) -> None:
    """28 March 2027: after 01:59 comes 03:00."""
    site, ahead = field_site, 124
    site.book(1, start="01:00", end="04:00", day=day(ahead))
    played(site, "00:10", ahead=ahead)
    scanned(site, 1, "01:00", "04:00", ahead, last="04:00")
    played(site, "04:01", "23:00", ahead=ahead)
    assert prisma(site, ahead) == {"sessions": 1, "booked": 120, **times("scanned", 120)}


def test_the_command(field_site: Site, run: Any) -> None:
    """A table, JSON and CSV; people are named only where people are asked for, and a name is not a formula."""
    site = field_site
    site.calendar.add_user("eve", "Eve", "@SUM(A1)")
    site.book(1, start="09:00", end="10:00")
    site.book(2, "8-1", start="11:00", end="12:00", lab=SKYRA, user="eve")
    played(site, "08:00")
    scanned(site, 1, "09:05", "09:50", last="09:40")
    played(site, "09:51", "23:00")
    line = ["usage", "-c", site.file, "--from", DAY, "--to", DAY, "--now", site.now.isoformat()]
    rows = run(*line, "--json").json["rows"]
    assert [(row["scanner"], row["scanned"], row["no_shows"]) for row in rows] == [("PRISMA", 45, 0), ("SKYRA", 0, 1)]
    table = run(*line).out
    assert "≈ 45" in table
    assert "Lovelace" not in table + run(*line, "--csv", "--by", "project").out
    people = [*csv.DictReader(io.StringIO(run(*line, "--csv", "--by", "person", "--per", "month").out))]
    assert [(row["period"], row["person"]) for row in people] == [
        ("2026-11", "'@SUM(A1)^Eve"),
        ("2026-11", "Lovelace^Ada"),
    ]
    assert [*people[0]] == ["period", "person", *report.COLUMNS]


def test_in_a_narrow_terminal_no_number_is_broken(field_site: Site, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = field_site
    for number in range(1, 4):
        site.book(number, f"{number}-1", start=f"{9 + number}:00", end=f"{10 + number}:00")
    played(site, "08:00")
    for number in range(1, 4):
        scanned(site, number, f"{9 + number}:05", f"{10 + number}:50", last=f"{9 + number}:40", study=f"{number}")
    played(site, "14:51", "23:00")
    line = ["usage", "-c", site.file, "--from", DAY, "--to", DAY, "--now", site.now.isoformat()]
    wide = run(*line).out
    assert "no shows" not in wide, "all are 0"
    figures = {figure for figure in re.findall(r"\d+", wide.split("PRISMA")[1].splitlines()[0]) if len(figure) > 1}
    assert len(figures) > 3
    for width in (60, 80, 120):
        narrow(monkeypatch, width)
        shown = run(*line).out
        assert figures <= {*re.findall(r"\d+", shown)}, width
        assert "PRISMA" in shown
        for heading in ("sessions", "scanned", "overrun"):
            assert heading in shown, (width, heading)
        assert max(map(len, shown.splitlines()[:-1])) <= width


def test_the_command_says_what_is_wrong(field_site: Site, run: Any) -> None:
    wrong = run("usage", "-c", field_site.file, "--from", "2026-11-02", "--to", "2026-11-01")
    assert (wrong.status, wrong.err) == (2, "dicom-worklist: --to 2026-11-01 is before --from 2026-11-02\n")
    assert run("usage", "-c", field_site.file, "--from", "2026-11-02").status == 2
    (field_site.root / "status.history.sqlite").write_bytes(b"no database" * 99)
    broken = run("usage", "-c", field_site.file, "--from", "2026-11-02", "--to", "2026-11-02")
    assert broken.status == 5
    assert "can't be read" in broken.err


def test_what_is_not_known_is_said_by_its_reason(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    played(site, "08:00")
    port = site.changes["pacs.url"]
    site.changes["pacs.url"] = "http://127.0.0.1:9"
    for ahead in (2, 3, 4):
        played(site, "08:00", ahead=ahead)
    site.changes["pacs.url"] = port

    def said(first: int, last: int) -> str:
        config = site.config
        assert config.status is not None
        days = (DAY + timedelta(days=first), DAY + timedelta(days=last))
        return "\n".join(report.remarks(report.read(config, config.status, *days, site.now)))

    assert "not known" not in said(-1, -1)
    of_one = said(0, 0)
    assert "Of 1 session it is not known, or not yet, whether it took place: its time is booked" in of_one
    gap = said(0, 4)
    assert (
        f"4 of these days have no answer of the PACS, so what was scanned is not known: {day(1)}, {day(2)}, {day(3)}, "
        f"{day(4)}." in gap
    )
    assert "1 of these days has no answer of the PACS" in said(0, 1)
    forgotten = said(-60, -1)
    assert f"The history begins on {day(-1)}; before that nothing is known." in forgotten
    assert "no answer" not in forgotten
    assert f"The days from {day(5)} on are still to come: what is booked may change." in said(0, 9)
    future = said(9, 12)
    assert "These days are still to come: what is booked may change." in future
    assert "no answer" not in future


def test_a_history_of_an_older_release_says_when_the_pacs_answered_by_its_studies(field_site: Site) -> None:
    site = field_site
    site.book(1, start="09:00", end="10:00")
    site.book(2, "8-1", start="18:00", end="19:00")
    played(site, "08:00")
    scanned(site, 1, "09:00", "10:00", last="10:00")
    played(site, "12:00")
    with closing(sqlite3.connect(site.root / "status.history.sqlite")) as connection:
        connection.execute("DROP TABLE asked")
    assert {"sessions": 2, "unclear": 1}.items() <= prisma(site).items()
