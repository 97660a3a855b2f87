"""What asks Debian for updates, with real images: one with a small mirror of its own within it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from support import live, twins
from support.modules import run

ENGINE = docker.from_env()
SCRIPT = live.PROJECT / "roles/container/files/waiting_updates.py"
#: Two packages are installed as version 1; of each the mirror has version 2, of one as a security update.
MIRROR = r"""FROM debian:trixie-slim
RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* && for name in guarded plain; do \
    mkdir -p /made/DEBIAN /repo/$name && cd /repo/$name && for version in 1 2; do \
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' \
    $name $version >/made/DEBIAN/control; dpkg-deb --build /made $version.deb; done; dpkg --install 1.deb && \
    { dpkg-deb --field 2.deb; printf 'Filename: ./2.deb\nSize: %s\nSHA256: %s\n' \
    $(stat -c %s 2.deb) $(sha256sum 2.deb | cut -d ' ' -f 1); } >Packages; \
    echo "deb [trusted=yes] file:/repo/$name ./" >>/etc/apt/sources.list; done; \
    printf 'Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\n' >/repo/guarded/Release; \
    printf 'Origin: Debian\nLabel: Debian\nSuite: stable\n' >/repo/plain/Release
"""
IMAGES = {
    "mirror": MIRROR,
    "up to date": MIRROR + "RUN dpkg --install /repo/*/2.deb\n",
    "testing": MIRROR + "RUN sed -i s/Debian-Security/Debian/ /repo/guarded/Release\n",
    "without a mirror": "FROM debian:trixie-slim\nRUN rm -rf /etc/apt/sources.list.d/* && "
    "echo 'deb http://127.0.0.1:9 trixie main' >/etc/apt/sources.list\n",
    "without apt": "FROM debian:trixie-slim\nRUN rm /usr/bin/apt-get\n",
}


@pytest.fixture
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Container]:
    """A container of one of the images, which sleeps."""
    (tmp_path / "Dockerfile").write_text(IMAGES[request.param])
    image, _ = ENGINE.images.build(path=str(tmp_path), rm=True, forcerm=True)
    labels = {twins.LABEL: str(os.getpid())}
    container = ENGINE.containers.run(image, ["sleep", "120"], detach=True, labels=labels)
    yield container
    container.remove(force=True)
    ENGINE.images.remove(image.id)


def asked(container: Container) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, SCRIPT, container.name], check=True, capture_output=True, text=True, timeout=300
    )
    # of this image only: other tests start containers meanwhile
    ours = ENGINE.containers.list(all=True, filters={"ancestor": container.image.id})
    assert [one.id for one in ours] == [container.id]
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["asked"].endswith("Z")
    found: dict[str, Any] = answer["containers"][container.name]
    return found


@pytest.mark.parametrize("container", ["mirror"], indirect=True)
def test_security_updates_and_others_are_told_apart(container: Container) -> None:
    assert asked(container) == {"security": ["guarded 1 -> 2"], "other": ["plain 1 -> 2"]}
    assert b"1" in container.exec_run(["dpkg-query", "--show", "--showformat", "${Version}", "guarded"]).output


@pytest.mark.parametrize("container", ["testing"], indirect=True)
def test_debian_testing_does_not_say_which_are_for_security(container: Container) -> None:
    assert asked(container) == {"security": None, "other": ["guarded 1 -> 2", "plain 1 -> 2"]}


@pytest.mark.parametrize("container", ["up to date"], indirect=True)
def test_an_image_that_has_them_waits_for_nothing(container: Container) -> None:
    assert asked(container) == {"security": [], "other": []}


@pytest.mark.parametrize(
    ("container", "reason"), [("without a mirror", "127.0.0.1:9"), ("without apt", "no apt")], indirect=["container"]
)
def test_where_it_can_not_be_known_the_reason_is_given(container: Container, reason: str) -> None:
    assert reason in asked(container)["unknown"]


SENTENCES = {
    "mirror": "WARNING: The image of {name} on localhost: these security updates wait: guarded 1 -> 2. Run",
    "testing": "The image of {name} on localhost: 2 updates wait, and Debian does not say which are for security.",
    "up to date": "The image of {name} on localhost: no security update waits.",
    "without apt": "The image of {name} on localhost: which updates of Debian wait for it is not known: the image",
}


@pytest.mark.parametrize(("container", "said"), SENTENCES.items(), indirect=["container"])
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_the_verification_says_it_in_a_sentence(
    container: Container, said: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    task = {"ansible.builtin.include_role": {"name": "container", "tasks_from": "age.yml"}}
    task["vars"] = {"container_aged": container.name}
    *_, shown = run(tmp_path, task, options=options, ANSIBLE_ROLES_PATH=str(live.PROJECT / "roles"))
    assert shown["msg"].strip().startswith(said.format(name=container.name))
