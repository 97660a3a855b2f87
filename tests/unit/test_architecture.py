"""Imports go one way, as docs/architecture.md draws them: no arrow up, no cycle, no wing that reaches into another."""

import shutil
from collections.abc import Callable, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tools.modules import imports

ROOT = Path(__file__).parents[2]
GROUND = {"", "errors", "expressions", "files", "settings"}
WINGS = {"bookings", "worklist", "status", "delivery", "notify"}
#: Each room, and the rooms that it may import.
ROOMS: dict[str, Set[str]] = {
    "": set(),
    "errors": set(),
    "expressions": set(),
    "files": set(),
    "settings": set(),
    "bookings": GROUND,
    "worklist": GROUND | {"bookings"},
    "orthanc": GROUND | {"bookings"},
    "notify": GROUND | {"bookings"},
    "status": GROUND | {"bookings", "orthanc", "delivery", "notify"},
    "delivery": GROUND | {"bookings", "orthanc"},
    "config": GROUND | {"bookings", "worklist", "delivery", "notify"},
    "report": GROUND | {"bookings", "worklist"},
    "pipeline": GROUND | WINGS | {"report"},
    "checks": GROUND | WINGS | {"report", "pipeline"},
    "preview": GROUND | WINGS | {"report", "pipeline"},
    "notices": GROUND | {"config", "notify", "status"},
    "cli": GROUND | WINGS | {"config", "report", "pipeline", "checks", "preview", "notices"},
    "__main__": {"cli"},
}
#: What some modules must never import.
FORBIDDEN = [
    ("", {"^ansible"}),
    ("bookings", {"^pydicom", "^pynetdicom"}),
    ("worklist.folder", {"bookings", "^pydicom"}),
    ("status.reconcile", {"status.pacs", "orthanc", "^http", "^urllib", "^ssl"}),
    ("status.page", {"status.pacs", "orthanc", "status.history"}),
    ("pipeline", {"notify", "notices", "^smtplib"}),
    ("notify.memory", {"^smtplib", "^http", "^urllib", "^ssl", "^socket"}),
    ("pipeline", {"^sqlite3", "^http", "^urllib", "^pydicom"}),
]
GRAPH = imports(ROOT / "src")


def room(module: str) -> str:
    return module.partition(".")[0]


def upward(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return the imports that the rooms don't allow."""
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if not target.startswith("^") and room(target) not in ROOMS[room(module)] | {room(module)}
    ]


def inside(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return the imports of a wing that go to a module inside another wing."""
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if {room(module), room(target)} <= WINGS and room(module) != room(target) and "." in target
    ]


def forbidden(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return the imports that FORBIDDEN lists, also those through other modules of the same room."""
    wrong = []
    for place, never in FORBIDDEN:
        for module in graph:
            if place in {"", module} or module.startswith(f"{place}."):
                wrong += [f"{module} imports {target}" for target in sorted(_reached(graph, module) & never)]
    return wrong


def _reached(graph: Mapping[str, Set[str]], module: str) -> set[str]:
    """Return what the module imports, and what those of its own room import."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for target in graph[waiting.pop()] - reached:
            reached.add(target)
            if target in graph and room(target) == room(module):
                waiting.append(target)
    return reached


def cycle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Return the modules of a cycle, if there is one."""
    sorter = TopologicalSorter({module: targets & graph.keys() for module, targets in graph.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        modules: list[str] = error.args[1]
        return modules
    return []


def test_every_module_is_in_a_room_of_the_table() -> None:
    assert {room(module) for module in GRAPH} == ROOMS.keys()


def test_imports_go_one_way() -> None:
    assert upward(GRAPH) == []


def test_there_is_no_cycle() -> None:
    assert cycle(GRAPH) == []


def test_no_wing_reaches_into_another() -> None:
    assert inside(GRAPH) == []


def test_no_module_imports_what_it_must_not_know() -> None:
    assert forbidden(GRAPH) == []


def test_ansible_modules_import_no_wing() -> None:
    for path in (ROOT / "library").glob("*.py"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        imported = [line for line in lines if line.startswith(("import ", "from ")) and "dicom_worklist" in line]
        assert not [line for line in imported if any(f"dicom_worklist.{wing}" in line for wing in WINGS)], path


@pytest.mark.parametrize(
    ("module", "line", "check"),
    [
        ("bookings.booking", "from dicom_worklist.worklist import entry", upward),
        ("bookings.booking", "import dicom_worklist.pipeline", upward),
        ("status.page", "from dicom_worklist import pipeline", upward),
        ("status.page", "from dicom_worklist.config import load", upward),
        ("errors", "from dicom_worklist.settings import Config", upward),
        ("worklist.entry", "from dicom_worklist.bookings.booking import text", inside),
        ("status.page", "from dicom_worklist.worklist import folder", inside),
        ("worklist.folder", "from dicom_worklist.worklist import entry", forbidden),
        ("bookings.sources.csv", "import pydicom", forbidden),
        ("settings", "from ansible.module_utils.basic import AnsibleModule", forbidden),
        ("status.reconcile", "from dicom_worklist.status import pacs", forbidden),
        ("bookings.booking", "from dicom_worklist.bookings import selection", cycle),
        ("errors", "from dicom_worklist import pipeline", cycle),
    ],
)
def test_a_wrong_import_is_found(
    module: str, line: str, check: Callable[[Mapping[str, Set[str]]], list[str]], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "src/dicom_worklist", tmp_path / "dicom_worklist")
    with tmp_path.joinpath("dicom_worklist", *module.split(".")).with_suffix(".py").open("a") as file:
        file.write(f"if True:\n    {line}\n")
    assert check(imports(tmp_path))
