"""The delivery, the PACS and the destinations are killed, full, read-only and lying: nothing is lost, nothing is called
safe that isn't at two places."""

import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from support import delivering, scanner, twins
from support.command import start
from support.delivering import Site
from support.images import synthetic_image
from support.own_pacs import OwnPacs, own_pacs
from support.tally import Tally

#: What is killed.
VICTIMS = ("the delivery", "the PACS", "the second PACS")
IMAGES = 4


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnPacs, OwnPacs]]:
    with own_pacs(tmp_path_factory.mktemp("pacs")) as pacs, own_pacs(tmp_path_factory.mktemp("second")) as second:
        yield pacs, second


@pytest.fixture
def site(machines: tuple[OwnPacs, OwnPacs], tmp_path: Path) -> Site:
    return delivering.site(tmp_path, *machines)


def count(site: Site, tally: Tally, stored: set[bytes]) -> None:
    """Compare what is at each place, byte for byte, with what was acknowledged."""
    files = [path for path in site.raw.rglob("*") if path.is_file()]
    images = [path.read_bytes() for path in files if path.suffix == ".dcm"]
    there = [scanner.data_set(image) for image in images]
    copies = [site.second.ask(f"/instances/{image}/file").content for image in site.second.ask("/instances").json()]
    tally.lost += len(stored - {*there}) + len(stored - {scanner.data_set(copy) for copy in copies})
    tally.wrong += len(there) - len({*there}) + len({*there} - stored) + len({*images} ^ {*copies})
    tally.wrong += sum(path.suffix != ".dcm" and path.name != "SHA256SUMS" for path in files)
    for sums in (path for path in files if path.name == "SHA256SUMS"):
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", sums], cwd=sums.parent, capture_output=True, check=False
        )
        tally.wrong += checked.returncode != 0 or len(sums.read_text().splitlines()) != len(
            list(sums.parent.glob("*.dcm"))
        )


def claims(site: Site, tally: Tally) -> None:
    """Each study that is called safe has all of its images at the PACS and elsewhere."""
    if not (site.folder / "delivery.json").exists():
        return
    at_pacs: defaultdict[str, set[str]] = defaultdict(set)
    for series in site.pacs.ask("/series?expand").json():
        at_pacs[series["ParentStudy"]] |= {*series["Instances"]}
    at_second = {*site.second.ask("/instances").json()}
    for study, copied in site.summary.copied.items():
        tally.wrong += len(at_pacs[study]) < copied.images
        if "second" in copied.places and len(at_pacs[study]) == copied.images:  # else the page says nothing
            tally.wrong += not at_pacs[study] <= at_second


def test_killed_at_any_moment(site: Site, tally: Tally, often: Callable[[int, int], int]) -> None:
    rand, stored = random.Random(1), set[bytes]()
    uids = [f"1.2.3.{number}" for number in range(often(40, 1000))]
    for number in range(len(uids)):
        files = [synthetic_image(site.folder / f"{image}.dcm", number * IMAGES + image) for image in range(IMAGES)]
        stored |= site.store(files, f"{number:03}", SeriesInstanceUID=uids[number])
    site.settle()
    for at in range(often(12, 900)):
        victim = VICTIMS[at % len(VICTIMS)]
        # one image more, late, of any series
        late = rand.randrange(len(uids))
        files = [synthetic_image(site.folder / "late.dcm", 10_000 + at)]
        stored |= site.store(files, f"{late:03}", SeriesInstanceUID=uids[late])
        running = start("-m", "dicom_worklist", "deliver", "-c", site.file)
        time.sleep(rand.uniform(0.2, 2.5))
        if victim == "the PACS":
            site.pacs.kill()
        elif victim == "the second PACS":
            site.second.kill()
        running.send_signal(signal.SIGKILL)
        running.communicate()
        claims(site, tally)
        tally.tried += 1
    site.settle()
    for _ in range(100):
        done = site.deliver(after=timedelta(hours=2))
        if not done.delivered and not done.failed:
            break
    tally.failed += len(done.failed)
    count(site, tally, stored)
    claims(site, tally)
    assert sum(copied.images for copied in site.summary.copied.values()) == len(stored)


@pytest.mark.parametrize("fault", ["a full disk", "a read-only disk", "a folder of somebody else's"])
def test_a_folder_that_can_not_be_written(site: Site, tally: Tally, tmp_path: Path, fault: str) -> None:
    tally.fault = f"delivery: {fault}"
    site.raw.rmdir()
    with twins.small_disk(site.raw, 1) as disk:
        site.destinations[0]["mount"] = str(disk)
        big = [synthetic_image(tmp_path / f"{number}.dcm", number, 400) for number in range(5)]
        stored = site.store(big, "001")
        site.settle()
        if fault == "a read-only disk":
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        elif fault == "a folder of somebody else's":
            disk.chmod(0o700)
        done = site.deliver_as(65534) if disk.stat().st_mode & 0o777 == 0o700 else site.deliver().lines()
        assert any("warning" in line and str(disk) in line for line in done), done
        tally.wrong += list(disk.rglob("*.dcm")) != []
        tally.wrong += "raw" in {place for one in site.summary.copied.values() for place in one.places}
        subprocess.run(["mount", "-o", "remount,rw,size=10m", disk], check=True)
        disk.chmod(0o755)
        tally.failed += len(site.deliver(after=timedelta(hours=2)).failed)
        count(site, tally, stored)
        tally.tried += 1


@contextmanager
def liar(to: str) -> Iterator[str]:
    """Serve a PACS that says of every third image that it stored it, and has not."""
    posts = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said, kind = 200, b'{"Status": "Success"}', "application/json"
            if self.path != "/instances" or next(posts) % 3:
                kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
                real = requests.request(self.command, to + self.path, data=body, headers=kept, timeout=60)
                status, said, kind = real.status_code, real.content, real.headers.get("Content-Type", kind)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_destination_that_lies(site: Site, tally: Tally, tmp_path: Path) -> None:
    stored = site.store([synthetic_image(tmp_path / f"{number}.dcm", number) for number in range(30)], "001")
    site.settle()
    with liar(site.second.login.url) as address:
        site.destinations[1]["url"] = address
        done = site.deliver("second")
        assert done.delivered == []
        [(_, _, why)] = done.failed
        assert "doesn't have the image" in why
        tally.wrong += len(site.summary.copied)
        for _ in range(10):  # each time every third of what is missing
            done = site.deliver("second", timedelta(hours=2))
            if done.delivered:
                break
    site.deliver("raw")
    tally.tried += 1
    count(site, tally, stored)
    tally.wrong += sum(copied.images for copied in site.summary.copied.values()) != 30


def test_another_run_at_work_is_left_alone(site: Site, tally: Tally) -> None:
    site.scan("001")
    slow = start("-c", f"import fcntl, sys\nlock = open({str(site.folder)!r} + '/outbox.sqlite.raw.lock', 'w')\n"
                       "fcntl.flock(lock, fcntl.LOCK_EX)\nprint('held', flush=True)\nsys.stdin.read()")  # fmt: skip
    assert slow.stdout
    assert slow.stdout.readline() == "held\n"
    done = site.deliver()
    slow.communicate()
    assert done.busy == ["raw"]
    assert [name for name, _, _ in done.delivered] == ["second"]
    assert [name for name, _, _ in site.deliver().delivered] == ["raw"]
    tally.tried += 1
