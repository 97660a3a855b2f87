#!/usr/bin/python
"""The Ansible module `debian_packages`: Debian packages that are there, without a word to the network if they are."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: debian_packages
short_description: Install Debian packages that are missing
version_added: "0.2.0"
description:
  - Asks dpkg which packages are missing, and installs those with apt-get. Without a missing one no mirror is asked,
    so a host without one can have them installed beforehand.
  - Unlike C(ansible.builtin.apt) it needs no Python library on the host, also in check mode.
options:
  name:
    description:
      - The packages.
    type: list
    elements: str
    required: true
  proxy:
    description:
      - The address of the HTTP proxy that apt-get asks in this run. Without it apt-get asks as it is set on the host.
    type: str
attributes:
  check_mode:
    support: full
    description: Says which packages would be installed.
  diff_mode:
    support: full
    description: Shows the packages that are missing.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Install cron
  debian_packages:
    name: [cron, logrotate]

- name: Install cron by way of a proxy
  debian_packages:
    name: [cron]
    proxy: http://proxy.example.org:3128
"""

RETURN = r"""
missing:
  description: The packages that were missing.
  returned: success
  type: list
  elements: str
  sample: [cron]
"""

import time  # noqa: E402 - Ansible wants the documentation first
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

LISTS = Path("/var/lib/apt/lists")
FRESH = 86400  # seconds for which they are good
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
#: Wait for another apt, such as that of unattended-upgrades, and keep the configuration files that are there.
APT = ["apt-get", "--quiet", *(f"--option={option}" for option in (
    "DPkg::Lock::Timeout=60", "Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"
))]  # fmt: skip
TRIES, PAUSE = 12, 5  # of the lists' own lock, for which apt doesn't wait; in seconds


def main() -> None:
    """Run the module."""
    options = {"name": {"type": "list", "elements": "str", "required": True}, "proxy": {"type": "str"}}
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    wanted, proxy = module.params["name"], module.params["proxy"]
    # an option, because what a package starts would inherit the environment
    apt = [*APT, *(f"--option=Acquire::{scheme}::Proxy={proxy}" for scheme in ("http", "https") if proxy)]
    show = ["dpkg-query", "--show", "--showformat", "${Package}=${db:Status-Status}\\n", *wanted]
    _, shown, _ = module.run_command(show, environ_update=ENVIRONMENT)  # it fails where one is unknown
    there = {line.removesuffix("=installed") for line in shown.splitlines() if line.endswith("=installed")}
    missing = [package for package in wanted if package not in there]
    result = {"changed": bool(missing), "missing": missing}
    if module._diff and missing:
        result["diff"] = {"before": "", "after": "".join(f"{package}\n" for package in missing)}
    if missing and not module.check_mode:
        steps = [["install", "--yes", "--no-install-recommends", *missing]]
        if not list(LISTS.glob("*Release")) or time.time() - LISTS.stat().st_mtime > FRESH:
            steps.insert(0, ["update"])
        for step in steps:
            for _ in range(TRIES):
                status, output, error = module.run_command([*apt, *step], environ_update=ENVIRONMENT)
                if not status or "Could not get lock" not in error:
                    break
                time.sleep(PAUSE)
            if status:
                module.fail_json(
                    msg=f"The Debian packages {', '.join(missing)} are missing, and apt didn't install them: "
                    f"{(error or output).strip()}. Let apt reach a Debian mirror"
                    f"{f' through {proxy}' if proxy else ', with site_http_proxy if that needs a proxy'}, "
                    "or install them beforehand: "
                    f"apt-get install --no-install-recommends {' '.join(missing)}"
                )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
