#!/usr/bin/python
"""The Ansible module `site_bundle`: whether a part of a bundle can be deployed from; it runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: site_bundle
short_description: Check a part of what "make bundle" made
version_added: "0.1.0"
description:
  - Checks that a folder of a bundle is there, was made from this checkout's files for such a host, and that each of its
    files is the one that its C(manifest.yml) describes.
  - It reads files of the machine that it runs on, so delegate it to the one that runs Ansible. It changes nothing.
options:
  path:
    description: The bundle's folder, C(site_bundle_dir).
    type: str
    required: true
  part:
    description: Which of its folders.
    type: str
    required: true
    choices: [images, wheels]
  host:
    description: What the host to deploy to is called, for the messages.
    type: str
    required: true
  architecture:
    description: That host's architecture, as Ansible names it.
    type: str
    required: true
  python:
    description: That host's version of Python, such as C(3.13); the wheels have to be for it.
    type: str
  sources:
    description:
      - What the bundle has to be made from, by the name of each image; the wheels are called C(wheels).
      - The values are the checksums (SHA-256) of this checkout's files.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: There is nothing to show.
requirements:
  - The Python package PyYAML.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Check the bundle's wheels
  site_bundle:
    path: /srv/bundle
    part: wheels
    host: worklist.example.org
    architecture: x86_64
    python: "3.13"
    sources:
      wheels: 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03
  delegate_to: localhost
"""

RETURN = r"""
files:
  description: How many files were compared with the manifest.
  returned: success
  type: int
  sample: 64
"""

import hashlib  # noqa: E402 - Ansible wants the documentation first
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import yaml  # noqa: E402
from ansible.module_utils.basic import AnsibleModule  # noqa: E402


def checksum(path: Path) -> str:
    """Return a file's SHA-256; nothing where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def wrong_images(bundle: dict[str, Any], asked: dict[str, Any], folder: Path) -> Iterator[str]:
    """Say which images are missing, of other files, for another architecture, or damaged."""
    for name, source in asked["sources"].items():
        image = bundle["images"].get(name, {})
        path = folder / image.get("file", name)
        if image.get("source") != source or bundle["architecture"] != asked["architecture"] or not path.is_file():
            yield (
                f"The bundle in {asked['path']}, made for {bundle['architecture']}, has no image {name} for "
                f"{asked['host']} ({asked['architecture']}) that is built from this checkout's files. Run \"make "
                'bundle" again, with this checkout, on such a machine.'
            )
        elif (found := checksum(path)) != image["sha256"]:
            yield (
                f"The image file {image['file']} in {asked['path']} is not the one that its manifest describes (its "
                f'sha256 is {found}). It was changed or cut short on its way: copy the bundle again, or run "make '
                'bundle" again.'
            )


def wrong_wheels(bundle: dict[str, Any], asked: dict[str, Any], folder: Path) -> Iterator[str]:
    """Say whether the wheels are of another checkout or for other hosts, and which are missing or damaged."""
    if (
        bundle["source"] != asked["sources"]["wheels"]
        or bundle["architecture"] != asked["architecture"]
        or asked["python"] not in bundle["pythons"]
    ):
        yield (
            f"The wheels in {asked['path']} are for Python {', '.join(bundle['pythons'])} on {bundle['architecture']}, "
            f"of version {bundle['version']}; they must be of this very checkout, and for {asked['host']}: Python "
            f'{asked["python"]} on {asked["architecture"]}. Run "make bundle" again, with this checkout.'
        )
        return
    broken = [name for name, expected in bundle["sha256"].items() if checksum(folder / name) != expected]
    if broken:
        yield (
            f"In {folder} these files are missing or not those that the manifest describes: {', '.join(broken)}. "
            'Copy the bundle again, or run "make bundle" again.'
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "part": {"type": "str", "required": True, "choices": ["images", "wheels"]},
            "host": {"type": "str", "required": True},
            "architecture": {"type": "str", "required": True},
            "python": {"type": "str"},
            "sources": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    folder = Path(asked["path"], asked["part"])
    if not folder.is_absolute() or not (folder / "manifest.yml").is_file():
        module.fail_json(
            msg=f'site_bundle_dir is "{asked["path"]}": it must be the whole path, on the machine that runs Ansible, '
            f'of a folder that "make bundle" made, with {asked["part"]}/manifest.yml in it. Make it on a machine with '
            "a network, and carry it here."
        )
    bundle = yaml.safe_load((folder / "manifest.yml").read_text(encoding="utf-8"))
    wrong = wrong_images if asked["part"] == "images" else wrong_wheels
    if problems := list(wrong(bundle, asked, folder)):
        module.fail_json(msg="\n".join(problems))
    module.exit_json(changed=False, files=len(asked["sources"] if asked["part"] == "images" else bundle["sha256"]))


if __name__ == "__main__":
    main()
