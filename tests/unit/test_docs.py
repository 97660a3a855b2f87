"""The generated parts of the pages: `make lint` is red where one isn't current, and `make docs` writes it."""

import re
import shutil
from pathlib import Path

import pytest

from dicom_worklist.errors import WorklistError
from support.configuration import write_yaml
from tools import command, docs, variables

ROOT = Path(__file__).parents[2]
NAMES = [(str(page.relative_to(ROOT)), part) for page, parts in docs.pages(ROOT).items() for part in parts]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the pages, and of what they are made of."""
    for pattern in (
        "docs/*.md",
        "roles/*/README.md",
        "roles/*/defaults/main.yml",
        "roles/*/meta/argument_specs.yml",
        "src/**/*.py",
    ):
        for path in ROOT.glob(pattern):
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    monitoring = "roles/worklist_sync/files/monitoring"
    shutil.copytree(ROOT / monitoring, tmp_path / monitoring)
    return tmp_path


def test_make_lint_checks_them_and_make_docs_writes_them() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [lint] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    [write] = re.findall(r"^docs:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "python -m tools.docs --check\n" in lint
    assert "python -m tools.docs\n" in write


def test_each_role_has_its_variables_and_each_page_its_parts() -> None:
    roles = {path.parent.name for path in ROOT.glob("roles/*/README.md")}
    assert {(f"roles/{role}/README.md", "variables") for role in roles} < set(NAMES)
    assert {part for page, part in NAMES if page == "docs/command.md"} == {"commands", "statuses"}
    assert {part for page, part in NAMES if page == "docs/architecture.md"} == {"modules"}
    assert {part for page, part in NAMES if page == "docs/metrics.md"} == {"metrics", "alerts"}


def test_they_are_current() -> None:
    assert docs.main(["--check"]) is None


@pytest.mark.parametrize(("page", "part"), NAMES)
def test_a_page_that_was_changed_by_hand_fails_and_is_written_again(page: str, part: str, project: Path) -> None:
    path = project / page
    right = path.read_text()
    marker = f"<!-- end of {part} -->"
    last = right.rindex("\n", 0, right.index(marker) - 1) + 1
    path.write_text(right[:last] + right[right.index(marker) :])  # its last line is lost
    said = docs.main(["--check"], project)
    assert said is not None
    assert page in said
    assert "make docs" in said
    assert path.read_text() != right  # --check writes nothing
    assert docs.main([], project) is None
    assert path.read_text() == right


@pytest.mark.parametrize(("page", "part"), NAMES)
def test_a_page_without_a_place_for_a_part_fails(page: str, part: str, project: Path) -> None:
    path = project / page
    path.write_text(path.read_text().replace(f"<!-- end of {part} -->\n", ""))
    said = docs.main(["--check"], project)
    assert said is not None
    assert said.startswith(f"{page} has no place for {part}")


def test_what_is_written_by_hand_stays(project: Path) -> None:
    path = project / "docs/metrics.md"
    path.write_text("Before.\n" + path.read_text() + "After.\n")
    assert docs.main([], project) is None
    assert path.read_text().startswith("Before.\n")
    assert path.read_text().endswith("After.\n")


def test_a_variable_s_new_default_fails(project: Path) -> None:
    defaults = project / "roles/wlmscpfs/defaults/main.yml"
    assert "wlmscpfs_max_associations: 100\n" in defaults.read_text()
    defaults.write_text(defaults.read_text().replace("max_associations: 100\n", "max_associations: 99\n"))
    assert "roles/wlmscpfs/README.md" in str(docs.main(["--check"], project))


def test_a_role_without_variables_of_its_own_shows_those_of_its_entry_points(tmp_path: Path) -> None:
    for folder in ("defaults", "meta"):
        (tmp_path / folder).mkdir()
    write_yaml(tmp_path / "defaults/main.yml", {})
    point = {
        "short_description": "Builds an image",
        "options": {
            "a_name": {"type": "str", "required": True, "description": ["Its name,", "with C(a tag)."]},
            "b_key": {"type": "str", "no_log": True, "default": "", "description": "A key."},
        },
    }
    main = {"short_description": "Containers", "options": {}}
    write_yaml(tmp_path / "meta/argument_specs.yml", {"argument_specs": {"main": main, "build": point}})
    assert variables.table(tmp_path) == (
        "**`build.yml`**: Builds an image\n\n"
        "| variable | type | default | what it is |\n| --- | --- | --- | --- |\n"
        "| `a_name` | str | required | Its name, with `a tag`. |\n"
        "| `b_key` | str, secret | `''` | A key. |\n"
    )


def test_a_new_module_fails(project: Path) -> None:
    (project / "src/dicom_worklist/bookings/sources/new.py").write_text('"""A new source."""\n\nimport pydicom\n')
    assert "docs/architecture.md" in str(docs.main(["--check"], project))
    assert docs.main([], project) is None
    assert "| `bookings.sources.new` | A new source. |  |" in (project / "docs/architecture.md").read_text()


def test_an_alert_s_new_condition_fails(project: Path) -> None:
    rules = project / "roles/worklist_sync/files/monitoring/alerts.yml"
    rules.write_text(rules.read_text().replace("> 300", "> 301"))
    assert "docs/metrics.md" in str(docs.main(["--check"], project))


def test_an_option_that_is_new_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = command.parser()
    monkeypatch.setattr(command, "parser", lambda: parser)
    assert docs.main(["--check"], project) is None
    command.subcommands()["sync"].add_argument("--new", help="is new")
    assert "docs/command.md" in str(docs.main(["--check"], project))
    assert docs.main([], project) is None
    page = (project / "docs/command.md").read_text()
    assert "| `--new NEW` | is new |" in page


def test_every_failure_of_the_command_has_its_exit_status_on_the_page() -> None:
    page = (ROOT / "docs/command.md").read_text()
    for failure in WorklistError.__subclasses__():
        assert re.search(rf"^\| {failure.exit_status:d} \| \w+", page, re.MULTILINE), failure


def test_every_metric_of_an_alert_is_on_the_page() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    rules = (ROOT / "roles/worklist_sync/files/monitoring/alerts.yml").read_text()
    for metric in re.findall(r"dicom_worklist_\w+", rules):
        assert re.search(rf"^\| `{metric}` \| gauge \|", page, re.MULTILINE), metric
