"""A file is the old one or the new one, whole."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_worklist import files


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_it_has_its_content_and_its_mode_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        files.replace(tmp_path / "page", b"new", 0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "page").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "page").stat().st_mode) == 0o640


def test_a_reader_of_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        files.replace(path, b"new", 0o644)
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_whole_and_has_its_mode_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    rename = Path.replace

    def watched(self: Path, target: Path) -> Path:
        seen.append((self.read_bytes(), stat.S_IMODE(self.stat().st_mode), self.parent == target.parent))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    files.replace(tmp_path / "page", b"new", 0o644)
    assert seen == [(b"new", 0o644, True)]


def test_a_failure_leaves_the_old_one_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "page").write_bytes(b"old")
    monkeypatch.setattr(os, "fchmod", full)
    with pytest.raises(OSError, match="No space left"):
        files.replace(tmp_path / "page", b"new", 0o644)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"page": b"old"}


def test_a_link_in_its_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"somebody's")
    (tmp_path / "page").symlink_to(tmp_path / "other")
    files.replace(tmp_path / "page", b"new", 0o644)
    assert (tmp_path / "other").read_bytes() == b"somebody's"
    assert not (tmp_path / "page").is_symlink()


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_place_of_the_temporary_file_leads_nowhere(link: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"somebody's")
    link(tmp_path / "other", tmp_path / ".page.tmp")
    files.replace(tmp_path / "page", b"new", 0o644)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"page": b"new", "other": b"somebody's"}
    assert not (tmp_path / "page").is_symlink()


def test_a_pipe_in_place_of_the_temporary_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".page.tmp")
    files.replace(tmp_path / "page", b"new", 0o644)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"page": b"new"}


def test_a_run_that_is_ended_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fchmod", ended)
    with pytest.raises(KeyboardInterrupt):
        files.replace(tmp_path / "page", b"new", 0o644)
    assert list(tmp_path.iterdir()) == []


def test_a_file_left_by_a_killed_run_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".page.tmp").write_bytes(b"a half that is longer")
    files.replace(tmp_path / "page", b"new", 0o644)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"page": b"new"}


def test_a_folder_in_its_place_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path / "page", b"new", 0o644)
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file away")
def test_a_file_that_root_writes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 12345, 54321)
    files.replace(folder / "page", b"new", 0o640)
    made = (folder / "page").stat()
    assert (made.st_uid, made.st_gid) == (12345, 54321)
