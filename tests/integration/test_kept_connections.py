"""What the front door relies on when it keeps its connections to Orthanc: a request has one answer, and only one.

Else what somebody sent within a request could be taken for the next one, and somebody else get its answer.
"""

import socket
from base64 import b64encode
from collections.abc import Iterator

import pytest

from support.own_pacs import PASSWORD, USER, OwnPacs, own_pacs

LOGIN = "Authorization: Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
HIDDEN = f"GET /system HTTP/1.1\r\nHost: orthanc\r\n{LOGIN}\r\n\r\n".encode()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPacs]:
    with own_pacs(tmp_path_factory.mktemp("pacs")) as running:
        yield running


def answers(connection: socket.socket, request: bytes) -> int:
    """Send it; return how many answers come before there is silence."""
    connection.settimeout(20)
    connection.sendall(request)
    said = connection.recv(65536)
    connection.settimeout(0.2)
    try:
        while part := connection.recv(65536):
            said += part
    except TimeoutError:
        pass
    return said.count(b"HTTP/1.1 ")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("login", [LOGIN, "X: none"])
@pytest.mark.parametrize(
    "line",
    ["GET /studies", "GET /app/explorer.html", "HEAD /studies", "DELETE /studies/none", "POST /none", "PUT /none"],
)
def test_what_is_in_a_request_is_not_the_next_one(pacs: OwnPacs, line: str, login: str, *, chunked: bool) -> None:
    address, _, port = pacs.login.url.removeprefix("http://").partition(":")
    begin = f"{line} HTTP/1.1\r\nHost: orthanc\r\n{login}\r\n"
    if chunked:
        request = f"{begin}Transfer-Encoding: chunked\r\n\r\n{len(HIDDEN):x}\r\n".encode() + HIDDEN + b"\r\n0\r\n\r\n"
    else:
        request = f"{begin}Content-Length: {len(HIDDEN)}\r\n\r\n".encode() + HIDDEN
    with socket.create_connection((address, int(port))) as connection:
        assert answers(connection, request) == 1
        assert answers(connection, HIDDEN) == 1
    with socket.create_connection((address, int(port))) as connection:
        assert answers(connection, HIDDEN + HIDDEN) == 2, "two are seen, if they are two"
