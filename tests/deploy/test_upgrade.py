"""A site that an old release deployed, upgraded by today's site.yml without a hand, on each Debian.

The old releases are archives in releases/. Each one deploys with its own playbook and its own inventories/dccn. Only
this is changed in the inventory: one machine is PACS and worklist, so that the sync asks Orthanc and writes the page.
Today's site.yml then gets the same inventory.
"""

import asyncio
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

from support import live, machines
from support.booking_database import BookingDatabase
from support.dccn import ALLOWED, NAMES, PACS, WORKLIST, Site, calendar, clients, furnish
from support.waiting import wait_until

#: The first test of a case waits for three deployments, and builds their images.
pytestmark = pytest.mark.timeout(3600)

RELEASES = live.PROJECT / "tests/deploy/releases"
COMMITS = [release["commit"] for release in yaml.safe_load((RELEASES / "releases.yml").read_text())]
#: What the deployment of a site needs of a commit.
PATHS = "ansible.cfg inventories/dccn library playbooks pyproject.toml requirements/host.txt roles src".split()
CASES = list(product(machines.RELEASES, COMMITS))
UNVERIFIED = ("--skip-tags", "verify")
HOST = "hospital.dccn.example"
#: Installed before the base images are loaded, which takes the engine; docker-cli is Debian 13's.
PACKAGES = "docker.io apparmor nftables python3-requests cron logrotate python3-venv"
BASE_IMAGES = ("debian:trixie-slim", "debian:forky-slim")
STORED = "/scratch/data_dicom/orthanc"
PROGRAM = "/opt/dicom-worklist"
ENTRIES = "/scratch/data_dicom/wlbroker/WLBROKER"
ELSEWHERE = (
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/var/cache/apt"),
    *("/var/log", "/var/tmp", "*/__pycache__", f"{STORED}/*", f"{PROGRAM}/*/*"),
)
#: What a deployment leaves on a machine, a line each. The image of a release before stays (docs/upgrading.md), under
#: the name of today's and a tag of its own, so images are compared without their tags.
TRACES = {
    "unit": "systemctl list-unit-files --no-legend --plain --type service,socket,timer,path | awk '{ print $1, $2 }';"
    "systemctl list-units --all --no-legend --plain --type service,socket,timer,path | awk '{ print $1 }'",
    "table": "nft list tables",
    "container": "docker ps --all --format '{{.Names}}'",
    "image": "docker image ls --format '{{.Repository}}'",
    "network": "docker network ls --format '{{.Name}}'",
    "volume": "docker volume ls --quiet",
    "cron": "cat /etc/crontab /etc/cron.d/*; cat /var/spool/cron/crontabs/* 2>/dev/null || true",
    "user": "getent passwd | cut -d: -f1",
    "group": "getent group | cut -d: -f1",
    "path": "find /etc /home /opt /root /scratch /srv /usr/local /var -xdev "
    f"{' '.join(f'-path {path!r} -prune -o' for path in ELSEWHERE)} -printf '%M %u:%g %p\\n'",
}


