"""A quarter at a site of three scanners, invented with the truth of each session, and played through real runs."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from pydicom import dcmread

from dicom_worklist import pipeline
from support.calendar import PRISMA, PRISMAFIT, SKYRA
from support.timed_site import ZONE, Site

FIRST, DAYS = date(2026, 10, 1), 92
LABS = {"PRISMA": PRISMA, "PRISMAFIT": PRISMAFIT, "SKYRA": SKYRA}
PROJECTS = {"3010000.01": "Language and the brain", "3011000.02": "Hören & sehen", "3012000.03": "<b>Sleep</b>"}
PEOPLE = {"adalov": ("Ada", "Lovelace"), "grahop": ("Grace", "Hopper"), "alatur": ("Alan", "Turing")}
#: When there is a run, in addition to one after each change of the calendar.
RUNS = (time(0, 10), time(9), time(15), time(23, 50))
#: The PACS doesn't answer, and on another day there is no run.
SILENT = (datetime(2026, 11, 10, 12, 30, tzinfo=ZONE), datetime(2026, 11, 12, 11, tzinfo=ZONE))
NO_RUN = (date(2026, 12, 19), date(2026, 12, 20))
MINUTE, HOUR, ONE_DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: How often each thing happens, of a hundred.
KINDS = {
    "good": 44, "overrun": 8, "early": 5, "no show": 4, "cancelled in time": 3, "cancelled late": 3, "deleted late": 2,
    "moved away": 2, "moved to the evening": 2, "cleared away": 2, "shifted": 4, "extended": 3, "two slots": 4,
    "sent late": 4, "begun twice": 2, "repaired": 2, "typed": 2, "without a time": 1, "booked again": 2, "rejected": 1,
}  # fmt: skip


def minutes(start: datetime, end: datetime) -> set[int]:
    """Return the minutes since 1970 of an aware time."""
    return {*range(int(start.timestamp()) // 60, int(end.timestamp()) // 60)}


@dataclass
class Truth:
    """What is true of a session, or of a scan without one."""

    day: date
    scanner: str
    project: str = ""
    person: str = ""
    slots: set[int] = field(default_factory=set)
    end: datetime | None = None
    scans: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counts: dict[str, int] = field(default_factory=dict)
    #: Whether its images say the time of its end to the minute.
    prompt: bool = True
    came: datetime | None = None


class Quarter:
    """Plays the quarter; then `truths` is what happened, and `answered` when the PACS answered a run."""

    def __init__(self, site: Site, seed: int = 1) -> None:
        self.site, self.random = site, Random(seed)
        self.truths: list[Truth] = []
        self.answered: list[datetime] = []
        self.happened: defaultdict[str, int] = defaultdict(int)
        self._acts: list[tuple[datetime, int, Callable[[], object], bool]] = []
        self._free: dict[str, datetime] = {}
        self._names = 0
        self._taken: dict[str, dict[str, str | None]] = {}
        for project, title in [*PROJECTS.items()][1:]:
            site.calendar.add_project(project, title)
        for login, name in [*PEOPLE.items()][1:]:
            site.calendar.add_user(login, *name)

    # --- what is planned ---

    def plan(self) -> None:
        for number in range(DAYS):
            day = FIRST + number * ONE_DAY
            for clock in RUNS:
                if day not in NO_RUN:
                    self._do(_at(day, clock), lambda: None, run=True)
            if day in NO_RUN:
                continue
            for scanner in LABS:
                self._free[scanner] = _at(day, time(0))
                if day.weekday() < 5:
                    self._phantom(scanner, _at(day, time(7)))
                    self._working_day(scanner, day)
            if day.weekday() == 2:
                self._elsewhere(day)
                self._without_end(day)
                self._over_midnight(day)
        self._night_of_the_clocks()

    def _working_day(self, scanner: str, day: date) -> None:
        clock = _at(day, time(8))
        evening = _at(day, time(21))
        while clock < _at(day, time(16)):
            length = self.random.choice((30, 45, 60, 60, 90, 120)) * MINUTE
            [kind] = self.random.choices([*KINDS], [*KINDS.values()])
            if kind == "sent late" and SILENT[0].date() <= day <= SILENT[1].date():
                kind = "good"
            if kind == "moved to the evening" and evening > _at(day, time(21)):
                kind = "moved away"
            self.happened[kind] += 1
            getattr(self, "_" + kind.replace(" ", "_"))(scanner, clock, clock + length)
            if kind == "moved to the evening":
                evening += HOUR
            clock += length + self.random.choice((0, 0, 0, 15, 30)) * MINUTE
            clock += {"shifted": 15, "extended": 20, "two slots": length // MINUTE}.get(kind, 0) * MINUTE

    def _book(
        self,
        scanner: str,
        start: datetime,
        end: datetime,
        *,
        subject: str = "",
        made: datetime | None = None,
        **more: Any,
    ) -> tuple[str, Truth]:
        """Let somebody book, three days before, and return the booking's id and its truth, without a scan."""
        self._names += 1
        booking_id, project = f"b{self._names:05}", more.get("project") or self.random.choice([*PROJECTS])
        login = more.get("user") or self.random.choice([*PEOPLE])
        here = start.astimezone(ZONE)
        truth = Truth(
            here.date(), scanner, PROJECTS[project], "^".join(reversed(PEOPLE[login])), minutes(start, end), end
        )

        def book() -> None:
            self.site.calendar.book(
                booking_id, subject or f"{self._subject(booking_id)}-1", lab=LABS[scanner], day=here.date(),
                time=f"{here:%H:%M}:00", project=project, user=login,
            )  # fmt: skip
            if not more.get("endless"):
                self.site.calendar.change(booking_id, stop_time=f"{end.astimezone(ZONE):%H:%M}:00")

        self._do(made or _at(here.date() - 2 * ONE_DAY, time(0, 5)), book, run=made is not None)
        return booking_id, truth

    def _subject(self, booking_id: str) -> str:
        return booking_id[1:]

    def _session(self, truth: Truth) -> Truth:
        truth.counts["sessions"] = 1
        self.truths.append(truth)
        return truth

    def _scan(
        self,
        booking_id: str,
        truth: Truth,
        begins: datetime,
        ends: datetime,
        *,
        on: str = "",
        came: datetime | None = None,
        tags: dict[str, str | None] | None = None,
        study: str = "",
    ) -> None:
        """Let a console scan from one minute to another; the images come some seconds later, or at `came`."""
        on = on or truth.scanner
        begins = max(begins, self._free[on])
        ends = max(ends, begins + 5 * MINUTE)
        self._free[on] = ends + MINUTE
        truth.scans[on] |= minutes(begins, ends)
        sent = came or ends + timedelta(seconds=self.random.randrange(5, 55))
        truth.came = max(sent, truth.came or sent)
        truth.prompt = truth.prompt and came is None and "StudyTime" not in (tags or {})
        last = begins + self.random.random() * (ends - begins)
        orthanc_id = study or f"study-{booking_id}-{begins:%d%H%M}"
        self._do(begins, lambda: self._take(booking_id, truth.scanner), run=False)
        self._do(
            sent,
            lambda: self._store(orthanc_id, (begins, last, sent), on, self._taken[booking_id] | (tags or {})),
            run=False,
        )

    # --- what happens ---

    def _good(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        begins = start + self.random.randrange(10) * MINUTE
        self._scan(booking_id, truth, begins, end - self.random.randrange(12) * MINUTE)

    def _overrun(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        self._scan(booking_id, truth, start, end + self.random.randrange(3, 20) * MINUTE)

    def _early(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        self._scan(booking_id, truth, start - self.random.randrange(1, 12) * MINUTE, end - 5 * MINUTE)

    def _no_show(self, scanner: str, start: datetime, end: datetime) -> None:
        _, truth = self._book(scanner, start, end)
        self._session(truth).counts["no_shows"] = 1

    def _cleared_away(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth).counts["no_shows"] = 1
        self._change(start + 12 * MINUTE, booking_id, status="CANCELLED")

    def _cancelled_in_time(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, _ = self._book(scanner, start, end)
        self._change(start - 24 * HOUR - self.random.randrange(1, 300) * MINUTE, booking_id, status="CANCELLED")

    def _given_up(self, truth: Truth) -> None:
        truth.slots, truth.counts = set(), {"late_cancellations": 1}
        self.truths.append(truth)

    def _cancelled_late(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._given_up(truth)
        self._change(start - self.random.randrange(1, 1440) * MINUTE, booking_id, status="CANCELLED")

    def _deleted_late(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._given_up(truth)
        when = start - self.random.randrange(1, 1440) * MINUTE
        self._do(when, lambda: self.site.calendar.delete(booking_id), run=True)

    def _moved_away(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._given_up(truth)
        when = start - self.random.randrange(1, 1440) * MINUTE
        self._change(when, booking_id, start_date=(start.date() + 300 * ONE_DAY).isoformat())

    def _moved_to_the_evening(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._given_up(truth)
        evening = _at(start.astimezone(ZONE).date(), time(21))
        later = Truth(truth.day, scanner, truth.project, truth.person, minutes(evening, evening + HOUR), evening + HOUR)
        self._session(later).counts["no_shows"] = 1
        self._change(start - 20 * MINUTE, booking_id, start_time="21:00:00", stop_time="22:00:00")

    def _shifted(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        begins, ends = start + 15 * MINUTE, end + 15 * MINUTE
        truth.slots, truth.end = minutes(begins, ends), ends
        self._session(truth)
        times = {"start_time": f"{begins.astimezone(ZONE):%H:%M}:00", "stop_time": f"{ends.astimezone(ZONE):%H:%M}:00"}
        self._change(start - 5 * MINUTE, booking_id, **times)
        self._scan(booking_id, truth, begins, ends - 4 * MINUTE)

    def _extended(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        longer = end + 20 * MINUTE
        truth.slots, truth.end = minutes(start, longer), longer
        self._session(truth)
        self._scan(booking_id, truth, start, longer - 2 * MINUTE)
        self._change(end - 4 * MINUTE, booking_id, stop_time=f"{longer.astimezone(ZONE):%H:%M}:00")

    def _two_slots(self, scanner: str, start: datetime, end: datetime) -> None:
        subject, project, user = f"{self._names + 1:05}-1", "3010000.01", "adalov"
        booking_id, truth = self._book(scanner, start, end, subject=subject, project=project, user=user)
        second = end + (end - start)
        self._book(scanner, end, second, subject=subject, project=project, user=user)
        truth.slots, truth.end = minutes(start, second), second
        self._session(truth)
        self._scan(booking_id, truth, start + MINUTE, second + self.random.randrange(-10, 10) * MINUTE)

    def _sent_late(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        came = _at(start.astimezone(ZONE).date(), time(22, 30))
        self._scan(booking_id, truth, start, end + self.random.randrange(-10, 8) * MINUTE, came=came)

    def _begun_twice(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        middle = start + (end - start) // (2 * MINUTE) * MINUTE
        self._scan(booking_id, truth, start, middle - 4 * MINUTE)
        self._scan(booking_id, truth, middle, end - MINUTE, tags={"StudyInstanceUID": f"1.2.3.{self._names}"})

    def _repaired(self, scanner: str, start: datetime, end: datetime) -> None:
        """The console had another subject; in the evening the study is stored again, with the right one."""
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        study, wrong = f"wrong-{booking_id}", {"PatientID": "typed", "PatientName": "typed"}
        self._scan(booking_id, truth, start, end - 9 * MINUTE, study=study, tags={**wrong})
        # a run sees the study as it was, before it is repaired
        evening = _at(start.astimezone(ZONE).date(), time(21, 30))
        self._do(evening - MINUTE, lambda: None, run=True)
        self._do(evening, lambda: self._repair(study, booking_id, evening), run=False)

    def _typed(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        own: dict[str, str | None] = {"StudyInstanceUID": f"1.2.4.{self._names}", "AccessionNumber": None}
        self._scan(booking_id, truth, start + MINUTE, end - 2 * MINUTE, tags=own)

    def _without_a_time(self, scanner: str, start: datetime, end: datetime) -> None:
        booking_id, truth = self._book(scanner, start, end)
        self._session(truth)
        self._scan(booking_id, truth, start, end - MINUTE, tags={"StudyTime": None})

    def _booked_again(self, scanner: str, start: datetime, end: datetime) -> None:
        subject, project, user = f"{self._names + 1:05}-1", "3011000.02", "grahop"
        before, _ = self._book(scanner, start, end, subject=subject, project=project, user=user)
        when = start - 2 * HOUR
        booking_id, truth = self._book(
            scanner, start, end, subject=subject, project=project, user=user, made=when + MINUTE / 6
        )
        self._do(when, lambda: self.site.calendar.delete(before), run=False)
        self._session(truth)
        self._scan(booking_id, truth, start, end - MINUTE)

    def _rejected(self, scanner: str, start: datetime, end: datetime) -> None:
        _, truth = self._book(scanner, start, end, subject="who?")
        truth.slots, truth.counts = set(), {"rejected": 1}
        self.truths.append(truth)

    def _phantom(self, scanner: str, start: datetime) -> None:
        self.happened["phantom"] += 1
        truth = Truth(start.date(), scanner, counts={"unbooked_scans": 1})
        self.truths.append(truth)
        name = f"phantom-{scanner}-{start:%Y%m%d}"
        self._taken[name] = {"StudyInstanceUID": f"1.2.5.{len(self.truths)}", "PatientID": "QA", "PatientName": "QA"}
        self._scan(name, truth, start, start + self.random.randrange(8, 25) * MINUTE)

    def _elsewhere(self, day: date) -> None:
        """SKYRA was booked, and PRISMA scanned."""
        self.happened["elsewhere"] += 1
        start, end = _at(day, time(20, 30)), _at(day, time(21, 30))
        booking_id, truth = self._book("SKYRA", start, end)
        self._session(truth)
        self._free["PRISMA"] = max(self._free["PRISMA"], start)
        self._scan(booking_id, truth, start, end - MINUTE, on="PRISMA")

    def _over_midnight(self, day: date) -> None:
        self.happened["over midnight"] += 1
        start, end = _at(day, time(23)), _at(day + ONE_DAY, time(1))
        booking_id, truth = self._book("PRISMAFIT", start, end)
        self._session(truth)
        self._scan(booking_id, truth, start + MINUTE, end + 8 * MINUTE)

    def _without_end(self, day: date) -> None:
        self.happened["without an end"] += 1
        start, end = _at(day, time(20)), _at(day, time(21))
        booking_id, truth = self._book("PRISMAFIT", start, end, endless=True)
        self._session(truth).counts["without_end"] = 1
        self._scan(booking_id, truth, start, end - 5 * MINUTE)

    def _night_of_the_clocks(self) -> None:
        """At three it is two again: the slot has three hours."""
        night = date(2026, 10, 25)
        start, end = _at(night, time(1, 30)), _at(night, time(3, 30))
        booking_id, truth = self._book("PRISMA", start, end)
        assert len(truth.slots) == 180
        self._session(truth)
        self._free["PRISMA"] = start
        self._scan(booking_id, truth, start + 10 * MINUTE, end - 10 * MINUTE)

    # --- how it is played ---

    def _do(self, when: datetime, act: Callable[[], object], *, run: bool) -> None:
        self._acts.append((when.astimezone(UTC), len(self._acts), act, run))

    def _change(self, when: datetime, booking_id: str, **columns: object) -> None:
        self._do(when, lambda: self.site.calendar.change(booking_id, **columns), run=True)

    def _take(self, booking_id: str, scanner: str) -> None:
        if booking_id in self._taken:
            return
        [item] = [dcmread(self.site.folder / f"booking-{booking_id}-{scanner}.wl", force=True)]
        keywords = ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber")
        self._taken[booking_id] = {keyword: str(item[keyword].value) for keyword in keywords}

    def _store(
        self, study: str, when: tuple[datetime, datetime, datetime], scanner: str, tags: dict[str, str | None]
    ) -> None:
        begins, last, sent = when
        self.site.pacs.store(study, begins, scanner, tags)
        series, here = self.site.pacs.series[-1], last.astimezone(ZONE)
        series["Metadata"]["LastUpdate"] = f"{sent.astimezone(UTC):%Y%m%dT%H%M%S}"
        series["MainDicomTags"] = {"SeriesDate": f"{here:%Y%m%d}", "SeriesTime": f"{here:%H%M%S}"}

    def _repair(self, study: str, booking_id: str, when: datetime) -> None:
        [series] = [one for one in self.site.pacs.series if one["ParentStudy"] == study]
        series["ParentStudy"] = f"right-{booking_id}"
        series["Metadata"]["LastUpdate"] = f"{when.astimezone(UTC):%Y%m%dT%H%M%S}"
        right = self._taken[booking_id]
        series["RequestedTags"] |= {name: right[name] for name in ("PatientID", "PatientName")}

    def play(self) -> Iterator[datetime]:
        """Let everything happen in the order of time, with a run after each change; yield the time of each run."""
        config = self.site.config
        self.site.changes["pacs.url"] = "http://127.0.0.1:9"
        silent = self.site.config
        for when, _, act, run in sorted(self._acts, key=lambda one: one[:2]):
            act()
            if not run or when.astimezone(ZONE).date() in NO_RUN:
                continue
            answers = not SILENT[0] <= when < SILENT[1]
            pipeline.run(config if answers else silent, now=when)
            if answers:
                self.answered.append(when)
            old = f"{when - 4 * ONE_DAY:%Y%m%dT%H%M%S}"
            self.site.pacs.series = [one for one in self.site.pacs.series if one["Metadata"]["LastUpdate"] > old]
            yield when

    # --- what the figures must be ---

    def facts(self) -> Iterator[tuple[Truth, dict[str, int]]]:
        """Return what each truth adds to the figures: of a session of which nothing is known just its booked time."""
        busy: defaultdict[str, set[int]] = defaultdict(set)
        for truth in self.truths:
            for scanner, some in truth.scans.items():
                busy[scanner] |= some
        for truth in self.truths:
            counts = {"booked": len(truth.slots), **truth.counts}
            if "sessions" in truth.counts and not self._known(truth):
                counts.pop("no_shows", None)
                yield truth, {**counts, "unclear": 1}
                continue
            own = truth.scans.get(truth.scanner, set())
            after = max(truth.slots, default=0)
            figures = {
                "scanned": len(own),
                "idle": len(truth.slots - busy[truth.scanner]),
                "overrun": len({minute for minute in own if minute > after}) if truth.slots else 0,
            }
            yield truth, {**counts, **figures}
            for scanner, some in truth.scans.items():
                if scanner != truth.scanner:
                    elsewhere = Truth(truth.day, scanner, truth.project, truth.person, prompt=truth.prompt)
                    yield elsewhere, {"scanned": len(some)}

    def _known(self, truth: Truth) -> bool:
        """Return whether the PACS answered for this day after its end, and if it has no images an hour later."""
        assert truth.end is not None
        days = {truth.day, truth.day + ONE_DAY}
        last = max((one for one in self.answered if one.astimezone(ZONE).date() in days), default=None)
        if last is None:
            return False
        seen = truth.came is not None and truth.came <= last
        return last >= truth.end + (timedelta() if seen else HOUR)


def _at(day: date, clock: time) -> datetime:
    """Return an aware time in UTC, so that adding to it adds time that went by."""
    return datetime.combine(day, clock, ZONE).astimezone(UTC)
