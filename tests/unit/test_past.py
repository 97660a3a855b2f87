"""The pages of past days, from a history that real runs wrote: what they say, when they are made, and when they go."""

import json
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dicom_worklist import files
from dicom_worklist.status import history
from dicom_worklist.status.layout import layout
from dicom_worklist.status.past import write
from dicom_worklist.status.usage import write as usage_write
from support.calendar import DAY, Calendar
from support.sample_day import HOSTILE
from support.timed_site import Site, at, day

from .test_page import Reader


@pytest.fixture
def site(field_site: Site) -> Site:
    """A site with a page, and bookings of two days that had images."""
    site = field_site
    (site.root / "page").mkdir()
    site.changes["status.page"] = str(site.root / "page")
    site.book(1, "7-1", "09:00")
    site.book(2, "8-1", "10:00")
    site.book(3, "9-1", "11:00")
    site.book(4, "7-2", "09:00", day=day(1))
    site.run("08:00")
    site.scan(1, "09:05", study="first")
    site.run("12:30")
    return site


def name(ahead: int = 0) -> str:
    return f"{day(ahead)}.html"


def past(site: Site) -> Path:
    return site.root / "page/past"


def there(site: Site) -> list[str]:
    """Return which days have a page."""
    return sorted(path.name for path in past(site).glob("*.html") if path.name != "index.html")


def page(site: Site, ahead: int = 0) -> Reader:
    return Reader((past(site) / name(ahead)).read_text())


