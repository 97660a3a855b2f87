"""The role firewall, with the kernel's own nftables: a host with a container, its neighbours and its users.

All networks are the test's own, so what is deployed on this machine plays no part.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.modules import run
from support.waiting import wait_until

#: The segment that this host (.1) is on, with an address that the containers may reach; and the containers' network.
SEGMENT, HOST, PEER, STRANGER = "198.51.100.0/24", "198.51.100.1", "198.51.100.2", "198.51.100.3"
SUBNET, GATEWAY, CONTAINER = "203.0.113.0/24", "203.0.113.1", "203.0.113.2"
SERVICE = "test-firewall"
TABLE = "test_firewall_firewall"
#: Takes connections, says that they are open, and keeps each until the client ends it.
LISTENER = """
use IO::Socket::INET;
my ($address, $port) = @ARGV;
my $tcp = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Listen => 128, ReuseAddr => 1) or die $!;
$SIG{CHLD} = 'IGNORE';
while (my $client = $tcp->accept) {
    next if fork;
    $client->send("open\\n");
    <$client>;
    exit;
}
"""
#: Keeps what comes by UDP in a file.
UDP_LISTENER = """
use IO::Socket::INET;
my ($port, $file) = @ARGV;
my $udp = IO::Socket::INET->new(LocalPort => $port, Proto => 'udp') or die $!;
while ($udp->recv(my $text, 99)) { open(my $kept, '>', $file); print $kept $text; close $kept }
"""
#: How Docker publishes ports: one at the segment's address, one for the host alone.
DOCKER = f"""
table ip docker {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        iifname != "inner" ip daddr {HOST} tcp dport 1104 dnat to {CONTAINER}:1234
        iifname != "inner" ip daddr 127.0.0.1 tcp dport 8042 dnat to {CONTAINER}:8042
    }}
    chain output {{
        type nat hook output priority -100;
        ip daddr {HOST} tcp dport 1104 dnat to {CONTAINER}:1234
    }}
}}
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


class Machine:
    """A network of its own, kept by a process that only waits."""

    address = "127.0.0.1"

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        line = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.within = ["nsenter", f"--target={self.process.pid}", "--net"]

    def run(self, script: str, *, input: str | None = None) -> str:
        done = subprocess.run(
            [*self.within, "sh", "-ec", script], input=input, text=True, stdout=subprocess.PIPE, check=True
        )
        return done.stdout

    def connects(self, address: str, port: int, user: str = "root") -> bool:
        """Return whether the listener at an address says that a connection is open."""
        script = f"exec 3<>/dev/tcp/{address}/{port} && read -r -t 3 word <&3 && [ $word = open ]"
        line = ["setpriv", f"--reuid={user}", "--clear-groups", "timeout", "4", "bash", "-c", script]
        return subprocess.run([*self.within, *line], capture_output=True, check=False).returncode == 0

    def start(self, program: str, *arguments: object) -> subprocess.Popen[str]:
        line = [*self.within, "perl", "-e", program, *map(str, arguments)]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process

    def listen(self, port: int, address: str = "0.0.0.0") -> None:
        self.start(LISTENER, address, port)
        wait_until(lambda: check(self.connects(self.address, port)))

    def hold(self, address: str, port: int, count: int) -> int:
        """Open this many connections and stay silent; return how many are open."""
        process = self.start(HOLDER, address, port, count)
        assert process.stdout is not None
        return int(process.stdout.readline())


class Neighbour(Machine):
    """A machine on one of the host's bridges."""

    def __init__(self, stack: ExitStack, host: Machine, bridge: str, address: str, gateway: str) -> None:
        super().__init__(stack)
        self.address = address
        name = f"to{address.replace('.', '')}"
        host.run(
            f"ip link add {name} type veth peer name eth0 netns {self.process.pid};"
            f" ip link set {name} master {bridge} up"
        )
        self.run(f"ip address add {address}/24 dev eth0; ip link set eth0 up; ip route add default via {gateway}")

    def route_loopback(self) -> None:
        """Send what is for 127.0.0.1 to the host."""
        self.run(
            "sysctl -q net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.all.rp_filter=0;"
            f" ip address delete 127.0.0.1/8 dev lo; ip route add 127.0.0.1/32 via {HOST}"
        )


def check(true: bool) -> None:
    assert true


