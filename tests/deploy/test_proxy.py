"""A fresh machine that reaches nothing but an HTTP proxy: one variable deploys and updates it, and is taken away again.

The machine has the inventory of the demo. One of the base images is in a registry beyond the proxy, the other one is
bootstrapped.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import yaml
from docker.models.containers import Container

from support import live, machines
from support.waiting import wait_until

#: The first test waits for a deployment, and for a base image that is bootstrapped.
pytestmark = pytest.mark.timeout(3600)

INVENTORY = live.PROJECT / "inventories/demo"
ADDRESS, PROXY, REGISTRY = "198.18.9.2", "198.18.9.3", "198.18.9.4"
REGISTRY_NAME, PUSHED = "registry.example", "127.0.0.1:15000/library/debian"
VARIABLE = ("-e", f"site_http_proxy=http://{PROXY}:3128")
ANYWAY = ("-e", "worklist_sync_update_when_booked=true")
UNVERIFIED = ("--skip-tags", "verify")
CONTAINERS = ("orthanc", "orthanc-front-door", "wlmscpfs")
DROP_IN = "/etc/systemd/system/docker.service.d/dicom-worklist-proxy.conf"
#: Who asks → what the proxy's log then has. Only apt of the host asks for mmdebstrap, only the bootstrap for dpkg.
ASKED = {
    "apt of the host": r"GET http://\S+/mmdebstrap_\S+\.deb ",
    "pip": r"CONNECT (?!\S*docker)\S+:443 ",
    "the engine": rf"(GET|HEAD) http://{REGISTRY_NAME}:5000/v2/library/debian/manifests/",
    "the bootstrap": r"GET http://\S+/dpkg_\S+\.deb ",
    "apt in an image": r"GET http://\S+/orthanc_\S+\.deb ",
}


@dataclass(frozen=True)
class Site:
    net: machines.Net
    host: machines.Host
    proxy: Container

    def play(self, playbook: str, *options: str) -> live.Played:
        extra = ["-i", str(self.net.folder / "reached.yml"), "-e", f"@{self.net.folder / 'variables.yml'}"]
        return machines.play(self.net, [self.host], INVENTORY, playbook, *extra, *options)

    def asked(self, before: str = "") -> str:
        """Return the proxy's log, without what it was before."""
        text: str = self.proxy.logs().decode()
        return text.removeprefix(before)

    def containers(self) -> dict[str, str]:
        """Return the image of each container."""
        said = self.host.run(f"docker inspect --format '{{{{.Name}}}} {{{{.Image}}}}' {' '.join(CONTAINERS)}")
        return {name.lstrip("/"): image for name, image in map(str.split, said.splitlines())}

    def engine(self) -> str:
        """Return which proxies the engine that runs asks."""
        return self.host.run("docker info --format '{{.HTTPProxy}} {{.HTTPSProxy}}'").strip()

    def files(self) -> list[str]:
        """Return the host's files that name the proxy."""
        places = "/etc /opt /root /usr/local /var/lib/dicom-worklist /var/cache/dicom-worklist /var/spool /scratch"
        return self.host.run(f"grep -rslF {PROXY} {places}", check=False).splitlines()


def who(log: str) -> set[str]:
    """Return who asked the proxy, by its log."""
    return {name for name, line in ASKED.items() if re.search(line, log)}


def beyond(net: machines.Net) -> Container:
    """Start a proxy, and beyond it a registry with one base image; return the proxy."""
    image, _ = net.engine.images.build(path=str(live.PROJECT / "tests/images/proxy"), tag="test-proxy", rm=True)
    labels = {"test-net": net.name}
    registry = net.engine.containers.create(
        image, ["docker-registry", "serve", "/etc/registry.yml"], network=net.name, labels=labels,
        ports={"5000/tcp": tuple(PUSHED.partition("/")[0].split(":"))},
    )  # fmt: skip
    proxy = net.engine.containers.create(image, network=net.name, labels=labels, extra_hosts={REGISTRY_NAME: REGISTRY})
    for container, address in ((registry, REGISTRY), (proxy, PROXY)):
        net.network.disconnect(container)
        net.start(container, address)
    base = net.engine.images.get("debian:trixie-slim")
    base.tag(PUSHED, "trixie-slim")

    def pushed() -> None:
        said = net.engine.images.push(PUSHED, "trixie-slim")
        assert "error" not in said, said

    try:
        wait_until(pushed)
    finally:
        net.engine.images.remove(f"{PUSHED}:trixie-slim", noprune=True)
    return proxy


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    net = machines.Net(tmp_path_factory.mktemp("proxy") / "net", "test-proxy", "198.18.9.0/24")
    try:
        proxy = beyond(net)
        host = machines.Host(net, "demo", 13, ADDRESS)
        host.cut()
        host.run(f"ip route add prohibit {REGISTRY}")
        settings = {
            "default-address-pools": [{"base": "10.203.0.0/16", "size": 24}],
            "registry-mirrors": [f"http://{REGISTRY_NAME}:5000"],
        }
        host.put("/etc/docker/daemon.json", json.dumps(settings).encode())
        way = {"ansible_connection": "ssh", "ansible_user": "operator"}
        (net.folder / "reached.yml").write_text(yaml.safe_dump({"all": {"hosts": {"demo": way}}}))
        (net.folder / "variables.yml").write_text("{}")
        yield Site(net, host, proxy)
    finally:
        net.remove_all()


