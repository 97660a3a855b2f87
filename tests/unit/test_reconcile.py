"""Bookings against studies: what fits one booking is its own; what fits more is reported, not guessed."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_worklist.status.booking_status import BookingStatus, Reconciled, State
from dicom_worklist.status.evidence import EARLY, Times
from dicom_worklist.status.oddities import Kind
from dicom_worklist.status.reconcile import reconcile
from dicom_worklist.status.records import BookingRecord, Study
from support.calendar import DAY

SECOND, MINUTE, ONE_DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
SESSION, MISSING_AFTER = 60 * MINUTE, 30 * MINUTE


def at(hour: int, minute: int = 0) -> datetime:
    return datetime.combine(DAY, time(hour, minute))


def asked_at(asked: datetime) -> Times:
    return Times(asked=asked, session=SESSION, missing_after=MISSING_AFTER)


NINE = at(9)
TOMORROW = at(9, 10) + ONE_DAY


def booked(number: int, start: datetime | None = NINE, **changes: Any) -> BookingRecord:
    values: dict[str, Any] = {
        "booking_id": f"{number}",
        "day": start.date() if start else DAY,
        "ae_title": "PRISMA",
        "start": start,
        "patient_id": f"sub-{number:03}",
        "study_instance_uid": f"2.25.{number}",
        "accession_number": f"A{number}",
        "step_id": f"ses-mri{number:02}",
    }
    return BookingRecord(**values | changes)


def study(**changes: Any) -> Study:
    """Return a study on PRISMA at ten past nine that says nothing else."""
    values: dict[str, Any] = {
        "orthanc_id": "one",
        "ae_titles": ("PRISMA",),
        "start": at(9, 10),
        "series": 2,
        "instances": 5,
    }
    return Study(**values | changes)


#: 1 is at nine, until 2 begins on the same scanner at half past; 3 is on another; 4 is 1's subject again, tomorrow;
#: 5 and 6 are of one subject, one after the other; 7 is rejected.
BOOKINGS = (
    booked(1),
    booked(2, at(9, 30)),
    booked(3, ae_title="SKYRA", step_id="ses-mri01"),
    booked(4, NINE + ONE_DAY, patient_id="sub-001"),
    booked(5, at(13)),
    booked(6, at(13, 30), patient_id="sub-005"),
    booked(7, at(16), reason="it has no session"),
)


def seen(*studies: Study, bookings: Sequence[BookingRecord] = BOOKINGS, times: Times | None = None) -> Reconciled:
    return reconcile(bookings, studies, times or asked_at(at(9, 5)))


def hint(reconciled: Reconciled) -> str:
    """Return what is reported of the first study of no booking."""
    return " ".join(oddity.text for oddity in reconciled.unscheduled[0].oddities)


def said(line: BookingStatus) -> tuple[str, ...]:
    return tuple(oddity.text for oddity in line.oddities)


def owner(reconciled: Reconciled) -> str | None:
    """Return the booking of the one study."""
    return next((line.booked.booking_id for line in reconciled.lines if line.studies), None)


def line(reconciled: Reconciled, booking_id: str) -> BookingStatus:
    return next(line for line in reconciled.lines if line.booked.booking_id == booking_id)


@pytest.mark.parametrize(
    ("changes", "booking_id"),
    [
        # by StudyInstanceUID alone
        ({"study_instance_uid": "2.25.1"}, "1"),
        ({"study_instance_uid": "2.25.1", "accession_number": "A2", "patient_id": "sub-003"}, "1"),
        ({"study_instance_uid": "2.25.1", "ae_titles": ("SKYRA",), "start": TOMORROW}, "1"),
        ({"study_instance_uid": "2.25.1", "ae_titles": (), "start": None}, "1"),
        ({"study_instance_uid": "2.25.10"}, None),
        # by AccessionNumber, with the PatientID, or with the scanner and the time
        ({"accession_number": "A2"}, None),
        ({"accession_number": "A2", "start": at(9, 40)}, "2"),
        ({"accession_number": "A2", "start": at(9, 40), "patient_id": "edited"}, "2"),
        ({"accession_number": "A2", "start": at(9, 40), "ae_titles": ("SKYRA",)}, None),
        ({"accession_number": "A2", "patient_id": "sub-002", "ae_titles": ("SKYRA",), "start": None}, "2"),
        ({"study_instance_uid": "1.2.3", "accession_number": "A2", "patient_id": "sub-001"}, "1"),
        ({"accession_number": "A2", "start": at(9, 40), "step_ids": ("ses-mri05",)}, "2"),
        ({"accession_number": "A"}, None),
        # by ScheduledProcedureStepID, which must be one booking's, on that scanner and in its time
        ({"step_ids": ("ses-mri02",), "start": at(9, 40)}, "2"),
        ({"step_ids": ("ses-mri02",), "start": at(23, 59)}, None),
        ({"step_ids": ("ses-mri02",), "start": at(9, 40), "patient_id": "edited"}, "2"),
        ({"step_ids": ("ses-mri02",), "start": at(9, 40), "accession_number": "of one that was cancelled"}, None),
        ({"step_ids": ("ses-mri02", "ses-mri02"), "start": at(9, 40)}, "2"),
        ({"step_ids": ("of nobody", "ses-mri02"), "start": at(9, 40)}, "2"),
        ({"step_ids": ("ses-mri02",), "ae_titles": ("SKYRA",)}, None),
        ({"step_ids": ("ses-mri02",), "ae_titles": ()}, None),
        ({"step_ids": ("ses-mri02",), "start": TOMORROW}, None),
        ({"step_ids": ("ses-mri02",), "start": None}, None),
        ({"step_ids": ("ses-mri01",)}, None),  # 1's and 3's
        ({"step_ids": ("ses-mri01",), "patient_id": "sub-001"}, "1"),
        ({"step_ids": ("ses-mri02", "ses-mri05")}, None),
        # by PatientID, on the booked scanner, within the booked time
        ({"patient_id": "sub-001"}, "1"),
        ({"patient_id": "sub-001", "ae_titles": ("ELSE", "PRISMA")}, "1"),
        ({"patient_id": "sub-001", "start": NINE - EARLY}, "1"),
        ({"patient_id": "sub-001", "start": NINE - EARLY - SECOND}, None),
        ({"patient_id": "sub-001", "start": at(9, 30) - SECOND}, "1"),
        ({"patient_id": "sub-001", "start": at(9, 30)}, None),  # the next booking's time
        ({"patient_id": "sub-002", "start": at(9, 30) + SESSION - SECOND}, "2"),
        ({"patient_id": "sub-002", "start": at(9, 30) + SESSION}, None),  # the longest session is over
        ({"patient_id": "sub-003", "start": at(9, 45), "ae_titles": ("SKYRA",)}, "3"),  # 2 is on another scanner
        ({"patient_id": "sub-001", "start": TOMORROW}, "4"),
        ({"patient_id": "sub-001", "ae_titles": ("SKYRA",)}, None),
        ({"patient_id": "sub-001", "ae_titles": ()}, None),
        ({"patient_id": "sub-001", "start": None}, None),
        ({"patient_id": "SUB-001"}, None),
        ({"patient_id": "sub-005", "start": at(13, 10)}, "5"),
        ({"patient_id": "sub-005", "start": at(13, 20)}, None),  # 5 isn't over, and 6 may have begun
        ({"patient_id": "sub-005", "start": at(13, 30)}, "6"),
        # a rejected one is nobody's
        ({"study_instance_uid": "2.25.7"}, None),
        ({"accession_number": "A7"}, None),
        ({"step_ids": ("ses-mri07",)}, None),
        ({"patient_id": "sub-007", "start": at(16)}, None),
        # what says nothing fits nothing
        ({}, None),
    ],
)
def test_a_study_is_of_the_booking_that_it_names(changes: dict[str, Any], booking_id: str | None) -> None:
    reconciled = seen(study(**changes))
    assert owner(reconciled) == booking_id
    assert [one.study for one in reconciled.unscheduled] == ([] if booking_id else [study(**changes)])


def test_an_empty_value_matches_no_empty_value() -> None:
    empty = booked(1, patient_id="", study_instance_uid="", accession_number="", step_id="")
    reconciled = seen(study(step_ids=("",)), bookings=[empty])
    assert owner(reconciled) is None
    assert hint(reconciled) == ""


@pytest.mark.parametrize(
    ("same", "changes"),
    [
        ({"study_instance_uid": "2.25.0"}, {"study_instance_uid": "2.25.0"}),
        ({"accession_number": "A"}, {"accession_number": "A", "start": at(9, 15)}),
        ({"accession_number": "A"}, {"accession_number": "A", "patient_id": "sub-001"}),
        ({"patient_id": "sub-000"}, {"patient_id": "sub-000"}),
    ],
)
def test_a_study_that_fits_two_bookings_is_reported_not_guessed(same: dict[str, Any], changes: dict[str, str]) -> None:
    reconciled = seen(study(**changes), bookings=[booked(1, **same), booked(2, at(9, 20), **same)])
    assert owner(reconciled) is None
    assert hint(reconciled) == (
        f"It could be any of booking 1 (PRISMA {DAY} 09:00), booking 2 (PRISMA {DAY} 09:20): only you can know which."
    )


@pytest.mark.parametrize(("count", "more"), [(3, ""), (4, " and 1 more"), (5, " and 2 more")])
def test_a_subject_at_another_time_is_a_hint_that_names_three_bookings(count: int, more: str) -> None:
    same = [booked(number, at(9 + number), patient_id="sub-000") for number in range(1, count + 1)]
    given = seen(study(patient_id="sub-000", start=at(20)), bookings=same)
    named = ", ".join(f"booking {number} (PRISMA {DAY} {9 + number}:00)" for number in (1, 2, 3))
    assert hint(given) == f"Its PatientID is that of {named}{more}."


def test_a_booking_without_a_time_can_be_named_and_is_never_missing() -> None:
    reconciled = seen(study(patient_id="sub-001"), bookings=[booked(1, None)], times=asked_at(TOMORROW))
    assert hint(reconciled) == f"Its PatientID is that of booking 1 (PRISMA {DAY})."
    assert line(reconciled, "1").state is State.SCHEDULED


@pytest.mark.parametrize(
    ("start", "scanned"),
    [(at(23, 45), at(23, 50) + 20 * MINUTE), (at(0), at(0) - 10 * MINUTE)],
    ids=["after midnight", "before midnight"],
)
def test_a_session_over_midnight_is_within_its_time(start: datetime, scanned: datetime) -> None:
    assert scanned.date() != start.date()
    assert owner(seen(study(patient_id="sub-001", start=scanned), bookings=[booked(1, start)])) == "1"


def test_two_bookings_of_one_time_both_end_when_the_next_begins() -> None:
    bookings = [booked(1), booked(2), booked(3, at(9, 20))]
    for number in (1, 2):
        within, over = (study(patient_id=f"sub-00{number}", start=at(9, minute)) for minute in (19, 20))
        assert owner(seen(within, bookings=bookings)) == f"{number}"
        assert owner(seen(over, bookings=bookings)) is None
    assert [line.end for line in seen(bookings=bookings).lines] == [at(9, 20), at(9, 20), at(10, 20)]


def test_a_rejected_booking_ends_nobodys_time() -> None:
    bookings = [booked(1), booked(2, at(9, 20), reason="it has no session")]
    assert owner(seen(study(patient_id="sub-001", start=at(9, 40)), bookings=bookings)) == "1"


@pytest.mark.parametrize("stables", [(True,), (False,), (True, True), (True, False), (False, True)])
def test_a_booking_has_arrived_when_all_its_studies_are_stable(stables: Sequence[bool]) -> None:
    uid = {"study_instance_uid": "2.25.1", "patient_id": "sub-001"}
    studies = [study(orthanc_id=f"{at}", stable=stable, **uid) for at, stable in enumerate(stables)]
    one = line(seen(*studies), "1")
    one_state = State.ARRIVED if all(stables) else State.IN_PROGRESS
    assert one.state is (one_state if len(stables) == 1 else State.ODD)
    assert (one.series, one.instances) == (2 * len(stables), 5 * len(stables))


@pytest.mark.parametrize(
    ("asked", "state"),
    [
        (NINE, State.SCHEDULED),
        (at(9, 30), State.SCHEDULED),
        (at(9, 30) + MISSING_AFTER, State.SCHEDULED),
        (at(9, 30) + MISSING_AFTER + SECOND, State.MISSING),
        (at(9, 30) + ONE_DAY, State.MISSING),
    ],
)
def test_images_are_missing_when_the_time_is_over_by_the_margin(asked: datetime, state: State) -> None:
    assert line(seen(times=asked_at(asked)), "1").state is state


def test_images_that_came_late_are_not_missing() -> None:
    late = seen(study(study_instance_uid="2.25.1", patient_id="sub-001", stable=False), times=asked_at(at(23)))
    assert line(late, "1").state is State.IN_PROGRESS


def test_nothing_is_missing_where_nobody_can_be_asked() -> None:
    reconciled = reconcile(BOOKINGS, None, asked_at(at(23) + ONE_DAY))
    assert {line.state for line in reconciled.lines} == {State.OVER, State.REJECTED}
    assert not reconciled.unscheduled


def test_a_rejected_booking_stays_rejected_however_late_it_is() -> None:
    rejected = line(seen(study(study_instance_uid="2.25.7"), times=asked_at(at(23) + ONE_DAY)), "7")
    assert rejected == BookingStatus(BOOKINGS[-1], State.REJECTED)


@pytest.mark.parametrize(
    ("changes", "oddities"),
    [
        ({"patient_id": "sub-001"}, ()),
        ({"patient_id": "sub-001", "ae_titles": ()}, ()),
        ({"patient_id": "sub-001", "ae_titles": ("ELSE", "PRISMA"), "start": at(11)}, ()),
        (
            {"patient_id": "sub-001", "start": at(11, 30)},
            ("It was scanned at 11:30; the booking says 09:00: was another entry taken?",),
        ),
        ({"patient_id": "sub-1"}, ('The PatientID was edited: "sub-1"; the booking says "sub-001".',)),
        ({}, ('The PatientID was edited: ""; the booking says "sub-001".',)),
        ({"patient_id": "sub-001", "ae_titles": ("SKYRA",)}, ("It was scanned on SKYRA; the booking says PRISMA.",)),
        (
            {"patient_id": "sub-001", "start": TOMORROW},
            (f"It was scanned on {DAY + ONE_DAY}; the booking says {DAY}.",),
        ),
        (
            {"patient_id": "x", "ae_titles": ("A", "B"), "start": TOMORROW},
            (
                'The PatientID was edited: "x"; the booking says "sub-001".',
                "It was scanned on A, B; the booking says PRISMA.",
                f"It was scanned on {DAY + ONE_DAY}; the booking says {DAY}.",
            ),
        ),
    ],
)
def test_an_oddity_of_a_study_is_reported(changes: dict[str, Any], oddities: tuple[str, ...]) -> None:
    assert said(line(seen(study(study_instance_uid="2.25.1", **changes)), "1")) == oddities


def test_two_studies_of_a_booking_are_reported_and_both_shown() -> None:
    by_uid = study(orthanc_id="uid", study_instance_uid="2.25.1", patient_id="sub-001", start=at(9, 20))
    by_patient = study(orthanc_id="patient", patient_id="sub-001", start=at(9, 10))
    one = line(seen(by_uid, by_patient), "1")
    assert one.studies == (by_patient, by_uid)
    assert said(one) == ("There are 2 studies for this booking.",)


def test_lines_and_studies_are_in_the_order_of_their_time() -> None:
    reconciled = seen(
        study(orthanc_id="b"),
        study(orthanc_id="a"),
        study(orthanc_id="none", start=None),
        study(orthanc_id="first", start=at(1)),
        bookings=[
            booked(3, at(12)),
            booked(2),
            booked(4, None, reason="no time"),
            booked(1),
            booked(9, ae_title="AVANTO"),
            booked(5, at(12) - ONE_DAY),
        ],
    )
    assert [line.booked.booking_id for line in reconciled.lines] == ["5", "4", "9", "1", "2", "3"]
    assert [one.study.orthanc_id for one in reconciled.unscheduled] == ["none", "first", "a", "b"]


#: Few values, so that much is the same.
TEXT = st.sampled_from(("", "a", "b"))
TITLES = st.sampled_from(("PRISMA", "SKYRA"))
MOMENTS = st.none() | st.integers(0, 30).map(lambda quarters: at(20) + quarters * 15 * MINUTE)
STUDIES = st.lists(
    st.builds(
        Study,
        orthanc_id=st.integers(0, 99).map(str),
        study_instance_uid=TEXT,
        patient_id=TEXT,
        accession_number=TEXT,
        step_ids=st.lists(TEXT, max_size=2).map(tuple),
        ae_titles=st.lists(TITLES, max_size=2).map(tuple),
        start=MOMENTS,
        stable=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda study: study.orthanc_id,
)
BOOKED = st.builds(
    BookingRecord,
    booking_id=st.integers(0, 9).map(str),
    day=st.just(DAY),
    ae_title=TITLES,
    start=MOMENTS,
    patient_id=TEXT,
    study_instance_uid=TEXT,
    accession_number=TEXT,
    step_id=TEXT,
    reason=st.sampled_from(("", "", "", "rejected")),
)
ASKED = st.integers(0, 40).map(lambda quarters: asked_at(at(20) + quarters * 15 * MINUTE))


def one_fits(study: Study, booked: BookingRecord) -> bool:
    """Return whether any of the rules could give the study to the booking."""
    there = booked.ae_title in study.ae_titles
    both = (
        (study.study_instance_uid, booked.study_instance_uid, True),
        (study.accession_number, booked.accession_number, True),
        (study.patient_id, booked.patient_id, there),
        *((step_id, booked.step_id, there) for step_id in study.step_ids),
    )
    return any(said and said == is_booked and rest for said, is_booked, rest in both)


@given(st.lists(BOOKED, max_size=8, unique_by=lambda booked: booked.booking_id), STUDIES, ASKED)
def test_whatever_there_is_nothing_is_lost_doubled_or_guessed(
    bookings: list[BookingRecord], studies: list[Study], times: Times
) -> None:
    reconciled = reconcile(bookings, studies, times)
    assert Counter(line.booked for line in reconciled.lines) == Counter(bookings)
    placed = [study for line in reconciled.lines for study in line.studies]
    assert Counter(placed + [one.study for one in reconciled.unscheduled]) == Counter(studies)
    entered = [booked for booked in bookings if not booked.reason]
    uids = Counter(booked.study_instance_uid for booked in entered if booked.study_instance_uid)
    for line in reconciled.lines:
        assert (line.state is State.REJECTED) == bool(line.booked.reason)
        assert not line.studies or line.state in {State.ARRIVED, State.IN_PROGRESS, State.ODD}
        assert line.studies or line.oddities or line.state not in {State.ARRIVED, State.IN_PROGRESS, State.ODD}
        for study in line.studies:
            assert one_fits(study, line.booked)
            if study.study_instance_uid in uids:
                typed_over = any(oddity.kind is Kind.OTHER_SUBJECT for oddity in line.oddities)
                assert typed_over or study.study_instance_uid == line.booked.study_instance_uid
                assert uids[study.study_instance_uid] == 1
        if line.state is State.MISSING:
            assert line.booked.start is not None
            assert line.booked.start + MISSING_AFTER < times.asked
    for one in reconciled.unscheduled:
        assert uids[one.study.study_instance_uid] != 1
        if not one.oddities:
            assert not [booked for booked in entered if booked.patient_id == one.study.patient_id != ""]


@given(st.lists(BOOKED, max_size=8, unique_by=lambda booked: booked.booking_id), STUDIES, ASKED, st.randoms())
def test_the_order_of_what_is_given_does_not_matter(
    bookings: list[BookingRecord], studies: list[Study], times: Times, random: Random
) -> None:
    expected = reconcile(bookings, studies, times)
    random.shuffle(bookings)
    random.shuffle(studies)
    assert reconcile(bookings, studies, times) == expected


@given(st.lists(BOOKED, max_size=8, unique_by=lambda booked: booked.booking_id), STUDIES)
def test_more_time_makes_nothing_but_missing_ones_of_scheduled_ones(
    bookings: list[BookingRecord], studies: list[Study]
) -> None:
    soon, late = (reconcile(bookings, studies, asked_at(at(20) + days * ONE_DAY)) for days in (-1, 9))
    assert State.MISSING not in {line.state for line in soon.lines}
    for before, after in zip(soon.lines, late.lines, strict=True):
        timed = before.booked.start is not None
        later = {State.MISSING, State.ARRIVED, State.IN_PROGRESS, State.ODD}
        expected = later if timed and before.state is State.SCHEDULED else {before.state}
        assert after.state in expected
        assert after.studies == before.studies
        # a slot of a session that another slot's images are of; studies of nobody's that may be its own
        added = {one.kind for one in after.oddities} - {one.kind for one in before.oddities}
        assert added <= {Kind.SLOTS, Kind.AMBIGUOUS, Kind.PATIENT, Kind.IN_ITS_TIME}
