#!/usr/bin/python
"""The Ansible module `container_client`: several clients, run in one container that is then removed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_client
short_description: Run clients in a container that is removed afterwards
version_added: "0.2.0"
description:
  - Starts a container without rights on the host's network, runs each client in it, one after another, and removes it.
  - Nothing may be secret but what is mounted, since scripts and their variables can be read in the list of processes.
  - It reports what the clients found, and never fails because of it.
options:
  name:
    description:
      - The container's name. One of the same name, of a run that was killed, is removed first.
    type: str
    required: true
  image_of:
    description:
      - The container whose image is used, and whose user the clients run as. So they can read what it can read, and
        the host's firewall takes them for the service's own.
    type: str
    required: true
  image:
    description:
      - Another image to use.
    type: str
  mounts:
    description:
      - The files of the host that the clients can read, at which path each. They can't write them.
    type: dict
    default: {}
  env:
    description:
      - The variables that all scripts read.
    type: dict
    default: {}
  clients:
    description:
      - The clients.
    type: list
    elements: dict
    required: true
    suboptions:
      what:
        description:
          - What it plays.
        type: str
        required: true
      script:
        description:
          - What the container's shell runs.
        type: str
        required: true
      env:
        description:
          - The variables that only this script reads.
        type: dict
        default: {}
      expected:
        description:
          - A regular expression that its output must match; its exit status counts if omitted.
        type: str
attributes:
  check_mode:
    support: full
    description: It changes nothing that lasts, so it runs in check mode too.
  diff_mode:
    support: none
    description: There is nothing to compare.
requirements:
  - The Python package requests
  - The collection community.docker, on the machine that runs Ansible
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Ask as a scanner
  container_client:
    name: orthanc-verify
    image_of: orthanc
    clients:
      - what: C-ECHO as a scanner
        script: echoscu -aet "$scanner" -aec ORTHANC 127.0.0.1 4042
        env: {scanner: PRISMA}
      - what: C-ECHO as a stranger
        script: echoscu -aet STRANGER -aec ORTHANC 127.0.0.1 4042
        expected: Association Rejected
"""

RETURN = r"""
answers:
  description: What each client found, in the order of C(clients).
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: What it played.
      type: str
      sample: C-ECHO as a scanner
    expected:
      description: Whether its output, or its exit status, is as expected.
      type: bool
      sample: true
    status:
      description: Its exit status.
      type: int
      sample: 0
    output:
      description: What it printed, its lines joined by semicolons.
      type: str
      sample: "I: Received Echo Response (Success)"
image:
  description: The image that was used.
  returned: success
  type: str
  sample: dicom-worklist/orthanc:86dfe6165d75
"""

import re  # noqa: E402 - Ansible wants the documentation first
from typing import Any  # noqa: E402

from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient  # noqa: E402

SECONDS = "600"  # after which it ends, if this module is killed


def ask(client: AnsibleDockerClient, container: str, one: dict[str, Any], env: dict[str, Any]) -> dict[str, Any]:
    """Run a client in the container; return its answer."""
    variables = [f"{name}={value}" for name, value in {**env, **one["env"]}.items()]
    data = {"AttachStdout": True, "AttachStderr": True, "Cmd": ["sh", "-ec", one["script"]], "Env": variables}
    asked = client.post_json_to_json("/containers/{0}/exec", container, data=data)["Id"]
    said = client.post_json_to_stream(
        "/exec/{0}/start", asked, data={"Tty": False, "Detach": False}, stream=False, demux=False, tty=False
    )
    text = "; ".join((said or b"").decode(errors="replace").strip().splitlines())
    status = client.get_json("/exec/{0}/json", asked)["ExitCode"]
    expected = bool(re.search(one["expected"], text)) if one["expected"] else status == 0
    return {"what": one["what"], "expected": expected, "status": status, "output": text}


def main() -> None:
    """Run the module."""
    client = AnsibleDockerClient(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image_of": {"type": "str", "required": True},
            "image": {"type": "str"},
            "mounts": {"type": "dict", "default": {}},
            "env": {"type": "dict", "default": {}},
            "clients": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "what": {"type": "str", "required": True},
                    "script": {"type": "str", "required": True},
                    "env": {"type": "dict", "default": {}},
                    "expected": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    params = client.module.params
    running = client.get_container(params["image_of"])
    if running is None:
        client.fail(f"The container {params['image_of']} is missing. Run the role that starts it.")
    image = params["image"] or running["Config"]["Image"]
    wanted = {
        "Image": image,
        "Entrypoint": ["sleep"],
        "Cmd": [SECONDS],
        "User": running["Config"]["User"] or "nobody:nogroup",
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "NetworkMode": "host",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,noexec,nosuid,nodev,size=16m"},  # noqa: S108 - of the container
            "Mounts": [
                {"Type": "bind", "ReadOnly": True, "Source": source, "Target": target}
                for source, target in params["mounts"].items()
            ],
        },
    }
    gone = {"force": True, "v": True}
    old = client.get_container(params["name"])
    if old:
        client.delete_call("/containers/{0}", old["Id"], params=gone)
    container = client.post_json_to_json("/containers/create", data=wanted, params={"name": params["name"]})["Id"]
    try:
        client.post_json("/containers/{0}/start", container)
        answers = [ask(client, container, one, params["env"]) for one in params["clients"]]
    finally:
        client.delete_call("/containers/{0}", container, params=gone)
    client.module.exit_json(changed=False, answers=answers, image=image)


if __name__ == "__main__":
    main()
