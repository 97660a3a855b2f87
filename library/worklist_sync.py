#!/usr/bin/python
"""The Ansible module `worklist_sync`: arguments in, result out; the work is dicom_worklist's."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: worklist_sync
short_description: Make a DICOM worklist equal to the booking calendar
version_added: "0.1.0"
description:
  - Reads the bookings that the configuration file names, and publishes them as entries in the folders of
    the worklist broker C(wlmscpfs). It is what C(dicom-worklist sync) does.
  - Bookings that can't become an entry are warnings, and never stop the others.
  - It fails if the configuration is wrong, the bookings can't be read, or a folder can't be written or locked.
    What is on the worklist then stays; without the calendar, only entries of days before the window go.
options:
  config:
    description:
      - The configuration file of C(dicom-worklist), on the host.
    type: path
    required: true
  day:
    description:
      - The day that stands in for today, as C(YYYY-MM-DD).
      - Default is today in the site's time zone.
    type: str
attributes:
  check_mode:
    support: full
    description: Says exactly what a run would change, and changes nothing.
  diff_mode:
    support: full
    description: Shows the changed entries, before and after, by DICOM keyword.
requirements:
  - The Python package dicom-worklist, in the Python that runs the module (C(ansible_python_interpreter)).
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Publish the worklist now
  worklist_sync:
    config: /etc/dicom-worklist/config.yml
  vars:
    ansible_python_interpreter: /opt/dicom-worklist/current/bin/python

- name: Publish the worklist of another day
  worklist_sync:
    config: /etc/dicom-worklist/config.yml
    day: "2026-11-24"
  vars:
    ansible_python_interpreter: /opt/dicom-worklist/current/bin/python
"""

RETURN = r"""
day:
  description: The day that the worklist is for, in the site's time zone.
  returned: success
  type: str
  sample: "2026-11-24"
published:
  description: Entries that are new.
  returned: success
  type: list
  elements: dict
  contains: &entry
    booking_id:
      description: The booking's id in the calendar.
      type: str
      sample: "4711"
    ae_title:
      description: The scanner's AE title.
      type: str
      sample: PRISMA
    file:
      description: The name of the entry's file in the worklist's folder.
      type: str
      sample: booking-4711-PRISMA.wl
updated:
  description: Entries that say something else than before.
  returned: success
  type: list
  elements: dict
  contains: *entry
removed:
  description: Entries that are gone.
  returned: success
  type: list
  elements: dict
  contains: *entry
unchanged:
  description: Entries that stay as they are.
  returned: success
  type: list
  elements: dict
  contains: *entry
rejected:
  description: Bookings that can't become an entry. Each is a warning, too.
  returned: success
  type: list
  elements: dict
  contains:
    booking_id:
      description: The booking's id in the calendar.
      type: str
      sample: "4712"
    reason:
      description: What is wrong with it.
      type: str
      sample: "subject_session '-1' names no subject: write <subject>-<session>"
warnings:
  description: What was shortened or replaced in a description, and the rejected bookings.
  returned: success
  type: list
  elements: str
exit_status:
  description: The exit status that C(dicom-worklist sync) would have, 2, 4 or 5.
  returned: failure
  type: int
  sample: 4
"""

import sys  # noqa: E402 - Ansible wants the documentation first
from datetime import UTC, date, datetime  # noqa: E402

from ansible.module_utils.basic import AnsibleModule, missing_required_lib  # noqa: E402

try:
    from dicom_worklist import config, errors, pipeline, report
except ImportError:
    pipeline = None  # type: ignore[assignment]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"config": {"type": "path", "required": True}, "day": {"type": "str"}},
        supports_check_mode=True,
    )
    if pipeline is None:
        module.fail_json(
            msg=missing_required_lib(
                "dicom-worklist", reason=f"as this checkout has it, in {sys.executable}: run site.yml first"
            )
        )
    try:
        day = date.fromisoformat(module.params["day"]) if module.params["day"] else None
    except ValueError:
        module.fail_json(msg=f"day is {module.params['day']!r}: write YYYY-MM-DD", exit_status=2)
    try:
        done = pipeline.run(config.load(module.params["config"]), day, now=datetime.now(UTC), dry_run=module.check_mode)
    except errors.WorklistError as error:
        module.fail_json(msg=report.one_line(str(error)), exit_status=error.exit_status)
    for rejection in done.rejected:
        module.warn(report.one_line(f"booking {rejection['booking_id']} is rejected: {rejection['reason']}"))
    for warning in done.warnings:
        module.warn(report.one_line(warning))
    # Ansible itself returns the warnings
    result = {key: value for key, value in done.as_dict().items() if key != "warnings"}
    result["changed"] = done.changed
    if module._diff:
        before, after = done.as_text()
        result["diff"] = {"before": before, "after": after, "before_header": "worklist", "after_header": "worklist"}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
