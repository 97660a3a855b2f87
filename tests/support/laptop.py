"""What docs/calendar.md prints in "Try it on your laptop", and a folder in which it was typed."""

import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

from support import live


def printed(begin: str) -> str:
    """Return the example of the section that begins so."""
    page = (live.PROJECT / "docs/calendar.md").read_text(encoding="utf-8")
    section = page.partition("## Try it on your laptop\n")[2].partition("\n## ")[0]
    blocks = map(textwrap.dedent, re.findall(r"(?:^    .*\n)+", section, re.MULTILINE))
    [found] = [block for block in blocks if block.startswith(begin)]
    return found


def typed(folder: Path, source: dict[str, Any] | None = None) -> Path:
    """Write the examples into files, perhaps with another source, and return the configuration."""
    (folder / "bookings.csv").write_text(printed("nr,"))
    config = folder / "config.yml"
    config.write_text(printed("site:"))
    if source:
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"source": source}))
    return config
