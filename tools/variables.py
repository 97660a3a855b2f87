"""A role's variables as a table, from its defaults and its specification."""

import re
import sys
from pathlib import Path
from typing import Any

import yaml

#: A longer default is cut, or called "computed".
LONGEST = 60


def code(text: str) -> str:
    """Return a text as code in a table's cell."""
    return "`" + text.replace("|", r"\|") + "`"


def default(value: object) -> str:
    """Return a default; what Ansible computes is shown if it is short."""
    if value is None:
        return "none"
    if isinstance(value, str) and "{{" in value:
        text = " ".join(value.split())
        if text.count("{{") == 1:
            text = re.sub(r"^{{ (.*) }}$", r"\1", text)
        return code(text) if len(text) <= LONGEST else "computed"
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=sys.maxsize, allow_unicode=True)
    text = text.removesuffix("...\n").strip()
    return code(text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …")


def described(option: dict[str, Any]) -> str:
    """Return what an option or an entry point is, its choices, and on lines of their own its sub-options."""
    description = option.get("description", option.get("short_description", ""))
    text = " ".join([description] if isinstance(description, str) else description)
    text = re.sub(r"\bC\((.+?)\)", r"`\1`", text).replace("|", r"\|")
    if "choices" in option:
        text += f" One of {', '.join(map(code, map(str, option['choices'])))}."
    for name, inner in option.get("options", {}).items():
        needed = " (required)" if inner.get("required") else ""
        given = f" (default {default(inner['default'])})" if "default" in inner else ""
        text += f"<br>{code(name)}{needed}{given}: {described(inner)}"
    return text


def table(role: Path) -> str:
    """Return a role's variables as a table of Markdown; of a role without any, those of its other entry points."""
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text()) or {}
    points = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    if points["main"].get("options"):
        return _table(points["main"]["options"], defaults)
    del points["main"]
    parts = []
    for point, spec in points.items():
        heading = f"**{code(f'{point}.yml')}**: {described(spec | {'options': {}})}"
        parts.append(f"{heading}\n\n{_table(spec.get('options', {}), defaults)}")
    return "\n".join(parts)


def _table(options: dict[str, Any], defaults: dict[str, Any]) -> str:
    rows = ["| variable | type | default | what it is |", "| --- | --- | --- | --- |"]
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        kind += ", secret" if option.get("no_log") else ""
        value = defaults.get(name, option.get("default"))
        given = "required" if option.get("required") and not value else default(value)
        rows.append(f"| {code(name)} | {kind} | {given} | {described(option)} |")
    return "\n".join(rows) + "\n"
