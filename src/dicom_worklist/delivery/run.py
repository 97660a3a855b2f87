"""One run of the delivery: find what changed, bring it to each destination, and compare again what is there.

One run at a time works for a destination. Killed at any moment, the next run goes on.
"""

import fcntl
import os
import pwd
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from dicom_worklist.delivery import outbox as outboxes
from dicom_worklist.delivery import report, rules
from dicom_worklist.delivery import series as asking
from dicom_worklist.delivery.destinations import Down, Place, Undelivered
from dicom_worklist.delivery.destinations.dicom import Dicom
from dicom_worklist.delivery.destinations.folder import Folder
from dicom_worklist.delivery.destinations.orthanc import Orthanc
from dicom_worklist.delivery.outbox import Outbox
from dicom_worklist.delivery.pace import Pace
from dicom_worklist.delivery.series import Damaged, Series
from dicom_worklist.errors import ConfigError, FolderError, PacsError
from dicom_worklist.settings import Config, Delivery, Destination, DicomDestination, FolderDestination, Pacs

#: Series are looked for that changed so long before the newest that is known: Orthanc's clock may have been set back.
MARGIN = timedelta(hours=2)
#: How often what is there is compared again, and for how long a run does so.
VERIFY_AFTER = timedelta(hours=20)
VERIFY_FOR = timedelta(minutes=1)
#: For how long a run looks for superseded copies.
LOOK_FOR = timedelta(minutes=1)
#: A run takes nothing new after that time, so that a new release of the program gets its turn.
LONGEST_RUN = timedelta(minutes=10)
#: The summary is written so often while a run goes on.
TELL_EVERY = timedelta(seconds=20)

Clock = Callable[[], datetime]
#: Says what is done, to somebody who watches.
Say = Callable[[str], None]


