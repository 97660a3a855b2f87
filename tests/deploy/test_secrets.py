"""No password where somebody could read it: looked for everywhere, by a search that finds what is planted."""

import base64
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import docker
import pytest
import requests
import yaml
from docker.models.containers import Container
from docker.models.images import Image

from support import live
from support.booking_database import BookingDatabase
from support.leaks import FOLDERS, Processes, files, journal, misplaced, new_secret, of_docker, search

V = live.VARIABLES
ENGINE = docker.from_env()
#: The files that keep a password which people or the sync type, which only their readers can read.
KEPT = {
    Path(V["orthanc_config_dir"]) / "admin.password",
    Path(V["orthanc_config_dir"]) / "reader.password",
    Path(V["worklist_sync_config_dir"]) / "booking-db.password",
    Path(V["worklist_sync_config_dir"]) / "pacs.password",
}
#: Those that keep the front door's own login at Orthanc.
KEPT_FOR_THE_DOOR = {
    Path(V["orthanc_config_dir"]) / "front-door.password",
    Path(V["orthanc_config_dir"]) / "orthanc.json",
    Path(V["orthanc_config_dir"]) / "health.curlrc",
    Path(V["front_door_config_dir"]) / "nginx.conf",
}


def leaks(found: set[str]) -> set[str]:
    return misplaced(found, KEPT)


def site_containers() -> list[Container]:
    return [
        container
        for network in {V["orthanc_network"], V["wlmscpfs_network"]}
        for container in ENGINE.networks.get(network).containers
    ]


@dataclass
class Rotation:
    """The site with passwords that were never used before: previewed, then done."""

    old_login: str
    login: str
    reader: str
    booking: str
    since: float
    preview: live.Played
    done: live.Played
    started: dict[str, str]
    processes: set[bytes]

    @property
    def secrets(self) -> list[str]:
        """All that are new."""
        return [self.login, self.reader, self.booking]


def started() -> dict[str, str]:
    """Return when each container of the site was started."""
    return {container.name: container.attrs["State"]["StartedAt"] for container in site_containers()}


@pytest.fixture(scope="module")
def rotation(
    deployment: live.Deployment, booking_database: BookingDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rotation]:
    """New passwords in a vault, and a run: with everything that Ansible can print, and with diffs."""
    folder = tmp_path_factory.mktemp("vault")
    old, login, reader, booking = live.Site().login[1], new_secret(), new_secret(), new_secret()
    key, vault = folder / "vault.password", folder / "vault.yml"
    key.write_text(secrets.token_hex())
    variables = {
        "orthanc_admin_password": login,
        "orthanc_reader_password": reader,
        "worklist_sync_source_password": booking,
    }
    encrypt: list[str | Path] = [live.BIN / "ansible-vault", "encrypt", "--vault-password-file", key, "--output", vault]
    subprocess.run(encrypt, input=yaml.safe_dump(variables), text=True, check=True, capture_output=True, timeout=60)
    options = [
        "-vvv",
        "--diff",
        "--tags",
        "orthanc,front_door,worklist_sync",
        "--vault-password-file",
        str(key),
        "-e",
        f"@{vault}",
    ]
    booking_database.clear()
    live.Site().sync("2026-06-01")  # so that nothing but the passwords changes, on any day
    since, before = time.time(), started()
    with Processes() as processes:
        preview = live.play("site.yml", *options, "--check", *live.UNVERIFIED)
        booking_database.do("ALTER USER dicomdf IDENTIFIED BY %s", booking)
        done = live.play("site.yml", *options)
    yield Rotation(old, login, reader, booking, since, preview, done, before, processes.seen)
    # as the inventory has it, for the tests that follow
    booking_database.do("ALTER USER dicomdf IDENTIFIED BY %s", live.PASSWORD)
    (Path(V["worklist_sync_config_dir"]) / "booking-db.password").write_text(f"{live.PASSWORD}\n")


def test_the_deployment_showed_no_password(deployment: live.Deployment, site: live.Site) -> None:
    """Neither the one that was given nor those that were generated."""
    folder = Path(V["orthanc_config_dir"])
    generated = [(folder / f"{name}.password").read_text().strip() for name in ("reader", "front-door", "delivery")]
    shown = [deployment.preview.output, deployment.first.output, deployment.second.output]
    assert search(
        [live.PASSWORD, site.login[1], *generated],
        iter([("output", [text.encode() for text in shown])]),
        of_docker(site_containers()),
    ) == set()  # fmt: skip


def test_rotating_a_password_is_a_variable_and_a_run(rotation: Rotation, site: live.Site) -> None:
    assert rotation.preview.status == 0, rotation.preview.output
    assert rotation.done.status == 0, rotation.done.output
    assert {task for task, _ in rotation.done.changes} == {
        "orthanc : Keep the passwords",
        "front_door : Write the front door's configuration and who may log in",
        "front_door : Restart it if it has not read its configuration, and wait until it answers",
        "worklist_sync : Keep the passwords that the sync needs, and no others",
    }
    assert rotation.preview.changes == rotation.done.changes
    now = started()
    assert {name for name in now if now[name] != rotation.started[name]} == {
        f"{V['orthanc_container_name']}-front-door"
    }
    for password, status in ((rotation.old_login, 401), (rotation.login, 200)):
        answer = requests.get(f"{site.orthanc_url}/system", auth=("admin", password), timeout=10)
        assert answer.status_code == status
    question, reader = {"Level": "Study", "Query": {}}, ("worklist-reader", rotation.reader)
    found = requests.post(f"{site.orthanc_url}/tools/find", json=question, auth=reader, timeout=10)
    assert found.status_code == 200
    assert site.run("check", "-c", str(site.config), "--only", "source").returncode == 0


