"""What waits of Debian's updates at the PACS, and what its backup did: the front door says it to a sync on another
host, and to no person."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.front_door import DOOR, OTHER, Door, door

PEOPLE = {"vera": "viewer", "olga": "operator", "paul": "page"}
READER = "worklist-reader"


@dataclass(frozen=True)
class Asked:
    """A front door, and the file that it shows."""

    front_door: Door
    file: Path

    def status(self, who: str, *options: str, path: str = "/updates.json") -> int:
        return self.front_door.ask(OTHER, path, "-u", f"{who}:right", *options)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("updates")
    people = [{"name": name, "role": role} for name, role in PEOPLE.items()]
    shown = dict.fromkeys(["__front_door_updates", "__front_door_backup"], "/etc/front-door")
    given = {"__front_door_sync_elsewhere": True, "backup_repository": "/mnt/backup", **shown}
    with door(folder, dict.fromkeys([*PEOPLE, READER], "right"), front_door_people=people, **given) as found:
        yield Asked(found, folder / "updates.json")


def test_the_sync_reads_what_waits_and_changes_nothing(asked: Asked) -> None:
    assert asked.status(READER) == 204  # no night has passed yet
    asked.file.write_text('{"asked": "2026-11-24T04:12:00Z", "containers": {}}')
    asked.file.chmod(0o644)
    url = f"http://{DOOR}:8080/updates.json"
    assert asked.front_door.run(OTHER, "curl", "-s", "-u", f"{READER}:right", url) == asked.file.read_text()
    assert not [line for line in asked.front_door.audit if line["path"] == "/updates.json"]
    for method in ("PUT", "POST", "DELETE", "HEAD"):
        options = ["-I"] if method == "HEAD" else ["-X", method, "-d", "x"]
        assert asked.status(READER, *options) == 403
    for path in ("/updates.json/", "/updates", "/people", "/updates.json/../people"):
        assert asked.status(READER, "--path-as-is", path=path) == 403
    assert asked.file.read_text().startswith('{"asked"')


def test_the_sync_reads_what_the_backup_did(asked: Asked) -> None:
    path, file = "/backup.json", asked.file.with_name("backup.json")
    assert asked.status(READER, path=path) == 404  # nothing is written down yet
    file.write_text('{"host": "pacs", "since": "2026-11-24T04:12:00Z"}')
    file.chmod(0o644)
    assert (
        asked.front_door.run(OTHER, "curl", "-s", "-u", f"{READER}:right", f"http://{DOOR}:8080{path}")
        == file.read_text()
    )
    assert asked.status(READER, "-X", "PUT", "-d", "x", path=path) == 403
    assert not [line for line in asked.front_door.audit if line["path"] == path and line["status"] == 200]
    for who in PEOPLE:
        assert asked.status(who, path=path) == 403
    assert asked.front_door.ask(OTHER, path) == 401


@pytest.mark.parametrize("who", PEOPLE)
def test_no_person_reads_which_holes_are_open(asked: Asked, who: str) -> None:
    assert asked.status(who) == 403
    assert asked.front_door.ask(OTHER, "/updates.json") == 401
