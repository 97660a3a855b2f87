#!/usr/bin/python
"""The Ansible module `container_image`: the image that a container runs, built, pulled or there."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_image
short_description: Provide the image of a container
version_added: "0.2.0"
description:
  - Builds an image from an archive of its folder, as C(image_context) makes it. Its tag follows the folder and the base
    images, so a changed file or a new base image gives a new image.
  - Labels it with where it comes from, by the keys of the OCI image specification, and with the versions of the
    packages that its own label C(dicom-worklist.packages) names.
  - Removes the stages that it was built in and that have the label C(dicom-worklist.stage), with the image's name.
  - Or takes a ready image, C(image), and pulls it if it is missing and has no C(id).
options:
  repository:
    description:
      - What the built image is called, without a tag.
    type: str
  archive:
    description:
      - The folder that it is built from, a tar archive in base64.
    type: str
  checksum:
    description:
      - The checksum of that folder.
    type: str
  bases:
    description:
      - The images that it is built on, that of the last stage last.
    type: list
    elements: str
  image:
    description:
      - A ready image, which is used instead of building one.
    type: str
  id:
    description:
      - The id that the ready image must have. Then it is never pulled.
    type: str
  renew:
    description:
      - Builds the image even if it is there, and uses nothing that the engine has built before. What Debian has by now
        is then in it. It may get the name of the image that is there; that one keeps its id.
    type: bool
    default: false
  proxy:
    description:
      - The address of the HTTP proxy that the steps of the build ask, such as apt. The image doesn't keep it. Without
        it they ask the one of Docker's own client (C(~/.docker/config.json)), if that has one.
    type: str
attributes:
  check_mode:
    support: full
    description: Says whether an image would be built or pulled. No engine has to answer then.
  diff_mode:
    support: full
    description: Shows the name of the image that is new.
requirements:
  - The Python package requests
  - The collection community.docker, on the machine that runs Ansible
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Build the image
  container_image:
    repository: dicom-worklist/orthanc
    archive: "{{ context.archive }}"
    checksum: "{{ context.checksum }}"
    bases: "{{ context.bases }}"

- name: Build it again, with the packages that Debian has now
  container_image:
    repository: dicom-worklist/orthanc
    archive: "{{ context.archive }}"
    checksum: "{{ context.checksum }}"
    bases: "{{ context.bases }}"
    renew: true

- name: Take an image of the site's own
  container_image:
    image: registry.example.org/orthanc:1.13.0
"""

RETURN = r"""
image:
  description: The image's name; empty if it is missing, because check mode did not make it, or C(id) is another one's.
  returned: success
  type: str
  sample: dicom-worklist/orthanc:86dfe6165d75
engine:
  description: Whether a Docker engine answers. Without check mode the module fails if none does.
  returned: success
  type: bool
  sample: true
containers:
  description: The names of all containers that the engine has, running or not.
  returned: success
  type: list
  elements: str
  sample: [orthanc-pacs, wlmscpfs]
"""

import base64  # noqa: E402 - Ansible wants the documentation first
import hashlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import tarfile  # noqa: E402
from datetime import UTC, datetime  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible_collections.community.docker.plugins.module_utils._api.utils.utils import (  # noqa: E402
    parse_repository_tag,
)
from ansible_collections.community.docker.plugins.module_utils.common_api import AnsibleDockerClient  # noqa: E402

SECONDS = 1800  # how long the engine may be silent while it builds
PACKAGES = "dicom-worklist.packages"


class NoEngineError(Exception):
    """No engine answers; `module` is the module that asked."""

    def __init__(self, module: AnsibleModule, reason: str) -> None:
        """Remember both."""
        super().__init__(reason)
        self.module = module


class Client(AnsibleDockerClient):  # type: ignore[misc]
    """A client that can say that no engine answers."""

    def fail(self, msg: str, **details: Any) -> None:
        """Fail; before there is a connection, so that it can be caught."""
        if not hasattr(self, "docker_api_version"):
            raise NoEngineError(self.module, msg)
        super().fail(msg, **details)


def find(client: Client, name: str) -> dict[str, Any] | None:
    """Return what the engine says of an image; None if it is missing."""
    repository, tag = parse_repository_tag(name)
    found: dict[str, Any] | None = client.find_image(repository, tag or "latest")
    return found


def build(client: Client, name: str, archive: bytes, **options: str | bool) -> dict[str, Any]:
    """Build an image with the engine's own builder (Debian's engine has no BuildKit), and return what it is.

    `options` are more of the engine's own.
    """
    parameters = {"t": name, "rm": True, "forcerm": True, **options}
    headers = {"Content-Type": "application/tar"}
    client._set_auth_headers(headers)
    response = client._post(
        client._url("/build"), data=archive, params=parameters, headers=headers, stream=True, timeout=SECONDS
    )
    client._raise_for_status(response)
    said: list[str] = []
    for line in client._stream_helper(response, decode=True):
        said.append(line.get("stream", ""))
        if "error" in line:
            client.fail(f"The image {name} can't be built: {line['error']}", stdout="".join(said))
    built = find(client, name)
    if built is None:
        client.fail(f"The engine built the image {name}, and doesn't have it.", stdout="".join(said))
    return built or {}


