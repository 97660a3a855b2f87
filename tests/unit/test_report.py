"""What the report of a run says of its entries."""

from pathlib import Path

import pytest

from support.local_site import Site, ids


@pytest.fixture
def site(local_site: Site) -> Site:
    return local_site


def test_a_report_shows_the_changed_entries_before_and_after_as_a_list_for_people(site: Site) -> None:
    site.calendar.book(1)
    site.calendar.book(2)
    site.run()
    site.calendar.change(1, start_time="10:00:00")
    before, after = site.run(dry_run=True).as_text()
    assert before.startswith("WLBROKER/booking-1-PRISMA.wl:\n")
    assert "booking-2" not in before + after
    differing = set(before.split("\n")) ^ set(after.split("\n"))
    assert {line.strip() for line in differing} == {
        "ScheduledProcedureStepStartTime: 090000",
        "ScheduledProcedureStepStartTime: 100000",
    }


def test_a_report_has_the_keys_of_the_contract(site: Site) -> None:
    keys = ["day", "published", "updated", "removed", "unchanged", "rejected", "warnings"]
    assert list(site.run().as_dict()) == keys


def test_a_report_never_shows_a_file_that_a_planted_link_leads_to(site: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (site.folder / "booking-1-PRISMA.wl").symlink_to(tmp_path / "secret")
    report = site.run(dry_run=True)
    assert ids(report.removed) == ["1"]
    assert "secret" not in "".join(report.as_text())


def test_a_long_id_is_reported_whole(site: Site) -> None:
    long = "040000008200E00074C5B7101A82E008" * 9 + "@calendar.example.org"
    site.calendar.book(long)
    report = site.run()
    assert ids(report.published) == [long]
    assert ids(site.run().unchanged) == [long]
    assert len(report.published[0]["file"]) < 254
