"""Bookings in a MariaDB and in a PostgreSQL: what a run costs, and how often it asks the server."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bench.measure import PAIRS, Row, measured
from bench.sync import DAY, configuration
from dicom_worklist.bookings.sources import _dccn
from support import live
from support.booking_database import BookingDatabase
from support.failing_proxy import proxy
from support.postgresql import PostgreSQL

#: Bookings; 50 are a day of a busy site.
SIZES = (50, 10_000)
PEOPLE = (
    "INSERT INTO projects VALUES ('3010000.01', 'Hören & sehen')",
    "INSERT INTO users VALUES ('adalov', 'Ada', 'Lovelace')",
)
BOOK = (
    "INSERT INTO calendar_items_new (id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status) "
    f"SELECT n, '3010000.01', 1, 'adalov', CONCAT(n, '-1'), '{DAY}', {{time}}, 'CONFIRMED' FROM {{numbers}}"
)
MARIADB = BOOK.format(time="MAKETIME(n DIV 60 MOD 24, n MOD 60, 0)", numbers="(SELECT seq AS n FROM seq_1_to_{}) AS s")
POSTGRESQL = BOOK.format(time="make_time(n / 60 % 24, n % 60, 0)", numbers="generate_series(1, {}) AS n")


def rows(root: Path, database: BookingDatabase) -> Iterator[Row]:
    (root / "no-tls").mkdir()
    server = PostgreSQL(root / "no-tls")
    try:
        for bookings in SIZES:
            database.clear()
            for statement in (*PEOPLE, MARIADB.format(bookings)):
                database.do(statement)
            yield _row(root / f"mariadb-{bookings}", bookings, database.port, {"type": "mysql"})
            clear = "TRUNCATE projects, users, calendars, calendar_items_new"
            lab = "INSERT INTO calendars VALUES (1, 'Siemens PRISMA 3T')"
            server.do(clear, lab, *PEOPLE, POSTGRESQL.format(bookings))
            settings = {"type": "postgresql", "query": _dccn.QUERY}
            yield _row(root / f"postgresql-{bookings}", bookings, server.port, settings)
    finally:
        database.clear()
        server.remove()


def _row(folder: Path, bookings: int, port: int, source: dict[str, Any]) -> Row:
    config = configuration(folder, 0)
    (folder / "password").write_text(f"{live.PASSWORD}\n")
    settings = yaml.safe_load(config.read_text())
    account = {"host": "127.0.0.1", "database": "fcdc", "user": "dicomdf", "password_file": str(folder / "password")}
    line: list[str | Path] = [live.BIN / "dicom-worklist", "sync", "--config", config, "--day", DAY]
    with proxy(port) as between:
        config.write_text(yaml.safe_dump(settings | {"source": {**source, **account, "port": between.port}}))
        measured(line)  # publishes them
        asked = between.asked
    config.write_text(yaml.safe_dump(settings | {"source": {**source, **account, "port": port}}))
    runs = [measured(line) for _ in range(PAIRS)]
    assert len(list((folder / "wlbroker/WLBROKER").glob("*.wl"))) == bookings
    seconds = statistics.median(run.seconds for run in runs)
    processor = statistics.median(run.processor for run in runs)
    kind = {"mysql": "MariaDB", "postgresql": "PostgreSQL"}[source["type"]]
    return Row(
        f"a run with nothing to change, {bookings:,} bookings in {kind}",
        "",
        f"{seconds:.2f} s ({processor:.2f} s of one processor), {max(run.memory for run in runs):.0f} MiB, "
        f"round trips: {asked}",
    )
