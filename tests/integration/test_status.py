"""A day played through: booked, moved, scanned in every way there is, and what terminal, page and metrics say.

Real bookings, a real Orthanc, real stores; the sync runs as the cron job's user with the deployed configuration, at the
time that `--clock` says.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

from support import clients, live
from support.booking_database import BookingDatabase
from support.images import synthetic_image
from support.waiting import wait_until

PRISMA, PRISMAFIT, SKYRA = 1, 2, 3
PAGE = Path(live.VARIABLES["orthanc_page_dir"]) / "index.html"
METRICS = Path(live.VARIABLES["worklist_sync_metrics_dir"]) / "dicom_worklist.prom"
#: The slots of a day that is played: how long one is, and the last one.
SLOT, LAST = timedelta(minutes=5), 6


class Played:
    """A day at the site: its clock, its calendar, its scanners, and who looks."""

    def __init__(self, site: live.Site, bookings: BookingDatabase, folder: Path) -> None:
        self.site, self.bookings, self.folder, self.config = site, bookings, folder, site.config
        self.now, self.zone = live.Site.now, live.ZONE
        self.images = 0

    @property
    def here(self) -> datetime:
        """What the clock on the wall shows."""
        return self.now.astimezone(self.zone).replace(tzinfo=None, second=0, microsecond=0)

    def slot(self, number: int) -> datetime:
        """When a slot begins: all are of today, and ended less than an hour ago, at any time of the day."""
        midnight = self.here.replace(hour=0, minute=0)
        latest = midnight + timedelta(days=1) - (LAST + 1) * SLOT
        return min(max(self.here - 4 * SLOT, midnight), latest) + number * SLOT

    def book(self, booking_id: int, start: datetime, *, lab: int = PRISMA, subject: str | None = None) -> None:
        self.bookings.book(booking_id, subject or f"{booking_id}-1", f"{start:%Y-%m-%d %H:%M:%S}", lab=lab)

    def entry(self, booking_id: int) -> Dataset:
        """What the console is shown of a booking."""
        found = clients.pynetdicom_find(self.site.wlmscpfs_port, AccessionNumber=str(booking_id))
        (entry,) = [one for one in found if one.AccessionNumber == str(booking_id)]
        return entry

    def scan(
        self, entry: Dataset | None = None, scanner: str = "PRISMA", images: int = 1, at: datetime | None = None,
        **changes: str,
    ) -> str:  # fmt: skip
        """Store images as a console does that took this entry, a minute after its time; return the StudyInstanceUID."""
        series = self.folder / f"series-{self.images}"
        series.mkdir()
        if entry is not None:
            step = entry.ScheduledProcedureStepSequence[0]
            began = f"{step.ScheduledProcedureStepStartDate}{step.ScheduledProcedureStepStartTime[:4]}"
            at = at or datetime.strptime(began, "%Y%m%d%H%M") + timedelta(minutes=1)  # noqa: DTZ007 - the site's
        at = at or self.here
        for number in range(images):
            self.images += 1
            path = synthetic_image(series / f"{number}.dcm", number + 1)
            image = dcmread(path)
            image.StudyDate, image.StudyTime = f"{at:%Y%m%d}", f"{at:%H%M%S}"
            if entry is not None:
                for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
                    setattr(image, keyword, entry[keyword].value)
            for keyword, value in changes.items():
                setattr(image, keyword, value)
            image.save_as(path)
            assert clients.storescu(scanner, path) == 0
        return str(image.StudyInstanceUID)

    def do(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.site.run(command, "-c", str(self.config), *options, now=self.now)

    def run(self) -> dict[str, Any]:
        done = self.do("sync", "--json")
        assert done.returncode in {0, 3}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def status(self) -> dict[str, Any]:
        done = self.do("status", "--json")
        assert done.returncode == 0, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def lines(self) -> dict[str, dict[str, Any]]:
        """Booking id → what is reported of it, today or yesterday."""
        status = self.status()
        lanes = [*status["today"]["lanes"], *status["yesterday"]["lanes"]]
        return {line["booked"]["booking_id"]: line for lane in lanes for line in lane["lines"]}

    def states(self) -> dict[str, str]:
        return {booking_id: line["state"] for booking_id, line in self.lines().items()}

    def settle(self) -> None:
        """Wait until Orthanc calls every study stable."""

        def settled() -> None:
            self.run()
            studies = [study for line in self.lines().values() for study in line["studies"]]
            assert studies
            assert all(study["stable"] for study in studies), studies

        wait_until(settled, 240)

    def metric(self, name: str, **labels: str) -> float:
        given = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        (value,) = re.findall(
            rf"^{name}{re.escape(f'{{{given}}}') if given else ''} (\S+)$", METRICS.read_text(), re.MULTILINE
        )
        return float(value)


def forget() -> None:
    """Let the site have no past."""
    for path in Path(live.VARIABLES["worklist_sync_state_dir"]).glob("status.*"):
        path.unlink()


@pytest.fixture
def played(empty: Played, site_clock: datetime) -> Played:
    """A day without bookings yet, at each `--clock`."""
    empty.now = site_clock
    return empty


@pytest.fixture
def empty(site: live.Site, booking_database: BookingDatabase, tmp_path: Path) -> Iterator[Played]:
    forget()
    booking_database.clear()
    booking_database.do("INSERT INTO projects VALUES ('3010000.01', 'Language and the brain')")
    booking_database.do("INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace')")
    yield Played(site, booking_database, tmp_path)
    for study in site.orthanc("/studies").json():
        assert site.orthanc(f"/studies/{study}", method="DELETE").status_code == 200
    booking_database.clear()
    forget()
    site.run("sync", "-c", str(site.config))


def test_a_day_is_reported_as_it_was(played: Played) -> None:
    for number in (1, 2, 3, 4):
        played.book(number, played.slot(number - 1))
    played.book(5, played.slot(4), subject="8-x")
    played.book(6, played.here - timedelta(hours=3), lab=SKYRA)  # yesterday, if it is early
    played.book(7, played.slot(6), lab=PRISMAFIT)
    played.run()
    assert played.states() == dict.fromkeys("12347", "scheduled") | {"5": "rejected", "6": "missing"}

    # moved to another scanner: the same study, shown there
    played.bookings.do(
        "UPDATE calendar_items_new SET calendar_id = %s, start_time = %s WHERE id = 4",
        PRISMAFIT, f"{played.slot(5):%H:%M:%S}",
    )  # fmt: skip
    played.run()
    assert played.lines()["4"]["booked"]["ae_title"] == "PRISMAFIT"

    # scanned under the right id
    played.scan(played.entry(1), images=3)
    played.run()
    assert played.states()["1"] == "in progress"
    # under an edited one; twice; on the wrong scanner; with no booking; under the right id without the entry
    played.scan(played.entry(2), PatientID="3010000.01_sub-999")
    played.scan(played.entry(3), images=2)
    played.scan(played.entry(3), StudyInstanceUID="1.2.826.0.1.3680043.8.498.3")
    played.scan(played.entry(4), scanner="SKYRA")
    played.scan()
    alone = played.entry(7)
    played.scan(
        scanner="PRISMAFIT", PatientID=alone.PatientID, PatientName=str(alone.PatientName), at=played.slot(6),
        StudyInstanceUID="1.2.826.0.1.3680043.8.498.7",
    )  # fmt: skip
    played.settle()
    lines = played.lines()
    assert {booking_id: line["state"] for booking_id, line in lines.items()} == {
        "1": "arrived", "2": "odd", "3": "odd", "4": "odd", "5": "rejected", "6": "missing", "7": "arrived",
    }  # fmt: skip
    odd = {booking_id: [oddity["kind"] for oddity in line["oddities"]] for booking_id, line in lines.items()}
    assert odd == {key: [] for key in "1567"} | {
        "2": ["PatientID edited"], "3": ["several studies"], "4": ["another scanner"],
    }  # fmt: skip
    said = {booking_id: line["oddities"][0] for booking_id, line in lines.items() if line["oddities"]}
    assert '"3010000.01_sub-999"; the booking says "3010000.01_sub-002"' in said["2"]["text"]
    assert "2 studies for this booking" in said["3"]["text"]
    assert "scanned on SKYRA; the booking says PRISMAFIT" in said["4"]["text"]
    assert all("Ada Lovelace" in oddity["remedy"] and oddity["level"] == "warning" for oddity in said.values())
    assert sum(study["instances"] for study in lines["1"]["studies"]) == 3
    assert [study["instances"] for study in sorted(lines["3"]["studies"], key=lambda one: one["instances"])] == [1, 2]
    (unscheduled,) = played.status()["today"]["unscheduled"]
    assert (unscheduled["study"]["patient_id"], unscheduled["oddities"]) == ("phantom", [])

    page = PAGE.read_text()
    for text in ("arrived", "rejected", "3010000.01_sub-999", "scanned on SKYRA", "phantom", "subject_session"):
        assert text in page, text
    (orthanc_id,) = [study["orthanc_id"] for study in lines["1"]["studies"]]
    assert f"explorer.html#study?uuid={orthanc_id}" in page
    assert played.site.orthanc(f"/studies/{orthanc_id}").status_code == 200

    for title, state, count in (
        ("PRISMA", "arrived", 1), ("PRISMA", "odd", 2), ("PRISMAFIT", "arrived", 1), ("PRISMAFIT", "odd", 1),
    ):  # fmt: skip
        assert played.metric("dicom_worklist_bookings", ae_title=title, state=state) == count
    assert played.metric("dicom_worklist_rejected_bookings") == 1
    assert played.metric("dicom_worklist_missing_bookings") == 1
    assert played.metric("dicom_worklist_unscheduled_studies") == 1
    done = played.do("status", "--exit-code")
    assert done.returncode == 2
    assert done.stdout.startswith("WORKLIST CRITICAL - Booking 5")
    assert "WARNING: Booking 2" in done.stdout
    table = played.do("status").stdout
    line = rf"PRISMA .*{played.slot(0):%H:%M} .*arrived .*3010000.01_sub-001_ses-01 .*\b1 .*\b3 "
    assert re.search(line, table), table


def test_a_stopped_database_keeps_the_list_and_is_reported_everywhere(played: Played) -> None:
    played.book(1, played.slot(0))
    played.run()
    uid = played.scan(played.entry(1))
    with played.bookings.stopped():
        played.now = later(played.now)
        assert played.do("sync").returncode == 4
        status = played.status()
        done = played.do("status", "--exit-code")
        # a warning at first; `frozen_after` is another test's
        assert (done.returncode, status["level"]) == (1, "WARNING")
        assert done.stdout.startswith("WORKLIST WARNING - The list has not been updated since ")
        assert "the list has not been updated" in PAGE.read_text()
        assert played.metric("dicom_worklist_last_run_success") == 0
        success = played.metric("dicom_worklist_last_success_timestamp_seconds")
        assert success == pytest.approx(datetime.fromisoformat(status["good"]).timestamp(), abs=0.01)
        assert success < played.metric("dicom_worklist_last_run_timestamp_seconds")
        # what arrives is reported anyway
        assert [study["study_instance_uid"] for study in played.lines()["1"]["studies"]] == [uid]
    played.now = later(played.now)
    played.run()
    assert played.status()["frozen"] is None
    assert played.metric("dicom_worklist_last_run_success") == 1


def later(moment: datetime) -> datetime:
    """Return the time of the cron job's next run; by way of UTC, for the nights on which the clock is changed."""
    return moment.astimezone(UTC) + timedelta(minutes=1)


