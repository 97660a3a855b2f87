#!/usr/bin/python
"""The Ansible module `host_files`: folders and small text files of one role, in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_files
short_description: Keep the folders and small text files that a role lists
version_added: "0.2.0"
description:
  - Makes each folder and writes each file of a list, in its order, or removes it. It is one run of a module for a list,
    in place of one or two for each file.
  - A file gets its owner and mode before its name, so that at no moment somebody else can read it. It is replaced as a
    whole.
  - A folder may be a symbolic link to one. A file that is a symbolic link is replaced by a file.
  - A new folder has the mode 0755 where I(mode) says nothing else, and so have those above it that are made for it.
  - Contents are not written to the host's log. If one is secret, the task needs C(no_log) as well.
options:
  files:
    description:
      - The folders and files; of a folder and what is in it, the folder comes first.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description:
          - The absolute path.
        type: path
        required: true
      state:
        description:
          - C(file) is a file with I(content), C(directory) is a folder, C(absent) is neither, with all that was in it.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description:
          - The text of the file, in UTF-8. Needed for C(file).
        type: str
      owner:
        description:
          - The name of the owner. Needed for C(file). Of a folder that is there it may be left out, and stays.
        type: str
      group:
        description:
          - The name of the group. As I(owner).
        type: str
      mode:
        description:
          - The mode, such as V('0640'). As I(owner).
        type: raw
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Write what cron and logrotate read
  host_files:
    files:
      - path: /etc/logrotate.d/dicom-worklist
        content: "{{ lookup('ansible.builtin.template', 'logrotate.j2') }}"
        owner: root
        group: root
        mode: '0644'
      - path: /etc/cron.d/old-name
        state: absent
"""

RETURN = r"""
paths:
  description: The paths that were changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [/etc/logrotate.d/dicom-worklist]
"""

import os  # noqa: E402 - Ansible wants the documentation first
import shutil  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

ATTRIBUTES = ("owner", "group", "mode")
DONE = {"file": "written", "directory": "made", "absent": "removed"}
File = dict[str, Any]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
                    "content": {"type": "str"},
                    "owner": {"type": "str"},
                    "group": {"type": "str"},
                    "mode": {"type": "raw"},
                },
                "required_if": [("state", "file", ("content", *ATTRIBUTES))],
            }
        },
        supports_check_mode=True,
        no_log=True,
    )
    files: list[File] = module.params["files"]
    _refuse_what_is_in_the_way(module, files)
    changed: list[str] = []
    diffs: list[dict[str, Any]] = []
    for file in files:
        try:
            diff = _keep(module, file)
        except OSError as error:
            module.fail_json(
                msg=f"{file['path']} can't be {DONE[file['state']]}: {error.strerror}. Look at the disk's space and "
                "the folder's mode, and run the role again.",
                paths=changed,
            )
        if diff is not None:
            changed.append(file["path"])
            diffs.append({"before_header": file["path"], "after_header": file["path"], **diff})
    module.exit_json(changed=bool(changed), paths=changed, **({"diff": diffs} if module._diff else {}))


def _refuse_what_is_in_the_way(module: AnsibleModule, files: list[File]) -> None:
    """End the module before anything is changed, if a file is where a folder belongs, or the other way round."""
    made = {Path(file["path"]) for file in files if file["state"] == "directory"}
    for file in files:
        path, state = Path(file["path"]), file["state"]
        above = next(parent for parent in path.parents if parent.exists())
        if state != "absent" and not above.is_dir():
            path, there, belongs = above, "file", "folder"
        elif state == "file" and path.is_dir():
            there, belongs = "folder", "file"
        elif state == "directory" and path.exists() and not path.is_dir():
            there, belongs = "file", "folder"
        elif state == "file" and not path.parent.is_dir() and path.parent not in made and not module.check_mode:
            # in check mode an earlier task has not made it
            module.fail_json(
                msg=f"{path} can't be written: there is no folder {path.parent}. List that before the file."
            )
        else:
            continue
        module.fail_json(
            msg=f"{path} is a {there}, and a {belongs} belongs there. Move it away and run the role again."
        )


def _keep(module: AnsibleModule, file: File) -> dict[str, Any] | None:
    """Make one folder or file what it has to be; return what is different, or would be in check mode, or None."""
    path, state = Path(file["path"]), file["state"]
    there = path.is_symlink() or path.exists()
    if state == "absent":
        if there and not module.check_mode:
            _remove(path)
        return {"before": {"state": "present"}, "after": {"state": "absent"}} if there else None
    diff: dict[str, Any] = {"before": {}, "after": {}}
    if state == "directory":
        path = Path(os.path.realpath(path))
        if not path.exists():
            diff = {"before": {"state": "absent"}, "after": {"state": "directory"}}
            if not module.check_mode:
                _make(path)
    elif path.is_symlink() or not there or path.read_bytes() != file["content"].encode():
        before = "" if path.is_symlink() or not there else path.read_bytes().decode(errors="replace")
        if not module.check_mode:
            _write(module, path, file)
        return {"before": before, "after": file["content"]}
    different = bool(diff["after"])
    if path.exists():  # else check mode, when its owner may be missing too
        attributes = module.load_file_common_arguments({name: file[name] for name in ATTRIBUTES}, path=str(path))
        different = module.set_fs_attributes_if_different(attributes, different, diff)
    return diff if different else None


def _make(path: Path) -> None:
    """Make a folder, and those above it, with any umask."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _write(module: AnsibleModule, path: Path, file: File) -> None:
    """Write a file beside its place, and give it its name when it is whole and has its owner and mode."""
    handle, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as content:
            content.write(file["content"].encode())
        attributes = module.load_file_common_arguments({name: file[name] for name in ATTRIBUTES}, path=new)
        module.set_fs_attributes_if_different(attributes, changed=False)
        Path(new).replace(path)
    finally:
        Path(new).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