@dataclass
class Lan:
    """What every case has in addition to its machine, and the images that the machines before have built."""

    net: machines.Net
    database: BookingDatabase
    clients: dict[str, machines.Client]
    #: today's deployment on a fresh machine, by Debian's number
    fresh: dict[int, set[str]] = field(default_factory=dict)

    def site(self, debian: int) -> Site:
        """A fresh machine with both addresses of the site, and an engine that has the base images."""
        packages = PACKAGES + (" docker-cli" if debian >= 13 else "")
        host = machines.Host(self.net, HOST, debian, PACS, NAMES, packages=packages)
        host.run(f"ip address add {WORKLIST}/24 dev eth0")
        furnish(host)
        host.run("systemctl restart docker")
        self.give_images(host, "base")
        host.run("mkdir /var/cache/dicom-worklist")  # as if the base images had been bootstrapped
        return Site(self.net, self.database, host, host, self.clients)

    def give_images(self, host: machines.Host, release: str) -> None:
        """Load the images of a release that machines before have built: their names say what they are made of."""
        there = built_images(host)
        for archive in (self.net.folder / release).glob("*.tar"):
            if archive.stem not in there:
                with archive.open("rb") as image:
                    line = ["docker", "exec", "--interactive", host.container.name, "docker", "load"]
                    subprocess.run(line, stdin=image, check=True)

    def keep_images(self, host: machines.Host, release: str) -> None:
        """Keep the images that this machine has built."""
        folder = self.net.folder / release
        folder.mkdir(exist_ok=True)
        for tag, name in built_images(host).items():
            if not (folder / f"{tag}.tar").exists():
                with (folder / f"{tag}.tar").open("wb") as image:
                    line = ["docker", "exec", host.container.name, "docker", "save", name]
                    subprocess.run(line, stdout=image, check=True)


def built_images(host: machines.Host) -> dict[str, str]:
    """Return the images that were built on a machine, by their tags."""
    names = host.run("docker image ls --format '{{.Repository}}:{{.Tag}}' 'dicom-worklist/*'").split()
    return {name.split(":")[1]: name for name in names}


@dataclass(frozen=True)
class Data:
    """What must not be lost: of each image its bytes and metadata as the PACS gives them, of each entry its bytes."""

    images: dict[str, tuple[str, str]]
    files: set[str]
    entries: dict[str, str]
    console: list[str]


def data(site: Site) -> Data:
    images = {}
    for image in json.loads(site.ask("/instances")):
        site.ask(f"/instances/{image}/file", "-o", "/tmp/image")
        status, checksum = site.clients["administrator"].run("sha256sum", "/tmp/image")
        assert status == 0, checksum
        images[image] = checksum.split()[0], site.ask(f"/instances/{image}/metadata?expand")
    files = site.pacs.run(f"find {STORED} -type f -path '{STORED}/??/??/*' -exec sha256sum {{}} +")
    entries = site.worklist.run(f"cd {ENTRIES} && sha256sum *.wl")
    named = [line.split() for line in entries.splitlines()]
    checksums = {name: checksum for checksum, name in named}
    return Data(images, set(files.splitlines()), checksums, site.seen("PRISMA"))


def traces(host: machines.Host) -> set[str]:
    return {f"{kind}: {line}" for kind, script in TRACES.items() for line in host.run(script).splitlines()}


def inventory_of_one_host(release: Path, folder: Path) -> Path:
    """Copy the inventories/dccn of a release, as its comments say; one host is both, without folders of its own."""
    shutil.copytree(release / "inventories/dccn", folder)
    both = {"hosts": {HOST: None}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"pacs": both, "worklist": both}))
    for file in (folder / "group_vars").glob("*.yml"):
        file.write_text(re.sub(r"(?m)^\w+_(page|metrics)_dir: .*\n", "", file.read_text()))
    return folder


@contextmanager
def stranger_tries() -> Iterator[list[tuple[int, str]]]:
    """Try each port of the site ten times a second, from this machine, which the site doesn't know.

    Yields the list of the answers. The firewall lets none through, not even that a port is closed.
    """
    answers: list[tuple[int, str]] = []
    stop = Event()

    async def knock(address: str, port: int) -> None:
        try:
            async with asyncio.timeout(1):
                _, writer = await asyncio.open_connection(address, port)
        except TimeoutError:
            return
        except OSError as error:
            answers.append((port, str(error)))
        else:
            answers.append((port, "connected"))
            writer.close()

    async def keep_knocking() -> None:
        async with asyncio.TaskGroup() as tried:
            while not stop.is_set():
                for address, port in ((PACS, 4042), (PACS, 8042), (WORKLIST, 1234)):
                    tried.create_task(knock(address, port))
                await asyncio.sleep(0.1)

    stranger = Thread(target=asyncio.run, args=(keep_knocking(),))
    stranger.start()
    try:
        yield answers
    finally:
        stop.set()
        stranger.join()


