#!/usr/bin/python
"""The Ansible module `container_current`: a container that has read its files, and is healthy."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_current
short_description: Restart a container that is older than what it reads, and wait until it is healthy
version_added: "0.2.0"
description:
  - Restarts a container that was started before a file that it reads at its start was written. Times are compared, so a
    run that ended before the restart is put right by the next one.
  - Then waits until the container passes its own health check. It runs that check itself, once a second, so it need not
    wait for the engine's next one.
options:
  name:
    description:
      - The container's name.
    type: str
    required: true
  files:
    description:
      - The files on the host that it reads at its start.
    type: list
    elements: path
    default: []
  restart:
    description:
      - Whether to restart it in any case. Check mode has not written the files that a run would write.
    type: bool
    default: false
  stop_timeout:
    description:
      - Seconds that the container has to stop before it is killed.
    type: int
    default: 10
  timeout:
    description:
      - Seconds within which it has to be healthy.
    type: int
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether the container would be restarted, and waits for nothing. It may be missing.
  diff_mode:
    support: full
    description: Shows since when the container runs, and what is newer.
requirements:
  - The Python package requests
  - The collection community.docker, on the machine that runs Ansible
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Let a changed configuration take effect, and wait until Orthanc is healthy
  container_current:
    name: orthanc
    files: [/etc/orthanc-pacs/orthanc.json]
    stop_timeout: 60
    timeout: 120
"""

RETURN = r"""
started:
  description: When the container was started before this task, in UTC; empty if it is missing.
  returned: success
  type: str
  sample: "2026-11-24T08:15:00"
newer:
  description: The files that are newer.
  returned: success
  type: list
  elements: str
  sample: [/etc/orthanc-pacs/orthanc.json]
"""

import time  # noqa: E402 - Ansible wants the documentation first
from datetime import UTC, datetime  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient  # noqa: E402


def written(path: str) -> str:
    """Return when a file was written, in UTC; empty if it is missing."""
    try:
        return datetime.fromtimestamp(int(Path(path).stat().st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except FileNotFoundError:
        return ""


def checked(client: AnsibleDockerClient, container: dict[str, Any]) -> tuple[bool, str]:
    """Run a container's own health check in it; return whether it passes, and what it printed."""
    kind, *command = container["Config"]["Healthcheck"]["Test"]
    line = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
    data = {"AttachStdout": True, "AttachStderr": True, "Cmd": line}
    asked = client.post_json_to_json("/containers/{0}/exec", container["Id"], data=data)["Id"]
    said = client.post_json_to_stream(
        "/exec/{0}/start", asked, data={"Tty": False, "Detach": False}, stream=False, demux=False, tty=False
    )
    passed = client.get_json("/exec/{0}/json", asked)["ExitCode"] == 0
    return passed, (said or b"").decode(errors="replace").strip()


def wait(client: AnsibleDockerClient, name: str, timeout: int) -> None:
    """Wait until a container is healthy; fail if it isn't in time."""
    said = ""
    for second in range(timeout + 1):
        container = client.get_container(name) or {"State": {"Status": "missing"}}
        state = container["State"]
        if state.get("Health", {}).get("Status") == "healthy":
            return
        if state["Status"] == "running" and container["Config"].get("Healthcheck"):
            try:
                passed, said = checked(client, container)
            except Exception as error:  # noqa: BLE001 - it ends while it is asked
                passed, said = False, str(error)
            if passed:
                return
        if second < timeout:
            time.sleep(1)
    client.fail(
        f"The container {name} is {state['Status']}, its health {state.get('Health', {}).get('Status', 'unknown')} "
        f'after {timeout} seconds; its last check answered "{said}". See "docker logs {name}".'
    )


def main() -> None:
    """Run the module."""
    options = {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "path", "default": []},
        "restart": {"type": "bool", "default": False},
        "stop_timeout": {"type": "int", "default": 10},
        "timeout": {"type": "int", "required": True},
    }
    client = AnsibleDockerClient(argument_spec=options, supports_check_mode=True)
    module, params = client.module, client.module.params
    container = client.get_container(params["name"])
    if container is None and not module.check_mode:
        client.fail(f"The container {params['name']} is missing. Run the role that starts it.")
    since = container["State"]["StartedAt"][:19] if container else ""
    newer = [path for path in params["files"] if container and written(path) > since]
    result: dict[str, Any] = {"changed": bool(container) and bool(newer or params["restart"])}
    if module._diff and result["changed"]:
        reason = ", ".join(newer) or "what it reads"
        result["diff"] = {"before": f"started at {since}\n", "after": f"restarted, because {reason} is newer\n"}
    if not module.check_mode:
        if result["changed"]:
            place, seconds = "/containers/{0}/restart", params["stop_timeout"]
            client.post_call(place, container["Id"], params={"t": seconds}, timeout=seconds + 60)
        wait(client, params["name"], params["timeout"])
    module.exit_json(started=since, newer=newer, **result)


if __name__ == "__main__":
    main()
