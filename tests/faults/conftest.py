import sys
from collections.abc import Callable, Generator, Iterator

import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_worklist import config, pipeline
from support import live, twins
from support.calendar import DAY, NOW, PATIENTS, Calendar
from support.configuration import settings, write_yaml
from support.tally import Tally


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(2 * 3600))


@pytest.fixture
def often(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Returns how often to try: the first number in `make test`, the second one in `make faults`."""
    return lambda short, long: long if request.config.getoption("--long") else short


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """The test's line in the table of `make faults`; the test fails if it isn't clean in the end."""
    tally = Tally(request.node.name.removeprefix("test_").replace("_", " "))
    tally.within = 1 if request.config.getoption("--long") else 5  # `make test` runs other things at the same time
    request.node.user_properties.append(("tally", tally))
    return tally


@pytest.fixture(scope="module")
def broker(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[twins.Broker]:
    """A broker of this module's own, without entries."""
    assert deployment.first.status == 0, deployment.first.output
    with twins.broker(tmp_path_factory.mktemp("worklist")) as broker:
        yield broker


@pytest.fixture(scope="module")
def five_entries(broker: twins.Broker, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Publish an entry for each of PATIENTS."""
    folder = tmp_path_factory.mktemp("calendar")
    calendar = Calendar(folder / "calendar.sqlite")
    for number in range(1, len(PATIENTS) + 1):
        calendar.book(number, f"{number}-1")
    pipeline.run(
        config.load(write_yaml(folder / "config.yml", settings(calendar.path, broker.folder.parent))), DAY, now=NOW
    )


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    result = yield
    tally = pyfuncitem.funcargs.get("tally")
    assert not isinstance(tally, Tally) or tally.clean, tally
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each fault, how often it was tried, and the result; then the tables that tests have made."""
    table = Table("fault", title="What was tried", title_justify="left")
    for heading in ("tried", "lost", "wrong", "failed", "late"):
        table.add_column(heading, justify="right")
    table.add_column("")
    tables = []
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            made = dict(report.user_properties) if getattr(report, "when", "") == "call" else {}
            if tally := made.get("tally"):
                counts = (f"{count:,}" for count in (tally.tried, tally.lost, tally.wrong, tally.failed, tally.late))
                table.add_row(escape(tally.fault), *counts, escape(tally.limit) if outcome == "passed" else "FAILED")
            if "table" in made:
                tables.append(made["table"])
    if table.rows:
        Console(width=None if sys.stdout.isatty() else 160).print(table, *tables)
        if file := terminalreporter.config.getoption("--tables"):
            with file.open("w", encoding="utf-8") as output:
                Console(file=output, width=160).print(table, *tables)
