#!/usr/bin/python
"""The Ansible module `password_file`: a password in a file, given or generated once."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: password_file
short_description: Keep a password in a file, given or generated
version_added: "0.2.0"
description:
  - Writes the given password to a file. Without one, generates a password if the file is missing, and keeps one that is
    there.
  - Returns the password that is kept, so the task needs C(no_log).
options:
  path:
    description:
      - The file. It ends with a line feed, which is not part of the password.
    type: path
    required: true
  password:
    description:
      - The password; empty to generate one.
    type: str
    default: ''
extends_documentation_fragment:
  - ansible.builtin.files
attributes:
  check_mode:
    support: full
    description: Returns no password if it would generate one.
  diff_mode:
    support: none
    description: A diff would show the password.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Keep the password of the administrator
  password_file:
    path: /etc/orthanc-pacs/admin.password
    owner: root
    group: root
    mode: '0600'
  no_log: true
  register: kept
"""

RETURN = r"""
password:
  description: The password that was there or is generated; empty if one is given, which Ansible would hide in it.
  returned: success
  type: str
  sample: not shown here
"""

import secrets  # noqa: E402 - Ansible wants the documentation first
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

BYTES = 24  # of randomness


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "password": {"type": "str", "default": "", "no_log": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    path, given = Path(module.params["path"]), module.params["password"]
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if there is not None and not given and not there.strip("\n"):
        module.fail_json(
            msg=f"{path} is empty, so nobody could log in with the password that it keeps. Remove it and run the role "
            "again: it generates a new password, unless one is given."
        )
    kept = (there or "").rstrip("\n")
    changed = there is None or bool(given and there != f"{given}\n")
    if changed and not module.check_mode:
        kept = secrets.token_urlsafe(BYTES)
        # only root can read this file, until it has its owner and mode
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as new:
            new.write(f"{given or kept}\n")
        Path(new.name).replace(path)
    if path.exists():
        changed = module.set_fs_attributes_if_different(module.load_file_common_arguments(module.params), changed)
    module.exit_json(changed=changed, password="" if given else kept)


if __name__ == "__main__":
    main()
