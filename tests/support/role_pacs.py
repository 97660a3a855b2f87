"""A PACS of a test's own: the role's image and configuration, without a deployed site, and a console that it knows."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import requests
from docker.models.containers import Container

from support import live, twins
from support.modules import run
from support.waiting import wait_until

ROLE = live.PROJECT / "roles/orthanc"
LOGIN = ("front-door", "c")


def configured(
    folder: Path, scanners: list[dict[str, object]], network: dict[str, str], **variables: object
) -> dict[str, Any]:
    """Return Orthanc's configuration, as the role writes it for these scanners in this network (Subnet, Gateway)."""
    folder.mkdir(exist_ok=True)
    written = folder / "orthanc.json"
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": str(ROLE / f"{part}/main.yml")} for part in ("defaults", "vars")
    ]
    tasks.append({"ansible.builtin.template": {
        "src": str(ROLE / "templates/orthanc.json.j2"), "dest": str(written), "mode": "0600",
    }})  # fmt: skip
    own = {
        "__orthanc_passwords": {"admin": "a", "reader": "b", "front_door": LOGIN[1]},
        "__orthanc_network_result": {"network": {"IPAM": {"Config": [network]}}},
        "orthanc_scanners": scanners,
    }
    run(folder, *tasks, options=["-e", json.dumps(own | variables)])
    settings: dict[str, Any] = json.loads(written.read_text())
    return settings


class Pacs:
    """Orthanc in a network of its own. This host is there, too, at `gateway`: it is the console."""

    login = LOGIN

    def __init__(self, folder: Path, container: Container, ports: tuple[int, int], gateway: str) -> None:
        self.data, self.container, self.gateway = folder / "data", container, gateway
        self.dicom_port, web = ports
        self.url = f"http://127.0.0.1:{web}"

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(lambda: self.ask("/system"))

    def ask(self, path: str, posted: str | None = None) -> Any:
        """Return what the REST interface answers."""
        method = "GET" if posted is None else "POST"
        answer = requests.request(method, self.url + path, data=posted, auth=LOGIN, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def instance(self, uid: str) -> str:
        """Return where the REST interface has the instance of this SOPInstanceUID."""
        (found,) = self.ask("/tools/lookup", uid)
        return str(found["Path"])

    def file(self, uid: str) -> Path:
        """Return the file of the instance of this SOPInstanceUID."""
        name: str = self.ask(f"{self.instance(uid)}/attachments/dicom/info")["Uuid"]
        return self.data / name[:2] / name[2:4] / name


@contextmanager
def pacs(
    folder: Path, name: str, subnet: str, scanners: list[dict[str, object]], **variables: object
) -> Iterator[Pacs]:
    """Run the role's Orthanc for these scanners, in the network `name` of this subnet.

    The address of a scanner may be GATEWAY, which is this host's. If there is a folder `tls`, it has what Orthanc
    shows and accepts: server.pem and clients.crt.
    """
    tls = (folder / "tls").exists()
    engine = docker.from_env()
    image, _ = engine.images.build(path=str(ROLE / "files/image"), tag="test-orthanc-image", rm=True)
    gateway = subnet.replace("0/24", "1")
    network = engine.networks.create(
        name, ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet, gateway=gateway)])
    )
    given = [item | ({"address": gateway} if item.get("address") == "GATEWAY" else {}) for item in scanners]
    try:
        configured(folder / "role", given, {"Subnet": subnet, "Gateway": gateway}, **variables)
        settings = (folder / "role/orthanc.json").rename(folder / "orthanc.json")
        settings.chmod(0o644)
        (folder / "data").mkdir()
        (folder / "data").chmod(0o777)
        ports = twins.free_port(), twins.free_port()
        container = engine.containers.run(
            image.id, ["orthanc-start", "/etc/orthanc-pacs/orthanc.json"], entrypoint="", detach=True,
            network=name, user="65534:65534", read_only=True, cap_drop=["ALL"], tmpfs={"/tmp": "rw,noexec"},
            environment={"TCP_NODELAY": "1"}, labels={twins.LABEL: str(os.getpid())},
            ports={f"{inner}/tcp": ("127.0.0.1", port) for inner, port in zip((4042, 8042), ports, strict=True)},
            volumes={
                str(folder / "data"): {"bind": "/srv/orthanc", "mode": "rw"},
                str(settings): {"bind": "/etc/orthanc-pacs/orthanc.json", "mode": "ro"},
                **({str(folder / "tls"): {"bind": "/etc/orthanc-pacs/tls", "mode": "ro"}} if tls else {}),
            },
        )  # fmt: skip
        try:
            found = Pacs(folder, container, ports, gateway)
            found.wait()
            yield found
        finally:
            container.remove(force=True, v=True)
    finally:
        network.remove()
