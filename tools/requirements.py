"""Fails where what is pinned in requirements/ doesn't satisfy pyproject.toml. It needs no internet."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
#: Each file, and the extra of pyproject.toml that it is for; a file holds what the one before it holds, too.
FILES = {"host.txt": None, "controller.txt": "controller", "test.txt": "test"}
PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?P<rest>[^\n]*(?:\n    [^\n]+)*)", re.MULTILINE)


def main(root: Path = ROOT) -> str | None:
    """Return what is wrong, a line each; None if nothing is."""
    wrong = list(_wrong(root))
    return "\n".join([*wrong, "Run `make pins`, or `make update` for the newest versions."]) if wrong else None


def _wrong(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    before: dict[str, set[str]] = {}
    for file, extra in FILES.items():
        pins: dict[str, set[str]] = {}
        for pin in PIN.finditer((root / "requirements" / file).read_text()):
            pins.setdefault(canonicalize_name(pin["name"]), set()).add(pin["version"])
            if "--hash=" not in pin["rest"]:
                yield f"requirements/{file}: {pin['name']}=={pin['version']} has no hash"
        for requirement in _required(project, extra):
            versions = pins.get(canonicalize_name(requirement.name))
            if versions is None:
                yield f"requirements/{file} has no {requirement.name}: pyproject.toml asks for it"
                continue
            for version in versions:
                if not requirement.specifier.contains(Version(version), prereleases=True):
                    yield f"requirements/{file} has {requirement.name} {version}: pyproject.toml asks for {requirement}"
        for name, versions in before.items():
            if pins.get(name) != versions:
                said = " and ".join(sorted(pins.get(name, {"none"})))
                yield f"requirements/{file} has {name} {said}: the file before it has {' and '.join(sorted(versions))}"
        before = pins


def _required(project: dict[str, Any], extra: str | None) -> Iterator[Requirement]:
    """Return what the project requires with this extra; an extra may name the project with another one."""
    asked = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    if extra is not None:
        yield from _required(project, None)
    for requirement in map(Requirement, asked):
        if canonicalize_name(requirement.name) == project["name"]:
            for other in requirement.extras:
                yield from _required(project, other)
        else:
            yield requirement


if __name__ == "__main__":
    sys.exit(main())
