"""tests/README.md names every folder of the tests and every module of tests/support, and no others."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
README = (TESTS / "README.md").read_text(encoding="utf-8")
LAYERS, _, SUPPORT = README.partition("\n## support\n")


def test_it_names_every_folder_and_no_others() -> None:
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("*.*") if "__pycache__" not in path.parts}
    assert {*re.findall(r"`([a-z]+)/`", LAYERS)} == {name for name in folders if (TESTS / name).is_dir()}


def test_it_names_every_module_of_support_and_no_others() -> None:
    modules = {path.stem for path in (TESTS / "support").iterdir() if not path.name.startswith("_")}
    assert {*re.findall(r"^\| `(\w+)` \|", SUPPORT, re.MULTILINE)} == modules
