"""update.yml on a fresh machine: a newer package of Debian reaches the containers, and a broken one doesn't stay.

The machine has the inventory of the demo, and an engine with the base images of this one. Debian's security updates
come from a repository of the test's own, so the base images are bootstrapped with it.
"""

import functools
import hashlib
import html
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
import yaml

from support import live, machines
from support.images import synthetic_image
from support.waiting import wait_until

#: The first test waits for a deployment, and for base images that are bootstrapped.
pytestmark = pytest.mark.timeout(3600)

INVENTORY = live.PROJECT / "inventories/demo"
RELEASE = 13
ADDRESS, GATEWAY = "198.18.8.2", "198.18.8.254"
PACKAGES = "docker.io docker-cli apparmor ca-certificates nftables python3-requests cron logrotate python3-venv sqlite3"
ENTRIES = "/scratch/data_dicom/wlbroker/WLBROKER"
CONTAINERS = ("orthanc", "orthanc-front-door", "wlmscpfs")
BASE_IMAGES = ("debian:trixie-slim", "debian:forky-slim")
UNVERIFIED = ("--skip-tags", "verify")
ANYWAY = ("-e", "worklist_sync_update_when_booked=true")
#: A booking of today and one of tomorrow, whichever days they are: as long as they are there, a scanner is booked.
QUERY = """
    SELECT strftime('%Y%m%d', day) AS booking_id, '3010000.01' AS project_id, 'Title' AS project_title,
           '7-1' AS subject_session, day AS start_date, '00:00' AS start_time, day AS end_date, '23:59' AS end_time,
           'PRISMA' AS lab, 'Anna' AS user_first_name, 'Jansen' AS user_last_name, 'CONFIRMED' AS status
    FROM (SELECT date('now', ahead || ' days') AS day FROM slots)"""
SEED = "CREATE TABLE IF NOT EXISTS slots (ahead INTEGER PRIMARY KEY);\nINSERT OR IGNORE INTO slots VALUES (0), (1);\n"


