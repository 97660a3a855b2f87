"""The module `password_file`: a password is given, or generated once."""

import os
from pathlib import Path

import pytest

from support.modules import run, run_one
from support.plays import Result


def ask(folder: Path, password: str = "") -> Result:
    return {"password_file": {"path": str(folder / "kept"), "password": password, "mode": "0600"}}


def test_a_password_is_generated_once(tmp_path: Path) -> None:
    first, second = run(tmp_path, ask(tmp_path), ask(tmp_path))
    assert (first["changed"], second["changed"]) == (True, False)
    assert len(first["password"]) >= 32
    assert first["password"] == second["password"]
    assert (tmp_path / "kept").read_text() == first["password"] + "\n"
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
    (tmp_path / "kept").unlink()
    assert run_one(tmp_path, ask(tmp_path))["password"] != first["password"]


def test_a_given_password_replaces_the_kept_one(tmp_path: Path) -> None:
    first, second, kept = run(tmp_path, ask(tmp_path), ask(tmp_path, "a new one"), ask(tmp_path))
    assert first["changed"]
    assert second["changed"]
    assert (tmp_path / "kept").read_text() == "a new one\n"
    assert not kept["changed"]


@pytest.mark.parametrize("there", [None, "an old one\n"])
@pytest.mark.parametrize("password", ["", "a new one"])
def test_check_mode_predicts_and_writes_nothing(tmp_path: Path, there: str | None, password: str) -> None:
    kept = tmp_path / "kept"
    if there:
        kept.write_text(there)
        kept.chmod(0o600)
    predicted = run_one(tmp_path, ask(tmp_path, password), options=["--check"])
    assert predicted["password"] == ("" if password else (there or "").strip())
    assert (kept.read_text() if kept.exists() else None) == there
    assert run_one(tmp_path, ask(tmp_path, password))["changed"] == predicted["changed"]


def test_an_empty_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("\n")
    assert "Remove it and run the role again" in run_one(tmp_path, ask(tmp_path))["msg"]


def test_nobody_else_can_read_it_while_it_is_written(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run_one(tmp_path, {"password_file": {"path": str(tmp_path / "kept")}})
    finally:
        os.umask(before)
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
