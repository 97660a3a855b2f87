"""docs/privacy.md: each variable that it names exists, and has the default that it says."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/privacy.md").read_text()
DEFAULTS: dict[str, Any] = {}
for path in sorted(ROOT.glob("roles/*/defaults/main.yml")):
    DEFAULTS |= yaml.safe_load(path.read_text())
ROLES = [path.name for path in ROOT.glob("roles/*")]
NAMED = sorted(set(re.findall(rf"`((?:{'|'.join(ROLES)})_\w+)`", PAGE)))
SAID = re.findall(r"`(\w+_\w+)` \(`?(\w+)`?\)|\(`(\w+)`: (\w+)\)", PAGE)


@pytest.mark.parametrize("name", NAMED)
def test_each_variable_exists(name: str) -> None:
    assert name in DEFAULTS


@pytest.mark.parametrize(("name", "value"), [(one[0] or one[2], one[1] or one[3]) for one in SAID])
def test_each_default_is_the_one_that_is_said(name: str, value: str) -> None:
    assert str(DEFAULTS[name]) == value


def test_what_ends_in_time_is_there() -> None:
    """A new variable of days, or of a log's size, has its line."""
    lasting = {name for name in DEFAULTS if re.search(r"_(history|log|audit)_(days|max_size|max_file)$", name)}
    assert len(lasting) >= 8
    assert lasting <= set(NAMED)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("roles/orthanc/vars/main.yml", "CachePath: /tmp/"),
        ("roles/orthanc/vars/main.yml", "CacheSize: 32"),
        ("roles/orthanc/vars/main.yml", "DeidentifyLogs: true"),
        ("roles/worklist_sync/templates/logrotate.j2", "maxage {{ worklist_sync_log_days }}"),
        ("ansible.cfg", "pipelining = True"),
    ],
)
def test_what_the_page_says_of_the_code_is_so(path: str, words: str) -> None:
    assert words in (ROOT / path).read_text()
