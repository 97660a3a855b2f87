"""Private copies (twins) of the site's containers: the same image, command, user and limits, with their own
folders and port. A fault that is tried on a copy harms nothing else."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
from docker.models.containers import Container

from support import clients, live
from support.waiting import wait_for_http, wait_until

#: What a twin is known by, should its test be killed; its value is the process of the test.
LABEL = "dicom-worklist.twin"


def remove_old() -> None:
    """Remove the twins of tests that were killed."""
    for container in docker.from_env().containers.list(all=True, filters={"label": LABEL}):
        if not Path("/proc", container.labels[LABEL] or "none").exists():
            container.remove(force=True, v=True)


@contextmanager
def twin(
    name: str, sources: Mapping[str, Path], ports: Mapping[str, int], entrypoint: list[str] | None = None, **host: Any
) -> Iterator[Container]:
    """Run a copy of the container `name`; it is gone afterwards.

    `sources` are the folders and files of the host, by their places in the container; what the original mounts
    elsewhere the twin hasn't. `ports` are loopback's, by the container's (`1234/tcp`); `entrypoint` is run instead of
    the original's; `host` changes its HostConfig.
    """
    engine = docker.from_env()
    attributes = engine.containers.get(name).attrs
    mounts = {mount["Target"]: mount for mount in attributes["HostConfig"]["Mounts"]}
    config = attributes["Config"] | {"Image": attributes["Image"], "Hostname": "", "Labels": {LABEL: str(os.getpid())}}
    config["Entrypoint"] = entrypoint or config["Entrypoint"]
    config["HostConfig"] = attributes["HostConfig"] | {
        "NetworkMode": "bridge",
        "PortBindings": {inner: [{"HostIp": "127.0.0.1", "HostPort": str(port)}] for inner, port in ports.items()},
        "Mounts": [
            mounts.get(place, {"Type": "bind", "Target": place}) | {"Source": str(source)}
            for place, source in sources.items()
        ],
        **host,
    }
    container = engine.containers.get(engine.api.create_container_from_config(config)["Id"])
    try:
        container.start()
        yield container
    finally:
        container.remove(force=True, v=True)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of its own; it is gone afterwards."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass(frozen=True)
class Broker:
    """A twin of wlmscpfs, and the folder that it reads."""

    container: Container
    folder: Path
    port: int


@contextmanager
def broker(root: Path, *worklists: str, **host: Any) -> Iterator[Broker]:
    """Run a twin of wlmscpfs with these worklists below `root`, or with WLBROKER; owners and modes are the site's."""
    original = Path(live.VARIABLES["wlmscpfs_data_dir"]) / "WLBROKER"
    first, *_ = folders = [root / worklist for worklist in worklists or ("WLBROKER",)]
    sources: dict[str, Path] = {}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lockfile").touch()
        for path, like in ((folder, original), (folder / "lockfile", original / "lockfile")):
            status = like.stat()
            os.chown(path, status.st_uid, status.st_gid)
            shutil.copymode(like, path)
        place = f"/worklists/{folder.name}"
        sources |= {place: folder, f"{place}/lockfile": folder / "lockfile"}
    port = free_port()
    with twin(live.VARIABLES["wlmscpfs_container_name"], sources, {"1234/tcp": port}, **host) as container:
        with TemporaryDirectory() as answers:
            wait_until(lambda: clients.findscu(port, Path(answers), first.name, ScheduledStationAETitle="NOBODY"))
        yield Broker(container, first, port)


@dataclass(frozen=True)
class Pacs:
    """A twin of Orthanc: its data, its ports and its login."""

    container: Container
    data: Path
    dicom_port: int
    url: str
    login: tuple[str, str]


@contextmanager
def pacs(data: Path, settings: Mapping[str, object] | None = None, **host: Any) -> Iterator[Pacs]:
    """Run a twin of Orthanc that keeps its images in the folder `data`; its owner and mode are the site's.

    `settings` are Orthanc's, over those of the site.
    """
    config = Path(live.VARIABLES["orthanc_config_dir"])
    status = Path(live.VARIABLES["orthanc_data_dir"]).stat()
    data.mkdir(exist_ok=True)
    os.chown(data, status.st_uid, status.st_gid)
    data.chmod(status.st_mode & 0o7777)
    dicom, web = free_port(), free_port()
    settings_file = data.with_name(f"{data.name}.json")
    own = json.loads((config / "orthanc.json").read_text())
    # a twin has no front door, so the people of the site log in here
    users = {"admin": "admin", "worklist-reader": "reader"}
    own["RegisteredUsers"] |= {name: (config / f"{file}.password").read_text().strip() for name, file in users.items()}
    settings_file.write_text(json.dumps(own | dict(settings or {})))
    like = (config / "orthanc.json").stat()
    os.chown(settings_file, like.st_uid, like.st_gid)
    settings_file.chmod(like.st_mode & 0o7777)
    sources = {
        "/srv/orthanc": data,
        "/etc/orthanc-pacs/orthanc.json": settings_file,
        "/etc/orthanc-pacs/health.curlrc": config / "health.curlrc",
    }
    with twin(
        live.VARIABLES["orthanc_container_name"], sources, {"4042/tcp": dicom, "8042/tcp": web}, **host
    ) as container:
        wait_for_http(f"http://127.0.0.1:{web}/system")
        yield Pacs(container, data, dicom, f"http://127.0.0.1:{web}", live.Site().login)
