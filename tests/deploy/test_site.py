"""site.yml on this machine, as an operator runs it."""

import grp
import pwd
import stat
from io import BytesIO
from pathlib import Path

import requests
from pydicom import dcmread

import live

DAY = "2026-06-01"
PROJECT = live.PROJECT
V = live.VARIABLES


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


def test_a_listed_scanner_may_store_and_no_other(site: live.Site, tmp_path: Path) -> None:
    image = live.synthetic_image(tmp_path / "image.dcm")
    assert live.storescu("STRANGER", image) != 0
    assert site.orthanc("/instances").json() == []
    assert live.storescu("PRISMA", image) == 0
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
