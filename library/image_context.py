#!/usr/bin/python
"""The Ansible module `image_context`: what an image is built from, as one archive and one checksum."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_context
short_description: Read the folder that an image is built from
version_added: "0.2.0"
description:
  - Packs a folder with a Dockerfile, subfolders included, into an archive that C(container_image) builds from.
  - The checksum follows every file of the folder, its name, its content and whether it can be executed.
  - It reads only, so run it on the machine that has the folder.
options:
  folder:
    description:
      - The folder.
    type: path
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
- name: Read the folder of the image
  image_context:
    folder: "{{ role_path }}/files/image"
  delegate_to: localhost
  register: context
"""

RETURN = r"""
archive:
  description: The folder as a tar archive, in base64.
  returned: success
  type: str
  sample: RG9ja2VyZmlsZQAA
checksum:
  description: The SHA-256 of what is in the folder.
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
bases:
  description: The images that the Dockerfile builds on, each once, that of the last stage last.
  returned: success
  type: list
  elements: str
  sample: ["debian:trixie-slim"]
"""

import base64  # noqa: E402 - Ansible wants the documentation first
import hashlib  # noqa: E402
import io  # noqa: E402
import re  # noqa: E402
import tarfile  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

FROM = re.compile(r"^FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE | re.MULTILINE)


def bases(dockerfile: str) -> list[str]:
    """Return the images that a Dockerfile builds on, each once, that of the last stage last."""
    stages: dict[str, str] = {}
    found: list[str] = []
    for image, stage in FROM.findall(dockerfile):
        base = stages.get(image, image)
        stages[stage] = base
        found = [*(name for name in found if name != base), base]
    return [name for name in found if name != "scratch"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"folder": {"type": "path", "required": True}}, supports_check_mode=True)
    folder = Path(module.params["folder"])
    dockerfile = folder / "Dockerfile"
    if not dockerfile.is_file():
        module.fail_json(msg=f"{folder} has no Dockerfile: an image is built from a folder that has one.")
    checksum, packed = hashlib.sha256(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            content, entry = path.read_bytes(), tarfile.TarInfo(path.relative_to(folder).as_posix())
            # of a file's mode only this is the same in every checkout
            entry.size, entry.mode = len(content), 0o755 if path.stat().st_mode & 0o100 else 0o644
            checksum.update(f"{entry.name}\0{entry.mode}\0{entry.size}\0".encode() + content)
            archive.addfile(entry, io.BytesIO(content))
    module.exit_json(
        archive=base64.b64encode(packed.getvalue()).decode(),
        checksum=checksum.hexdigest(),
        bases=bases(dockerfile.read_text(encoding="utf-8")),
    )


if __name__ == "__main__":
    main()
