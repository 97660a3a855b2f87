"""How much room the disk of the images has, as Orthanc answers it: the role's own image and configuration, on a small
disk, without a deployed site."""

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from dicom_worklist.settings import Pacs
from dicom_worklist.status import pacs as as_the_sync_asks
from support import role_pacs, scanner

SUBNET = "198.18.217.0/24"
MIB = 1 << 20
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[role_pacs.Pacs]:
    """A PACS whose disk has 64 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "small", folder], check=True)
    try:
        with role_pacs.pacs(folder, "test-disk-space", SUBNET, [{"ae_title": "PRISMA"}]) as found:
            yield found
    finally:
        subprocess.run(["umount", folder], check=True)


def test_it_is_that_of_the_disk_and_falls_as_images_come(pacs: role_pacs.Pacs, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(pacs.login[1])
    login = Pacs(url=pacs.url, user=pacs.login[0], password_file=str(tmp_path / "password"))

    def asked() -> int:
        space = as_the_sync_asks.disk_space(login, NOW)
        assert space
        disk = os.statvfs(pacs.data)
        assert (space.at, space.size) == (NOW, 64 * MIB)
        assert abs(space.free - disk.f_bavail * disk.f_frsize) < MIB  # Orthanc may write meanwhile
        return space.free

    empty = asked()
    images = scanner.make(tmp_path / "images", 20, 1024)  # 2 MiB each
    assert {*scanner.store(pacs.dicom_port, images[:10]).values()} == {0}
    assert 20 * MIB <= empty - asked() < 24 * MIB
    (pacs.data / "large").write_bytes(bytes(empty - 24 * MIB))
    assert 0xA700 in scanner.store(pacs.dicom_port, images[10:]).values()
    assert asked() < 2 * MIB


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_asked_for(pacs: role_pacs.Pacs, method: str) -> None:
    answer = requests.request(method, f"{pacs.url}/disk-space", data="{}", auth=pacs.login, timeout=30)
    assert answer.status_code == 405