@pytest.fixture(autouse=True)
def named(site: Site, record_property: Callable[[str, object], None]) -> None:
    """Name the host in the summary."""
    record_property("host", f"demo ({site.host.distribution})")


def test_without_the_variable_nothing_is_deployed_and_the_remedy_is_named(site: Site) -> None:
    played = site.play("site.yml")
    said = " ".join(played.output.split())
    assert played.status != 0
    assert "apt didn't install them" in said, said
    assert "with site_http_proxy if that needs a proxy" in said, said
    assert played.changed == 0
    assert "http" not in site.asked()


def test_one_variable_deploys_the_site(site: Site) -> None:
    preview = site.play("site.yml", *VARIABLE, "--check")
    assert preview.status == 0, preview.output
    assert (site.files(), who(site.asked())) == ([], set())
    played = site.play("site.yml", *VARIABLE)
    assert played.status == 0, played.output
    assert who(site.asked()) == set(ASKED)
    assert site.engine() == f"http://{PROXY}:3128 http://{PROXY}:3128"
    again = site.play("site.yml", *VARIABLE, *UNVERIFIED)
    assert (again.status, again.changed) == (0, 0), again.output


def test_only_the_engine_keeps_it(site: Site) -> None:
    """No image, no container, and no run of the sync knows the proxy."""
    assert site.files() == [DROP_IN]
    shown = site.host.run(
        "docker inspect $(docker ps --all --quiet) $(docker image ls --all --quiet);"
        " for image in $(docker image ls --all --quiet); do docker history --no-trunc $image; done"
    )
    assert CONTAINERS[0] in shown
    assert PROXY not in shown
    assert not re.search("_proxy=", shown, re.IGNORECASE)
    for name in CONTAINERS:
        assert site.host.run(f"docker exec {name} grep -rslF {PROXY} /etc /tmp /root", check=False) == ""
    cron = site.host.run("cat /proc/$(pgrep -o -x cron)/environ /etc/cron.d/* /opt/dicom-worklist/cron-run")
    assert "PATH=" in cron
    assert "proxy" not in cron.lower()


def test_the_variable_updates_the_site(site: Site) -> None:
    before, log = site.containers(), site.asked()
    played = site.play("update.yml", *VARIABLE, *ANYWAY)
    assert played.status == 0, played.output
    after = site.containers()
    assert all(after[name] != before[name] for name in CONTAINERS)
    assert who(site.asked(log)) >= {"the engine", "the bootstrap", "apt in an image"}
    again = site.play("site.yml", *VARIABLE, *UNVERIFIED)
    assert (again.status, again.changed) == (0, 0), again.output


def test_an_emptied_variable_takes_it_away_and_leaves_the_operator_s_own(site: Site) -> None:
    """apt has a proxy of the operator's, and asks it for one more package."""
    site.host.put("/etc/apt/apt.conf.d/80operator", f'Acquire::http::Proxy "http://{PROXY}:3128";\n'.encode())
    log = site.asked()
    more = ("-e", json.dumps({"worklist_sync_packages": ["cron", "logrotate", "python3-venv", "sqlite3", "hello"]}))
    played = site.play("site.yml", *more)
    assert played.status == 0, played.output
    assert "/hello_" in site.asked(log)
    assert site.files() == ["/etc/apt/apt.conf.d/80operator"]
    assert site.engine() == ""
    again = site.play("site.yml", *more, *UNVERIFIED)
    assert (again.status, again.changed) == (0, 0), again.output


def test_the_teardown_takes_it_away(site: Site) -> None:
    given = site.play("site.yml", *VARIABLE, "--tags", "docker_host")
    assert given.status == 0, given.output
    assert DROP_IN in site.files()
    played = site.play("teardown.yml", *VARIABLE)
    assert played.status == 0, played.output
    assert DROP_IN not in site.files()
    assert site.engine() == ""
