"""Addresses in Docker's networks, and a query from a neighbour in one."""

import ipaddress
import itertools

import docker
from docker.models.containers import Container

from support import live


def address(container: Container) -> str:
    """Return a container's own address: where a scanner's packets go, without Docker's proxy for loopback."""
    container.reload()
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def ipv4(network: str) -> dict[str, str]:
    """Return Subnet and Gateway of a Docker network; it may also have those of IPv6, in any order."""
    networks: list[dict[str, str]] = docker.from_env().networks.get(network).attrs["IPAM"]["Config"]
    return next(one for one in networks if ":" not in one["Subnet"])


def hosts_of(subnet: str) -> list[ipaddress.IPv4Address]:
    """Return the first addresses that a container may get in a Docker network."""
    return list(itertools.islice(ipaddress.IPv4Network(subnet).hosts(), 30))


def neighbour_is_answered(network: str) -> bool:
    """Ask the broker from another container in its network."""
    engine = docker.from_env()
    broker = engine.containers.get(live.VARIABLES["wlmscpfs_container_name"])
    address = broker.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    container = engine.containers.run(
        broker.image, ["echoscu", "-to", "5", "-aec", "WLBROKER", address, "1234"], detach=True, network=network,
        entrypoint="",
    )  # fmt: skip
    try:
        return bool(container.wait(timeout=60)["StatusCode"] == 0)
    finally:
        container.remove(force=True)
