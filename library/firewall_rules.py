#!/usr/bin/python
"""The Ansible module `firewall_rules`: a service's nftables rules, in force now and from each start of the host."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: firewall_rules
short_description: Load and keep, or remove, the firewall rules of a service
version_added: "0.2.0"
description:
  - Loads a service's rules, an nftables table of its own, and keeps them in a file. Nothing else of the host's network
    is touched.
  - A unit of systemd, where that runs the host, loads the files of all services at each start.
  - The rules are loaded each time, so what somebody else did to the table is put right. It is replaced whole, so there
    is no moment without rules.
  - Without C(rules) it removes the table and the file, and with the last file the unit.
options:
  table:
    description:
      - The name of the table, of the family C(inet).
    type: str
    required: true
  file:
    description:
      - Where the rules are kept.
    type: path
    required: true
  rules:
    description:
      - The rules, as C(nft --file) reads them. They must make the table, and replace one that is there. Empty for none.
    type: str
    default: ''
  unit:
    description:
      - The unit of systemd.
    type: str
    required: true
  unit_files:
    description:
      - What the unit consists of, C(content) by path. A file that begins with C(#!) can be executed.
    type: dict
    default: {}
  replaces:
    description:
      - What an earlier version of the same rules was called. It is removed once the new one is in force.
    type: list
    elements: dict
    default: []
    suboptions:
      table:
        description: The name of its table.
        type: str
        required: true
      file:
        description: Where it was kept.
        type: path
        required: true
      unit:
        description: Its unit.
        type: str
        required: true
      unit_files:
        description: The files of its unit.
        type: list
        elements: path
        default: []
attributes:
  check_mode:
    support: full
    description: >-
      Says exactly what a run would change, and changes nothing. That the last rules of a host take the unit with them
      is not seen where several services go in one play.
  diff_mode:
    support: full
    description: Shows each file before and after.
requirements:
  - nftables
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Let only the scanners connect
  firewall_rules:
    table: orthanc_firewall
    file: /etc/dicom-worklist-firewall/orthanc.nft
    rules: "{{ lookup('ansible.builtin.template', 'rules.nft.j2') }}"
    unit: dicom-worklist-firewall.service
    unit_files:
      /etc/systemd/system/dicom-worklist-firewall.service: "{{ lookup('ansible.builtin.template', 'unit.service.j2') }}"

- name: Let everybody connect
  firewall_rules:
    table: orthanc_firewall
    file: /etc/dicom-worklist-firewall/orthanc.nft
    unit: dicom-worklist-firewall.service
"""

RETURN = r"""
removed:
  description: The tables and files that were removed.
  returned: success
  type: list
  elements: str
  sample: [orthanc_firewall, /etc/dicom-worklist-firewall/orthanc.nft]
"""

import contextlib  # noqa: E402 - Ansible wants the documentation first
import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

NFT = "/usr/sbin/nft"


