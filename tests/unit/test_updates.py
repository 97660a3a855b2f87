"""Which of Debian's updates wait: what is written down, on the page and in the metrics."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicom_worklist.config import load
from dicom_worklist.status import metrics, page, terminal, updates
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Overview, overview

ASKED = datetime(2026, 11, 24, 4, 12, tzinfo=UTC)
BUILT = {"orthanc": ASKED - timedelta(days=3), "wlmscpfs": ASKED - timedelta(days=9), "door": ASKED + timedelta(1),
         "testing": ASKED - timedelta(1)}  # fmt: skip
CONTAINERS = {
    "orthanc": {"security": ["libssl3t64 3.5.1-1 -> 3.5.1-1+deb13u1", "zlib1g 1 -> <2>"], "other": []},
    "wlmscpfs": {"security": [], "other": ["tzdata 1 -> 2"]},
    "testing": {"security": None, "other": ["tzdata 1 -> 2", "zlib1g 1 -> 2"]},
    "door": {"security": ["nginx 1 -> 2"], "other": []},
    "somebody-else-s": {"security": ["x 1 -> 2"], "other": []},
}
Look = Callable[..., Overview]


@pytest.fixture
def look(configure: Callable[..., Path], tmp_path: Path) -> Look:
    """Returns what people are shown of what was written down, if anything was."""

    def look(written: object = None) -> Overview:
        file = tmp_path / "updates.json"
        if written is not None:
            file.write_text(written if isinstance(written, str) else json.dumps(written))
        images = {name: f"{built:%Y-%m-%dT%H:%M:%SZ}" for name, built in BUILT.items()}
        status = {"state": str(tmp_path / "status.json"), "images": images, "updates": str(file)}
        return overview(load(configure({"status": status})), Findings(), ASKED + timedelta(hours=8))

    return look


def written(asked: str = f"{ASKED:%Y-%m-%dT%H:%M:%SZ}", **more: object) -> dict[str, object]:
    return {"asked": asked, "containers": CONTAINERS | more}


def test_the_page_names_them(look: Look) -> None:
    text = page.render(look(written()))
    assert (
        "2 security updates to come: <bdi>libssl3t64 3.5.1-1 -&gt; 3.5.1-1+deb13u1, zlib1g 1 -&gt; &lt;2&gt;</bdi>"
        in text
    )
    assert "<bdi>wlmscpfs</bdi> has those up to" in text
    assert "no security update waits" in text
    assert "<bdi>testing</bdi> has those up to" in text
    assert "2 updates to come, and Debian doesn't say which are for security" in text
    assert "Debian was last asked on" in text


def test_an_image_that_was_built_since_then_and_other_containers_are_left_out(look: Look) -> None:
    found = look(written()).updates
    assert found is not None
    assert set(found.containers) == {"orthanc", "wlmscpfs", "testing"}
    assert "nginx" not in page.render(look(written()))


def test_what_is_not_known_is_said_with_the_reason(look: Look) -> None:
    text = page.render(look(written(orthanc={"unknown": "no <mirror> answers"})))
    assert "what waits is not known (<bdi>no &lt;mirror&gt; answers</bdi>)" in text


@pytest.mark.parametrize(
    "broken", [None, "", "{", '{"asked": 1}', '{"asked": "2026-11-24T04:12:00", "containers": {}}']
)
def test_without_what_was_written_down_the_page_says_how_old_the_images_are(broken: str | None, look: Look) -> None:
    shown = look(broken)
    assert shown.updates is None
    text = page.render(shown)
    assert "<bdi>orthanc</bdi> has those up to" in text
    assert "Debian was last asked" not in text


def test_the_metrics_count_them(look: Look, tmp_path: Path) -> None:
    shown = look(written(wlmscpfs={"unknown": "no mirror"}))
    metrics.write(tmp_path, shown, Findings())
    families = text_string_to_metric_families((tmp_path / "dicom_worklist.prom").read_text())
    samples = {(one.name, one.labels.get("container")): one.value for family in families for one in family.samples}
    assert samples["dicom_worklist_security_updates", "orthanc"] == 2
    assert not {("dicom_worklist_security_updates", name) for name in ("wlmscpfs", "testing")} & samples.keys()
    assert samples["dicom_worklist_updates_asked_timestamp_seconds", None] == ASKED.timestamp()


def test_this_host_s_word_counts_more_than_another_s(tmp_path: Path) -> None:
    """And the time is that of the host that asked longest ago: if either asks no more, that is seen."""
    own = {"asked": written()["asked"], "containers": {"orthanc": CONTAINERS["orthanc"]}}
    (tmp_path / "updates.json").write_text(json.dumps(own))
    waiting = {name: updates.Waiting(security=()) for name in ("orthanc", "door")}
    elsewhere = updates.Updates(ASKED + timedelta(days=2), waiting)
    found = updates.known(str(tmp_path / "updates.json"), BUILT, elsewhere)
    assert found is not None
    assert found.asked == ASKED
    assert found.containers["orthanc"].security != ()
    assert found.containers["door"].security == ()
    assert updates.known(None, BUILT, elsewhere) == elsewhere


def test_the_terminal_and_json_have_them_too(look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    shown = look(written(door={"unknown": "no \x1b[2Jmirror"}))
    terminal.show_overview(shown)
    text = " ".join(capsys.readouterr().out.split())
    assert "2 for security to come: libssl3t64 3.5.1-1 -> 3.5.1-1+deb13u1, zlib1g 1 -> <2>." in text
    assert "wlmscpfs has Debian's updates up to 2026-11-15 05:12; none for security waits." in text
    assert "testing has Debian's updates up to 2026-11-23 05:12; 2 to come, and Debian doesn't say which" in text
    assert "Debian was last asked on 2026-11-24 05:12." in text
    assert "\x1b[2J" not in text
    assert shown.as_dict()["updates"]["containers"]["orthanc"]["security"][1] == "zlib1g 1 -> <2>"


def test_a_site_that_does_not_say_where_they_are_has_none() -> None:
    assert updates.known(None, BUILT) is None
