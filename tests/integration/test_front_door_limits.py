"""What somebody who means harm can take of the front door: places, memory, the audit log, and the logins of others."""

import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from support import inside
from support.front_door import DOOR, FREE, ORTHANC, OTHER, SIGN_ON, Door, door
from support.waiting import wait_until

PEOPLE = {"vera": "viewer", "olga": "operator", "worklist-reader": "reader"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    people = [{"name": name, "role": PEOPLE[name]} for name in ("vera", "olga")]
    passwords = dict.fromkeys([*PEOPLE, "admin"], "right")
    with door(
        tmp_path_factory.mktemp("door"), passwords, front_door_people=people, front_door_upload_max="3m"
    ) as running:
        yield running


def login(name: str, password: str = "right") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


def written_since(alone: Door, before: int, key: str, wanted: list[object]) -> None:
    """A line is written after its answer."""
    assert [line[key] for line in alone.audit[before:]] == wanted


@pytest.mark.parametrize(
    ("who", "path", "size", "status"),
    [
        ("vera", "/tools/find", 900_000, 200),
        ("vera", "/tools/find", 1_100_000, 413),
        ("olga", "/tools/bulk-modify", 1_100_000, 413),
        ("olga", "/instances", 2_900_000, 200),
        ("olga", "/instances", 3_200_000, 413),
        ("admin", "/dicom-web/studies", 2_900_000, 200),
        ("admin", "/dicom-web/studies/1.2", 3_200_000, 413),
        ("admin", "/dicom-web/servers/x/stow", 1_100_000, 413),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_has_no_more_than_its_place_may(
    alone: Door, who: str, path: str, size: int, status: int, *, chunked: bool
) -> None:
    alone.run(OTHER, "sh", "-c", f"head -c {size} /dev/zero >/tmp/body")
    said = {**login(who), "Content_Type": "application/octet-stream", "Expect": ""}
    more = {"Transfer_Encoding": "chunked"} if chunked else {}
    assert alone.ask(OTHER, path, "--data-binary", "@/tmp/body", **said, **more) == status


def test_a_connection_to_orthanc_is_kept_for_the_next_requests(alone: Door) -> None:
    line = ["curl", "-s", "-u", "vera:right", *[f"http://{DOOR}:8080/statistics"] * 20]
    (first,) = {*alone.run(OTHER, *line).split()}
    time.sleep(0.9)  # it is ended before Orthanc does, after a second: a POST would be lost in that moment
    (second,) = {*alone.run(OTHER, *line).split()}
    assert first != second


def test_orthanc_at_another_address_is_found(alone: Door) -> None:
    def found() -> None:
        assert alone.ask(OTHER, "/tools/find", "-d", "{}", **login("vera")) == 200

    found()
    try:
        alone.move_orthanc(FREE)
        wait_until(found, 20)
    finally:
        alone.move_orthanc(ORTHANC)
        wait_until(found, 20)


def test_connections_that_stop_within_a_request_keep_nobody_out(alone: Door) -> None:
    with ExitStack() as stack:
        for _ in range(4000):
            connection = stack.enter_context(socket.create_connection((DOOR, 8080), timeout=20))
            connection.sendall(b"GET / HTTP/1.1\r\n")
        assert alone.ask(OTHER, "/system", "--max-time", "5", **login("vera")) == 200


def test_a_person_s_downloads_leave_places_at_orthanc_to_others(alone: Door) -> None:
    header = f"Authorization: {login('vera')['Authorization']}"
    script = (
        f"for i in $(seq 30); do curl -so /dev/null -H '{header}' http://{DOOR}:8080/studies/slow/archive & done; wait"
    )

    def statuses() -> list[int]:
        return [line["status"] for line in alone.audit if line["path"] == "/studies/slow/archive"]

    with subprocess.Popen(["docker", "exec", str(alone.clients[OTHER].id), "timeout", "8", "sh", "-c", script]):

        def taken() -> None:
            assert alone.ask(OTHER, **login("vera")) == 429

        wait_until(taken)
        assert alone.ask(OTHER, **login("olga")) == 200
        assert alone.ask(SIGN_ON, **login("vera")) == 200  # from elsewhere somebody may only claim to be her
    assert 200 in statuses() or 499 in statuses()


def test_who_only_claims_to_be_somebody_takes_no_places_of_theirs(alone: Door) -> None:
    head = "POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX-Forwarded-For: 192.0.2.9\r\n"
    with ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(socket.create_connection((DOOR, 8080), timeout=20))
            said = login("olga", "right" if number < 20 else str(number))["Authorization"]
            connection.sendall(f"{head}Authorization: {said}\r\n\r\nhalf".encode())
        request = f"GET /system HTTP/1.1\r\nHost: x\r\nAuthorization: {login('olga')['Authorization']}\r\n\r\n"
        assert alone.send(request.encode()).startswith(b"HTTP/1.1 200 ")


def test_headers_that_never_end_take_little_memory(alone: Door) -> None:
    request = b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 16_000) for number in range(7))

    def memory() -> int:
        script = "for i in /proc/[0-9]*; do grep -q nginx $i/comm && grep VmRSS $i/status; done"
        return sum(int(line.split()[1]) for line in inside.run(alone.container, "sh", "-c", script).stdout.splitlines())

    before = memory()
    with ExitStack() as stack:
        for _ in range(500):
            connection = stack.enter_context(socket.create_connection((DOOR, 8080), timeout=20))
            with suppress(ConnectionError):
                connection.sendall(request)
        assert alone.ask(OTHER, **login("vera")) == 200
        assert memory() - before < 500 * 45  # kB


def test_who_is_refused_is_told_when_to_come_again(alone: Door) -> None:
    assert alone.guess(SIGN_ON, "stranger")[0] == 401
    answer = alone.run(SIGN_ON, "curl", "-si", "-u", "stranger:x", f"http://{DOOR}:8080/system")
    assert answer.startswith("HTTP/1.1 429 ")
    assert "Retry-After: 60\r\n" in answer
    assert "no-store" in answer


def test_wrong_guesses_of_one_name_keep_out_no_other_from_there(alone: Door) -> None:
    assert set(alone.guess(OTHER, "nobody", 40)) == {401, 429}
    assert alone.ask(OTHER, "/tools/find", "-X", "POST", **login("worklist-reader")) == 200
    assert alone.ask(OTHER, **login("admin")) == 200


def test_guesses_of_many_names_are_slowed_too_but_not_the_sync(alone: Door) -> None:
    ask = f"curl -s -o /dev/null -u name$i:x http://{DOOR}:8080/system"
    alone.run(OTHER, "sh", "-c", f"for i in $(seq 200); do {ask}; done")
    assert 429 in [alone.ask(OTHER, **login(f"name{number}", "x")) for number in range(5)]  # of each second two go on
    assert alone.ask(OTHER, "/tools/find", "-X", "POST", **login("worklist-reader", "wrong")) == 401
    assert alone.ask(SIGN_ON, **login("olga", "wrong")) == 401


@pytest.mark.parametrize(
    "said",
    [
        "Bearer dmVyYTpyaWdodA==",
        "Basic dmVyYTpyaWdodA== x",
        "Basic ",
        "Basic !!!!",
        "Basic dmVyYQ==",
        "dmVyYTpyaWdodA==",
    ],
)
def test_what_isn_t_a_login_is_none(alone: Door, said: str) -> None:
    assert alone.ask(SIGN_ON, Authorization=said) == 401


def test_what_the_reader_tries_is_written_down_but_not_what_it_does_each_minute(alone: Door) -> None:
    before = len(alone.audit)
    assert alone.ask(SIGN_ON, "/tools/find", "-X", "POST", **login("worklist-reader")) == 200
    assert alone.ask(SIGN_ON, "/tools/find", "-X", "POST", **login("worklist-reader", "wrong")) == 401
    assert alone.ask(SIGN_ON, "/system", **login("worklist-reader")) == 403
    wait_until(lambda: written_since(alone, before, "status", [401, 403]))


def test_what_reached_orthanc_is_written_down_whatever_came_of_it(alone: Door) -> None:
    before = len(alone.audit)
    for _ in range(5):
        assert alone.ask(SIGN_ON, "/tools/bulk-delete", "-X", "POST", **login("admin")) == 400
    wait_until(lambda: written_since(alone, before, "status", [400] * 5))


@pytest.mark.parametrize(
    "path",
    [
        "/studies?expand&requestedTags=PatientAddress", "/studies?requested%54ags=0010,1040",
        "/instances/1/numpy", "/instances/1/tags", "/instances/1/simplified-tags", "/instances/1/header",
        "/instances/1/content/0010-0010", "/instances/1/file", "/instances/1/matlab", "/series/1/instances-tags",
        "/studies/1/module", "/studies/1/shared-tags", "/dicom-web/studies?includefield=all", "/dicom-web/series",
        "/tools/create-archive?resources=1", "/tools/create-media?resources=1", "/jobs/1/archive", "/studies/1/media",
        "/instances/1/attachments/dicom/data", "/patients/1/archive", "/wado?objectUID=1", "/exports",
        "/web-viewer/instances/1", "/queries/1/answers/0/content", "/series/1/numpy",
    ],
)  # fmt: skip
def test_a_download_is_written_down(alone: Door, path: str) -> None:
    before = len(alone.audit)
    assert alone.ask(SIGN_ON, path, **login("admin")) == 200
    wait_until(lambda: written_since(alone, before, "path", [path.partition("?")[0]]))


@pytest.mark.parametrize(
    "path", ["/system", "/studies", "/studies/1", "/studies/1/series", "/app/explorer.html", "/jobs/1", "/changes?last"]
)
def test_a_look_is_not(alone: Door, path: str) -> None:
    before = len(alone.audit)
    assert alone.ask(SIGN_ON, path, **login("admin")) == 200
    assert alone.audit[before:] == []


@pytest.mark.parametrize(
    "request_line",
    [
        "GET / HTTP/1.1\r\n bad", "DELETE /studies/1 HTTP/1.1", "TRACE / HTTP/1.1", "CONNECT x:80 HTTP/1.1",
        "GET / HTTP/7.0", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip", "GET /%zz HTTP/1.1",
    ],
)  # fmt: skip
def test_strangers_can_t_fill_the_disk(alone: Door, request_line: str) -> None:
    before = len(alone.audit)
    for _ in range(100):
        alone.send(f"{request_line}\r\nHost: x\r\n\r\n".encode())
    assert len(alone.audit) < before + 20  # of a hundred about one


def test_who_goes_away_leaves_lines_that_can_be_read(alone: Door) -> None:
    before = len(alone.audit)
    for number in range(200):  # while the login is looked up, now and then
        with socket.create_connection((DOOR, 8080), timeout=20) as connection:
            said = login("stranger", str(number))["Authorization"]
            connection.sendall(f"GET /system HTTP/1.1\r\nHost: x\r\nAuthorization: {said}\r\n\r\n".encode())
    assert alone.ask(SIGN_ON, "/instances/1/file", **login("admin")) == 200
    wait_until(lambda: written_since(alone, len(alone.audit) - 1, "status", [200]))
    lines = alone.audit[before:-1]
    assert {line["status"] for line in lines} <= {401, 429, 499}
    assert len(lines) < 100


def test_a_line_of_the_audit_log_is_short_and_always_text(alone: Door) -> None:
    for path in ("/instances/%ff%01%1b[31m/file", "/instances/" + "x" * 10_000 + "/file?" + "y" * 900,
                 "/instances/%e2%82%ac/file?\xff\xfe"):  # fmt: skip
        login_line = f"Authorization: {login('admin')['Authorization']}"
        alone.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{login_line}\r\n\r\n".encode("latin-1"))
    wanted = ["/instances/...", "/instances/...", "/instances/xxx"]

    def written() -> None:  # in any order, by two processes; all of it was decoded, or this fails
        assert sorted(line["path"][:14] for line in alone.audit[-3:]) == wanted

    wait_until(written)
    assert all(len(str(line)) < 1200 for line in alone.audit)


def test_what_was_typed_is_not_in_the_log_of_errors(alone: Door) -> None:
    alone.ask(SIGN_ON, "/studies?PatientName=Somebody", **login("my-secret-typed-as-a-name", "x"))
    alone.ask(SIGN_ON, "/worklist/Somebody", **login("vera"))
    assert b"Somebody" not in alone.container.logs()
    assert b"my-secret" not in alone.container.logs()


def test_no_header_is_there_twice(alone: Door) -> None:
    answer = alone.run(SIGN_ON, "curl", "-si", "-u", "vera:right", f"http://{DOOR}:8080/system")
    names = [line.partition(":")[0].lower() for line in answer.partition("\r\n\r\n")[0].splitlines()[1:]]
    assert len(names) == len(set(names)), names


@pytest.mark.parametrize("path", ["/refused-sop-classes", "/disk-space"])
def test_what_the_sync_asks_each_minute_is_for_its_login_alone_and_not_written_down(alone: Door, path: str) -> None:
    before = len(alone.audit)
    assert alone.ask(OTHER, path, **login("worklist-reader")) == 200
    assert len(alone.audit) == before
    for method in ("POST", "PUT", "DELETE"):
        assert alone.ask(OTHER, path, "-X", method, **login("worklist-reader")) == 403
    for other in ("/", "/x", "%2f"):
        assert alone.ask(OTHER, path + other, **login("worklist-reader")) == 403
    assert [alone.ask(OTHER, path, **login(who)) for who in ("vera", "olga", "admin")] == [403, 403, 200]
