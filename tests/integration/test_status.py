"""A day played through: booked, moved, scanned in every way there is, and what terminal, page and metrics say.

Real bookings, a real Orthanc, real stores; the sync runs as the cron job's user with the deployed configuration.
"""

import json
import re
import shutil
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset

import live

PRISMA, PRISMAFIT = 1, 2
PAGE = Path(live.VARIABLES["orthanc_page_dir"]) / "index.html"
METRICS = Path(live.VARIABLES["worklist_sync_metrics_dir"]) / "dicom_worklist.prom"


def site_now() -> datetime:
    return datetime.now(ZoneInfo(live.VARIABLES["site_timezone"])).replace(tzinfo=None, microsecond=0)


class Played:
    """The day at the site: its calendar, its scanners, and who looks."""

    def __init__(self, site: live.Site, bookings: live.BookingDatabase, folder: Path) -> None:
        self.site, self.bookings, self.folder = site, bookings, folder
        self.day: date = site_now().date()
        self.images = 0

    def book(self, booking_id: int, clock: str = "09:00:00", *, lab: int = PRISMA, subject: str | None = None) -> None:
        self.bookings.book(booking_id, subject or f"{booking_id}-1", f"{self.day} {clock}", lab=lab)

    def entry(self, booking_id: int) -> Dataset:
        """What the console is shown of a booking."""
        found = live.pynetdicom_find(self.site.wlmscpfs_port, AccessionNumber=str(booking_id))
        (entry,) = [one for one in found if one.AccessionNumber == str(booking_id)]
        return entry

    def scan(self, entry: Dataset | None = None, scanner: str = "PRISMA", images: int = 1, **changes: str) -> str:
        """Store images as a console does that took this entry; return the StudyInstanceUID."""
        series = self.folder / f"series-{self.images}"
        series.mkdir()
        for number in range(images):
            self.images += 1
            path = live.synthetic_image(series / f"{number}.dcm", number + 1)
            image = dcmread(path)
            image.StudyDate, image.StudyTime = f"{self.day:%Y%m%d}", "091000"
            if entry is not None:
                for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"):
                    setattr(image, keyword, entry[keyword].value)
            for keyword, value in changes.items():
                setattr(image, keyword, value)
            image.save_as(path)
            assert live.storescu(scanner, path) == 0
        return str(image.StudyInstanceUID)

    def run(self) -> dict[str, Any]:
        done = self.site.run("sync", "-c", str(self.site.config), "--json")
        assert done.returncode in {0, 3}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def status(self) -> dict[str, Any]:
        done = self.site.run("status", "-c", str(self.site.config), "--json")
        assert done.returncode == 0, done.stderr
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def lines(self) -> dict[str, dict[str, Any]]:
        """Booking id → what is told of it today."""
        lanes = self.status()["today"]["lanes"]
        return {line["booked"]["booking_id"]: line for lane in lanes for line in lane["lines"]}

    def asked(self) -> datetime:
        """When the PACS was asked, by the clock at the site."""
        return datetime.fromisoformat(self.status()["asked"]).replace(tzinfo=None)

    def states(self) -> dict[str, str]:
        return {booking_id: line["state"] for booking_id, line in self.lines().items()}

    def settle(self) -> None:
        """Wait until Orthanc calls every study stable."""

        def settled() -> None:
            self.run()
            states = self.states()
            assert "in progress" not in states.values(), states

        live.wait_until(settled, 240)

    def remarks(self, booking_id: int) -> str:
        return " ".join(self.lines()[str(booking_id)]["oddities"])

    def metric(self, name: str, **labels: str) -> float:
        said = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        (value,) = re.findall(
            rf"^{name}{re.escape(f'{{{said}}}') if said else ''} (\S+)$", METRICS.read_text(), re.MULTILINE
        )
        return float(value)


