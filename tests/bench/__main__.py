import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

import live
from bench import queries, stores, sync
from bench.measure import Row


def site(stack: ExitStack) -> None:
    """Deploy the test site, with the bookings that the queries find."""
    database = live.BookingDatabase()
    stack.callback(database.remove)
    database.clear()
    for number in range(queries.ENTRIES):
        database.book(number + 1, f"{number}-1", f"{sync.DAY} 09:00:00")
    stack.callback(live.play, "teardown.yml", "-e", "site_teardown_data=true")
    deployed = live.play("site.yml", "-e", f"worklist_sync_day={sync.DAY}")
    assert deployed.status == 0, deployed.output


def main() -> int:
    table = Table("what", "against", title="Speed against the stock things (medians of pairs in one run)")
    for heading in ("ours", "stock", "times as fast"):
        table.add_column(heading, justify="right")

    def add(row: Row) -> None:
        ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
        table.add_row(row.what, row.against, row.ours, row.stock, ratio)

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp")))
        folder.chmod(0o755)
        for row in sync.rows(folder):
            add(row)
        site(stack)
        for subject in (queries, stores):
            for row in subject.rows(stack, folder):
                add(row)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
