"""The deployed test site: its playbooks, its places, and how its operator and its browsers reach it."""

import json
import os
import pwd
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import docker
import requests
import yaml

PROJECT = Path(__file__).parents[2]
INVENTORY = PROJECT / "tests/inventory"
BIN = Path(sys.executable).parent
ROOT = Path("/var/tmp/dicom-worklist-test")
#: Where the site's delivery brings images: a folder that is there before the site.
DELIVERED = Path("/var/tmp/dicom-worklist-test-raw")
VARIABLES = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text().replace("{{ test_root }}", str(ROOT)))
assert VARIABLES["test_root"] == str(ROOT)
PASSWORD = VARIABLES["worklist_sync_source_password"]
ZONE = ZoneInfo(VARIABLES["site_timezone"])
#: Leaves out what the first run has proven already.
UNVERIFIED = ("--skip-tags", "verify")
ROLES = ("orthanc", "front_door", "wlmscpfs", "worklist_sync", "delivery")


@dataclass(frozen=True)
class Played:
    """How a run of a playbook ended."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks reported `changed`, over all hosts."""
        return sum(map(int, re.findall(r"\bchanged=(\d+)", self.output)))

    def changes_on(self, host: str) -> int:
        """How many tasks reported `changed` on a host."""
        return sum(changed == host for _, changed in self.changes)

    @property
    def changes(self) -> set[tuple[str, str]]:
        """The task and the host of each change."""
        task, found = "", set()
        for line in self.output.splitlines():
            if named := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \*", line):
                task = named[1]
            elif host := re.match(r"changed: \[([^\] ]+)", line):
                found.add((task, host[1]))
        return found


def play(playbook: str, *options: str, inventory: Path = INVENTORY, **variables: str) -> Played:
    """Run one of the project's playbooks, from the project's root as an operator does, on the test site or another.

    `variables` are the environment's.
    """
    line: list[str | Path] = [BIN / "ansible-playbook", "-i", inventory, PROJECT / "playbooks" / playbook, *options]
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"} | variables
    done = subprocess.run(
        line, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Played(done.returncode, done.stdout)


@dataclass(frozen=True)
class Deployment:
    """site.yml in check mode on a host without the site, for real, and once more."""

    preview: Played
    made_by_preview: list[str]
    first: Played
    second: Played


def traces() -> list[str]:
    """Return what of the site is on this machine."""
    names = tuple(VARIABLES[f"{role}_container_name"] for role in ("orthanc", "wlmscpfs"))  # their proxies' begin so
    containers = [c.name for c in docker.from_env().containers.list(all=True) if c.name.startswith(names)]
    users = [u.pw_name for u in pwd.getpwall() if u.pw_name in {VARIABLES[f"{role}_user"] for role in ROLES}]
    cron = Path("/etc/cron.d") / VARIABLES["worklist_sync_cron_name"]
    files = [str(path) for path in (*ROOT.rglob("*"), cron) if path.exists()]
    return containers + users + files


def clock(text: str) -> datetime:
    """Read the option `--clock`: ISO 8601, at the site unless it has an offset; the first of two, where it is twice."""
    moment = datetime.fromisoformat(text)
    # by way of UTC: a time that is skipped is the one that the clock on the wall then shows
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).astimezone(UTC).astimezone(ZONE)


class Site:
    """The deployed test site, as its operator, its scanners and its browsers reach it."""

    #: The site's clock in this run of the tests, from the option `--clock`; nothing but that decides what is right.
    now: datetime
    wlmscpfs_port: int = VARIABLES["wlmscpfs_port"]
    orthanc_port: int = VARIABLES["orthanc_dicom_port"]
    orthanc_url = f"http://127.0.0.1:{VARIABLES['orthanc_http_port']}"
    command = VARIABLES["worklist_sync_command"]
    config = Path(VARIABLES["worklist_sync_config_dir"]) / "config.yml"
    user = VARIABLES["worklist_sync_user"]

    def run(self, command: str, *arguments: str, now: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run `dicom-worklist` as the cron job's user, at this time by the clock (default: `Site.now`)."""
        at = [] if command == "list" else ["--now", (now or self.now).isoformat()]
        line = ["runuser", "-u", self.user, "--", self.command, command, *at, *arguments]
        return subprocess.run(line, text=True, capture_output=True, check=False, timeout=120)

    def sync(self, day: str) -> dict[str, Any]:
        done = self.run("sync", "-c", str(self.config), "--day", day, "--json")
        assert done.returncode in {0, 3}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    @property
    def login(self) -> tuple[str, str]:
        return "admin", (Path(VARIABLES["orthanc_config_dir"]) / "admin.password").read_text().strip()

    def orthanc(self, path: str, **options: Any) -> requests.Response:
        return requests.request(
            options.pop("method", "GET"), self.orthanc_url + path, auth=self.login, timeout=30, **options
        )
