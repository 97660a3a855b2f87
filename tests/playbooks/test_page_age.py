"""The tasks for the PACS's host: in check mode, for real, again, and away; and what they write really runs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import live
from support.mail_server import mail_server

PROJECT = Path(__file__).parents[2]


def play(tmp_path: Path, *arguments: str, **variables: Any) -> int:
    """Run the tasks as for inventories/dccn, with the places below `tmp_path`; return how many tasks changed."""
    book = tmp_path / "play.yml"
    role = {"name": "worklist_sync", "tasks_from": "page_age.yml"}
    tasks = [{"ansible.builtin.import_role": role}]
    book.write_text(yaml.safe_dump([{"hosts": "worklist", "gather_facts": False, "tasks": tasks}]))
    given = {
        f"__worklist_sync_page_age_{name}": str(tmp_path / name) for name in ("home", "config", "state", "cron")
    } | {
        "__worklist_sync_page_age_user": "root",
        "ansible_connection": "local",
        "ansible_become": False,
        "orthanc_page_dir": str(tmp_path / "page"),
        "worklist_sync_pacs_password": "another",
        "vault_booking_db_password": "another",
    }
    line = [
        str(live.BIN / "ansible-playbook"),
        "-i",
        "inventories/dccn",
        str(book),
        "-e",
        json.dumps(given | variables),
    ]
    done = subprocess.run([*line, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    return int(done.stdout.rpartition("PLAY RECAP")[2].partition("changed=")[2].split()[0])


@pytest.fixture
def notify() -> dict[str, Any]:
    return {
        "server": {"host": "localhost", "security": "none", "sender": "a@example.org", "port": 25},
        "recipients": [
            {"name": "operators", "mail": "mri@example.org"},
            {"name": "chat", "webhook": {"url": "https://chat.example.org/s3cret"}, "kinds": ["disk"]},
        ],
    }


def test_what_the_role_writes_on_the_pacs_s_host_runs(tmp_path: Path, notify: dict[str, Any]) -> None:
    with mail_server() as server:
        notify["server"]["port"] = server.port
        assert play(tmp_path, "--check", "--diff", worklist_sync_notify=notify) == 1
        assert not (tmp_path / "cron").exists()
        assert play(tmp_path, "--diff", worklist_sync_notify=notify) == 1
        assert play(tmp_path, worklist_sync_notify=notify) == 0
        assert (tmp_path / "config/notify-chat.url").read_text() == "https://chat.example.org/s3cret\n"
        assert (tmp_path / "config/notify-chat.url").stat().st_mode & 0o777 == 0o600
        line = (tmp_path / "cron").read_text().splitlines()[-1]
        assert line.startswith("* * * * * root cd ")
        fewer = notify | {"recipients": notify["recipients"][:1]}
        assert play(tmp_path, worklist_sync_notify=fewer) == 2
        assert not (tmp_path / "config/notify-chat.url").exists()
        (tmp_path / "state/memory.json").write_text('{"made": 0}')  # it has looked for a page since 1970
        shell = line.partition(" root ")[2].partition(" | logger ")[0]
        sh = ["env", "-i", "PATH=/usr/bin:/bin", "/bin/sh", "-c", shell]
        done = subprocess.run(sh, capture_output=True, text=True, check=False)
        assert done.stdout == f"operators was notified: localhost:{server.port} took it\n"
    assert "Worklist DCCN: the page has not been updated" in str(server.mails[0]["Subject"])
    assert play(tmp_path) == 1
    assert not (tmp_path / "cron").exists()
    assert not (tmp_path / "config").exists()
    assert play(tmp_path) == 0
