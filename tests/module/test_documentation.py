"""What ansible-doc shows of the modules that check inputs is what they take."""

import ast
from pathlib import Path

import pytest
import yaml

from support.plays import ROOT, ansible, documented

MODULES = ["booking_database", "host_files", "host_resources", "site_bundle", "worklist_configuration"]


@pytest.mark.parametrize("module", [*MODULES, "site_inputs"])
def test_the_documentation_is_whole(module: str, tmp_path: Path) -> None:
    shown = documented(module, tmp_path)
    options = shown["doc"]["options"]
    assert shown["doc"]["attributes"]["check_mode"]["support"] == "full"
    assert all(value["description"] and value["type"] for value in shown["return"].values())
    examples = yaml.safe_load(shown["examples"])
    used = [example[module].keys() for example in examples if module in example]
    assert used
    assert set().union(*used) <= options.keys()
    plain = ansible("ansible-doc", module, home=tmp_path)
    assert (plain.returncode, plain.stderr) == (0, "")


@pytest.mark.parametrize("module", MODULES)
def test_the_documentation_names_every_argument(module: str, tmp_path: Path) -> None:
    tree = ast.parse((ROOT / "library" / f"{module}.py").read_text())
    [spec] = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "argument_spec"]
    assert isinstance(spec, ast.Dict)
    taken = {key.value for key in spec.keys if isinstance(key, ast.Constant)}
    assert taken == documented(module, tmp_path)["doc"]["options"].keys()
