"""The command `dicom-worklist`, or Python, as a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dicom_worklist

#: Control codes, which no output may contain; the line feed may.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def environment() -> dict[str, str]:
    """Return the environment in which a subprocess finds the package that is tested, installed or not."""
    colourful = {"FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    kept = {name: value for name, value in os.environ.items() if name not in colourful}
    return kept | {"PYTHONPATH": str(Path(dicom_worklist.__file__).parents[1])}


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `dicom-worklist` as cron would: no terminal, its output in a pipe."""
    line = [sys.executable, "-m", "dicom_worklist", *map(str, arguments)]
    return subprocess.run(line, env=environment(), text=True, capture_output=True, timeout=60, check=False)


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    """Start Python in the background; what it prints can be read."""
    line = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(line, env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
