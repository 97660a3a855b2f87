#!/usr/bin/python
"""The Ansible module `host_resources`: what of a host stands against a deployment; it needs Python alone."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_resources
short_description: See which ports are free, and how much space there is
version_added: "0.1.0"
description:
  - Tries to listen where services shall listen, looks for the space below folders that need not exist yet, and asks
    Docker's engine, if there is one, which ports some containers have.
  - It changes nothing.
options:
  ports:
    description: Where something shall listen.
    type: list
    elements: dict
    default: []
    suboptions:
      address:
        description: An IPv4 address of the host; C(0.0.0.0) is all.
        type: str
        required: true
      port:
        description: The port.
        type: int
        required: true
  folders:
    description: Folders whose space is of interest.
    type: list
    elements: dict
    default: []
    suboptions:
      folder:
        description: The folder.
        type: path
        required: true
      unless:
        description: A file. If it is there, the space is not of interest, and nothing is reported for it.
        type: path
  containers:
    description: Names of containers.
    type: list
    elements: str
    default: []
  socket:
    description: Where Docker's engine listens.
    type: path
    default: /var/run/docker.sock
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: There is nothing to show.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: See whether Orthanc could be deployed
  host_resources:
    ports:
      - {address: 0.0.0.0, port: 4042}
    folders:
      - {folder: /scratch/data_dicom/orthanc}
    containers: [orthanc]
"""

RETURN = r"""
ports:
  description: For each port why nothing can listen there; empty if something can.
  returned: success
  type: list
  elements: str
  sample: ["taken"]
folders:
  description: For each folder the nearest one that exists, and its free space in GB.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The nearest folder that exists.
      type: str
      sample: /scratch
    free:
      description: The free space there, in GB; none if it is not of interest.
      type: float
      sample: 12.5
deployed:
  description: Whether one of the containers is there.
  returned: success
  type: bool
published:
  description: The host's ports that the containers have.
  returned: success
  type: list
  elements: int
  sample: [4042]
"""

import errno  # noqa: E402 - Ansible wants the documentation first
import http.client  # noqa: E402
import json  # noqa: E402
import shutil  # noqa: E402
import socket  # noqa: E402
import urllib.parse  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

WHY = {errno.EADDRINUSE: "taken", errno.EADDRNOTAVAIL: "not an address"}


def why_not(address: str, port: int) -> str:
    """Return why nothing can listen there now; empty if something can."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that just ended doesn't listen
        try:
            tried.bind((address, port))
            tried.listen(1)
        except OSError as error:
            return WHY.get(error.errno or 0, str(error))
    return ""


def space(folder: str, unless: str | None) -> dict[str, Any]:
    """Return the nearest folder that exists, and its free space in GB."""
    if unless and Path(unless).exists():
        return {"path": folder, "free": None}
    path = next(path for path in (Path(folder), *Path(folder).parents) if path.is_dir())
    return {"path": str(path), "free": round(shutil.disk_usage(path).free / 1e9, 1)}


class Engine(http.client.HTTPConnection):
    """A connection to Docker's engine, through its socket."""

    def __init__(self, path: str) -> None:
        """Take the socket's path."""
        super().__init__("docker")
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def container(engine: str, name: str) -> dict[str, Any]:
    """Return what the engine says of a container; nothing if there is none, or no engine."""
    connection = Engine(engine)
    try:
        connection.request("GET", f"/containers/{urllib.parse.quote(name, safe='')}/json")
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    found: dict[str, Any] = json.loads(said) if answer.status == http.client.OK else {}
    return found


def main() -> None:
    """Run the module."""
    port = {"address": {"type": "str", "required": True}, "port": {"type": "int", "required": True}}
    folder = {"folder": {"type": "path", "required": True}, "unless": {"type": "path"}}
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "dict", "options": port, "default": []},
            "folders": {"type": "list", "elements": "dict", "options": folder, "default": []},
            "containers": {"type": "list", "elements": "str", "default": []},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        supports_check_mode=True,
    )
    asked = module.params
    there = [found for name in asked["containers"] if (found := container(asked["socket"], name))]
    published = [
        int(bound["HostPort"])
        for found in there
        for bindings in (found["NetworkSettings"]["Ports"] or {}).values()
        for bound in bindings or []
    ]
    module.exit_json(
        changed=False,
        ports=[why_not(item["address"], item["port"]) for item in asked["ports"]],
        folders=[space(item["folder"], item["unless"]) for item in asked["folders"]],
        deployed=bool(there),
        published=sorted(set(published)),
    )


if __name__ == "__main__":
    main()
