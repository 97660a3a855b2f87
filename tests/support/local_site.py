"""Sites in the tests' own process: a calendar, its configuration and its worklist folder, without a deployment."""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from dicom_worklist import pipeline
from dicom_worklist.config import load
from dicom_worklist.report import Published, Report
from dicom_worklist.settings import Config
from dicom_worklist.status import findings as state
from dicom_worklist.status.records import BookingRecord
from support.calendar import DAY, NOW, Calendar
from support.configuration import Configure
from support.worklist_folder import entries


class Site:
    """A calendar, its configuration and its worklist folder."""

    def __init__(self, calendar: Calendar, configure: Configure, folder: Path) -> None:
        self.calendar, self.configure, self.folder = calendar, configure, folder

    def config(self, changes: Mapping[str, object] | None = None) -> Config:
        return load(self.configure(changes))

    def run(
        self,
        changes: Mapping[str, object] | None = None,
        day: date | None = DAY,
        *,
        now: datetime = NOW,
        dry_run: bool = False,
    ) -> Report:
        return pipeline.run(self.config(changes), day, now=now, dry_run=dry_run)

    def shown(self) -> dict[str, str]:
        """Return booking → scanner, as the worklist has it."""
        steps = {
            entry.AccessionNumber: entry.ScheduledProcedureStepSequence[0] for entry in entries(self.folder).values()
        }
        return {booking: step.ScheduledStationAETitle for booking, step in steps.items()}


def ids(entries: list[Published]) -> list[str]:
    """Return the booking of each entry."""
    return [entry["booking_id"] for entry in entries]


class RecordedSite:
    """A site whose runs write state, page and metrics into the folder `root`."""

    def __init__(self, calendar: Calendar, configure: Configure, folder: Path, root: Path) -> None:
        self.calendar, self.folder, self.root = calendar, folder, root
        self._configure = configure
        root.mkdir()
        for name in ("page", "metrics"):
            (root / name).mkdir()
        (root / "password").write_text("secret\n")
        self.changes: dict[str, object] = {
            "status.state": str(root / "status.json"),
            "status.page": str(root / "page"),
            "status.metrics": str(root / "metrics"),
        }
        self.today, self.now = DAY, NOW

    def config(self, changes: Mapping[str, object] | None = None) -> Config:
        return load(self._configure({**self.changes, **(changes or {})}))

    def pacs(self, port: int, **settings: object) -> dict[str, object]:
        """Return changes for a PACS on this port of loopback."""
        defaults = {
            "url": f"http://127.0.0.1:{port}", "user": "reader", "password_file": str(self.root / "password"),
        }  # fmt: skip
        return {f"pacs.{name}": value for name, value in (defaults | settings).items()}

    def book(self, booking_id: object, **details: Any) -> None:
        self.calendar.book(booking_id, **{"day": self.today.isoformat(), **details})

    def run(self, changes: Mapping[str, object] | None = None, **options: Any) -> Report:
        return pipeline.run(self.config(changes), **{"now": self.now, **options})

    @property
    def found(self) -> state.Findings:
        return state.load(str(self.root / "status.json"))

    @property
    def page(self) -> str:
        return (self.root / "page/index.html").read_text()

    def written(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())


def by_id(found: state.Findings) -> dict[str, BookingRecord]:
    """Return booking_id → what was recorded of the booking."""
    return {booked.booking_id: booked for booked in found.bookings}