def text(path: Path) -> str:
    """Return what is in a file; empty if it is missing."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


class Host:
    """The host: each method makes one thing as it must be, unless in check mode, and remembers the difference."""

    def __init__(self, module: AnsibleModule) -> None:
        """Begin with no difference."""
        self.module = module
        self.diff: list[dict[str, str]] = []
        self.removed: list[str] = []
        self.systemd = Path("/run/systemd/system").is_dir()

    def run(self, *line: str, check: bool = True) -> bool:
        """Run a command; return whether it ended well."""
        status, output, error = self.module.run_command(list(line), check_rc=False)
        if check and status:
            self.module.fail_json(msg=f"{' '.join(line)} failed: {(error or output).strip()}")
        return bool(status == 0)

    def differs(self, name: str, before: str, after: str) -> bool:
        """Remember a difference; return whether there is one that has to be made, now."""
        if before == after:
            return False
        self.diff.append({"before": before, "after": after, "before_header": name, "after_header": name})
        return not self.module.check_mode

    def has_table(self, table: str) -> bool:
        """Return whether the kernel has a table."""
        return Path(NFT).exists() and self.run(NFT, "list", "table", "inet", table, check=False)

    def write(self, path: Path, content: str) -> bool:
        """Write a file; return whether it has to be written."""
        mode = 0o755 if content.startswith("#!") else 0o644
        kept = path.stat() if path.is_file() else None
        changed = text(path) != content
        if kept and not changed:
            is_now = f"mode: {kept.st_mode & 0o7777:04o}, owner: {kept.st_uid}:{kept.st_gid}\n"
            if self.differs(f"{path} (mode and owner)", is_now, f"mode: {mode:04o}, owner: 0:0\n"):
                os.chown(path, 0, 0)
                path.chmod(mode)
        if self.differs(str(path), text(path), content):
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as new:
                new.write(content)
            Path(new.name).chmod(mode)
            Path(new.name).replace(path)
        return changed

    def remove(self, path: Path) -> bool:
        """Remove a file; return whether it was there."""
        there = path.is_file()
        if there:
            self.removed.append(str(path))
            if self.differs(str(path), text(path) or "\n", ""):
                path.unlink()
        return there

    def load(self, table: str, file: Path, rules: str) -> None:
        """Load rules, and keep them."""
        if not self.has_table(table) and text(file) == rules:
            self.differs(f"table inet {table}", "", "loaded\n")
        if Path(NFT).exists() or not self.module.check_mode:  # check mode has not installed it
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".nft") as new:
                new.write(rules)
                new.flush()
                self.run(NFT, *(["--check"] if self.module.check_mode else []), "--file", new.name)
        self.write(file, rules)

    def keep(self, unit: str, files: dict[str, str]) -> None:
        """Load the files of all services from the next start on."""
        written = [path for path, content in files.items() if self.write(Path(path), content)]
        enabled = self.run("systemctl", "is-enabled", "--quiet", unit, check=False)
        active = self.run("systemctl", "is-active", "--quiet", unit, check=False)
        if not self.module.check_mode and written:
            self.run("systemctl", "daemon-reload")
        if self.differs(unit, f"enabled: {enabled}\nactive: {active}\n", "enabled: True\nactive: True\n"):
            self.run("systemctl", "enable", "--now", unit)

    def forget(self, table: str, file: Path, unit: str, files: list[Path]) -> None:
        """Remove rules, and with the last ones the unit."""
        if self.has_table(table):
            self.removed.append(table)
            if self.differs(f"table inet {table}", "loaded\n", ""):
                self.run(NFT, "delete", "table", "inet", table)
        self.remove(file)
        if [other for other in file.parent.glob("*.nft") if other != file]:
            return
        there = [path for path in files if path.is_file()]
        if there and self.systemd and not self.module.check_mode:
            self.run("systemctl", "disable", "--now", "--quiet", unit, check=False)
        for path in there:
            self.remove(path)
        if there and self.systemd and not self.module.check_mode:
            self.run("systemctl", "daemon-reload")
        for folder in {file.parent, *(path.parent for path in there)} - {Path("/etc/systemd/system")}:
            if not self.module.check_mode:
                with contextlib.suppress(OSError):  # somebody else has files there, or it is missing
                    folder.rmdir()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "file": {"type": "path", "required": True},
            "rules": {"type": "str", "default": ""},
            "unit": {"type": "str", "required": True},
            "unit_files": {"type": "dict", "default": {}},
            "replaces": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "table": {"type": "str", "required": True},
                    "file": {"type": "path", "required": True},
                    "unit": {"type": "str", "required": True},
                    "unit_files": {"type": "list", "elements": "path", "default": []},
                },
            },
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    host = Host(module)
    if params["rules"]:
        host.load(params["table"], Path(params["file"]), params["rules"])
        if host.systemd:
            host.keep(params["unit"], params["unit_files"])
    else:
        host.forget(params["table"], Path(params["file"]), params["unit"], list(map(Path, params["unit_files"])))
    for old in params["replaces"]:
        host.forget(old["table"], Path(old["file"]), old["unit"], list(map(Path, old["unit_files"])))
    module.exit_json(changed=bool(host.diff), diff=host.diff, removed=host.removed)


if __name__ == "__main__":
    main()
