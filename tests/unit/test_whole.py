"""Whether all images of a session have come: each hint with its evidence, and when there is no hint."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from dicom_worklist.status import whole
from dicom_worklist.status.looks import Image, look
from dicom_worklist.status.oddities import Kind, Oddity, Weight
from dicom_worklist.status.records import Series, Session
from dicom_worklist.status.whole import Case

SESSION = Session(booking_id="1", project="3010000.01", ae_title="PRISMA")


def series(
    name: str, count: int | Iterable[int] = 10, number: int = 5, *, derived: bool = False, **changes: Any
) -> Series:
    numbers = range(1, count + 1) if isinstance(count, int) else [*count]
    seen = look([Image(one) for one in numbers], derived=derived)
    values: dict[str, Any] = {"orthanc_id": f"{number}", "study": "a", "modality": "MR"} | changes
    return Series(number=number, name=name, images=seen.images, look=seen, **values)


def sessions(*of: Sequence[Series]) -> list[Session]:
    """Return earlier sessions, the latest first."""
    return [whole.remembered(msgspec.structs.replace(SESSION, booking_id=f"-{at}"), one) for at, one in enumerate(of)]


def told(now: Sequence[Series], earlier: Sequence[Session] = (), off: Sequence[str] = (), *, over: bool = True) -> Any:
    return whole.hints(Case(SESSION, now, earlier, over, off))


def texts(said: Sequence[Oddity]) -> list[str]:
    return [one.text for one in said]


GAP = [*range(1, 57), *range(58, 1201)]


def test_a_gap_in_the_numbers_is_told_without_any_earlier_session() -> None:
    [said] = told([series("bold", GAP)], over=False)
    assert said.text == 'Series 5 "bold" has 1,199 images; InstanceNumber 57 is missing.'
    assert (said.kind, said.level) == (Kind.SERIES, Weight.HINT)
    assert "PRISMA" in said.remedy


def test_what_earlier_sessions_had_is_told_in_words() -> None:
    earlier = sessions(*[[series("bold_task", 1200)]] * 12)
    assert texts(told([series("bold_task", 1196)], earlier, over=False)) == [
        'Series 5 "bold_task" has 1,196 images; all 12 earlier sessions of project 3010000.01 had 1,200.'
    ]


def test_the_evidence_for_a_series_is_one_hint() -> None:
    earlier = sessions(*[[series("bold", 1200)]] * 3)
    [said] = texts(told([series("bold", GAP, in_acquisition=1200)], earlier))
    assert said.split("; ") == [
        'Series 5 "bold" has 1,199 images', "InstanceNumber 57 is missing", "its header says 1,200",
        "all 3 earlier sessions of project 3010000.01 had 1,200.",
    ]  # fmt: skip


def test_frames_of_enhanced_objects_are_compared() -> None:
    volumes = [Image(at, "", 60) for at in range(1, 101)]
    before = msgspec.structs.replace(series("xa", 100), look=look(volumes))
    now = msgspec.structs.replace(series("xa", 99), look=look(volumes[:-1]))
    assert texts(told([now], sessions(*[[before]] * 3))) == [
        'Series 5 "xa" has 5,940 frames; all 3 earlier sessions of project 3010000.01 had 6,000.'
    ]


@pytest.mark.parametrize(
    ("changes", "count", "said"),
    [
        ({"in_acquisition": 240}, 239, 240),
        ({"in_acquisition": 240, "temporal_positions": 60, "expected": 14400}, 240, None),
        ({"in_acquisition": 36, "temporal_positions": 100, "expected": 3600}, 3564, 3600),
        ({"in_acquisition": 36, "temporal_positions": 100, "expected": 3600}, 3600, None),
        ({"in_acquisition": 36, "temporal_positions": 1, "expected": 36}, 72, None),
        ({"expected": 531}, 530, 531),
        ({"expected": 531}, 600, None),
        ({"temporal_positions": 2}, 36, None),
        ({"in_acquisition": 960, "derived": True}, 790, None),
    ],
    ids=["GE", "GE with volumes", "Philips", "whole", "two echoes", "PET", "more", "no slices known", "derived"],
)
def test_the_header_says_how_many_there_are(changes: dict[str, Any], count: int, said: int | None) -> None:
    expected = [f'Series 5 "s" has {count:,} images; its header says {said:,}.'] if said else []
    assert texts(told([series("s", count, **changes)])) == expected


def test_volumes_are_counted_by_their_slices() -> None:
    images = [Image(at * 30 + place + 1, f"{place}") for at in range(60) for place in range(30)]
    one = series("dyn", 1, temporal_positions=60)
    assert told([msgspec.structs.replace(one, images=1800, look=look(images))]) == []
    fewer = msgspec.structs.replace(one, images=1770, look=look(images[:-30]))
    assert texts(told([fewer])) == ['Series 5 "dyn" has 1,770 images; its header says 1,800.']
    uneven = msgspec.structs.replace(one, images=1799, temporal_positions=0, look=look(images[:-1]))
    assert texts(told([uneven])) == [
        'Series 5 "dyn" has 1,799 images; 1 of 30 slices has fewer images than the others (60).'
    ]


def test_a_protocol_that_all_earlier_sessions_had_is_missed_when_the_session_is_over() -> None:
    earlier = sessions(*[[series("T1"), series("bold", number=6), series("bold", number=7)]] * 5)
    now = [series("bold", number=2)]
    assert told(now, earlier, over=False) == []
    said = told(now, earlier)
    assert texts(said) == [
        'No series "T1" is here; all 5 earlier sessions of project 3010000.01 had it.',
        'Only 1 of 2 series "bold" is here; all 5 earlier sessions of project 3010000.01 had 2.',
    ]
    assert {one.kind for one in said} == {Kind.PROTOCOL}
    assert told([], earlier[:4]) == []


def test_the_remedy_is_another_one_when_the_session_is_over() -> None:
    names = ["localizer", "T1", "bold", "fmap", "dwi"]
    earlier = sessions(*[[series(name, number=at) for at, name in enumerate(names)]] * 5)
    now = [series("localizer", number=0), series("bold", GAP, 2), series("fmap", number=3), series("dwi", number=4)]
    for over, begin in ((False, "If the subject is still there, "), (True, "Look on the console of PRISMA ")):
        said = told(now, earlier, over=over)
        assert [one.kind for one in said] == [Kind.SERIES, Kind.PROTOCOL]
        for one in said:
            assert one.remedy.startswith(begin)
            assert ("subject" in one.remedy) != over


def test_many_missing_protocols_are_one_hint() -> None:
    earlier = sessions(*[[series(name) for name in ("localizer", "T1", "bold", "fmap", "dwi")]] * 5)
    [said] = texts(told([series("localizer")], earlier))
    assert said.split("; ") == [
        '4 protocols are missing: "T1", "bold", "dwi" and 1 more',
        "all 5 earlier sessions of project 3010000.01 had them.",
    ]
    names = ["a", "b", "c", "d", "e", "f"]
    earlier = sessions(*[[series(name, number=at) for at, name in enumerate(names)]] * 5)
    [said] = texts(told([series("e", number=4), series("f", number=5)], earlier, over=False))
    assert said == (
        '4 protocols are not here yet: "a", "b", "c" and 1 more; all 5 earlier sessions of project 3010000.01 had '
        "them. They usually come before series that are here already."
    )


def test_a_protocol_is_missed_as_soon_as_two_are_there_that_always_came_after_it() -> None:
    names = ["localizer", "T1", "bold", "bold", "fmap", "dwi"]
    earlier = sessions(*[[series(name, number=at) for at, name in enumerate(names)]] * 5)

    def now(*names: str) -> list[str]:
        return texts(told([series(name, number=at) for at, name in enumerate(names)], earlier, over=False))

    had, before = "all 5 earlier sessions of project 3010000.01 had", "before series that are here already"
    assert now("localizer", "bold", "bold") == []
    assert now("localizer", "bold", "bold", "fmap") == [
        f'No series "T1" is here yet; {had} it. It usually comes {before}.'
    ]
    assert now("localizer", "T1", "bold", "fmap", "dwi") == [
        f'Only 1 of 2 series "bold" is here; {had} 2. The second one usually comes {before}.'
    ]
    earlier = [*sessions([series(name, number=at) for at, name in enumerate(reversed(names))]), *earlier]
    assert now("localizer", "bold", "bold", "fmap") == []


def test_nothing_is_said_of_a_series_that_grows_or_has_not_been_looked_at() -> None:
    earlier = sessions(*[[series("T1"), series("bold", 1200)]] * 5)
    growing = series("bold", GAP, stable=False)
    assert told([growing], earlier) == []
    assert told([msgspec.structs.replace(growing, stable=True, look=None)], earlier) == []


def test_a_scan_that_was_stopped_and_made_again_is_whole() -> None:
    earlier = sessions(*[[series("bold", 300)]] * 5)
    stopped, again = series("bold", 57, in_acquisition=300), series("bold", 300, 6, in_acquisition=300)
    assert told([stopped, again], earlier) == []
    assert told([stopped], earlier, over=False) == []  # who stopped it knows
    assert told([stopped, msgspec.structs.replace(again, stable=False)], earlier) == []
    assert len(told([stopped], earlier)) == 1


def test_of_two_runs_the_one_with_fewer_images_is_named() -> None:
    earlier = sessions(*[[series("bold", 300), series("bold", 300, 6)]] * 3)
    assert texts(told([series("bold", 299), series("bold", 300, 6)], earlier)) == [
        'Series 5 "bold" has 299 images; all 3 earlier sessions of project 3010000.01 had 300.'
    ]
    assert len(told([series("bold", 57), series("bold", 300, 6)], earlier)) == 1  # the second run was not made


def test_magnitude_and_phase_of_one_name_are_two_series() -> None:
    earlier = sessions(*[[series("gre", 72), series("gre", 36, 6)]] * 5)
    assert told([series("gre", 72), series("gre", 36, 6)], earlier) == []
    assert texts(told([series("gre", 70), series("gre", 36, 6)], earlier))[0].startswith('Series 5 "gre" has 70')
    assert texts(told([series("gre", 72)], earlier)) == [
        'Only 1 of 2 series "gre" is here; all 5 earlier sessions of project 3010000.01 had 2.'
    ]


def test_a_protocol_that_was_changed_is_the_new_normal_when_the_latest_three_agree() -> None:
    old, new = [series("bold", 300)], [series("bold", 250)]
    assert len(told(new, sessions(*[old] * 9))) == 1  # once
    assert told(new, sessions(*[new] * 1, *[old] * 9)) == []
    assert told([series("bold", 240)], sessions(*[new] * 2, *[old] * 9)) == []
    assert len(told([series("bold", 240)], sessions(*[new] * 3, *[old] * 9))) == 1


def test_a_protocol_with_another_name_is_not_missed() -> None:
    assert told([series("bold_v2")], sessions(*[[series("bold")]] * 9)) == []


def test_what_varies_has_no_usual_number() -> None:
    varies = sessions(*[[series("task", count)] for count in (400, 400, 400, 390, 410, 395)])
    assert told([series("task", 380)], varies) == []
    once_short = sessions(*[[series("task", count)] for count in (400, 400, 400, 396, *[400] * 11)])
    assert len(told([series("task", 380)], once_short)) == 1


def test_gaps_that_earlier_sessions_had_are_made_so() -> None:
    assert told([series("odd", GAP)], sessions([series("odd", GAP)])) == []
    other = [*range(1, 60), *range(61, 1201)]
    assert len(told([series("odd", GAP)], sessions([series("odd", other)]))) == 1


def test_reports_are_not_compared() -> None:
    earlier = sessions(*[[series("T1"), series("Report", 1, modality="SR"), series("PhoenixZIPReport", 1)]] * 5)
    assert told([series("T1")], earlier) == []


@pytest.mark.parametrize("rule", ["gaps", "slices", "header", "fewer", "missing"])
def test_each_rule_can_be_turned_off(rule: str) -> None:
    def seen() -> list[Series]:
        images = [Image(at * 30 + place + 1, f"{place}") for at in range(60) for place in range(30)]
        one = series("dyn", 1, in_acquisition=1800)
        return [msgspec.structs.replace(one, images=1799, look=look([*images[:700], *images[701:]]))]

    full = msgspec.structs.replace(series("dyn", 1800))
    earlier = sessions(*[[full, series("T1")]] * 5)
    parts = {
        "gaps": "InstanceNumber", "slices": "slices has", "header": "its header", "fewer": "had 1,800",
        "missing": "No series",
    }  # fmt: skip
    said = " ".join(texts(told(seen(), earlier, [rule])))
    assert {name for name, part in parts.items() if part not in said} == {rule}
    assert told(seen(), earlier, [*parts]) == []
