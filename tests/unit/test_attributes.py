"""The tables of attributes are those of the standard, as pydicom has it."""

import codecs

import pytest
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_worklist.worklist.attributes import (
    CODE,
    CODE_SEQUENCES,
    CODECS,
    EMPTY_SEQUENCES,
    IDENTIFIERS,
    REQUIRED,
    ROOT,
    STEP,
    TEXT_LENGTH,
    TYPE_2,
    vr_of,
)


@pytest.mark.parametrize("table", [STEP, ROOT, CODE], ids=["STEP", "ROOT", "CODE"])
def test_each_vr_is_the_dictionary_s(table: dict[str, str]) -> None:
    assert table == {keyword: dictionary_VR(keyword) for keyword in table}


def test_an_attribute_of_a_template_has_the_dictionary_s_vr() -> None:
    assert vr_of("StudyComments") == "LT"


def test_every_name_is_a_dicom_keyword() -> None:
    names = {*STEP, *ROOT, *TYPE_2, *EMPTY_SEQUENCES, *REQUIRED, *IDENTIFIERS, *CODE, *CODE_SEQUENCES}
    assert not {name for name in names if tag_for_keyword(name) is None}


def test_what_stands_in_the_step_is_not_at_the_root() -> None:
    assert not STEP.keys() & ROOT.keys()


@pytest.mark.parametrize("charset", sorted(CODECS.keys() - {"ISO_IR 6"}))
def test_each_codec_is_pydicom_s(charset: str) -> None:
    assert codecs.lookup(CODECS[charset]).name == codecs.lookup(python_encoding[charset]).name


def test_the_default_repertoire_is_ascii() -> None:
    assert CODECS["ISO_IR 6"] == "ascii"


@pytest.mark.parametrize("charset", sorted(CODECS))
def test_a_backslash_byte_is_only_ever_a_backslash(charset: str) -> None:
    characters = map(chr, [*range(0xD800), *range(0xE000, 0x11000)])
    encoded = {char: char.encode(CODECS[charset], "ignore") for char in characters}
    assert [char for char, content in encoded.items() if b"\\" in content] == ["\\"]


@pytest.mark.parametrize(
    ("vr", "length"), [("LO", 64), ("SH", 16), ("PN", 64), ("LT", 10240), ("ST", 1024)]
)  # fmt: skip
def test_lengths_are_those_of_ps3_5(vr: str, length: int) -> None:
    assert TEXT_LENGTH[vr] == length
