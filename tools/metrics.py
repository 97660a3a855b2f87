"""The metrics and the alerts for docs/metrics.md: what a run writes, and what the example of alert rules asks for."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from dicom_worklist import settings
from dicom_worklist.delivery import State, Summary
from dicom_worklist.status import metrics as written
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import overview
from dicom_worklist.status.updates import Updates, Waiting
from tools.variables import code

#: What a run of the delivery reports.
DELIVERED = Summary(datetime(2026, 1, 1, tzinfo=UTC), {"archive": State(0, None)}, {})


def metrics(alerts_file: Path) -> str:
    """Return the metrics that a run writes as a table, with the alerts that need each."""
    rows = ["| metric | type | labels | what it is | alert |", "| --- | --- | --- | --- | --- |"]
    rules = list(_rules(alerts_file))
    for family in _families():
        labels = sorted({label for sample in family.samples for label in sample.labels})
        alerts = [rule["alert"] for rule in rules if re.search(rf"\b{family.name}\b", rule["expr"])]
        cells = (code(family.name), family.type, _codes(labels), family.documentation, _codes(alerts))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def alerts(alerts_file: Path) -> str:
    """Return the alert rules of the example as a table."""
    rows = ["| alert | severity | it means | it fires if | for |", "| --- | --- | --- | --- | --- |"]
    for rule in _rules(alerts_file):
        cells = (
            code(rule["alert"]),
            rule["labels"]["severity"],
            rule["annotations"]["summary"],
            code(" ".join(rule["expr"].split())),
            rule.get("for", ""),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _rules(alerts_file: Path) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(alerts_file.read_text())["groups"]:
        yield from group["rules"]


def _families() -> list[Metric]:
    """Return what a run of a site with one scanner and a PACS writes."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    config = settings.Config(
        site=settings.Site(name="Site", timezone="UTC"),
        source=None,
        scanners=(settings.Scanner(ae_title="SCANNER", lab="lab"),),
        worklist=settings.Worklist(root="/nowhere"),
        status=settings.Status(state="/nowhere/status.json", images={"orthanc": now}),
        pacs=settings.Pacs(url="http://localhost", user="reader", password_file="/nowhere/password"),  # noqa: S106
    )
    found = Findings(made=now)
    shown = replace(
        overview(config, found, now), updates=Updates(now, {"orthanc": Waiting(security=())}), delivery=DELIVERED
    )
    with tempfile.TemporaryDirectory() as folder:
        written.write(Path(folder), shown, found)
        [file] = Path(folder).iterdir()
        return list(text_string_to_metric_families(file.read_text()))


def _codes(names: list[str]) -> str:
    return ", ".join(map(code, names))
