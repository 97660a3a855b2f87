"""Plays a month against a real broker and a real PACS, by a clock of its own, and notes what each evening says."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dicom_worklist import config, pipeline
from dicom_worklist.status import findings as state
from dicom_worklist.status import overview
from dicom_worklist.status.oddities import Oddity, Weight
from support import twins
from support.calendar import MEG, SKYRA, Calendar
from support.configuration import changed, settings, write_yaml
from support.month.console import Console
from support.month.month import Month
from support.month.plot import EVENING, SCANNERS
from support.month.truth import DAY, HOUR, MINUTE, Act, Booking, Change, Send, Take, at

#: Orthanc's StableAge in the twin, in seconds.
STABLE_AGE = 1


@dataclass(frozen=True, slots=True)
class Said:
    """Something that is reported of a booking (its id) or of a study (its StudyInstanceUID)."""

    where: str
    kind: str
    text: str
    remedy: str = ""
    warning: bool = True


@dataclass(slots=True)
class Look:
    """What is reported at a moment, in UTC: at which bookings each study is shown, and which are shown as nobody's."""

    at: datetime
    said: list[Said] = field(default_factory=list)
    shown: dict[str, set[str]] = field(default_factory=dict)
    nobodys: set[str] = field(default_factory=set)
    green: set[str] = field(default_factory=set)


class World:
    """The site: its calendar, its sync, its consoles."""

    def __init__(self, folder: Path, broker: twins.Broker, pacs: twins.Pacs) -> None:
        self.calendar = Calendar(folder / "calendar.sqlite")
        self.console = Console(broker.port, pacs.dicom_port)
        for title in SCANNERS:
            if title != SKYRA:  # which a calendar has already
                self.calendar.add_lab(title)
        (folder / "password").write_text(pacs.login[1])
        self.config = config.load(
            write_yaml(
                folder / "config.yml",
                changed(
                    settings(self.calendar.path, broker.folder.parent),
                    {
                        "scanners": [{"ae_title": title, "lab": f"^{title}$"} for title in SCANNERS],
                        "ignored_labs": [MEG],
                        "status": {"state": str(folder / "status.json")},
                        "pacs": {
                            "url": pacs.url, "user": pacs.login[0], "password_file": str(folder / "password"),
                            "timeout": 60,
                        },
                    },
                ),
            )
        )  # fmt: skip

    def play(self, month: Month) -> Iterator[Look]:
        """Let everything happen in its order; yield what is reported each evening, until the day after the last."""
        self.book([booking for story in month.stories for booking in story.bookings])
        evenings = [at(datetime.combine(month.first + number * DAY, EVENING)) for number in range(month.days + 1)]
        acts = sorted(
            (act for story in month.stories for act in story.acts), key=lambda act: (act.at, ORDER[type(act)])
        )
        try:
            for moment, act in _with_runs(acts, evenings):
                if act is None:
                    if moment in evenings:
                        time.sleep(STABLE_AGE + 1.5)  # no more images come: by Orthanc's clock, too
                    pipeline.run(self.config, now=moment)
                    if moment in evenings:
                        yield self.look(moment)
                else:
                    self.act(act)
        finally:
            self.console.close()

    def book(self, bookings: Sequence[Booking]) -> None:
        """Fill the calendar, in which some bookings have an end."""
        for booking in bookings:
            slot, lab = booking.slot, booking.lab or booking.slot.ae_title
            start = f"{slot.start:%H:%M:%S}"
            self.calendar.book(
                booking.booking_id, booking.written, lab=lab, day=slot.day, time=start, status=booking.status
            )
        with closing(sqlite3.connect(self.calendar.path)) as connection, connection:
            connection.execute("ALTER TABLE calendar_items_new ADD COLUMN stop_time TIME")
            ends = [(f"{one.slot.end:%H:%M:%S}", one.booking_id) for one in bookings if one.slot.ends]
            connection.executemany("UPDATE calendar_items_new SET stop_time = ? WHERE id = ?", ends)

    def act(self, act: Act) -> None:
        if isinstance(act, Take):
            self.console.take(act.visit)
        elif isinstance(act, Send):
            self.console.send(act.visit, act.series)
        elif act.columns:
            self.calendar.change(act.booking_id, **act.columns)
        else:
            self.calendar.delete(act.booking_id)

    def look(self, moment: datetime) -> Look:
        """Return what a reader of the page sees."""
        status = self.config.status
        assert status
        seen = overview.overview(self.config, state.load(status.state), moment)
        look = Look(moment)
        for day in (seen.yesterday, seen.today, seen.tomorrow):
            for line in day.lines:
                booking_id = line.booked.booking_id
                if line.state in {"missing", "rejected"}:
                    look.said.append(Said(booking_id, line.state.name, line.booked.reason or "no images"))
                if line.state == "arrived":
                    look.green.add(booking_id)
                look.said += (_said(booking_id, oddity) for oddity in line.oddities)
                for study in line.studies:
                    look.shown.setdefault(study.study_instance_uid, set()).add(booking_id)
            for one in day.unscheduled:
                look.nobodys.add(one.study.study_instance_uid)
                look.said += (_said(one.study.study_instance_uid, oddity) for oddity in one.oddities)
        known = {(said.where, said.remedy) for said in look.said}
        for problem in seen.problems:  # the remedies of states
            if problem.booking_id and (problem.booking_id, problem.remedy) not in known:
                look.said.append(Said(problem.booking_id, "", problem.text, problem.remedy, warning=False))
        return look


#: What happens first in a minute.
ORDER: dict[type[Act], int] = {Change: 0, Take: 1, Send: 2}


def _said(where: str, oddity: Oddity) -> Said:
    return Said(where, oddity.kind.name, oddity.text, oddity.remedy, oddity.level is Weight.WARNING)


def _with_runs(acts: Sequence[Act], evenings: Sequence[datetime]) -> Iterable[tuple[datetime, Act | None]]:
    """Return the acts and the runs of the sync (None), in their order.

    It runs every minute; those are left out that have nothing new. One comes each hour of the day, one right before
    and one right after each change of the calendar, and one each evening.
    """
    begin = evenings[0].replace(hour=0, minute=0) - DAY / 4
    runs = {begin + hours * HOUR for hours in range(24 * len(evenings)) if (begin + hours * HOUR).hour not in range(4)}
    runs |= {act.at - MINUTE for act in acts if isinstance(act, Change)}
    runs |= {act.at + MINUTE for act in acts if isinstance(act, Change)}
    runs |= {*evenings}
    runs = {moment for moment in runs if moment <= evenings[-1]}
    todo: list[tuple[datetime, int, Act | None]] = [(moment, 1, None) for moment in runs]
    todo += [(act.at, 2 if not isinstance(act, Change) else 0, act) for act in acts if act.at <= evenings[-1]]
    return [(moment, act) for moment, _, act in sorted(todo, key=lambda one: one[:2])]
