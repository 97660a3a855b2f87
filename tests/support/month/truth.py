"""What really happened, and what has to be reported of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("Europe/Amsterdam")
PROJECT = "3010000.01"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BEGINNING, END = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def at(local: datetime) -> datetime:
    """Return a naive time of the site in UTC."""
    return local.replace(tzinfo=ZONE).astimezone(UTC)


def local(moment: datetime) -> datetime:
    """Return an aware time as the site's clocks show it, naive."""
    return moment.astimezone(ZONE).replace(tzinfo=None)


def patient_id(subject: str) -> str:
    return f"{PROJECT}_sub-{subject}"


def right_clock(moment: datetime) -> dict[str, str]:
    """Return StudyDate and StudyTime of a console whose clock is right."""
    return {"StudyDate": f"{local(moment):%Y%m%d}", "StudyTime": f"{local(moment):%H%M%S}.000000"}


Clock = Callable[[datetime], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Slot:
    """A time of a scanner; `start` is naive, `ends` says whether the calendar has its end."""

    ae_title: str
    start: datetime
    minutes: int
    ends: bool = True

    @property
    def day(self) -> date:
        return self.start.date()

    @property
    def end(self) -> datetime:
        return self.start + self.minutes * MINUTE


@dataclass(frozen=True, slots=True)
class Booking:
    """A row of the calendar as it is when the month begins."""

    booking_id: str
    slot: Slot
    subject: str
    session: int = 1
    status: str = "CONFIRMED"
    #: What stands in the calendar in place of subject and session, and of the scanner's lab.
    subj_ses: str = ""
    lab: str = ""

    @property
    def patient_id(self) -> str:
        return patient_id(self.subject)

    @property
    def patient_name(self) -> str:
        return f"{self.patient_id}_ses-{self.session:02}"

    @property
    def written(self) -> str:
        return self.subj_ses or f"{self.subject}-{self.session}"


@dataclass(slots=True, eq=False)
class Visit:
    """Somebody in a scanner: what the console makes of it. `begins` is the true time, in UTC.

    `entry` is the booking whose entry is taken from the console's list; "" is none. `values` are what is typed, over
    the entry's or by hand. `owners` are the bookings that the study may be shown at; `stray` says whether it may be
    shown as a study of none. A visit that `continues` another one adds to its study.
    """

    key: str
    ae_title: str
    begins: datetime
    entry: str = ""
    values: dict[str, str] = field(default_factory=dict)
    owners: frozenset[str] = frozenset()
    stray: bool = False
    own_uid: bool = False
    everybodys: bool = False
    continues: "Visit | None" = None
    clock: "Clock" = right_clock
    #: When its images arrive first, in UTC.
    sent: datetime = END

    @property
    def study(self) -> str:
        """The name of its study."""
        return self.continues.study if self.continues else self.key


@dataclass(frozen=True, slots=True)
class Change:
    """The calendar is changed; no columns: the row is deleted."""

    at: datetime
    booking_id: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Take:
    """The console asks for its list, and its operator takes an entry of it, for later."""

    at: datetime
    visit: Visit


@dataclass(frozen=True, slots=True)
class Send:
    """The console sends series of a visit; what it sent before, it sends again."""

    at: datetime
    visit: Visit
    series: tuple[int, ...]


Act = Change | Take | Send


@dataclass(frozen=True, slots=True)
class Due:
    """One of `kinds` has to be reported at one of the bookings or studies `where`, from `since` to `until`, in UTC.

    It can't be before the images of `visits` have come. It is looked for on the evening of `day` and of the next one.
    """

    kinds: frozenset[str]
    where: frozenset[str]
    day: date
    since: datetime
    until: datetime
    visits: tuple[Visit, ...] = ()

    def holds(self, moment: datetime) -> bool:
        return self.since <= moment < self.until and all(visit.sent <= moment for visit in self.visits)


@dataclass(slots=True)
class Story:
    """Something that happens, under each name by which it is counted, and its truth.

    `may` are kinds that may also be reported. `limit` is why no program could know all of it.
    """

    names: list[str]
    day: date
    bookings: list[Booking] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    dues: list[Due] = field(default_factory=list)
    may: dict[str, set[str]] = field(default_factory=dict)
    limit: str = ""

    def due(
        self, kinds: str, *where: Booking | Visit, since: datetime = BEGINNING, until: datetime = END,
        day: date | None = None, visits: tuple[Visit, ...] | None = None,
    ) -> None:  # fmt: skip
        """Expect one of these kinds at one of these bookings or studies.

        `kinds` are names with blanks between: those of oddities.Kind, and MISSING and REJECTED, which are states.

        Without `visits` all that there are so far must have been sent.
        """
        visits = tuple(self.visits) if visits is None else visits
        self.dues.append(Due(frozenset(kinds.split()), places(where), day or self.day, since, until, visits))

    def allow(self, kinds: str, *where: Booking | Visit) -> None:
        for place in places(where):
            self.may.setdefault(place, set()).update(kinds.split())

    def allowed(self, place: str, moment: datetime) -> set[str]:
        """Return the kinds that may be reported of a booking or a study."""
        due = {kind for due in self.dues if place in due.where and due.holds(moment) for kind in due.kinds}
        return due | self.may.get(place, set())

    def shift(self, visit: Visit, by: timedelta, *acts: type[Act]) -> None:
        """Let these acts of a visit be later, or the visit itself, if no act is named."""
        visit.begins += timedelta() if acts else by
        self.acts = [
            replace(act, at=act.at + by)
            if not isinstance(act, Change) and act.visit is visit and isinstance(act, acts or (Take, Send))
            else act
            for act in self.acts
        ]
        visit.sent = min(act.at for act in self.acts if isinstance(act, Send) and act.visit is visit)


def places(where: Iterable[Booking | Visit]) -> frozenset[str]:
    return frozenset(one.booking_id if isinstance(one, Booking) else one.study for one in where)
