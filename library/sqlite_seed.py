#!/usr/bin/python
"""The Ansible module `sqlite_seed`: an SQLite database that SQL statements fill."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: sqlite_seed
short_description: Fill an SQLite database with SQL statements
version_added: "0.2.0"
description:
  - Runs SQL statements as one transaction. They must change nothing a second time.
options:
  database:
    description:
      - The database. It is made if it is missing.
    type: path
    required: true
  sql:
    description:
      - The statements. Each ends with a semicolon and a line feed, and may use C(:today), the date as C(YYYY-MM-DD).
    type: str
    required: true
  timezone:
    description:
      - The time zone of C(:today), by its IANA name.
    type: str
    required: true
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Runs the statements, and takes them back.
  diff_mode:
    support: none
    description: Only the number of rows is known.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Fill the booking database for today
  sqlite_seed:
    database: /var/lib/dicom-worklist/bookings.sqlite
    sql: "{{ lookup('ansible.builtin.file', 'bookings.sql') }}"
    timezone: Europe/Amsterdam
    owner: dicom-worklist
    mode: '0640'
"""

RETURN = r"""
rows:
  description: How many rows were written, changed or deleted.
  returned: success
  type: int
  sample: 12
"""

import sqlite3  # noqa: E402 - Ansible wants the documentation first
from contextlib import closing  # noqa: E402
from datetime import datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from zoneinfo import ZoneInfo  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


def main() -> None:
    """Run the module."""
    options = {
        "database": {"type": "path", "required": True},
        "sql": {"type": "str", "required": True},
        "timezone": {"type": "str", "required": True},
    }
    module = AnsibleModule(argument_spec=options, add_file_common_args=True, supports_check_mode=True)
    database, check = module.params["database"], module.check_mode
    there = Path(database).exists()
    today = datetime.now(ZoneInfo(module.params["timezone"])).date().isoformat()
    try:
        with closing(
            sqlite3.connect(":memory:" if check and not there else database, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN")
            before = connection.total_changes
            for statement in module.params["sql"].split(";\n"):
                connection.execute(statement, {"today": today} if ":today" in statement else {})
            rows = connection.total_changes - before
            connection.execute("ROLLBACK" if check else "COMMIT")
    except sqlite3.Error as error:
        module.fail_json(msg=f"{database} can't be filled: {error}. Correct the SQL statements.")
    changed = rows > 0
    if Path(database).exists():
        arguments = module.load_file_common_arguments(module.params, path=database)
        changed = module.set_fs_attributes_if_different(arguments, changed)
    module.exit_json(changed=changed, rows=rows)


if __name__ == "__main__":
    main()
