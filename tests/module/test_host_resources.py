"""The module `host_resources` on this machine; Docker's engine is a socket that answers in its form."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

from support.plays import Result, run, tries

#: Of `GET /containers/NAME/json`, what the module reads; a port that isn't published has no bindings.
PORTS = {"8042/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18042"}], "4242/tcp": None}
CONTAINERS = {"orthanc": {"NetworkSettings": {"Ports": PORTS}}, "stopped": {"NetworkSettings": {"Ports": {}}}}


class Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = CONTAINERS.get(self.path.removeprefix("/containers/").removesuffix("/json"))
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found or {"message": "No such container"}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = str(tmp_path_factory.mktemp("engine") / "docker.sock")
    with ThreadingUnixStreamServer(path, Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


def asked(path: Path, *arguments: Result) -> list[Result]:
    results, _ = run(path, tries("host_resources", *arguments))
    assert not [result["msg"] for result in results if result["changed"] or result.get("failed")]
    return results


def test_each_port_is_free_taken_or_nowhere(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.1", 0)) as closed:
        taken, free = listener.getsockname()[1], closed.getsockname()[1]
        closed.close()
        ports = [{"address": "127.0.0.1", "port": port} for port in (taken, free)]
        ports += [{"address": "0.0.0.0", "port": taken}, {"address": "203.0.113.9", "port": free}]
        [result] = asked(tmp_path, {"ports": ports})
    assert result["ports"] == ["taken", "", "taken", "not an address"]


def test_a_folder_that_is_not_there_has_the_space_of_the_nearest_that_is(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    folders = [
        {"folder": str(tmp_path / "not/there")},
        {"folder": str(tmp_path), "unless": str(tmp_path / "a file")},
        {"folder": str(tmp_path), "unless": str(tmp_path / "no file")},
    ]
    [result] = asked(tmp_path, {"folders": folders})
    assert [folder["path"] for folder in result["folders"]] == [str(tmp_path)] * 3
    there, skipped, also = (folder["free"] for folder in result["folders"])
    assert there == also > 0
    assert skipped is None


def test_the_ports_of_containers_are_what_the_engine_says(tmp_path: Path, engine: str) -> None:
    both, stopped, none, no_engine = asked(
        tmp_path,
        {"containers": ["orthanc", "other"], "socket": engine},
        {"containers": ["stopped"], "socket": engine},
        {"containers": ["other"], "socket": engine},
        {"containers": ["orthanc"], "socket": str(tmp_path / "no engine")},
    )
    assert (both["deployed"], both["published"]) == (True, [18042])
    assert (stopped["deployed"], stopped["published"]) == (True, [])
    assert (none["deployed"], none["published"]) == (no_engine["deployed"], no_engine["published"]) == (False, [])
