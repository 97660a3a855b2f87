"""A new configuration of the front door: nginx itself has to take it before the old one goes."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from support import live
from support.front_door import OTHER, Door, door
from support.modules import run
from support.waiting import wait_until

NAME = "test-front-door-trial"
ROTATION = Path("/etc/logrotate.d") / NAME


@dataclass(frozen=True)
class Running:
    """A front door that runs with what is in its folder."""

    front_door: Door
    folder: Path

    def configure(self, tmp_path: Path, *options: str, **variables: object) -> dict[str, Any]:
        """Configure it as the role does; return the result of the task that failed, or {}."""
        given = {
            "__orthanc_kept": {"results": []}, "__orthanc_network_result": {"network": {"IPAM": {"Config": []}}},
            "__orthanc_passwords": dict.fromkeys(("admin", "reader", "delivery"), "a") | {"front_door": "secret"},
            "orthanc_page_dir": "", "orthanc_user": "nogroup", "front_door_config_dir": str(self.folder),
            "front_door_audit_dir": str(self.folder / "audit"), "front_door_container_name": NAME,
            "container_provided": {"image": self.front_door.container.image.id},
        }  # fmt: skip
        tasks: list[dict[str, Any]] = [
            {"ansible.builtin.include_vars": str(live.PROJECT / f"roles/orthanc/{part}/main.yml")}
            for part in ("defaults", "vars")
        ]
        role = {"ansible.builtin.include_role": {"name": "front_door", "tasks_from": "configure.yml"}}
        tasks.append({"block": [role], "rescue": [{"ansible.builtin.debug": {}}], "ignore_errors": False})
        results = run(
            tmp_path, *tasks, options=[*options, "-e", json.dumps(given | variables)],
            ANSIBLE_ROLES_PATH=str(live.PROJECT / "roles"),
        )  # fmt: skip
        return next((result for result in results if result.get("failed")), {})

    @property
    def files(self) -> dict[str, bytes]:
        """What the front door reads."""
        return {name: (self.folder / name).read_bytes() for name in ("nginx.conf", "people")}

    @property
    def left(self) -> list[str]:
        """All that is in the folder, and the containers of the image."""
        image = self.front_door.container.image.id
        ours = docker.from_env().containers.list(all=True, filters={"ancestor": image})
        return sorted(path.name for path in self.folder.iterdir()) + sorted(str(one.name) for one in ours)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("door")
    (folder / "audit").mkdir()
    (folder / "audit").chmod(0o777)
    (folder / "given.pem").write_text("not a certificate")
    (folder / "given.pem").chmod(0o644)
    with door(folder, {"worklist-reader": "right"}) as found:
        yield Running(found, folder)
    with suppress(FileNotFoundError):
        ROTATION.unlink()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"front_door_upload_max": f"{10**20}g"}, '"client_max_body_size" directive invalid value'),
        ({"container_provided": {"image": "debian:trixie-slim"}}, "nginx: not found"),
        ({"orthanc_https": True, "__orthanc_tls_server": "FOLDER/given"}, "no start line"),
    ],
    ids=["a value", "the image", "the certificate"],
)
def test_what_nginx_refuses_replaces_nothing(
    running: Running, tmp_path: Path, variables: dict[str, Any], words: str
) -> None:
    given = json.loads(json.dumps(variables).replace("FOLDER", str(running.folder)))
    before = running.files, running.left
    failed = running.configure(tmp_path, **given)
    assert words in failed.get("msg", "it was not refused"), failed
    assert "goes on with the old one" in failed["msg"]
    assert "front_door_image" in failed["msg"]
    assert (running.files, running.left) == before
    assert not ROTATION.exists()

    running.front_door.container.restart(timeout=1)  # with what is on the disk, as after a power cut

    def answers() -> None:
        assert running.front_door.ask(OTHER) == 401

    wait_until(answers)


def test_what_nginx_takes_is_written(running: Running, tmp_path: Path) -> None:
    before = running.left
    assert running.configure(tmp_path, front_door_upload_max="7m") == {}
    assert "client_max_body_size 7m;" in (running.folder / "nginx.conf").read_text()
    assert running.left == before