@dataclass
class Upgrade:
    """A site that was upgraded, and what was seen before, meanwhile and after."""

    release: Path
    inventory: Path
    site: Site
    preview: live.Played
    played: live.Played
    before: Data
    after: Data
    answers: list[tuple[int, str]]
    #: the folder of the sync before, in which a run may still be; the next upgrade removes it
    program_before: str
    fresh: set[str]


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    folder = tmp_path_factory.mktemp("upgrade")
    net = machines.Net(folder)
    database = None
    try:
        database = calendar(net)
        (folder / "base").mkdir()
        subprocess.run(["docker", "save", "--output", folder / "base/images.tar", *BASE_IMAGES], check=True)
        yield Lan(net, database, clients(net))
    finally:
        if database is not None:
            database.remove()
        net.remove_all()
        for archive in folder.glob("*/*.tar"):
            archive.unlink()


def fresh(lan: Lan, debian: int, folder: Path) -> set[str]:
    """Deploy today's release on a fresh machine; return what is then there."""
    site = lan.site(debian)
    lan.give_images(site.pacs, "today")
    inventory = inventory_of_one_host(live.PROJECT, folder / "inventory")
    played = site.play("site.yml", *UNVERIFIED, inventory=inventory)
    assert played.status == 0, played.output
    lan.keep_images(site.pacs, "today")
    # it makes the log, and fails while cron runs it
    wait_until(lambda: site.worklist.run(f"runuser -u dicom-worklist -- {PROGRAM}/cron-run"))
    found = traces(site.pacs)
    site.pacs.container.remove(force=True, v=True)
    return found