def test_a_stopped_pacs_is_reported_and_the_list_is_published(played: Played) -> None:
    orthanc = played.bookings.engine.containers.get(live.VARIABLES["orthanc_container_name"])
    played.book(1, played.slot(0))
    played.run()
    played.scan(played.entry(1))
    played.run()
    played.book(2, played.slot(1))
    orthanc.stop()
    try:
        report = played.run()
        assert [entry["booking_id"] for entry in report["published"]] == ["2"]
        (warning,) = report["warnings"]
        assert warning.startswith("what arrived is not known: Orthanc at ")
        assert played.status()["level"] == "WARNING"
        assert played.lines()["1"]["studies"], "what it had when it last answered"
        assert played.do("check", "--only", "pacs").returncode == 7
    finally:
        orthanc.start()
        wait_until(lambda: played.site.orthanc("/system").raise_for_status())  # the front door answers before
    assert played.run()["warnings"] == []
    done = played.do("check", "--only", "pacs")
    assert (done.returncode, "has 1 studies" in done.stdout) == (0, True)


def test_an_entry_leaves_the_console_when_its_scan_is_done(empty: Played) -> None:
    """When the last image came, Orthanc says, by the machine's clock: so this site's clock is that one.

    Its zone is one in which it is noon, so that nothing here depends on the hour, either.
    """
    offset = 12 - datetime.now(UTC).hour
    zone = f"Etc/GMT{-offset:+}"  # signs as in POSIX: Etc/GMT-2 is two hours ahead
    config = empty.config.with_name("leaving.yml")
    settings = yaml.safe_load(empty.config.read_text())
    settings["site"]["timezone"] = zone
    settings["status"] |= {"leave_after": 0, "session": 1}
    config.write_text(yaml.safe_dump(settings))
    shutil.chown(config, group=empty.site.user)
    config.chmod(0o640)
    empty.config, empty.zone = config, ZoneInfo(zone)

    def shown() -> set[str]:
        empty.now = datetime.now(UTC)
        done = empty.do("sync")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning: " not in done.stdout
        return {entry.AccessionNumber for entry in clients.pynetdicom_find(empty.site.wlmscpfs_port)}

    def left() -> None:
        assert shown() == {"2"}

    empty.now = datetime.now(UTC)
    try:
        empty.book(1, empty.here - timedelta(minutes=50))
        empty.book(2, empty.here - timedelta(minutes=10))  # its time is far from the scan
        assert shown() == {"1", "2"}
        empty.scan(empty.entry(1))
        assert shown() == {"1", "2"}, "images are still coming"
        wait_until(left, 240)
        assert empty.lines()["1"]["booked"]["on_console"] is False
    finally:
        config.unlink()


