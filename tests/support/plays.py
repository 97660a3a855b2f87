"""What the tests of Ansible's modules run them with: Ansible itself, with the project's own ansible.cfg."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.command import environment
from support.configuration import write_yaml

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]


def ansible(
    program: str, *arguments: str, home: Path, within: Sequence[str] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs from the project's root; what it keeps for itself goes to `home`.

    `within` is a command that runs another one, such as `unshare`; `variables` are added to the environment.
    """
    places = {"ANSIBLE_HOME": str(home / "ansible"), "ANSIBLE_LOCAL_TEMP": str(home / "ansible" / "tmp")}
    own = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    kept = {name: value for name, value in environment().items() if not name.startswith("ANSIBLE_")}
    line = [*within, str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(
        line, cwd=ROOT, env=kept | places | own | variables, text=True, capture_output=True, timeout=600, check=False
    )


def run(home: Path, *plays: Result, options: tuple[str, ...] = ()) -> tuple[list[Result], str]:
    """Run plays on this machine; return each task's result, in order, and all that Ansible printed."""
    own = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    playbook = write_yaml(home / "play.yml", [own | play for play in plays])
    line = ["-i", "localhost,", *options, str(playbook)]
    done = ansible("ansible-playbook", *line, home=home, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
    results = [task["hosts"]["localhost"] for play in ran for task in play["tasks"] if task["hosts"]]
    return results, done.stdout + done.stderr


def tries(module: str, *arguments: Result, **keywords: object) -> Result:
    """Return a play that runs the module with each of these arguments, even if the one before fails."""
    tasks = [{"name": "Try", module: one, "ignore_errors": True, **keywords} for one in arguments]
    return {"tasks": tasks, "vars": {"ansible_python_interpreter": sys.executable}}


def documented(module: str, home: Path) -> Result:
    """Return a module's documentation, as ansible-doc reads it."""
    done = ansible("ansible-doc", "--json", "-t", "module", module, home=home)
    assert done.returncode == 0, done.stderr
    result: Result = json.loads(done.stdout)[module]
    return result
