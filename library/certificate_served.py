#!/usr/bin/python
"""The Ansible module `certificate_served`: a port shows one certificate, and no other."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: certificate_served
short_description: Check that a port shows a certificate
version_added: "0.2.0"
description:
  - Connects with TLS, and fails unless the port shows the first certificate of a file.
  - It compares nothing else, since who issued the certificate and which names it has are for the site to choose.
options:
  host:
    description:
      - The address to ask.
    type: str
    required: true
  port:
    description:
      - The port to ask.
    type: int
    required: true
  file:
    description:
      - The certificate, as PEM text, on the host.
    type: path
    required: true
  container:
    description:
      - The container that answers there, for the message.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: It never changes anything.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Check that the web front end shows its certificate
  certificate_served:
    host: 127.0.0.1
    port: 8042
    file: /etc/orthanc-pacs/tls/generated.crt
    container: orthanc-https
"""

RETURN = r"""
"""

import ssl  # noqa: E402 - Ansible wants the documentation first
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "file": {"type": "path", "required": True},
            "container": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    host, port, file, container = (module.params[name] for name in ("host", "port", "file", "container"))
    wrong = ""
    try:
        expected = BEGIN + Path(file).read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0] + END
        shown = ssl.get_server_certificate((host, port), timeout=10)
        if ssl.PEM_cert_to_DER_cert(shown) != ssl.PEM_cert_to_DER_cert(expected):
            wrong = "it shows another one"
    except (OSError, ValueError) as error:
        wrong = str(error)
    if wrong:
        module.fail_json(
            msg=f"{host}:{port} has to show the certificate {file}, but: {wrong}. Run the role again, and see "
            f'"docker logs {container}".'
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
