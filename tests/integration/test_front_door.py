"""The front door: who may do what at the PACS, in each way of writing it, and what is kept of it."""

import http.client
import json
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import requests

from support import clients, live
from support.images import synthetic_image
from support.waiting import wait_until

V = live.VARIABLES
DOOR = f"{V['orthanc_container_name']}-front-door"
AUDIT = Path(V["front_door_audit_dir"]) / "audit.log"
#: What Orthanc's documentation says of the plug-in: it documents none of its routes itself.
DICOMWEB = [
    ("GET", "/dicom-web/servers"), ("GET", "/dicom-web/servers/{id}"), ("DELETE", "/dicom-web/servers/{id}"),
    ("PUT", "/dicom-web/servers/{id}"), ("POST", "/dicom-web/servers/{id}/get"),
    ("POST", "/dicom-web/servers/{id}/qido"), ("POST", "/dicom-web/servers/{id}/retrieve"),
    ("POST", "/dicom-web/servers/{id}/stow"), ("POST", "/dicom-web/servers/{id}/delete"),
    ("POST", "/dicom-web/servers/{id}/wado-retrieve"), ("POST", "/dicom-web/studies"),
    ("POST", "/dicom-web/studies/{id}"), ("GET", "/dicom-web/app/client/index.html"),
]  # fmt: skip
#: Of the routes that change nothing, what a viewer may not see: settings, addresses, jobs, other systems.
NOT_FOR_VIEWERS = ("/changes", "/exports", "/jobs", "/modalities", "/peers", "/queries", "/storage-commitment",
                   "/tools", "/dicom-web/servers", "/dicom-web/app")  # fmt: skip