@dataclass(slots=True)
class Delivered:
    """What a run did: the series that it brought to each destination, and what failed, each with the destination."""

    delivered: list[tuple[str, Series, str]] = field(default_factory=list)
    failed: list[tuple[str, Series, str]] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was done, for the log."""
        return [
            *(f"{name}: delivered {spell(series)} to {where}" for name, series, where in self.delivered),
            *(f"{name}: warning: {spell(series)}: {why}" for name, series, why in self.failed),
            *(f"{name}: another run is at work" for name in self.busy),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "delivered": [
                {"destination": name, "series": series.id, "images": series.images, "place": where}
                for name, series, where in self.delivered
            ],
            "failed": [{"destination": name, "series": series.id, "reason": why} for name, series, why in self.failed],
            "busy": self.busy,
        }


def run(config: Config, clock: Clock, only: str | None = None, say: Say | None = None) -> Delivered:
    """Deliver what is due, to all destinations or only to one; `clock` returns aware times.

    A destination for which another run works is left to it.

    Raises:
        ConfigError: there is no section `delivery`, or no such destination.
        PacsError: the PACS can't be asked.
        FolderError: the outbox can't be used.
    """
    delivery, pacs = settings(config)
    chosen = [one for one in delivery.destinations if only in {None, one.name}]
    if not chosen:
        raise ConfigError(
            f"delivery.destinations has no {only!r}: it has {', '.join(one.name for one in delivery.destinations)}"
        )
    done = Delivered()
    _not_as_root(delivery)
    with outboxes.opened(delivery.outbox) as outbox:
        for destination in chosen:
            with _alone(delivery.outbox, destination.name) as is_alone:
                if is_alone:
                    _Run(delivery, pacs, destination, outbox, clock, say, done, Pace(pacs)).go()
                else:
                    done.busy.append(destination.name)
    return done


def again(config: Config, study: str, now: datetime) -> int:
    """Let all series of a study be delivered again, where its rules say; return how many.

    Raises:
        ConfigError, PacsError, FolderError: as `run`, or there is no such study.
    """
    delivery, pacs = settings(config)
    found = asking.of_study(pacs, study)
    if not found:
        raise ConfigError(
            f"{config.pacs and config.pacs.url} has no study {study}: give Orthanc's id or the StudyInstanceUID"
        )
    _not_as_root(delivery)
    with outboxes.opened(delivery.outbox) as outbox:
        for one in found:
            outbox.want(one, rules.names(delivery.destinations, one), now, again=True)
    return len(found)


def _not_as_root(delivery: Delivery) -> None:
    """Refuse to leave files that the delivery's own user can't write."""
    folder = Path(delivery.outbox).parent
    if os.geteuid() == 0 and folder.exists() and (uid := folder.stat().st_uid):
        user = pwd.getpwuid(uid).pw_name
        raise ConfigError(
            f"{folder} belongs to {user}: run it as that user, with runuser -u {user} -- dicom-worklist deliver"
        )


def settings(config: Config) -> tuple[Delivery, Pacs]:
    """Return the section `delivery`, and how the PACS is asked.

    Raises:
        ConfigError: there is none.
    """
    if config.delivery is None or config.pacs is None:
        raise ConfigError("nothing is delivered from here: the sections delivery and pacs say what goes where")
    delivery = config.delivery
    pacs = msgspec.structs.replace(
        config.pacs, user=delivery.user, password_file=delivery.password_file, page=None, timeout=60.0
    )
    return delivery, pacs


def place_of(destination: Destination, pacs: Pacs) -> Place:
    """Return what brings series to this destination."""
    if isinstance(destination, FolderDestination):
        return Folder(destination)
    if isinstance(destination, DicomDestination):
        return Dicom(destination, pacs)
    return Orthanc(destination)  # type: ignore[arg-type]


@contextmanager
def _alone(outbox: str, destination: str) -> Iterator[bool]:
    """Return whether no other run works for this destination, and keep others away."""
    path = Path(f"{outbox}.{destination}.lock")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FolderError(f"{path} can't be used: {error.strerror}; site.yml corrects owner and mode") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


@dataclass(slots=True)
class _Run:
    delivery: Delivery
    pacs: Pacs
    destination: Destination
    outbox: Outbox
    clock: Clock
    say: Say | None
    done: Delivered
    pace: Pace

    def go(self) -> None:
        """Find, deliver, compare again."""
        try:
            self._work()
        finally:
            self._tell()
        self.outbox.ended(self.destination.name, self.clock())
        self._tell()

    def _work(self) -> None:
        began = told = self.clock()
        name = self.destination.name
        self._find(began)
        place = place_of(self.destination, self.pacs)
        while not self.outbox.is_down(name, now := self.clock()) and now < began + LONGEST_RUN:
            series = self.outbox.next(name, now)
            if series is None:
                break
            self._deliver(place, series)
            if self.clock() > told + TELL_EVERY:
                told = self.clock()
                self._tell()
                self._find(told)
        verify_until = self.clock() + VERIFY_FOR
        while not self.outbox.is_down(name, now := self.clock()) and now < verify_until:
            proof = self.outbox.oldest_proof(name, now - VERIFY_AFTER)
            if proof is None:
                break
            self._verify(place, *proof)
        self._look_for_superseded(place)

    def _tell(self) -> None:
        report.write(self.delivery, self.outbox, self.clock())

    def _find(self, now: datetime) -> None:
        """Write into the outbox what changed at the PACS."""
        since = max(self.outbox.begun(now), self.outbox.found()) - MARGIN
        waits = now
        for series in asking.changed(self.pacs, since):
            if series.stable or not now - asking.QUIET < series.updated <= now:
                self.outbox.want(series, rules.names(self.delivery.destinations, series), now)
                for twin in self.outbox.twins(series):
                    if not asking.images(self.pacs, twin):
                        self.outbox.forget(twin)  # a repair gave it another identity
            else:
                waits = min(waits, series.updated)
        self.outbox.has_found(min(waits, now))  # only now: a run that is killed before finds all of it again
        if not self.outbox.has_run(self.destination.name):
            for series in self.outbox.known():
                self.outbox.want(series, rules.names([self.destination], series), now)

    def _deliver(self, place: Place, series: Series) -> None:
        name = self.destination.name
        images = asking.images(self.pacs, series.id)
        if not images:
            self.outbox.forget(series.id)  # somebody deleted it
            return
        if self.say:
            self.say(f"{name}: {spell(series)}")
        if len(images) != series.images:
            self.outbox.later(name, series.id, self.clock())
            return
        try:
            where = place.deliver(series, images, partial(asking.read, self.pacs, wait=self.pace.wait))
            self.outbox.put(name, series, where)
            if place.compares:
                asking.verify(self.pacs, images, self.pace.wait)
        except Undelivered as error:
            self._failed(series, str(error), down=isinstance(error, Down))
        except Damaged as error:
            if str(error) in {image.uid for image in asking.images(self.pacs, series.id)}:
                self._failed(series, self._damaged(error))
            else:
                self.outbox.later(name, series.id, self.clock())  # somebody deleted the image
        except PacsError as error:
            asking.alive(self.pacs)  # else the run ends
            self._failed(series, f"the PACS doesn't give its images: {error}")
        else:
            self.outbox.delivered(name, series, asking.digest(images), self.clock())
            if place.compares:
                self.outbox.replaced(name, where)
            self.done.delivered.append((name, series, where))

    def _look_for_superseded(self, place: Place) -> None:
        """Write down which copies are still there under an identity that the PACS's series no longer have.

        Those that this run has no time for are the first of the next one.
        """
        name, until = self.destination.name, self.clock() + LOOK_FOR
        for series, where in self.outbox.superseded(name):
            if self.outbox.is_down(name, now := self.clock()) or now >= until:
                break
            try:
                held = place.holds(series, where)
            except Down:  # reported with what waits for it
                break
            except Undelivered:
                continue
            self.outbox.holds(name, series, self.clock() if held else None)

    def _failed(self, series: Series, why: str, *, down: bool = False) -> None:
        self.outbox.failed(self.destination.name, series.id, why, self.clock(), down=down)
        self.done.failed.append((self.destination.name, series, why))

    @staticmethod
    def _damaged(error: Damaged) -> str:
        return (
            f"the PACS's own file of the image {error} isn't what it received: its disk is broken, or somebody changed "
            "it. If the console still has the image, delete it in the PACS and send it again; see docs/delivery.md"
        )

    def _verify(self, place: Place, series: Series, where: str, digest: str) -> None:
        name = self.destination.name
        images = asking.images(self.pacs, series.id)
        if not images:
            self.outbox.forget(series.id)  # somebody deleted it
            return
        try:
            if asking.digest(images) != digest:
                # the PACS has it otherwise now, so that nothing is proved
                self.outbox.want(series, [name], self.clock(), again=True)
                return
            place.verify(series, images, where)
            if place.compares:
                asking.verify(self.pacs, images, self.pace.wait)
        except Down as error:
            self.done.failed.append((name, series, str(error)))
            self.outbox.failed(name, series.id, str(error), self.clock(), down=True)
        except (Undelivered, Damaged) as error:
            why = self._damaged(error) if isinstance(error, Damaged) else str(error)
            self.outbox.lost(name, series.id, why, self.clock())
            self.done.failed.append((name, series, why))
        else:
            self.outbox.verified(name, series.id, self.clock())


def spell(series: Series) -> str:
    """Return which series it is, for people."""
    values = series.values
    number = f"series {values['series_number']}" if values["series_number"] else "a series"
    parts = [str(values["patient_name"] or values["patient_id"]), number, str(values["series_description"])]
    return f"{' '.join(filter(None, parts))} ({series.images} image{'' if series.images == 1 else 's'})"
