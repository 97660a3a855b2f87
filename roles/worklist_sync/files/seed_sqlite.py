"""Fills an SQLite booking database from SQL on standard input; prints how many rows were new.

Arguments: database, time zone, owner, --check or --write. The SQL may use :today, and is run as one transaction.
"""

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from zoneinfo import ZoneInfo

database, timezone, owner, mode = sys.argv[1:]
check = mode == "--check"
there = os.path.exists(database)
today = datetime.now(ZoneInfo(timezone)).date().isoformat()
with closing(sqlite3.connect(":memory:" if check and not there else database, isolation_level=None)) as connection:
    connection.execute("BEGIN")
    before = connection.total_changes
    for statement in sys.stdin.read().split(";\n"):
        connection.execute(statement, {"today": today} if ":today" in statement else {})
    print(connection.total_changes - before)
    connection.execute("ROLLBACK" if check else "COMMIT")
if not check and not there:
    os.chmod(database, 0o640)
    shutil.chown(database, owner, owner)
