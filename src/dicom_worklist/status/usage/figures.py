"""The figures: of each session what it adds, and their sums by scanner, project or person. Pure logic."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, TypeVar

from dicom_worklist.status.booking_status import State
from dicom_worklist.status.usage.scans import Scan, Span
from dicom_worklist.status.usage.sessions import Seen, Session

By = Literal["scanner", "project", "person"]
NOTHING, MINUTE = timedelta(), timedelta(minutes=1)
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time that is at least and at the most so long, and probably `time`."""

    least: timedelta = NOTHING
    time: timedelta = NOTHING
    most: timedelta = NOTHING

    @property
    def minutes(self) -> int:
        """The time, in minutes."""
        return round(self.time / MINUTE)

    @property
    def at_least(self) -> int:
        """The least time, in whole minutes."""
        return self.least // MINUTE

    @property
    def at_most(self) -> int:
        """The longest time, in whole minutes."""
        return -(-self.most // MINUTE)

    @property
    def exact(self) -> bool:
        """Whether it is right to the minute."""
        return self.least == self.most


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What docs/usage.md says of each."""

    sessions: int = 0
    booked: timedelta = NOTHING
    scanned: Estimate = Estimate()
    idle: Estimate = Estimate()
    overrun: Estimate = Estimate()
    no_shows: int = 0
    late_cancellations: int = 0
    unbooked_scans: int = 0
    rejected: int = 0
    unclear: int = 0
    without_end: int = 0

    @property
    def minutes(self) -> int:
        """The booked time, in minutes."""
        return round(self.booked / MINUTE)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a session, or a scan without one, adds to the figures of a day, a scanner, a project and a person."""

    day: date
    scanner: str
    project: str
    person: str
    figures: Figures


def entries(found: Seen) -> list[Entry]:
    """Return what each session, scan and booking adds."""
    made = [scan for session in found.sessions for scan in session.scans]
    busy = _Busy([*made, *found.unbooked, *found.ambiguous])
    out = [entry for session in found.sessions for entry in _session(session, busy)]
    out += [_entry(one, one.booked.ae_title, Figures(late_cancellations=1)) for one in found.given_up]
    out += [Entry(one.day, one.ae_title, one.project, one.booked_by, Figures(rejected=1)) for one in found.rejected]
    for strays, unbooked in ((found.unbooked, 1), (found.ambiguous, 0)):
        out += [
            Entry(one.day, one.scanner, "", "", Figures(scanned=_together([one]), unbooked_scans=unbooked))
            for one in strays
        ]
    return out


def tally(some: Iterable[Entry], key: Callable[[Entry], Key]) -> dict[Key, Figures]:
    """Return the sums of the entries with the same key, in its order."""
    by_key: defaultdict[Key, list[Figures]] = defaultdict(list)
    for entry in some:
        by_key[key(entry)].append(entry.figures)
    return {one: total(figures) for one, figures in sorted(by_key.items(), key=lambda item: str(item[0]))}


def total(some: Sequence[Figures]) -> Figures:
    """Return the sums of figures."""
    return Figures(
        sessions=sum(one.sessions for one in some),
        booked=sum((one.booked for one in some), NOTHING),
        scanned=_sum([one.scanned for one in some]),
        idle=_sum([one.idle for one in some]),
        overrun=_sum([one.overrun for one in some]),
        no_shows=sum(one.no_shows for one in some),
        late_cancellations=sum(one.late_cancellations for one in some),
        unbooked_scans=sum(one.unbooked_scans for one in some),
        rejected=sum(one.rejected for one in some),
        unclear=sum(one.unclear for one in some),
        without_end=sum(one.without_end for one in some),
    )


def _sum(some: Sequence[Estimate]) -> Estimate:
    return Estimate(
        sum((one.least for one in some), NOTHING),
        sum((one.time for one in some), NOTHING),
        sum((one.most for one in some), NOTHING),
    )


def _entry(session: Session, scanner: str, figures: Figures) -> Entry:
    return Entry(session.day, scanner, session.booked.project, session.booked.booked_by, figures)


def _session(session: Session, busy: "_Busy") -> Iterable[Entry]:
    title = session.booked.ae_title
    slots = _merged([Span(slot.start, slot.end) for slot in session.slots])
    own: defaultdict[str, list[Scan]] = defaultdict(list)
    if session.state is not None:
        for scan in session.scans:
            own[scan.scanner].append(scan)
    yield _entry(
        session,
        title,
        Figures(
            sessions=1,
            booked=sum((slot.end - slot.start for slot in slots), NOTHING),
            scanned=_together(own[title]),
            idle=busy.idle(title, slots) if session.state else Estimate(),
            overrun=_together(own[title], session.end),
            no_shows=int(session.state is State.MISSING),
            unclear=int(session.state is None),
            without_end=int(any(slot.booked.end is None for slot in session.slots)),
        ),
    )
    for scanner, elsewhere in own.items():
        if scanner != title:
            yield _entry(session, scanner, Figures(scanned=_together(elsewhere)))


def _together(some: Sequence[Scan], since: datetime | None = None) -> Estimate:
    """Return how long these scans lasted together, in all or since a time."""

    def length(spans: Iterable[Span]) -> timedelta:
        return sum((span.end - max(span.start, since or span.start) for span in _merged(_from(spans, since))), NOTHING)

    return Estimate(
        length(scan.least for scan in some),
        length(scan.probable for scan in some),
        length(scan.most for scan in some),
    )


def _from(spans: Iterable[Span], since: datetime | None) -> list[Span]:
    return [span for span in spans if since is None or span.end > since]


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Return spans that don't overlap and cover the same."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.start < span.end):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


class _Busy:
    """When each scanner scanned anybody."""

    def __init__(self, made: Iterable[Scan]) -> None:
        by_scanner: defaultdict[str, list[Scan]] = defaultdict(list)
        for scan in made:
            by_scanner[scan.scanner].append(scan)
        self._spans: Mapping[str, Sequence[Sequence[Span]]] = {
            title: [
                _merged(scan.least for scan in some),
                _merged(scan.probable for scan in some),
                _merged(scan.most for scan in some),
            ]
            for title, some in by_scanner.items()
        }

    def idle(self, title: str, slots: Sequence[Span]) -> Estimate:
        """Return how long a scanner scanned nobody in these slots."""
        least, probable, most = self._spans.get(title, ((), (), ()))
        return Estimate(_uncovered(slots, most), _uncovered(slots, probable), _uncovered(slots, least))


def _uncovered(slots: Iterable[Span], covering: Sequence[Span]) -> timedelta:
    left = NOTHING
    for slot in slots:
        left += slot.end - slot.start
        at = max(bisect_right(covering, slot.start, key=lambda span: span.start) - 1, 0)
        while at < len(covering) and covering[at].start < slot.end:
            left -= max(min(covering[at].end, slot.end) - max(covering[at].start, slot.start), NOTHING)
            at += 1
    return left
