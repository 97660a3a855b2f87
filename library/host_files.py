#!/usr/bin/python
"""The Ansible module `host_files`: folders and small text files of one role, in one go."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_files
short_description: Keep the folders and small text files that a role lists
version_added: "0.2.0"
description:
  - Makes each folder and writes each file of a list, in its order, or removes it. One run of a module per list in place
    of one or two per file, which is most of what a second deployment takes.
  - A file gets its owner and mode before its name, so that at no moment somebody else can read it. It is replaced as a
    whole.
  - Contents are not written to the host's log. If one is secret, the task needs C(no_log) and C(diff=false) as well.
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
          - The name of the owner. Without it, who owns it is left as it is.
        type: str
      group:
        description:
          - The name of the group. Without it, the group is left as it is.
        type: str
      mode:
        description:
          - The mode, such as V('0640'). Without it, a new file can be read by its owner only.
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

import shutil  # noqa: E402 - Ansible wants the documentation first
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402


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
                "required_if": [("state", "file", ("content",))],
            }
        },
        supports_check_mode=True,
        no_log=True,
    )
    wanted = module.params["files"]
    for file in wanted:
        _refuse_another_kind(module, Path(file["path"]), file["state"])
    diff: list[dict[str, str]] = []
    changed = [file["path"] for file in wanted if _keep(module, file, diff)]
    module.exit_json(changed=bool(changed), paths=changed, diff=diff)


def _refuse_another_kind(module: AnsibleModule, path: Path, state: str) -> None:
    """End the module before anything is changed, if a file is where a folder belongs, or the other way round."""
    if (state == "file" and path.is_dir()) or (state == "directory" and path.exists() and not path.is_dir()):
        there, belongs = ("folder", "file") if state == "file" else ("file", "folder")
        module.fail_json(
            msg=f"{path} is a {there}, and a {belongs} belongs there. Move it away and run the role again."
        )


def _keep(module: AnsibleModule, file: dict[str, str], diff: list[dict[str, str]]) -> bool:
    """Make one folder or file what it has to be; return whether that changed anything, or would in check mode."""
    path, state = Path(file["path"]), file["state"]
    if state == "absent":
        return _remove(module, path)
    if state == "directory":
        changed = not path.exists()
        if changed and not module.check_mode:
            path.mkdir(parents=True)
    else:
        changed = _write(module, path, file, diff)
    if not path.exists():  # in check mode, when its owner may be missing too
        return True
    attributes = module.load_file_common_arguments(file, path=str(path))
    return bool(module.set_fs_attributes_if_different(attributes, changed))


def _remove(module: AnsibleModule, path: Path) -> bool:
    there = path.exists() or path.is_symlink()
    if there and not module.check_mode:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return there


def _write(module: AnsibleModule, path: Path, file: dict[str, str], diff: list[dict[str, str]]) -> bool:
    content = file["content"].encode()
    there = path.read_bytes() if path.exists() else None
    if there == content:
        return False
    diff.append(
        {
            "before_header": str(path),
            "after_header": str(path),
            "before": (there or b"").decode(errors="replace"),
            "after": file["content"],
        }
    )
    if not module.check_mode:
        if not path.parent.is_dir():
            module.fail_json(msg=f"{path} can't be written: there is no folder {path.parent}.")
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
            new.write(content)
        try:
            module.set_fs_attributes_if_different(module.load_file_common_arguments(file, path=new.name), changed=False)
            Path(new.name).replace(path)
        finally:
            Path(new.name).unlink(missing_ok=True)
    return True


if __name__ == "__main__":
    main()
