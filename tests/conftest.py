import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from support import live, timed_site, twins
from support.booking_database import BookingDatabase
from support.calendar import NOW, Calendar
from support.configuration import Configure, changed, settings, write_yaml

hypothesis_settings.register_profile("here", deadline=None, derandomize=True)
hypothesis_settings.load_profile("here")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="try each fault as often as `make faults` does")
    parser.addoption(
        "--seed", type=int, action="append", help="play a month, or sessions, of this seed; may be given twice"
    )
    parser.addoption("--tables", type=Path, help="write the tables of what was tried to this file, too")
    parser.addoption(
        "--clock",
        type=live.clock,
        action="append",
        metavar="ISO-8601",
        help="the time at the deployed site; of several, the tests that have a clock take each",
    )


def pytest_configure(config: pytest.Config) -> None:
    live.Site.now, *_ = config.getoption("--clock") or [NOW]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site_clock" in metafunc.fixturenames:
        clocks = metafunc.config.getoption("--clock") or [NOW]
        metafunc.parametrize("site_clock", clocks, ids=[clock.isoformat(timespec="seconds") for clock in clocks])


@pytest.fixture
def calendar(tmp_path: Path) -> Calendar:
    return Calendar(tmp_path / "calendar.sqlite")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the worklist WLBROKER, as the wlmscpfs role makes it."""
    folder = tmp_path / "wlbroker" / "WLBROKER"
    folder.mkdir(parents=True)
    (folder / "lockfile").touch(mode=0o660)
    return folder


@pytest.fixture
def configure(tmp_path: Path, folder: Path) -> Configure:
    """Writes the configuration of a site, with other values at the places given, and returns its path."""

    def write(changes: Mapping[str, object] | None = None) -> Path:
        data = changed(settings(tmp_path / "calendar.sqlite", folder.parent), changes or {})
        return write_yaml(tmp_path / "config.yml", data)

    return write


@pytest.fixture
def field_site(calendar: Calendar, configure: Configure, folder: Path, tmp_path: Path) -> Iterator[timed_site.Site]:
    """A site with a PACS, whose runs the test places in time."""
    site = timed_site.Site(calendar, configure, folder, tmp_path / "field")
    yield site
    site.pacs.close()


@pytest.fixture(scope="session")
def booking_database() -> Iterator[BookingDatabase]:
    database = BookingDatabase()
    database.clear()
    yield database
    database.remove()


@pytest.fixture(scope="session")
def deployment(booking_database: BookingDatabase) -> Iterator[live.Deployment]:
    """The test site, deployed as an operator would: previewed, for real, and once more."""
    twins.remove_old()
    if live.traces():  # of a run that was killed
        live.play("teardown.yml", "-e", "site_teardown_data=true")
    shutil.rmtree(live.DELIVERED, ignore_errors=True)
    live.DELIVERED.mkdir()
    live.DELIVERED.chmod(0o1777)
    preview = live.play("site.yml", "--check", "--diff")
    made = live.traces()
    first, second = live.play("site.yml"), live.play("site.yml", *live.UNVERIFIED)
    yield live.Deployment(preview, made, first, second)
    if live.traces():
        live.play("teardown.yml", "-e", "site_teardown_data=true")
    shutil.rmtree(live.DELIVERED)


@pytest.fixture
def site(deployment: live.Deployment) -> live.Site:
    """The deployed test site."""
    assert deployment.first.status == 0, deployment.first.output
    return live.Site()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was shown on which host: one that a test names, or this machine."""
    here = f"this machine (Debian {Path('/etc/debian_version').read_text().strip()})"
    rows = [
        (host, report.location[2].removeprefix("test_").replace("_", " "), outcome)
        for outcome in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.startswith("tests/deploy/")
        for host in [str(value) for name, value in getattr(report, "user_properties", ()) if name == "host"] or [here]
    ]
    if rows:
        table = Table("host", "property", "", title="What was shown where", title_justify="left")
        for row in sorted(rows, key=lambda row: row[0]):
            table.add_row(*map(escape, row))
        Console(width=None if sys.stdout.isatty() else 160).print(table)
