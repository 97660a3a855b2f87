#!/usr/bin/python
"""The Ansible module `http_answers`: what a web server answers to several requests."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: http_answers
short_description: Ask a web server several questions at once
version_added: "0.2.0"
description:
  - Sends several HTTP requests at the same time, and returns what each was answered. C(ansible.builtin.uri) does so for
    one request, and takes as long for it.
  - It reports every answer, and fails only if the server gives none.
options:
  url:
    description:
      - The server's address, which each request's path is appended to.
    type: str
    required: true
  ca_path:
    description:
      - The certificate that the server is checked with, on the host. Empty for the system's authorities.
    type: str
    default: ''
  validate_certs:
    description:
      - Whether the server's certificate is checked.
    type: bool
    default: true
  timeout:
    description:
      - Seconds that the server may stay silent.
    type: int
    default: 10
  requests:
    description:
      - The requests.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The address on the server, with its query.
        type: str
        required: true
      method:
        description: The method.
        type: str
        default: GET
      body:
        description: What is sent.
        type: str
      headers:
        description: Further headers.
        type: dict
        default: {}
      who:
        description: Who asks, for messages.
        type: str
        default: ''
      wanted:
        description: The status that the answer has to have, for messages.
        type: int
        default: 200
      user:
        description: Who logs in; nobody if omitted.
        type: str
      password:
        description: The user's password. It would be shown, so the task needs C(no_log).
        type: str
attributes:
  check_mode:
    support: full
    description: It sends the requests in check mode too.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Ask for the system and the plug-ins
  http_answers:
    url: http://127.0.0.1:8042
    requests:
      - {path: /system, user: admin, password: "{{ password }}"}
      - {path: /plugins, user: admin, password: "{{ password }}"}
  no_log: true
  register: answers
"""

RETURN = r"""
answers:
  description: The answers, in the order of C(requests).
  returned: success
  type: list
  elements: dict
  contains:
    who:
      description: Who asked.
      type: str
      sample: nobody
    method:
      description: The method.
      type: str
      sample: GET
    path:
      description: The address on the server.
      type: str
      sample: /system
    wanted:
      description: The status that it has to have.
      type: int
      sample: 401
    status:
      description: The HTTP status.
      type: int
      sample: 200
    json:
      description: The answer, if it is JSON.
      type: raw
      sample: {"Version": "1.13.0"}
"""

import contextlib  # noqa: E402 - Ansible wants the documentation first
import json  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from typing import Any  # noqa: E402
from urllib.error import HTTPError, URLError  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402
from ansible.module_utils.urls import open_url  # noqa: E402


def answer(params: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Send a request; return what was answered."""
    try:
        response = open_url(
            params["url"] + request["path"],
            method=request["method"],
            data=request["body"],
            headers=request["headers"],
            url_username=request["user"],
            url_password=request["password"],
            force_basic_auth=bool(request["user"]),
            follow_redirects="none",
            use_proxy=False,
            ca_path=params["ca_path"] or None,
            validate_certs=params["validate_certs"],
            timeout=params["timeout"],
        )
    except HTTPError as error:
        response = error
    with response:
        content = response.read()
    found = {name: request[name] for name in ("who", "method", "path", "wanted")} | {"status": response.code}
    with contextlib.suppress(ValueError):
        found["json"] = json.loads(content)
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca_path": {"type": "str", "default": ""},
            "validate_certs": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 10},
            "requests": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "method": {"type": "str", "default": "GET"},
                    "body": {"type": "str"},
                    "headers": {"type": "dict", "default": {}},
                    "who": {"type": "str", "default": ""},
                    "wanted": {"type": "int", "default": 200},
                    "user": {"type": "str"},
                    # no_log would also hide what an answer has in common with a well-known password
                    "password": {"type": "str", "no_log": False},
                },
            },
        },
        supports_check_mode=True,
    )
    params, requests = module.params, module.params["requests"]
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda request: answer(params, request), requests))
    except (URLError, OSError) as error:
        module.fail_json(msg=f"{params['url']} doesn't answer: {error}")
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