def test_a_study_at_two_places_is_safe_to_delete_on_the_console(empty: Played) -> None:
    empty.book(1, empty.slot(0))
    empty.run()
    empty.scan(empty.entry(1), images=3, SeriesNumber="4")
    empty.settle()
    assert "safe to delete on the console" not in PAGE.read_text()
    deliver = ["runuser", "-u", live.VARIABLES["delivery_user"], "--", live.VARIABLES["worklist_sync_command"],
               "deliver", "-c", str(empty.config), "--json", "--now", empty.now.isoformat()]  # fmt: skip
    done = subprocess.run(deliver, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    place = live.DELIVERED / "3010000.01/001/01/4"
    assert [one["place"] for one in json.loads(done.stdout)["delivered"]] == [str(place)]
    assert len(list(place.glob("*.dcm"))) == 3
    empty.run()
    safe = "safe to delete on the console if that shows 1 series, 3 images, too: compared at the PACS and raw"
    assert safe in " ".join(PAGE.read_text().split())
    [copied] = empty.status()["delivery"]["copied"].values()
    assert (copied["series"], copied["images"], copied["places"]) == (1, 3, ["raw"])
    assert "Safe to delete on the console if that shows 3 images" in empty.do("status").stdout
    empty.scan(empty.entry(1), SeriesNumber="5")
    empty.run()
    assert "safe to delete on the console" not in PAGE.read_text()
