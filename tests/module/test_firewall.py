"""The role firewall, with the kernel's own nftables: a container of Docker's, its neighbours, and this host's users.

The networks are the test's own. The rules name nothing but them, and the loopback for packets from elsewhere.
"""

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from support import networks, twins
from support.modules import run
from support.waiting import wait_until

ENGINE = docker.from_env()
#: Where the neighbours are, beside this host (.1), and an address that the containers may reach.
SEGMENT, HOST, PEER, STRANGER = "198.51.100.0/24", "198.51.100.1", "198.51.100.2", "198.51.100.3"
SERVICE = "test-firewall"
TABLE = "test_firewall_firewall"
#: Takes connections, says that they are open, and keeps each until the client ends it.
LISTENER = """
use IO::Socket::INET;
my ($port) = @ARGV;
my $tcp = IO::Socket::INET->new(LocalPort => $port, Listen => 128, ReuseAddr => 1) or die $!;
$SIG{CHLD} = 'IGNORE';
while (my $client = $tcp->accept) {
    next if fork;
    $client->send("open\\n");
    <$client>;
    exit;
}
"""
#: Opens connections one after another, says how many are answered, and keeps them until its input ends.
HOLDER = """
use IO::Socket::INET;
my ($host, $port, $count) = @ARGV;
my @open;
for (1..$count) {
    my $one = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 1) or last;
    push @open, $one;
}
$| = 1;
print scalar(@open), "\\n";
<STDIN>;
"""


class Neighbour:
    """A machine on this host's segment: a network of its own, kept by a process that only waits."""

    def __init__(self, address: str, name: str, bridge: str, stack: ExitStack) -> None:
        self.stack, self.address = stack, address
        self.process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo ready && exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.within = ["nsenter", f"--target={self.process.pid}", "--net"]
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(self.process.pid))
        ip("link", "set", name, "master", bridge, "up")
        for line in (
            f"link set lo up; address add {address}/24 dev eth0; link set eth0 up; route add default via {HOST}"
        ).split("; "):
            subprocess.run([*self.within, "ip", *line.split()], check=True)

    def connects(self, address: str, port: int) -> bool:
        """Return whether something answers there."""
        return answers(self.within, address, port)

    def route_loopback(self) -> None:
        """Send what is for 127.0.0.1 to the host."""
        script = (
            "sysctl -q net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.rp_filter=0"
            f" && ip address delete 127.0.0.1/8 dev lo && ip route add 127.0.0.1/32 via {HOST}"
        )
        subprocess.run([*self.within, "sh", "-c", script], check=True)

    def hold(self, address: str, port: int, count: int) -> int:
        """Open this many connections and stay silent; return how many are open."""
        line = [*self.within, "perl", "-e", HOLDER, address, str(port), str(count)]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def listen(self, port: int) -> None:
        """Listen at a port of this machine's."""
        process = subprocess.Popen([*self.within, "perl", "-e", LISTENER, str(port)])
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        wait_until(lambda: check(self.connects(self.address, port)))


def ip(*line: str) -> None:
    subprocess.run(["ip", *line], check=True)


def check(true: bool) -> None:
    assert true


def answers(within: list[str], address: str, port: int) -> bool:
    """Return whether the listener at an address says that a connection is open."""
    script = f"exec 3<>/dev/tcp/{address}/{port} && read -r -t 3 word <&3 && [ $word = open ]"
    done = subprocess.run([*within, "timeout", "4", "bash", "-c", script], capture_output=True, check=False)
    return done.returncode == 0


