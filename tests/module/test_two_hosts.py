"""The sync on another host than the PACS: what its deployment needs from there."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from support import live, twins
from support.modules import run

ROLE = live.PROJECT / "roles/worklist_sync"


def deployed(
    folder: Path, *options: str, connection: str = "ssh", python: str = "/usr/bin/python3", **variables: object
) -> list[dict[str, Any]]:
    """Read what the PACS keeps, on a host that answers no ssh, and with what is given; the results."""
    far = {
        "name": "pacs.example.org", "groups": "pacs", "ansible_connection": connection, "ansible_host": "127.0.0.1",
        "ansible_port": twins.free_port(), "orthanc_https": True, "orthanc_http_address": "192.0.2.5",
        "ansible_python_interpreter": python,
    }  # fmt: skip
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.add_host": far},
        *({"ansible.builtin.include_vars": str(ROLE / f"{part}/main.yml")} for part in ("defaults", "vars")),
        {"ansible.builtin.set_fact": variables},
        {
            "ansible.builtin.include_tasks": {
                "file": str(ROLE / "tasks/read_pacs.yml"),
                "apply": {"ignore_errors": True},
            }
        },
    ]
    return run(folder, *tasks, options=options)


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_without_the_host_of_the_pacs_nothing_is_changed(tmp_path: Path, options: tuple[str, ...]) -> None:
    *_, checked = deployed(tmp_path, *options, worklist_sync_bundle_dir="")
    assert checked["failed"]
    said = checked["results"][0]["msg"]
    for part in (
        "localhost can't be deployed",
        "pacs.example.org",
        "reader.password",
        "Nothing was changed",
        "Connection refused",
    ):
        assert part in said


def test_a_site_that_gives_the_login_itself_needs_no_other_host(tmp_path: Path) -> None:
    given = {"worklist_sync_pacs_password": "a", "worklist_sync_pacs_ca": "a certificate"}
    assert not deployed(tmp_path, **given)[-1].get("failed")


def test_a_pacs_that_is_not_deployed_yet_has_nothing_to_read(tmp_path: Path) -> None:
    nowhere = {"__worklist_sync_orthanc_dir": str(tmp_path / "none")}
    assert not deployed(tmp_path, connection="local", **nowhere)[-1].get("failed")


def test_a_host_that_answers_but_can_not_be_read_stops_it_too(tmp_path: Path) -> None:
    *_, checked = deployed(tmp_path, connection="local", python="/usr/bin/none")
    assert checked["failed"]
    assert "'/usr/bin/none' was not found" in checked["results"][0]["msg"]


def test_the_password_is_in_no_result(tmp_path: Path) -> None:
    """Ansible prints the results with -v."""
    keeps = tmp_path / "orthanc"
    (keeps / "tls").mkdir(parents=True)
    (keeps / "reader.password").write_text("not to be printed\n")
    (keeps / "tls/generated.crt").write_text("a certificate\n")
    *_, checked = deployed(tmp_path, connection="local", __worklist_sync_orthanc_dir=str(keeps))
    assert not checked.get("failed")
    assert b64encode(b"not to be printed\n").decode() not in json.dumps(checked)
