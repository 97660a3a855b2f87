"""The module `container_image`, with the machine's own Docker engine and images of next to nothing."""

import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from support import networks
from support.modules import run, run_one
from support.plays import Result

ENGINE = docker.from_env()
STATUS = """\
Package: orthanc
Status: install ok installed
Version: 1.13.0+dfsg-2

Package: other
Version: 1:2.0
Description: Version: 9
"""


class Bench:
    """A base image, the folder of an image that is built on it, and what is asked of the module."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, f"test-module-{secrets.token_hex(4)}"
        self.base = f"{self.name}/base:1"
        self.folder = path / "image"
        (self.folder / "files").mkdir(parents=True)
        (self.folder / "files/status").write_text(STATUS)
        self.dockerfile(f"FROM {self.base}\nCOPY files/status /var/lib/dpkg/status\n")
        self.build_base("first")

    def dockerfile(self, text: str) -> None:
        (self.folder / "Dockerfile").write_text(text)

    def build_base(self, content: str) -> None:
        base = self.path / "base"
        base.mkdir(exist_ok=True)
        (base / "content").write_text(content)
        (base / "Dockerfile").write_text("FROM scratch\nCOPY content /\n")
        ENGINE.images.build(path=str(base), tag=self.base, rm=True)

    def tasks(self) -> tuple[Result, Result]:
        context = {"image_context": {"folder": str(self.folder)}, "register": "context", "check_mode": False}
        arguments = {name: f"{{{{ context.{name} }}}}" for name in ("archive", "checksum", "bases")}
        return context, {"container_image": {"repository": f"{self.name}/orthanc", **arguments}}

    def ask(self, *options: str, **arguments: object) -> Result:
        context, built = self.tasks()
        built["container_image"] |= arguments
        return run(self.path, context, built, options=options)[1]

    def built(self) -> set[str]:
        return {tag for image in ENGINE.images.list(f"{self.name}/orthanc") for tag in image.tags}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for tag in (*bench.built(), bench.base):
        ENGINE.images.remove(tag, force=True)


def test_an_image_is_built_once_and_named_after_its_folder_and_its_base(bench: Bench) -> None:
    first, second = bench.ask(), bench.ask()
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["image"] == second["image"]
    assert bench.built() == {first["image"]}  # nothing without labels is left
    (bench.folder / "files/status").write_text(STATUS + "\n")
    changed = bench.ask()
    bench.build_base("second")
    rebased = bench.ask()
    assert len({first["image"], changed["image"], rebased["image"]}) == 3


def test_an_image_that_is_renewed_is_built_without_what_the_engine_has_built_before(bench: Bench) -> None:
    bench.dockerfile("FROM debian:trixie-slim\nRUN cat /proc/sys/kernel/random/uuid > /made\n")

    def made() -> bytes:
        output: bytes = ENGINE.containers.run(bench.ask()["image"], ["cat", "/made"], remove=True)
        return output

    first, before = bench.ask(), made()
    old = ENGINE.images.get(first["image"]).id
    foreseen = bench.ask("--check", renew=True)
    assert (foreseen["changed"], made()) == (True, before)
    renewed = bench.ask(renew=True)
    assert (renewed["changed"], renewed["image"]) == (True, first["image"])
    assert made() != before
    assert not bench.ask()["changed"]
    assert ENGINE.images.get(old).tags == []  # it is there, to go back to
    ENGINE.images.remove(old)


def test_it_names_the_containers_whether_they_run_or_not(bench: Bench) -> None:
    missing = bench.ask()["containers"]
    container = ENGINE.containers.create(bench.base, ["/content"], name=f"{bench.name}-created")
    try:
        there, foreseen = bench.ask()["containers"], bench.ask("--check")["containers"]
    finally:
        container.remove(force=True)
    assert container.name not in missing
    assert container.name in there
    assert container.name in foreseen


def test_an_image_says_what_it_is_made_of(bench: Bench) -> None:
    bench.dockerfile(
        f"FROM {bench.base} AS made\nFROM made\nCOPY files/status /var/lib/dpkg/status\n"
        'LABEL dicom-worklist.packages="orthanc other"\n'
    )
    context, image = run(bench.path, *bench.tasks())
    labels = ENGINE.images.get(image["image"]).labels
    assert labels["org.opencontainers.image.title"] == "orthanc"
    assert labels["org.opencontainers.image.version"] == "1.13.0+dfsg-2"
    assert labels["org.opencontainers.image.base.name"] == bench.base
    assert labels["dicom-worklist.package.other"] == "1:2.0"
    assert labels["dicom-worklist.base.id"] == ENGINE.images.get(bench.base).id
    assert labels["dicom-worklist.source"] == context["checksum"]


def test_a_stage_that_is_labelled_so_is_removed(bench: Bench) -> None:
    bench.dockerfile(
        f"FROM {bench.base} AS made\nLABEL dicom-worklist.stage=orthanc test={bench.name}\nCOPY files/status /made\n"
        f"FROM {bench.base}\nCOPY --from=made /made /made\n"
    )
    assert bench.ask()["changed"]
    assert ENGINE.images.list(all=True, filters={"label": f"test={bench.name}"}) == []


@pytest.mark.parametrize("given", [True, False])
def test_apt_in_a_build_asks_the_proxy_that_is_given_or_that_of_dockers_own_client(bench: Bench, given: bool) -> None:
    """A real proxy, which refuses; the address of the build's network is that of the host there."""
    network = networks.ipv4("bridge")  # a new engine doesn't name the gateway of this one
    gateway = network.get("Gateway") or str(networks.hosts_of(network["Subnet"])[0])
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    # a line of its own, which the engine has not built before
    bench.dockerfile(f"FROM debian:trixie-slim\nRUN apt-get update -o Acquire::Retries=0 || echo {bench.name}\n")
    with ThreadingHTTPServer((gateway, 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://{gateway}:{server.server_port}"
        proxies = {"default": {"httpProxy": "http://127.0.0.1:9" if given else address}}
        (bench.path / "config.json").write_text(json.dumps({"proxies": proxies}))
        context, built = bench.tasks()
        built["container_image"] |= {"proxy": address} if given else {}
        made = run(bench.path, context, built, DOCKER_CONFIG=str(bench.path))[1]
        server.shutdown()
    assert [url for url in asked if url.startswith("http://") and "/dists/trixie/" in url]
    image = ENGINE.images.get(made["image"])
    assert address not in json.dumps([image.attrs, image.history()])


def test_check_mode_predicts_and_builds_nothing(bench: Bench) -> None:
    preview = bench.ask("--check", "--diff")
    assert (preview["changed"], preview["image"], bench.built()) == (True, "", set())
    made = bench.ask()
    assert preview["diff"]["after"] == made["image"] + "\n"
    again = bench.ask("--check")
    assert (again["changed"], again["image"]) == (False, made["image"])


def test_a_step_that_fails_leaves_no_image_and_is_told(bench: Bench) -> None:
    bench.dockerfile(f"FROM {bench.base}\nCOPY nowhere /\n")
    result = bench.ask()
    assert result["failed"]
    assert "can't be built" in result["msg"]
    assert "nowhere" in result["msg"]
    assert bench.built() == set()


def test_a_missing_base_image_is_named_with_the_remedy(bench: Bench) -> None:
    bench.dockerfile("FROM test-module-nowhere:1\n")
    said = bench.ask()["msg"]
    assert all(words in said for words in ("test-module-nowhere:1", "Run the role docker_host first", "orthanc_image"))
    assert bench.ask("--check")["changed"]


def test_a_ready_image_must_be_the_one_of_the_bundle(bench: Bench) -> None:
    there = ENGINE.images.get(bench.base).id
    right = run_one(bench.path, {"container_image": {"image": bench.base, "id": there}})
    wrong = run_one(bench.path, {"container_image": {"image": bench.base, "id": f"sha256:{'0' * 64}"}})
    assert (right["changed"], right["image"]) == (False, bench.base)
    assert (wrong["changed"], wrong["image"]) == (True, "")


def test_no_engine_is_a_reason_to_fail_but_not_in_check_mode(bench: Bench) -> None:
    ask: Result = {"container_image": {"image": bench.base}, "environment": {"DOCKER_HOST": "unix:///nowhere.sock"}}
    assert "No Docker engine answers" in run_one(bench.path, ask)["msg"]
    preview = run_one(bench.path, ask, options=["--check"])
    assert (preview["changed"], preview["image"], preview["engine"]) == (True, "", False)
    assert preview["containers"] == []


def test_an_image_that_nobody_has_is_not_pulled_in_check_mode(bench: Bench) -> None:
    preview = run_one(bench.path, {"container_image": {"image": "127.0.0.1:9/none:1"}}, options=["--check"])
    assert (preview["changed"], preview["image"]) == (True, "")
    with pytest.raises(ImageNotFound):
        ENGINE.images.get("127.0.0.1:9/none:1")
    assert run_one(bench.path, {"container_image": {"image": "127.0.0.1:9/none:1"}})["failed"]
