"""The module `image_context`: the checksum follows the whole folder of an image."""

import base64
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.modules import run, run_one
from support.plays import Result

DOCKERFILE = """\
FROM debian:trixie-slim AS build
RUN true
FROM --platform=linux/amd64 debian:forky-slim AS tools
FROM build AS again
FROM debian:trixie-slim
COPY --from=build /x /x
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    (image / "library").mkdir(parents=True)
    (image / "Dockerfile").write_text(DOCKERFILE)
    (image / "library/broker.c").write_text("int main(void);\n")
    (image / "start").write_text("#!/bin/sh\n")
    (image / "start").chmod(0o700)
    return image


def read(folder: Path) -> Result:
    return run_one(folder.parent, {"image_context": {"folder": str(folder)}})


def test_the_archive_has_all_of_the_folder(folder: Path) -> None:
    result = read(folder)
    assert result["changed"] is False
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(result["archive"]))) as archive:
        assert {entry.name: entry.mode for entry in archive.getmembers()} == {
            "Dockerfile": 0o644, "library/broker.c": 0o644, "start": 0o755,
        }  # fmt: skip
        content = archive.extractfile("library/broker.c")
        assert content is not None
        assert content.read() == b"int main(void);\n"


def test_every_base_is_named_once_and_that_of_the_last_stage_last(folder: Path) -> None:
    assert read(folder)["bases"] == ["debian:forky-slim", "debian:trixie-slim"]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: (image / "library/broker.c").write_text("int main(int);\n"),
        lambda image: (image / "library/broker.c").rename(image / "library/other.c"),
        lambda image: (image / "library/more.c").write_text(""),
        lambda image: (image / "start").chmod(0o600),
        lambda image: (image / "library/broker.c").unlink(),
    ],
    ids=["content", "name", "more", "mode", "less"],
)
def test_the_checksum_follows_the_whole_folder(folder: Path, change: Callable[[Path], object]) -> None:
    ask = {"image_context": {"folder": str(folder)}}
    first, again = run(folder.parent, ask, ask)
    assert first["checksum"] == again["checksum"]
    change(folder)
    assert read(folder)["checksum"] != first["checksum"]


def test_what_a_checkout_may_differ_in_does_not_count(folder: Path) -> None:
    first = read(folder)
    (folder / "library/broker.c").chmod(0o600)
    (folder / "start").chmod(0o755)
    (folder / "start").touch()
    assert read(folder) == first


def test_a_folder_without_a_dockerfile_is_refused(folder: Path) -> None:
    (folder / "Dockerfile").unlink()
    assert "has no Dockerfile" in read(folder)["msg"]
