"""The deployed site changes: a scanner more, a scanner less, the cron job, the list of who may ask."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from support import clients, live, networks
from support.booking_database import BookingDatabase
from support.images import synthetic_image
from support.waiting import wait_until

DAY = "2026-06-01"
V = live.VARIABLES
LOG = Path(V["worklist_sync_log_dir"]) / "dicom-labbooking2worklist.log"


MORE = {"ae_title": "MEGNETO", "lab": "MEG", "modality": "MR", "worklist": "WLMEG"}
EVERY_MINUTE = {"worklist_sync_cron_schedule": "* * * * *", "worklist_sync_log_wait": 150}


@pytest.fixture(scope="module")
def changed_site(deployment: live.Deployment) -> live.Site:
    """One more scanner, the cron job on, and a broker that answers nobody but an address of nobody's."""
    variables = EVERY_MINUTE | {
        "site_scanners": [*V["site_scanners"], MORE],
        "wlmscpfs_allowed_addresses": ["192.0.2.1"],
    }
    options = [*live.UNVERIFIED, "--tags", "orthanc,wlmscpfs,worklist_sync", "-e", json.dumps(variables)]
    played = live.play("site.yml", *options)
    assert played.status == 0, played.output
    assert played.changed > 0
    return live.Site()


def test_one_more_item_is_one_more_scanner_everywhere(
    changed_site: live.Site, booking_database: BookingDatabase, tmp_path: Path
) -> None:
    booking_database.clear()
    booking_database.book(3, "7-1", f"{DAY} 09:00:00", lab=4)
    changed_site.sync(DAY)
    assert len(clients.pynetdicom_find(changed_site.wlmscpfs_port, "WLMEG", ScheduledStationAETitle="MEGNETO")) == 1
    assert clients.storescu("MEGNETO", synthetic_image(tmp_path / "image.dcm")) == 0
    (instance,) = changed_site.orthanc("/instances").json()
    changed_site.orthanc(f"/instances/{instance}", method="DELETE")


def test_the_cron_job_follows_the_calendar(changed_site: live.Site, booking_database: BookingDatabase) -> None:
    """Once a minute, with the time of each line, in the site's own day, whichever that is."""
    booking_database.clear()
    booking_database.book_daily(4, "7-1")

    def shows(name: str) -> None:
        found = clients.pynetdicom_find(changed_site.wlmscpfs_port, ScheduledStationAETitle="PRISMA")
        assert [str(entry.PatientName) for entry in found] == [name], LOG.read_text()
        assert f"booking {found[0].AccessionNumber} on PRISMA" in LOG.read_text()

    wait_until(lambda: shows("3010000.01_sub-007_ses-01"), 75)
    booking_database.do("UPDATE calendar_items_new SET subj_ses = '7-2'")
    wait_until(lambda: shows("3010000.01_sub-007_ses-02"), 75)
    for line in LOG.read_text().splitlines():
        assert datetime.fromisoformat(line.split()[0]).tzinfo, line
    verified = live.play("verify.yml", "--tags", "worklist_sync", "-e", json.dumps(EVERY_MINUTE))
    assert verified.status == 0, verified.output


def test_the_broker_answers_nobody_who_is_not_listed(changed_site: live.Site) -> None:
    """The host itself is answered, for verify.yml."""
    clients.pynetdicom_find(changed_site.wlmscpfs_port)  # asserts that it is answered
    assert not networks.neighbour_is_answered(V["wlmscpfs_network"])


def test_a_scanner_that_is_taken_away_may_no_more_and_a_listed_address_is_answered(
    changed_site: live.Site, tmp_path: Path
) -> None:
    addresses = networks.hosts_of(networks.ipv4(V["wlmscpfs_network"])["Subnet"])
    variables = {"wlmscpfs_allowed_addresses": [str(address) for address in addresses]}
    options = [*live.UNVERIFIED, "--tags", "orthanc,wlmscpfs", "-e", json.dumps(variables)]
    played = live.play("site.yml", *options)
    assert played.status == 0, played.output
    assert clients.storescu("MEGNETO", synthetic_image(tmp_path / "image.dcm")) != 0
    assert networks.neighbour_is_answered(V["wlmscpfs_network"])
