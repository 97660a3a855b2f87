"""Where on the time line each booking is, and what was scanned: pure logic."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from dicom_worklist.status.booking_status import BookingStatus
from dicom_worklist.status.overview import Day, Lane
from dicom_worklist.status.records import BookingRecord, Study

#: The working hours, in minutes of the day: what is booked within them is one part of the time line.
_WORK = (7 * 60, 20 * 60)
#: The fewest hours of a part, so that a lonely booking doesn't fill it, and the fewest minutes that can be seen.
_HOURS, _SHORTEST = 8, 5
#: When the last image came so long after the first, they were sent later: then nobody knows when the scan ended.
_LONGEST = timedelta(hours=6)
#: An hour is not named so near (in percent) to the present time, which is named itself.
_NEAR = 5.5

#: Minutes of the day.
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Block:
    """A booking on its scanner's track; `left` and `width` in percent, `row` among those of the same time.

    `certain` is whether the calendar gives its end. Of the name, `subject` says most; `prefix` and `rest` may be left
    out.
    """

    line: BookingStatus
    left: float
    width: float
    row: int
    certain: bool
    prefix: str
    subject: str
    rest: Sequence[str]


@dataclass(frozen=True, slots=True)
class Scan:
    """When images were made, as far as is known; `row` is that of their booking, `booked` whether they have one."""

    left: float
    width: float
    row: int
    booked: bool


@dataclass(frozen=True, slots=True)
class Track:
    """A scanner's track."""

    ae_title: str
    blocks: Sequence[Block]
    scans: Sequence[Scan]

    @property
    def rows(self) -> int:
        """How many bookings are at most at the same time."""
        return max([*(one.row + 1 for one in self.blocks), *(one.row + 1 for one in self.scans)], default=0)


@dataclass(frozen=True, slots=True)
class Part:
    """Some hours of a day in which something is booked; `now` in percent, None where it is outside."""

    first: int
    last: int
    tracks: Sequence[Track]
    now: float | None

    @property
    def hours(self) -> list[int]:
        """The hours that are named: every second one where there are many, and none beside the present time."""
        every = range(self.first, self.last, 1 if self.last - self.first <= 14 else 2)
        return [hour for hour in every if self.now is None or abs(self.left(hour) - self.now) > _NEAR]

    @property
    def longest(self) -> int:
        """How many characters the longest subject of a short booking has: so long may a block be that is upright."""
        short = [
            block for track in self.tracks for block in track.blocks if block.width * (self.last - self.first) < 100
        ]
        return max((len(block.subject) for block in short), default=0)

    def left(self, hour: int) -> float:
        """Return where an hour begins, in percent."""
        return _percent(hour * 60, (self.first * 60, self.last * 60))


@dataclass(frozen=True, slots=True)
class Current:
    """What a scanner has now, and what comes next; `unbooked` says that images of a study without a booking come."""

    ae_title: str
    lines: Sequence[BookingStatus]
    unbooked: bool
    following: BookingStatus | None


def parts(day: Day, now: datetime) -> list[Part]:
    """Return the parts of a day's time line at `now` (aware): that of now, the working hours, the night."""
    spans = {id(line): _span(line, day.day) for line in day.lines if line.booked.start}
    every = [*spans.values()]
    work = _work(every)
    noon = work or (12 * 60, 12 * 60)
    early = _hours([span for span in every if span[1] <= noon[0]], high=noon[0])
    late = _hours([span for span in every if span[0] >= noon[1]], low=noon[1])
    minute = _minutes(now.replace(tzinfo=None), day.day)
    bounds = [span for span in (work, early, late) if span]
    bounds.sort(key=lambda span: not span[0] <= minute < span[1])  # stable: only that of now comes first
    return [_part(day, spans, span, now, every=span == work) for span in bounds]


def current(today: Day, others: Sequence[Day], now: datetime) -> list[Current]:
    """Return what each scanner of today has at `now` (naive), and what comes next on that day.

    That is what is booked now, on any of the days, and what still sends images, whenever it was booked.
    """
    lines = [line for day in (today, *others) for line in day.lines]
    strays = [one.study for day in (today, *others) for one in day.unscheduled]
    return [
        Current(
            title,
            [one for one in lines if (one.booked.ae_title == title and is_on(one, now)) or _comes(one.studies, title)],
            _comes(strays, title),
            next((one for one in lane.lines if one.booked.start and one.booked.start > now), None),
        )
        for lane in today.lanes
        if (title := lane.ae_title)
    ]


def is_on(line: BookingStatus, now: datetime) -> bool:
    """Return whether a booking's time is `now` (naive)."""
    return bool(line.booked.start and line.end and line.booked.start <= now < line.end)


def _comes(studies: Iterable[Study], ae_title: str) -> bool:
    return any(not study.stable and ae_title in study.ae_titles for study in studies)


