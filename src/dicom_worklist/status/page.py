"""The page: one HTML file that says at a glance what was booked, is on the console, was scanned and arrived."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from dicom_worklist import files
from dicom_worklist.bookings import printable
from dicom_worklist.status import oddities
from dicom_worklist.status.booking_status import BookingStatus, State
from dicom_worklist.status.overview import Day, Lane, Level, Overview, spell

_TEMPLATE = Path(__file__).with_name("page.html.j2")
#: The shortest time that a booking gets on the time line, so that it can be seen and pressed, and the fewest hours.
_SHORTEST = 15
_HOURS = 8


@dataclass(frozen=True, slots=True)
class Block:
    """A booking on its scanner's lane; `left` and `width` in percent, `row` among those of the same time."""

    line: BookingStatus
    left: float
    width: float
    row: int


@dataclass(frozen=True, slots=True)
class TimeLane:
    """A scanner's lane on the time line."""

    lane: Lane
    blocks: Sequence[Block]

    @property
    def rows(self) -> int:
        """How many bookings are at most at the same time."""
        return max((block.row + 1 for block in self.blocks), default=0)


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The hours of a day in which something is booked; `now` in percent, None where it is outside."""

    first: int
    last: int
    tracks: Sequence[TimeLane]
    now: float | None

    @property
    def hours(self) -> range:
        """The hours that are named: every second one, where there are many."""
        return range(self.first, self.last, 1 if self.last - self.first <= 14 else 2)

    def left(self, hour: int) -> float:
        """Return where an hour begins, in percent."""
        return _percent(hour * 60, self.first, self.last)


def render(overview: Overview) -> str:
    """Return the page, whole in itself."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - a site without a page doesn't pay for the import
    from markupsafe import Markup  # noqa: PLC0415

    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else printable(str(value))

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=shown
    )
    environment.filters |= {"spell": spell, "printable": printable, "digest": _digest}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    days = [("today", overview.today), ("yesterday", overview.yesterday), ("tomorrow", overview.tomorrow)]
    lines = [line for _, day in days for line in day.lines]
    return template.render(
        overview=overview,
        days=days,
        anchors={id(line): f"booking-{at}" for at, line in enumerate(lines)},
        places={line.booked.booking_id: f"booking-{at}" for at, line in enumerate(lines)},
        time_line=lambda day: time_line(day, overview.now),
        last=lambda line: _last(line, overview.now),
        identity=id,
        difference=oddities.difference,
        Level=Level,
        State=State,
    )


def _last(line: BookingStatus, now: datetime) -> datetime | None:
    """Return when the last image of a booking came, in the site's time zone."""
    return max((study.updated.astimezone(now.tzinfo) for study in line.studies if study.updated), default=None)


def write(folder: Path, overview: Overview) -> None:
    """Put the page into the folder, as index.html.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    files.replace(folder / "index.html", render(overview).encode(), 0o640)


def time_line(day: Day, now: datetime) -> TimeLine | None:
    """Return the place of each booking on the time line of its day; None if no booking has a time."""
    spans = {id(line): _span(line, day.day) for line in day.lines if line.booked.start}
    if not spans:
        return None
    first = min(start for start, _ in spans.values()) // 60
    last = -(-max(end for _, end in spans.values()) // 60)
    last = min(24, max(last, first + _HOURS))
    first = max(0, min(first, last - _HOURS))
    minute = _minutes(now.replace(tzinfo=None), day.day)
    return TimeLine(
        first,
        last,
        [TimeLane(lane, list(_blocks(lane, spans, first, last))) for lane in day.lanes],
        _percent(minute, first, last) if first * 60 <= minute < last * 60 else None,
    )


def _blocks(lane: Lane, spans: dict[int, tuple[int, int]], first: int, last: int) -> Iterable[Block]:
    ends: list[int] = []  # of the last block in each row
    for line in lane.lines:
        if span := spans.get(id(line)):
            start, end = span
            row = next((at for at, before in enumerate(ends) if before <= start), len(ends))
            ends[row : row + 1] = [end]
            left = _percent(start, first, last)
            yield Block(line, left, round(_percent(end, first, last) - left, 3), row)


def _span(line: BookingStatus, day: date) -> tuple[int, int]:
    """Return the minutes of the day in which a booking begins and ends; without an end it is drawn as an hour."""
    begin = line.booked.start or datetime.combine(day, time.min)
    start = min(max(_minutes(begin, day), 0), 1440 - _SHORTEST)
    end = _minutes(line.end or begin + timedelta(hours=1), day)
    return start, min(max(end, start + _SHORTEST), 1440)


def _minutes(moment: datetime, day: date) -> int:
    return (moment - datetime.combine(day, time.min)) // timedelta(minutes=1)


def _percent(minute: int, first: int, last: int) -> float:
    return round((minute / 60 - first) / (last - first) * 100, 3)


def _digest(script: str) -> str:
    """Return the name under which a Content-Security-Policy allows this script and no other."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