def test_no_password_is_anywhere_but_where_it_is_read(rotation: Rotation, site: live.Site) -> None:
    told: list[tuple[str, Iterable[bytes]]] = [
        ("what Ansible printed", [rotation.preview.output.encode(), rotation.done.output.encode()]),
        ("a process", rotation.processes),
    ]
    found = search(
        rotation.secrets, iter(told), journal(rotation.since), of_docker(site_containers()), files(rotation.since)
    )
    assert leaks(found) == set()
    assert found == set(map(str, KEPT))  # so the search isn't blind


def test_the_front_door_s_own_login_is_only_where_it_is_read(site: live.Site) -> None:
    own = (Path(V["orthanc_config_dir"]) / "front-door.password").read_text().strip()
    found = search([own], of_docker(site_containers()), files(0, [live.ROOT]))
    assert misplaced(found, KEPT_FOR_THE_DOOR) == set()
    assert found == set(map(str, KEPT_FOR_THE_DOOR))


@pytest.fixture
def secret() -> str:
    return new_secret()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """An image with next to nothing in it."""
    image = image_of(tmp_path_factory.mktemp("small"), "nothing")
    yield image
    ENGINE.images.remove(image.id, force=True)


def image_of(folder: Path, content: str, label: str = "") -> Image:
    (folder / "file").write_text(content)
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY file /\nLABEL planted={json.dumps(label)}\n")
    image, _ = ENGINE.images.build(path=str(folder), rm=True)
    return image


@contextmanager
def container_of(image: Image, *command: str, **options: Any) -> Iterator[Container]:
    container = ENGINE.containers.create(image, list(command) or ["/file"], **options)
    try:
        yield container
    finally:
        container.remove(force=True)


@pytest.mark.parametrize(
    "options",
    [
        lambda secret: {"environment": {"PASSWORD": secret}},
        lambda secret: {"labels": {"login": base64.b64encode(f"admin:{secret}".encode()).decode()}},
        lambda secret: {"healthcheck": {"test": ["CMD", "curl", f"http://{quote(secret)}@localhost"]}},
    ],
    ids=["environment", "label", "health check"],
)
def test_a_secret_that_docker_inspect_shows_is_found(
    small: Image, secret: str, options: Callable[[str], dict[str, Any]]
) -> None:
    with container_of(small, **options(secret)) as container:
        assert leaks(search([secret], of_docker([container]))) == {f"docker inspect {container.name}"}


def test_a_secret_in_what_a_container_said_is_found(site: live.Site, secret: str) -> None:
    half = len(secret) // 2
    with container_of(site_containers()[0].image, "printf", "%s%s", secret[:half], secret[half:], entrypoint="") as it:
        it.start()
        it.wait()
        assert leaks(search([secret], of_docker([it]))) == {f"docker logs {it.name}"}


def test_a_secret_in_an_image_is_found(tmp_path: Path, secret: str) -> None:
    image = image_of(tmp_path, "x" * (1 << 21) + secret)
    try:
        with container_of(image) as container:
            assert leaks(search([secret], of_docker([container]))) == {"a layer of the image []"}
    finally:
        ENGINE.images.remove(image.id, force=True)


def test_a_secret_of_a_process_is_found(secret: str) -> None:
    short = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    with Processes() as processes:
        subprocess.run([*short, secret], check=True)
    assert search([secret], iter([("a process", processes.seen)]))
    with Processes() as processes:
        subprocess.run(short, env={"PASSWORD": secret}, check=True)
    assert search([secret], iter([("a process", processes.seen)]))


@pytest.mark.parametrize("no_log", [False, True])
def test_a_secret_that_ansible_tells_is_found(tmp_path: Path, secret: str, no_log: bool) -> None:
    """A task that writes it, with and without what keeps it quiet."""
    task = {
        "ansible.builtin.copy": {"content": secret, "dest": str(tmp_path / "file"), "mode": "0600"},
        "no_log": no_log,
    }
    playbook = tmp_path / "play.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    told = live.play(str(playbook), "-vvv", "--diff")
    assert told.changed == 1, told.output
    assert bool(search([secret], iter([("what Ansible printed", [told.output.encode()])]))) is not no_log


def test_a_secret_in_a_file_is_found(site: live.Site, secret: str) -> None:
    """Everyone who can read it, where no password may be."""
    since = time.time()
    planted = [folder / f"test-planted-{secrets.token_hex(4)}" for folder in FOLDERS]
    try:
        for path in planted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump({"password": secret}))
            path.chmod(0o600)
        assert leaks(search([secret], files(since))) == set(map(str, planted))
    finally:
        for path in planted:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("path", sorted(KEPT), ids=lambda path: path.name)
def test_a_file_of_passwords_that_others_can_read_is_found(rotation: Rotation, path: Path) -> None:
    mode = path.stat().st_mode
    try:
        path.chmod(0o644)
        assert leaks(search(rotation.secrets, files(rotation.since, [path.parent]))) == {str(path)}
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("path", sorted(KEPT_FOR_THE_DOOR), ids=lambda path: path.name)
def test_a_file_of_the_front_door_s_login_that_others_can_read_is_found(site: live.Site, path: Path) -> None:
    own, mode = (Path(V["orthanc_config_dir"]) / "front-door.password").read_text().strip(), path.stat().st_mode
    try:
        path.chmod(0o644)
        assert misplaced(search([own], files(0, [path.parent])), KEPT_FOR_THE_DOOR) == {str(path)}
    finally:
        path.chmod(mode)
