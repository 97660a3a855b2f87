"""The playbooks, inventories and roles as texts: nothing is deployed."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import live

PROJECT = live.PROJECT


@pytest.mark.parametrize("inventory", ["demo", "dccn"])
@pytest.mark.parametrize("playbook", ["site.yml", "sync.yml", "verify.yml", "teardown.yml", "show.yml"])
def test_every_playbook_is_sound_for_every_inventory(inventory: str, playbook: str) -> None:
    line: list[str | Path] = [
        live.BIN / "ansible-playbook",
        "--syntax-check",
        "-i",
        f"inventories/{inventory}",
        f"playbooks/{playbook}",
    ]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rendered(tmp_path: Path, inventory: str = "dccn", **variables: str) -> dict[str, Any]:
    """Return an inventory's configuration, through the role's own template, read by the package itself."""
    played = tmp_path / "render.yml"
    configuration = tmp_path / "rendered.yml"
    played.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "worklist",
                    "gather_facts": False,
                    "connection": "local",
                    "vars": {"worklist_sync_config_dir": str(tmp_path)},  # nothing is installed there
                    "tasks": [
                        {
                            "ansible.builtin.import_role": {
                                "name": "worklist_sync",
                                "tasks_from": "preflight.yml",
                            }
                        },
                        {
                            "ansible.builtin.template": {
                                "src": str(PROJECT / "roles/worklist_sync/templates/config.yml.j2"),
                                "dest": str(configuration),
                                "mode": "0600",
                            }
                        },
                    ],
                }
            ]
        )
    )
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", f"inventories/{inventory}", str(played)]
    secrets = {"vault_booking_db_password": "s3cret", "vault_orthanc_admin_password": "s3cret"}
    given = ["-e", json.dumps(secrets | variables)]
    done = subprocess.run([*line, *given], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = configuration.read_text()
    assert "s3cret" not in text
    check: list[str | Path] = [live.BIN / "dicom-worklist", "check", "--only", "configuration", "-c", configuration]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def test_the_example_inventory_renders_a_configuration_that_is_right(tmp_path: Path) -> None:
    settings = rendered(tmp_path)
    assert [scanner["ae_title"] for scanner in settings["scanners"]] == ["PRISMA", "PRISMAFIT", "SKYRA"]
    assert settings["attributes"]["PatientComments"].startswith("{{ lab }}")


def test_a_pacs_on_another_host_without_a_password_is_not_asked_and_has_no_page(tmp_path: Path) -> None:
    settings = rendered(tmp_path, orthanc_config_dir=str(tmp_path))
    assert "pacs" not in settings
    assert settings["status"]["page"] is None
    assert settings["status"]["state"] == "/var/lib/dicom-worklist/status.json"


def test_a_pacs_on_another_host_is_asked_as_the_inventory_says(tmp_path: Path) -> None:
    url, page = "https://198.51.100.2:8042", "/srv/worklist-page"
    certificate = "-----BEGIN CERTIFICATE-----"
    given = {"worklist_sync_pacs_url": url, "worklist_sync_pacs_password": "s3cret", "worklist_sync_page_dir": page}
    settings = rendered(tmp_path, **given)
    assert settings["pacs"] == {
        "url": url, "user": "worklist-reader", "password_file": f"{tmp_path}/pacs.password", "ca_file": None,
        "check_hostname": True, "timeout": 5,
    }  # fmt: skip
    assert settings["status"]["page"] == page
    checked = rendered(tmp_path, **given, worklist_sync_pacs_ca=certificate)["pacs"]
    assert (checked["ca_file"], checked["check_hostname"]) == (f"{tmp_path}/pacs.crt", True)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://127.0.0.1:8042"),
        ({"orthanc_https": "true", "orthanc_http_address": "192.0.2.7"}, "https://192.0.2.7:8042"),
        ({"orthanc_http_port": "28042", "orthanc_http_address": "0.0.0.0"}, "http://127.0.0.1:28042"),
    ],
)
def test_a_pacs_on_the_same_host_is_asked_where_it_is(tmp_path: Path, variables: dict[str, str], url: str) -> None:
    settings = rendered(tmp_path, "demo", orthanc_reader_password="s3cret", **variables)
    assert settings["pacs"]["url"] == url
    assert settings["status"]["page"] == "/scratch/data_dicom/page"


SERVED = {"Folders": {"/pages": "/srv/pages"}, "AllowCache": True}


@pytest.mark.parametrize(
    ("folders", "page"), [(SERVED["Folders"], "/srv/page-of-the-host"), (SERVED, "/srv/page-of-the-host"), (SERVED, "")]
)
def test_the_page_is_served_beside_the_folders_of_the_site(tmp_path: Path, folders: dict[str, Any], page: str) -> None:
    written, play = tmp_path / "orthanc.json", tmp_path / "play.yml"
    role = PROJECT / "roles/orthanc"
    template = {"src": str(role / "templates/orthanc.json.j2"), "dest": str(written), "mode": "0600"}
    files = [str(role / "defaults/main.yml"), str(role / "vars/main.yml")]
    tasks = [{"ansible.builtin.template": template}]
    play.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}])
    )
    variables = {
        "__orthanc_passwords": {"admin": "a", "reader": "b"},
        "orthanc_page_dir": page,
        "orthanc_settings": {"ServeFolders": folders, "LuaScripts": ["/srv/pages/mine.lua"]},
    }
    line = [
        str(live.BIN / "ansible-playbook"),
        "-i",
        "localhost,",
        "-c",
        "local",
        str(play),
        "-e",
        json.dumps(variables),
    ]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = json.loads(written.read_text())
    ours = {"/worklist": "/srv/page"} if page else {}
    assert settings["ServeFolders"]["Folders"] == {"/pages": "/srv/pages"} | ours
    assert settings["ServeFolders"]["AllowCache"] is folders.get("AllowCache", False)
    assert settings["RegisteredUsers"] == {"admin": "a", "worklist-reader": "b"}
    assert settings["LuaScripts"] == [
        "/srv/pages/mine.lua",
        "/etc/orthanc-pacs/reader.lua",
    ]  # the last has the last word


def test_a_release_is_known_by_the_templates_of_the_package_too() -> None:
    files = yaml.safe_load((PROJECT / "roles/worklist_sync/vars/main.yml").read_text())["__worklist_sync_files"]
    package = PROJECT / "src/dicom_worklist"
    kinds = {path.suffix for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert kinds == {f".{kind}" for kind in re.findall(r"/\*\.(\w+)", files)}


@pytest.mark.parametrize("role", sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir()))
def test_every_variable_of_a_role_is_specified(role: str) -> None:
    defaults = yaml.safe_load((PROJECT / "roles" / role / "defaults/main.yml").read_text())
    specified = yaml.safe_load((PROJECT / "roles" / role / "meta/argument_specs.yml").read_text())
    options = specified["argument_specs"]["main"]["options"]
    assert defaults.keys() == options.keys()
    for name, option in options.items():
        if "default" in option:
            assert defaults[name] == option["default"], name
        assert option["description"], name


@pytest.mark.parametrize("role", sorted(path.name for path in (PROJECT / "roles").iterdir() if path.is_dir()))
def test_what_a_role_registers_hides_none_of_its_variables(role: str) -> None:
    """A registered result stands above the role's variables, for the rest of the play and after it."""
    folder = PROJECT / "roles" / role
    tasks = "".join(path.read_text() for path in sorted((folder / "tasks").glob("*.yml")))
    registered = set(re.findall(r"^\s*register: (\w+)", tasks, re.MULTILINE))
    given = [yaml.safe_load((folder / kind / "main.yml").read_text()) or {} for kind in ("defaults", "vars")]
    assert registered
    assert {name for names in given for name in names} & registered == set()
