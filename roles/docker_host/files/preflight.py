"""Say what of a host stands against a deployment. Reads and writes JSON; the host needs Python alone.

In: {"ports": [{"address", "port"}], "folders": [path]}. Out: {"ports": [why nothing can listen there, or ""],
"folders": [{"path": the nearest folder that exists, "free": GB}]}.
"""

import errno
import json
import os
import shutil
import socket
import sys

WHY = {errno.EADDRINUSE: "taken", errno.EADDRNOTAVAIL: "not an address"}


def why_not(address: str, port: int) -> str:
    """Return why nothing can listen there now."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that just ended is no listener
        try:
            tried.bind((address, port))
            tried.listen(1)
        except OSError as error:
            return WHY.get(error.errno or 0, str(error))
    return ""


def existing(path: str) -> str:
    """Return the nearest folder that exists."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


asked = json.load(sys.stdin)
folders = [existing(path) for path in asked["folders"]]
json.dump(
    {
        "ports": [why_not(port["address"], int(port["port"])) for port in asked["ports"]],
        "folders": [{"path": path, "free": round(shutil.disk_usage(path).free / 1e9, 1)} for path in folders],
    },
    sys.stdout,
)
