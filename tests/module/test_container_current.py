"""The modules `container_current` and `container_client`, with a container that only sleeps."""

import os
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from support.modules import run_one
from support.plays import Result

ENGINE = docker.from_env()
IMAGE = "debian:trixie-slim"
HEALTH = {"test": ["CMD", "test", "!", "-e", "/tmp/ill"], "interval": 3600 * 10**9}


@pytest.fixture
def container() -> Iterator[Container]:
    """A container that is healthy unless a file is there; the engine itself asks once an hour."""
    made = ENGINE.containers.run(
        IMAGE, ["sleep", "600"], name=f"test-module-{secrets.token_hex(4)}", detach=True, init=True, healthcheck=HEALTH,
        user="65534:65534", tmpfs={"/tmp": ""},
    )  # fmt: skip
    yield made
    made.remove(force=True)


def started(container: Container) -> str:
    container.reload()
    return str(container.attrs["State"]["StartedAt"])


def file_of(folder: Path, container: Container, seconds: int) -> Path:
    """Write a file as many seconds after the container's start."""
    path = folder / "configuration"
    path.touch()
    moment = datetime.fromisoformat(started(container)[:19] + "+00:00") + timedelta(seconds=seconds)
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return path


def ask(container: Container, *files: Path, **more: Any) -> Result:
    return {"container_current": {"name": container.name, "files": list(map(str, files)), "timeout": 5, **more}}


def test_a_container_that_is_older_than_a_file_is_restarted(tmp_path: Path, container: Container) -> None:
    before = started(container)
    file = file_of(tmp_path, container, 2)
    preview = run_one(tmp_path, ask(container, file), options=["--check", "--diff"])
    assert (preview["changed"], preview["newer"]) == (True, [str(file)])
    assert str(file) in preview["diff"]["after"]
    assert started(container) == before
    assert run_one(tmp_path, ask(container, file, stop_timeout=1))["changed"]
    assert started(container) > before


def test_a_container_that_has_read_its_files_is_left_alone(tmp_path: Path, container: Container) -> None:
    before = started(container)
    file = file_of(tmp_path, container, -60)
    assert not run_one(tmp_path, ask(container, file, tmp_path / "missing"))["changed"]
    assert started(container) == before


def test_what_check_mode_would_write_is_a_reason_too(tmp_path: Path, container: Container) -> None:
    assert run_one(tmp_path, ask(container, restart=True), options=["--check"])["changed"]


def test_a_container_that_is_not_healthy_is_told_with_its_words(tmp_path: Path, container: Container) -> None:
    """The engine has not asked yet, so only the module's own question shows it."""
    assert container.exec_run(["touch", "/tmp/ill"]).exit_code == 0
    said = run_one(tmp_path, ask(container, timeout=1))["msg"]
    assert f"The container {container.name} is running" in said
    assert "after 1 seconds" in said
    assert container.exec_run(["rm", "/tmp/ill"]).exit_code == 0
    assert "msg" not in run_one(tmp_path, ask(container))


def test_a_container_that_has_ended_is_told(tmp_path: Path, container: Container) -> None:
    container.kill()
    assert "is exited" in run_one(tmp_path, ask(container, timeout=1))["msg"]


def test_a_missing_container_is_told_but_not_in_check_mode(tmp_path: Path) -> None:
    missing: Result = {"container_current": {"name": "test-module-nowhere", "timeout": 1}}
    assert "is missing" in run_one(tmp_path, missing)["msg"]
    assert run_one(tmp_path, missing, options=["--check"])["changed"] is False


def test_clients_run_in_one_container_without_rights(tmp_path: Path, container: Container) -> None:
    secret = tmp_path / "secret"
    secret.write_text("for the group")
    os.chown(secret, 0, 65534)
    secret.chmod(0o640)
    clients = [
        {"what": "a word", "script": 'echo "$word"; echo again; exit 3', "env": {"word": "of its own"}},
        {"what": "the shared word", "script": 'echo "$word"', "expected": "^of all$"},
        {"what": "another word", "script": 'echo "$word"', "expected": "of nobody"},
        {"what": "a failing pipe", "script": "false; echo not reached"},
        {"what": "the group's file", "script": "cat /mounted"},
        {"what": "its rights", "script": "exec 2>&1; grep CapBnd /proc/self/status; id -u; touch /x || touch /mounted"},
    ]
    task = {
        "container_client": {
            "name": f"{container.name}-client", "image_of": container.name, "env": {"word": "of all"},
            "mounts": {str(secret): "/mounted"}, "clients": clients,
        }
    }  # fmt: skip
    result = run_one(tmp_path, task)
    assert (result["changed"], result["image"]) == (False, IMAGE)
    answers = {answer["what"]: answer for answer in result["answers"]}
    assert answers["a word"] | {} == {"what": "a word", "expected": False, "status": 3, "output": "of its own; again"}
    assert (answers["the shared word"]["expected"], answers["another word"]["expected"]) == (True, False)
    assert (answers["a failing pipe"]["status"], answers["a failing pipe"]["output"]) == (1, "")
    assert answers["the group's file"]["output"] == "for the group"
    rights = answers["its rights"]
    assert rights["status"] != 0
    assert f"{'0' * 16}; 65534" in rights["output"]
    assert "Read-only file system" in rights["output"] or "Permission denied" in rights["output"]
    assert not ENGINE.containers.list(all=True, filters={"name": f"{container.name}-client"})


def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path, container: Container) -> None:
    left = ENGINE.containers.run(IMAGE, ["sleep", "60"], name=f"{container.name}-client", detach=True)
    clients = [{"what": "nothing", "script": "true"}]
    task = {"container_client": {"name": left.name, "image_of": container.name, "clients": clients}}
    assert run_one(tmp_path, task)["answers"][0]["expected"]
