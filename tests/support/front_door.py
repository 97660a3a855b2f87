"""The front door without a site: its image and its configuration, before a stand-in for Orthanc."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from support import inside, live, twins
from support.modules import run
from support.waiting import wait_until

ENGINE = docker.from_env()
NETWORK, SUBNET = "test-sign-on", "198.18.203.0/24"
ORTHANC, DOOR, SIGN_ON, OTHER, FREE = (f"198.18.203.{number}" for number in (2, 3, 10, 11, 12))
GATEWAY = "198.18.203.1"
#: It takes all that it is sent, then says what it was asked as, or over which connection; a file comes slowly.
BEHIND = """events {} http { client_max_body_size 0; keepalive_timeout 1s; large_client_header_buffers 4 64k; server {
    listen 8042;
    location / { proxy_pass http://127.0.0.1:8043; }
    location = /statistics { return 200 "$connection "; }
    location = /tools/bulk-delete { return 400; }
    location ~ /zip/archive$ { add_header Content-Disposition 'attachment; filename="s.zip"'; return 200 'PK'; }
    location ~ /slow/archive$ { root /etc/front-door; try_files /archive =404; limit_rate 100k; }
} server {
    listen 8043;
    add_header X-Content-Type-Options nosniff; add_header Referrer-Policy none;
    return 200 'asked as $http_authorization';
} }"""


AUDIT = "/var/log/front-door/audit.log"


@dataclass(frozen=True)
class Door:
    """A running front door."""

    container: Container
    behind: Container
    clients: Mapping[str, Container] = field(default_factory=dict)

    def ask(self, address: str, path: str = "/system", *options: str, **headers: str) -> int:
        """Ask from an address; return the status."""
        said = [part for name, value in headers.items() for part in ("-H", f"{name.replace('_', '-')}: {value}")]
        line = [
            "curl",
            "-s",
            "-m",
            "120",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            *options,
            *said,
            f"http://{DOOR}:8080{path}",
        ]
        return int(self.run(address, *line))

    def guess(self, address: str, name: str, count: int = 80) -> list[int]:
        """Guess the password of a name, as fast as curl does; return the statuses."""
        ask = f"curl -s -o /dev/null -w '%{{http_code}} ' -u '{name}':$i http://{DOOR}:8080/tools/find -X POST"
        return [*map(int, self.run(address, "sh", "-c", f"for i in $(seq {count}); do {ask}; done").split())]

    def run(self, address: str, *line: str) -> str:
        """Run a program at an address; return what it printed."""
        return inside.run(self.clients[address], *line).stdout.decode()

    def send(self, request: bytes, read: int = 65536) -> bytes:
        """Send bytes from this host; return the first part of what is answered."""
        with socket.create_connection((DOOR, 8080), timeout=20) as connection:
            connection.sendall(request)
            return connection.recv(read)

    def move_orthanc(self, address: str) -> None:
        """Give the stand-in another address, as a new container may have one, when no connection to it is kept.

        A network that goes away says nothing to who is connected: a request on its way then waits for TCP to give up.
        Who stops or kills a container ends its connections.
        """
        time.sleep(1)
        network = ENGINE.networks.get(NETWORK)
        network.disconnect(self.behind)
        network.connect(self.behind, ipv4_address=address, aliases=["orthanc"])

    @property
    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        return [json.loads(line) for line in inside.run(self.container, "cat", AUDIT).stdout.decode().splitlines()]


def configured(folder: Path, variables: Mapping[str, Any]) -> Path:
    """Write the front door's configuration, as the role does."""
    written = folder / "nginx.conf"
    roles = live.PROJECT / "roles"
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.include_vars": str(roles / role / f"{part}/main.yml")}
        for role in ("orthanc", "front_door") for part in ("defaults", "vars")
    ]  # fmt: skip
    tasks.append({"ansible.builtin.template": {
        "src": str(roles / "front_door/templates/nginx.conf.j2"), "dest": str(written), "mode": "0644",
    }})  # fmt: skip
    given = {
        "__orthanc_passwords": {"front_door": "a"}, "orthanc_container_name": "orthanc", "orthanc_page_dir": "",
        "__orthanc_network_result": {"network": {"IPAM": {"Config": [{"Subnet": SUBNET, "Gateway": GATEWAY}]}}},
    }  # fmt: skip
    results = run(folder, *tasks, options=["-e", json.dumps(given | dict(variables))])
    assert not [result for result in results if result.get("failed")], results
    return written


@contextmanager
def door(folder: Path, people: Mapping[str, str], **variables: Any) -> Iterator[Door]:
    """Run the front door of a configuration; `people` are the passwords by name."""
    folder.chmod(0o755)
    configured(folder, variables)
    (folder / "people").write_text("".join(f"{name}:{{PLAIN}}{password}\n" for name, password in people.items()))
    (folder / "orthanc.conf").write_text(BEHIND)
    (folder / "archive").write_bytes(bytes(50_000_000))
    image, _ = ENGINE.images.build(
        path=str(live.PROJECT / "roles/front_door/files/image"), tag="test-front-door-image", rm=True
    )
    with ExitStack() as stack:
        twins.remove_old()
        for left in ENGINE.networks.list(names=[NETWORK]):
            left.remove()
        pool = docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)
        network = ENGINE.networks.create(NETWORK, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        stack.callback(network.remove)

        def start(name: str, address: str, *line: str) -> Container:
            container = ENGINE.containers.create(
                image, list(line), labels={twins.LABEL: str(os.getpid())}, network=NETWORK,
                volumes={str(folder): {"bind": "/etc/front-door", "mode": "ro"}},
                tmpfs={"/var/log/front-door": ""},
            )  # fmt: skip
            stack.callback(container.remove, force=True, v=True)
            network.disconnect(container)
            network.connect(container, ipv4_address=address, aliases=[name])
            container.start()
            return container

        behind = start("orthanc", ORTHANC, "nginx", "-c", "/etc/front-door/orthanc.conf", "-g", "daemon off;")
        running = start("door", DOOR, "nginx", "-c", "/etc/front-door/nginx.conf", "-g", "daemon off;")
        found = Door(
            running, behind, {address: start(address, address, "sleep", "600") for address in (SIGN_ON, OTHER)}
        )

        def up() -> None:
            assert found.ask(OTHER) == 401, running.logs()

        wait_until(up)
        yield found
