"""The playbooks, inventories and roles as texts: nothing is deployed."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dicom_worklist.bookings.sources import _tls
from dicom_worklist.bookings.sources._tls import TLS
from support import live
from support.calendars import EXAMPLES, variables
from support.plays import run

PROJECT = live.PROJECT


@pytest.mark.parametrize("inventory", ["demo", "dccn", *EXAMPLES])
@pytest.mark.parametrize(
    "playbook", ["site.yml", "sync.yml", "verify.yml", "update.yml", "restore.yml", "teardown.yml", "show.yml"]
)
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


def rendered(tmp_path: Path, inventory: str = "dccn", **variables: object) -> dict[str, Any]:
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
                            },
                            "vars": {"role_path": str(PROJECT / "roles/worklist_sync")},
                        },
                        {
                            "ansible.builtin.copy": {
                                "content": "{{ __worklist_sync_page_age_files | to_json }}",
                                "dest": str(tmp_path / "page-age.json"),
                                "mode": "0600",
                            },
                            "vars": {"role_path": str(PROJECT / "roles/worklist_sync")},
                        },
                    ],
                }
            ]
        )
    )
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", f"inventories/{inventory}", str(played)]
    secrets = {
        name: "s3cret"
        for example in (PROJECT / "inventories").glob("*/group_vars/all/vault.yml.example")
        for name in yaml.safe_load(example.read_text())
    } | {"vault_operator_password_hash": "$6$salt$hash"}
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


@pytest.mark.parametrize("inventory", EXAMPLES)
def test_the_inventory_of_each_calendar_renders_a_configuration_that_is_right(tmp_path: Path, inventory: str) -> None:
    settings, file = rendered(tmp_path, inventory), str(tmp_path / "booking-db.password")
    source = settings["source"]
    assert file in {source.get("password_file"), source.get("url_file"), source.get("auth", {}).get("password_file")}
    assert settings["booking"] == variables(inventory)["worklist_sync_booking"]


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
        "check_hostname": True, "timeout": 5, "page": "/worklist/index.html", "updates": "/updates.json",
    }  # fmt: skip
    assert settings["status"]["page"] == page
    assert settings["status"]["backup"] is None
    checked = rendered(tmp_path, **given, worklist_sync_pacs_ca=certificate)["pacs"]
    assert (checked["ca_file"], checked["check_hostname"]) == (f"{tmp_path}/pacs.crt", True)


def test_where_the_hosts_have_a_backup_the_sync_is_told_where_it_is_written_down(tmp_path: Path) -> None:
    given = {"backup_repository": "/mnt/backup/pacs", "worklist_sync_pacs_password": "s3cret"}
    settings = rendered(tmp_path, **given)
    assert settings["status"]["backup"] == "/var/lib/dicom-worklist-backup/page/backup.json"
    assert settings["pacs"]["backup"] == "/backup.json"
    settings = rendered(tmp_path, "demo", **given, orthanc_reader_password="s3cret", backup_state_dir="/srv/saved")
    assert settings["status"]["backup"] == "/srv/saved/page/backup.json"
    assert "backup" not in settings["pacs"]  # it is on the same host


def test_a_pacs_on_another_host_is_asked_over_https_or_not_at_all(tmp_path: Path) -> None:
    given = {"worklist_sync_pacs_password": "s3cret"}
    settings = rendered(tmp_path, **given)
    assert settings["pacs"]["url"] == "https://198.51.100.2:8042"
    assert settings["status"]["page"] is None
    assert "pacs" not in rendered(tmp_path, **given, orthanc_https=False)
    assert "pacs" not in rendered(tmp_path, **given, orthanc_http_address="127.0.0.1")


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_the_database_s_own_authority_and_password_are_files_that_the_role_writes(tmp_path: Path, kind: str) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=authority.example")
    built = x509.CertificateBuilder(name, name, key.public_key(), 1).not_valid_before(datetime(1990, 1, 1, tzinfo=UTC))
    signed = built.not_valid_after(datetime(9999, 1, 1, tzinfo=UTC)).sign(key, hashes.SHA256())
    source = {"type": kind, "host": "db.example", "database": "fcdc", "user": "dicomdf", "query": "SELECT 1"}
    given = {"worklist_sync_source_ca": signed.public_bytes(serialization.Encoding.PEM).decode()}
    settings = rendered(tmp_path, **given, worklist_sync_source=source | {"tls": {"verify_hostname": False}})
    assert settings["source"]["tls"] == {"ca": f"{tmp_path}/booking-db.crt", "verify_hostname": False}
    settings = rendered(tmp_path, **given, worklist_sync_source=source, worklist_sync_source_password="s3cret")
    files = {"tls": {"ca": f"{tmp_path}/booking-db.crt"}, "password_file": f"{tmp_path}/booking-db.password"}
    assert settings["source"] == source | files


@pytest.mark.parametrize(
    ("auth", "file"),
    [
        ({"type": "basic", "user": "worklist"}, "password_file"),
        ({"type": "bearer"}, "token_file"),
        ({"type": "oauth2", "token_url": "https://login.example/token", "client_id": "worklist"}, "client_secret_file"),
    ],
)
def test_a_web_server_s_secrets_are_files_that_the_role_writes(tmp_path: Path, auth: dict[str, str], file: str) -> None:
    source = {
        "type": "http",
        "url": "https://calendar.example/",
        "method": "POST",
        "body": "{{ '{{ key }}' }}",
        "auth": auth,
    }
    secrets: dict[str, Any] = {
        "worklist_sync_source_password": "s3cret",
        "worklist_sync_source_secrets": {"key": "s3cret"},
    }
    settings = rendered(tmp_path, **secrets, worklist_sync_source=source)["source"]
    assert settings["auth"] == auth | {file: f"{tmp_path}/booking-db.password"}
    assert settings["secrets"] == {"key": f"{tmp_path}/key.secret"}


def test_what_is_secret_of_who_is_told_are_files_that_the_role_writes(tmp_path: Path) -> None:
    told = {
        "page": "https://pacs.example.org/worklist/",
        "server": {"host": "mail.example.org", "sender": "a@example.org", "user": "sync", "password": "s3cret",
                   "ca": "s3cret"},
        "recipients": [
            {"name": "operators", "mail": "mri@example.org", "scanners": ["PRISMA"]},
            {"name": "chat", "webhook": dict.fromkeys(("url", "token", "secret", "ca"), "s3cret")},
        ],
    }  # fmt: skip
    settings = rendered(tmp_path, worklist_sync_notify=told)["notify"]
    assert settings == {
        "page": "https://pacs.example.org/worklist/",
        "memory": "/var/lib/dicom-worklist/notify.json",
        "server": {
            "host": "mail.example.org",
            "sender": "a@example.org",
            "user": "sync",
            "password_file": f"{tmp_path}/notify.password",
            "ca_file": f"{tmp_path}/notify.crt",
        },
        "recipients": [
            told["recipients"][0],  # type: ignore[index]
            {
                "name": "chat",
                "webhook": {
                    "url_file": f"{tmp_path}/notify-chat.url",
                    "token_file": f"{tmp_path}/notify-chat.token",
                    "secret_file": f"{tmp_path}/notify-chat.secret",
                    "ca_file": f"{tmp_path}/notify-chat.crt",
                },
            },
        ],
    }
    assert "notify" not in rendered(tmp_path)


def test_a_pacs_on_another_host_notifies_people_of_an_old_page(tmp_path: Path) -> None:
    server = {"host": "mail.example.org", "sender": "a@example.org", "user": "sync", "password": "s3cret"}
    told = {"server": server, "recipients": [{"name": "operators", "mail": "mri@example.org"}]}
    rendered(tmp_path, worklist_sync_notify=told)
    assert json.loads((tmp_path / "page-age.json").read_text()) == []  # this PACS gets no page
    rendered(tmp_path, worklist_sync_notify=told, worklist_sync_pacs_password="s3cret")
    files = {one["path"]: one for one in json.loads((tmp_path / "page-age.json").read_text())}
    config = "/etc/dicom-worklist-page-age"
    user = "dicom-front-door"
    secret = {"owner": user, "group": user, "mode": "0600"}
    assert files[f"{config}/notify.password"] == secret | {"path": f"{config}/notify.password", "content": "s3cret\n"}
    settings = files[f"{config}/settings.json"]
    assert settings["mode"] == "0600"
    assert json.loads(settings["content"]) == {
        "site": "DCCN",
        "path": "/scratch/data_dicom/page/index.html",
        "after": 15,
        "memory": "/var/lib/dicom-worklist-page-age/memory.json",
        "server": {name: server[name] for name in ("host", "sender", "user")}
        | {"password_file": f"{config}/notify.password"},
        "recipients": told["recipients"],
    }
    code = {Path(path).stem for path in files if path.endswith(".py")}
    assert code == {"connection", "mail", "page_age", "webhook"}
    for name in code:
        own = PROJECT / f"src/dicom_worklist/notify/{name}.py"
        assert files[f"/opt/dicom-worklist-page-age/dicom_worklist/notify/{name}.py"]["content"] == own.read_text()
    cron = files["/etc/cron.d/dicom-worklist-page-age"]["content"].splitlines()[-1]
    assert cron.startswith(f"* * * * * {user} cd /opt/dicom-worklist-page-age && timeout 120 python3 ")
    assert [*files][-1] == "/etc/cron.d/dicom-worklist-page-age"  # nothing runs before all of it is there


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


@pytest.mark.parametrize("folders", [SERVED["Folders"], SERVED])
def test_the_folders_and_scripts_of_the_site_are_served(tmp_path: Path, folders: dict[str, Any]) -> None:
    written, play = tmp_path / "orthanc.json", tmp_path / "play.yml"
    role = PROJECT / "roles/orthanc"
    template = {"src": str(role / "templates/orthanc.json.j2"), "dest": str(written), "mode": "0600"}
    files = [str(role / "defaults/main.yml"), str(role / "vars/main.yml")]
    tasks = [{"ansible.builtin.template": template}]
    play.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}])
    )
    variables = {
        "__orthanc_passwords": {"front_door": "a"},
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
    assert settings["ServeFolders"]["Folders"] == {"/pages": "/srv/pages"}
    assert settings["ServeFolders"]["AllowCache"] is folders.get("AllowCache", False)
    assert settings["RegisteredUsers"] == {"front-door": "a"}
    assert settings["LuaScripts"] == ["/srv/pages/mine.lua"]


def test_a_release_is_named_by_every_file_of_the_package(tmp_path: Path) -> None:
    files = str(tmp_path / "files")
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"role_path": str(PROJECT / "roles/worklist_sync")},
        "tasks": [
            {"ansible.builtin.include_vars": str(PROJECT / "roles/worklist_sync/vars/main.yml")},
            {"ansible.builtin.copy": {"content": "{{ __worklist_sync_files|to_json }}", "dest": files, "mode": "0600"}},
        ],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", "localhost,", tmp_path / "play.yml"]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    package = PROJECT / "src/dicom_worklist"
    there = {str(path) for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert there <= set(json.loads(Path(files).read_text()))


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


def specified(role: Path) -> dict[str, Any]:
    """Return the options of a role."""
    entry = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    options: dict[str, Any] = entry.get("options", {})
    return options


def test_the_roles_read_what_the_site_has_and_no_more() -> None:
    """site_inputs refuses any other name that begins with site_."""
    roles = PROJECT / "roles"
    files = [path for kind in ("defaults", "vars", "tasks", "templates") for path in roles.glob(f"*/{kind}/*")]
    code = "".join(re.sub(r"(?m)^\s*site_\w+:$|#.*$", "", path.read_text()) for path in files)  # modules
    read = set(re.findall(r"(?<![\w.])site_[a-z_]+", code))
    assert read == specified(roles / "site").keys()


@pytest.mark.parametrize("role", ["orthanc", "wlmscpfs", "worklist_sync"])
def test_a_scanner_is_specified_by_the_site_alone(role: str) -> None:
    assert "options" not in specified(PROJECT / "roles" / role)[f"{role}_scanners"]


@pytest.mark.parametrize(
    "table", sorted((PROJECT / "roles").glob("*/meta/renamed.yml")), ids=lambda path: path.parts[-3]
)
def test_a_renamed_variable_has_a_present_name(table: Path) -> None:
    """It may be another role's now."""
    renamed = yaml.safe_load(table.read_text())
    options = {name for role in (PROJECT / "roles").iterdir() for name in specified(role)}
    assert renamed
    assert set(renamed.values()) <= options
    assert not renamed.keys() & options


