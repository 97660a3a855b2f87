"""Machines for the tests: containers with systemd that Ansible reaches over ssh, and the network between them."""

import os
import subprocess
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import docker
import yaml
from docker.models.containers import Container
from docker.models.networks import Network

from support import inside, live
from support.waiting import wait_until

#: Debian's releases by their number.
RELEASES = {12: "bookworm", 13: "trixie"}
#: The network of documentation (RFC 5737), because it is that of inventories/dccn.
SUBNET = "198.51.100.0/24"
BECOME_PASSWORD = "the-operator's-own"
#: Bits of a capability mask (capabilities(7)) that engines of 2020 don't know.
NEWER_CAPABILITIES = {"PERFMON", "BPF", "CHECKPOINT_RESTORE"}
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
    "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
    "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()


def capabilities() -> list[str]:
    """Return those that this machine has: more it can't give, fewer a Docker engine can't run with."""
    (mask,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line)
    return [
        name for bit, name in enumerate(CAPABILITIES) if int(mask, 16) >> bit & 1 and name not in NEWER_CAPABILITIES
    ]


def put(container: Container, path: str, content: bytes) -> None:
    """Write a file into a container, with the folders above it."""
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        tar.addfile(entry, BytesIO(content))
    assert container.put_archive("/", archive.getvalue())


