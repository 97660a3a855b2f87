"""site.yml on this machine, as an operator runs it; the last test takes the site away again."""

import grp
import json
import pwd
import stat
import subprocess
import time
from io import BytesIO
from pathlib import Path

import docker
import pytest
import requests
from pydicom import dcmread

import live

DAY = "2026-06-01"
PROJECT = live.PROJECT
V = live.VARIABLES
LOG = Path(V["worklist_sync_log_dir"]) / "dicom-labbooking2worklist.log"


def test_check_mode_on_a_host_without_the_site_passes_and_changes_nothing(deployment: live.Deployment) -> None:
    assert deployment.preview.status == 0, deployment.preview.output
    assert deployment.preview.changed > 5
    assert deployment.made_by_preview == []


def test_the_first_run_deploys_and_verifies(deployment: live.Deployment) -> None:
    assert deployment.first.status == 0, deployment.first.output
    assert "Check the configuration, the source, the folder and what each scanner sees" in deployment.first.output


def test_the_second_run_changes_nothing(deployment: live.Deployment) -> None:
    assert deployment.second.status == 0, deployment.second.output
    assert deployment.second.changed == 0, deployment.second.output


def test_secrets_are_files_that_only_their_readers_read(site: live.Site) -> None:
    expected = {
        Path(V["worklist_sync_config_dir"]) / "config.yml": ("root", 0o640),
        Path(V["worklist_sync_config_dir"]) / "booking-db.password": (V["worklist_sync_user"], 0o600),
        Path(V["orthanc_config_dir"]) / "admin.password": ("root", 0o600),
        Path(V["orthanc_config_dir"]) / "orthanc.json": ("root", 0o640),
    }
    for path, (owner, mode) in expected.items():
        status = path.stat()
        assert (pwd.getpwuid(status.st_uid).pw_name, stat.S_IMODE(status.st_mode)) == (owner, mode), path


def test_entries_are_for_the_sync_and_the_broker_only(site: live.Site, booking_database: live.BookingDatabase) -> None:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    site.sync(DAY)
    entry = live.ROOT / "wlbroker/WLBROKER/booking-1-PRISMA.wl"
    status = entry.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert grp.getgrgid(status.st_gid).gr_name == V["wlmscpfs_user"]
    assert len(live.pynetdicom_find(site.wlmscpfs_port, ScheduledStationAETitle="PRISMA")) == 1


def storescu(site: live.Site, ae_title: str, image: Path) -> int:
    line = ["storescu", "-aet", ae_title, "-aec", "ORTHANC", "127.0.0.1", str(site.orthanc_port), str(image)]
    return subprocess.run(line, check=False, capture_output=True, timeout=60).returncode


def test_a_listed_scanner_may_store_and_no_other(site: live.Site, tmp_path: Path) -> None:
    image = live.synthetic_image(tmp_path / "image.dcm")
    assert storescu(site, "STRANGER", image) != 0
    assert site.orthanc("/instances").json() == []
    assert storescu(site, "PRISMA", image) == 0
    (instance,) = site.orthanc("/instances").json()
    stored = dcmread(BytesIO(site.orthanc(f"/instances/{instance}/file").content))
    assert stored == dcmread(image)
    assert site.orthanc(f"/instances/{instance}", method="DELETE").status_code == 200


def test_orthanc_asks_for_a_login(site: live.Site) -> None:
    for path in ("/", "/system", "/app/explorer.html", "/changes", "/metrics"):
        assert requests.get(site.orthanc_url + path, timeout=10).status_code == 401, path
    assert requests.get(f"{site.orthanc_url}/system", auth=("orthanc", "orthanc"), timeout=10).status_code == 401
    plugins = site.orthanc("/plugins").json()
    assert {"dicom-web", "serve-folders", "web-viewer"} <= set(plugins)
    assert site.orthanc("/dicom-web/studies").status_code == 200


