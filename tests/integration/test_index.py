"""Orthanc's index has its statistics from the first start on, so that it doesn't slow down with every image.

The deployed image, with the deployed command. Nothing that is wrong with the index changes what Orthanc does.
"""

import json
import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from docker.models.containers import Container

from support import live, scanner, twins
from support.grown_index import grow
from support.waiting import wait_for_http, wait_until

ENGINE = docker.from_env()
#: The user that the containers here run as; not the site's, which one needs root to become.
USER = 4242
#: How many rows the statistics give each table, and how many resources one kind.
HUGE, OF_A_KIND = "10000000000", "10000000000 2500000000"
ADDED = "CREATE TABLE AddedLater(id INTEGER PRIMARY KEY, value TEXT)"
#: How Orthanc 1.13 finds each image that it stores, and the images of a series that is opened (in short).
LOOKUP = """WITH Lookup AS (
    SELECT internalId, publicId, ROW_NUMBER() OVER (ORDER BY publicId) AS rowNumber FROM Resources
    WHERE resourceType = {} AND publicId = ?) SELECT internalId, rowNumber AS value FROM Lookup"""
STORE = LOOKUP.format(4)
OPEN = f"""{LOOKUP.format(3)} UNION SELECT Lookup.internalId, value FROM Lookup
    INNER JOIN Resources childLevel ON childLevel.parentId = Lookup.internalId
    INNER JOIN Metadata ON Metadata.id = childLevel.internalId AND Metadata.type IN (1)"""


def statistics(index: Path) -> set[tuple[str, str | None, str]]:
    with closing(sqlite3.connect(index)) as database:
        return set(database.execute("SELECT tbl, idx, stat FROM sqlite_stat1"))


def chosen(index: Path) -> set[tuple[str, str | None, str]]:
    """Return the statistics that this index has to have."""
    with closing(sqlite3.connect(index)) as database:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*'")
        found = {(name, None, HUGE) for (name,) in tables}
    assert {"Resources", "Metadata", "MainDicomTags"} <= {name for name, *_ in found}
    return {*found, ("Resources", "ResourceTypeIndex", OF_A_KIND)}


def plan(container: Container, index: Path, question: str) -> str:
    """Ask the container's own SQLite how it would find the answer."""
    volumes = {str(index.parent): {"bind": "/data", "mode": "rw"}}
    line = ["sqlite3", f"/data/{index.name}", f"EXPLAIN QUERY PLAN {question}"]
    return str(ENGINE.containers.run(container.image, line, entrypoint="", volumes=volumes, remove=True).decode())


