"""Runs the project's Ansible modules as a playbook does, on this machine, and returns their results."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.local import environment as surroundings
from support.local import write_yaml

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]


def ansible(
    program: str,
    *arguments: str,
    home: Path,
    callback: str = "default",
    within: Sequence[str] = (),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's programs from the project's root; what it keeps for itself goes to `home`.

    `within` is a command that runs another one, such as `unshare`; `environment` is more of the environment.
    """
    own = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(home / "ansible/tmp"),
        "ANSIBLE_STDOUT_CALLBACK": callback,
        "ANSIBLE_NOCOLOR": "1",
        **environment,
    }
    kept = {name: value for name, value in surroundings().items() if not name.startswith("ANSIBLE_")}
    line = [*within, str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(line, cwd=ROOT, env=kept | own, text=True, capture_output=True, timeout=600, check=False)


def play(home: Path, *plays: Result, options: Sequence[str] = (), **keywords: Any) -> tuple[list[Result], str]:
    """Run plays; return the result of each task that a host had, in order, and all that Ansible said."""
    own = {"hosts": "localhost", "connection": "local", "gather_facts": False}
    playbook = write_yaml(home / "play.yml", [own | play for play in plays])
    line = ["-i", "localhost,", *options, str(playbook)]
    done = ansible("ansible-playbook", *line, home=home, callback="ansible.posix.json", **keywords)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = json.loads(done.stdout[done.stdout.index("{") :])["plays"]
    results = [task["hosts"]["localhost"] for play in ran for task in play["tasks"] if task["hosts"]]
    return results, done.stdout + done.stderr


def run(folder: Path, *tasks: Result, **keywords: Any) -> list[Result]:
    """Run tasks in one play; return each one's result, failed or not.

    Each is a module's name and its arguments. `keywords` are those of `play` and `ansible`.
    """
    return play(folder, {"tasks": [{"name": "Ask", "ignore_errors": True, **task} for task in tasks]}, **keywords)[0]


def run_one(folder: Path, task: Result, **keywords: Any) -> Result:
    """Run one task; return its result."""
    [result] = run(folder, task, **keywords)
    return result


def tries(folder: Path, module: str, *arguments: Result) -> list[Result]:
    """Run a module, with the tests' own Python, with each of these arguments; return each one's result."""
    given = ("-e", f"ansible_python_interpreter={sys.executable}")
    return run(folder, *({module: one} for one in arguments), options=given)


def documented(module: str, home: Path) -> Result:
    """Return a module's documentation, as ansible-doc reads it."""
    done = ansible("ansible-doc", "--json", "-t", "module", module, home=home)
    assert done.returncode == 0, done.stderr
    result: Result = json.loads(done.stdout)[module]
    return result
