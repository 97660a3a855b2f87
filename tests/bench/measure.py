"""How something is measured, and how the result is shown."""

import atexit
import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.progress import track

import dicom_worklist

PAIRS = 5


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, against which stock thing, both figures, how often as fast ours is."""

    what: str
    against: str
    ours: str
    stock: str = ""
    ratio: float | None = None


@dataclass(frozen=True)
class Run:
    """A whole process: its seconds on the clock, those of the processor, and the MiB that it had at the most."""

    seconds: float
    processor: float
    memory: float


def measured(line: Sequence[str | Path], cwd: Path | None = None) -> Run:
    """Run a process of the package as a host has it to its end; it has to succeed."""
    environment = _installed()
    began = time.perf_counter()
    with subprocess.Popen(line, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        peak = _Peak(process.pid)
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
    assert process.returncode == 0, said.decode()
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak.mebibytes())


@cache
def _installed() -> Mapping[str, str]:
    """Return an environment in which the package is what a host has: all of it compiled."""
    release = Path(tempfile.mkdtemp(prefix="release-"))
    atexit.register(shutil.rmtree, release)
    package = Path(dicom_worklist.__file__).parent
    shutil.copytree(package, release / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(release, quiet=1)
    environment = {**os.environ, "PYTHONPATH": str(release)}
    subprocess.run([sys.executable, "-m", "dicom_worklist.status.rendering"], env=environment, check=True)
    return environment


class _Peak:
    """Watches a process's peak of memory: the kernel's own record of it at the end counts its parent's, too."""

    def __init__(self, process: int) -> None:
        self._status, self._kibibytes = Path(f"/proc/{process}/status"), 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            while line := next((x for x in self._status.read_text().splitlines() if x.startswith("VmHWM")), None):
                self._kibibytes = int(line.split()[1])
                time.sleep(0.01)
        except OSError:
            pass  # it has ended

    def mebibytes(self) -> float:
        self._thread.join()
        return self._kibibytes / 1024


def pairs(
    what: str, ours: Callable[[], float], stock: Callable[[], float], count: int = PAIRS
) -> tuple[float, float, float]:
    """Return the medians of ours, of the stock thing, and of their ratio pair by pair; who is first takes turns."""
    taken = []
    for number in track(range(count), f"{what:<60}", console=Console(stderr=True)):
        if number % 2:
            theirs = stock()
            taken.append((ours(), theirs))
        else:
            taken.append((ours(), stock()))
    return (
        statistics.median(a for a, _ in taken),
        statistics.median(b for _, b in taken),
        statistics.median(b / a for a, b in taken),
    )
