"""A fresh machine with no route out, deployed from what "make bundle" made on this one."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
import yaml

from support import live, machines

ADDRESS = "198.18.7.2"
RELEASE = 12
#: Not the operator's own in dist/bundle.
BUNDLE = live.PROJECT / "dist/test-bundle"
#: What README says is installed beforehand where no mirror answers (docker-cli is Debian 13's), and the demo's sqlite3.
PACKAGES = "docker.io apparmor ca-certificates nftables python3-requests cron logrotate python3-venv sqlite3".split()
INVENTORY = live.PROJECT / "inventories/demo"


@dataclass
class Offline:
    net: machines.Net
    host: machines.Host
    reached: Path

    def play(self, playbook: str, *options: str, bundle: Path = BUNDLE) -> live.Played:
        extra: list[str] = ["-i", str(self.reached), "-e", f"site_bundle_dir={bundle}"]
        return machines.play(self.net, [self.host], INVENTORY, playbook, *extra, *options)


@pytest.fixture(scope="module")
def bundle() -> list[live.Played]:
    """The bundle, made where another checkout's is, and once more."""
    wheels = BUNDLE / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    (wheels / "manifest.yml").write_text("source: of another checkout\n")
    played = [live.play("bundle.yml", "-e", f"bundle_dir={BUNDLE}") for _ in range(2)]
    assert played[0].status == 0, played[0].output
    return played


@pytest.fixture(scope="module")
def offline(bundle: list[live.Played], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    folder = tmp_path_factory.mktemp("offline")
    net = machines.Net(folder, "test-offline", "198.18.7.0/24")
    try:
        host = machines.Host(net, "demo", RELEASE, ADDRESS)
        host.run(f"apt-get update -q && apt-get install -qy --no-install-recommends {' '.join(PACKAGES)}")
        host.cut()
        # nothing of the demo's inventory is overridden but that it isn't this machine
        reached = folder / "reached.yml"
        way = {"ansible_connection": "ssh", "ansible_user": "operator"}
        reached.write_text(yaml.safe_dump({"all": {"hosts": {"demo": way}}}))
        yield Offline(net, host, reached)
    finally:
        net.remove_all()


@pytest.fixture(autouse=True)
def named(offline: Offline, record_property: Callable[[str, object], None]) -> None:
    """Name the host in the summary."""
    record_property("host", f"demo ({offline.host.distribution}), no route out")


def test_a_bundle_is_made_once(bundle: list[live.Played]) -> None:
    assert (bundle[1].status, bundle[1].changed) == (0, 0), bundle[1].output


def test_an_image_says_what_it_is_made_of(bundle: list[live.Played]) -> None:
    images = yaml.safe_load((BUNDLE / "images/manifest.yml").read_text())["images"]
    engine = docker.from_env()
    assert images.keys() >= {"orthanc", "wlmscpfs"}
    for name, package in (("orthanc", "orthanc"), ("wlmscpfs", "dcmtk")):
        labels = engine.images.get(images[name]["image"]).labels
        line = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "dpkg-query", images[name]["image"]]
        asked = subprocess.run([*line, "-W", "-f", "${Version}", package], text=True, capture_output=True, check=True)
        version = asked.stdout
        assert labels[f"dicom-worklist.package.{package}"] == labels["org.opencontainers.image.version"] == version
        base = labels["org.opencontainers.image.base.name"]
        assert labels["dicom-worklist.base.id"] == engine.images.get(base).id


def no_way_out(host: machines.Host) -> None:
    """A connection to outside fails at once, and neither apt, pip nor the engine gets anything."""
    assert "unreachable" in host.run("</dev/tcp/203.0.113.1/443", check=False)
    for line in (
        "apt-get download --quiet sl",
        "python3 -m venv /tmp/venv && /tmp/venv/bin/pip download --retries 0 --no-deps --dest /tmp/venv pyyaml",
        "docker pull debian:trixie-slim",
    ):
        assert host.run(f"timeout 60 bash -c '{line}' >&2 || echo failed", check=False).endswith("failed\n"), line


