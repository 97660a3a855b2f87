"""What the images of a series say of each other: gaps that are gaps, and those that a console makes by design."""

from collections.abc import Iterable

import pytest

from dicom_worklist.status.looks import Image, look


def numbered(numbers: Iterable[int]) -> list[Image]:
    return [Image(number) for number in numbers]


def stack(places: int, volumes: int) -> list[Image]:
    return [Image(at * places + place + 1, f"{place}") for at in range(volumes) for place in range(places)]


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ([1, 2, 3, 5, 6, 7, 8], ((4, 4),)),
        ([*range(1, 57), *range(58, 63), *range(67, 1201)], ((57, 57), (63, 66))),
        ([number for number in range(1, 361) if number % 36 != 17], tuple((at, at) for at in range(17, 361, 36))),
        ([*range(1, 37), *range(73, 361)], ((37, 72),)),
    ],
    ids=["an image", "six of many", "a slice of every volume", "a volume"],
)
def test_few_numbers_that_are_missing_among_many_are_lost(
    numbers: list[int], lost: tuple[tuple[int, int], ...]
) -> None:
    assert look(numbered(numbers)).lost == lost


@pytest.mark.parametrize(
    "numbers",
    [
        range(192),
        range(2, 194),
        [*range(1, 61)] * 2,
        range(1, 64, 2),
        [number for number in range(1, 90) if number % 3],
        [*range(1, 6), *range(101, 106), *range(201, 206)],
        [*range(1, 65), *range(101, 165), *range(201, 265)],
        [*range(1, 61), *range(65, 125), *range(129, 189)],
        [1, 2, 4],
        [7],
        [],
    ],
    ids=[
        "from 0", "from 2", "two echoes", "every second", "two of three", "three orientations", "blocks of a hundred",
        "blocks of 64", "too few to say", "one", "none",
    ],
)  # fmt: skip
def test_numbers_that_a_console_skips_are_not_lost(numbers: Iterable[int]) -> None:
    assert look(numbered(numbers)).lost == ()


def test_images_without_a_number_say_nothing() -> None:
    assert look([Image(None)] * 9).lost == ()


def test_places_with_fewer_images_than_the_others_are_counted() -> None:
    images = stack(36, 300)
    whole = look(images)
    assert (whole.short, whole.places, whole.volumes, whole.frames) == (0, 36, 300, 10800)
    del images[4711], images[17]
    assert (look(images).short, look(images).volumes) == (2, 300)


def test_slices_that_differ_by_design_are_not_short() -> None:
    follows_the_head = [Image(at + 1, f"{at % 36}.{at // 36}") for at in range(3600)]
    localizer = [Image(at + 1, f"{at}") for at in range(15)]
    with_a_map = [*stack(30, 10), *(Image(900 + at, f"{at}") for at in range(5))]
    partly_without_a_place = [*stack(30, 10)[1:], Image(1)]
    for images in (follows_the_head, localizer, with_a_map, partly_without_a_place, [Image(1, "", 9000)]):
        assert look(images).short == 0


def test_frames_are_counted() -> None:
    assert look([Image(1, "", 60), Image(2, "", 60)]).frames == 120
