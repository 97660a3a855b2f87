"""Bad inputs, through the roles' own preflight: each is refused with the value, the rule and the remedy."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from support import live
from support.calendars import EXAMPLES

PRISMA = {"ae_title": "PRISMA", "lab": "PRISMA", "modality": "MR"}
SKYRA = {"ae_title": "SKYRA", "lab": "SKYRA", "modality": "MR"}


BACKUP = {"backup_repository": "/mnt/backup", "backup_password": "the-password-of-the-backup"}


class Case(NamedTuple):
    role: str
    variables: dict[str, Any]
    said: tuple[str, ...]


def scanners(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"site_scanners": [PRISMA | change for change in changes]}


#: What is wrong → where, how, and what of it the message has to say.
CASES = {
    "an AE title that is too long": Case(
        "orthanc", scanners({"ae_title": "PRISMA-AND-17-CHA"}), ("PRISMA-AND-17-CHA", "1 to 16", "site_scanners")
    ),
    "an AE title with a backslash": Case(
        "wlmscpfs", scanners({"ae_title": "PRI\\SMA"}), ("PRI\\SMA", "no backslash", "site_scanners")
    ),
    "an AE title with a line's end": Case(
        "orthanc", scanners({"ae_title": "PRISMA\n"}), ("PRISMA", "no control characters", "site_scanners")
    ),
    "an invalid AE title of Orthanc's": Case(
        "orthanc",
        {"orthanc_ae_title": "ORTHANC-WITH-17-C"},
        ("ORTHANC-WITH-17-C", "1 to 16", "Correct orthanc_ae_title"),
    ),
    "an AE title that is there twice": Case(
        "orthanc",
        scanners({}, {}, {"ae_title": "SKYRA"}),
        ('The AE title "PRISMA" is there twice', "Give each in site_scanners its own"),
    ),
    "a scanner with Orthanc's AE title": Case(
        "orthanc", {"orthanc_ae_title": "PRISMA"}, ("PRISMA", "twice", "orthanc_ae_title")
    ),
    "a scanner's port beyond the range": Case(
        "orthanc", scanners({"port": 70000}), ("70000", "1 to 65535", "site_scanners", "where the console receives")
    ),
    "a SOP class with a wildcard": Case(
        "orthanc", {"orthanc_sop_classes": ["1.3.12.2.1107.*"]}, ("1.3.12.2.1107.*", "UID", "['*']")
    ),
    "numbers that are not an address": Case(
        "wlmscpfs", scanners({"address": "198.51.100.256"}), ("198.51.100.256", "IPv4")
    ),
    "a network that is too small": Case(
        "orthanc", {"site_admin_networks": ["198.51.100.0/33"]}, ("198.51.100.0/33", "orthanc_http_allowed_addresses")
    ),
    "a path that isn't whole": Case(
        "orthanc", {"orthanc_data_dir": "images"}, ('orthanc_data_dir is "images"', "whole path", "Correct it")
    ),
    "a folder without a name": Case("wlmscpfs", {"wlmscpfs_data_dir": ""}, ("wlmscpfs_data_dir", "whole path")),
    "a name where an address has to be": Case(
        "wlmscpfs", scanners({"address": "prisma.example"}), ("prisma.example", "wlmscpfs_allowed_addresses", "IPv4")
    ),
    "a peer that is a name": Case(
        "orthanc", {"orthanc_peer_addresses": ["archive.example"]}, ("archive.example", "orthanc_peer_addresses")
    ),
    "a scanner with the verification's AE title": Case(
        "orthanc", scanners({"ae_title": "VERIFICATION"}), ("VERIFICATION", "verify.yml", "another")
    ),
    "a scanner that a list keeps out": Case(
        "wlmscpfs", scanners({"address": "192.0.2.7"}) | {"wlmscpfs_allowed_addresses": ["203.0.113.0/24"]},
        ("PRISMA", "192.0.2.7", "kept out", "wlmscpfs_allowed_addresses"),
    ),
    "one scanner with an address, one without": Case(
        "orthanc", scanners({"address": "192.0.2.7"}, {"ae_title": "SKYRA"}),
        ("SKYRA has none", "192.0.2.7", "orthanc_dicom_allowed_addresses"),
    ),
    "a network with an address's last number": Case(
        "wlmscpfs", {"wlmscpfs_allowed_addresses": ["192.0.2.7/24"]}, ("192.0.2.7/24", "192.0.2.0/24")
    ),
    "a second login that is the first": Case(
        "orthanc", {"orthanc_reader_user": "admin"}, ("orthanc_reader_user", "admin", "different names")
    ),
    "a second login with an invalid name": Case(
        "orthanc", {"orthanc_reader_user": "reader' or '"}, ("orthanc_reader_user \"reader' or '", "letters, digits")
    ),
    "a second login's password that YAML takes for a number": Case(
        "orthanc", {"orthanc_reader_password": 12345678}, ("orthanc_reader_password", "quotes")
    ),
    "a PACS's password that YAML takes for a number": Case(
        "worklist_sync", {"worklist_sync_pacs_password": 12345678}, ("worklist_sync_pacs_password", "quotes")
    ),
    "a rule that there isn't": Case(
        "worklist_sync", {"worklist_sync_hints_off": {"3010000.01": ["holes"]}}, ("hints_off", "holes")
    ),
    "an invalid address of a PACS": Case(
        "worklist_sync", {"worklist_sync_pacs_url": "pacs.example:8042"}, ("pacs.url", "worklist_sync_pacs_url")
    ),
    "a password that YAML takes for a number": Case(
        "orthanc", {"orthanc_admin_password": 12345678}, ("orthanc_admin_password", "quotes")
    ),
    "a port beyond the range": Case("orthanc", {"orthanc_dicom_port": 70000}, ("70000", "1 to 65535", "Choose")),
    "a port that isn't a number": Case("wlmscpfs", {"wlmscpfs_port": "dicom"}, ("wlmscpfs_port", "dicom")),
    "Ansible's own port": Case("orthanc", {"orthanc_http_port": 22}, ("orthanc_http_port", "22", "Ansible")),
    "two services on one port": Case(
        "orthanc", {"orthanc_http_port": 14043, "orthanc_dicom_port": 14043},
        ("14043", "orthanc_http_port", "a port of its own"),
    ),
    "a port that another program has": Case(
        "wlmscpfs", {"wlmscpfs_port": "@taken"}, ("wlmscpfs_port", "taken", "ss -tlnp")
    ),
    "an address that the host hasn't": Case(
        "wlmscpfs", {"wlmscpfs_address": "203.0.113.9"}, ("203.0.113.9", "not an address", "ip address")
    ),
    "a web front end for every network": Case(
        "orthanc", {"orthanc_http_address": "0.0.0.0"}, ("0.0.0.0", "site_admin_networks")
    ),
    "too little space": Case(  # at a first deployment: what is there already goes on
        "orthanc",
        {"orthanc_minimum_free": 10**6, "orthanc_container_name": "new",
         "orthanc_dicom_port": 14098, "orthanc_http_port": 14099},
        ("GB free", "1000000", "orthanc_minimum_free", "Make room"),
    ),
    "a variable of the wrong type": Case("wlmscpfs", {"wlmscpfs_dimse_timeout": "long"}, ("wlmscpfs_dimse_timeout",)),
    "fewer processes than associations need": Case(
        "wlmscpfs", {"wlmscpfs_pids_limit": 100}, ("wlmscpfs_pids_limit is 100", "two processes", "at least 220")
    ),
    "a choice that there isn't": Case(
        "wlmscpfs", {"wlmscpfs_log_level": "debug"}, ("wlmscpfs_log_level", "fatal, error, warn", "debug")
    ),
    "a variable that no role has": Case(
        "orthanc", {"orthanc_dicom_prot": 4042}, ("orthanc_dicom_prot", "Is orthanc_dicom_port meant?", "README")
    ),
    "a variable that was renamed": Case(
        "worklist_sync", {"worklist_sync_log_file": "/tmp/log"}, ("worklist_sync_log_file", "worklist_sync_log_dir")
    ),
    "a site-wide variable that there isn't": Case(
        "docker_host", {"site_scaner": 1}, ("site_scaner", "Is site_scanners meant?")
    ),
    "a variable that an internal role doesn't have": Case(
        "docker_host", {"firewall_enable": False}, ("firewall_enable", "Is firewall_enabled meant?")
    ),
    "an unsupported distribution": Case(
        "docker_host", {"ansible_facts": {"distribution": "Ubuntu", "distribution_major_version": "24",
                                          "distribution_version": "24.04"}},
        ("Ubuntu 24.04", "Debian 12 or newer"),
    ),
    "a pattern that is invalid": Case("worklist_sync", scanners({"lab": "PRISMA("}), ("PRISMA(", "regular expression")),
    "a lab that two scanners would have": Case(
        "worklist_sync",
        {"site_scanners": [PRISMA, PRISMA | {"ae_title": "PRISMAFIT", "lab": "PRISMAFIT"}]},
        ("PRISMAFIT", "PRISMA and PRISMAFIT", "site_scanners"),
    ),
    "a set of attributes that there isn't": Case(
        "worklist_sync", {"worklist_sync_attribute_sets": ["xnat", "osirix"]},
        ("worklist_sync_attribute_sets", "xnat, flywheel, reproin, loris, siemens, ge, philips", "osirix"),
    ),
    "sets of attributes, and one of the site's own that is wrong": Case(
        "worklist_sync",
        {"worklist_sync_attribute_sets": ["loris", "philips", "ge"],
         "worklist_sync_attributes": {"ScheduledProcedureStepID": "ID-OF-17-LETTERS-"}},
        ("attributes.ScheduledProcedureStepID: 'ID-OF-17-LETTERS-' has 17 characters; SH allows 16",),
    ),
    "an example lab that no scanner has": Case(
        "worklist_sync", {"worklist_sync_example_labs": ["TERRA 7T"]}, ("TERRA 7T", "no scanner's")
    ),
    "a recipient without a name": Case(
        "worklist_sync",
        {"worklist_sync_notify": {"recipients": [{"mail": "mri@example.org"}]}},
        ("worklist_sync_notify has no name", "Give each a name"),
    ),
    "a webhook without an address": Case(
        "worklist_sync",
        {"worklist_sync_notify": {"recipients": [{"name": "chat", "webhook": {"token": "s3cret"}}]}},
        ("A recipient in worklist_sync_notify has a webhook without `url`",),
    ),
    "a recipient of a scanner that there isn't": Case(
        "worklist_sync",
        {"worklist_sync_notify": {"server": {"host": "mail.example.org", "sender": "a@example.org"},
                                  "recipients": [{"name": "a", "mail": "b@example.org", "scanners": ["TRIO"]}]}},
        ("notify.recipients a names the scanner TRIO",),
    ),
    "mail without encryption": Case(
        "worklist_sync",
        {"worklist_sync_notify": {"server": {"host": "mail.example.org", "sender": "a@b.c", "security": "none"},
                                  "recipients": [{"name": "a", "mail": "b@example.org"}]}},
        ("mail to mail.example.org would go without encryption", "starttls or tls"),
    ),
    "a time zone that there isn't": Case(
        "worklist_sync", {"site_timezone": "Europe/Nijmegen"}, ("Europe/Nijmegen", "IANA", "site_timezone")
    ),
    "a kind of source that there isn't": Case(
        "worklist_sync", {"worklist_sync_source": {"type": "excel"}}, ("excel", "mysql", "worklist_sync_source")
    ),
    "an empty password of the booking database": Case(
        "worklist_sync", {"worklist_sync_source_password": "", "worklist_sync_config_dir": "/nowhere"},
        ("worklist_sync_source_password", "ansible-vault")
    ),
    "an empty password of a PostgreSQL": Case(
        "worklist_sync",
        {"worklist_sync_source": {"type": "postgresql", "host": "db.example", "database": "d", "user": "u"},
         "worklist_sync_source_password": "", "worklist_sync_config_dir": "/nowhere"},
        ("booking database needs a password", "worklist_sync_source_password", "ansible-vault"),
    ),
    "a PostgreSQL with a password in the inventory": Case(
        "worklist_sync", {"worklist_sync_source": {"type": "postgresql", "password": "s3cret"}},
        ("worklist_sync_source has a password", "worklist_sync_source_password"),
    ),
    "a secret that the vault hasn't": Case(
        "worklist_sync", {"worklist_sync_source_password": "{{ vault_that_is_not }}"},
        ("worklist_sync_source_password", "ansible-vault"),
    ),
    "a login's secret that the vault hasn't": Case(
        "orthanc", {"orthanc_admin_password": "{{ vault_that_is_not }}"}, ("orthanc_admin_password", "ansible-vault")
    ),
    "a key that the vault hasn't": Case(
        "wlmscpfs", {"wlmscpfs_tls_key": "{{ vault_that_is_not }}"}, ("wlmscpfs_tls_key", "ansible-vault edit")
    ),
    "a part of the source that the vault hasn't": Case(
        "worklist_sync",
        {"worklist_sync_source": {"type": "mysql", "host": "{{ vault_that_is_not }}"}},
        ("worklist_sync_source can't be read", "ansible-vault edit"),
    ),
    "a site without a time zone": Case(
        "worklist_sync", {"site_timezone": "{{ not_given }}"}, ("worklist_sync_timezone can't be read", "Define")
    ),
    "a source that is a word": Case(
        "worklist_sync", {"worklist_sync_source": "mysql"}, ("worklist_sync_source", "a type")
    ),
    "a proxy with a login": Case(
        "site", {"site_http_proxy": "http://me:s3cret@proxy.example:3128"}, ("site_http_proxy has a login", "cntlm")
    ),
    "a proxy without a port": Case(
        "site", {"site_http_proxy": "http://proxy.example"},
        ('site_http_proxy is "http://proxy.example"', "a colon and the port", "http://proxy.example.org:3128"),
    ),
    "a proxy with a second line": Case(
        "site", {"site_http_proxy": "http://proxy.example:3128\n"}, ("site_http_proxy", "nothing else")
    ),
    "a proxy that a build can't reach": Case(
        "site", {"site_http_proxy": "http://127.0.0.1:3128"}, ("127.0.0.1:3128", "that its containers reach")
    ),
    "a backup without a password": Case(
        "backup", {"backup_repository": "/mnt/backup"}, ("backup_password is empty", "openssl rand", "another place")
    ),
    "a backup's secret that the vault hasn't": Case(
        "backup", {"backup_repository": "/mnt/backup", "backup_password": "{{ vault_that_is_not }}"},
        ("backup_password", "ansible-vault edit"),
    ),
    "a backup to a place that there isn't": Case(
        "backup", BACKUP | {"backup_repository": "rclone:drive:pacs"},
        ("rclone:drive:pacs", "sftp: or s3:", "backup@backup.example.org"),
    ),
    "a backup to a folder without a slash": Case(
        "backup", BACKUP | {"backup_repository": "mnt/backup"}, ('"mnt/backup"', "a folder with a slash first")
    ),
    "a backup into what it saves": Case(
        "backup", BACKUP | {"backup_repository": "/scratch/orthanc/backup", "orthanc_data_dir": "/scratch/orthanc"},
        ("/scratch/orthanc/backup", "part of what is saved", "another disk"),
    ),
    "a backup to S3 without a login": Case(
        "backup", BACKUP | {"backup_repository": "s3:https://s3.example.org/pacs"},
        ("backup_access_key and backup_secret_key", "from the vault"),
    ),
    "a backup to a server that nobody has compared": Case(
        "backup", BACKUP | {"backup_repository": "sftp:b@backup.example.org:/pacs", "backup_sftp_key": "key"},
        ("backup_sftp_known_hosts", "ssh-keyscan"),
    ),
    "a backup at midnight": Case("backup", BACKUP | {"backup_hour": 0}, ("backup_hour is 0", "from 1 to 23")),
    "a backup of an index that is in a database server": Case(
        "backup", BACKUP | {"orthanc_settings": {"PostgreSQL": {"EnableIndex": True}}},
        ("a database server, which this backup doesn't save", "with its own tools"),
    ),
    "Orthanc's well-known login": Case(
        "orthanc", {"orthanc_admin_user": "orthanc", "orthanc_admin_password": "orthanc"}, ("well-known", "Change")
    ),
}  # fmt: skip


def play(title: str, case: Case, answer: Path) -> dict[str, Any]:
    """Return a play that keeps what the role's preflight says of these variables."""
    refused = {
        "ansible.builtin.copy": {
            "content": "{{ ansible_failed_result | to_json }}",
            "dest": str(answer),
            "mode": "0600",
        }
    }
    preflight = {"ansible.builtin.include_role": {"name": case.role, "tasks_from": "preflight.yml"}}
    facts = case.variables.get("ansible_facts")
    variables = {name: value for name, value in case.variables.items() if name != "ansible_facts"}
    other = [{"ansible.builtin.set_fact": {"ansible_facts": facts}}] if facts else []
    return {
        "name": title,
        "hosts": "localhost",
        "vars": variables,
        "tasks": [{"block": [*other, preflight], "rescue": [refused]}],
    }


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All cases in one run of Ansible; a file with the answer to each."""
    folder = tmp_path_factory.mktemp("preflight")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plays = []
        for title, case in CASES.items():
            taken = {name: listener.getsockname()[1] for name, value in case.variables.items() if value == "@taken"}
            plays.append(play(title, case._replace(variables=case.variables | taken), folder / title))
        (folder / "play.yml").write_text(yaml.safe_dump(plays))
        line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", live.INVENTORY, folder / "play.yml"]
        done = subprocess.run(line, cwd=live.PROJECT, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "changed=0" not in done.stdout  # the answers were written
        yield folder


@pytest.mark.parametrize("title", CASES)
def test_what_is_wrong_is_refused_with_a_remedy(answers: Path, title: str) -> None:
    assert (answers / title).exists(), "it was accepted"
    result = json.loads((answers / title).read_text())
    said = " ".join([result["msg"], *(item.get("msg", "") for item in result.get("results", []))])
    assert not [fragment for fragment in CASES[title].said if fragment not in said], said


def test_the_login_of_a_proxy_is_not_shown(answers: Path) -> None:
    assert "s3cret" not in (answers / "a proxy with a login").read_text()


def test_of_two_sets_the_later_one_counts_and_the_site_s_own_attributes_before_all(answers: Path) -> None:
    result = json.loads((answers / "sets of attributes, and one of the site's own that is wrong").read_text())
    content = yaml.safe_load(result["invocation"]["module_args"]["content"])
    ge = yaml.safe_load((live.PROJECT / "roles/worklist_sync/files/attributes/ge.yml").read_text())
    assert content["attributes"] == ge | {"ScheduledProcedureStepID": "ID-OF-17-LETTERS-"}


#: What only the machines of the example have: addresses, ssh, the vault; and its own places, not those of a site here.
ELSEWHERE = {
    "ansible_connection": "local",
    "vault_orthanc_admin_password": "s3cret",
    "vault_operator_password_hash": "$6$salt$hash",
    "vault_booking_db_password": "s3cret",
    "vault_calendar_password": "s3cret",
    "vault_calendar_feed": "https://calendar.example.org/s3cret.ics",
    "orthanc_dicom_address": "127.0.0.1",
    "orthanc_http_address": "127.0.0.1",
    "wlmscpfs_address": "127.0.0.1",
    "orthanc_dicom_port": 24042,
    "orthanc_http_port": 28042,
    "wlmscpfs_port": 21234,
    "worklist_sync_config_dir": "/nowhere",
}


@pytest.mark.parametrize(
    ("inventory", "more"),
    [("tests/inventory", {}), ("inventories/demo", {}), ("inventories/dccn", ELSEWHERE)]
    + [(f"inventories/{name}", ELSEWHERE) for name in EXAMPLES]
    + [
        ("inventories/demo", BACKUP | {"backup_repository": repository} | secrets)
        for repository, secrets in (
            ("/mnt/backup", {}),
            ("sftp:b@backup.example.org:/pacs", {"backup_sftp_key": "s3cret", "backup_sftp_known_hosts": "a b c"}),
            ("s3:https://s3.example.org/pacs", {"backup_access_key": "a", "backup_secret_key": "s3cret"}),
        )
    ],
)
def test_a_good_inventory_passes(inventory: str, more: dict[str, Any]) -> None:
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1"}
    line: list[str | Path] = [
        live.BIN / "ansible-playbook",
        "-i",
        inventory,
        "playbooks/site.yml",
        "--tags",
        "preflight",
        "-e",
        json.dumps(more),
    ]
    done = subprocess.run(line, cwd=live.PROJECT, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr


def test_a_wrong_input_of_one_role_stops_every_role(tmp_path: Path) -> None:
    """The last role's input is wrong, and the first one has not begun."""
    played = live.play("site.yml", "-e", "site_timezone=Europe/Nijmegen")
    assert played.status != 0
    assert played.changed == 0
    assert "PLAY [Provision the Docker hosts]" not in played.output
