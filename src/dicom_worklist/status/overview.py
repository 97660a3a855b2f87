"""What there is to see at a glance: of the last runs, the bookings and the studies, for page, terminal and metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist import delivery, notify
from dicom_worklist.bookings import CANCELLING
from dicom_worklist.delivery import PROVES_FOR, Copied, Summary
from dicom_worklist.settings import Config, Status
from dicom_worklist.status import backups, disk, oddities, refused, triage, updates
from dicom_worklist.status.backups import Backup
from dicom_worklist.status.booking_status import BookingStatus, Reconciled, State, Unscheduled, hinted
from dicom_worklist.status.evidence import Times
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.oddities import Weight
from dicom_worklist.status.reconcile import reconcile
from dicom_worklist.status.records import FullDisk, Refused, Study
from dicom_worklist.status.sessions import with_hints
from dicom_worklist.status.updates import Updates

#: A delivery that works may take so long: a run is at most ten minutes, and cron starts the next one.
DELIVERED_EVERY = timedelta(minutes=20)
#: A destination may be away for so long, and a series may wait, before it is a problem.
DOWN_FOR = timedelta(minutes=10)
WAITS_FOR = timedelta(hours=1)
#: The job that notifies runs each minute; without a run for so long nobody is notified.
NOTIFIED_EVERY = timedelta(minutes=10)
#: A gap between two bookings in which nothing can be replaced.
PAUSE = timedelta(minutes=10)


class Level(IntEnum):
    """How bad it is; the numbers are the exit statuses of Nagios' plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class About:
    """The booking or the study of a problem, as far as it is known, whom to ask, and `what` happened to it."""

    what: str
    subject: str = ""
    project: str = ""
    when: str = ""
    scanner: str = ""
    ask: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that somebody has to look at: what happened, what to do, and the booking that it is about.

    `text` says all of it; `about` has the same in parts, where it is about a booking or a study.
    `place` is where it is, beside the booking: a scanner, a destination or a host.
    """

    level: Level
    text: str
    booking_id: str = ""
    remedy: str = ""
    kind: str = ""
    about: About | None = None
    place: str = ""

    @property
    def said(self) -> str:
        """What happened, and what to do."""
        return " ".join(filter(None, (self.text, self.remedy)))


@dataclass(frozen=True, slots=True)
class Lane:
    """A scanner's bookings of a day, in the order of their time; "" is the scanner of those that have none."""

    ae_title: str
    lines: Sequence[BookingStatus]


@dataclass(frozen=True, slots=True)
class Day:
    """A day, scanner by scanner, and the studies without a booking."""

    day: date
    lanes: Sequence[Lane]
    unscheduled: Sequence[Unscheduled]

    @property
    def lines(self) -> list[BookingStatus]:
        """All bookings of the day."""
        return [line for lane in self.lanes for line in lane.lines]

    @property
    def hinted(self) -> list[BookingStatus]:
        """The bookings of which images may be missing."""
        return [line for line in self.lines if hinted(line.oddities)]

    @property
    def counts(self) -> dict[State, int]:
        """How many bookings are in each state, in the order of the states."""
        counter = Counter(line.state for line in self.lines)
        return {state: counter[state] for state in State}