class Site:
    """A container whose ports Docker publishes, neighbours on this host's segment, and the firewall."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.bridge = "fwtest0"
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        ip("link", "add", self.bridge, "type", "bridge")
        stack.callback(ip, "link", "delete", self.bridge)
        ip("address", "add", f"{HOST}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        self.peer = Neighbour(PEER, "fwtest1", self.bridge, stack)
        self.stranger = Neighbour(STRANGER, "fwtest2", self.bridge, stack)
        self.network = ENGINE.networks.create(SERVICE)
        stack.callback(self.network.remove)
        self.subnet = networks.ipv4(self.network.id)["Subnet"]
        self.gateway = networks.ipv4(self.network.id)["Gateway"]
        self.port, self.own_port = twins.free_port(), twins.free_port()
        self.container = self.run_container({"1234/tcp": (HOST, self.port), "8042/tcp": ("127.0.0.1", self.own_port)})
        wait_until(lambda: check(answers([], "127.0.0.1", self.own_port)))
        wait_until(lambda: check(answers([], HOST, self.port)))

    def run_container(self, ports: dict[str, tuple[str, int]]) -> Container:
        listener = self.folder / "listener.pl"
        listener.write_text(LISTENER)
        container = ENGINE.containers.run(
            "debian:trixie-slim", ["sh", "-c", "perl /listener 1234 & perl /listener 8042"], detach=True,
            network=self.network.name, ports=ports, volumes={str(listener): {"bind": "/listener", "mode": "ro"}},
            labels={twins.LABEL: str(os.getpid())}, init=True,
        )  # fmt: skip
        self.stack.callback(container.remove, force=True, v=True)
        return container

    @property
    def address(self) -> str:
        """The container's own address."""
        return networks.address(self.container)

    def play(self, tasks_from: str, **changes: object) -> list[str]:
        """Run an entry point of the role; return what its tasks failed with."""
        ports = [
            {"port": self.port, "address": HOST, "addresses": changes.pop("addresses", [PEER, STRANGER]),
             "connections": 20, "private": True},
            {"port": self.own_port, "address": "127.0.0.1", "addresses": []},
        ]  # fmt: skip
        variables = {
            "firewall_dir": str(self.folder / "firewall"),
            "firewall_service": SERVICE,
            "firewall_ports": ports,
            "firewall_subnets": [self.subnet],
            "firewall_peers": [PEER],
            "firewall_users": ["man"],
            "firewall_enabled": True,
            # the host's systemd keeps nothing of this
            "__firewall_unit_files": {},
            **changes,
        }
        task = {
            "ansible.builtin.include_role": {
                "name": "firewall",
                "tasks_from": tasks_from,
                "apply": {"ignore_errors": True},
            },
            "vars": variables,
        }
        within = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/systemd 2>/dev/null; exec "$@"', "sh"]
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        results = run(self.folder, task, within=within, PATH=path)
        return [result["msg"] for result in results if result.get("failed")]

    def load(self, **changes: object) -> None:
        self.stack.callback(
            subprocess.run, ["/usr/sbin/nft", "delete", "table", "inet", TABLE], check=False, capture_output=True
        )
        assert self.play("rules.yml", **changes) == []

    def from_inside(self, address: str, port: int) -> bool:
        """Return whether the container reaches a listener."""
        script = f"exec 3<>/dev/tcp/{address}/{port} && read -r -t 3 word <&3 && [ $word = open ]"
        return bool(self.container.exec_run(["timeout", "4", "bash", "-c", script])[0] == 0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("firewall"), stack)


@pytest.fixture
def open_site(site: Site) -> Site:
    """The site without its rules: what a test then shows is possible."""
    subprocess.run(["/usr/sbin/nft", "delete", "table", "inet", TABLE], check=False, capture_output=True)
    return site


def test_a_neighbour_that_routes_the_loopback_here_reaches_no_port(open_site: Site) -> None:
    """What Docker publishes at 127.0.0.1 is for the host alone (moby, issues 41872 and 45610)."""
    open_site.stranger.route_loopback()
    assert open_site.stranger.connects("127.0.0.1", open_site.own_port)  # else this would prove nothing
    open_site.load()
    assert not open_site.stranger.connects("127.0.0.1", open_site.own_port)
    assert open_site.stranger.connects(HOST, open_site.port)
    assert answers([], "127.0.0.1", open_site.own_port)


