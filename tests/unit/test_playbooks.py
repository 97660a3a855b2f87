"""The playbooks, inventories and roles as texts: nothing is deployed."""

import subprocess
from pathlib import Path

import pytest
import yaml

import live

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


def test_the_example_inventory_renders_a_configuration_that_is_right(tmp_path: Path) -> None:
    """inventories/dccn, through the role's own template, read by the package itself."""
    played = tmp_path / "render.yml"
    rendered = tmp_path / "rendered.yml"
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
                                "dest": str(rendered),
                                "mode": "0600",
                            }
                        },
                    ],
                }
            ]
        )
    )
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", "inventories/dccn", str(played)]
    secrets = ["-e", '{"vault_booking_db_password": "s3cret", "vault_orthanc_admin_password": "s3cret"}']
    done = subprocess.run([*line, *secrets], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = rendered.read_text()
    assert "s3cret" not in text
    check: list[str | Path] = [live.BIN / "dicom-worklist", "check", "--only", "configuration", "-c", str(rendered)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    settings = yaml.safe_load(text)
    assert [scanner["ae_title"] for scanner in settings["scanners"]] == ["PRISMA", "PRISMAFIT", "SKYRA"]
    assert settings["attributes"]["PatientComments"].startswith("{{ lab }}")


@pytest.mark.parametrize("role", ["docker_host", "orthanc", "wlmscpfs", "worklist_sync"])
def test_every_variable_of_a_role_is_specified(role: str) -> None:
    defaults = yaml.safe_load((PROJECT / "roles" / role / "defaults/main.yml").read_text())
    specified = yaml.safe_load((PROJECT / "roles" / role / "meta/argument_specs.yml").read_text())
    options = specified["argument_specs"]["main"]["options"]
    assert defaults.keys() == options.keys()
    for name, option in options.items():
        if "default" in option:
            assert defaults[name] == option["default"], name
        assert option["description"], name