class Net:
    """A network of machines, with the ssh key of the operator who looks after them."""

    def __init__(self, folder: Path, name: str = "test-hosts", subnet: str = SUBNET) -> None:
        # seconds: a machine with 50,000 images takes minutes to remove
        self.engine, self.folder, self.name = docker.from_env(timeout=600), folder, name
        self.remove_all()
        pool = docker.types.IPAMPool(subnet=subnet, gateway=subnet.replace("0/24", "254"))
        self.network: Network = self.engine.networks.create(name, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        folder.mkdir(parents=True, exist_ok=True)
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def remove_all(self) -> None:
        """Take away every machine and the network; of a run that was killed too."""
        for old in self.engine.containers.list(all=True, filters={"label": f"test-net={self.name}"}):
            old.remove(force=True, v=True)
        for network in self.engine.networks.list(names=[f"^{self.name}$"], greedy=True):
            for other in network.containers:  # a booking database, which this is not to remove
                network.disconnect(other, force=True)
            network.remove()

    def start(self, container: Container, address: str) -> Container:
        """Put a container that was created without a network on this one, and start it."""
        self.network.connect(container, ipv4_address=address)
        container.start()
        return container


class Host:
    """A fresh Debian machine.

    `name` is the inventory's; `hosts` are the names that it can resolve; `packages` are installed beforehand.
    """

    def __init__(
        self,
        net: Net,
        name: str,
        release: int,
        address: str,
        hosts: Mapping[str, str] | None = None,
        *,
        packages: str = "",
    ) -> None:
        self.net, self.name, self.release, self.address = net, name, release, address
        tag = f"test-host:{RELEASES[release]}{'-packages' if packages else ''}"
        net.engine.images.build(
            path=str(live.PROJECT / "tests/images/host"),
            tag=tag,
            buildargs={"base": f"debian:{RELEASES[release]}-slim", "packages": packages},
            rm=True,
        )
        container = net.engine.containers.create(
            tag,
            name=f"{net.name}-{name}",
            hostname=name.split(".", maxsplit=1)[0],
            labels={"test-net": net.name},
            # what is there for systemd where the engine itself runs on an old control-group hierarchy
            command=["/lib/systemd/systemd"]
            + (["SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0"] if release > 12 else []),
            network=net.name,
            cap_add=capabilities(),
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            cgroupns="host",
            volumes={"/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"}},
            tmpfs={"/run": "", "/run/lock": ""},
            extra_hosts=dict(hosts or {}),
        )
        net.network.disconnect(container)
        self.container = net.start(container, address)
        self.put("/home/operator/.ssh/authorized_keys", net.key.with_suffix(".pub").read_bytes())
        # a hash that is quick to check, as sudo does for every task
        line = ["openssl", "passwd", "-5", BECOME_PASSWORD]
        hashed = subprocess.run(line, text=True, capture_output=True, check=True).stdout.strip()
        self.run(f"usermod --password '{hashed}' operator; chown -R operator: /home/operator")
        self.as_this_machine()
        self.wait()

    def as_this_machine(self) -> None:
        """Reach the outer world as this machine does: name servers, certificates, Python's index, apt's settings."""
        servers = Path(
            "/etc/resolv.conf"
        ).read_bytes()  # not the container network's own: inner containers can't ask it
        self.run(f"cat > /etc/resolv.conf <<'END'\n{servers.decode()}\nEND")
        if bundle := os.environ.get("PIP_CERT"):
            self.put("/usr/local/share/ca-certificates/tests.pem", Path(bundle).read_bytes())
            self.put("/etc/pip.conf", b"[global]\ncert = /usr/local/share/ca-certificates/tests.pem\n")
        settings = subprocess.run(["apt-config", "dump"], text=True, capture_output=True, check=True).stdout
        kept = [line for line in settings.splitlines() if line.startswith("Acquire::Check-Valid-Until")]
        self.put("/etc/apt/apt.conf.d/90tests", "\n".join([*kept, ""]).encode())

    def put(self, path: str, content: bytes) -> None:
        """Write a file, with the folders above it."""
        put(self.container, path, content)

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a script as root, and return what it printed."""
        done = inside.run(self.container, "bash", "-c", script)
        assert not check or done.returncode == 0, done.stdout.decode()
        return done.stdout.decode()

    def wait(self) -> None:
        """Wait until the machine is up."""

        def up() -> None:
            assert "running" in self.run("systemctl is-system-running", check=False).split() or "degraded" in self.run(
                "systemctl is-system-running", check=False
            )
            self.run("systemctl is-active ssh")

        wait_until(up, 60)

    @property
    def distribution(self) -> str:
        """Debian and its version, as the machine itself says."""
        return f"Debian {self.run('cat /etc/debian_version').strip()}"

    def reboot(self) -> None:
        """Stop the machine as its power button does, and start it."""
        self.container.stop(timeout=60)
        self.container.start()
        self.as_this_machine()
        self.wait()

    def cut(self) -> None:
        """Take the way out of the network away; the machines in it stay reachable."""
        self.run("ip route del default")


class Client:
    """A machine with DCMTK's clients: a scanner if the site lists its address, a stranger otherwise."""

    def __init__(self, net: Net, address: str) -> None:
        image, _ = net.engine.images.build(path=str(live.PROJECT / "tests/images/client"), tag="test-client", rm=True)
        container = net.engine.containers.create(
            image, labels={"test-net": net.name}, network=net.name, cap_add=["NET_ADMIN"]
        )
        net.network.disconnect(container)
        self.container = net.start(container, address)

    def run(self, *line: str) -> tuple[int, str]:
        """Run a program; return its status and its output."""
        done = inside.run(self.container, *line)
        return done.returncode, done.stdout.decode(errors="replace")

    def put(self, path: str, content: bytes) -> None:
        """Write a file, with the folders above it."""
        put(self.container, path, content)

    def connects(self, address: str, port: int) -> bool:
        """Return whether a TCP connection is accepted within three seconds."""
        return self.run("timeout", "3", "bash", "-c", f"</dev/tcp/{address}/{port}")[0] == 0


def play(
    net: Net, hosts: list[Host], inventory: Path, playbook: str, *options: str, cwd: Path = live.PROJECT
) -> live.Played:
    """Run a playbook on these machines over ssh, as the operator, who may become root with a password."""
    known = net.folder / "known_hosts"
    known.write_text("".join(f"{host.address} {host.run('cat /etc/ssh/ssh_host_ed25519_key.pub')}" for host in hosts))
    password = net.folder / "become-password"
    password.write_text(BECOME_PASSWORD)
    addresses: dict[str, Any] = {host.name: {"ansible_host": host.address} for host in hosts}
    (net.folder / "addresses.yml").write_text(yaml.safe_dump({"all": {"hosts": addresses}}))
    environment = os.environ | {
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_PRIVATE_KEY_FILE": str(net.key),
        "ANSIBLE_BECOME_PASSWORD_FILE": str(password),
        "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={known}",
    }
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", inventory, "-i", net.folder / "addresses.yml"]
    done = subprocess.run(
        [*line, f"playbooks/{playbook}", *options],
        cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return live.Played(done.returncode, done.stdout)
