"""The checksum in an entry's file: any change of the entry or of the file breaks it."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.worklist.attributes import CODECS
from dicom_worklist.worklist.checksum import PREAMBLE, holds, with_checksum
from dicom_worklist.worklist.entry import Entry, describe
from support.sample_entry import BOOKING, SCANNER, SITE, bytes_of, charset


@pytest.mark.parametrize(
    "changes",
    [{"project_title": "Another"}, {"subject": "008"}, {"session": 3}, {"user_first_name": "A"}, {"booking_id": "1"}],
)
def test_any_change_of_the_entry_breaks_its_checksum(changes: dict[str, Any]) -> None:
    entry, _ = describe(replace(BOOKING, **changes), SCANNER, SITE, {})
    assert not holds(bytes_of(), entry)


def test_another_charset_breaks_the_checksum() -> None:
    assert not holds(bytes_of(), describe(BOOKING, charset("ISO_IR 100"), SITE, {})[0])


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_change_of_the_file_breaks_its_checksum(at: int, difference: int) -> None:
    content = bytearray(bytes_of())
    content[at % len(content)] ^= difference
    assert not holds(bytes(content), describe(BOOKING, SCANNER, SITE, {})[0])


@pytest.mark.parametrize("length", [0, 64, 128, 132, -1])
def test_a_file_that_is_cut_off_breaks_its_checksum(length: int) -> None:
    assert not holds(bytes_of()[:length], describe(BOOKING, SCANNER, SITE, {})[0])


def test_an_unchanged_file_has_the_checksum_of_its_entry() -> None:
    assert holds(bytes_of(), describe(BOOKING, SCANNER, SITE, {})[0])


def test_case_8_only_files_in_the_default_character_set_are_written_again() -> None:
    def digest(entry: Entry) -> bytes:
        return sha256(json.dumps([1, entry.charset, sorted(entry.values.items())]).encode()).digest()

    for name in CODECS:
        entry, _ = describe(BOOKING, charset(name), SITE, {})
        assert with_checksum(bytes(PREAMBLE), entry).startswith(digest(entry)) == (name != "ISO_IR 6")
