"""The page, read as its HTML: what it says, and that nothing of what people typed is more than text."""

import os
import re
import stat
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml

from dicom_worklist.status import page
from dicom_worklist.status.booking_status import BookingStatus, State, Unscheduled
from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.overview import About, Day, Lane, Level, Overview, Problem, overview
from dicom_worklist.status.past import pages
from dicom_worklist.status.records import BookingRecord, Study, Version
from support import busy_day, sample_day
from support.sample_day import DAY, HARMLESS, HOSTILE, NOW

VOID = {"meta", "link", "wbr", "input"}
HERE = NOW.astimezone(ZoneInfo("Europe/Amsterdam"))


class Reader(HTMLParser):
    """Reads the page as a browser does: its elements, their attributes, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & {*self._open}:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        return [value for _, its_name, value in self.attributes if its_name == name]


def read(seen: Overview) -> Reader:
    return Reader(page.render(seen))


def empty(**changes: object) -> Overview:
    """Return the overview of a site in which nothing is booked and nothing is wrong."""
    days = [
        Day(DAY + timedelta(days=ahead), [Lane("PRISMA", []), Lane("SKYRA", [])], [])
        for ahead in (-1, 0, 1)
    ]  # fmt: skip
    plain = Overview(
        site="DCCN", now=HERE, good=HERE, frozen=None, failure="", made=None,
        pacs=True, asked=HERE, pacs_failure="",
        frozen_after=timedelta(minutes=5), problems=[],
        yesterday=days[0], today=days[1], tomorrow=days[2],
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def odd(text: str) -> Oddity:
    return Oddity(Kind.STUDIES, text, text)


def everything(text: str) -> Overview:
    """Return an overview in which each text that there is, is this one."""
    start = datetime.combine(DAY, time(9))
    booked = BookingRecord(
        booking_id=text, day=DAY, ae_title=text, start=start, patient_id=text + "1", patient_name=text, reason=text,
        study_instance_uid=text, accession_number=text, step_id=text, project=text, booked_by=text,
    )  # fmt: skip
    study = Study(
        orthanc_id=text, study_instance_uid=text, patient_id=text, patient_name=text, accession_number=text,
        step_ids=(text,), ae_titles=(text, text), start=start, description=text, series=1, instances=2,
    )  # fmt: skip
    lines = [BookingStatus(booked, state, (study,), (odd(text), odd(text))) for state in State]
    about = About(text, text, text, text, text, text)
    told = [Problem(level, text, text, text, kind, about) for kind in (Kind.SWAPPED, "missing") for level in Level]
    return empty(
        site=text,
        failure=text,
        pacs_failure=text,
        frozen=timedelta(hours=3),
        problems=[*(Problem(level, text, text, text) for level in Level), *told, *told, *told],
        today=Day(DAY, [Lane(text, lines), Lane("", lines)], [Unscheduled(study, (odd(text),))]),
    )


def test_typed_text_is_escaped_in_every_field() -> None:
    plain, hostile = read(everything("plain")), read(everything(HOSTILE))
    assert hostile.elements == plain.elements
    assert [(tag, name) for tag, name, _ in hostile.attributes] == [(tag, name) for tag, name, _ in plain.attributes]
    ours = " ".join(HARMLESS.split())
    assert plain.text.count("plain") > 50
    assert hostile.text == plain.text.replace("plain", ours)
    assert {*hostile.values("title")} == {f"09:00 {state} {HARMLESS}" for state in State}
    assert hostile.elements.count("script") == 1


@pytest.mark.parametrize(
    "field", [name for name in BookingRecord.__struct_fields__ if name not in {"day", "start", "on_console", "since"}]
)
def test_a_hostile_field_of_a_booking_changes_no_element(field: str) -> None:
    booked = BookingRecord(booking_id="1", day=DAY, ae_title="SKYRA")
    plain, hostile = (
        read(empty(today=Day(DAY, [Lane("SKYRA", [BookingStatus(one, State.REJECTED)])], [])))
        for one in (msgspec.structs.replace(booked, **{field: text}) for text in ("plain", HOSTILE))
    )
    assert plain.elements == hostile.elements


@pytest.mark.parametrize("odd", ["\ud800", "\x00\x07\x1b[2J", "\u2028\u2029", "\u200e\u2066\u202e", "\ufeff\u200b"])
def test_a_control_code_is_shown_as_an_escape(odd: str) -> None:
    html = page.render(everything(f"a{odd}b"))
    html.encode()
    assert not {*odd} & {*html} - {*"[2J"}


@pytest.mark.parametrize("state", State)
def test_each_state_has_a_word_and_a_count(state: State) -> None:
    for start, places in ((None, 1), (datetime.combine(DAY, time(9)), 2)):  # the time line is the second
        booked = BookingRecord(booking_id="41007", day=DAY, ae_title="SKYRA", start=start)
        seen = read(empty(today=Day(DAY, [Lane("SKYRA", [BookingStatus(booked, state)])], [])))
        assert f"1 {state}" in seen.text
        assert seen.text.count(f" {state} ") == read(empty()).text.count(f" {state} ") + places
    others = [other for other in State if other is not state]
    assert all(f"0 {other}" in seen.text for other in others)


def test_a_booking_has_its_subject_its_title_and_whether_the_console_shows_it() -> None:
    booked = sample_day.booked(7, "09:00")
    for on_console, words in ((True, " on the console"), (False, " not on the console")):
        line = BookingStatus(msgspec.structs.replace(booked, on_console=on_console), State.SCHEDULED)
        said = read(empty(today=Day(DAY, [Lane("PRISMA", [line])], []))).text
        assert words in said
        assert "09:00" in said
        assert "3010000.01_sub-007_ses-01" in said
        assert "project Language and the brain · booked by Ada Lovelace · booking 41007" in said


def test_a_study_is_linked_where_orthanc_shows_it_and_counted() -> None:
    booked = sample_day.booked(7, "09:00")
    studies = (sample_day.study(1, booked, series=2, instances=40), sample_day.study(2, booked, series=1, instances=1))
    seen = read(
        empty(
            today=Day(
                DAY, [Lane("PRISMA", [BookingStatus(booked, State.ARRIVED, studies, (odd("Two of them."),))])], []
            )
        )
    )
    prefix = "../app/explorer.html#study?uuid="
    links = [value.removeprefix(prefix) for value in seen.values("href") if value.startswith(prefix)]
    assert links == [study.orthanc_id for study in studies]
    assert "3 series, 41 images" in seen.text
    assert "Odd: Two of them." in seen.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"patient_id": "sub-031", "patient_name": "sub-031_ses-01"},
            'it was "sub-031_ses-01", and is "3010000.01_sub',
        ),
        ({"ae_title": "SKYRA"}, "it was on SKYRA, and is on PRISMA"),
        ({"start": datetime.combine(DAY, time(11))}, f"it was at {DAY} 11:00, and is at {DAY} 09:00"),
        ({"project": "Another title"}, "its description, its end or who booked it"),
    ],
)
def test_a_changed_booking_has_the_time_and_the_old_value(changes: dict[str, Any], said: str) -> None:
    booked = sample_day.booked(7, "09:00")
    was = Version(booked=msgspec.structs.replace(booked, **changes), until=datetime(2026, 11, 24, 7, 30, tzinfo=UTC))
    line = BookingStatus(booked, State.SCHEDULED, before=was)
    assert f"Changed at 08:30: {said}" in read(empty(today=Day(DAY, [Lane("PRISMA", [line])], []))).text


def test_a_hostile_id_of_a_study_stays_within_its_link() -> None:
    links = [value for value in read(everything(HOSTILE)).values("href") if value.startswith("../app")]
    assert links
    assert {link.partition("uuid=")[2] for link in links} == {quote(HARMLESS)}


def test_a_study_leads_to_its_images_and_to_a_download() -> None:
    links = read(everything("../../system?x")).values("href")
    study = "../studies/..%2F..%2Fsystem%3Fx"
    assert {link for link in links if link.startswith("../studies/")} == {f"{study}/view", f"{study}/archive"}


def test_every_link_within_the_page_has_its_place() -> None:
    seen = read(sample_day.rich())
    places = seen.values("id")
    assert len(places) == len({*places})
    assert {value[1:] for value in seen.values("href") if value.startswith("#")} <= {*places}
    assert {*seen.values("aria-labelledby")} <= {*places}


def test_a_study_of_no_booking_is_shown_with_its_hint() -> None:
    study = Study(orthanc_id="1", patient_id="phantom", patient_name="QA", start=datetime.combine(DAY, time(7, 30)),
                  description="Daily", ae_titles=("SKYRA",), series=1, instances=1)  # fmt: skip
    said = read(empty(today=Day(DAY, [], [Unscheduled(study, (odd("It may be the phantom."),))]))).text
    for words in ("Studies without a booking", "07:30", "QA", "PatientID phantom · Daily · stored by SKYRA",
                  "1 series, 1 image ·", "Odd: It may be the phantom."):  # fmt: skip
        assert words in said
    hint = Oddity(Kind.SERIES, "An image is missing.", "Look on the console.", Weight.HINT)
    said = read(empty(today=Day(DAY, [], [Unscheduled(study, (hint,))]))).text
    assert "Hint: An image is missing. Look on the console." in said


def test_an_outdated_list_is_reported_first_with_its_age() -> None:
    seen = overview(sample_day.config(), sample_day.frozen(sample_day.found()), NOW)
    said = read(seen).text
    assert "Last good run 12:15, the list has not been updated for 2 hours 5 minutes" in said
    assert "The PACS last answered 12:15, not since" in said
    first = said.index("Critical: The list has not been updated since")
    assert first < said.index("Warning:") < said.index("Last good run")
    assert said.startswith("Critical: worklist of DCCN, 2026-11-24")


def test_a_run_of_another_day_has_its_date() -> None:
    ago = HERE - timedelta(days=1, hours=1)
    assert (
        "Last good run 2026-11-23 13:20, the list has not been updated for 1 day 1 hour"
        in read(empty(good=ago, frozen=HERE - ago)).text
    )


def test_without_a_pacs_or_a_run_the_page_says_so() -> None:
    assert "The PACS last answered there is none to ask" in read(empty(pacs=False, asked=None)).text
    assert "The PACS last answered never yet" in read(empty(asked=None)).text
    assert "Last good run no run has ended well yet" in read(empty(good=None)).text


def test_of_a_day_that_no_run_has_read_nothing_is_known() -> None:
    seen = read(empty(good=HERE - timedelta(days=1), frozen=timedelta(days=1)))
    assert (seen.text.count("nothing booked"), seen.text.count("not known")) == (4 + 2, 2)


def test_an_empty_day_is_calm_and_whole() -> None:
    seen = read(empty())
    assert "All is well" in seen.text
    assert "Critical" not in seen.text
    assert seen.text.count("nothing booked") == 6 + 2
    assert "Time line" not in " ".join(seen.values("aria-label"))
    order = [seen.text.index(words) for words in (
        "Worklist of DCCN Tuesday 24 November 2026", "Today Tuesday 24 November 2026",
        "Yesterday Monday 23 November 2026", "Tomorrow Wednesday 25 November 2026", "Last good run",
        "The PACS last answered", "This page was written 2026-11-24 14:20:05 Europe/Amsterdam; each run renews it",
    )]  # fmt: skip
    assert order == sorted(order)


def test_the_page_asks_for_nothing_but_itself() -> None:
    seen = read(sample_day.rich())
    assert seen.values("src") == []
    assert [value[:5] for tag, name, value in seen.attributes if (tag, name) == ("link", "href")] == ["data:"]
    assert {value[0] for value in seen.values("href")} == {"#", ".", "d"}
    assert any(value.startswith("default-src 'none'") for value in seen.values("content"))


# --- the file ---


def test_the_page_is_put_in_place_whole_and_for_its_group_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.html"
    page.write(tmp_path, empty())
    before = index.read_bytes()
    assert before == page.render(empty(), []).encode()
    assert stat.S_IMODE(index.stat().st_mode) == 0o640

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fchmod", full)
        with pytest.raises(OSError, match="No space left"):
            page.write(tmp_path, sample_day.rich())
    assert index.read_bytes() == before
    assert list(tmp_path.iterdir()) == [index]
    page.write(tmp_path, sample_day.rich())
    assert b"the list has not been updated" in index.read_bytes()


def test_further_pages_are_linked_where_they_are(tmp_path: Path) -> None:
    def linked() -> list[str]:
        page.write(tmp_path, empty())
        html = (tmp_path / "index.html").read_text()
        return [value for value in Reader(html).values("href") if value.startswith("./past")]

    assert linked() == []
    (tmp_path / "past/usage").mkdir(parents=True)
    assert linked() == []
    (tmp_path / "past/usage/index.html").touch()
    (tmp_path / "past/index.html").touch()
    assert linked() == ["./past/index.html", "./past/usage/index.html"]


# --- what an open page relies on ---


def test_a_booking_has_the_same_place_in_the_next_page() -> None:
    one, same, two, three = (BookingStatus(sample_day.booked(at, "09:00"), State.SCHEDULED) for at in (1, 1, 2, 3))

    def places(*lines: BookingStatus) -> list[str]:
        seen = read(empty(today=Day(DAY, [Lane("PRISMA", lines)], [])))
        return [value for value in seen.values("id") if value.startswith("booking-")]

    first, second = places(one, two)
    assert places(three, two) == [places(three)[0], second]
    assert len({*places(one, same, two)}) == 3
    assert first != second


def test_the_front_door_allows_the_scripts_of_the_pages_and_no_others() -> None:
    role = yaml.safe_load((Path(__file__).parents[2] / "roles/front_door/vars/main.yml").read_text(encoding="utf-8"))
    made = [page.render(empty()), pages.index_page("DCCN", [])]
    policies = [value for html in made for value in Reader(html).values("content") if value.startswith("default-src")]
    allowed = [re.findall(r"script-src ([^;]*);", policy) for policy in policies]
    assert allowed == [[f"'{digest}'"] for digest in role["__front_door_page_scripts"][:2]]


def test_the_counts_of_the_problems_agree_with_those_of_the_day() -> None:
    seen = busy_day.busy("eight")
    text = Reader(page.render(seen)).text
    missing = seen.today.counts[State.MISSING], seen.yesterday.counts[State.MISSING]
    assert min(missing) > 0
    assert f"{sum(missing)} bookings without images: {missing[0]} today, {missing[1]} yesterday" in text
    assert "1 critical problem, 21 warnings" in text
    assert [problem.level for problem in seen.problems].count(Level.WARNING) == 21


def test_a_booking_whose_time_has_come_says_that_it_has_no_images_yet() -> None:
    now = Reader(page.render(busy_day.busy("eight"))).text.partition("Today")[2]
    assert "sub-047 until 17:25 no images yet" in now
    assert "sub-027 until 15:25 next 15:25 sub-028" in now


def test_a_scanner_with_somebody_in_it_is_not_called_empty() -> None:
    study = Study(orthanc_id="1", stable=False, ae_titles=("PRISMA",), series=1, instances=3)
    booked = sample_day.booked(1, "09:00")
    over = BookingStatus(booked, State.IN_PROGRESS, (study,), end=HERE.replace(tzinfo=None) - timedelta(minutes=5))
    seen = read(empty(today=Day(DAY, [Lane("PRISMA", [over]), Lane("SKYRA", [])], [])))
    now = seen.text.partition("Today")[2].partition("Time line")[0]
    assert "booked 09:00" in now
    assert "images come" in now
    assert "SKYRA nothing booked now" in now