def test_the_host_has_no_way_out(offline: Offline) -> None:
    no_way_out(offline.host)


def test_a_bundle_that_was_cut_short_or_is_of_another_checkout_is_refused(offline: Offline, tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(BUNDLE, other, copy_function=os.link)
    manifest = other / "images/manifest.yml"
    text = manifest.read_text()
    manifest.unlink()
    manifest.write_text(text.replace("sha256: ", "sha256: 0"))
    played = offline.play("site.yml", "--check", bundle=other)
    assert played.status != 0
    assert "was changed or cut short on its way" in " ".join(played.output.split()), played.output
    manifest.write_text(text.replace("source: ", "source: 0"))
    played = offline.play("site.yml", "--check", bundle=other)
    assert played.status != 0
    assert 'Run "make bundle" again' in " ".join(played.output.replace('\\"', '"').split()), played.output
    manifest.write_text(text)
    lost = min((other / "wheels").glob("3.11/*.whl"))
    lost.unlink()
    played = offline.play("site.yml", "--check", "--tags", "worklist_sync", bundle=other)
    assert played.status != 0
    assert f"that the manifest describes: 3.11/{lost.name}." in " ".join(played.output.split()), played.output


def test_a_host_without_a_way_out_is_previewed_deployed_and_verified(offline: Offline) -> None:
    preview = offline.play("site.yml", "--check", "--diff")
    assert preview.status == 0, preview.output
    assert "dicom-worklist" not in offline.host.run("docker images 2>/dev/null", check=False)
    played = offline.play("site.yml")
    assert played.status == 0, played.output
    loaded = offline.host.run("docker images --no-trunc --quiet").split()
    images = yaml.safe_load((BUNDLE / "images/manifest.yml").read_text())["images"]
    assert sorted(set(loaded)) == sorted(image["id"] for image in images.values())


def test_a_second_run_changes_nothing(offline: Offline) -> None:
    played = offline.play("site.yml", "--skip-tags", "verify")
    assert (played.status, played.changed) == (0, 0), played.output


def test_a_package_that_is_missing_is_named_with_the_remedy(offline: Offline) -> None:
    wanted = json.dumps({"worklist_sync_packages": ["cron", "tree"]})
    played = offline.play("site.yml", "--tags", "worklist_sync", "-e", wanted)
    assert played.status != 0
    assert "apt-get install --no-install-recommends tree" in " ".join(played.output.split()), played.output


@pytest.mark.parametrize(
    ("role", "minimum"),
    [("orthanc", {"orthanc_minimum_version": "99"}), ("wlmscpfs", {"wlmscpfs_fixed_packages": ["3.6.9-99"]})],
)
def test_a_version_with_known_holes_needs_words_that_name_it(
    offline: Offline, role: str, minimum: dict[str, object]
) -> None:
    images = yaml.safe_load((BUNDLE / "images/manifest.yml").read_text())["images"]
    version = images[role]["labels"]["org.opencontainers.image.version"]
    if role == "orthanc":  # says its upstream version only
        version = version.split("+")[0]

    def verified(words: str) -> live.Played:
        variables = minimum | {f"{role}_accept_known_holes": words}
        return offline.play("verify.yml", "--tags", role, "-e", json.dumps(variables))

    for words in ("", version, "true", f"version {version}9 accepted by Jane Doe"):
        refused = verified(words)
        assert refused.status != 0, words
        assert f"{role}_accept_known_holes" in refused.output
    accepted = verified(f"version {version}: accepted until 2027-01 by Jane Doe")
    assert accepted.status == 0, accepted.output
    assert "accepted until 2027-01 by Jane Doe" in " ".join(accepted.output.split())
    assert "WARNING" in accepted.output


def test_make_names_the_bundle() -> None:
    said = subprocess.run(["make", "help"], cwd=live.PROJECT, text=True, capture_output=True, check=True).stdout
    assert "make bundle" in said
