"""How old the last good backup is, and what is wrong with it: on the page, in the terminal and in --json."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_worklist.config import load
from dicom_worklist.status import page, terminal
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Level, Overview, overview

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
Look = Callable[..., Overview]


@pytest.fixture
def look(configure: Callable[..., Path], tmp_path: Path) -> Look:
    """Returns what people are shown of what was written down, if anything was."""

    def look(written: object = None) -> Overview:
        file = tmp_path / "backup.json"
        if written is not None:
            file.write_text(written if isinstance(written, str) else json.dumps(written))
        status = {"state": str(tmp_path / "status.json"), "backup": str(file)}
        return overview(load(configure({"status": status})), Findings(good=NOW), NOW)

    return look


def at(hours: float) -> str:
    """Return the time of so many hours ago as the backup writes it."""
    return f"{NOW - timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"


def ran(hours: float, failure: str = "", good: float | None = None, missing: int = 0) -> dict[str, object]:
    good = good if failure else hours
    return {"ended": at(hours), "ok": not failure, "failure": failure, "good": good and at(good), "missing": missing}


def wrote(*, since: float = 1000, **runs: object) -> dict[str, object]:
    """What a host that checked its backups lately wrote; `check=None`: it never did."""
    return {"host": "pacs <1>", "since": at(since), "check": ran(57), **runs}


def warnings(shown: Overview) -> list[str]:
    found = [problem for problem in shown.problems if problem.kind == "backup"]
    assert {problem.level for problem in found} <= {Level.WARNING}
    return [problem.said for problem in found]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        pytest.param({"check": ran(24 * 8.9)}, "", id="a week ago"),
        pytest.param({"check": ran(24 * 9.1)}, "have not been checked since 2026-11-15 10:36. They", id="long ago"),
        pytest.param(
            {"check": None}, "have never been checked. They should be each Sunday. See on pacs <1>", id="never"
        ),
    ],
)
def test_backups_that_nobody_checks_are_told(look: Look, runs: dict[str, object], said: str) -> None:
    found = " ".join(warnings(look(wrote(run=ran(9)) | runs)))
    assert (said in found) if said else (found == "")


def test_how_old_the_last_good_one_is_is_everywhere(look: Look, capsys: pytest.CaptureFixture[str]) -> None:
    shown = look(wrote(run=ran(9), check=ran(57)))
    assert warnings(shown) == []
    text = page.render(shown)
    assert "<dt>Last good backup of <bdi>pacs &lt;1&gt;</bdi></dt><dd><b>2026-11-24 04:00, 9 hours ago</b></dd>" in text
    terminal.show_overview(shown)
    assert "Last good backup of pacs <1>: 2026-11-24 04:00, 9 hours ago." in capsys.readouterr().out
    (said,) = json.loads(json.dumps(shown.as_dict()))["backups"]
    assert (said["age"], said["run"]["good"], said["run"]["ok"]) == (9 * 3600, "2026-11-24T04:00:00+01:00", True)


def test_a_site_without_a_backup_has_no_word_of_it(
    configure: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = overview(load(configure({"status": {"state": str(tmp_path / "status.json")}})), Findings(good=NOW), NOW)
    terminal.show_overview(shown)
    assert "backup" not in page.render(shown) + capsys.readouterr().out
    assert shown.as_dict()["backups"] == []


def test_one_that_failed_says_why_and_when_the_last_good_one_was(look: Look) -> None:
    (said,) = warnings(look(wrote(run=ran(9, "the repository has no space left. Make it larger.", good=33))))
    assert said == (
        "The backup of pacs <1> failed, 2026-11-24 04:00: the repository has no space left. Make it larger. The last "
        "good one ended 2026-11-23 04:00. More is in that host's `journalctl -t dicom-backup`, and in docs/backup.md."
    )
    shown = look(wrote(run=ran(9, "there is no repository at that place. Mount it.")))
    assert "Mount it. There is no good one yet." in warnings(shown)[0]
    assert "<b>never yet</b>" in page.render(shown)


def test_a_check_that_failed_says_why(look: Look) -> None:
    (said,) = warnings(look(wrote(run=ran(9), check=ran(57, "The backups are damaged."))))
    assert said.startswith("The check of the backups of pacs <1> failed, 2026-11-22 04:00: The backups are damaged. ")


@pytest.mark.parametrize(("hours", "warned"), [(47, False), (49, True), (24 * 9, True)])
def test_a_good_one_that_is_older_than_two_days(look: Look, hours: int, warned: bool) -> None:
    said = warnings(look(wrote(run=ran(hours))))
    assert bool(said) is warned
    if warned:
        assert f"pacs <1> has not been saved for more than {hours // 24} days. The last good one ended" in said[0]
        assert "whether cron runs" in said[0]


@pytest.mark.parametrize(("hours", "warned"), [(1, False), (23, False), (25, True)])
def test_none_a_day_after_it_was_set_up(look: Look, hours: int, warned: bool) -> None:
    said = warnings(look(wrote(since=hours)))
    assert bool(said) is warned
    if warned:
        assert said[0].startswith("pacs <1> has never been saved, and should have been since 2026-11-23 12:00.")


def test_files_that_are_missing(look: Look) -> None:
    assert warnings(look(wrote(run=ran(9, missing=1))))[0].startswith(
        "1 file that Orthanc's index names was not there when pacs <1> was saved, 2026-11-24 04:00. If nobody deleted"
    )
    assert warnings(look(wrote(run=ran(9, missing=12))))[0].startswith("12 files that Orthanc's index names were not")


@pytest.mark.parametrize("broken", [None, "", "{", "[]", '{"host": "x", "since": "2026-11-24T04:12:00"}'])
def test_what_can_not_be_read_is_no_good_backup(look: Look, broken: str | None) -> None:
    shown = look(broken)
    assert "What the backup of this host did is not known" in warnings(shown)[0]
    assert shown.backups == []