@pytest.fixture
def played(site: live.Site, booking_database: live.BookingDatabase, tmp_path: Path) -> Iterator[Played]:
    if site_now() > datetime.combine(site_now().date(), datetime.max.time()) - timedelta(minutes=6):
        pytest.skip("the day at the site ends before this is played")
    booking_database.clear()
    booking_database.do("INSERT INTO projects VALUES ('3010000.01', 'Language and the brain')")
    booking_database.do("INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace')")
    yield Played(site, booking_database, tmp_path)
    for study in site.orthanc("/studies").json():
        assert site.orthanc(f"/studies/{study}", method="DELETE").status_code == 200
    booking_database.clear()
    site.run("sync", "-c", str(site.config))


def test_a_day_is_told_as_it_was(played: Played) -> None:
    played.book(1)
    played.book(2, "10:00:00")
    played.book(3, "11:00:00")
    played.book(4, "12:00:00")
    played.book(5, "13:00:00", subject="8-x")
    played.book(6, "00:00:00")
    played.book(7, "14:00:00", lab=PRISMAFIT)
    played.run()
    assert played.states() == {
        "1": "scheduled", "2": "scheduled", "3": "scheduled", "4": "scheduled", "5": "rejected", "7": "scheduled",
        # its time is over, if the day is far enough
        "6": "missing" if played.asked() > datetime.combine(played.day, datetime.min.time()) + timedelta(hours=2)
        else "scheduled",
    }  # fmt: skip

    # moved to another scanner: the same study, shown there
    played.bookings.do(
        "UPDATE calendar_items_new SET calendar_id = %s, start_time = '15:00:00' WHERE id = 4", PRISMAFIT
    )
    played.run()
    assert played.lines()["4"]["booked"]["ae_title"] == "PRISMAFIT"

    # scanned under the right id
    played.scan(played.entry(1), images=3)
    played.run()
    assert played.states()["1"] == "in progress"
    # under an edited one; twice; on the wrong scanner; with no booking; by accession number and by patient alone
    played.scan(played.entry(2), PatientID="3010000.01_sub-999")
    played.scan(played.entry(3), images=2)
    played.scan(played.entry(3), StudyInstanceUID="1.2.826.0.1.3680043.8.498.3")
    played.scan(played.entry(4), scanner="SKYRA")
    played.scan()
    alone = played.entry(7)
    played.scan(
        scanner="PRISMAFIT", PatientID=alone.PatientID, StudyTime="141000",
        StudyInstanceUID="1.2.826.0.1.3680043.8.498.7",
    )  # fmt: skip
    played.settle()
    lines = played.lines()
    states = {booking_id: line["state"] for booking_id, line in lines.items() if booking_id in "12347"}
    assert states == dict.fromkeys("12347", "arrived")
    assert sum(study["instances"] for study in lines["1"]["studies"]) == 3
    assert [study["instances"] for study in sorted(lines["3"]["studies"], key=lambda one: one["instances"])] == [1, 2]
    assert played.remarks(1) == ""
    assert '"3010000.01_sub-999"; booked is "3010000.01_sub-002"' in played.remarks(2)
    assert "2 studies for this booking" in played.remarks(3)
    assert "scanned on SKYRA; booked is PRISMAFIT" in played.remarks(4)
    assert played.remarks(7) == ""
    (unscheduled,) = played.status()["today"]["unscheduled"]
    assert unscheduled["study"]["patient_id"] == "phantom"

    page = PAGE.read_text()
    for said in ("arrived", "rejected", "3010000.01_sub-999", "scanned on SKYRA", "phantom", "subject_session"):
        assert said in page, said
    (orthanc_id,) = [study["orthanc_id"] for study in lines["1"]["studies"]]
    assert f"explorer.html#study?uuid={orthanc_id}" in page
    assert played.site.orthanc(f"/studies/{orthanc_id}").status_code == 200

    assert played.metric("dicom_worklist_bookings", ae_title="PRISMA", state="arrived") == 3
    assert played.metric("dicom_worklist_bookings", ae_title="PRISMAFIT", state="arrived") == 2
    assert played.metric("dicom_worklist_rejected_bookings") == 1
    assert played.metric("dicom_worklist_unscheduled_studies") == 1
    done = played.site.run("status", "-c", str(played.site.config), "--exit-code")
    assert done.returncode == 2
    assert done.stdout.startswith("WORKLIST CRITICAL - Booking 5")
    assert "WARNING: Booking 2" in done.stdout
    table = played.site.run("status", "-c", str(played.site.config)).stdout
    assert re.search(r"PRISMA .*09:00 .*arrived .*3010000.01_sub-001_ses-01 .*\b1 .*\b3 ", table), table