def found(site: Site) -> dict[str, list[list[Any]]]:
    """Return what the search of the index knows: day → lines, their scanners and projects by name."""
    html = (past(site) / "index.html").read_text()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data
    return {
        when: [
            [clock, scanners[scanner], who, projects[project], *rest] for clock, scanner, who, project, *rest in lines
        ]
        for when, scanners, projects, lines in json.loads(data[1])
    }


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The pages that were written, in their order."""
    names: list[str] = []
    put = write.Folder.put

    def noted(self: write.Folder, name: str, content: bytes) -> None:
        if not name.startswith("usage/"):
            names.append(name)
        put(self, name, content)

    monkeypatch.setattr(write.Folder, "put", noted)
    yield names


def test_a_day_has_its_page_when_its_night_is_over(site: Site) -> None:
    for clock, ahead in (("23:59", 0), ("00:01", 1), ("02:59", 1)):
        site.run(clock, ahead)
        assert there(site) == [], (clock, ahead)
    site.run("03:00", 1)
    assert there(site) == [name()]
    assert list(found(site)) == [day()]


@pytest.mark.parametrize("changed", ["2026-10-25", "2027-03-28"])
def test_a_night_has_three_hours_on_the_day_on_which_the_clock_is_changed(changed: str, site: Site) -> None:
    """From midnight on: 02:00 in October, in which an hour is there twice, and 04:00 in March, in which one is not."""
    ahead = (date.fromisoformat(changed) - DAY).days
    site.book(9, "5-1", day=day(ahead - 1))
    site.now = at("08:00", ahead - 1)
    site.run()
    midnight = at("00:00", ahead).timestamp()
    for minutes, pages in ((179, False), (180, True)):
        site.now = site.now.fromtimestamp(midnight + minutes * 60, site.now.tzinfo)
        site.run()
        assert (past(site) / name(ahead - 1)).exists() == pages, minutes


def test_the_page_says_what_became_of_each_booking_and_leads_to_its_study(site: Site) -> None:
    site.calendar.change(2, status="CANCELLED")
    site.run("13:00")
    site.run("03:00", 1)
    shown = page(site)
    texts = (
        "Tuesday 24 November 2026", "1 arrived", "1 missing", "1 cancelled", "3010000.01_sub-007_ses-01",
        "1 series, 5 images", "Cancelled at 2026-11-24 13:00", "booked by Ada Lovelace", "booking 3",
    )  # fmt: skip
    assert [text for text in texts if text not in shown.text] == []
    links = shown.values("href")
    assert "../../app/explorer.html#study?uuid=first" in links
    assert "../../studies/first/archive" in links
    assert found(site)[day()] == [
        ["09:00", "PRISMA", "3010000.01_sub-007_ses-01", "Language and the brain", "1", "arrived", ["first"]],
        ["11:00", "PRISMA", "3010000.01_sub-009_ses-01", "Language and the brain", "3", "missing", []],
        ["10:00", "PRISMA", "3010000.01_sub-008_ses-01", "Language and the brain", "2", "cancelled", []],
    ]


def test_the_anchors_are_the_places_in_what_the_search_knows(site: Site) -> None:
    tags: dict[str, Any] = {"StudyInstanceUID": "1.2.3", "PatientID": "phantom", "PatientName": "QA^Weekly"}
    site.scan(tags, "06:05", study="quality")
    site.calendar.change(2, status="CANCELLED")
    site.run("13:00")
    site.run("03:00", 1)
    html = (past(site) / name()).read_text()
    for at_, line in enumerate(found(site)[day()]):
        card = html[html.index(f'id="s{at_}"') :].partition("</li>")[0]
        assert line[2].rpartition(" ")[2] in card, line
        state, studies = line[-2:]
        assert f">{state}</span>" in card, line
        assert [f"/studies/{study}/view" in card for study in studies] == [True] * card.count("/view"), line


def test_a_run_without_news_writes_no_page(site: Site, made: list[str]) -> None:
    site.run("03:00", 1)
    assert made == [name(), "index.html"]
    for clock in ("03:01", "03:02"):
        site.run(clock, 1)
    assert made == [name(), "index.html", "index.html"], "it leads to usage now"
    for clock in ("03:03", "12:00", "23:59"):
        site.run(clock, 1)
    assert made == [name(), "index.html", "index.html"]


def test_a_day_that_changed_is_made_again_and_no_other(site: Site, made: list[str]) -> None:
    entry = site.take(2)
    site.run("03:00", 1)
    made.clear()
    site.scan(entry, "10:05", study="late")
    site.run("09:00", 1)
    assert made == [name(), "index.html"]
    assert "2 arrived" in page(site).text
    assert [line[-2:] for line in found(site)[day()]] == [
        ["arrived", ["first"]],
        ["arrived", ["late"]],
        ["missing", []],
    ]


def test_a_day_that_runs_no_longer_see_is_made_once_more_and_then_kept(site: Site, made: list[str]) -> None:
    """What was still to come in its night has come by then, or is missing."""
    site.book(8, "6-1", "23:30", "02:30")
    site.run("20:00")
    site.run("03:00", 1)
    assert "1 scheduled" in page(site).text
    site.run("03:00", 2)
    assert "scheduled" not in page(site).text
    made.clear()
    for ahead in range(3, 9):
        site.run("12:00", ahead)
    assert name() not in made


def test_what_was_corrected_afterwards_is_shown_as_it_is(site: Site) -> None:
    site.run("03:00", 1)
    site.calendar.change(1, subj_ses="6-1")
    site.run("10:00", 1)
    assert found(site)[day()][0][2] == "3010000.01_sub-006_ses-01"
    assert "sub-006" in page(site).text


def test_a_study_that_was_repaired_is_linked_under_its_new_id(site: Site) -> None:
    site.run("03:00", 20)
    booked = history.read(history.path_beside(str(site.root / "status.json")), ["1"]).current["1"]
    history.repaired(site.root / "status.history.sqlite", "first", "second", booked, site.now)
    site.run("03:01", 20)
    links = page(site).values("href")
    assert "../../studies/second/archive" in links
    assert not [link for link in links if "first" in link]


def test_hostile_text_is_text_on_both_pages(site: Site, calendar: Calendar) -> None:
    calendar.add_project("3010000.03", HOSTILE)
    site.book(5, "1-1", "13:00", project="3010000.03")
    site.scan(1, "09:05", study="</script><script>alert(1)//&", PatientName=HOSTILE, PatientID=HOSTILE)
    tags: dict[str, Any] = {"StudyInstanceUID": "1.2.3", "PatientID": HOSTILE, "StudyDescription": HOSTILE}
    site.scan(tags, "06:05", study="../../system?\"'><b>", ae_title='"><img>')
    site.run("13:30")
    site.run("03:00", 1)
    for html in ((past(site) / name()).read_text(), (past(site) / "index.html").read_text()):
        reader = Reader(html)
        assert not {"img", "b-"} & {*reader.elements}
        assert reader.elements.count("script") == html.count("<script")
        assert not [one for one in reader.attributes if one[1].startswith("on")]
        assert not {"\x1b", "\u202e"} & {*html}
    links = page(site).values("href")
    assert "../../studies/..%2F..%2Fsystem%3F%22%27%3E%3Cb%3E/archive" in links
    assert "<script>alert" in next(line[3] for line in found(site)[day()] if line[4] == "5")


def test_pages_are_for_their_group_alone_and_their_names_are_days(site: Site) -> None:
    site.book("../../etc/passwd", "1-1", "13:00")
    site.run("13:30")
    site.run("03:00", 1)
    assert there(site) == [name()]
    for path in past(site).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert past(site).stat().st_mode == past(site).parent.stat().st_mode


def test_the_index_is_written_only_if_what_it_finds_has_changed(site: Site, made: list[str]) -> None:
    """Yesterday's images still come: its page says how many, and the index doesn't."""
    entry = site.take(1)
    site.run("03:00", 1)
    made.clear()
    site.scan(entry, "09:15", study="first")
    site.run("03:01", 1)
    assert made == [name()]
    site.calendar.change(2, status="CANCELLED")
    site.run("03:02", 1)
    assert made == [name(), name(), "index.html"]


def test_the_index_leads_to_usage_only_if_that_is_there(site: Site) -> None:
    usage = past(site) / "usage/index.html"

    def leads() -> bool:
        return 'href="usage/index.html"' in (past(site) / "index.html").read_text()

    site.run("03:00", 1)
    assert not usage.exists()
    assert not leads()
    for minute in range(1, 4):
        site.run(f"03:0{minute}", 1)
    assert usage.exists()
    assert leads()


def test_a_run_that_is_killed_as_it_writes_the_link_to_usage_leaves_it_to_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(2):
        site.run(f"03:0{minute}", 1)

    def killed(self: write.Folder, name: str, content: bytes) -> None:
        del self, content
        assert name == "index.html"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(write.Folder, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            site.run("03:02", 1)
    site.run("03:03", 1)
    assert 'href="usage/index.html"' in (past(site) / "index.html").read_text()


def test_nobody_waits_for_a_slow_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a page is on its way to another host, another process can write the history."""
    put, names = write.Folder.put, set[str]()

    def slow(self: write.Folder, name: str, content: bytes) -> None:
        with closing(sqlite3.connect(site.root / "status.history.sqlite", timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
        names.add(name)
        put(self, name, content)

    monkeypatch.setattr(write.Folder, "put", slow)
    for minute in range(4):
        site.run(f"03:0{minute}", 1)
        assert site.found.failures == ()
    assert names >= {name(), "index.html", f"usage/{name()}", "usage/index.html"}


def test_what_is_older_than_the_history_goes(site: Site) -> None:
    site.changes["status.history_days"] = 10
    site.run("03:00", 1)
    for lost in ("2026-11-01.html", "2026-11-20.html"):
        (past(site) / lost).write_text("of a history that was lost")
    site.run("12:00", 1)
    assert there(site) == ["2026-11-20.html", name()]
    site.book(6, "5-1", day=day(9))
    site.run("12:00", 9)
    for minute in range(10):  # a run makes few
        site.run(f"12:{minute:02}", 10)
    assert there(site) == [name(), name(1), name(9)]
    site.book(7, "5-2", day=day(12))
    site.run("12:00", 12)
    assert there(site) == [name(9)]
    assert list(found(site)) == [day(9)]


def test_a_shorter_history_ends_at_once(site: Site) -> None:
    site.book(6, "5-1", day=day(9))
    site.run("12:00", 9)
    for minute in range(10):  # a run makes few
        site.run(f"12:{minute:02}", 10)
    assert name() in there(site)
    site.changes["status.history_days"] = 2
    site.run("12:10", 10)
    assert there(site) == [name(9)]


def test_a_run_makes_few_and_the_newest_first(site: Site, made: list[str]) -> None:
    for ahead in range(1, 20):
        site.book(100 + ahead, f"{ahead}-1", day=day(ahead))
        site.run("02:00", ahead)
    with closing(sqlite3.connect(site.root / "status.history.sqlite")) as connection, connection:
        connection.execute("DELETE FROM page")
    made.clear()
    site.run("03:00", 19)
    assert made == [*[name(ahead) for ahead in range(19 - write.MOST, 19)], "index.html"]
    for minute in range(19 // write.MOST):
        site.run(f"03:{minute + 1:02}", 19)
    assert there(site) == sorted(name(ahead) for ahead in range(19))
    assert list(found(site)) == sorted((day(ahead) for ahead in range(19)), reverse=True)


def test_after_an_update_that_changes_the_pages_each_is_made_again(
    site: Site, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run("03:00", 1)
    made.clear()
    monkeypatch.setattr(write, "LAYOUT", "another")
    monkeypatch.setattr(write, "FOR_NOW", "another, for now")
    site.run("03:01", 1)
    assert made == [name(), "index.html"]


@pytest.mark.parametrize("kill", range(1, 4))
def test_a_run_that_is_killed_leaves_no_half_page_and_the_next_one_goes_on(
    kill: int, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed in place of one of its writes: of two days, and of the index."""
    site.run("08:00", 1)
    for path in past(site).iterdir():
        path.unlink()
    replace, writes = files.replace, 0

    def killed(path: Path, content: bytes, mode: int) -> None:
        nonlocal writes
        if path.parent == past(site):
            writes += 1
            if writes == kill:
                path.with_name(f".{path.name}.tmp").write_bytes(content[: len(content) // 2])
                raise KeyboardInterrupt
        replace(path, content, mode)

    with monkeypatch.context() as patched:
        patched.setattr(files, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            site.run("03:00", 2)
    for path in past(site).glob("*.html"):
        assert path.read_text().endswith("</html>\n") or path.read_text().endswith("</html>")
    site.run("03:01", 2)
    assert there(site) == [name(), name(1)]
    assert list(found(site)) == [day(1), day()]


def test_a_folder_that_was_emptied_is_filled_again(site: Site) -> None:
    site.run("03:00", 1)
    for path in past(site).iterdir():
        path.unlink()
    past(site).rmdir()
    site.run("03:01", 1)
    assert there(site) == [name()]


def test_a_folder_that_cannot_be_written_is_reported_and_stops_nothing(site: Site) -> None:
    past(site).write_text("not a folder")
    site.run("03:00", 1)
    assert [failure for failure in site.found.failures if "pages of past days" in failure]
    past(site).unlink()
    site.run("03:01", 1)
    assert there(site) == [name()]
    assert site.found.failures == ()


def test_a_site_without_a_page_has_no_pages_of_past_days(field_site: Site) -> None:
    field_site.book(1)
    field_site.run("08:00")
    field_site.run("08:00", 1)
    assert not [*field_site.root.rglob("past")]


def test_a_clock_that_jumps_ahead_removes_nothing(site: Site) -> None:
    site.run("03:00", 1)
    site.now += timedelta(days=5000)
    site.run()
    assert there(site) == [name(), name(1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_group_that_serves_the_page_can_read_what_a_stranger_to_it_writes() -> None:
    """As the sync's user does, who isn't in Orthanc's group; with a strict umask, too."""
    with TemporaryDirectory(dir="/var/tmp") as root:
        page = Path(root)
        os.chown(page, 12345, 23456)
        page.chmod(0o2750)
        if (child := os.fork()) == 0:
            status = 1
            try:
                os.setgroups([])
                os.setgid(12345)
                os.setuid(12345)
                os.umask(0o077)
                write.Folder(page).put("index.html", b"a page")
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        modes = {path.name: (path.stat().st_gid, path.stat().st_mode & 0o7777) for path in page.rglob("*")}
        assert modes == {"past": (23456, 0o2750), "index.html": (23456, 0o640)}


@pytest.mark.parametrize("file", ["reconcile.py", "evidence.py", "oddities.py", "booking_status.py"])
@pytest.mark.parametrize("made_by", [write.MADE_BY, usage_write.MADE_BY], ids=["past", "usage"])
def test_an_update_of_what_says_the_states_makes_all_pages_again(
    made_by: tuple[str, ...], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changes_layout(made_by, file, monkeypatch)


@pytest.mark.parametrize("file", ["rendering.py", "palette.css", "past/style.html.j2"])
@pytest.mark.parametrize("made_by", [write.MADE_BY, usage_write.MADE_BY], ids=["past", "usage"])
def test_an_update_of_what_both_have_makes_all_pages_again(
    made_by: tuple[str, ...], file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changes_layout(made_by, file, monkeypatch)


def changes_layout(made_by: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether an update of a file of status/ makes the pages again."""
    before, read = layout(*made_by), Path.read_bytes
    updated = Path(history.__file__).parent / name
    assert updated.is_file()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path == updated else b""))
    return layout(*made_by) != before
