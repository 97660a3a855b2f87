"""A site in the tests' own process, with a clock, and with a PACS that holds what scanners made."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zoneinfo import ZoneInfo

from dicom_worklist import pipeline
from dicom_worklist.bookings.booking import COLUMNS
from dicom_worklist.config import load
from dicom_worklist.report import Report
from dicom_worklist.settings import Config
from dicom_worklist.status import findings as state
from dicom_worklist.status import metrics, page
from dicom_worklist.status.booking_status import BookingStatus, Unscheduled
from dicom_worklist.status.overview import Overview, overview
from support.calendar import DAY, SKYRA, Calendar
from support.command import command
from support.configuration import Configure
from support.worklist_folder import entries, worklist_files

ZONE = ZoneInfo("Europe/Amsterdam")


def day(ahead: int = 0) -> str:
    """Return a day as the calendar has it, so many after the tests' own."""
    return (DAY + timedelta(days=ahead)).isoformat()


def at(clock: str, ahead: int = 0) -> datetime:
    """Return an aware time at the site, so many days after the tests' own."""
    return datetime.combine(DAY + timedelta(days=ahead), time.fromisoformat(clock), ZONE)


class Pacs:
    """Answers /tools/find as Orthanc does, of the series that it was given, and of the images of some."""

    def __init__(self) -> None:
        self.series: list[dict[str, Any]] = []
        #: Their images: SeriesInstanceUID → what Orthanc says of each.
        self.images: dict[str, list[dict[str, Any]]] = {}
        self.refused: list[dict[str, Any]] = []
        self.disk: dict[str, Any] = {"free": 10**12, "size": 10**12}
        #: What it was asked: keyword → value.
        self.asked: list[dict[str, str]] = []
        pacs = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                pacs.asked.append(question["Query"])
                self.send_response(200)
                self.end_headers()
                if uids := question["Query"].get("SeriesInstanceUID"):
                    found = [one for uid in uids.split("\\") for one in pacs.images.get(uid, ())]
                else:
                    found = [one for one in pacs.series if _matches(one, question["Query"])]
                self.wfile.write(json.dumps(found).encode())

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                said = pacs.refused if self.path == "/refused-sop-classes" else pacs.disk
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def store(self, study: str, begun: datetime, ae_title: str, tags: Mapping[str, str | None]) -> None:
        """Keep a series of five images; a tag with the value None is left out."""
        here = begun.astimezone(ZONE)
        dated = {"StudyDate": f"{here:%Y%m%d}", "StudyTime": f"{here:%H%M%S}", "NumberOfSeriesRelatedInstances": "5"}
        last = (begun + timedelta(minutes=10)).astimezone(UTC)
        self.series.append(
            {
                "ParentStudy": study,
                "IsStable": True,
                "MainDicomTags": {},
                "Metadata": {"LastUpdate": f"{last:%Y%m%dT%H%M%S}", "RemoteAET": ae_title},
                "RequestedTags": {name: value for name, value in {**dated, **tags}.items() if value is not None},
            }
        )

    def add(
        self, study: str, begun: datetime, ae_title: str, tags: Mapping[str, str | None], *, name: str,
        numbers: Iterable[int], last: datetime,
    ) -> None:  # fmt: skip
        """Keep a series with images of these numbers, the last of which came at `last`."""
        uid, numbers = f"1.2.{len(self.series)}", [*numbers]
        self.store(study, begun, ae_title, {**tags, "NumberOfSeriesRelatedInstances": str(len(numbers))})
        named = {
            "SeriesInstanceUID": uid,
            "SeriesNumber": str(len(self.series)),
            "SeriesDescription": name,
            "Modality": "MR",
        }
        updated = {"LastUpdate": f"{last.astimezone(UTC):%Y%m%dT%H%M%S}"}
        self.series[-1] |= {"ID": uid, "MainDicomTags": named}
        self.series[-1]["Metadata"] |= updated
        self.images[uid] = [
            {"ParentSeries": uid, "MainDicomTags": {"InstanceNumber": str(number)}} for number in numbers
        ]


