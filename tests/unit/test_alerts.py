"""The alerts: promtool accepts them, each is tested both ways, and a run's own metrics raise them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Set
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dicom_worklist.config import load
from dicom_worklist.delivery import State, Summary
from dicom_worklist.settings import Config
from dicom_worklist.status import metrics
from dicom_worklist.status.findings import Emptied, Findings
from dicom_worklist.status.overview import overview
from dicom_worklist.status.records import BookingRecord, DiskSpace, Refused
from support.configuration import Configure, write_yaml

MONITORING = Path(__file__).parents[2] / "roles/worklist_sync/files/monitoring"
RULES = [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ALERT_NAMES = [rule["alert"] for rule in RULES]
#: promtool's clock begins in 1970.
NOW = datetime(1970, 1, 1, 6, tzinfo=UTC)
TODAY = NOW.date()

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool: tests/prepare.yml installs it")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of Prometheus' configuration."""
    return shutil.copytree(MONITORING, tmp_path / "prometheus")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False)


def accepts(*arguments: str | Path) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    accepts("check", "rules", MONITORING / "alerts.yml")


def test_promtool_accepts_the_example_of_what_to_scrape(folder: Path) -> None:
    accepts("check", "config", folder / "scrape.yml")


def test_promtool_passes_the_tests_of_the_rules(folder: Path) -> None:
    accepts("test", "rules", folder / "alerts.test.yml")


@pytest.mark.parametrize("alert", ALERT_NAMES)
@pytest.mark.parametrize("expression", ["vector(0) > 1", "vector(1)"], ids=["never fires", "always fires"])
def test_the_tests_fail_where_a_rule(alert: str, expression: str, folder: Path) -> None:
    rules = yaml.safe_load((folder / "alerts.yml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if rule["alert"] == alert:
                rule["expr"] = expression
    write_yaml(folder / "alerts.yml", rules)
    done = promtool("test", "rules", folder / "alerts.test.yml")
    assert done.returncode == 1, done.stdout
    assert alert in done.stdout + done.stderr or "count(ALERTS)" in done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=ALERT_NAMES)
def test_each_rule_has_a_severity_a_summary_and_a_remedy(rule: dict[str, Any]) -> None:
    assert rule["labels"] in ({"severity": "critical"}, {"severity": "warning"})
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())


@pytest.fixture
def config(configure: Configure, tmp_path: Path) -> Config:
    pacs = {"url": "http://127.0.0.1:8042", "user": "reader", "password_file": "/nowhere/password"}
    waiting = tmp_path / "updates.json"
    waiting.write_text(json.dumps({"asked": NOW.isoformat(), "containers": {"orthanc": {"security": []}}}))
    images = {"orthanc": f"{NOW - timedelta(days=36):%Y-%m-%dT%H:%M:%SZ}"}
    status = {"state": "/nowhere/status.json", "images": images, "updates": str(waiting)}
    summary = tmp_path / "delivery.json"
    summary.write_bytes(msgspec.json.encode(Summary(NOW, {"raw": State(0, None, NOW)}, {})))
    raw = {"type": "folder", "name": "raw", "path": "/raw/{{ subject }}"}
    delivery = {
        "user": "delivery",
        "password_file": "/p",
        "outbox": "/o",
        "summary": str(summary),
        "destinations": [raw],
    }
    return load(configure({"status": status, "pacs": pacs, "delivery": delivery}))


def series(config: Config, found: Findings, folder: Path) -> Iterator[tuple[str, str, float]]:
    """Return name, the same with labels, and value of what a run writes that ends now."""
    metrics.write(folder, overview(config, found, NOW), found)
    for family in text_string_to_metric_families((folder / "dicom_worklist.prom").read_text()):
        for sample in family.samples:
            labels = ",".join(f'{label}="{value}"' for label, value in sample.labels.items())
            yield sample.name, f"{sample.name}{{{labels}}}", sample.value


def test_each_metric_that_an_alert_names_is_written(config: Config, tmp_path: Path) -> None:
    named = {name for rule in RULES for name in re.findall(r"dicom_worklist_\w+", rule["expr"])}
    assert named
    assert named <= {name for name, _, _ in series(config, Findings(), tmp_path)}


