"""The check that what is pinned satisfies pyproject.toml."""

import shutil
from pathlib import Path

import pytest

from tools import requirements

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_pins_satisfy_the_project_and_make_lint_says_so() -> None:
    assert requirements.main() is None
    assert "\t$(BIN)/python -m tools.requirements\n" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"pydicom",', '"pydicom>=99",', "host.txt has pydicom "),
        ('"pydicom",', '"pydicom",\n    "lxml",', "host.txt has no lxml"),
        ('"ansible>=12,<13"', '"ansible<12"', "controller.txt has ansible "),
        ('"pytest",', '"pytest==1",', "test.txt has pytest "),
        ('"pytest",', '"pytest",\n    "Un_Known.package",', "test.txt has no Un_Known.package"),
    ],
)
def test_it_fails_where_the_project_asks_for_something_else(old: str, new: str, expected: str, project: Path) -> None:
    change(project / "pyproject.toml", old, new)
    wrong = requirements.main(project)
    assert wrong is not None
    assert f"requirements/{expected}" in wrong
    assert "make update" in wrong


def test_what_hosts_need_controller_and_tests_need_as_well(project: Path) -> None:
    change(project / "pyproject.toml", '"pydicom",', '"pydicom>=99",')
    wrong = str(requirements.main(project))
    assert [file in wrong for file in requirements.FILES] == [True] * 3


@pytest.mark.parametrize("file", requirements.FILES)
def test_it_fails_where_a_pin_is_lost_changed_or_has_no_hash(file: str, project: Path) -> None:
    path = project / "requirements" / file
    whole = path.read_text()
    change(path, "msgspec==", "lost==")
    assert f"requirements/{file} has no msgspec" in str(requirements.main(project))
    path.write_text(whole)
    [first, *_] = [line for line in whole.splitlines() if line.startswith("pyyaml==")]
    path.write_text(whole.replace(first, "pyyaml==1.0 \\"))
    if file != "test.txt":
        assert " has pyyaml " in str(requirements.main(project))
    path.write_text(whole.replace(first, first.removesuffix(" \\") + "\nnext==1 \\"))
    assert f"requirements/{file}: pyyaml==" in str(requirements.main(project))
