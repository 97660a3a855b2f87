"""The modules of the package: what each is, and what it imports; for docs/architecture.md and its test."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.variables import code

PACKAGE = "dicom_worklist"


def imports(source: Path) -> dict[str, set[str]]:
    """Return module → the modules of the package, and the top-level modules of others, that it imports anywhere.

    `source` is the folder that the package is in. Names are without the package's own: `status.page`, and "" for the
    package itself. The names of others begin with "^": `^pydicom`.
    """
    paths = {_name(path, source): path for path in sorted((source / PACKAGE).rglob("*.py"))}
    return {name: set(_imported(path, paths)) for name, path in paths.items()}


def table(source: Path) -> str:
    """Return the modules as a table, those that others import first."""
    rows = ["| module | what it is | imports |", "| --- | --- | --- |"]
    graph = imports(source)
    for name in sorted(graph, key=lambda name: (name.partition(".")[0] not in _packages(graph), name)):
        if name in {"", "__main__"}:
            continue
        used = ", ".join(code(other) for other in sorted(graph[name]) if other and not other.startswith("^"))
        rows.append(f"| {code(name)} | {_summary(source, name)} | {used} |")
    return "\n".join(rows) + "\n"


def _packages(graph: Mapping[str, object]) -> set[str]:
    return {name.partition(".")[0] for name in graph if "." in name}


def _name(path: Path, source: Path) -> str:
    parts = path.relative_to(source / PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _summary(source: Path, name: str) -> str:
    place = source.joinpath(PACKAGE, *name.split("."))
    text = (place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text()
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].replace("|", r"\|")


def _imported(path: Path, names: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: write the whole name of what is imported"  # noqa: S101
            targets = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in targets:
            first, _, inner = module.partition(".")
            if first != PACKAGE:
                yield f"^{first}"
            else:
                inside = f"{inner}.{name}".strip(".")
                yield inside if inside in names else inner