#: POST, because the question is in the body; they change nothing.
QUESTIONS = {"/tools/find", "/tools/lookup", "/tools/count-resources"}
#: What `dicom-worklist deliver` asks; of images only their files.
DELIVERIES = {
    ("GET", "/system"), ("GET", "/changes"), ("GET", "/jobs/{id}"), ("GET", "/storage-commitment/{id}"),
    ("GET", "/queries/{id}/answers"), ("GET", "/instances/{id}/file"), ("POST", "/tools/find"),
    ("POST", "/modalities/{id}/store"), ("POST", "/modalities/{id}/query"),
    ("POST", "/instances/{id}/attachments/{name}/verify-md5"),
}  # fmt: skip
#: What `dicom-worklist repair` asks.
REPAIRS = {
    ("POST", "/instances"), ("POST", "/studies/{id}/modify"), ("POST", "/studies/{id}/reconstruct"),
    ("PUT", "/studies/{id}/metadata/{name}"), ("PUT", "/studies/{id}/labels/{label}"),
    ("POST", "/tools/bulk-delete"), ("POST", "/tools/bulk-modify"),
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def ask(method: str, path: str, who: str = "", *, headers: Mapping[str, str] | None = None, body: str = "") -> Answer:
    """Send a request just as it is written."""
    login = {"Authorization": "Basic " + b64encode(f"{who}:{password(who)}".encode()).decode()} if who else {}
    connection = http.client.HTTPConnection("127.0.0.1", V["orthanc_http_port"], timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**login, "Content-Length": str(len(body)), **(headers or {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode())
        response = connection.getresponse()
        return Answer(response.status, response.read(), dict(response.headers))
    finally:
        connection.close()


def password(who: str) -> str:
    kept = {"admin": "admin.password", "worklist-reader": "reader.password",
            "worklist-delivery": "delivery.password"}  # fmt: skip
    if who in kept:
        return (Path(V["orthanc_config_dir"]) / kept[who]).read_text().strip()
    return f"the-password-of-{who}"


def audited(since: int = 0, **wanted: object) -> list[dict[str, Any]]:
    """Return the lines of the audit log, from line `since` on, in which these are so."""
    lines = [json.loads(line) for line in AUDIT.read_text().splitlines()[since:]]
    return [line for line in lines if wanted.items() <= line.items()]


@pytest.fixture(scope="module")
def study(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A study of one image; the id of each level."""
    assert deployment.first.status == 0, deployment.first.output
    assert clients.storescu("PRISMA", synthetic_image(tmp_path_factory.mktemp("study") / "image.dcm")) == 0
    found = {level: json.loads(ask("GET", f"/{level}", "admin").body)[0]
             for level in ("patients", "studies", "series", "instances")}  # fmt: skip
    yield found
    ask("DELETE", f"/patients/{found['patients']}", "admin")


@pytest.fixture(scope="module")
def routes(study: dict[str, str]) -> list[tuple[str, str]]:
    """Every method and address that Orthanc has, as it documents them itself.

    It asks a public server for examples, which has no place in a test: without a network it leaves such routes out, and
    names them.
    """
    engine = docker.from_env()
    site = engine.containers.get(V["orthanc_container_name"])
    settings = str(Path(V["orthanc_config_dir"]) / "orthanc.json")
    script = "Orthanc /orthanc.json --openapi=/tmp/api.json >/tmp/log 2>&1; cat /tmp/log /tmp/api.json"
    output = engine.containers.run(
        site.image, ["sh", "-c", script], entrypoint="", network_mode="none", remove=True,
        volumes={settings: {"bind": "/orthanc.json", "mode": "ro"}},
    ).decode()  # fmt: skip
    documented = json.loads(output[output.index("\n{") :])["paths"]
    found = [(method.upper(), path) for path, methods in documented.items() for method in methods]
    left_out = re.findall(r"without API documentation: ([A-Z]+) (/\S*)", output)
    assert len(found) > 200
    assert len(left_out) > 20
    return found + left_out + DICOMWEB


def real(path: str, study: Mapping[str, str]) -> str:
    """Put what exists in place of the names in braces."""
    level = path.split("/")[1]
    return (
        path.replace("{id}", study.get(level, "none")).replace("{frame}", "0").replace("{path}", "0010-0010")
        .replace("{name}", "4000" if "/metadata/" in path else "dicom").replace("{label}", "x")
        .replace("{index}", "0").replace("{key}", "x")
    )  # fmt: skip


def may(role: str, method: str, path: str) -> bool:
    """Whether a route is for a role, by what the README says of it."""
    if role == "page":
        return False
    if role == "delivery":
        return (method, path) in DELIVERIES
    if role == "operator" and (method, path) in REPAIRS:
        return True
    if method == "GET":
        return not path.startswith(NOT_FOR_VIEWERS)
    return method == "POST" and (path in QUESTIONS or path.endswith("/verify-md5"))


def state() -> tuple[object, ...]:
    """What somebody who may not change anything must not have changed."""
    asked = ("/patients", "/studies", "/series", "/instances", "/modalities", "/peers", "/tools/log-level", "/exports",
             "/tools/metrics", "/tools/labels", "/tools/unknown-sop-class-accepted")  # fmt: skip
    return tuple(ask("GET", path, "admin").body for path in asked)


@pytest.mark.parametrize(("who", "role"), [("vera", "viewer"), ("paul", "page"), ("olga", "operator"),
                                          ("worklist-delivery", "delivery")])  # fmt: skip
def test_a_person_may_ask_what_the_role_allows_and_nothing_else(
    who: str, role: str, routes: list[tuple[str, str]], study: dict[str, str]
) -> None:
    before = state()
    refused = [(method, path) for method, path in routes if not may(role, method, path)]
    assert len(refused) > 150
    let_through = [one for one in refused if ask(one[0], real(one[1], study), who, body="{}").status != 403]
    assert let_through == []
    assert state() == before
    allowed = [(method, path) for method, path in routes if method == "GET" and may(role, method, path)]
    stopped = [one for one in allowed if ask(one[0], real(one[1], study), who).status in {401, 403, 429}]
    assert stopped == []


#: Other ways of writing one request, each of which some server takes for it: method, address, headers.
DISGUISES: dict[str, Any] = {
    "_method": lambda method, path: ("GET", f"{path}?_method={method}", {}),
    "_method, encoded": lambda method, path: ("GET", f"{path}?%5fm%65thod={method}", {}),
    "_method, second": lambda method, path: ("GET", f"{path}?a=b&_method={method}", {}),
    "_method behind an encoded separator": lambda method, path: ("GET", f"{path}?x=%26_method={method}", {}),
    "_method behind nothing but that": lambda method, path: ("GET", f"{path}?%26_method={method}", {}),
    "_method of a POST": lambda method, path: ("POST", f"{path}?_method={method}", {}),
    "a header": lambda method, path: ("GET", path, {"X-HTTP-Method-Override": method}),
    "a header of a POST": lambda method, path: ("POST", path, {"X-HTTP-Method-Override": method}),
    "another header": lambda method, path: ("POST", path, {"X-HTTP-Method": method}),
    "two slashes": lambda method, path: (method, "/" + path, {}),
    "a slash after it": lambda method, path: (method, path + "/", {}),
    "dots": lambda method, path: (method, "/worklist/.." + path, {}),
    "encoded dots": lambda method, path: (method, "/worklist/%2e%2e" + path, {}),
    "encoded slashes": lambda method, path: (method, "/worklist%2f..%2f" + path[1:].replace("/", "%2f"), {}),
    "encoded letters": lambda method, path: (method, "/%" + f"{ord(path[1]):02x}" + path[2:], {}),
    "encoded twice": lambda method, path: (method, "/app/%252e%252e" + path, {}),
    "backslashes": lambda method, path: (method, "/app\\.." + path.replace("/", "\\"), {}),
    "upper case": lambda method, path: (method, path.upper(), {}),
    "a whole address": lambda method, path: (method, f"http://127.0.0.1:{V['orthanc_http_port']}{path}", {}),
    "lower-case method": lambda method, path: (method.lower(), path, {}),
    "another address in a header": lambda method, path: (
        "GET", "/worklist/index.html", {"X-Original-URL": path, "X-Rewrite-URL": path, "X-HTTP-Method-Override": method}
    ),
}  # fmt: skip


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_way_of_writing_it_lets_a_viewer_change_anything(
    disguise: str, routes: list[tuple[str, str]], study: dict[str, str]
) -> None:
    before = state()
    for method, path in routes:
        if method != "GET" and path not in QUESTIONS:
            written = DISGUISES[disguise](method, real(path, study))
            ask(written[0], written[1], "vera", headers=written[2], body="{}")
    assert state() == before


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_way_of_writing_it_shows_a_page_only_person_a_study(disguise: str, study: dict[str, str]) -> None:
    path = f"/studies/{study['studies']}"
    written = DISGUISES[disguise]("GET", path)
    assert b"PatientMainDicomTags" in ask("GET", path, "vera").body
    assert b"PatientMainDicomTags" not in ask(written[0], written[1], "paul", headers=written[2]).body


def test_nobody_reaches_orthanc_beside_the_front_door(site: live.Site) -> None:
    container = docker.from_env().containers.get(V["orthanc_container_name"])
    published = {port for port, bound in container.attrs["NetworkSettings"]["Ports"].items() if bound}
    assert published == {"4042/tcp"}
    address = container.attrs["NetworkSettings"]["Networks"][V["orthanc_network"]]["IPAddress"]
    for login in (None, site.login, ("worklist-reader", password("worklist-reader")), ("orthanc", "orthanc")):
        assert requests.get(f"http://{address}:8042/system", auth=login, timeout=10).status_code == 401


HERE = f"http://127.0.0.1:{V['orthanc_http_port']}"
CROSS = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        pytest.param("DELETE", {}, 404, id="curl"),
        pytest.param("DELETE", {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 404,
                     id="Orthanc Explorer"),
        pytest.param("DELETE", {"Origin": "https://elsewhere.example"}, 403, id="another origin"),
        pytest.param("DELETE", {"Origin": "null"}, 403, id="an origin that hides itself"),
        pytest.param("DELETE", {"Origin": HERE + "0"}, 403, id="an origin that begins alike"),
        pytest.param("DELETE", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403, id="a neighbour"),
        pytest.param("POST", {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, 403,
                     id="a form"),
        pytest.param("POST", {"Origin": HERE, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, 403,
                     id="what a link sends"),
        pytest.param("POST", {"Content-Type": "text/plain", **CROSS}, 403, id="a form elsewhere"),
        pytest.param("GET", CROSS, 404, id="a link elsewhere that only reads"),
        pytest.param("GET?x=%26_method=DELETE", CROSS, 403, id="a link elsewhere that hides a method"),
        pytest.param("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403, id="a picture"),
    ],
)  # fmt: skip
def test_another_web_page_can_make_nobody_change_anything(
    site: live.Site, method: str, headers: dict[str, str], status: int
) -> None:
    method, _, query = method.partition("?")
    assert ask(method, f"/studies/none?{query}", "admin", headers=headers).status == status


def written(who: str, refused: int) -> None:
    """A line is written after its answer."""
    assert len(audited(who=who, path="/system", status=401)) >= refused


def test_guessing_is_slowed_and_written_down(site: live.Site) -> None:
    tried = [f"wrong {number}" for number in range(40)]
    headers = [{"Authorization": "Basic " + b64encode(f"vera:{one}".encode()).decode()} for one in tried]
    statuses = [ask("GET", "/system", headers=one).status for one in headers]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < 20
    assert b"Wait a minute" in ask("GET", "/system", headers=headers[0]).body
    # of those that were slowed one in a hundred
    wait_until(lambda: written("vera", statuses.count(401)))
    # who is known already goes on
    assert ask("GET", "/system", "admin").status == 200
    subprocess.run(["docker", "restart", "--time", "1", DOOR], check=True, capture_output=True)  # for the next tests
    wait_until(lambda: ask("GET", "/system", "admin"))


def test_each_change_download_and_refusal_is_written_down(site: live.Site, study: dict[str, str]) -> None:
    path, since = f"/studies/{study['studies']}", len(audited())
    archive = ask("GET", f"{path}/archive", "vera")
    assert archive.body.startswith(b"PK")
    ask("DELETE", path, "vera")
    ask("PUT", f"{path}/labels/seen", "olga")
    ask("DELETE", f"{path}/labels/seen", "admin")

    def written_down() -> None:  # a line is written after its answer, and by whichever process was asked
        (downloaded,) = audited(since, path=f"{path}/archive", who="vera")
        assert downloaded["status"] == 200
        assert downloaded["bytes"] >= len(archive.body)  # with what frames it
        assert downloaded["from"].count(".") == 3
        assert [line["status"] for line in audited(since, path=path, who="vera", method="DELETE")] == [403]
        changes = audited(since, path=f"{path}/labels/seen")
        assert {(line["method"], line["who"]) for line in changes} == {("PUT", "olga"), ("DELETE", "admin")}
        assert len(changes) == 2

    wait_until(written_down)
    secrets = [password(who) for who in ("admin", "vera", "worklist-reader")]
    assert not [secret for secret in secrets if secret in AUDIT.read_text()]


def test_the_audit_log_is_rotated_and_only_root_reads_it(site: live.Site) -> None:
    assert AUDIT.stat().st_mode & 0o077 == 0
    assert AUDIT.parent.stat().st_mode & 0o077 == 0
    rules = Path(f"/etc/logrotate.d/{DOOR}")
    subprocess.run(["logrotate", "--force", "--state", "/tmp/front-door.state", rules], check=True)

    def begun() -> None:
        ask("DELETE", "/studies/none", "vera")
        assert audited(path="/studies/none")

    wait_until(begun)  # the signal is answered after the command has ended
    assert rules.read_text().count("rotate 365") == 1


def test_what_a_browser_may_do_is_said_with_each_answer(site: live.Site) -> None:
    for path in ("/", "/system", "/app/explorer.html", "/worklist/index.html", "/nothing"):
        headers = ask("GET", path, "admin").headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Referrer-Policy"] == "no-referrer", path
        assert "frame-ancestors" in headers["Content-Security-Policy"], path
        assert "Access-Control-Allow-Origin" not in headers, path
    assert "sandbox" in ask("GET", "/worklist/index.html", "admin").headers["Content-Security-Policy"]


def test_a_link_in_the_folder_of_the_page_is_not_followed(site: live.Site) -> None:
    link = Path(V["orthanc_page_dir"]) / "link.html"
    (Path(V["orthanc_page_dir"]) / "file.html").write_text("a file")
    (Path(V["orthanc_page_dir"]) / "file.html").chmod(0o644)
    try:
        for target in ("/etc/passwd", "/etc/front-door/people", "file.html", "."):
            link.symlink_to(target)
            assert ask("GET", "/worklist/link.html", "admin").status in {403, 404}, target
            link.unlink()
        assert ask("GET", "/worklist/file.html", "admin").body == b"a file"
    finally:
        link.unlink(missing_ok=True)
        (Path(V["orthanc_page_dir"]) / "file.html").unlink()


def test_the_page_is_there_while_orthanc_is_not(site: live.Site) -> None:
    container = docker.from_env().containers.get(V["orthanc_container_name"])
    site.run("sync", "-c", str(site.config))
    container.pause()
    try:
        assert ask("GET", "/worklist/index.html", "paul").status == 200
    finally:
        container.unpause()