def test_certificates_beside_an_inventory_are_not_taken_for_hosts(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(PROJECT / "inventories/dccn", inventory)
    line = [str(live.BIN / "ansible-inventory"), "-i", str(inventory), "--graph"]
    before = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True)
    (inventory / "certificates").mkdir()
    for name in ("pacs.crt", "booking-db.pem", "certificates/pacs.crt", "certificates/authority"):
        (inventory / name).write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    after = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert (after.stdout, after.stderr) == (before.stdout, "")


def test_a_server_is_checked_before_the_deployment_as_the_sync_will_check_it(tmp_path: Path) -> None:
    """The role's expression and the package's function say the same of each host and each setting."""
    hosts = [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "localhost",
        "/run/mysqld",
        "db.example",
        "192.0.2.1",
        "localhost.example",
    ]
    settings: list[dict[str, Any]] = [{}, {"tls": None}, {"tls": False}, {"tls": True}, {"tls": {"ca": "/srv/ca.crt"}}]
    sources = [{"type": "mysql", "host": host} | setting for host in hosts for setting in settings]
    asked = {
        "vars_files": [str(PROJECT / f"roles/worklist_sync/{part}/main.yml") for part in ("defaults", "vars")],
        "vars": {"role_path": str(PROJECT / "roles/worklist_sync")},
        "tasks": [
            {
                "ansible.builtin.debug": {"msg": "{{ __worklist_sync_source_tls }}"},
                "vars": {"worklist_sync_source": one},
            }
            for one in sources
        ],
    }
    results, _ = run(tmp_path, asked)
    for source, result in zip(sources, results, strict=True):
        tls = source.get("tls")
        wanted = _tls.demanded(TLS(**tls) if isinstance(tls, dict) else tls, source["host"])
        assert result["msg"] == ({"ca": wanted.ca} if wanted else {}), source


def test_a_site_that_wants_no_tls_or_the_usual_authorities_says_so(tmp_path: Path) -> None:
    source = {"type": "mysql", "host": "db.example", "database": "fcdc", "user": "dicomdf"}
    for tls in (False, True):
        settings = rendered(tmp_path, worklist_sync_source=source | {"tls": tls})
        assert settings["source"]["tls"] is tls
