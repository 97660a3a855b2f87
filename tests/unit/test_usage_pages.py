"""The pages of usage, from a history that real runs wrote: what they say, when they are made, and when they go."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from dicom_worklist import files
from dicom_worklist.status.usage import pages, write
from dicom_worklist.status.usage.figures import Entry, Figures
from dicom_worklist.status.usage.periods import period, periods
from support.calendar import DAY
from support.sample_day import HOSTILE
from support.timed_site import Site, day

from .test_page import Reader

MONTH, WEEK = "2026-11", "2026-11-23-2026-11-29"


@pytest.fixture
def site(field_site: Site) -> Site:
    """A site with a page, a session that took place and one that did not."""
    site = field_site
    (site.root / "page").mkdir()
    site.changes["status.page"] = str(site.root / "page")
    site.changes["status.usage_people"] = True
    site.book(1, "7-1", "09:00", "10:00")
    site.book(2, "8-1", "10:00", "11:00")
    site.run("08:00")
    site.scan(1, "09:05")
    site.run("12:30")
    return site


def test_people_have_figures_only_if_the_site_says_so(site: Site) -> None:
    site.changes["status.usage_people"] = False
    night(site, 1)
    assert "Lovelace" not in text(site, MONTH) + text(site, WEEK)
    assert "By scanner" in text(site, MONTH)
    site.changes["status.usage_people"] = True
    night(site, 1, "04")
    assert "Lovelace" in text(site, MONTH)
    site.changes["status.usage_people"] = False
    night(site, 1, "05")
    assert "Lovelace" not in text(site, MONTH) + text(site, WEEK)


def folder(site: Site) -> Path:
    return site.root / "page/past/usage"


def there(site: Site) -> dict[str, int]:
    """Return the pages that there are, and which file each is: another if it was written again."""
    return {path.stem: path.stat().st_mtime_ns for path in sorted(folder(site).glob("*.html"))}


def night(site: Site, ahead: int, clock: str = "03") -> None:
    """Let a run, and what the next ones would do, make all pages that are due."""
    site.run(f"{clock}:01", ahead)
    config, before = site.config, {"": 0}
    assert config.status is not None
    while before != there(site):
        before = there(site)
        for _ in range(6):
            write.update(config, config.status, site.now)


def text(site: Site, name: str) -> str:
    return Reader((folder(site) / f"{name}.html").read_text()).text


def test_a_day_a_week_and_a_month_are_made_in_the_night(site: Site) -> None:
    assert not folder(site).exists()
    site.run("02:59", 1)
    assert not folder(site).exists()
    night(site, 1)
    assert there(site).keys() == {MONTH, day(), WEEK, "index"}
    for name in there(site):
        shown = " ".join(text(site, name).split())
        assert "PRISMA" in shown or name == "index"
        assert "≈ 0:10" in shown
        assert "2:00" in shown
    assert "Lovelace" in text(site, MONTH)
    assert "November 2026" in text(site, "index")


def test_they_are_made_once_and_again_only_while_they_can_change(site: Site) -> None:
    night(site, 1)
    before = there(site)
    site.run("12:00", 1)
    assert there(site) == before
    night(site, 2)
    after = there(site)
    assert after[day()] != before[day()], "it leads to the day after"
    night(site, 2, "12")
    assert there(site) == after
    assert after[WEEK] != before[WEEK]
    night(site, 9)
    assert there(site)[day()] == after[day()]
    assert there(site)[WEEK] != after[WEEK]
    latest = there(site)
    night(site, 9, "12")
    assert there(site) == latest


def test_the_months_are_listed_again_only_if_their_figures_changed(site: Site) -> None:
    night(site, 1)
    before = there(site)
    site.changes["status.usage_people"] = False
    night(site, 1, "04")
    after = there(site)
    assert {name for name in after if after[name] != before[name]} == {MONTH, WEEK, day()}


def links(site: Site, name: str) -> dict[str, str]:
    """Return where a page leads to, by the relation."""
    found = re.findall(
        r'<a href="([^"]+)\.html"><span class="unseen">(\w+): ', (folder(site) / f"{name}.html").read_text()
    )
    return {relation: target for target, relation in found}


def test_a_page_leads_to_the_one_after_when_that_is_there_and_to_the_one_before_while_it_is(site: Site) -> None:
    site.changes["status.history_days"] = 10
    site.book(3, "9-1", day=day(6))
    night(site, 1)
    assert "after" not in links(site, day())
    for ahead in range(2, 9):
        night(site, ahead)
    assert links(site, day())["after"] == day(1)
    assert links(site, WEEK)["after"] == "2026-11-30-2026-12-06"
    assert links(site, day(6))["before"] == day(5)
    night(site, 11)
    assert day(5) not in there(site)
    assert "before" not in links(site, day(6))


def test_a_change_of_yesterday_makes_its_pages_again(site: Site) -> None:
    night(site, 1)
    assert "no shows" in text(site, day())
    site.calendar.change(1, stop_time="09:30:00")
    night(site, 1, "12")
    assert "1:30" in text(site, day())


def test_pages_go_with_the_history(site: Site) -> None:
    """A week and a month lose the people of a day that is forgotten, and go with their last day."""
    site.changes["status.history_days"] = 10
    site.calendar.add_user("grahop", "Grace", "Hopper")
    site.book(3, "9-1", day=day(4), user="grahop")
    site.run("12:00", 4)
    night(site, 6)
    assert all("Hopper" in text(site, name) and "Lovelace" in text(site, name) for name in (WEEK, MONTH))
    site.book(4, "9-2", day=day(12), user="grahop")
    night(site, 12)
    assert all("Hopper" in text(site, name) and "Lovelace" not in text(site, name) for name in (WEEK, MONTH))
    assert day() not in there(site)
    assert day(4) in there(site)
    site.book(5, "9-3", day=day(20), user="grahop")
    night(site, 20)
    assert not {WEEK, MONTH, day(4)} & {*there(site)}


def test_a_folder_that_was_lost_is_made_again(site: Site) -> None:
    night(site, 1)
    before = {*there(site)}
    for path in sorted(folder(site).parent.rglob("*.html")):
        path.unlink()
    site.run("12:00", 1)
    night(site, 2)
    assert before <= {*there(site)}


def test_a_lost_history_leaves_no_old_page(site: Site) -> None:
    site.changes["status.history_days"] = 3
    night(site, 1)
    site.forget("history")
    site.forget("state")
    night(site, 9)
    assert day() not in there(site)
    assert WEEK not in there(site)


def test_what_people_typed_is_text(site: Site) -> None:
    site.calendar.add_project("666", HOSTILE)
    site.calendar.add_user("mal", HOSTILE, "x")
    site.book(3, "9-1", "14:00", "15:00", project="666", user="mal")
    site.run("13:00")
    night(site, 1)
    html = (folder(site) / f"{MONTH}.html").read_text()
    assert "<script" not in html.lower()
    assert "<img" not in html.lower()


def test_people_whose_names_read_alike_are_one_row_with_all_their_figures() -> None:
    some = [Entry(DAY, "PRISMA", "", name, Figures(sessions=1, no_shows=1)) for name in ("Doe^Jane", "Jane Doe")]
    page = pages.period_page("DCCN", period("day", DAY), {DAY: some}, {})
    people = page.partition("<caption>By person")[2].partition("</table>")[0]
    (row,) = re.findall(r"<tr><th scope=\"row\"><bdi>Jane Doe</bdi>.*?</tr>", people, re.DOTALL)
    assert re.findall(r"<td[^>]*>(\d+)</td>", row)[0] == "2"


def test_without_people_there_is_no_table_of_them(site: Site) -> None:
    site.changes["attributes"] = {"RequestingPhysician": ""}
    site.forget("history")
    site.forget("state")
    site.run("13:00")
    night(site, 1)
    assert "By project" in text(site, MONTH)
    assert "By person" not in text(site, MONTH)


def test_every_link_leads_somewhere(site: Site) -> None:
    night(site, 1)
    night(site, 8)
    for path in folder(site).glob("*.html"):
        for target in re.findall(r'href="([^"#]+)"', path.read_text()):
            assert target == "data:," or (folder(site) / target).exists(), f"{path.name}: {target}"


def test_every_table_and_picture_says_what_it_is(site: Site) -> None:
    night(site, 1)
    for path in folder(site).glob("*.html"):
        html = path.read_text()
        assert html.count("<table>") == html.count("<caption>") > 0
        assert html.count("<svg") == html.count('<svg role="img" aria-labelledby="chart-title"') == 1
        assert html.count('id="chart-title"') == 1


def test_pages_that_cannot_be_written_never_stop_publishing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = files.replace

    def full(path: Path, content: bytes, mode: int) -> None:
        if path.parent.name == "usage":
            raise OSError(28, "No space left on device")
        replace(path, content, mode)

    monkeypatch.setattr(files, "replace", full)
    warnings = [warning for minute in range(1, 4) for warning in site.run(f"03:0{minute}", 1).warnings]
    assert any("the pages of usage can't be written: No space left on device" in warning for warning in warnings)
    monkeypatch.undo()
    night(site, 1, "04")
    assert MONTH in there(site)


def test_periods_are_whole_and_newest_first() -> None:
    names = [one.name for one in periods(DAY, DAY + timedelta(days=8))]
    assert names[:4] == ["2026-12", "2026-11", "2026-11-30-2026-12-06", "2026-11-23-2026-11-29"]
    assert names[4:] == [day(ahead) for ahead in range(8, -1, -1)]
    assert period("week", DAY).title == "Week 48 of 2026"
