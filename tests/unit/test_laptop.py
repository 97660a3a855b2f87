"""docs/calendar.md, "Try it on your laptop": what it says to type gives the preview that it describes."""

import csv
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.laptop import printed, typed
from support.web import as_json, serving


@pytest.fixture(autouse=True)
def beside_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths of the page have no folder."""
    monkeypatch.chdir(tmp_path)


def outcomes(run: Any) -> list[tuple[str, str]]:
    command, *arguments = printed("dicom-worklist preview").split()
    assert command == "dicom-worklist"
    done = run(*arguments, "--json")
    assert done.status == 3, done.err
    return [(row["booking_id"], row["outcome"]) for row in done.json["rows"]]


def test_the_preview_has_an_entry_and_a_row_that_is_rejected(run: Any, tmp_path: Path) -> None:
    typed(tmp_path)
    assert outcomes(run) == [("1", "entry"), ("2", "rejected")]
    shown = run(*printed("dicom-worklist preview").split()[1:]).out
    assert "3010000.01_sub-007_ses-01" in shown
    assert "doesn't match" in shown
    assert {path.name for path in tmp_path.iterdir()} == {"bookings.csv", "config.yml"}


def test_a_web_server_takes_the_place_of_the_file(run: Any, tmp_path: Path) -> None:
    source = yaml.safe_load(printed("source:\n  type: http"))["source"]
    (tmp_path / "calendar.password").write_text("s3cr3t\n")
    with serving(as_json({"bookings": list(csv.DictReader(printed("nr,").splitlines()))})) as server:
        typed(tmp_path, source | {"url": source["url"].replace("https://calendar.example.org", server.url)})
        assert outcomes(run) == [("1", "entry"), ("2", "rejected")]
        [asked] = server.asked
    assert asked.target == "/bookings?from=2026-11-24&to=2026-11-24"
    assert b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == b"worklist:s3cr3t"


def test_the_lines_of_the_inventory_are_those_of_the_configuration() -> None:
    config = yaml.safe_load(printed("site:"))
    text = printed("worklist_sync_booking:")
    inventory = yaml.safe_load(text.replace("!unsafe ", ""))
    assert inventory == {f"worklist_sync_{key}": config[key] for key in ("booking", "attributes")}
    assert all("!unsafe" in line for line in text.splitlines() if "{{" in line)