def test_a_stopped_database_freezes_the_list_for_all_to_see(played: Played) -> None:
    played.book(1)
    played.run()
    uid = played.scan(played.entry(1))
    with played.bookings.stopped():
        assert played.site.run("sync", "-c", str(played.site.config)).returncode == 4
        status = played.status()
        done = played.site.run("status", "-c", str(played.site.config), "--exit-code")
        # a warning at first; `frozen_after` is another test's
        assert (done.returncode, status["level"]) == (1, "WARNING")
        assert done.stdout.startswith("WORKLIST WARNING - The list is frozen since ")
        assert "frozen" in PAGE.read_text()
        assert played.metric("dicom_worklist_last_run_success") == 0
        success = played.metric("dicom_worklist_last_success_timestamp_seconds")
        assert success == pytest.approx(datetime.fromisoformat(status["good"]).timestamp(), abs=0.01)
        assert success < played.metric("dicom_worklist_last_run_timestamp_seconds")
        # what arrives is told all the same
        assert [study["study_instance_uid"] for study in played.lines()["1"]["studies"]] == [uid]
    played.run()
    assert played.status()["frozen"] is None
    assert played.metric("dicom_worklist_last_run_success") == 1


def test_a_stopped_pacs_is_named_and_the_list_goes_on(played: Played) -> None:
    orthanc = played.bookings.engine.containers.get(live.VARIABLES["orthanc_container_name"])
    played.book(1)
    played.run()
    played.scan(played.entry(1))
    played.run()
    played.book(2, "10:00:00")
    orthanc.stop()
    try:
        report = played.run()
        assert [entry["booking_id"] for entry in report["published"]] == ["2"]
        (warning,) = report["warnings"]
        assert warning.startswith("what arrived is not known: Orthanc at ")
        assert played.status()["level"] == "WARNING"
        assert played.lines()["1"]["studies"], "what it had when it last answered"
        done = played.site.run("check", "-c", str(played.site.config), "--only", "pacs")
        assert done.returncode == 7
    finally:
        orthanc.start()
        live.wait_for_http(f"{live.Site.orthanc_url}/system")
    assert played.run()["warnings"] == []
    done = played.site.run("check", "-c", str(played.site.config), "--only", "pacs")
    assert (done.returncode, "has 1 studies" in done.stdout) == (0, True)


def test_an_entry_leaves_the_console_when_its_scan_is_done(played: Played) -> None:
    config = played.site.config.with_name("leaving.yml")
    settings = yaml.safe_load(played.site.config.read_text())
    settings["status"] |= {"leave_after": 0, "session": 0}  # a booking's time is over when it begins
    config.write_text(yaml.safe_dump(settings))
    shutil.chown(config, group=played.site.user)
    config.chmod(0o640)

    def shown() -> set[str]:
        done = played.site.run("sync", "-c", str(config))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning: " not in done.stdout
        return {entry.AccessionNumber for entry in live.pynetdicom_find(played.site.wlmscpfs_port)}

    def left() -> None:
        assert shown() == {"2"}

    try:
        played.book(1, "00:00:00")
        played.book(2, "00:01:00")
        assert shown() == {"1", "2"}
        played.scan(played.entry(1), StudyTime="000030")
        assert shown() == {"1", "2"}, "images are still coming"
        live.wait_until(left, 240)
        assert played.lines()["1"]["booked"]["on_console"] is False
    finally:
        config.unlink()
