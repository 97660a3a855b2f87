"""What a container of the site may do: as Docker reports it, and as a burglar in it finds out."""

import grp
import platform
import pwd
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from support import inside, live, networks

V = live.VARIABLES
ENGINE = docker.from_env()
WORKLISTS = ("WLBROKER", "WLSKYRA")
#: All that a container sees of the host: source, place in the container, whether it may write there.
MOUNTS = {
    "orthanc": {
        (V["orthanc_data_dir"], "/srv/orthanc", True),
        (f"{V['orthanc_config_dir']}/orthanc.json", "/etc/orthanc-pacs/orthanc.json", False),
        (f"{V['orthanc_config_dir']}/health.curlrc", "/etc/orthanc-pacs/health.curlrc", False),
    },
    "front_door": {
        (f"{V['front_door_config_dir']}/nginx.conf", "/etc/front-door/nginx.conf", False),
        (f"{V['front_door_config_dir']}/people", "/etc/front-door/people", False),
        (V["front_door_audit_dir"], "/var/log/front-door", True),
        (V["orthanc_page_dir"], "/srv/page", False),
    },
    "wlmscpfs": {
        mount
        for folder in WORKLISTS
        for mount in (
            (f"{V['wlmscpfs_data_dir']}/{folder}", f"/worklists/{folder}", False),
            (f"{V['wlmscpfs_data_dir']}/{folder}/lockfile", f"/worklists/{folder}/lockfile", True),
        )
    },
}
#: What the host publishes of each.
PUBLISHED = {"orthanc": (V["orthanc_dicom_port"], V["orthanc_http_port"]), "wlmscpfs": (V["wlmscpfs_port"],)}
#: What it is called, whose network it is in, whose group it has, and the network that it must not reach.
NAMES = {
    "orthanc": V["orthanc_container_name"],
    "front_door": f"{V['orthanc_container_name']}-front-door",
    "wlmscpfs": V["wlmscpfs_container_name"],
}
HOME = {"orthanc": "orthanc", "front_door": "orthanc", "wlmscpfs": "wlmscpfs"}
OTHER = {"orthanc": "wlmscpfs", "front_door": "wlmscpfs", "wlmscpfs": "orthanc"}


def of(role: str) -> list[Container]:
    """Return the containers in a role's network, under any name."""
    return list(ENGINE.networks.get(V[f"{role}_network"]).containers)


@pytest.fixture(params=[*NAMES])
def role(request: pytest.FixtureRequest, site: live.Site) -> str:
    return str(request.param)


@pytest.fixture
def container(role: str) -> Container:
    """The container of a role; there is no other than these in its network."""
    there = {container.name: container for container in of(HOME[role])}
    assert there.keys() == {name for other, name in NAMES.items() if HOME[other] == HOME[role]}
    return there[NAMES[role]]


def test_docker_gives_it_no_more_than_it_needs(role: str, container: Container) -> None:
    host: dict[str, Any] = container.attrs["HostConfig"]
    account = pwd.getpwnam(V[f"{role}_user"])
    group = grp.getgrnam(V[f"{HOME[role]}_user"])
    assert container.attrs["Config"]["User"] == f"{account.pw_uid}:{group.gr_gid}"
    assert account.pw_uid > 0
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert not [option for option in host["SecurityOpt"] if option.endswith("unconfined")]
    assert host["ReadonlyRootfs"]
    assert not (host["Devices"] or host["DeviceRequests"] or host["GroupAdd"] or host["VolumesFrom"])
    assert host["NetworkMode"] == V[f"{HOME[role]}_network"]
    assert list(container.attrs["NetworkSettings"]["Networks"]) == [V[f"{HOME[role]}_network"]]
    assert host["IpcMode"] == "private"
    assert not (host["PidMode"] or host["UTSMode"] or host["UsernsMode"])  # nothing of the host's
    assert host["Memory"] > 0
    assert host["MemorySwap"] in {host["Memory"], 0, -1}  # 0 and -1: of a kernel that doesn't count swap
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Type"] == "json-file"
    assert {"max-size", "max-file"} <= host["LogConfig"]["Config"].keys()
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    names = {entry.partition("=")[0] for entry in container.attrs["Config"]["Env"]}
    own = {"orthanc": {"TCP_NODELAY"}, "front_door": set(),
           "wlmscpfs": {"TCP_NODELAY", "LD_PRELOAD", "MAX_ASSOCIATIONS"}}  # fmt: skip
    assert names == {"PATH"} | own[role]
    release = int(platform.freedesktop_os_release()["VERSION_ID"])
    prompt = release >= 13 and Path("/proc/sys/net/ipv4/tcp_pingpong_thresh").exists()  # since Linux 6.7
    for_scanners = prompt and role != "front_door"
    assert (host.get("Sysctls") or {}) == ({"net.ipv4.tcp_pingpong_thresh": "255"} if for_scanners else {})
    assert container.attrs["State"]["Health"]["Status"] == "healthy"