def test_from_the_first_start_on_and_as_it_grows_and_changes(site: live.Site, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with twins.pacs(data) as pacs:
        index = data / "index"
        pacs.container.stop()
        assert statistics(index) == chosen(index)
        first = index.read_bytes()
        restart(pacs)
        assert set(scanner.store(pacs.dicom_port, scanner.make(tmp_path / "images", 5)).values()) == {0}
        pacs.container.stop()
        assert index.read_bytes() != first
        assert statistics(index) == chosen(index)
        with closing(sqlite3.connect(index)) as database:
            (size,) = database.execute("SELECT count(*) FROM Resources").fetchone()
        grow(index, size, 5_000)
        with closing(sqlite3.connect(index)) as database:
            database.executescript(f"DELETE FROM sqlite_stat1; {ADDED}")
        # without them the question is answered by reading all images
        assert "USING INDEX ResourceTypeIndex (resourceType=?)" in plan(pacs.container, index, STORE)
        assert "SCAN Metadata" in plan(pacs.container, index, OPEN)
        with closing(sqlite3.connect(index)) as database:  # as somebody may who wants to help
            database.execute("ANALYZE")
        restart(pacs)
        answer = requests.get(f"{pacs.url}/statistics", auth=pacs.login, timeout=30).json()
        assert answer["CountInstances"] == 5_000
        pacs.container.stop()
        assert statistics(index) == chosen(index)
        assert ("AddedLater", None, HUGE) in statistics(index)
        assert "USING INDEX PublicIndex (publicId=?)" in plan(pacs.container, index, STORE)
        assert "SCAN Metadata" not in plan(pacs.container, index, OPEN)
        assert pacs.container.logs().decode().count("/srv/orthanc/index has its statistics") == 3


def restart(pacs: twins.Pacs) -> None:
    pacs.container.start()
    wait_for_http(f"{pacs.url}/system")


@dataclass(frozen=True)
class Role:
    """The deployed container's image and command."""

    image: str
    entrypoint: list[str]


@pytest.fixture(scope="module")
def role(deployment: live.Deployment) -> Role:
    assert deployment.first.status == 0, deployment.first.output
    container = ENGINE.containers.get(live.VARIABLES["orthanc_container_name"])
    return Role(container.attrs["Image"], container.attrs["Config"]["Entrypoint"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty data folder, and a configuration beside it."""
    return made(tmp_path)


def made(folder: Path) -> Path:
    config = {"StorageDirectory": "/data", "IndexDirectory": "/data", "DicomServerEnabled": False}
    (folder / "orthanc.json").write_text(json.dumps(config))
    (folder / "orthanc.json").chmod(0o644)
    data = folder / "data"
    data.mkdir()
    os.chown(data, USER, USER)
    return data


@pytest.fixture(scope="module")
def sound(role: Role, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An index that Orthanc has made, without our statistics."""
    data = made(tmp_path_factory.mktemp("sound"))
    with running(role, data, entrypoint=["Orthanc"]) as container:
        assert outcome(container)[0]
        container.stop()
    assert not has_statistics(data / "index")
    return (data / "index").read_bytes()


def has_statistics(index: Path) -> bool:
    with closing(sqlite3.connect(index)) as database:
        return bool(database.execute("SELECT * FROM sqlite_schema WHERE name = 'sqlite_stat1'").fetchall())


def put(data: Path, sound: bytes) -> Path:
    (data / "index").write_bytes(sound)
    os.chown(data / "index", USER, USER)
    return data / "index"


@contextmanager
def running(role: Role, data: Path, **options: Any) -> Iterator[Container]:
    """Run Orthanc on a data folder, as deployed: no root, no rights, nothing else to write to."""
    options = {"entrypoint": role.entrypoint, "tmpfs": {"/tmp": "noexec"}} | options
    container = ENGINE.containers.run(
        role.image, ["/orthanc.json"], detach=True, read_only=True, user=f"{USER}:{USER}", cap_drop=["ALL"],
        network_mode="none",
        volumes={
            str(data): {"bind": "/data", "mode": "rw"},
            str(data.parent / "orthanc.json"): {"bind": "/orthanc.json", "mode": "ro"},
        },
        **options,
    )  # fmt: skip
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def outcome(container: Container) -> tuple[bool, str]:
    """Wait until Orthanc has started, or has given up; return whether it runs, and what the container's log says."""

    def decided() -> None:
        container.reload()
        assert container.status == "exited" or "Orthanc has started" in container.logs().decode()

    wait_until(decided)
    return container.status == "running", container.logs().decode()


def content(index: Path) -> list[str]:
    """Return all that is in an index, apart from its statistics, as SQL."""
    with closing(sqlite3.connect(index)) as database:
        return [line for line in database.iterdump() if "sqlite_stat1" not in line and "ANALYZE" not in line]


@pytest.mark.parametrize("there", [True, False])
def test_nothing_else_of_an_index_is_changed(there: bool, role: Role, data: Path, sound: bytes) -> None:
    index = put(data, sound)
    before = content(index)
    if not there:  # then one is made that says the same
        index.unlink()
    with running(role, data) as container:
        assert outcome(container)[0]
    assert statistics(index) == chosen(index)
    assert content(index) == before


def test_an_image_without_it_runs_as_before(role: Role, data: Path) -> None:
    with running(role, data, environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}) as container:
        runs, log = outcome(container)
    assert runs
    assert "orthanc-start" not in log


def test_an_index_that_is_elsewhere_is_left_alone(role: Role, data: Path) -> None:
    file = data.parent / "orthanc.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"PostgreSQL": {"EnableIndex": True}}))
    with running(role, data) as container:  # without the plug-in: Orthanc then makes an index of its own here
        assert "the index is not SQLite's" in outcome(container)[1]
    assert not has_statistics(data / "index")


def garbage(index: Path) -> None:
    index.write_bytes(random.Random(1).randbytes(100_000))


def cut_short(index: Path) -> None:
    os.truncate(index, 40_000)


def overwritten(index: Path) -> None:
    """Its first page, which says which tables there are, but not the header."""
    with index.open("r+b") as file:
        file.seek(100)
        file.write(b"x" * 3_000)


def read_only(index: Path) -> None:
    os.chown(index, 0, 0)
    index.chmod(0o444)


def closed_folder(index: Path) -> None:
    os.chown(index.parent, 0, 0)
    index.parent.chmod(0o555)


def nothing_and_closed(index: Path) -> None:
    index.unlink()
    closed_folder(index)


@pytest.mark.parametrize("fault", [garbage, cut_short, overwritten, read_only, closed_folder, nothing_and_closed])
def test_what_can_not_be_written_changes_nothing_else(
    fault: Callable[[Path], None], role: Role, tmp_path: Path, sound: bytes
) -> None:
    outcomes = []
    for name, entrypoint in (("alone", ["Orthanc"]), ("ours", role.entrypoint)):
        (tmp_path / name).mkdir()
        data = made(tmp_path / name)
        fault(put(data, sound))
        with running(role, data, entrypoint=entrypoint) as container:
            outcomes.append(outcome(container))
    (alone, _), (ours, log) = outcomes
    assert alone == ours, log
    assert "orthanc-start: /data/index" in log
    assert "has its statistics" not in log


def test_a_locked_index(role: Role, data: Path, sound: bytes) -> None:
    index = put(data, sound)
    with closing(sqlite3.connect(index, isolation_level=None)) as somebody:
        somebody.execute("BEGIN EXCLUSIVE")
        with running(role, data) as container:
            log = outcome(container)[1]
    assert "can't be given its statistics" in log
    assert "database is locked" in log
    with running(role, data) as container:
        assert outcome(container)[0]
    assert statistics(index) == chosen(index)


def test_killed_at_any_time_and_two_at_once(role: Role, data: Path) -> None:
    chance = random.Random(7)
    index = data / "index"
    twice = ["sh", "-c", "orthanc-start /orthanc.json & exec orthanc-start /orthanc.json"]
    for _ in range(6):
        for file in data.glob("index*"):
            file.unlink()
        with running(role, data, entrypoint=twice):
            time.sleep(chance.uniform(0, 0.2))  # then it is killed
        with running(role, data) as container:
            runs, log = outcome(container)
            assert runs, log
        assert statistics(index) == chosen(index)
        with closing(sqlite3.connect(index)) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
