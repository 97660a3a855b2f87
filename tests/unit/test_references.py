"""READMEs and docs/: what they name exists. Links, files, variables, make targets, the command's options, messages."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from dicom_worklist.config import load
from support.configuration import write_yaml

PROJECT = Path(__file__).parents[2]
PAGES = [page for at in (".", "docs", "roles/*", "tests") for page in sorted(PROJECT.glob(f"{at}/*.md"))]
ROLES = [path.parent.parent for path in sorted(PROJECT.glob("roles/*/defaults/main.yml"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: What a reader makes by following the text.
MADE = ("inventories/mysite", "dist/bundle", "src/dicom_worklist/bookings/sources/KIND")
#: Places on a host that are Debian's and Docker's own.
OTHERS = ("/etc/apt/", "/etc/pip.conf", "/etc/environment", "/etc/systemd/system/docker.service.d/", "/var/lib/docker")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def slugs(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^    .*$", "", text, flags=re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", LINK.sub("", heading).lower()).replace(" ", "-") for heading in headings}


def variables() -> set[str]:
    """Return what an inventory can set: the roles' variables, and the vault's of the example."""
    known = {name for role in ROLES for name in yaml.safe_load((role / "defaults/main.yml").read_text()) or {}}
    # what other roles give to internal ones, and what those give back
    for role in ROLES:
        entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"].values()
        known |= {name for entry in entries for name in entry.get("options", {})}
        known |= {name for name in yaml.safe_load((role / "vars/main.yml").read_text()) or {} if name[0] != "_"}
        tasks = " ".join(path.read_text() for path in role.glob("tasks/*.yml"))
        known |= set(re.findall(rf"^ +({role.name}_[a-z_]+): >-$", tasks, re.MULTILINE))
        known |= set(re.findall(r"register: ([a-z][a-z_]+)$", tasks, re.MULTILINE))
    # what a role reads without having a default of its own
    known |= set(re.findall(r"\bsite_[a-z_]+", " ".join((r / "defaults/main.yml").read_text() for r in ROLES)))
    examples = PROJECT.glob("inventories/*/group_vars/all/vault.yml.example")
    return known | {name for path in examples for name in re.findall(r"\bvault_[a-z_]+", path.read_text())}


def renamed() -> set[str]:
    """Return names that variables had before, which the roles refuse with the new one."""
    return {
        name for path in PROJECT.glob("roles/*/meta/renamed.yml") for name in yaml.safe_load(path.read_text()) or {}
    }


@cache
def options(subcommand: str) -> set[str]:
    """Return the options that the command takes, as its help has them."""
    line = [sys.executable, "-m", "dicom_worklist", subcommand, "--help"]
    done = subprocess.run(line, text=True, capture_output=True, check=True)
    return set(re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", done.stdout))


def test_readme_fits_a_look() -> None:
    assert len((PROJECT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_every_page_is_in_the_index(index: str) -> None:
    at = PROJECT / index
    linked = {(at.parent / target.partition("#")[0]).resolve() for target in LINK.findall(at.read_text())}
    assert {page for page in (PROJECT / "docs").glob("*.md") if page.name != "README.md"} <= linked


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in slugs(file.read_text()), target


@every_page
def test_every_file_of_the_repository_exists(page: Path) -> None:
    tops = "|".join(path.name for path in PROJECT.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in re.findall(rf"(?<![\w/.-])(?:{tops})/[\w./*-]*\w", page.read_text()):
        assert name.startswith(MADE) or list(PROJECT.glob(name)), name


@every_page
def test_every_variable_exists(page: Path) -> None:
    known = variables() | renamed()
    not_variables = {path.stem for path in [*ROLES, *PROJECT.glob("library/*")]}
    not_variables |= {f"{role.name}_firewall" for role in ROLES}  # tables of nftables
    prefixes = "|".join(["site", "vault", *(role.name for role in ROLES)])
    for name, more in re.findall(rf"(?<![\w/.-])((?:{prefixes})_[a-z_]*[a-z])(_?…)?", page.read_text()):
        if name not in not_variables:
            assert any(one.startswith(name) for one in known) if more else name in known, name


@every_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4,}(?:.*&& )?)make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


@every_page
def test_every_option_of_the_command_exists(page: Path) -> None:
    for subcommand, rest in re.findall(
        r"dicom-worklist (sync|list|status|check|repair)\b([^`\n#|]*)", page.read_text()
    ):
        given = set(re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", rest))
        assert given <= options(subcommand), (subcommand, rest)


@every_page
def test_every_place_on_a_host_is_known(page: Path) -> None:
    """It is, or is below, a place that the roles or the inventories name, and they know a file of its name."""
    files = [path for top in ("roles", "inventories") for path in (PROJECT / top).rglob("*.*") if path.suffix != ".md"]
    texts = [path.read_text() for path in files if path.is_file()]
    known = set(re.findall(r"(?<![\w/.}-])/(?:etc|opt|scratch|var)/[\w./-]*\w", "\n".join(texts)))
    known -= {"/var/lib", "/var/log", "/var/cache"}  # Debian's own
    for place in re.findall(r"(?<![\w/.-])/(?:etc|opt|scratch|var)/[\w./-]*\w", page.read_text()):
        if place.startswith(OTHERS):
            continue
        assert {place, *map(str, Path(place).parents)} & known, place
        assert any(Path(place).stem in text for text in texts), place


def test_every_setting_that_a_page_prints_is_accepted(tmp_path: Path) -> None:
    """What ends up in the configuration file is read as the package reads it."""
    blocks = [block for page in PAGES for block in re.findall(r"(?:^ {4}.*\n)+", page.read_text(), re.MULTILINE)]
    begin = re.compile(r" {4,}(site|worklist_sync|orthanc|wlmscpfs|docker_host)_\w+:")
    printed = [yaml.safe_load(block.replace("!unsafe ", "")) for block in blocks if begin.match(block)]
    assert printed
    for settings in printed:
        source = settings.get("worklist_sync_source", {"type": "csv", "path": "/bookings.csv"})
        others = {"host": "h", "database": "d", "user": "u"} if source["type"] == "mysql" else {}
        if source == {"type": "ical"}:  # its address is in the vault
            others = {"url_file": "/feed"}
        scanners = settings.get("site_scanners", [{"ae_title": "PRISMA", "lab": "PRISMA"}])
        written = {
            "site": {"name": "Site", "timezone": "Europe/Amsterdam"},
            "source": others | source,
            "scanners": [
                {key: value for key, value in one.items() if key not in {"address", "port"}} for one in scanners
            ],
            "worklist": {"root": str(tmp_path)},
            "attributes": settings.get("worklist_sync_attributes", {}),
            "booking": settings.get("worklist_sync_booking", {}),
        }
        assert load(write_yaml(tmp_path / "config.yml", written)).scanners, settings


def test_messages_are_the_programs_own() -> None:
    """A message in quotes, in the first column of a table, is one that page, terminal or log shows."""
    shown = [*PROJECT.glob("src/dicom_worklist/**/*.py"), *PROJECT.glob("src/dicom_worklist/**/*.j2")]
    shown += [*PROJECT.glob("roles/worklist_sync/templates/*.j2"), *PROJECT.glob("roles/front_door/templates/*.j2")]
    program = " ".join(" ".join(path.read_text().split()) for path in shown)
    text = (PROJECT / "docs/troubleshooting.md").read_text()
    messages = [
        part for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for part in re.findall('"([^"]+)"', cell)
    ]
    assert messages
    for message in messages:
        for part in message.split("…"):
            assert part.strip() in program, message
