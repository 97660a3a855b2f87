"""site.yml on this machine, as an operator runs it."""

import grp
import os
import pwd
import stat
from io import BytesIO
from pathlib import Path
from typing import Any

import docker
import requests
from pydicom import dcmread

from support import clients, live
from support.booking_database import BookingDatabase
from support.images import synthetic_image

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
        Path(V["worklist_sync_config_dir"]) / "pacs.password": (V["worklist_sync_user"], 0o600),
        Path(V["worklist_sync_config_dir"]) / "delivery.password": (V["delivery_user"], 0o600),
        Path(V["orthanc_config_dir"]) / "delivery.password": ("root", 0o600),
        Path(V["orthanc_config_dir"]) / "admin.password": ("root", 0o600),
        Path(V["orthanc_config_dir"]) / "reader.password": ("root", 0o600),
        Path(V["orthanc_config_dir"]) / "front-door.password": ("root", 0o600),
        Path(V["orthanc_config_dir"]) / "orthanc.json": ("root", 0o640),
        Path(V["front_door_config_dir"]) / "nginx.conf": ("root", 0o640),
        Path(V["front_door_config_dir"]) / "people": ("root", 0o640),
    }
    for path, (owner, mode) in expected.items():
        status = path.stat()
        assert (pwd.getpwuid(status.st_uid).pw_name, stat.S_IMODE(status.st_mode)) == (owner, mode), path


def test_entries_are_for_the_sync_and_the_broker_only(site: live.Site, booking_database: BookingDatabase) -> None:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    site.sync(DAY)
    entry = live.ROOT / "wlbroker/WLBROKER/booking-1-PRISMA.wl"
    status = entry.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert grp.getgrgid(status.st_gid).gr_name == V["wlmscpfs_user"]
    assert len(clients.pynetdicom_find(site.wlmscpfs_port, ScheduledStationAETitle="PRISMA")) == 1


def test_a_listed_scanner_may_store_and_no_other(site: live.Site, tmp_path: Path) -> None:
    image = synthetic_image(tmp_path / "image.dcm")
    assert clients.storescu("STRANGER", image) != 0
    assert site.orthanc("/instances").json() == []
    assert clients.storescu("PRISMA", image) == 0
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


def as_reader(site: live.Site, method: str, path: str, **options: Any) -> requests.Response:
    """Ask Orthanc with its second login; the path goes out as it is written."""
    login = ("worklist-reader", (Path(V["orthanc_config_dir"]) / "reader.password").read_text().strip())
    with requests.Session() as session:
        session.trust_env = False
        request = session.prepare_request(
            requests.Request(method, site.orthanc_url, auth=login, json={"Level": "Study", "Query": {}}, **options)
        )
        request.url = site.orthanc_url + path
        return session.send(request, timeout=10)


def test_the_second_login_may_find_studies_read_metrics_and_nothing_else(site: live.Site, tmp_path: Path) -> None:
    assert clients.storescu("PRISMA", synthetic_image(tmp_path / "image.dcm")) == 0
    (instance,) = site.orthanc("/instances").json()
    (study,) = site.orthanc("/studies").json()
    try:
        assert as_reader(site, "POST", "/tools/find").json() == [study]
        assert "orthanc_count_studies 1" in as_reader(site, "GET", "/tools/metrics-prometheus").text
        assert as_reader(site, "GET", "/refused-sop-classes").json() == []
        disk = os.statvfs(live.VARIABLES["orthanc_data_dir"])
        assert as_reader(site, "GET", "/disk-space").json()["size"] == disk.f_blocks * disk.f_frsize
        refused = [
            *(("GET", path) for path in ("/", "/system", "/instances", f"/instances/{instance}/file", "/tools/find")),
            *(
                ("GET", path)
                for path in (
                    "/tools/metrics",
                    "/tools/metrics-prometheus/",
                    "/app/explorer.html",
                    "/dicom-web/studies",
                    "/worklist/index.html",
                )
            ),
            *(("DELETE", path) for path in (f"/studies/{study}", f"/instances/{instance}", "/tools/find")),
            *((method, f"/{path}") for method in ("POST", "PUT") for path in ("refused-sop-classes", "disk-space")),
            *(("PUT", path) for path in (f"/studies/{study}/metadata/4000", "/tools/log-level", "/tools/find")),
            *(("POST", path) for path in ("/tools/find/", "/tools/find/x", "/tools/find/../lookup", "/tools/find%2f")),
            *(("POST", path) for path in ("/tools/lookup", "/tools/execute-script", f"/studies/{study}/anonymize")),
            *(("POST", path) for path in ("/instances", "/dicom-web/studies", "/tools/Find")),
        ]
        for method, path in refused:
            assert as_reader(site, method, path).status_code == 403, (method, path)
        for method in ("PUT", "DELETE"):  # Orthanc would act on the header's method
            faked = as_reader(site, "POST", "/tools/find", headers={"X-HTTP-Method-Override": method})
            assert faked.json() == [study], method
        assert site.orthanc("/instances").json() == [instance]
    finally:
        site.orthanc(f"/instances/{instance}", method="DELETE")


def test_the_page_is_shown_to_the_administrator_and_to_nobody_else(site: live.Site) -> None:
    folder = Path(V["orthanc_page_dir"])
    site.run("sync", "-c", str(site.config))
    page = folder / "index.html"
    status = folder.stat()
    assert pwd.getpwuid(status.st_uid).pw_name == pwd.getpwuid(page.stat().st_uid).pw_name == V["worklist_sync_user"]
    assert grp.getgrgid(status.st_gid).gr_name == grp.getgrgid(page.stat().st_gid).gr_name == V["orthanc_user"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, page)] == [0o2750, 0o640]
    answer = site.orthanc("/worklist/index.html")
    assert (answer.status_code, answer.content) == (200, page.read_bytes())
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "no-store" in answer.headers["Cache-Control"]  # so nobody sees a page of before
    assert requests.get(f"{site.orthanc_url}/worklist/index.html", timeout=10).status_code == 401


def test_the_front_door_can_write_neither_the_page_nor_who_may_do_what(site: live.Site) -> None:
    container = docker.from_env().containers.get(f"{V['orthanc_container_name']}-front-door")
    writer = str(pwd.getpwnam(V["worklist_sync_user"]).pw_uid)
    for path, owner in (("/srv/page", writer), ("/srv/page/index.html", writer), ("/etc/front-door/nginx.conf", "0")):
        assert container.exec_run(["test", "-r", path]).exit_code == 0, path
        assert container.exec_run(["test", "-w", path], user=owner).exit_code != 0, path


def test_the_metrics_are_written_where_a_node_exporter_reads_them(site: live.Site) -> None:
    metrics = Path(V["worklist_sync_metrics_dir"]) / "dicom_worklist.prom"
    site.run("sync", "-c", str(site.config))
    before = metrics.stat()
    site.run("sync", "-c", str(site.config))
    assert stat.S_IMODE(before.st_mode) == 0o644
    assert metrics.stat().st_ino != before.st_ino  # it is written again


def test_sync_yml_publishes_another_day_and_previews_it(site: live.Site, booking_database: BookingDatabase) -> None:
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
