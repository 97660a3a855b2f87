"""Searching for passwords: in what processes, files, containers and images show."""

import base64
import itertools
import json
import os
import re
import secrets
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from docker.models.containers import Container

from support import live

#: Where a deployment could leave something.
FOLDERS = [live.ROOT, *map(Path, ("/etc", "/tmp", "/var/tmp", "/var/log")), Path.home() / ".ansible"]


def new_secret() -> str:
    """Return a password with characters that are special to somebody, and nobody's before."""
    return f'%41"\\/{secrets.token_hex(12)}%"\\'


def needles(secret: str) -> set[bytes]:
    """Return how a password looks in each place.

    Its letters and digits are themselves in JSON, in YAML, in an address and for a shell, even if it changes the
    rest; in base64, such as of user:password, there are three ways, by where they begin.
    """
    core = max(re.findall(r"[\w-]+", secret), key=len).encode()
    encoded = (
        base64.b64encode(bytes(shift) + core)[-(-shift * 8 // 6) : (shift + len(core)) * 8 // 6] for shift in range(3)
    )
    return {core, *encoded}


class Processes:
    """Every command line and environment of every process, while it runs; it ends on its own."""

    def __init__(self, seconds: float = 300) -> None:
        self.seen: set[bytes] = set()
        self._last: dict[str, bytes] = {}
        self._over, self._deadline = threading.Event(), time.monotonic() + seconds
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def _look_again(self) -> None:
        while not self._over.wait(0.02) and time.monotonic() < self._deadline:
            for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names
                with suppress(OSError):  # it has ended
                    line = self._read(f"/proc/{process}/cmdline")
                    if self._last.get(process) != line:
                        self._last[process] = line
                        self.seen |= {line, self._read(f"/proc/{process}/environ")}

    @staticmethod
    def _read(path: str) -> bytes:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, 1 << 20)
        finally:
            os.close(file)

    def __enter__(self) -> "Processes":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


Places = Iterator[tuple[str, Iterable[bytes]]]


def pieces(path: Path) -> Iterator[bytes]:
    with suppress(OSError), path.open("rb") as file:  # it has gone
        while piece := file.read(1 << 20):
            yield piece


def files(since: float, folders: Iterable[Path] = FOLDERS) -> Places:
    """The files that were written since then, in any folder."""
    for folder in folders:
        for where, _, names in os.walk(folder):
            for path in (os.path.join(where, name) for name in names):  # noqa: PTH118 - there are many
                with suppress(OSError):  # it has gone
                    status = os.lstat(path)
                    if stat.S_ISREG(status.st_mode) and status.st_ctime >= since - 1:
                        yield path, pieces(Path(path))


def of_docker(containers: Iterable[Container]) -> Places:
    """What Docker reports of containers, their logs, and all that is in their images."""
    images = {}
    for container in containers:
        container.reload()
        images[container.image.id] = container.image
        yield f"docker inspect {container.name}", [json.dumps(container.attrs).encode()]
        yield f"docker logs {container.name}", [container.logs()]
    for image in images.values():
        yield f"docker inspect of the image {image.tags}", [json.dumps([image.attrs, image.history()]).encode()]
        yield f"a layer of the image {image.tags}", image.save(named=False)


def journal(since: float) -> Places:
    """What the machine's journal has of the time since then, where it has one."""
    if shutil.which("journalctl"):
        line = ["journalctl", "--no-pager", "--since", f"@{int(since)}"]
        yield "the journal", [subprocess.run(line, capture_output=True, check=False).stdout]


def search(wanted: Iterable[str], *places: Places) -> set[str]:
    """Return where any of these passwords is."""
    forms = {form for secret in wanted for form in needles(secret)}
    longest = max(map(len, forms))
    found = set()
    for place, content in itertools.chain(*places):
        before = b""
        for piece in content:
            before = before[-longest:] + piece
            if any(form in before for form in forms):
                found.add(place)
                break
    return found


def misplaced(found: set[str], kept: Collection[Path]) -> set[str]:
    """Leave out the files where a password has to be, unless others can read them."""
    return {place for place in found if Path(place) not in kept or Path(place).stat().st_mode & 0o7777 & ~0o640}
