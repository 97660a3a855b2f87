"""Debian's Firefox, driven by its own remote protocol (Marionette): Playwright drives only a Firefox of its own."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from support.twins import free_port
from support.waiting import wait_until

#: No connection but to the pages that a test opens, and no question before a login in an address is used.
PREFERENCES = {
    "app.update.enabled": False, "browser.safebrowsing.downloads.remote.enabled": False,
    "browser.shell.checkDefaultBrowser": False, "datareporting.policy.dataSubmissionEnabled": False,
    "dom.disable_open_during_load": False, "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False, "network.http.phishy-userpass-length": 255,
    "services.settings.server": "", "toolkit.telemetry.enabled": False,
}  # fmt: skip


class Firefox:
    """One window. Requests and answers are JSON, each behind its length and a colon."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._connection.makefile("rwb")
        self._numbers = count(1)
        self._receive()  # who it is
        self._ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"unhandledPromptBehavior": "accept"}}})

    def _receive(self) -> Any:
        length = b""
        while not length.endswith(b":"):
            length += self._file.read(1)
        return json.loads(self._file.read(int(length[:-1])))

    def _ask(self, command: str, arguments: dict[str, object]) -> Any:
        said = json.dumps([0, next(self._numbers), command, arguments]).encode()
        self._file.write(b"%d:%s" % (len(said), said))
        self._file.flush()
        _, _, error, answer = self._receive()
        if error:
            raise RuntimeError(f"{command}: {error['message']}")
        return answer

    def goto(self, url: str) -> None:
        """Open an address; one that isn't a page may be answered with an error."""
        self._ask("WebDriver:Navigate", {"url": url})

    def evaluate(self, script: str) -> Any:
        """Run a script in the page; `return` gives its result, of a promise what it brings."""
        return self._ask("WebDriver:ExecuteScript", {"script": script, "args": []})["value"]

    def quit(self) -> None:
        self._ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        self._connection.close()


@contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """Run Firefox without a screen; its profile is in the folder."""
    port = free_port()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join([*lines, f'user_pref("marionette.port", {port});']))
    process = subprocess.Popen(
        ["firefox-esr", "--headless", "--no-remote", "--marionette", "--profile", folder],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    try:
        found: list[Firefox] = []
        wait_until(lambda: found.append(Firefox(port)), 60)
        yield found[0]
        found[0].quit()
        process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
