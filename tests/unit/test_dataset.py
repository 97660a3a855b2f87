"""An entry as a DICOM file: the same booking gives the same bytes, and what is read of other files."""

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.worklist.attributes import CODECS
from dicom_worklist.worklist.checksum import PREAMBLE
from dicom_worklist.worklist.dataset import attributes_of, decode
from support.sample_entry import BOOKING, bytes_of, charset
from support.worklist_folder import read_dicom


def test_the_same_booking_gives_the_same_bytes() -> None:
    assert bytes_of() == bytes_of(replace(BOOKING))


def test_the_bytes_are_those_that_folders_hold_already() -> None:
    # A change here (another pydicom, another encoder) leaves files of the old bytes in every folder, because a
    # file whose entry is the same is kept: raise checksum.FORMAT together with this digest.
    assert sha256(bytes_of()).hexdigest() == "2ed2dd44ea5608e32b9b8b3b58a267a80521de4cec47bffa71b1530bcbeb86ae"


def test_a_file_is_dicom_with_its_checksum_in_the_preamble() -> None:
    content = bytes_of()
    assert content[PREAMBLE : PREAMBLE + 4] == b"DICM"
    assert content[64:PREAMBLE] == bytes(64)
    assert read_dicom(content).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_case_8_the_default_character_set_is_not_named() -> None:
    # PS3.3 C.12.1.1.2: it has no defined term where no other set is used
    content = bytes_of(scanner=charset("ISO_IR 6"))
    assert "SpecificCharacterSet" not in read_dicom(content)
    assert b"ISO_IR 6" not in content


@pytest.mark.parametrize("name", sorted(CODECS.keys() - {"ISO_IR 6"}))
def test_case_8_every_other_character_set_is_named(name: str) -> None:
    assert read_dicom(bytes_of(scanner=charset(name))).SpecificCharacterSet == name


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(200), bytes_of()[:300]])
def test_a_file_that_is_not_an_entry_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        decode(content)


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_a_damaged_entry_is_read_or_is_an_error(at: int, damage: bytes) -> None:
    content = bytes_of()
    at %= len(content)
    with suppress(ValueError):
        attributes_of(decode(content[:at] + damage + content[at + len(damage) :]))
