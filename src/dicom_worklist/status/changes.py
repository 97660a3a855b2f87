"""What became of the bookings since the runs before: those that changed, that are gone, and that all went at once.

Pure logic.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from dicom_worklist.status.findings import Emptied, Findings
from dicom_worklist.status.memory import Memory
from dicom_worklist.status.records import BookingRecord, Version

#: So many bookings don't disappear from a scanner's day at once unless something is wrong.
MANY = 3
#: For so long it is reported that a scanner's bookings went, unless it has some again.
ONE_WEEK = timedelta(days=7)


def ended(known: Memory, there: Collection[str], cancelled: Collection[str]) -> dict[str, str]:
    """Return the bookings of these days that are no longer `there`: booking id → "cancelled" or "gone"."""
    return {
        booking_id: "cancelled" if booking_id in cancelled else "gone"
        for booking_id, booked in known.past.current.items()
        if booking_id not in there and known.days.is_near(booked.day)
    }


def versions(known: Memory, bookings: Collection[BookingRecord], ended: Mapping[str, str]) -> Iterator[Version]:
    """Return what the bookings of these days were before; what changed, or ended, did so when the run began."""
    past, began = known.past, known.began
    for of_one in past.versions.values():
        yield from of_one
    for booked in bookings:
        before = past.current.get(booked.booking_id)
        if before and not before.same(booked):
            yield Version(booked=before, until=began)
    for booking_id, how in ended.items():
        yield Version(booked=past.current[booking_id], until=began, ended=how)


def emptied(
    known: Memory, last: Findings, bookings: Sequence[BookingRecord], withdrawn: Collection[str]
) -> Iterator[Emptied]:
    """Return the scanners whose bookings of a day, in what the `last` run found, all went at once.

    Each is returned until its scanner has bookings again. `withdrawn` are the ids of those that somebody
    cancelled explicitly.
    """
    days, scanners = known.days, known.config.scanners
    present = Counter((booked.ae_title, booked.day) for booked in bookings)
    titles = {scanner.ae_title for scanner in scanners}
    # moved to another scanner or day, or cancelled explicitly: that is intended
    there = {booked.booking_id for booked in bookings} | {*withdrawn}
    then = Counter(
        (booked.ae_title, booked.day)
        for booked in last.bookings
        if booked.ae_title in titles and booked.booking_id not in there
    )
    today = days.near[0] + timedelta(days=1)
    gone = {(one.ae_title, one.day): one for one in last.emptied if one.ae_title in titles}
    busy = {title for title, day in present if day >= today}
    yield from (one for (title, _), one in gone.items() if title not in busy and one.day >= today - ONE_WEEK)
    for day in (today, days.near[1]):
        of_day = {place: count for place, count in then.items() if place[1] == day}
        whole = sum(of_day.values()) >= MANY and not any(present[place] for place in of_day)
        for (title, _), count in of_day.items():
            if not present[title, day] and (count >= MANY or whole) and (title, day) not in gone:
                yield Emptied(ae_title=title, day=day, count=count, since=known.began)