def test_it_sees_nothing_of_the_host_but_what_it_needs(role: str, container: Container) -> None:
    mounts = {(mount["Source"], mount["Destination"], mount["RW"]) for mount in container.attrs["Mounts"]}
    assert mounts == MOUNTS[role]
    options = {option for options in container.attrs["HostConfig"]["Tmpfs"].values() for option in options.split(",")}
    assert {"noexec", "nosuid", "nodev"} <= options


def run(container: Container, script: str) -> list[str]:
    """Run a script as the container's own user, and return the lines that it prints."""
    done = inside.run(container, "bash", "-c", script)
    assert done.returncode == 0, done.stdout
    return done.stdout.decode().splitlines()


def test_from_inside_nothing_can_be_written_that_is_not_its_own(role: str, container: Container) -> None:
    places = ["/", "/etc", "/usr/bin", "/var/lib", "/run", "/srv", "/etc/orthanc-pacs", "/tmp"]
    places += [target for _, target, writable in MOUNTS[role] if not writable]
    mine = [target for _, target, writable in MOUNTS[role] if writable]
    written = run(
        container,
        f"""for place in {" ".join(places + mine)}; do
            if [ -d $place ]; then (: >$place/planted) && rm $place/planted && echo $place
            elif [ -e $place ]; then (: >>$place) && echo $place; fi
        done 2>/dev/null; true""",
    )
    assert sorted(written) == sorted(["/tmp", *mine])


def test_from_inside_nobody_becomes_root(container: Container) -> None:
    status = dict(line.split(":\t", 1) for line in run(container, "cat /proc/self/status") if ":\t" in line)
    assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
    asked = "sleep 1 | su root -c id >/dev/null 2>&1 & sleep 0.3; grep -h -E '^(Name|Uid)' /proc/$!/status"
    assert run(container, asked) == ["Name:\tsu", f"Uid:\t{status['Uid']}"]
    # where it isn't forbidden, su is root as soon as it starts
    root = ENGINE.containers.run(
        container.image, ["-c", asked], entrypoint="bash", user="65534", cap_drop=["ALL"], remove=True
    )
    assert root.decode().splitlines() == ["Name:\tsu", "Uid:\t65534\t0\t0\t0"]


@pytest.fixture
def gateways(site: live.Site) -> Iterator[list[str]]:
    """Each bridge's address of the host, where every published port can be reached by a site that publishes on all."""
    addresses = [networks.ipv4(V[f"{role}_network"])["Gateway"] for role in PUBLISHED]
    with ExitStack() as stack:
        for at in ((address, port) for address in addresses for ports in PUBLISHED.values() for port in ports):
            stack.enter_context(socket.create_server(at))
            stack.enter_context(socket.create_connection(at, timeout=5))  # the host itself always may
        yield addresses


def reached(container: Container, targets: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Connect to all of them from inside, at the same time."""
    ask = "( timeout 3 bash -c '</dev/tcp/{0}/{1}' 2>/dev/null && echo {0} {1} ) &\n"
    lines = run(container, "".join(ask.format(*target) for target in targets) + "wait")
    return {(address, int(port)) for address, port in map(str.split, lines)}


def at(role: str) -> set[tuple[str, int]]:
    """Return where the containers of a role listen."""
    return {
        (container.attrs["NetworkSettings"]["Networks"][V[f"{role}_network"]]["IPAddress"], int(port.split("/")[0]))
        for container in of(role)
        for port, bound in container.attrs["NetworkSettings"]["Ports"].items()
        if bound
    }


def test_from_inside_the_other_container_is_out_of_reach(role: str, container: Container, gateways: list[str]) -> None:
    published = {(gateway, port) for gateway in gateways for ports in PUBLISHED.values() for port in ports}
    # its own ports answer: the question is a good one
    assert reached(container, at(HOME[role]) | at(OTHER[role]) | published) == at(HOME[role])
