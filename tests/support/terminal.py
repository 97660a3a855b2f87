"""A terminal as people have it when they come by ssh."""

from typing import Any

import pytest
from rich.console import Console

from dicom_worklist.status import terminal


def narrow(monkeypatch: pytest.MonkeyPatch, width: int = 80) -> None:
    """Let what is printed go to a terminal of this width."""

    def console(**options: Any) -> Console:
        return Console(width=width, highlight=False, **options)

    monkeypatch.setattr(terminal, "_console", console)
