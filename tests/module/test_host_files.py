"""The module `host_files`: folders and small files are as a list says."""

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from support.modules import run, run_one
from support.plays import Result


def ask(*files: dict[str, Any]) -> Result:
    return {"host_files": {"files": list(files)}}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def listed(tmp_path: Path) -> list[dict[str, Any]]:
    """A folder with a file in it, another file, and two that have to go; nothing of it is there."""
    place = tmp_path / "place"
    return [
        {"path": str(place), "state": "directory", "mode": "2750"},
        {"path": str(place / "greeting"), "content": "Grüß Gott\n\n", "mode": "0640", "owner": "nobody"},
        {"path": str(tmp_path / "secret"), "content": ""},
        {"path": str(tmp_path / "old"), "state": "absent"},
        {"path": str(tmp_path / "old.file"), "state": "absent"},
    ]


def test_everything_is_made_once(tmp_path: Path, listed: list[dict[str, Any]]) -> None:
    first, second = run(tmp_path, ask(*listed), ask(*listed))
    assert (first["changed"], second["changed"]) == (True, False)
    assert (first["paths"], second["paths"]) == ([file["path"] for file in listed[:3]], [])
    place = tmp_path / "place"
    assert (place / "greeting").read_text() == "Grüß Gott\n\n"
    assert (mode(place), mode(place / "greeting"), mode(tmp_path / "secret")) == (0o2750, 0o640, 0o600)
    assert pwd.getpwuid((place / "greeting").stat().st_uid).pw_name == "nobody"
    assert [path.name for path in place.iterdir()] == ["greeting"]


def test_what_is_absent_is_removed_with_all_that_is_in_it(tmp_path: Path, listed: list[dict[str, Any]]) -> None:
    (tmp_path / "old" / "deep").mkdir(parents=True)
    (tmp_path / "old" / "deep" / "file").touch()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    (tmp_path / "old.file").symlink_to(kept)
    assert run_one(tmp_path, ask(*listed))["paths"][-2:] == [str(tmp_path / "old"), str(tmp_path / "old.file")]
    assert not (tmp_path / "old").exists()
    assert not (tmp_path / "old.file").is_symlink()
    assert (kept / "file").exists()


@pytest.mark.parametrize("change", [{"content": "Hello\n"}, {"mode": "0600"}, {"owner": "root"}])
def test_one_difference_is_put_right(tmp_path: Path, listed: list[dict[str, Any]], change: dict[str, str]) -> None:
    run_one(tmp_path, ask(*listed))
    before = (tmp_path / "place" / "greeting").stat()
    listed[1] |= change
    assert run_one(tmp_path, ask(*listed))["paths"] == [listed[1]["path"]]
    greeting = tmp_path / "place" / "greeting"
    now = greeting.stat()
    assert greeting.read_text() == listed[1]["content"]
    assert mode(greeting) == int(listed[1]["mode"], 8)
    assert pwd.getpwuid(now.st_uid).pw_name == listed[1]["owner"]
    assert (now.st_ino != before.st_ino) == ("content" in change)


def test_what_is_not_said_of_owner_and_mode_stays(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o711)
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    done = run_one(tmp_path, ask({"path": str(folder), "state": "directory", "mode": "g+r"}))
    assert done["paths"] == [str(folder)]
    assert (mode(folder), folder.stat().st_uid) == (0o751, pwd.getpwnam("nobody").pw_uid)


def test_check_mode_predicts_and_changes_nothing(tmp_path: Path, listed: list[dict[str, Any]]) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "secret").write_text("another text\n")
    listed[1]["owner"] = "not-yet-made"  # on an empty host the role has not made it
    predicted = run_one(tmp_path, ask(*listed), options=["--check", "--diff"])
    assert (tmp_path / "secret").read_text() == "another text\n"
    assert (tmp_path / "old").exists()
    assert not (tmp_path / "place").exists()
    assert [(part["before"], part["after"]) for part in predicted["diff"]] == [
        ("", "Grüß Gott\n\n"),
        ("another text\n", ""),
    ]
    listed[1]["owner"] = "nobody"
    assert run_one(tmp_path, ask(*listed))["paths"] == predicted["paths"]


@pytest.mark.parametrize(("state", "there"), [("file", "folder"), ("directory", "file")])
def test_another_kind_is_refused_before_anything_changes(tmp_path: Path, state: str, there: str) -> None:
    path = tmp_path / "thing"
    path.mkdir() if there == "folder" else path.touch()
    wanted: dict[str, Any] = {"path": str(path), "state": state} | ({"content": "text"} if state == "file" else {})
    refused = run_one(tmp_path, ask({"path": str(tmp_path / "first"), "content": ""}, wanted))
    assert f"{path} is a {there}" in refused["msg"]
    assert "Move it away" in refused["msg"]
    assert not (tmp_path / "first").exists()


def test_a_file_without_a_folder_or_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file"
    refused = run_one(tmp_path, ask({"path": str(path), "content": ""}))
    assert f"{path} can't be written: there is no folder {path.parent}" in refused["msg"]
    assert "content" in run_one(tmp_path, ask({"path": str(path)}))["msg"]


def test_nothing_is_left_and_the_old_text_stays_if_it_cannot_be_finished(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("old")
    failed = run_one(tmp_path, ask({"path": str(place / "file"), "content": "new", "owner": "no-such-user"}))
    assert "no-such-user" in failed["msg"]
    assert {path.name: path.read_text() for path in place.iterdir()} == {"file": "old"}


def test_nobody_else_can_read_a_new_file_unless_its_mode_says_so(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run_one(tmp_path, ask({"path": str(tmp_path / "secret"), "content": "hidden"}))
    finally:
        os.umask(before)
    assert mode(tmp_path / "secret") == 0o600
