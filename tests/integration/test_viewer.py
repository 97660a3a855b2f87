"""What the web viewer shows of a study that was deleted: the role's own image and configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import role_pacs
from support.images import synthetic_image

SUBNET = "198.18.207.0/24"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[role_pacs.Pacs]:
    with role_pacs.pacs(tmp_path_factory.mktemp("viewer"), "test-viewer", SUBNET, []) as found:
        yield found


def ask(pacs: role_pacs.Pacs, path: str, method: str = "GET", **more: object) -> requests.Response:
    return requests.request(method, pacs.url + path, auth=pacs.login, timeout=30, **more)  # type: ignore[arg-type]


def store(pacs: role_pacs.Pacs, image: Path) -> dict[str, str]:
    """Store it; return Orthanc's names."""
    answer = ask(pacs, "/instances", "POST", data=image.read_bytes())
    answer.raise_for_status()
    names: dict[str, str] = answer.json()
    return names


def shown(names: dict[str, str]) -> list[str]:
    """Where the viewer shows it."""
    images = [f"/web-viewer/instances/{quality}-{names['ID']}_0" for quality in ("jpeg95", "deflate")]
    return [f"/web-viewer/series/{names['ParentSeries']}", *images]


def test_what_was_deleted_is_no_longer_shown(pacs: role_pacs.Pacs, tmp_path: Path) -> None:
    for folder in ("gone", "stays"):
        (tmp_path / folder).mkdir()
    gone, stays = (synthetic_image(tmp_path / folder / "image.dcm") for folder in ("gone", "stays"))
    deleted, kept = store(pacs, gone), store(pacs, stays)
    before = {path: ask(pacs, path).content for path in (*shown(deleted), *shown(kept))}
    assert all(before.values())
    assert b"phantom" in before[shown(deleted)[0]]

    ask(pacs, f"/studies/{deleted['ParentStudy']}", "DELETE").raise_for_status()
    for path in shown(deleted):
        for written in (path, path.replace("/web-viewer", "//web-viewer//"), path.replace("w", "%77"), path + "?x=1"):
            answer = ask(pacs, written)
            assert answer.status_code in {403, 404}, written
            assert b"phantom" not in answer.content
    assert {path: ask(pacs, path).content for path in shown(kept)} == {path: before[path] for path in shown(kept)}
    assert ask(pacs, "/web-viewer/app/viewer.html").ok
    assert ask(pacs, f"/web-viewer/is-stable-series/{kept['ParentSeries']}").ok

    assert store(pacs, gone) == deleted  # again, with all its names
    assert {path: ask(pacs, path).content for path in shown(deleted)} == {path: before[path] for path in shown(deleted)}


def test_its_cache_is_in_memory_and_a_restart_empties_it(pacs: role_pacs.Pacs, tmp_path: Path) -> None:
    names = store(pacs, synthetic_image(tmp_path / "image.dcm"))
    for path in shown(names):
        ask(pacs, path).raise_for_status()

    def cached() -> bytes:
        found: bytes = pacs.container.exec_run(["grep", "-rl", "phantom", "/tmp/web-viewer"]).output
        return found

    ask(pacs, f"/studies/{names['ParentStudy']}", "DELETE").raise_for_status()
    assert cached(), "then docs/privacy.md says too much"
    pacs.container.restart()
    pacs.wait()
    assert not cached()
