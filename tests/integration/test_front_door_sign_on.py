"""The header of a single sign-on: it is believed from its own address, and from no other."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from support import live, twins
from support.modules import run
from support.waiting import wait_until

ENGINE = docker.from_env()
NETWORK, SUBNET = "test-sign-on", "198.18.203.0/24"
ORTHANC, DOOR, SIGN_ON, OTHER = (f"198.18.203.{number}" for number in (2, 3, 10, 11))
PEOPLE = [{"name": "sofia", "role": "viewer"}, {"name": "paul", "role": "page"}]


def configured(folder: Path) -> Path:
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
    variables = {
        "__orthanc_passwords": {"front_door": "a"}, "orthanc_container_name": "orthanc", "orthanc_page_dir": "",
        "front_door_people": PEOPLE, "front_door_single_sign_on_addresses": [SIGN_ON],
    }  # fmt: skip
    run(folder, *tasks, options=["-e", json.dumps(variables)])
    return written


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Ask the front door from an address, with headers; the status of the answer."""
    folder = tmp_path_factory.mktemp("door")
    folder.chmod(0o755)
    configured(folder)
    (folder / "people").write_text("")
    (folder / "orthanc.conf").write_text(
        "events {} http { server { listen 8042; return 200 'asked as $http_authorization'; } }"
    )
    image, _ = ENGINE.images.build(
        path=str(live.PROJECT / "roles/front_door/files/image"), tag="test-front-door-image", rm=True
    )
    with ExitStack() as stack:
        pool = docker.types.IPAMPool(subnet=SUBNET)
        network = ENGINE.networks.create(NETWORK, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        stack.callback(network.remove)

        def start(name: str, address: str, *line: str) -> Any:
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

        start("orthanc", ORTHANC, "nginx", "-c", "/etc/front-door/orthanc.conf", "-g", "daemon off;")
        start("door", DOOR, "nginx", "-c", "/etc/front-door/nginx.conf", "-g", "daemon off;")
        clients = {address: start(address, address, "sleep", "600") for address in (SIGN_ON, OTHER)}

        def ask(address: str, path: str = "/system", **headers: str) -> int:
            said = [part for name, value in headers.items() for part in ("-H", f"{name.replace('_', '-')}: {value}")]
            line = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *said, f"http://{DOOR}:8080{path}"]
            return int(clients[address].exec_run(line)[1])

        def up() -> None:
            assert ask(OTHER) == 401

        wait_until(up)
        yield ask


def test_its_own_address_says_who_it_is(asked: Any) -> None:
    assert asked(SIGN_ON, X_Remote_User="sofia") == 200
    assert asked(SIGN_ON, "/changes", X_Remote_User="sofia") == 403  # a viewer
    assert asked(SIGN_ON, X_Remote_User="paul") == 403  # the page alone


@pytest.mark.parametrize("name", ["", "nobody", "admin x", 'sofia" administrator', "../sofia"])
def test_a_name_that_is_no_person_s_gets_nothing(asked: Any, name: str) -> None:
    assert asked(SIGN_ON, X_Remote_User=name) in {401, 403}


def test_from_any_other_address_the_header_says_nothing(asked: Any) -> None:
    for headers in ({"X_Remote_User": "sofia"}, {"X_Remote_User": "admin"},
                    {"X_Remote_User": "sofia", "X_Forwarded_For": SIGN_ON},
                    {"X_Remote_User": "sofia", "X_Front_Door_Address": SIGN_ON}):  # fmt: skip
        assert asked(OTHER, **headers) == 401, headers
