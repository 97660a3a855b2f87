#!/usr/bin/python
"""The Ansible module `worklist_configuration`: a configuration, checked by dicom_worklist before a host sees it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: worklist_configuration
short_description: Check the configuration of dicom-worklist before it is written
version_added: "0.1.0"
description:
  - Checks the text of a configuration file with the package itself; that labs, as the calendar names them, are one
    scanner's each; and that the host is not another site's.
  - It runs where the package is, on the machine that runs Ansible, and changes nothing.
options:
  content:
    description: The text of the configuration file.
    type: str
    required: true
  labs:
    description: Names of labs, each of which must be exactly one scanner's.
    type: list
    elements: str
    default: []
  installed:
    description: The text of the configuration that the host has; empty if it has none.
    type: str
    default: ''
  new_uids:
    description: Whether the site's name and UID root may be others than those installed.
    type: bool
    default: false
  host:
    description: What the host is called, for the messages.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: There is nothing to show.
requirements:
  - The Python package dicom-worklist, or C(PYTHONPATH) with the folder src of this repository.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Check the configuration with the package itself, on this side
  worklist_configuration:
    content: "{{ lookup('ansible.builtin.template', 'config.yml.j2') }}"
    labs: [Siemens PRISMA 3T, SKYRA]
    host: "{{ inventory_hostname }}"
  delegate_to: localhost
  environment:
    PYTHONPATH: "{{ playbook_dir | dirname }}/src"
"""

RETURN = r"""
scanners:
  description: The AE titles of the scanners that have a worklist.
  returned: success
  type: list
  elements: str
  sample: [PRISMA, SKYRA]
"""

import sys  # noqa: E402 - Ansible wants the documentation first
import tempfile  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule, missing_required_lib  # noqa: E402

try:
    import yaml

    from dicom_worklist import config, errors, settings

    MISSING = False
except ImportError:
    MISSING = True


def load(content: str) -> settings.Config:
    """Return the configuration.

    Raises:
        ConfigError: it is not right; no file is named, as it is in none yet.
    """
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        try:
            return config.load(file.name)
        except errors.ConfigError as error:
            raise errors.ConfigError(str(error).replace(f"the configuration {file.name}: ", "")) from error


def wrong_labs(labs: list[str], scanners: tuple[settings.Scanner, ...]) -> Iterator[str]:
    """Say which labs would be no scanner's, and which, the scanners' own AE titles among them, more than one's."""
    for lab in [*labs, *(scanner.ae_title for scanner in scanners)]:
        matches = [scanner.ae_title for scanner in scanners if scanner.matches(lab)]
        if len(matches) > 1:
            yield f"the lab {lab!r} would be {' and '.join(matches)}, so its bookings would be rejected"
        if not matches and lab in labs:
            yield f"the lab {lab!r} of worklist_sync_example_labs would be no scanner's"


def another_site(site: settings.Site, installed: dict[str, Any], host: str) -> str:
    """Say whether the host has another site; empty if it is the same."""
    if (installed["name"], installed["uid_root"]) == (site.name, site.uid_root):
        return ""
    return (
        f"{host} has the site {installed['name']} (UID root {installed['uid_root']}), the inventory {site.name} (UID "
        f"root {site.uid_root}). Every booking would get another StudyInstanceUID. Is this the right inventory? If so, "
        "run again with -e worklist_sync_new_uids=true."
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "required": True},
            "labs": {"type": "list", "elements": "str", "default": []},
            "installed": {"type": "str", "default": ""},
            "new_uids": {"type": "bool", "default": False},
            "host": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("dicom-worklist", reason=f"in {sys.executable}"))
    asked = module.params
    try:
        loaded = load(asked["content"])
        problems = list(wrong_labs(asked["labs"], loaded.scanners))
    except errors.ConfigError as error:
        problems = [str(error)]
    if problems:
        module.fail_json(
            msg=f"The settings of worklist_sync are not right: {'; '.join(problems)}. Correct that in site_scanners, "
            "site_timezone, worklist_sync_source, worklist_sync_attributes or worklist_sync_pacs_url; what each may be "
            "is in the README."
        )
    if asked["installed"] and not asked["new_uids"]:
        installed = yaml.safe_load(asked["installed"])["site"]
        if said := another_site(loaded.site, installed, asked["host"]):
            module.fail_json(msg=said)
    module.exit_json(changed=False, scanners=[scanner.ae_title for scanner in loaded.scanners])


if __name__ == "__main__":
    main()
