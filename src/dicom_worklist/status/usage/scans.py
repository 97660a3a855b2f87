"""When a study was scanned, as far as its images prove it: pure logic, times in UTC."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from dicom_worklist.status.evidence import ONE_DAY, Times, day_of
from dicom_worklist.status.records import Study

#: Images that come later after the last series began, and after the booked end, were not sent at once.
PROMPT = timedelta(hours=1)


class Span(NamedTuple):
    """A time; empty if it ends before it starts."""

    start: datetime
    end: datetime


class Booked(NamedTuple):
    """Where and when a study was booked."""

    ae_title: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Scan:
    """When a study was scanned: surely (`least`), probably, and at the most; `day` is that of the study at the site."""

    scanner: str
    day: date
    least: Span
    probable: Span
    most: Span


@dataclass(frozen=True, slots=True)
class _Timed:
    """The times of a study that can be right; in the hour that the clocks repeat its beginning is two moments."""

    early: datetime
    late: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class _Placed:
    """A study at its scanner; `booked` is its slot there, None if it has none."""

    scanner: str
    study: Study
    booked: Booked | None
    timed: _Timed | None


def moments(here: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the first and the last moment that a naive time at the site can be: two when the clocks are set back."""
    first, second = (here.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return min(first, second), max(first, second)


def scans(studies: Sequence[tuple[Study, Booked | None]], scanners: Iterable[str], times: Times) -> list[Scan | None]:
    """Return when each study was scanned; None for one that no scanner stored. `scanners` are their AE titles."""
    titles = {*scanners}
    placed = [_placed(study, booked, titles, times) for study, booked in studies]
    begins: defaultdict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for one in placed:
        if one.timed:
            begins[one.scanner].append((one.timed.early, one.timed.late))
    for of_one in begins.values():
        of_one.sort()
    return [_scan(one, begins[one.scanner], times) if one.scanner else None for one in placed]


def _placed(study: Study, booked: Booked | None, titles: set[str], times: Times) -> _Placed:
    scanner = _place(study, booked, titles)
    here = booked if booked and booked.ae_title == scanner else None
    return _Placed(scanner, study, here, _timed(study, booked, times))


def _place(study: Study, booked: Booked | None, titles: set[str]) -> str:
    """Return which scanner made a study: the booked one, if it may be."""
    if booked and (booked.ae_title in study.ae_titles or not titles & {*study.ae_titles}):
        return booked.ae_title
    return next((title for title in study.ae_titles if title in titles), "")


def _timed(study: Study, booked: Booked | None, times: Times) -> _Timed | None:
    """Return the times of a study; None if it has none, or they can't be right: a console whose clock is wrong."""
    if study.start is None or not study.timed:
        return None
    early, late = moments(study.start, times.zone)
    as_booked = booked is not None and abs(early - booked.start) <= ONE_DAY
    if early > _came(study) or not (as_booked or day_of(study, times) == study.start.date()):
        return None
    last = moments(study.last_series, times.zone)[0] if study.last_series else early
    return _Timed(early, late, min(max(last, early), _came(study)))


def _came(study: Study) -> datetime:
    """Return when the last image came."""
    # Orthanc gives whole seconds
    return study.updated or study.seen or datetime.max.replace(tzinfo=UTC) - 2 * ONE_DAY


def _scan(one: _Placed, begins: Sequence[tuple[datetime, datetime]], times: Times) -> Scan:
    """Return when it was scanned; `begins` are those of all studies of its scanner, in their order."""
    came, booked, timed = _came(one.study), one.booked, one.timed
    if timed is None:
        day = day_of(one.study, times) or times.here(came).date()
        midnight, _ = moments(datetime.combine(day, time.min), times.zone)
        probable = Span(min(booked.start, came), min(booked.end, came)) if booked else Span(came, came)
        return Scan(one.scanner, day, Span(came, came), probable, Span(min(midnight, probable.start), came))
    sure, end = timed.last, came
    if (at := bisect_right(begins, (timed.late, timed.late))) < len(begins):
        following, at_the_latest = begins[at]
        sure = min(sure, following)
        if timed.last < following:  # else it went on after the other, or the console made a series of it later
            end = min(end, at_the_latest)
    due = max(timed.last, booked.end) if booked else timed.last
    probable_end = end if came <= due + PROMPT else min(due, end)
    return Scan(
        one.scanner,
        times.here(timed.early).date(),
        Span(timed.late, sure),
        Span(timed.early, probable_end),
        Span(timed.early, end),
    )
