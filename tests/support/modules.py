"""Runs single tasks, usually one of the project's own modules, on this machine, and returns their results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.configuration import write_yaml
from support.plays import Result, ansible


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
    playbook = write_yaml(folder / "play.yml", plays)
    line = ["-i", "localhost,", *options, str(playbook)]
    given = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", **environment}
    done = ansible("ansible-playbook", *line, home=folder, within=within, **given)
    assert done.returncode == 0, done.stdout + done.stderr
    [play] = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
    return [task["hosts"]["localhost"] for task in play["tasks"]]


def run_one(folder: Path, task: Result, **keywords: Any) -> Result:
    """Run one task; return its result."""
    [result] = run(folder, task, **keywords)
    return result
