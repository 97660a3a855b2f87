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
  - As root it runs them as I(owner), so that they, and a link in that user's folder, reach no file of anybody else.
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

import os  # noqa: E402 - Ansible wants the documentation first
import pwd  # noqa: E402
import sqlite3  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import closing, contextmanager  # noqa: E402
from datetime import datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from zoneinfo import ZoneInfo  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


@contextmanager
def as_user(name: str | None) -> Iterator[None]:
    """Act as a user, as root may; anybody else, or without a name, acts as before.

    Raises:
        OSError: there is no such user.
    """
    if name is None or os.geteuid() != 0:
        yield
        return
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise OSError(f"the user {name} is missing") from None
    groups = os.getgroups()
    os.initgroups(name, account.pw_gid)
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def main() -> None:
    """Run the module."""
    options = {
        "database": {"type": "path", "required": True},
        "sql": {"type": "str", "required": True},
        "timezone": {"type": "str", "required": True},
    }
    module = AnsibleModule(argument_spec=options, add_file_common_args=True, supports_check_mode=True)
    try:
        # in check mode on an empty host the user may be missing
        new = module.check_mode and not Path(module.params["database"]).exists()
        with as_user(None if new else module.params["owner"]):
            changed, rows = fill(module, ":memory:" if new else module.params["database"])
    except (sqlite3.Error, OSError) as error:
        module.fail_json(
            msg=f"{module.params['database']} can't be filled: {error}. "
            "Correct the SQL statements, or the folder's owner."
        )
    module.exit_json(changed=changed, rows=rows)


def fill(module: AnsibleModule, database: str) -> tuple[bool, int]:
    """Run the statements; return whether the file changed, and how many rows did."""
    today = datetime.now(ZoneInfo(module.params["timezone"])).date().isoformat()
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        before = connection.total_changes
        for statement in module.params["sql"].split(";\n"):
            connection.execute(statement, {"today": today} if ":today" in statement else {})
        rows = connection.total_changes - before
        connection.execute("ROLLBACK" if module.check_mode else "COMMIT")
    changed = rows > 0
    if database != ":memory:":
        arguments = module.load_file_common_arguments(module.params, path=database)
        changed = module.set_fs_attributes_if_different(arguments, changed)
    return changed, rows


if __name__ == "__main__":
    main()
