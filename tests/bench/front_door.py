"""What the front door costs, as people use it: a page in a browser, an archive, images over DICOMweb.

Both are asked at their containers' own addresses, so that nothing else is between. The slices are also fetched over a
link of 1 Gbit/s, as a scanner's or an office's is; on this machine client, front door and Orthanc share the processors.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from playwright.sync_api import Browser, BrowserContext

from bench.measure import Row, pairs
from support import browser, clients, live, twins
from support.images import synthetic_image

SLICES = 200
ENGINE = docker.from_env()
LINK = "tbf rate 1gbit burst 128kb latency 20ms".split()


@dataclass(frozen=True)
class Server:
    """Where somebody asks, and as whom."""

    url: str
    login: tuple[str, str]


def rows(folder: Path) -> Iterator[Row]:
    """Send a series, and fetch it both ways; the test site is deployed."""
    site, config = live.Site(), Path(live.VARIABLES["orthanc_config_dir"])
    name = live.VARIABLES["orthanc_container_name"]
    own = (config / "front-door.password").read_text().strip()
    door = Server(f"http://{_address(f'{name}-front-door')}:8080", site.login)
    orthanc = Server(f"http://{_address(name)}:8042", ("front-door", own))
    images = [synthetic_image(folder / f"{number}.dcm", number, 256) for number in range(SLICES)]
    for image in images:
        assert clients.storescu("PRISMA", image) == 0
    study = site.orthanc("/studies").json()[0]
    slices = [
        "/dicom-web/studies/{}/series/{}/instances/{}/frames/1".format(
            *(one[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018"))
        )
        for one in site.orthanc("/dicom-web/instances?limit=1000").json()
    ]

    def row(what: str, ask: Callable[[Server], float]) -> Row:
        ours, stock, ratio = pairs(f"front door: {what}", lambda: ask(door), lambda: ask(orthanc))
        return Row(f"{what}, through the front door", "Orthanc itself", f"{ours:.2f} s", f"{stock:.2f} s", ratio)

    with ExitStack() as stack:
        chromium = stack.enter_context(browser.chromium())
        page = f"/app/explorer.html#study?uuid={study}"
        opened = {one: _visitor(stack, chromium, one.login) for one in (door, orthanc)}
        for one, context in opened.items():
            _opens(context, one.url + page)  # a browser keeps what it may
        yield row("Orthanc's page of a study in Chromium", lambda one: _opens(opened[one], one.url + page))
        yield row(f"the archive of {SLICES} images", lambda one: _fetches(one, [f"/studies/{study}/archive"]))
        what = f"{len(slices)} images over DICOMweb"
        yield row(f"{what}, one at a time", lambda one: _fetches(one, slices))
        yield row(f"{what}, six at a time", lambda one: _fetches(one, slices, 6))
        there = stack.enter_context(_behind_a_link())
        yield row(f"{what}, six at a time at 1 Gbit/s", lambda one: _fetches(one, slices, 6, there))
    site.orthanc(f"/studies/{study}", method="DELETE")


def _address(container: str) -> str:
    networks = ENGINE.containers.get(container).attrs["NetworkSettings"]["Networks"]
    return str(networks[live.VARIABLES["orthanc_network"]]["IPAddress"])


def _visitor(stack: ExitStack, chromium: Browser, login: tuple[str, str]) -> BrowserContext:
    user, password = login
    context = chromium.new_context(http_credentials={"username": user, "password": password, "send": "always"})
    stack.callback(context.close)
    return context


def _opens(context: BrowserContext, url: str) -> float:
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#study #list-series li")
    taken = time.perf_counter() - began
    page.close()
    return taken


def _fetches(server: Server, paths: Sequence[str], at_once: int = 1, there: Sequence[str] = ()) -> float:
    """Fetch them with so many connections; `there` is the beginning of a command line."""
    asked = "".join(f'url = "{server.url}{path}"\noutput = "/dev/null"\n' for path in paths)
    line = ["curl", "--silent", "--fail", "--fail-early", "--user", ":".join(server.login), "--config", "-"]
    several = ["--no-progress-meter", "--parallel", "--parallel-max", str(at_once)] if at_once > 1 else []
    began = time.perf_counter()
    subprocess.run([*there, *line, *several], input=asked, text=True, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextmanager
def _behind_a_link() -> Iterator[Sequence[str]]:
    """Return the beginning of a command line that runs where a link of 1 Gbit/s leads."""
    office = ENGINE.containers.run(
        "debian:trixie-slim", ["sleep", "900"], detach=True, network=live.VARIABLES["orthanc_network"],
        labels={twins.LABEL: str(os.getpid())},
    )  # fmt: skip
    try:
        office.reload()
        there = ["nsenter", "--net", "--target", str(office.attrs["State"]["Pid"])]
        seen = subprocess.run([*there, "ip", "-json", "link", "show", "eth0"], check=True, capture_output=True)
        number = json.loads(seen.stdout)[0]["link_index"]
        subprocess.run(["tc", "qdisc", "replace", "dev", socket.if_indextoname(number), "root", *LINK], check=True)
        yield there
    finally:
        office.remove(force=True)