@pytest.fixture(scope="module", params=CASES, ids=[f"from {commit[:7]} on Debian {debian}" for debian, commit in CASES])
def upgrade(request: pytest.FixtureRequest, lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    debian, commit = request.param
    folder = tmp_path_factory.mktemp("case")
    if debian not in lan.fresh:
        lan.fresh[debian] = fresh(lan, debian, folder / "fresh")
    release = folder / "release"
    with tarfile.open(RELEASES / f"{commit[:7]}.tar.xz") as archive:
        archive.extractall(release)
    inventory = inventory_of_one_host(release, folder / "inventory")
    site = lan.site(debian)
    lan.give_images(site.pacs, commit)
    deployed = site.play("site.yml", *UNVERIFIED, inventory=inventory, cwd=release)
    assert deployed.status == 0, deployed.output
    lan.keep_images(site.pacs, commit)
    site.trust()
    site.store("PRISMA", folder, count=4)
    before = data(site)
    program = site.worklist.run(f"dirname $(readlink {PROGRAM}/current)").strip()
    lan.give_images(site.pacs, "today")
    preview = site.play("site.yml", "--check", "--diff", inventory=inventory)
    with stranger_tries() as answers:
        played = site.play("site.yml", inventory=inventory)
    assert played.status == 0, played.output
    yield Upgrade(release, inventory, site, preview, played, before, data(site), answers, program, lan.fresh[debian])
    site.pacs.container.remove(force=True, v=True)


@pytest.fixture(autouse=True)
def named(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Name the host in the summary."""
    if "upgrade" in request.fixturenames:
        host = request.getfixturevalue("upgrade").site.pacs
        record_property("host", f"{host.name} ({host.distribution})")


def contents(archive: tarfile.TarFile) -> dict[str, bytes]:
    files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
    return {name: file.read() for name, file in files.items() if file}


@pytest.mark.parametrize("commit", COMMITS)
def test_an_archive_is_of_its_commit(commit: str) -> None:
    """It says so itself, and has that commit's files where the clone has the commit."""
    with tarfile.open(RELEASES / f"{commit[:7]}.tar.xz") as archive:
        assert archive.pax_headers["comment"] == commit
        mine = contents(archive)
    assert mine
    line = ["git", "archive", "--format=tar", commit, *PATHS]
    told = subprocess.run(line, cwd=live.PROJECT, capture_output=True, check=False)
    if told.returncode == 0:  # else the clone has no history
        with tarfile.open(fileobj=BytesIO(told.stdout)) as archive:
            assert mine == contents(archive)


def test_no_image_is_lost(upgrade: Upgrade) -> None:
    assert len(upgrade.before.images) == 4
    assert upgrade.after.images == upgrade.before.images
    assert upgrade.before.files
    assert upgrade.before.files <= upgrade.after.files


def test_the_console_shows_the_same_entries(upgrade: Upgrade) -> None:
    assert "3010000.01_sub-007" in upgrade.after.console
    assert upgrade.after.console == upgrade.before.console
    # at midnight one of them goes, and another comes
    stayed = upgrade.before.entries.keys() & upgrade.after.entries.keys()
    assert stayed
    assert {name: upgrade.after.entries[name] for name in stayed} == {
        name: upgrade.before.entries[name] for name in stayed
    }


def test_nobody_else_was_answered_meanwhile(upgrade: Upgrade) -> None:
    assert upgrade.answers == []


def test_nothing_of_the_release_before_is_left(upgrade: Upgrade) -> None:
    """What is there is what today's deployment makes on a fresh machine, and the site's data."""
    found = traces(upgrade.site.pacs)
    left = {line for line in found - upgrade.fresh if not line.endswith(f" {upgrade.program_before}")}
    assert sorted(left) == []
    assert sorted(upgrade.fresh - found) == []


def test_the_preview_passed(upgrade: Upgrade) -> None:
    assert upgrade.preview.status == 0, upgrade.preview.output


def variables(release: Path) -> dict[str, Any]:
    """Return the variables that an inventory may set, each with the default that its specification gives."""
    found = {}
    for file in sorted(release.glob("roles/*/meta/argument_specs.yml")):
        specified = yaml.safe_load(file.read_text())["argument_specs"]
        for name, option in specified.get("main", {}).get("options", {}).items():
            found[name] = option.get("default")
    for file in sorted(release.glob("roles/*/defaults/main.yml")):
        found |= dict.fromkeys(re.findall(r"(?<![a-z_])site_[a-z_]+", file.read_text()))
    return found


def test_a_variable_that_was_renamed_is_refused_with_its_new_name(upgrade: Upgrade) -> None:
    old, today = variables(upgrade.release), variables(live.PROJECT)
    gone = sorted(old.keys() - today.keys())
    for role in {name.split("_")[0] for name in gone}:  # the checks of one role come before those of the next
        names = [name for name in gone if name.split("_")[0] == role]
        given = ["-e", json.dumps({name: old[name] for name in names})]
        refused = upgrade.site.play("site.yml", "--tags", "preflight", *given, inventory=upgrade.inventory)
        assert refused.status != 0, refused.output
        said = " ".join(refused.output.split())
        for name in names:
            renamed = re.search(rf"\b{name} is called (\w+) now", said)
            assert renamed, f"{name}: {said}"
            assert renamed[1] in today


def test_the_second_run_changes_nothing(upgrade: Upgrade) -> None:
    again = upgrade.site.play("site.yml", *UNVERIFIED, inventory=upgrade.inventory)
    assert (again.status, again.changed) == (0, 0), again.output
    assert upgrade.site.open_doors() == ALLOWED


def test_a_stranger_would_have_been_answered_without_the_firewall(upgrade: Upgrade) -> None:
    """Else the test above would prove nothing."""
    upgrade.site.pacs.run("nft list tables | grep -o 'inet .*' | while read -r table; do nft delete table $table; done")
    with stranger_tries() as answers:
        wait_until(upgrade.site.stored)

        def all_three() -> None:
            assert {port for port, _ in answers} == {4042, 8042, 1234}

        wait_until(all_three)
