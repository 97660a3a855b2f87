"""The module `host_files`: folders and small files are as a list says."""

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from support.modules import run, run_one
from support.plays import Result

OWN = {"owner": "root", "group": "root", "mode": "0600"}


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
        {"path": str(place / "greeting"), "content": "Grüß Gott\n\n", **OWN, "mode": "0640", "owner": "nobody"},
        {"path": str(tmp_path / "secret"), "content": "", **OWN},
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
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o700)
    listed += [
        {"path": str(loose), "state": "directory", "mode": "0750"},
        {"path": str(tmp_path / "a" / "b"), "state": "directory", "mode": "0750"},
    ]
    listed[1]["owner"] = listed[2]["owner"] = "not-yet-made"  # on an empty host the role has not made it
    predicted = run_one(tmp_path, ask(*listed), options=["--check", "--diff"])
    assert (tmp_path / "secret").read_text() == "another text\n"
    assert (tmp_path / "old").exists()
    assert (mode(loose), (tmp_path / "place").exists(), (tmp_path / "a").exists()) == (0o700, False, False)
    assert {Path(part["after_header"]).name: (part["before"], part["after"]) for part in predicted["diff"]} == {
        "place": ({"state": "absent"}, {"state": "directory"}),
        "greeting": ("", "Grüß Gott\n\n"),
        "secret": ("another text\n", ""),
        "old": ({"state": "present"}, {"state": "absent"}),
        "loose": ({"mode": "0700"}, {"mode": "0750"}),
        "b": ({"state": "absent"}, {"state": "directory"}),
    }
    listed[1]["owner"] = listed[2]["owner"] = "nobody"
    assert run_one(tmp_path, ask(*listed))["paths"] == predicted["paths"]


@pytest.mark.parametrize("options", [["--check"], ["--diff"]])
def test_contents_are_shown_only_where_a_diff_is_wanted(options: list[str], tmp_path: Path) -> None:
    file = {"path": str(tmp_path / "secret"), "content": "hidden", **OWN}
    shown = run_one(tmp_path, ask(file) | {"diff": False}, options=options)
    assert shown["changed"]
    assert "hidden" not in str({name: value for name, value in shown.items() if name != "invocation"})


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_may_be_a_link(there: bool, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link"
    if there:
        disk.mkdir()
    link.symlink_to(disk)
    wanted = ask({"path": str(link), "state": "directory", "owner": "nobody", "mode": "2750"})
    predicted = run_one(tmp_path, wanted, options=["--check"])
    first, second = run(tmp_path, wanted, wanted)
    assert (predicted["changed"], first["changed"], second["changed"]) == (True, True, False)
    assert not run_one(tmp_path, wanted, options=["--check"])["changed"]
    assert link.is_symlink()
    assert (mode(disk), pwd.getpwuid(disk.stat().st_uid).pw_name) == (0o2750, "nobody")
    assert link.lstat().st_uid == os.geteuid()


def test_a_file_that_is_a_link_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("text")
    target.chmod(0o666)
    link.symlink_to(target)
    wanted = ask({"path": str(link), "content": "text", **OWN})
    first, second = run(tmp_path, wanted, wanted)
    assert (first["changed"], second["changed"]) == (True, False)
    assert not link.is_symlink()
    assert (mode(link), mode(target)) == (0o600, 0o666)


@pytest.mark.parametrize(("wanted", "made"), [("0750", 0o750), ("u+rwx", 0o755), (None, 0o755), ("g+w", 0o775)])
def test_a_new_folder_and_those_above_do_not_depend_on_the_umask(wanted: str | None, made: int, tmp_path: Path) -> None:
    folder = {"path": str(tmp_path / "a" / "b" / "c"), "state": "directory"} | ({"mode": wanted} if wanted else {})
    before = os.umask(0o077)
    try:
        run_one(tmp_path, ask(folder))
    finally:
        os.umask(before)
    assert [mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")] == [0o755, 0o755, made]


@pytest.mark.parametrize(("state", "there"), [("file", "folder"), ("directory", "file"), ("below", "file")])
def test_another_kind_is_refused_before_anything_changes(tmp_path: Path, state: str, there: str) -> None:
    path = tmp_path / "thing"
    path.mkdir() if there == "folder" else path.touch()
    wanted: dict[str, Any] = {"path": str(path), "state": state, "content": "text", **OWN}
    if state == "below":
        wanted |= {"path": str(path / "folder"), "state": "directory"}
    refused = run_one(tmp_path, ask({"path": str(tmp_path / "first"), "content": "", **OWN}, wanted))
    assert f"{path} is a {there}" in refused["msg"]
    assert "Move it away" in refused["msg"]
    assert not (tmp_path / "first").exists()


def test_a_file_without_a_folder_is_refused_but_not_in_check_mode(tmp_path: Path) -> None:
    """There another task would have made it."""
    file = {"path": str(tmp_path / "missing" / "file"), "content": "", **OWN}
    refused = run_one(tmp_path, ask(file))
    assert f"{file['path']} can't be written: there is no folder {tmp_path / 'missing'}. List that" in refused["msg"]
    assert run_one(tmp_path, ask(file), options=["--check"])["paths"] == [file["path"]]


@pytest.mark.parametrize("missing", ["content", "owner", "group", "mode"])
def test_a_file_needs_all_that_is_said_of_one(missing: str, tmp_path: Path) -> None:
    file = {"path": str(tmp_path / "file"), "content": "", **OWN}
    del file[missing]
    assert missing in run_one(tmp_path, ask(file))["msg"]


def test_nothing_is_left_and_the_old_text_stays_if_the_owner_is_missing(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("old")
    file = {"path": str(place / "file"), "content": "new", **OWN, "owner": "no-such-user"}
    assert "no-such-user" in run_one(tmp_path, ask(file))["msg"]
    assert {path.name: path.read_text() for path in place.iterdir()} == {"file": "old"}


def test_nothing_is_left_and_the_old_text_stays_if_the_disk_is_full(tmp_path: Path) -> None:
    """A limit on the size of files stands in for it: far more than a module needs."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_text("old")
    file = {"path": str(place / "file"), "content": "{{ 'x' * 4000000 }}", **OWN}
    failed = run_one(tmp_path, ask(file), within=["prlimit", "--fsize=3000000"])
    assert f"{place / 'file'} can't be written: File too large. Look at the disk's space" in failed["msg"]
    assert {path.name: path.read_text() for path in place.iterdir()} == {"file": "old"}
