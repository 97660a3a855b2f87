"""The numbers of an entry: StudyInstanceUID and AccessionNumber stay, and no two bookings share one."""

import re
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dicom_worklist.bookings.booking import Booking
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Site
from dicom_worklist.worklist.entry import accession_number, describe, uid
from support.sample_entry import BOOKING, SCANNER, SITE, charset, entry_of


def study(booking: Booking, site: Site = SITE) -> str:
    return str(entry_of(booking, site=site).StudyInstanceUID)


def test_a_booking_keeps_its_study_instance_uid_when_it_moves() -> None:
    moved = replace(BOOKING, start=datetime(2026, 12, 1), lab="SKYRA", subject="x002", project_id="1")  # noqa: DTZ001
    other = msgspec.structs.replace(SCANNER, ae_title="SKYRA", charset="ISO_IR 100")
    assert entry_of(moved, other).StudyInstanceUID == study(BOOKING)


@pytest.mark.parametrize("root", [None, "1.2.826.0.1", "1." + "1" * 41])
@given(ids=st.sets(st.text(min_size=1, max_size=16), min_size=2, max_size=2))
def test_two_bookings_never_share_a_uid(root: str | None, ids: set[str]) -> None:
    assume(all(text == text.encode("utf-8", "ignore").decode() for text in ids))
    assert len({uid(root, "DCCN", text) for text in ids}) == 2


def test_two_sites_never_share_a_uid() -> None:
    assert study(BOOKING) != study(BOOKING, Site(name="Other", timezone="UTC"))
    assert uid(None, "DCCN1", "1") != uid(None, "DCCN", "11")


@pytest.mark.parametrize("root", [None, "1.2", "1.2.826.0.1", "1." + "1" * 41])
@given(name=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_uid_has_the_form_that_dicom_demands(root: str | None, name: str) -> None:
    made = uid(root, "DCCN", name)
    assert re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", made)
    assert len(made) <= 64
    assert made.startswith(f"{root or '2.25'}.")


def test_a_uid_root_keeps_most_of_the_digest() -> None:
    assert len(uid("1.2.826.0.1", "DCCN", "1")) > 55


#: An ObjectId, a UUID, iCalendar UIDs of Google and of Outlook, one of a bad program; letters of more than one byte.
LONG_IDS = [
    "507f1f77bcf86cd799439011",
    "123e4567-e89b-12d3-a456-426614174000",
    "0t5bq2k7m1r8v3c6n9x4z0a2d1@google.com",
    "040000008200E00074C5B7101A82E00800000000" + "5" * 72,
    "x" * 500,
    "Buchung-f\u00fcr-Z\u00fcrich",
    "1" * 17,
]


@pytest.mark.parametrize("booking_id", LONG_IDS)
@pytest.mark.parametrize("name", ["ISO_IR 192", "ISO_IR 6"])
def test_case_10_a_long_id_has_a_short_accession_number_that_stays(booking_id: str, name: str) -> None:
    booking = replace(BOOKING, booking_id=booking_id)
    entry = entry_of(booking, charset(name))
    assert re.fullmatch("[A-Z2-7]{16}", entry.AccessionNumber)
    assert entry.StudyInstanceUID == uid(None, "DCCN", booking_id)
    moved = replace(booking, start=datetime(2027, 1, 2), subject="008", project_id="1")  # noqa: DTZ001
    assert entry_of(moved, SCANNER).AccessionNumber == entry.AccessionNumber


def test_case_10_the_short_accession_number_is_the_same_for_ever() -> None:
    assert accession_number(LONG_IDS[0]) == "BI24I62PIP2E3IKJ"


def test_case_10_two_long_ids_have_two_accession_numbers() -> None:
    ids = [*LONG_IDS, *(f"{'x' * 499}{number}" for number in range(1000)), "X" * 500]
    assert len({accession_number(booking_id) for booking_id in ids}) == len(ids)


@given(st.text(max_size=16))
def test_case_10_an_id_that_fits_is_the_accession_number(booking_id: str) -> None:
    assert accession_number(booking_id) == booking_id


@pytest.mark.parametrize("booking_id", [*LONG_IDS, "1\\2", "\x1b[31m" + "x" * 20])
def test_case_10_the_written_accession_number_is_checked_not_the_booking_id(booking_id: str) -> None:
    booking = replace(BOOKING, booking_id=booking_id)
    assert entry_of(booking, attributes={"AccessionNumber": "A1"}).AccessionNumber == "A1"
    with pytest.raises(Rejected, match=r"^AccessionNumber: .*has 17 characters; SH allows 16"):
        entry_of(booking, attributes={"AccessionNumber": "A" * 17})


def test_case_10_an_id_that_is_not_text_is_rejected_despite_a_template() -> None:
    with pytest.raises(Rejected, match=r"^AccessionNumber and StudyInstanceUID"):
        describe(replace(BOOKING, booking_id="\udcff" * 20), SCANNER, SITE, {"AccessionNumber": "A1"})