def installed(client: Client, image: str) -> dict[str, str]:
    """Return the version of each Debian package in an image, which is not run for that."""
    container = client.post_json_to_json("/containers/create", data={"Image": image, "Cmd": ["true"]})["Id"]
    try:
        place = client._url("/containers/{0}/archive", container)
        response = client._get(place, params={"path": "/var/lib/dpkg/status"}, stream=False)
        client._raise_for_status(response)
    finally:
        client.delete_call("/containers/{0}", container)
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        status = archive.extractfile("status")
        text = status.read().decode() if status else ""
    return dict(re.findall(r"^Package: (\S+)$(?:\n.+)*?\nVersion: (\S+)$", text, re.MULTILINE))


def labelled(client: Client, name: str, params: dict[str, Any], bases: list[dict[str, Any]]) -> None:
    """Build an image and label it; it has its name only when it is whole."""
    base, unlabelled = bases[-1], f"{name}-unlabelled"
    # Docker's own client would give those of ~/.docker/config.json, too; no image keeps them
    proxies = client._proxy_configs.get_environment()
    if params["proxy"]:
        proxies |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), params["proxy"])
    content = base64.b64decode(params["archive"])
    built = build(client, unlabelled, content, nocache=params["renew"], buildargs=json.dumps(proxies))
    wanted = (built["Config"]["Labels"] or {}).get(PACKAGES, "").split()
    versions = installed(client, unlabelled) if wanted else {}  # what apt chose is known only now
    labels = {
        "org.opencontainers.image.title": params["repository"].rpartition("/")[2],
        "org.opencontainers.image.created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "org.opencontainers.image.base.name": params["bases"][-1],
        "dicom-worklist.base.id": base["Id"],
        "dicom-worklist.source": params["checksum"],
        **{f"dicom-worklist.package.{package}": versions[package] for package in wanted},
    }
    if base["RepoDigests"]:
        labels["org.opencontainers.image.base.digest"] = base["RepoDigests"][0].rpartition("@")[2]
    if wanted:
        labels["org.opencontainers.image.version"] = versions[wanted[0]]
    dockerfile, packed = f"FROM {unlabelled}\n".encode(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    build(client, name, packed.getvalue(), labels=json.dumps(labels))
    client.delete_json("/images/{0}", unlabelled, params={"force": False, "noprune": False})
    # a Dockerfile labels a stage so: the engine's own builder leaves it, and a compiler is large
    stages = {"dangling": ["true"], "label": [f"dicom-worklist.stage={labels['org.opencontainers.image.title']}"]}
    client.post_to_json("/images/prune", params={"filters": json.dumps(stages)})


def main() -> None:
    """Run the module."""
    options = {name: {"type": "str"} for name in ("repository", "archive", "checksum", "image", "id", "proxy")}
    try:
        client = Client(
            argument_spec=options
            | {"bases": {"type": "list", "elements": "str"}, "renew": {"type": "bool", "default": False}},
            supports_check_mode=True,
            required_one_of=[("repository", "image")],
            mutually_exclusive=[("repository", "image")],
            required_by={"repository": ("archive", "checksum", "bases"), "id": ("image",)},
        )
    except NoEngineError as error:
        if error.module.check_mode:
            error.module.exit_json(changed=True, image="", engine=False, containers=[])
        error.module.fail_json(
            msg=f"No Docker engine answers: {error}. The containers need one. Run the role docker_host first; the "
            'engine\'s log is docker_host_log_file, or "journalctl -u docker" where there is systemd.'
        )
    module = client.module
    params = module.params
    every = client.get_json("/containers/json", params={"all": 1})
    containers = sorted(name.lstrip("/") for container in every for name in container["Names"])
    name, bases = params["image"], []
    if not name:
        found = {base: find(client, base) for base in params["bases"]}
        missing = ", ".join(base for base, image in found.items() if image is None)
        if missing and module.check_mode:
            module.exit_json(changed=True, image="", engine=True, containers=containers)
        if missing:
            module.fail_json(
                msg=f"The image {params['repository']} is built on {missing}, which is missing. Run the role "
                f"docker_host first, or name a ready image in {params['repository'].rpartition('/')[2]}_image."
            )
        bases = [image for image in found.values() if image]
        layers = "".join(layer for image in bases for layer in image["RootFS"]["Layers"])
        name = f"{params['repository']}:{hashlib.sha256((params['checksum'] + layers).encode()).hexdigest()[:12]}"
    there = find(client, name)
    if there and params["id"] in {None, there["Id"]} and not params["renew"]:
        module.exit_json(changed=False, image=name, engine=True, containers=containers)
    result: dict[str, Any] = {"changed": True, "image": "", "engine": True, "containers": containers}
    if module._diff:
        result["diff"] = {"before": "", "after": f"{name}\n"}
    if not module.check_mode and not params["id"]:
        if params["image"]:
            repository, tag = parse_repository_tag(name)
            client.pull_image(repository, tag or "latest")
        else:
            labelled(client, name, params, bases)
        result["image"] = name
    module.exit_json(**result)


if __name__ == "__main__":
    main()
