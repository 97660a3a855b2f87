#!/usr/bin/python
"""The documentation of the action `site_inputs`: the work is plugins/action/site_inputs.py's."""

DOCUMENTATION = r"""
---
module: site_inputs
short_description: Check what the inventory gives a role, before anything is touched
version_added: "0.1.0"
description:
  - Checks the variables of a role, and those of the role site that all roles share, against
    C(meta/argument_specs.yml). A name that the role doesn't have, one that was renamed (C(meta/renamed.yml)), and a
    value that can't be read or is not of its form, is refused.
  - Then it checks what the role asks for in its variable C(__<role>_checks), a mapping of the keys below, each
    optional.
  - C(facts), names that begin as the role's variables do but are not variables.
  - C(scanners), a list like C(site_scanners); C(ae_titles), further AE titles, each with its C(variable).
  - C(allowed), lists of who may connect, each a mapping of C(variable), C(addresses), and C(scanners), whether all
    scanners have to be in it.
  - C(certificates), PEM texts, each a mapping of C(variable) and C(pem). Each certificate has to be valid today.
  - C(ports), each a mapping of C(port), C(address), C(variable), and C(containers), those that have the port when the
    role is deployed. They have to be free on the host, and no other role's.
  - C(space), folders that need space at the first deployment, each a mapping of C(folder), C(minimum) in GB,
    C(variable), and C(unless), a file that says that there is a deployment.
  - C(rules), each a mapping of C(that), which has to be true, and C(message).
  - It fails with all that is wrong. Values of variables with C(no_log) stay on the machine that runs Ansible.
options:
  role:
    description: The role's name, with which its variables begin.
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
  - The Python package cryptography, on the machine that runs Ansible.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Check what orthanc was given
  site_inputs:
    role: orthanc
  register: __orthanc_inputs

- name: Remember that all is right
  ansible.builtin.set_fact:
    __site_checked: "{{ __site_checked | default({}) | combine(__orthanc_inputs.checked) }}"
"""

RETURN = r"""
checked:
  description: The role, and the ports that it publishes. They are expected in C(__site_checked) by the next role.
  returned: success
  type: dict
  sample: {orthanc: [{port: 4042, address: 0.0.0.0, variable: orthanc_dicom_port, containers: [orthanc]}]}
"""