class Repository:
    """Debian's security updates, as the test wants them: a web server on this machine, with one package, nginx."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        script = "apt-get update -qq && cd /made && apt-get download -qq -o APT::Sandbox::User=root nginx"
        volumes = {str(folder): {"bind": "/made"}}
        docker.from_env().containers.run(BASE_IMAGES[0], ["sh", "-c", script], volumes=volumes, remove=True)
        (self.package,) = folder.glob("nginx_*.deb")
        self.version = self.field(self.package, "Version")
        self.publish()

    @staticmethod
    def field(package: Path, name: str) -> str:
        line = ["dpkg-deb", "--field", str(package), name]
        return subprocess.run(line, text=True, capture_output=True, check=True).stdout.strip()

    def offer(self, number: int, *, broken: bool = False) -> str:
        """Offer a package with a higher version; return that. A broken one doesn't run with our configuration."""
        tree, version = self.folder / f"tree-{number}", f"{self.version}+test{number}"
        subprocess.run(["dpkg-deb", "--raw-extract", self.package, tree], check=True)
        control = tree / "DEBIAN/control"
        text = re.sub(r"(?m)^Version: .*$", f"Version: {version}", control.read_text())
        # Debian's own security updates are not in this repository, and nginx-common may be of them
        control.write_text(re.sub(r"nginx-common \(= [^)]*\)", "nginx-common", text))
        if broken:
            (tree / "usr/sbin/nginx").write_text('#!/bin/sh\ncase "$*" in *front-door*) exit 1; esac\n')
        pool = self.root / "pool"
        pool.mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", tree, pool / f"nginx_{number}.deb"],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.rmtree(tree)
        self.publish()
        return version

    def publish(self) -> None:
        entries = []
        for package in sorted((self.root / "pool").glob("*.deb")):
            control = subprocess.run(
                ["dpkg-deb", "--field", package], text=True, capture_output=True, check=True
            ).stdout.rstrip()
            content = package.read_bytes()
            entries.append(
                f"{control}\nFilename: pool/{package.name}\nSize: {len(content)}\n"
                f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
            )
        architecture = self.field(self.package, "Architecture")
        name = f"main/binary-{architecture}/Packages"
        release = self.root / "dists/trixie-security"
        (release / name).parent.mkdir(parents=True, exist_ok=True)
        index = "\n".join(entries).encode()
        (release / name).write_bytes(index)
        (release / "Release").write_text(
            f"Origin: Test\nLabel: Debian-Security\nSuite: stable-security\nCodename: trixie-security\n"
            f"Architectures: {architecture}\nComponents: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n"
            f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} {name}\n"
        )

    @contextmanager
    def served(self) -> Iterator[str]:
        class Quiet(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer((GATEWAY, 0), functools.partial(Quiet, directory=str(self.root))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://{GATEWAY}:{server.server_port}"
            server.shutdown()


@dataclass(frozen=True)
class Data:
    """What must not change: the bytes of each image and of each entry."""

    images: list[str]
    entries: dict[str, str]


def same_entries(one: Data, other: Data) -> bool:
    """Return whether their entries are the same; at midnight one of the two goes, and another comes."""
    stayed = one.entries.keys() & other.entries.keys()
    return bool(stayed) and all(one.entries[name] == other.entries[name] for name in stayed)


@dataclass
class Scanner:
    """A console that stores one image after another, each again until it is acknowledged."""

    folder: Path
    stored: int = 0
    #: seconds without an acknowledged image, each time that one was refused
    pauses: list[float] = field(default_factory=list)

    @contextmanager
    def storing(self) -> Iterator[None]:
        stop = threading.Event()

        def store() -> None:
            while not stop.is_set():
                image = synthetic_image(self.folder / "image.dcm", self.stored)
                line = ["storescu", "-to", "5", "-aet", "PRISMA", "-aec", "ORTHANC", ADDRESS, "4042", str(image)]
                refused = 0.0
                while subprocess.run(line, capture_output=True, check=False).returncode:
                    refused = refused or time.monotonic()
                    time.sleep(0.1)
                self.stored += 1
                if refused:
                    self.pauses.append(time.monotonic() - refused)
                time.sleep(0.2)

        scanner = threading.Thread(target=store)
        scanner.start()
        try:
            yield
        finally:
            stop.set()
            scanner.join()


@dataclass
class Site:
    net: machines.Net
    host: machines.Host
    folder: Path
    repository: Repository
    variables: Path

    def play(self, playbook: str, *options: str) -> live.Played:
        extra = ["-i", str(self.folder / "reached.yml"), "-e", f"@{self.variables}"]
        return machines.play(self.net, [self.host], INVENTORY, playbook, *extra, *options)

    def containers(self) -> dict[str, tuple[str, str]]:
        """Return each container's image and its own id."""
        said = self.host.run(
            f"docker inspect --format '{{{{.Name}}}} {{{{.Image}}}} {{{{.Id}}}}' {' '.join(CONTAINERS)}"
        )
        return {name.lstrip("/"): (image, own) for name, image, own in map(str.split, said.splitlines())}

    def bases(self) -> list[str]:
        return self.host.run(f"docker image inspect --format '{{{{.Id}}}}' {' '.join(BASE_IMAGES)}").split()

    def version(self, package: str, container: str) -> str:
        return self.host.run(f"docker exec {container} dpkg-query --show --showformat '${{Version}}' {package}")

    def waiting(self) -> str:
        """Return what verify.yml, the page and the metrics say of the front door's updates: all of them the same."""
        verified = self.play("verify.yml")
        assert verified.status == 0, verified.output
        said = re.search(r"The image of orthanc-front-door on demo: ([^\"]*)", " ".join(verified.output.split()))
        assert said, verified.output
        self.host.run("""sh -c "$(sed -n 's/^.* root //p' /etc/cron.d/dicom-worklist-updates)" """)
        self.host.run("runuser -u dicom-worklist -- /opt/dicom-worklist/cron-run")
        found = self.host.run("cat /var/lib/dicom-worklist-updates/updates.json")
        security = json.loads(found)["containers"]["orthanc-front-door"]["security"]
        page = html.unescape(self.host.run("cat /scratch/data_dicom/page/index.html"))
        assert all(update in said[1] and update in page for update in security)
        return said[1]

    def data(self) -> Data:
        files = self.host.run("cd /scratch/data_dicom/orthanc && find . -path './??/??/*' -type f -exec sha256sum {} +")
        entries = [line.split() for line in self.host.run(f"cd {ENTRIES} && sha256sum *.wl").splitlines()]
        return Data(sorted(files.splitlines()), {name: checksum for checksum, name in entries})

    def calendar(self, sql: str) -> None:
        """Change the calendar, and publish it."""
        self.host.run(f"sqlite3 /var/lib/dicom-worklist/bookings.sqlite '{sql}'")
        self.host.run("runuser -u dicom-worklist -- dicom-worklist sync")

    def changes_nothing(self) -> None:
        again = self.play("site.yml", *UNVERIFIED)
        assert (again.status, again.changed) == (0, 0), again.output


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("update")
    net = machines.Net(folder / "net", "test-update", "198.18.8.0/24")
    repository = Repository(folder / "repository")
    try:
        host = machines.Host(net, "demo", RELEASE, ADDRESS, packages=PACKAGES)
        pools = {"default-address-pools": [{"base": "10.202.0.0/16", "size": 24}]}
        host.put("/etc/docker/daemon.json", json.dumps(pools).encode())
        host.run("systemctl restart docker")
        saved = subprocess.Popen(["docker", "save", *BASE_IMAGES], stdout=subprocess.PIPE)
        load = ["docker", "exec", "--interactive", host.container.name, "docker", "load"]
        subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
        assert saved.wait() == 0
        way = {"ansible_connection": "ssh", "ansible_user": "operator"}
        (folder / "reached.yml").write_text(yaml.safe_dump({"all": {"hosts": {"demo": way}}}))
        (folder / "seed.sql").write_text(SEED)
        with repository.served() as address:
            variables = {
                "site_timezone": "Etc/UTC",
                "orthanc_health_interval": 2,
                "front_door_health_interval": 2,
                "wlmscpfs_health_interval": 2,
                "docker_host_base_image_source": "bootstrap",
                "docker_host_security_mirror": f"[trusted=yes] {address}",
                "worklist_sync_days_ahead": 1,
                "worklist_sync_source_seed": str(folder / "seed.sql"),
                "worklist_sync_source": {
                    "type": "sqlite", "path": "/var/lib/dicom-worklist/bookings.sqlite", "query": QUERY,
                },
            }  # fmt: skip
            (folder / "variables.yml").write_text(yaml.safe_dump(variables))
            deployed = Site(net, host, folder, repository, folder / "variables.yml")
            played = deployed.play("site.yml")
            assert played.status == 0, played.output
            yield deployed
    finally:
        net.remove_all()


@pytest.fixture(autouse=True)
def named(site: Site, record_property: Callable[[str, object], None]) -> None:
    """Name the host in the summary."""
    record_property("host", f"demo ({site.host.distribution})")


def test_while_a_scanner_is_booked_nothing_is_replaced(site: Site) -> None:
    before = site.containers(), site.bases()
    refused = site.play("update.yml")
    said = " ".join(refused.output.split())
    assert refused.status != 0, said
    assert re.search(r"booked now or in the next ten minutes, until \d{4}-\d\d-\d\d 23:59\.", said), said
    assert "worklist_sync_update_when_booked=true" in said
    assert refused.changed == 0, said
    assert (site.containers(), site.bases()) == before


def test_a_site_with_a_bundle_is_told_what_to_do_instead(site: Site) -> None:
    refused = site.play("update.yml", *ANYWAY, "-e", "site_bundle_dir=/srv/bundle")
    assert refused.status != 0
    assert "docs/air-gapped.md" in refused.output
    assert refused.changed == 0, refused.output


def test_a_newer_package_reaches_the_containers_by_one_command(site: Site, tmp_path: Path) -> None:
    """Stores wait for Orthanc once, and nothing is lost."""
    scanner = Scanner(tmp_path)

    def some() -> None:
        assert scanner.stored > 3

    with scanner.storing():
        wait_until(some)
    stored, before, containers, bases = scanner.stored, site.data(), site.containers(), site.bases()
    assert len(before.images) >= stored
    assert before.entries
    version = site.repository.offer(1)
    with scanner.storing():
        updated = site.play("update.yml", *ANYWAY)
    assert updated.status == 0, updated.output
    print(f"without an acknowledged image: {scanner.pauses} s")
    after = site.containers()
    assert all(after[name] != containers[name] for name in CONTAINERS)
    assert not set(site.bases()) & set(bases)
    assert site.version("nginx", "orthanc-front-door") == version
    assert version not in site.waiting()
    assert len(scanner.pauses) == 1
    data = site.data()
    assert set(before.images) <= set(data.images)
    assert len(data.images) - len(before.images) >= scanner.stored - stored
    assert same_entries(data, before)
    site.changes_nothing()
    assert site.containers() == after
    # the base images that were loaded before knew another mirror: only now the images ask this one
    assert site.repository.offer(2) in site.waiting()


def test_a_broken_package_is_rolled_back(site: Site) -> None:
    """The calendar is empty meanwhile: nothing forbids the update."""
    before, containers, bases = site.data(), site.containers(), site.bases()
    version = site.version("nginx", "orthanc-front-door")
    site.repository.offer(3, broken=True)
    site.calendar("DELETE FROM slots")
    broken = site.play("update.yml")
    site.calendar("INSERT INTO slots VALUES (0), (1)")
    said = " ".join(broken.output.split())
    assert broken.status != 0, broken.output
    assert "demo was not updated" in said, said
    after = site.containers()
    assert {name: image for name, (image, _) in after.items()} == {
        name: image for name, (image, _) in containers.items()
    }
    assert site.bases() == bases
    assert site.version("nginx", "orthanc-front-door") == version
    verified = site.play("verify.yml")
    assert verified.status == 0, verified.output
    data = site.data()
    assert data.images == before.images
    assert same_entries(data, before)
    site.changes_nothing()
    assert site.containers() == after
