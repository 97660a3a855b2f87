import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    databases,
    day,
    delivery,
    deploy,
    front_door,
    growth,
    history,
    ical,
    past,
    queries,
    reconcile,
    stores,
    sync,
    usage,
    web,
)
from bench.measure import Row
from support import live
from support.booking_database import BookingDatabase

#: What can be measured alone, and what that is.
ALONE = {
    "growth": "the PACS as it fills, up to a million images, and ours up to ten million: an hour, 30 GB in /var/tmp",
    "day": "a day of 100,000 images: most of an hour",
    "front_door": "what goes through the front door, against Orthanc itself",
}


def rows(stack: ExitStack, only: str | None) -> Iterator[Row]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
    folder.chmod(0o755)
    if only == "day":
        yield from day.rows(folder)
        return
    if only == "growth":
        yield from growth.rows(folder, growth.LONG)
        return
    if not only:
        yield from sync.rows(folder)
        yield from web.rows(folder)
        yield from ical.rows(folder)
        yield from reconcile.rows()
        yield from history.rows(folder)
        yield from past.rows(folder)
        yield from usage.rows(folder)
        yield from delivery.rows(folder)
    database = BookingDatabase()
    stack.callback(database.remove)
    if not only:
        yield from databases.rows(folder, database)
    database.clear()
    stack.callback(live.play, "teardown.yml", "-e", "site_teardown_data=true")
    yield from deploy.rows()
    if not only:
        yield sync.minute()
        yield from queries.rows(folder)
        yield from stores.rows(stack, folder)
    yield from front_door.rows(folder)
    if not only:
        yield from growth.rows(folder, growth.SIZES)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--only", choices=ALONE, help="; ".join(f"{name}: {what}" for name, what in ALONE.items()))
    chosen = parser.parse_args()
    table = Table("what", "against", title="Speed against the stock things (medians of pairs in one run)")
    for heading in ("ours", "stock", "times as fast"):
        table.add_column(heading, justify="right")
    try:
        with ExitStack() as stack:
            for row in rows(stack, chosen.only):
                ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
                table.add_row(row.what, row.against, row.ours, row.stock, ratio)
    finally:  # print what was measured, even if a later part fails
        Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
