"""The names of entries' files: each gives back its booking and scanner, and no two bookings share one."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dicom_worklist.worklist import folder as folders
from dicom_worklist.worklist.folder import file_name, parse_file_name
from support.worklist_folder import publish, worklist_files

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
AE_TITLES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\"), min_size=1, max_size=16
)


@given(TEXT, AE_TITLES)
@example("a/b", "x-y")
@example("..", ".")
@example("1-PRISMA", "PRISMA")
def test_a_file_name_gives_back_what_it_was_made_of(item: str, place: str) -> None:
    assert parse_file_name(file_name(item, place)) == (item, place)


@given(st.lists(st.tuples(st.text("ab-/.%~ ä2D", min_size=1), st.text("ab-%2D", min_size=1)), max_size=10, unique=True))
@example([("1-2", "3"), ("1", "2-3")])
@example([("1/2", "A"), ("1%2F2", "A")])
def test_two_bookings_never_share_a_file_name(pairs: list[tuple[str, str]]) -> None:
    assert len({file_name(*pair) for pair in pairs}) == len(pairs)


@given(TEXT, AE_TITLES)
@example("🧠" * 16, "#" * 16)
def test_a_file_name_is_legal_and_so_is_its_temporary_s(item: str, place: str) -> None:
    name = file_name(item, place)
    assert name.startswith("booking-")
    assert name.endswith(".wl")
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert len(folders._temporary(Path("/"), name).name) <= 255


#: iCalendar UIDs and worse: of one byte a letter, of three and four, and of what is quoted.
LONG = st.builds(
    "{}{}".format,
    st.sampled_from(["x" * 400, "\u65e5" * 60, "\U0001f9e0" * 40, "a%" * 120, "-+" * 120, "e\u0301" * 50]),
    st.text(st.characters(codec="utf-8"), max_size=5),
)


@given(LONG, st.sampled_from(["PRISMA", "A-B C@D:E_F.G/HIJ", "%" * 16]))
def test_case_10_the_name_of_a_long_id_is_legal_and_has_the_scanner(item: str, place: str) -> None:
    name = file_name(item, place)
    assert name.isascii()
    assert "/" not in name
    assert len(folders._temporary(Path(), name).name) <= 255
    begins, found = parse_file_name(name) or ("", "")
    assert found == place
    assert begins.endswith("\u2026")
    assert item.startswith(begins[:-1])


@given(LONG, LONG)
@example("x" * 500, "x" * 501)
@example("x" * 400 + "a", "x" * 400 + "A")
def test_case_10_two_long_ids_never_share_a_file_name(one: str, other: str) -> None:
    names = [file_name(one, "PRISMA"), file_name(other, "PRISMA")]
    assert (names[0].casefold() == names[1].casefold()) == (one == other)


@pytest.mark.parametrize("item", ["x" * 226, "\u65e5" * 25 + "x"])
def test_case_10_an_id_for_which_there_is_room_is_not_shortened(item: str) -> None:
    assert "+" not in file_name(item, "PRISMA1")
    assert parse_file_name(file_name(item, "PRISMA1")) == (item, "PRISMA1")


def test_case_10_a_file_of_a_long_id_is_written_and_removed(tmp_path: Path) -> None:
    (tmp_path / "lockfile").touch()
    name = file_name("\u65e5" * 100, "PRISMA")
    publish(tmp_path, {name: b"entry"})
    assert worklist_files(tmp_path) == {name: b"entry"}
    publish(tmp_path, {})
    assert worklist_files(tmp_path) == {}


@pytest.mark.parametrize("item", ["x" * 300, "\u65e5" * 100])
def test_case_10_a_name_that_only_looks_shortened_belongs_to_someone_else(item: str) -> None:
    name = file_name(item, "PRISMA")
    for other in (name.replace("-PRISMA", "x-PRISMA"), name.replace("booking-", "booking-xxx"), name.lower(),
                  name.replace("booking-", "booking-%41")[:253], "booking-7+ABC-PRISMA.wl",
                  f"booking-7+{'A' * 26}-PRISMA.wl"):  # fmt: skip
        assert parse_file_name(other) is None


def test_an_ordinary_file_name_is_as_documented() -> None:
    assert file_name("4711", "PRISMA") == "booking-4711-PRISMA.wl"


@pytest.mark.parametrize(
    "name",
    ["other.wl", "booking-1.wl", "booking--PRISMA.wl", "booking-1-.wl", "xbooking-1-PRISMA.wl", "booking-1-PRISMA.wl2",
     "booking-1-PRISMA.WL", "Booking-1-PRISMA.wl", "booking-%31-PRISMA.wl", "booking-a b-PRISMA.wl",
     "booking-%2f-PRISMA.wl", "booking-ä-PRISMA.wl", "booking-%FF-PRISMA.wl", "booking-\udcff-PRISMA.wl",
     "booking-1-PRISMA.wl\n", "lockfile"],
)  # fmt: skip
def test_a_name_that_the_sync_never_makes_belongs_to_someone_else(name: str) -> None:
    assert parse_file_name(name) is None
