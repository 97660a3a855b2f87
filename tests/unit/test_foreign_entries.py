"""Case 22 from the field: files that others left in the folders."""

from pathlib import Path

import pytest

from support.timed_site import Site, check, day


@pytest.fixture
def site(field_site: Site) -> Site:
    return field_site


def leave(site: Site) -> list[str]:
    """Leave an entry of 2015, a broken one, one in a worklist without a scanner, and files that are not entries."""
    site.book(1, day=day())
    site.run("08:00")
    entry = (site.folder / "booking-1-PRISMA.wl").read_bytes()
    old = site.folder.parent / "OLD"
    old.mkdir()
    (site.folder / "phantom.wl").write_bytes(entry.replace(b"20261124", b"20150101"))
    (site.folder / "broken.wl").write_text("no DICOM")
    (old / "booking-1-PRISMA.wl").write_bytes(entry)
    for name in ("notes.txt", "lockfile.bak"):
        (site.folder / name).write_text("theirs")
    return ["WLBROKER/phantom.wl (of 20150101)", "WLBROKER/broken.wl (broken)", "OLD/booking-1-PRISMA.wl (of 20261124)"]


def test_22_check_names_the_files_of_others_with_their_date(site: Site) -> None:
    names = leave(site)
    said = check(site, "folder")
    assert [name for name in names if name not in said] == []
    assert "notes.txt" not in said
    assert "lockfile" not in said


def test_22_page_status_and_metrics_name_them_and_no_run_touches_them(site: Site) -> None:
    names = leave(site)
    site.run("08:01")
    [problem] = [one for one in site.seen().problems if one.kind == "leftovers"]
    for name in names:
        assert name.split(" ")[0] in problem.text
        assert name.split(" ")[0] in site.page
    assert site.metric("foreign_entries") == 3
    assert all(Path(site.folder.parent, name.split(" ")[0]).exists() for name in names)


def test_22_without_foreign_entries_nothing_is_reported(site: Site) -> None:
    site.run("08:00")
    assert "what no sync wrote" not in check(site, "folder")
    assert site.metric("foreign_entries") == 0


def test_22_a_control_code_in_a_name_is_printed_as_an_escape(site: Site) -> None:
    (site.folder / "a\x1b[31m.wl").write_text("x")
    site.run("08:00")
    assert "a\\x1b[31m.wl (broken)" in check(site, "folder")
    assert "\x1b" not in site.page
