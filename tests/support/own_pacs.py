"""An Orthanc of a test's own: the role's image, without a deployed site."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.models.containers import Container

from dicom_worklist.settings import Pacs
from support import live, twins
from support.waiting import wait_for_http

IMAGE = live.PROJECT / "roles/orthanc/files/image"
USER, PASSWORD = "tests", "the-password-of-the-tests"
#: What the role sets, as far as it matters without a site.
SETTINGS: dict[str, Any] = {
    "StorageDirectory": "/srv/orthanc", "IndexDirectory": "/srv/orthanc", "OverwriteInstances": "Never",
    "SyncStorageArea": True, "StableAge": 1, "MaximumStorageCacheSize": 0, "RemoteAccessAllowed": True,
    "AuthenticationEnabled": True,
    "RegisteredUsers": {USER: PASSWORD}, "DicomAet": "ORTHANC", "DicomPort": 4042, "DicomAlwaysAllowStore": True,
}  # fmt: skip


@dataclass(frozen=True)
class OwnPacs:
    """A running Orthanc: its data, its ports on loopback, and its login."""

    container: Container
    data: Path
    dicom_port: int
    login: Pacs

    def ask(self, path: str, content: object = None, method: str = "") -> requests.Response:
        """Send a request, JSON if it has content."""
        auth = (self.login.user, PASSWORD)
        return requests.request(
            method or ("GET" if content is None else "POST"), self.login.url + path, json=content, auth=auth, timeout=60
        )

    def put(self, file: bytes) -> None:
        """Store an image over HTTP."""
        auth = (self.login.user, PASSWORD)
        requests.post(f"{self.login.url}/instances", data=file, auth=auth, timeout=60).raise_for_status()

    def kill(self) -> None:
        """Kill it, and start it again."""
        self.container.kill()
        self.container.start()
        wait_for_http(f"{self.login.url}/system")


@contextmanager
def own_pacs(folder: Path, start: str = "orthanc-start", **settings: Any) -> Iterator[OwnPacs]:
    """Run one that keeps its images in the folder; `settings` are Orthanc's own, over SETTINGS.

    `start` is the program, with `Orthanc` what orthanc-start does before is left out.
    """
    engine = docker.from_env()
    engine.images.build(path=str(IMAGE), tag="test-orthanc-image", rm=True)
    data, configuration = folder / "data", folder / "orthanc.json"
    data.mkdir(parents=True, exist_ok=True)
    configuration.write_text(json.dumps(SETTINGS | settings))
    (folder / "password").write_text(PASSWORD)
    dicom, web = twins.free_port(), twins.free_port()
    container = engine.containers.run(
        "test-orthanc-image", [start, "/etc/orthanc.json"], detach=True, environment={"TCP_NODELAY": "1"},
        labels={twins.LABEL: str(os.getpid())},
        ports={"4042/tcp": ("127.0.0.1", dicom), "8042/tcp": ("127.0.0.1", web)},
        volumes={
            str(data): {"bind": "/srv/orthanc", "mode": "rw"},
            str(configuration): {"bind": "/etc/orthanc.json", "mode": "ro"},
        },
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{web}"
        wait_for_http(f"{url}/system")
        yield OwnPacs(container, data, dicom, Pacs(url=url, user=USER, password_file=str(folder / "password")))
    finally:
        container.remove(force=True, v=True)