def booked(day: date, start: datetime | None, reason: str = "") -> BookingRecord:
    return BookingRecord(
        booking_id="7", day=day, ae_title="PRISMA", start=start, study_instance_uid="2.25.7", reason=reason
    )


GOOD = Findings(began=NOW, good=NOW, asked=NOW, seconds=0.5)
MORNING, EVENING = datetime.combine(TODAY, time(2)), datetime.combine(TODAY, time(20))
YESTERDAY = TODAY - timedelta(days=1)
REFUSED = Refused(ae_title="PRISMA", sop_class="1.2", name="a class", first=NOW, last=NOW, count=1, reason="class")
LATE, TOO_LATE = NOW - timedelta(seconds=300), NOW - timedelta(seconds=301)


def filling(days: int, more: int = 0, slower: int = 0) -> tuple[DiskSpace, ...]:
    """Return measures of a disk of which 10 GB are used a day, with room for so many days and a little."""
    rate = 10**10 if not slower else 0
    return tuple(
        DiskSpace(at=NOW - timedelta(days=ago), free=10**10 * days + more * 10**8 + ago * rate - 1, size=10**12)
        for ago in range(7, -1, -1)
    )


@pytest.mark.parametrize(
    ("changes", "alerts"),
    [
        pytest.param({}, set(), id="a good run"),
        pytest.param({"began": LATE, "good": LATE, "asked": LATE}, set(), id="none for 5 minutes"),
        pytest.param(
            {"began": TOO_LATE, "good": TOO_LATE, "asked": TOO_LATE}, {"DicomWorklistFrozen"}, id="none for longer"
        ),
        pytest.param({"good": TOO_LATE, "failure": "the folder is full"}, {"DicomWorklistFrozen"}, id="runs that fail"),
        pytest.param({"good": None, "failure": "no folder"}, {"DicomWorklistFrozen"}, id="never a good one"),
        pytest.param(
            {"bookings": (booked(TODAY, None, "no subject"),)}, {"DicomWorklistRejectedBooking"}, id="rejected today"
        ),
        pytest.param({"bookings": (booked(YESTERDAY, None, "no subject"),)}, set(), id="rejected yesterday"),
        pytest.param({"bookings": (booked(TODAY, MORNING),)}, {"DicomWorklistMissingImages"}, id="images missing"),
        pytest.param({"bookings": (booked(TODAY, EVENING),)}, set(), id="not scanned yet"),
        pytest.param(
            {"emptied": (Emptied(ae_title="PRISMA", day=TODAY, count=3, since=NOW),)},
            {"DicomWorklistEmptied"},
            id="a scanner's bookings all went",
        ),
        pytest.param({"disk": filling(14, 1)}, set(), id="the disk is full in a little more than two weeks"),
        pytest.param({"disk": filling(14)}, {"DicomDiskFilling"}, id="the disk is full in two weeks"),
        pytest.param({"disk": filling(14, slower=14)}, set(), id="the disk isn't filling"),
        pytest.param({"refused": (REFUSED,)}, {"DicomSopClassRefused"}, id="objects were refused"),
        pytest.param({"asked": LATE}, set(), id="no answer of the PACS for 5 minutes"),
        pytest.param({"asked": TOO_LATE}, {"DicomWorklistPacsSilent"}, id="no answer for longer"),
        pytest.param({"asked": None}, {"DicomWorklistPacsSilent"}, id="never an answer"),
    ],
)
def test_the_metrics_of_a_run_raise_these_alerts_and_no_others(
    changes: dict[str, Any], alerts: Set[str], config: Config, folder: Path, tmp_path: Path
) -> None:
    found = msgspec.structs.replace(GOOD, **changes)
    assert (overview(config, found, NOW).frozen is not None) == ("DicomWorklistFrozen" in alerts)
    minutes = int(NOW.timestamp() // 60)
    told = [
        {"series": labelled, "values": f"{value:f}x{minutes}"} for _, labelled, value in series(config, found, tmp_path)
    ]
    firing = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
    test = {
        "rule_files": ["alerts.yml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": told,
                "promql_expr_test": [
                    {
                        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": f"{minutes}m",
                        "exp_samples": firing,
                    }
                ],
            }
        ],
    }
    accepts("test", "rules", write_yaml(folder / "run.test.yml", test))