def test_sync_yml_publishes_another_day_and_previews_it(
    site: live.Site, booking_database: live.BookingDatabase
) -> None:
    booking_database.clear()
    booking_database.book(2, "9-1", f"{DAY} 09:00:00")
    options = ["-e", f"worklist_sync_day={DAY}"]
    entry = live.ROOT / "wlbroker/WLBROKER/booking-2-PRISMA.wl"
    preview = live.play("sync.yml", *options, "--check", "--diff")
    assert (preview.status, preview.changed) == (0, 1), preview.output
    assert "PatientName: 3010000.01_sub-009_ses-01" in preview.output
    assert not entry.exists()
    assert live.play("sync.yml", *options).changed == 1
    assert entry.exists()
    assert live.play("sync.yml", *options).changed == 0


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
    changed_site: live.Site, booking_database: live.BookingDatabase, tmp_path: Path
) -> None:
    booking_database.clear()
    booking_database.book(3, "7-1", f"{DAY} 09:00:00", lab=4)
    changed_site.sync(DAY)
    assert len(live.pynetdicom_find(changed_site.wlmscpfs_port, "WLMEG", ScheduledStationAETitle="MEGNETO")) == 1
    assert storescu(changed_site, "MEGNETO", live.synthetic_image(tmp_path / "image.dcm")) == 0
    (instance,) = changed_site.orthanc("/instances").json()
    changed_site.orthanc(f"/instances/{instance}", method="DELETE")


def test_the_cron_job_follows_the_calendar(changed_site: live.Site, booking_database: live.BookingDatabase) -> None:
    """Once a minute, with the date, in the site's own day."""
    today = live.today(V["site_timezone"])
    booking_database.clear()
    booking_database.book(4, "7-1", f"{today} 23:58:00")
    changed_site.sync(today)

    def seen() -> list[str]:
        found = live.pynetdicom_find(changed_site.wlmscpfs_port, ScheduledStationAETitle="PRISMA")
        return [str(entry.PatientName) for entry in found]

    assert seen() == ["3010000.01_sub-007_ses-01"]
    booking_database.do("UPDATE calendar_items_new SET subj_ses = '7-2' WHERE id = 4")
    deadline = time.monotonic() + 75
    while seen() != ["3010000.01_sub-007_ses-02"]:
        assert time.monotonic() < deadline, LOG.read_text()
        time.sleep(1)
    last = LOG.read_text().splitlines()[-1]
    assert last.split()[0][:10] == time.strftime("%Y-%m-%d")
    assert "1 updated" in LOG.read_text()
    verified = live.play("verify.yml", "--tags", "worklist_sync", "-e", json.dumps(EVERY_MINUTE))
    assert verified.status == 0, verified.output


def test_the_broker_answers_nobody_who_is_not_listed(changed_site: live.Site) -> None:
    """The host itself is answered, for verify.yml."""
    live.pynetdicom_find(changed_site.wlmscpfs_port)  # asserts that it is answered
    assert not live.neighbour_is_answered(V["wlmscpfs_network"])


def test_a_scanner_that_is_taken_away_may_no_more_and_a_listed_address_is_answered(
    changed_site: live.Site, tmp_path: Path
) -> None:
    subnet = docker.from_env().networks.get(V["wlmscpfs_network"]).attrs["IPAM"]["Config"][0]["Subnet"]
    variables = {"wlmscpfs_allowed_addresses": [str(address) for address in live.hosts_of(subnet)]}
    options = [*live.UNVERIFIED, "--tags", "orthanc,wlmscpfs", "-e", json.dumps(variables)]
    played = live.play("site.yml", *options)
    assert played.status == 0, played.output
    assert storescu(changed_site, "MEGNETO", live.synthetic_image(tmp_path / "image.dcm")) != 0
    assert live.neighbour_is_answered(V["wlmscpfs_network"])


def test_teardown_leaves_nothing_but_the_data(site: live.Site, tmp_path: Path) -> None:
    """The last test: without the variable the data stay, with it they go."""
    image = live.synthetic_image(tmp_path / "image.dcm")
    assert storescu(site, "PRISMA", image) == 0
    played = live.play("teardown.yml")
    assert played.status == 0, played.output
    engine = docker.from_env()
    ours = [V["orthanc_container_name"], V["wlmscpfs_container_name"]]
    assert not [c for c in engine.containers.list(all=True) if c.name in ours]
    assert not [n for n in engine.networks.list() if n.name in (V["orthanc_network"], V["wlmscpfs_network"])]
    for gone in ("worklist_sync_home", "worklist_sync_config_dir", "orthanc_config_dir", "worklist_sync_command"):
        assert not Path(V[gone]).exists(), gone
    assert not Path("/etc/cron.d", V["worklist_sync_cron_name"]).exists()
    assert any(path.is_file() for path in Path(V["orthanc_data_dir"]).rglob("*"))
    assert live.play("teardown.yml", "-e", "site_teardown_data=true").status == 0
    assert not Path(V["orthanc_data_dir"]).exists()
    assert not Path(V["wlmscpfs_data_dir"]).exists()
    assert live.traces() == []
