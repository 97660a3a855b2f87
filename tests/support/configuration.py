"""The configuration of a site, with other values where a test needs them."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

#: Stands for a key that a configuration doesn't have.
ABSENT = object()
Configure = Callable[..., Path]


def settings(calendar: Path, root: Path) -> dict[str, Any]:
    """Return the configuration of a site with three scanners."""
    return {
        "site": {"name": "DCCN", "timezone": "Europe/Amsterdam"},
        "source": {"type": "sqlite", "path": str(calendar)},
        "scanners": [
            {"ae_title": "PRISMA", "lab": ".*PRISMA(?!FIT).*"},
            {"ae_title": "PRISMAFIT", "lab": ".*PRISMAFIT.*"},
            {"ae_title": "SKYRA", "lab": ".*SKYRA.*"},
        ],
        "worklist": {"root": str(root), "lock_timeout": 10},
    }


def mysql(port: int, password_file: Path) -> dict[str, object]:
    """Return the changes for a MySQL server on this port of loopback; its password is in the file."""
    password_file.write_text("geheim!\n")
    return {
        "source": {
            "type": "mysql",
            "host": "127.0.0.1",
            "port": port,
            "database": "fcdc",
            "user": "dicomdf",
            "password_file": str(password_file),
        }
    }


def changed(original: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """Return the settings with other values at places such as `scanners.0.lab`."""
    copy = deepcopy(dict(original))
    for place, value in changes.items():
        *path, last = [int(key) if key.isdigit() else key for key in place.split(".")]
        section: Any = copy
        for key in path:
            section = section[key] if isinstance(key, int) else section.setdefault(key, {})
        if value is ABSENT:
            del section[last]
        else:
            section[last] = value
    return copy


def write_yaml(path: Path, data: object) -> Path:
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    return path
