"""docs/reconciliation.md names every state and every kind, and no others."""

import re
from pathlib import Path

from dicom_worklist.status.booking_status import State
from dicom_worklist.status.oddities import Kind

TEXT = (Path(__file__).parents[2] / "docs/reconciliation.md").read_text(encoding="utf-8")


def first_column(heading: str) -> list[str]:
    section = TEXT[TEXT.index(f"\n## {heading}\n") :].partition("\n## ")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return [row for row in rows if row not in {"---", "state", "kind"}]


def test_every_state_is_explained() -> None:
    assert first_column("How far a booking has come") == [str(state) for state in State]


def test_every_kind_is_explained() -> None:
    assert first_column("What can be odd") == [str(kind) for kind in Kind]
