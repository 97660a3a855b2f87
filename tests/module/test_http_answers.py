"""The module `http_answers`, against a web server that says what it was asked."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.modules import run_one


class Mirror(BaseHTTPRequestHandler):
    """Answers with the request; `/401` answers 401, `/text` no JSON, `/elsewhere` with another address."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        login = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        said = {"method": self.command, "path": self.path, "login": login, "body": body}
        self.send_response({"/401": 401, "/elsewhere": 302}.get(self.path, 200))
        if self.path == "/elsewhere":
            self.send_header("Location", "/system")
        content = b"text" if self.path == "/text" else json.dumps(said).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - the server's names

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_each_request_has_its_answer_in_order(tmp_path: Path, url: str) -> None:
    requests = [
        {"path": "/system", "who": "nobody", "wanted": 401},
        {"path": "/find", "method": "POST", "body": "1.2.3", "user": "admin", "password": "s3cret"},
        {"path": "/401"},
        {"path": "/text", "method": "PUT", "body": ""},
        {"path": "/x?last", "method": "DELETE"},
        {"path": "/elsewhere"},
    ]
    result = run_one(tmp_path, {"http_answers": {"url": url, "requests": requests}}, http_proxy="http://127.0.0.1:9")
    answers = result["answers"]
    assert [answer["status"] for answer in answers] == [200, 200, 401, 200, 200, 302]
    assert (answers[0]["who"], answers[0]["wanted"], answers[0]["path"]) == ("nobody", 401, "/system")
    assert answers[0]["json"]["login"] == ""
    assert answers[1]["json"] == {"method": "POST", "path": "/find", "login": "admin:s3cret", "body": "1.2.3"}
    assert answers[2]["json"]["path"] == "/401"
    assert "json" not in answers[3]
    assert answers[4]["json"]["method"] == "DELETE"
    assert result["changed"] is False


def test_a_server_that_does_not_answer_is_named(tmp_path: Path, url: str) -> None:
    result = run_one(tmp_path, {"http_answers": {"url": "http://127.0.0.1:9", "requests": [{"path": "/"}]}})
    assert "http://127.0.0.1:9 doesn't answer" in result["msg"]