@dataclass(frozen=True, slots=True)
class Overview:
    """All that people are shown. The times are aware, in the site's time zone.

    `good` is the end of the last run that published, `frozen` for how long the list has not been updated (None: it
    is up to date), `made` when what the calendar gave was made (None: that is not known), `asked` when the PACS last
    answered; `pacs` is whether there is one to ask. Without a good run for `frozen_after` it is critical. `images` is
    when the image of each container was built, and `updates` what waits for them; `delivery` is what was delivered,
    `refused` what the PACS refused to scanners lately, and `disk_full` when its disk will be full, if that is foreseen.
    `backups` is what the backups did of the hosts that have one.
    """

    site: str
    now: datetime
    good: datetime | None
    frozen: timedelta | None
    failure: str
    made: datetime | None
    pacs: bool
    asked: datetime | None
    pacs_failure: str
    frozen_after: timedelta
    problems: Sequence[Problem]
    yesterday: Day
    today: Day
    tomorrow: Day
    images: Mapping[str, datetime] = field(default_factory=dict)
    updates: Updates | None = None
    delivery: Summary | None = None
    refused: Sequence[Refused] = ()
    disk_full: FullDisk | None = None
    backups: Sequence[Backup] = ()

    @property
    def level(self) -> Level:
        """The worst of the problems."""
        return max((problem.level for problem in self.problems), default=Level.OK)

    @property
    def booked_until(self) -> datetime | None:
        """When the first pause of all scanners begins; None if no scanner is booked now, nor in ten minutes.

        It is naive, in the site's time zone. A gap of ten minutes or less between two bookings isn't a pause.
        """
        now = self.now.replace(tzinfo=None)
        spans = [
            (line.booked.start, line.end or line.booked.end)
            for day in (self.yesterday, self.today, self.tomorrow)
            for line in day.lines
            if line.state is not State.CANCELLED
        ]
        until = now
        for start, end in sorted((start, end) for start, end in spans if start and end):
            if start <= until + PAUSE:
                until = max(until, end)
        return until if until > now else None

    def is_known(self, day: Day) -> bool:
        """Return whether it is known what is booked on a day: a good run reads the calendar up to the next day."""
        return self.good is not None and day.day <= self.good.date() + timedelta(days=1)

    def saved(self, backup: Backup) -> str:
        """Return when the last good backup of a host ended, and how old it is."""
        age = backups.age(backup, self.now)
        return "never yet" if age is None else f"{backup.good:%Y-%m-%d %H:%M}, {spell(age)} ago"

    def copied(self, study: Study) -> Copied | None:
        """Return where each image that the PACS has of a study was compared; None: not all of them, or none."""
        return self.delivery.copied.get(study.orthanc_id) if self.delivery else None

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: the fields, times in ISO 8601, spans in seconds, levels by name."""
        return {
            **msgspec.to_builtins(self),
            "level": self.level.name,
            "booked_until": self.booked_until and self.booked_until.isoformat(timespec="minutes"),
            "frozen": None if self.frozen is None else int(self.frozen.total_seconds()),
            "frozen_after": int(self.frozen_after.total_seconds()),
            "backups": [
                msgspec.to_builtins(one) | {"age": None if age is None else int(age.total_seconds())}
                for one in self.backups
                for age in [backups.age(one, self.now)]
            ],
            "problems": [msgspec.to_builtins(problem) | {"level": problem.level.name} for problem in self.problems],
        }


def overview(config: Config, found: Findings, now: datetime) -> Overview:
    """Return what people are shown at `now` (an aware time) of what the runs found."""
    zone = ZoneInfo(config.site.timezone)
    now = now.astimezone(zone)
    reconciled = seen(config, config.status, found, now) if config.status else Reconciled()
    reconciled = with_hints(reconciled, found.hints)
    days = [_day(config, now.date() + timedelta(days=ahead), reconciled) for ahead in (-1, 0, 1)]
    good = found.good.astimezone(zone) if found.good else None
    # in UTC: Python subtracts times of one zone by the clock on the wall, an hour off when that is changed
    since = now.astimezone(UTC) - (found.good or found.began or now).astimezone(UTC)
    limit = timedelta(minutes=config.status.frozen_after) if config.status else timedelta()
    delivered = _delivered(config, found, now)
    frozen = since if found.failure or good is None or since > limit else None
    lately = refused.shown(found.refused, now) if config.pacs else []
    full = disk.foreseen(found.disk, now) if config.pacs else None
    asked = found.asked.astimezone(zone) if found.asked else None
    saved, unsaved = _saved(config, found)
    saved = [backups.local(one, zone) for one in saved]
    return Overview(
        site=config.site.name,
        now=now,
        good=good,
        frozen=frozen,
        failure=found.failure,
        made=found.made and found.made.astimezone(zone),
        pacs=config.pacs is not None,
        asked=asked,
        pacs_failure=found.pacs_failure,
        frozen_after=limit,
        problems=sorted(
            [
                *_frozen(config, found, good, frozen),
                *_emptied(found, zone),
                *_old_calendar(config, found, now),
                *_unknown(found),
                *_shown(days[1], frozen),
                *_odd(days),
                *_calendar(found),
                *_undelivered(config, delivered, now),
                *_refused(lately),
                *_filling(config, found, full, now),
                *unsaved,
                *_unsaved(saved, now),
                *_unnotified(config, now),
            ],
            key=triage.order,
        ),
        yesterday=days[0],
        today=days[1],
        tomorrow=days[2],
        images={name: built.astimezone(zone) for name, built in config.status.images.items()} if config.status else {},
        updates=updates.known(config.status.updates, config.status.images, found.updates) if config.status else None,
        delivery=delivered,
        refused=lately,
        backups=saved,
        disk_full=full and msgspec.structs.replace(full, at=full.at.astimezone(zone)),
    )


def seen(config: Config, status: Status, found: Findings, now: datetime) -> Reconciled:
    """Return the bookings and the studies that were found, reconciled at `now`, an aware time."""
    zone = ZoneInfo(config.site.timezone)
    times = Times(
        # without a PACS a booking is over by the clock
        asked=(found.asked or now).astimezone(zone).replace(tzinfo=None),
        session=timedelta(minutes=status.session),
        missing_after=timedelta(minutes=status.missing_after),
        zone=zone,
    )
    return reconcile(found.bookings, found.studies if config.pacs and found.asked else None, times, found.past)


def _day(config: Config, day: date, reconciled: Reconciled) -> Day:
    lines = [line for line in reconciled.lines if line.booked.day == day]
    titles = [scanner.ae_title for scanner in config.scanners]
    strays = sorted({line.booked.ae_title for line in lines} - {*titles})
    return Day(
        day,
        [Lane(title, [line for line in lines if line.booked.ae_title == title]) for title in (*titles, *strays)],
        [one for one in reconciled.unscheduled if one.day == day],
    )


def _frozen(config: Config, found: Findings, good: datetime | None, frozen: timedelta | None) -> Iterable[Problem]:
    if frozen is None or config.status is None:
        return
    limit, folder = timedelta(minutes=config.status.frozen_after), Path(config.status.state).parent
    since = (
        f"The list has not been updated since {good:%Y-%m-%d %H:%M}, for {spell(frozen)}"
        if good
        else "There is no list yet"
    )
    why = found.failure or (
        f"no run has been recorded {'since' if found.began else 'yet'}. On the host of the worklist see whether cron "
        f"runs (`systemctl status cron`), whether there is room (`df -h {folder}`), and what the log says: "
        "docs/troubleshooting.md"
    )
    # one run that fails may be the database's nightly dump
    level = Level.CRITICAL if good is None or frozen > limit else Level.WARNING
    yield Problem(level, f"{since}: {why}", kind="outdated")


def _old_calendar(config: Config, found: Findings, now: datetime) -> Iterable[Problem]:
    if config.status is None or config.status.source_max_age is None or found.made is None:
        return
    limit = timedelta(minutes=config.status.source_max_age)
    age = now.astimezone(UTC) - found.made.astimezone(UTC)
    if age > limit:
        when = found.made.astimezone(now.tzinfo)
        yield Problem(
            Level.WARNING,
            f"The calendar is old: {config.source} gives what was made {when:%Y-%m-%d %H:%M}, {spell(age)} ago. What "
            f"was booked, moved or cancelled since then is not known. It may be {spell(limit)} old "
            "(worklist_sync_source_max_age): look whether what makes or copies the calendar runs",
            kind="source",
        )


def _unknown(found: Findings) -> Iterable[Problem]:
    if found.pacs_failure:
        yield Problem(Level.WARNING, f"What arrived is not known: {found.pacs_failure}", kind="pacs")
    for failure in found.failures:
        yield Problem(Level.WARNING, failure, kind="run")


def _shown(today: Day, frozen: timedelta | None) -> Iterable[Problem]:
    """After midnight with a calendar that can't be read, today's entries may never have been published."""
    waiting = [line for line in today.lines if line.state is State.SCHEDULED]
    if frozen is not None and waiting and not any(line.booked.on_console for line in waiting):
        remedy = (
            "Until the calendar can be read again, type PatientID and PatientName on the console exactly as they stand "
            "below, and ask the person who booked whether the booking still holds."
        )
        text = f"None of today's {len(waiting)} bookings that wait is on a console."
        yield Problem(Level.CRITICAL, text, remedy=remedy, kind="console")


def _odd(days: Sequence[Day]) -> Iterable[Problem]:
    yesterday, today, tomorrow = days
    for level, day, what in ((Level.CRITICAL, today, "is not"), (Level.WARNING, tomorrow, "will not be")):
        for line in day.lines:
            if line.state is State.REJECTED:
                why = f"{what} on the console: {line.booked.reason.removesuffix('.')}."
                text, about = f"{_named(line)}, {why}", _about(line, f"{why[:1].upper()}{why[1:]}")
                yield Problem(level, text, line.booked.booking_id, oddities.REJECTED, State.REJECTED, about)
    for line in [*today.lines, *yesterday.lines, *tomorrow.lines]:
        if line.state is State.MISSING:
            notes = [oddity.text for oddity in line.oddities]
            text = " ".join(["no images, long after its time.", *notes])
            remedy = " ".join([oddities.missing(line.booked), *(oddity.remedy for oddity in line.oddities)]).strip()
            yield _told(line, text, remedy, State.MISSING)
        for oddity in line.oddities:
            if oddity.level is Weight.WARNING:
                yield _told(line, oddity.text, oddity.remedy, oddity.kind)
    for one in [*today.unscheduled, *yesterday.unscheduled]:
        for oddity in (oddity for oddity in one.oddities if oddity.level is Weight.WARNING):
            study = one.study
            text = f'The study of PatientID "{study.patient_id}" belongs to no booking. {oddity.text}'
            when = f"{study.start:%Y-%m-%d %H:%M}" if study.start else ""
            about = About(oddity.text, study.patient_id, study.description, when, ", ".join(study.ae_titles))
            yield Problem(
                Level.WARNING, text, remedy=oddity.remedy, kind=oddity.kind, about=about, place=study.orthanc_id
            )


def _told(line: BookingStatus, what: str, remedy: str, kind: str) -> Problem:
    text, about = f"{_named(line)}: {what}", _about(line, f"{what[:1].upper()}{what[1:]}")
    return Problem(Level.WARNING, text, line.booked.booking_id, remedy, kind, about)


def _about(line: BookingStatus, what: str) -> About:
    booked = line.booked
    subject, by = booked.patient_name or booked.patient_id, oddities.person(booked.booked_by)
    return About(what, subject, booked.project, oddities.when(booked), booked.ae_title, by)


def _named(line: BookingStatus) -> str:
    """Return which booking it is: its scanner, time, subject, project and who booked it, not only its id."""
    booked = line.booked
    by = f"booked by {oddities.person(booked.booked_by)}" if booked.booked_by else ""
    parts = [f"{booked.ae_title or 'no scanner'} {oddities.when(booked)}", booked.patient_name, booked.project, by]
    return ", ".join([f"Booking {booked.booking_id}", *filter(None, parts)])


def _emptied(found: Findings, zone: ZoneInfo) -> Iterable[Problem]:
    for one in found.emptied:
        since = one.since.astimezone(zone)
        text = f"Since {since:%H:%M} the calendar has no booking for {one.ae_title} on {one.day}; it had {one.count}."
        remedy = (
            "If they were not all cancelled, see whether the lab, the statuses or the query changed: `dicom-worklist "
            "check` lists labs and statuses. The entries have left the console."
        )
        yield Problem(Level.CRITICAL, text, remedy=remedy, kind="emptied", place=one.ae_title)


def _calendar(found: Findings) -> Iterable[Problem]:
    """Return what in the calendar and in the folder belongs to nobody."""
    if count := found.labs.get("", 0):
        text = "1 booking has no lab." if count == 1 else f"{count} bookings have no lab."
        remedy = (
            "Write the scanner's name there (of an event: its location); `dicom-worklist preview` lists "
            f"{'it' if count == 1 else 'them'}."
        )
        yield Problem(Level.WARNING, text, remedy=remedy, kind="labs")
    if named := {lab: count for lab, count in found.labs.items() if lab}:
        text = f"No scanner has the labs {_counted(named)}."
        remedy = "Correct the lab of a scanner in the inventory, or name the lab in worklist_sync_ignored_labs."
        yield Problem(Level.WARNING, text, remedy=remedy, kind="labs")
    if unknown := {status: count for status, count in found.statuses.items() if status.upper() not in CANCELLING}:
        text = f"Bookings of these statuses don't count: {_counted(unknown)}."
        remedy = "If they take place, add the status to worklist_sync_booking in the inventory."
        yield Problem(Level.WARNING, text, remedy=remedy, kind="statuses")
    for double in found.doubles:
        yield Problem(Level.WARNING, f"{double[0].upper()}{double[1:]}.", remedy="Ask who booked them.", kind="double")
    if found.leftovers:
        text = f"The consoles show files that the sync did not write: {_some(found.leftovers)}."
        remedy = "Look at them with `dicom-worklist check`, and remove them by hand if nobody needs them."
        yield Problem(Level.WARNING, text, remedy=remedy, kind="leftovers")


def _delivered(config: Config, found: Findings, now: datetime) -> Summary | None:
    """Return what the delivery reports, with the copies that still hold: recent, and of all images of the PACS."""
    reported = delivery.load(config.delivery.summary) if config.delivery else None
    if reported is None:
        return None
    present = {study.orthanc_id: (study.series, study.instances) for study in found.studies}
    holds = {
        study: copied
        for study, copied in reported.copied.items()
        if present.get(study) == (copied.series, copied.images) and timedelta() <= now - copied.compared <= PROVES_FOR
    }
    return msgspec.structs.replace(reported, copied=holds)


def _undelivered(config: Config, delivered: Summary | None, now: datetime) -> Iterable[Problem]:
    """Return what waits for its destination for too long, and why."""
    if config.delivery is None:
        return
    for destination in config.delivery.destinations:
        state = delivered.destinations.get(destination.name) if delivered else None
        silent = now - state.ended if state and state.ended else None
        if silent is None or silent > DELIVERED_EVERY:
            text = (
                f"No run of the delivery to {destination.name} has ended {f'for {spell(silent)}' if silent else 'yet'}."
            )
            remedy = "See whether cron runs, and the log of the delivery: docs/delivery.md."
            yield Problem(Level.WARNING, text, remedy=remedy, kind="delivery", place=destination.name)
    for name, state in delivered.destinations.items() if delivered else ():
        waiting = f"{state.waiting} series {'waits' if state.waiting == 1 else 'wait'}"
        if state.down and state.down_since and now - state.down_since > DOWN_FOR:
            down = f"{state.down_since.astimezone(now.tzinfo):%Y-%m-%d %H:%M}"
            text = f"Nothing is delivered to {name} since {down}, {waiting}: {state.down}"
            yield Problem(Level.WARNING, text, kind="delivery", place=name)
        elif state.oldest and now - state.oldest > WAITS_FOR and not state.failures:
            oldest = f"{state.oldest.astimezone(now.tzinfo):%Y-%m-%d %H:%M}"
            text = f"{waiting} for {name}, the oldest since {oldest}: more comes than goes there."
            yield Problem(Level.WARNING, text, kind="delivery", place=name)
        for failure in state.failures:
            text = f"The series {failure.series} can't be delivered to {name}: {failure.why}"
            yield Problem(Level.WARNING, text, kind="delivery", place=name)
        for copies in state.superseded:
            many = "1 series is" if copies.series == 1 else f"{copies.series} series are"
            now_of = f"is {copies.now} since a repair" if copies.now else "is no longer in the PACS"
            text = f"At {name} {many} still there as {copies.was}, which {now_of}: {copies.place}."
            remedy = "Warn those who use these images, and remove them there."
            yield Problem(Level.WARNING, text, remedy=remedy, kind="superseded", place=f"{name} {copies.was}")


def _refused(lately: Iterable[Refused]) -> Iterable[Problem]:
    for classes in refused.by_scanner(lately):
        text, remedy, scanner = refused.text(classes), refused.remedy(classes), classes[0].ae_title
        yield Problem(Level.WARNING, text, remedy=remedy, kind="refused", place=scanner)


def _filling(config: Config, found: Findings, full: FullDisk | None, now: datetime) -> Iterable[Problem]:
    if config.pacs and (last := disk.fresh(found.disk, now)) and last.free < disk.NEARLY_NONE * last.size:
        remedy = "Orthanc refuses images: the consoles have to send theirs again when there is room. Make room now:"
        text = f"The PACS's disk is full: {disk.amount(last.free)} of {disk.amount(last.size)} are free."
        yield Problem(Level.CRITICAL, text, remedy=f"{remedy} docs/operations.md.", kind="disk")
        return
    days = config.status.disk_full_within if config.status else 0
    if days and full and full.at - now <= timedelta(days=days):
        remedy = "Then Orthanc refuses images. Make the disk larger, or make room: docs/operations.md."
        yield Problem(Level.WARNING, disk.text(full, now), remedy=remedy, kind="disk")


def _saved(config: Config, found: Findings) -> tuple[list[Backup], list[Problem]]:
    """Return what the backups did, and of which that should be known and is not."""
    known, unknown = [], []
    if config.status and (path := config.status.backup):
        if one := backups.written(path):
            known.append(one)
        else:
            unknown.append(f"What the backup of this host did is not known: status.backup {path} can't be read.")
    if config.pacs and config.pacs.backup:
        if found.backup:
            known.append(found.backup)
        elif found.asked:
            unknown.append("What the backup of the PACS's host did is not known: it does not say it.")
    remedy = "site.yml, run to its end, puts that right: docs/backup.md."
    return known, [Problem(Level.WARNING, text, remedy=remedy, kind="backup") for text in unknown]


def _unsaved(saved: Iterable[Backup], now: datetime) -> Iterable[Problem]:
    for one in saved:
        for text, remedy in backups.problems(one, now):
            yield Problem(Level.WARNING, text, remedy=remedy, kind="backup", place=one.host)


def _unnotified(config: Config, now: datetime) -> Iterable[Problem]:
    """Return who can't be notified, and why."""
    if config.notify is None:
        return
    sent = notify.load(config.notify.memory)
    ended = sent.ended if sent else None
    silent = now.astimezone(UTC) - ended if ended else None
    if silent is None or silent > NOTIFIED_EVERY:
        since = f"for {spell(silent)}" if silent else "yet"
        text = f"Nobody is notified of what is critical: `dicom-worklist notify` has not run {since}."
        remedy = "See whether cron runs, and `journalctl -t dicom-worklist-notify`: docs/notify.md."
        yield Problem(Level.WARNING, text, remedy=remedy, kind="notify")
    names = {one.name for one in config.notify.recipients}
    for name, box in sent.boxes.items() if sent else ():
        if box.failure and name in names:
            text = f"{name} can't be notified: {box.failure}."
            remedy = f"It is tried again; to try it yourself: `dicom-worklist notify --test {name}`."
            yield Problem(Level.WARNING, text, remedy=remedy, kind="notify", place=name)


def _counted(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return _some([f"{name or '(none)'!r} ({count})" for name, count in most])


def _some(names: Sequence[str]) -> str:
    """Return five of the names at the most."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def spell(span: timedelta) -> str:
    """Return a span of time in its largest whole units, such as `3 minutes` or `2 hours 5 minutes`."""
    minutes = max(int(span.total_seconds()) // 60, 0)  # below 0 where the clock was set back
    days, hours = minutes // 1440, minutes // 60 % 24
    parts = [(days, "day"), (hours, "hour"), (minutes % 60, "minute")]
    said = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(said[:2]) or "less than a minute"
