"""docs/reconciliation.md names every state, every kind and every rule, and no others."""

import re
from pathlib import Path
from typing import get_args

from dicom_worklist.settings import Rule
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.oddities import Kind

TEXT = (Path(__file__).parents[2] / "docs/reconciliation.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[str]:
    section = TEXT[TEXT.index(f"\n## {heading}\n") :].partition("\n## ")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return [row for row in rows if row not in {"---", "state", "kind", "rule"}]


def test_every_state_is_explained() -> None:
    assert first_column("How far a booking has come") == [str(state) for state in State]


def test_every_kind_is_explained() -> None:
    assert first_column("What can be odd") == [str(kind) for kind in Kind]


def test_every_rule_is_explained() -> None:
    assert first_column("Is it whole?") == [f"`{rule}`" for rule in get_args(Rule)]
