"""Writes the generated parts of the pages; with --check, fails if one isn't current.

A generated part stands between two comments, `<!-- NAME: `make docs` writes this … -->` and `<!-- end of NAME -->`.
What is around it is written by hand.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools import command, metrics, modules, variables

ROOT = Path(__file__).parents[1]
#: What makes each part of each page.
Parts = Mapping[str, Callable[[], str]]


def pages(root: Path) -> dict[Path, Parts]:
    """Return the pages that have generated parts."""
    roles: dict[Path, Parts] = {
        readme: {"variables": lambda role=readme.parent: variables.table(role)}  # type: ignore[misc]
        for readme in sorted(root.glob("roles/*/README.md"))
    }
    monitoring = root / "roles/worklist_sync/files/monitoring/alerts.yml"
    return roles | {
        root / "docs/architecture.md": {"modules": lambda: modules.table(root / "src")},
        root / "docs/command.md": {"commands": command.commands, "statuses": command.statuses},
        root / "docs/metrics.md": {
            "metrics": lambda: metrics.metrics(monitoring),
            "alerts": lambda: metrics.alerts(monitoring),
        },
    }


def current(text: str, parts: Parts) -> str:
    """Return a page's text with its generated parts as they have to be.

    Raises:
        ValueError: the page has no place for one.
    """
    for name, make in parts.items():
        place = re.search(
            rf"<!-- {name}: `make docs` writes this \w+ -->\n(.*?)<!-- end of {name} -->\n", text, re.DOTALL
        )
        if place is None:
            raise ValueError(
                f"has no place for {name}: give it the lines `<!-- {name}: `make docs` writes this table -->` and "
                f"`<!-- end of {name} -->`"
            )
        text = f"{text[: place.start(1)]}{make()}{text[place.end(1) :]}"
    return text


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> str | None:
    """Write, or check, every page below `root`; return what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page isn't current")
    check = parser.parse_args(arguments).check
    old = []
    for page, parts in pages(root).items():
        text, name = page.read_text(), str(page.relative_to(root))
        try:
            new = current(text, parts)
        except ValueError as error:
            return f"{name} {error}"
        if new != text:
            old.append(name)
            if not check:
                page.write_text(new)
    return f"These pages are not what the code says: {', '.join(old)}. Run `make docs`." if old and check else None


if __name__ == "__main__":
    sys.exit(main())
