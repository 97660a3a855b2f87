"""The module `site_bundle`: a bundle of another checkout, for another host or damaged is refused."""

import hashlib
from pathlib import Path

import pytest

from support.configuration import write_yaml
from support.plays import Result, run, tries


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle")
    for file in ("images/orthanc.tar", "images/cut.tar", "wheels/3.13/a.whl", "wheels/b.whl"):
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_text(file)
    images = {
        name: {"source": f"source of {name}", "file": f"{name}.tar", "sha256": checksum(f"images/{name}.tar")}
        for name in ("orthanc", "cut", "lost")
    }
    (path / "images/cut.tar").write_text("images/cu")
    write_yaml(path / "images/manifest.yml", {"architecture": "x86_64", "images": images})
    wheels = {name: checksum(f"wheels/{name}") for name in ("3.13/a.whl", "b.whl")}
    about = {"source": "source", "architecture": "x86_64", "pythons": ["3.11", "3.13"], "version": "0.1.0"}
    write_yaml(path / "wheels/manifest.yml", about | {"sha256": wheels})
    return path


IMAGES = {"part": "images", "host": "pacs.example", "architecture": "x86_64"}
ORTHANC = {"sources": {"orthanc": "source of orthanc"}}
WHEELS = IMAGES | {"part": "wheels", "python": "3.13", "sources": {"wheels": "source"}}
AGAIN = 'Run "make bundle" again'
#: What is asked → what the message has to say; nothing, if all is right.
CASES: dict[str, tuple[Result, tuple[str, ...]]] = {
    "an image": (IMAGES | ORTHANC, ()),
    "an image of another checkout": (IMAGES | {"sources": {"orthanc": "other"}}, ("no image orthanc", AGAIN)),
    "an image for another architecture": (IMAGES | ORTHANC | {"architecture": "aarch64"}, ("aarch64", AGAIN)),
    "an image that is not in it": (IMAGES | {"sources": {"new": "source of new"}}, ("no image new", AGAIN)),
    "an image without its file": (IMAGES | {"sources": {"lost": "source of lost"}}, ("no image lost", AGAIN)),
    "an image that was cut short": (IMAGES | {"sources": {"cut": "source of cut"}}, ("cut.tar", "cut short")),
    "the wheels": (WHEELS, ()),
    "wheels of another checkout": (WHEELS | {"sources": {"wheels": "other"}}, ("this very checkout", AGAIN)),
    "wheels for another Python": (WHEELS | {"python": "3.12"}, ("3.11, 3.13", "pacs.example: Python 3.12", AGAIN)),
    "a relative path": (WHEELS | {"path": "dist/bundle"}, ('site_bundle_dir is "dist/bundle"', "whole path")),
    "no bundle": (WHEELS | {"path": "/nowhere"}, ("/nowhere", "wheels/manifest.yml")),
}


@pytest.fixture(scope="module")
def results(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    asked = tries("site_bundle", *({"path": str(bundle)} | arguments for arguments, _ in CASES.values()))
    return dict(zip(CASES, run(tmp_path_factory.mktemp("asked"), asked)[0], strict=True))


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_refused_with_a_remedy(case: str, results: dict[str, Result]) -> None:
    _, said = CASES[case]
    result = results[case]
    assert bool(result.get("failed")) is bool(said), result.get("msg")
    assert not [fragment for fragment in said if fragment not in result["msg"]], result["msg"]


def test_each_wheel_that_is_damaged_or_lost_is_named(bundle: Path, tmp_path: Path) -> None:
    damaged, lost = bundle / "wheels/3.13/a.whl", bundle / "wheels/b.whl"
    damaged.write_text("wheels/3.13/a")
    lost.unlink()
    [result] = run(tmp_path, tries("site_bundle", WHEELS | {"path": str(bundle)}))[0]
    assert f"In {bundle}/wheels these files are missing or not those" in result["msg"]
    assert "3.13/a.whl, b.whl" in result["msg"]