def test_a_container_opens_connections_to_its_peers_only(open_site: Site) -> None:
    for neighbour in (open_site.peer, open_site.stranger):
        neighbour.listen(104)
    assert [open_site.from_inside(address, 104) for address in (PEER, STRANGER)] == [True, True]
    open_site.load()
    assert [open_site.from_inside(address, 104) for address in (PEER, STRANGER)] == [True, False]
    assert open_site.stranger.connects(HOST, open_site.port)  # who asks is answered
    open_site.load(firewall_peers=[])
    assert not open_site.from_inside(PEER, 104)
    assert open_site.from_inside(open_site.address, 8042)


def test_a_container_reaches_no_port_of_its_host_by_tcp_or_udp(open_site: Site) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server((HOST, 0)) as tcp:
        udp.bind((HOST, 0))
        send = f"echo asked >/dev/udp/{HOST}/{udp.getsockname()[1]}; true"
        connect = ["timeout", "2", "bash", "-c", f"</dev/tcp/{HOST}/{tcp.getsockname()[1]}"]

        def reached() -> list[bool]:
            open_site.container.exec_run(["bash", "-c", send])
            by_udp = bool(select.select([udp], [], [], 1)[0])
            if by_udp:
                udp.recv(99)
            return [by_udp, open_site.container.exec_run(connect)[0] == 0]

        assert reached() == [True, True]
        open_site.load(firewall_peers=[SEGMENT])  # the host is not a peer, even in a peer's network
        assert reached() == [False, False]


def test_one_address_leaves_places_for_another(open_site: Site) -> None:
    open_site.load()
    assert open_site.stranger.hold(HOST, open_site.port, 100) == 20
    assert not open_site.stranger.connects(HOST, open_site.port)
    assert open_site.peer.hold(HOST, open_site.port, 20) == 20
    assert answers([], HOST, open_site.port)  # the host itself


def test_a_place_is_free_again_when_a_connection_ends(open_site: Site) -> None:
    open_site.load()
    for _ in range(50):
        assert open_site.peer.connects(HOST, open_site.port)


def test_of_the_users_of_this_host_only_those_connect_that_may(open_site: Site) -> None:
    def reached(user: str) -> list[bool]:
        within = ["setpriv", f"--reuid={user}", "--clear-groups"]
        places = ((HOST, open_site.port), (open_site.address, 1234), ("127.0.0.1", open_site.own_port))
        return [answers(within, *place) for place in places]

    everywhere, web_only = [True, True, True], [False, False, True]
    assert [reached(user) for user in ("games", "man", "root")] == [everywhere] * 3
    open_site.load()
    assert [reached(user) for user in ("games", "man", "root")] == [web_only, everywhere, everywhere]


def test_a_user_that_the_host_has_not_is_refused(open_site: Site) -> None:
    failed = open_site.play("rules.yml", firewall_users=["nosuchuser"])
    assert "has no user nosuchuser" in failed[0]
    assert "site_local_users" in failed[0]


def test_the_verification_sees_each_rule_that_is_missing(open_site: Site) -> None:
    open_site.load()
    assert open_site.play("verify.yml") == []
    assert open_site.stranger.connects(HOST, open_site.port)  # addresses that were counted don't count as a difference
    assert open_site.play("verify.yml") == []
    listed = subprocess.run(
        ["/usr/sbin/nft", "--handle", "list", "table", "inet", TABLE], text=True, capture_output=True, check=True
    ).stdout
    rule = next(line for line in listed.splitlines() if "ip daddr 127.0.0.0/8" in line).split("handle ")[1]
    subprocess.run(["/usr/sbin/nft", "delete", "rule", "inet", TABLE, "connections", "handle", rule], check=True)
    (failed,) = open_site.play("verify.yml")
    assert "is not the one that site.yml loaded" in failed
