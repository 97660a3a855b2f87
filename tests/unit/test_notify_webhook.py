"""The webhook, with a real web server: JSON, a token or a signature, never without TLS to another machine."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_worklist.notify import webhook
from dicom_worklist.notify.connection import NotSent
from dicom_worklist.notify.memory import Known, News
from dicom_worklist.notify.message import Message, Place, about
from dicom_worklist.settings import Webhook
from support.mail_server import endless
from support.web import Certificates, Reply, certificates, serving

NOW = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
PLACE = Place("DCCN", ZoneInfo("Europe/Amsterdam"), None, NOW)
SECRET = "T0K3N-in-the-path"
OK = Reply(b"ok")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


def message(text: str = "Booking 12 is not on the console.") -> Message:
    one = Known(kind="rejected", scanner="PRISMA", text=text, first=NOW, last=NOW, due=True)
    return about(PLACE, "chat", News({"rejected 12": one}, {"emptied": one}))


def hook(tmp_path: Path, url: str, **settings: str) -> Webhook:
    """Return a webhook of this address; of `token` and `secret` the files are written."""
    (tmp_path / "url").write_text(f"{url}\n")
    for name in {"token", "secret"} & settings.keys():
        (tmp_path / name).write_text(f"{settings.pop(name)}\n")
        settings[f"{name}_file"] = str(tmp_path / name)
    return Webhook(url_file=str(tmp_path / "url"), **settings)


def test_it_gets_text_for_people_and_data_for_programs(tmp_path: Path) -> None:
    with serving(OK) as web:
        assert webhook.send(hook(tmp_path, f"{web.url}/{SECRET}"), message().json(), 5) == f"127.0.0.1:{web.port}"
    [asked] = web.asked
    assert (asked.method, asked.target, asked.headers["Content-Type"]) == ("POST", f"/{SECRET}", "application/json")
    got = json.loads(asked.body)
    assert "Booking 12 is not on the console." in got.pop("text")
    assert len(got.pop("id")) == 32
    one = {"kind": "rejected", "scanner": "PRISMA", "text": "Booking 12 is not on the console.",
           "since": "2026-11-24T11:00:00+00:00"}  # fmt: skip
    assert got == {
        "site": "DCCN",
        "page": None,
        "time": "2026-11-24T11:00:00+00:00",
        "began": [one],
        "over": [one | {"until": "2026-11-24T11:00:00+00:00"}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "<!channel> @all",
        "[free](https://example.net/x)",
        "![x](https://example.net/x.png)",
        "`code` https://example.net",
    ],
)
def test_what_somebody_typed_does_nothing_in_a_chat_program(text: str, tmp_path: Path) -> None:
    place = Place("DCCN", PLACE.zone, "https://pacs.example.org/worklist/", NOW)
    one = Known(kind="rejected", scanner="PRISMA", text=text, first=NOW, last=NOW, due=True)
    got = json.loads(about(place, "chat", News({"rejected 12": one}, {})).json())
    shown = got["text"].replace("https://pacs.example.org/worklist/", "")
    assert not {"<", ">", "@", "[", "`"} & set(shown)
    assert "://" not in shown
    assert "https://pacs.example.org/worklist/" in got["text"]
    assert got["began"][0]["text"] == text  # for programs


def test_it_is_signed(tmp_path: Path) -> None:
    with serving(OK) as web:
        webhook.send(hook(tmp_path, web.url, secret="clef"), message().json(), 5)
    [asked] = web.asked
    assert asked.headers["X-Hub-Signature-256"] == f"sha256={hmac.new(b'clef', asked.body, hashlib.sha256).hexdigest()}"
    assert asked.headers["Authorization"] is None


def test_it_has_a_token(tmp_path: Path) -> None:
    with serving(OK) as web:
        webhook.send(hook(tmp_path, web.url, token="abc.def"), message().json(), 5)
    assert web.asked[0].headers["Authorization"] == "Bearer abc.def"


@pytest.mark.parametrize("token", ["two words", "line\nfeed: x", "ä"])
def test_a_token_that_is_not_one_is_told(token: str, tmp_path: Path) -> None:
    with (
        serving(OK) as web,
        pytest.raises(NotSent, match=r"holds no token.*webhook.token in worklist_sync_notify") as failure,
    ):
        webhook.send(hook(tmp_path, web.url, token=token), message().json(), 5)
    assert web.asked == []
    assert token not in str(failure.value)


def test_over_tls_the_server_is_checked(tls: Certificates, tmp_path: Path) -> None:
    with serving(OK, context=tls.server()) as web:
        with pytest.raises(NotSent, match="certificate that is not trusted"):
            webhook.send(hook(tmp_path, web.url), message().json(), 5)
        assert web.asked == []
        webhook.send(hook(tmp_path, web.url, ca_file=str(tls.ca)), message().json(), 5)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://chat.example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1/x", "https://",
        "https://user:password@chat.example.org/", "https://chat.example.org/a b", "https://chat.example.org/\nx",
        "https://chat.example.org:port/", "https://[::1/", "http://127.0.0.1.example.org/",
    ],
)  # fmt: skip
def test_an_address_that_nothing_may_be_sent_to(url: str, tmp_path: Path) -> None:
    with pytest.raises(NotSent, match=r"holds no address of a webhook.*webhook.url in worklist_sync_notify"):
        webhook.send(hook(tmp_path, url), message().json(), 5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Reply(b"", 401), "answers 401: compare webhook.token or webhook.secret .* in worklist_sync_notify"),
        (Reply(b"", 404), "answers 404: the webhook is gone: make a new one in the chat program, .* run site.yml"),
        (Reply(b"", 410), "answers 410: the webhook is gone"),
        (Reply(b"", 500), "answers 500: see its log"),
        (
            Reply(b"", 302, {"Location": "/other"}),
            "answers 302: it sends the message on .* webhook.url in worklist_sync_notify",
        ),
        (Reply(b"", 307, {"Location": "/other"}), "answers 307: it sends the message on"),
        (b"this is not HTTP\r\n\r\n", "can't be used"),
        (b"", "doesn't answer|can't be used"),
    ],
)
def test_an_answer_that_is_not_good_is_told_without_the_address(
    answer: Reply | bytes, said: str, tmp_path: Path
) -> None:
    with serving(answer) as web, pytest.raises(NotSent, match=said) as failure:
        webhook.send(hook(tmp_path, f"{web.url}/{SECRET}"), message().json(), 5)
    assert SECRET not in str(failure.value)
    assert len(web.asked) == 1


def test_a_server_that_is_down_is_told_without_the_address(closed_port: int, tmp_path: Path) -> None:
    with pytest.raises(NotSent, match="doesn't answer") as failure:
        webhook.send(hook(tmp_path, f"http://127.0.0.1:{closed_port}/{SECRET}"), message().json(), 5)
    assert SECRET not in str(failure.value)


def test_a_server_that_says_nothing_is_left(tmp_path: Path) -> None:
    with endless(b"", pause=60) as port, pytest.raises(NotSent, match="doesn't answer"):
        webhook.send(hook(tmp_path, f"http://127.0.0.1:{port}/"), message().json(), 0.2)


def test_a_proxy_is_asked_for_https_and_no_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Reply(b"", 502)) as proxy, serving(OK) as web:
        monkeypatch.setenv("http_proxy", proxy.url)
        webhook.send(hook(tmp_path, web.url), message().json(), 5)
        assert proxy.asked == []
        with pytest.raises(NotSent, match=r"server chat\.example\.org doesn't answer"):
            webhook.send(hook(tmp_path, "https://chat.example.org/x", proxy=proxy.url), message().json(), 5)
    assert [(one.method, one.target) for one in proxy.asked] == [("CONNECT", "chat.example.org:443")]
