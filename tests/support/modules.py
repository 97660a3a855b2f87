"""Runs the project's Ansible modules as a playbook does, on this machine, and returns their results."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]


def run(
    folder: Path, *tasks: Result, options: Sequence[str] = (), within: Sequence[str] = (), **environment: str
) -> list[Result]:
    """Run tasks in one play; return each one's result, failed or not.

    Args:
        folder: What Ansible keeps for itself and the playbook go there.
        tasks: Each a module's name and its arguments.
        options: More for the command line, such as `--check`.
        within: A command that runs another one, such as `unshare`.
        environment: More of the environment.
    """
    plays = [{
        "hosts": "localhost", "connection": "local", "gather_facts": False,
        "tasks": [{"name": "Ask", "ignore_errors": True, **task} for task in tasks],
    }]  # fmt: skip
    playbook = folder / "play.yml"
    playbook.write_text(yaml.safe_dump(plays))
    own = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "ansible/tmp"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_NOCOLOR": "1",
        **environment,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    line = [
        *within,
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        *options,
        str(playbook),
    ]
    done = subprocess.run(line, cwd=ROOT, env=kept | own, text=True, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [play] = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
    return [task["hosts"]["localhost"] for task in play["tasks"]]


def run_one(folder: Path, task: Result, **keywords: Any) -> Result:
    """Run one task; return its result."""
    [result] = run(folder, task, **keywords)
    return result