def _matches(series: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    [(keyword, asked)] = query.items()
    value = str(series["RequestedTags"].get(keyword, ""))
    if keyword == "StudyDate":
        first, last = asked.split("-")
        return first <= value <= last
    patterns = [re.escape(one).replace(r"\*", ".*").replace(r"\?", ".") for one in asked.split("\\")]
    return any(re.fullmatch(pattern, value) for pattern in patterns)


class Site:
    """A site whose bookings may have an end; runs follow each other as the test says."""

    def __init__(self, calendar: Calendar, configure: Configure, folder: Path, root: Path) -> None:
        self.calendar, self.folder, self.root = calendar, folder, root
        self._configure = configure
        calendar.with_ends()
        root.mkdir()
        (root / "password").write_text("secret\n")
        self.pacs = Pacs()
        self.changes: dict[str, object] = {
            "status.state": str(root / "status.json"),
            "pacs.url": f"http://127.0.0.1:{self.pacs.port}",
            "pacs.user": "reader",
            "pacs.password_file": str(root / "password"),
        }
        self.now = at("08:00")

    def book(self, booking_id: object, subj_ses: str = "7-1", start: str = "09:00", end: str = "", **more: Any) -> None:
        """Book a session; times are HH:MM."""
        self.calendar.book(booking_id, subj_ses, time=f"{start}:00", **more)
        if end:
            self.calendar.change(booking_id, stop_time=f"{end}:00")

    def read_csv(self, *rows: Sequence[str]) -> None:
        """Let the calendar be a CSV of these rows: id, subject and session, day, status, and a lab other than SKYRA."""
        path = self.root / "bookings.csv"
        lines = [
            f"{name},3010000.01,T,{who},{when},09:00,{lab[0] if lab else SKYRA},A,L,{status}"
            for name, who, when, status, *lab in rows
        ]
        path.write_text("\n".join([",".join(COLUMNS), *lines]) + "\n")
        self.changes["source"] = {"type": "csv", "path": str(path)}

    @property
    def file(self) -> Path:
        return self._configure(self.changes)

    @property
    def config(self) -> Config:
        return load(self.file)

    def run(self, clock: str = "", ahead: int = 0, **options: Any) -> Report:
        """Run the sync, at this time if one is given; the clock stays there."""
        self.now = at(clock, ahead) if clock else self.now
        return pipeline.run(self.config, now=self.now, **options)

    def take(self, booking_id: object, ae_title: str = "PRISMA") -> dict[str, str | None]:
        """Return what a console copies from an entry into its images."""
        entry = entries(self.folder)[f"booking-{booking_id}-{ae_title}.wl"]
        keywords = ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber")
        return {keyword: str(entry[keyword].value) for keyword in keywords}

    def scan(
        self,
        entry: object | Mapping[str, str | None],
        clock: str,
        ahead: int = 0,
        *,
        study: str = "a",
        ae_title: str = "PRISMA",
        **tags: Any,
    ) -> None:
        """Make images, with the entry of a booking or with one that was taken before; tags are edited so."""
        taken = entry if isinstance(entry, Mapping) else self.take(entry)
        self.pacs.store(study, at(clock, ahead), ae_title, {**taken, **tags})

    def make(self, entry: object, clock: str, name: str, numbers: Iterable[int], last: str) -> None:
        """Make a series with the entry of a booking, of images with these numbers; the last one comes at `last`."""
        ahead, tags = (self.now.date() - DAY).days, self.take(entry)
        self.pacs.add(
            f"study-{entry}", at(clock, ahead), "PRISMA", tags, name=name, numbers=numbers, last=at(last, ahead)
        )

    @property
    def found(self) -> state.Findings:
        return state.load(str(self.root / "status.json"))

    def seen(self) -> Overview:
        return overview(self.config, self.found, self.now)

    def lines(self, booking_id: object) -> list[BookingStatus]:
        seen = self.seen()
        days = (seen.yesterday, seen.today, seen.tomorrow)
        return [line for day in days for line in day.lines if line.booked.booking_id == str(booking_id)]

    def line(self, booking_id: object) -> BookingStatus:
        [line] = self.lines(booking_id)
        return line

    def said(self, booking_id: object) -> dict[str, str]:
        """Return what is reported of a booking: kind → text; weights are in `line`."""
        return {oddity.kind.name: oddity.text for oddity in self.line(booking_id).oddities}

    def unscheduled(self) -> list[Unscheduled]:
        seen = self.seen()
        return [one for day in (seen.yesterday, seen.today, seen.tomorrow) for one in day.unscheduled]

    def shown(self) -> list[str]:
        """Return the bookings whose entries a console sees."""
        return sorted(name.split("-")[1] for name in worklist_files(self.folder))

    @property
    def page(self) -> str:
        """What a run that ends now would write as the page."""
        return page.render(self.seen())

    def metric(self, name: str) -> float:
        """Return a metric without labels, or with them as they are written."""
        metrics.write(self.root, self.seen(), self.found)
        lines = (self.root / "dicom_worklist.prom").read_text().splitlines()
        [value] = [line.rpartition(" ")[2] for line in lines if line.rpartition(" ")[0] == f"dicom_worklist_{name}"]
        return float(value)

    def forget(self, what: str) -> None:
        """Lose the state, or the history."""
        for path in self.root.glob({"state": "status.json", "history": "*.history.sqlite*"}[what]):
            path.unlink()


def check(site: Site, only: str = "source") -> str:
    """Run one of the checks of `dicom-worklist check`, which must pass; return its line."""
    done = command("check", "--only", only, "--config", site.file, "--now", site.now.isoformat())
    assert done.returncode == 0, done.stdout
    return done.stdout