def label(booked: BookingRecord) -> tuple[str, str, Sequence[str]]:
    """Return of a booking's name what can be left out before the subject, the subject, and the rest.

    By default a name is `<project>_sub-<subject>_ses-<session>`.
    """
    name = booked.patient_name or booked.patient_id or booked.booking_id
    names = name.split("_")
    at = next((at for at, one in enumerate(names) if one.startswith("sub-") and len(one) > 4), None)
    if at is None:
        return "", name, ()
    return "sub-", names[at].removeprefix("sub-"), [*names[at + 1 :], *names[:at]]


def scanned(study: Study, now: datetime) -> tuple[datetime, datetime | None] | None:
    """Return when a study was begun and its last image came, naive times of `now`'s zone (aware).

    The end is None where the images were sent later; all of it, where the study says no time.
    """
    if study.start is None or not study.timed:
        return None
    end = study.updated and study.updated.astimezone(now.tzinfo).replace(tzinfo=None)
    return study.start, end if end and study.start <= end <= study.start + _LONGEST else None


def _work(spans: Sequence[Span]) -> Span | None:
    """Return the whole hours of what is booked within the working hours, and of all that overlaps these."""
    found = _hours([span for span in spans if span[0] < _WORK[1] and span[1] > _WORK[0]])
    while found:
        wider = _hours([span for span in spans if span[0] < found[1] and span[1] > found[0]])
        if wider is None or wider == found:
            break
        found = wider
    return found


def _hours(spans: Sequence[Span], low: int = 0, high: int = 1440) -> Span | None:
    """Return the whole hours of these spans, as minutes; at least some hours, if there are so many."""
    if not spans:
        return None
    first = min(start for start, _ in spans) // 60 * 60
    last = min(high, max(-(-max(end for _, end in spans) // 60) * 60, first + _HOURS * 60))
    return max(low, min(first, last - _HOURS * 60)), last


def _part(day: Day, spans: Mapping[int, Span], within: Span, now: datetime, *, every: bool) -> Part:
    """Return a part with the scanners that have something there, or with every scanner."""
    minute = _minutes(now.replace(tzinfo=None), day.day)
    tracks = [_track(lane, day, spans, within, now) for lane in day.lanes]
    return Part(
        within[0] // 60,
        within[1] // 60,
        [track for track in tracks if track.blocks or track.scans or (every and track.ae_title)],
        _percent(minute, within) if within[0] <= minute < within[1] else None,
    )


def _track(lane: Lane, day: Day, spans: Mapping[int, Span], within: Span, now: datetime) -> Track:
    blocks = list(_blocks(lane, spans, within))
    rows = {id(study): block.row for block in blocks for study in block.line.studies}
    booked = [study for line in day.lines for study in line.studies]
    unbooked = [one.study for one in day.unscheduled]
    scans = [
        Scan(*place, rows.get(id(study), 0), booked=at < len(booked))
        for at, study in enumerate([*booked, *unbooked])
        if (lane.ae_title in study.ae_titles if study.ae_titles else id(study) in rows)
        if (place := _scan(study, day.day, within, now))
    ]
    return Track(lane.ae_title, blocks, scans)


def _blocks(lane: Lane, spans: Mapping[int, Span], within: Span) -> Iterator[Block]:
    ends: list[int] = []  # of the last block in each row
    for line in lane.lines:
        span = spans.get(id(line))
        if span and span[0] < within[1] and span[1] > within[0]:
            row = next((at for at, before in enumerate(ends) if before <= span[0]), len(ends))
            ends[row : row + 1] = [span[1]]
            prefix, subject, rest = label(line.booked)
            left, width = _place(span, within)
            yield Block(line, left, width, row, line.booked.end is not None, prefix, subject, rest)


def _scan(study: Study, day: date, within: Span, now: datetime) -> tuple[float, float] | None:
    """Return the place of a scan; one of which nobody knows the end is only a mark at its beginning."""
    times = scanned(study, now)
    if times is None:
        return None
    start, end = _minutes(times[0], day), _minutes(times[1] or times[0], day)
    start, end = max(start, within[0]), min(max(end, start + _SHORTEST), within[1])
    return _place((start, end), within) if start < end else None


def _place(span: Span, within: Span) -> tuple[float, float]:
    left = _percent(span[0], within)
    return left, round(_percent(span[1], within) - left, 3)


def _span(line: BookingStatus, day: date) -> Span:
    """Return the minutes of the day in which a booking begins and ends; without an end it is drawn as an hour."""
    begin = line.booked.start or datetime.combine(day, time.min)
    start = min(max(_minutes(begin, day), 0), 1440 - _SHORTEST)
    end = _minutes(line.end or begin + timedelta(hours=1), day)
    return start, min(max(end, start + _SHORTEST), 1440)


def _minutes(moment: datetime, day: date) -> int:
    return (moment - datetime.combine(day, time.min)) // timedelta(minutes=1)


def _percent(minute: int, within: Span) -> float:
    return round((minute - within[0]) / (within[1] - within[0]) * 100, 3)