class Site:
    """A host with a container whose ports are published as Docker publishes them, neighbours, and the firewall."""

    port, own_port = 1104, 8042

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.host = folder, Machine(stack)
        for bridge, address in (("segment", HOST), ("inner", GATEWAY)):
            self.host.run(
                f"ip link add {bridge} type bridge; ip address add {address}/24 dev {bridge}; ip link set {bridge} up"
            )
        self.host.run("sysctl -q net.ipv4.ip_forward=1; /usr/sbin/nft --file -", input=DOCKER)
        self.peer = Neighbour(stack, self.host, "segment", PEER, HOST)
        self.stranger = Neighbour(stack, self.host, "segment", STRANGER, HOST)
        self.container = Neighbour(stack, self.host, "inner", CONTAINER, GATEWAY)
        for port in (1234, 8042):
            self.container.listen(port)
        self.host.listen(self.own_port, "127.0.0.1")  # in place of Docker's proxy

    def open(self) -> None:
        """Take the rules away: what a test then shows is possible."""
        self.host.run(f"/usr/sbin/nft delete table inet {TABLE} 2>/dev/null || true")

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
            "firewall_subnets": [SUBNET],
            "firewall_peers": [{"address": PEER}],
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
        within = [*self.host.within, "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run; exec "$@"', "sh"]
        path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        results = run(self.folder, task, within=within, PATH=path)
        return [result["msg"] for result in results if result.get("failed")]

    def load(self, **changes: object) -> None:
        assert self.play("rules.yml", **changes) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("firewall"), stack)


@pytest.fixture
def site(whole: Site) -> Site:
    """The site without its rules."""
    whole.open()
    return whole


def test_a_neighbour_that_routes_the_loopback_here_reaches_no_port(site: Site) -> None:
    """What Docker publishes at 127.0.0.1 is for the host alone (moby, issues 41872 and 45610)."""
    site.stranger.route_loopback()
    assert site.stranger.connects("127.0.0.1", site.own_port)  # else this would prove nothing
    site.load()
    assert not site.stranger.connects("127.0.0.1", site.own_port)
    assert site.stranger.connects(HOST, site.port)
    assert site.host.connects("127.0.0.1", site.own_port)


def test_a_container_opens_connections_to_its_peers_only(site: Site) -> None:
    for neighbour in (site.peer, site.stranger):
        neighbour.listen(104)
    assert [site.container.connects(address, 104) for address in (PEER, STRANGER)] == [True, True]
    site.load()
    assert [site.container.connects(address, 104) for address in (PEER, STRANGER)] == [True, False]
    assert site.stranger.connects(HOST, site.port)  # who asks is answered
    site.load(firewall_peers=[])
    assert not site.container.connects(PEER, 104)
    site.peer.listen(4006)
    site.load(firewall_peers=[{"address": PEER, "port": 104}])
    reached = [(PEER, 104), (PEER, 4006), (STRANGER, 104)]
    assert [site.container.connects(*place) for place in reached] == [True, False, False]
    assert site.container.connects(CONTAINER, 8042)


def test_a_container_reaches_no_port_of_its_host_by_tcp_or_udp(site: Site) -> None:
    kept = site.folder / "by-udp"
    site.host.start(UDP_LISTENER, 1053, kept)
    site.host.listen(1105)

    def reached() -> list[bool]:
        kept.unlink(missing_ok=True)
        for _ in range(10):
            site.container.run(f"bash -c 'echo asked >/dev/udp/{HOST}/1053' 2>/dev/null || true")
        return [kept.exists(), site.container.connects(HOST, 1105)]

    wait_until(lambda: check(reached() == [True, True]))
    site.load(firewall_peers=[{"address": SEGMENT}])  # the host is not a peer, even in a peer's network
    assert reached() == [False, False]


def test_one_address_leaves_places_for_another(site: Site) -> None:
    site.load()
    assert site.stranger.hold(HOST, site.port, 100) == 20
    assert not site.stranger.connects(HOST, site.port)
    assert site.peer.hold(HOST, site.port, 20) == 20
    assert site.host.connects(HOST, site.port)  # the host itself


def test_a_place_is_free_again_when_a_connection_ends(site: Site) -> None:
    site.load()
    for _ in range(50):
        assert site.peer.connects(HOST, site.port)


def test_of_the_users_of_this_host_only_those_connect_that_may(site: Site) -> None:
    def reached(user: str) -> list[bool]:
        places = ((HOST, site.port), (CONTAINER, 1234), ("127.0.0.1", site.own_port))
        return [site.host.connects(*place, user) for place in places]

    everywhere, web_only = [True, True, True], [False, False, True]
    assert [reached(user) for user in ("games", "man", "root")] == [everywhere] * 3
    site.load()
    assert [reached(user) for user in ("games", "man", "root")] == [web_only, everywhere, everywhere]


def test_a_user_that_the_host_has_not_is_refused(site: Site) -> None:
    failed = site.play("rules.yml", firewall_users=["nosuchuser"])
    assert "has no user nosuchuser" in failed[0]
    assert "site_local_users" in failed[0]


def test_the_verification_sees_each_rule_that_is_missing(site: Site) -> None:
    site.load()
    assert site.play("verify.yml") == []
    assert site.stranger.connects(HOST, site.port)  # addresses that were counted don't count as a difference
    assert site.play("verify.yml") == []
    listed = site.host.run(f"/usr/sbin/nft --handle list table inet {TABLE}")
    rule = next(line for line in listed.splitlines() if "ip daddr 127.0.0.0/8" in line).split("handle ")[1]
    site.host.run(f"/usr/sbin/nft delete rule inet {TABLE} connections handle {rule}")
    (failed,) = site.play("verify.yml")
    assert "is not the one that site.yml loaded" in failed
