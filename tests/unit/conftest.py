"""What several unit tests share: the command run in this process, a recorded site, a port without a server."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist import cli
from support.calendar import Calendar
from support.configuration import Configure
from support.local_site import RecordedSite, Site


class Run:
    """What one run of the command printed, and its exit status."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `dicom-worklist` in this process."""

    def run(*arguments: str | Path) -> Run:
        capsys.readouterr()
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Run(status, *capsys.readouterr())

    return run


@pytest.fixture
def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.fixture
def local_site(calendar: Calendar, configure: Configure, folder: Path) -> Site:
    return Site(calendar, configure, folder)


@pytest.fixture
def recorded_site(calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path) -> RecordedSite:
    return RecordedSite(calendar, configure, folder, tmp_path / "recorded")
