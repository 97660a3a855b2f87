"""On the PACS's host: people are notified that the page is old, with Debian's Python and without the package."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_worklist.notify import page_age
from support.mail_server import MailServer, endless, mail_server
from support.web import Reply, serving
from tools.modules import imports

ROOT = Path(__file__).parents[2]
#: What the role copies to the PACS's host.
COPIED = ("connection", "mail", "page_age", "webhook")
#: Noon of a day, in seconds.
NOON = 1_795_521_600.0


class Host:
    """A host with a page; the minutes are those after noon."""

    def __init__(self, folder: Path, server: MailServer) -> None:
        self.folder, self.server = folder, server
        self.page = folder / "index.html"
        self.settings: dict[str, Any] = {
            "site": "DCCN",
            "page": "https://pacs.example.org/worklist/",
            "path": str(self.page),
            "after": 15,
            "memory": str(folder / "memory.json"),
            "timeout": 5,
            "server": {"host": "127.0.0.1", "port": server.port, "sender": "w@example.org", "security": "none"},
            "recipients": [{"name": "operators", "mail": "mri@example.org"}],
        }
        self.write(0)

    def write(self, minute: float) -> None:
        self.page.write_text("page")
        os.utime(self.page, (NOON + minute * 60, NOON + minute * 60))

    @property
    def file(self) -> Path:
        path = self.folder / "settings.json"
        path.write_text(json.dumps(self.settings))
        return path

    def run(self, *minutes: int) -> list[str]:
        return [line for minute in minutes for line in page_age.main(str(self.file), NOON + minute * 60)]

    @property
    def subjects(self) -> list[str]:
        return [str(one["Subject"]) for one in self.server.mails]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with mail_server() as server:
        yield Host(tmp_path, server)


def test_an_old_page_is_reported_once_and_so_is_its_return(host: Host) -> None:
    assert host.run(*range(16)) == []
    assert host.run(*range(16, 60)) == [f"operators was notified: 127.0.0.1:{host.server.port} took it"]
    assert host.subjects == ["Worklist DCCN: the page has not been updated for 16 minutes"]
    assert "https://pacs.example.org/worklist/" in host.server.mails[0].get_content()
    host.write(60)
    host.run(*range(60, 75))
    assert host.subjects[1:] == ["Worklist DCCN: 1 over: the page is new again"]


def test_a_page_that_is_new_for_a_moment_is_not_over(host: Host) -> None:
    host.run(16)
    host.write(20)
    host.run(20, 21, 36)
    host.write(38)
    host.run(*range(38, 46))
    assert len(host.subjects) == 1


def test_a_page_that_never_came_is_reported(host: Host) -> None:
    host.page.unlink()
    host.run(0, 10, 16, 17)
    assert len(host.subjects) == 1


def test_who_gets_other_kinds_gets_nothing(host: Host) -> None:
    one = host.settings["recipients"][0]
    host.settings["recipients"] = [{**one, "kinds": ["disk"]}, {**one, "name": "b", "kinds": ["outdated"]}]
    assert [line.partition(" ")[0] for line in host.run(16)] == ["b"]


def test_a_message_that_could_not_be_sent_is_sent_later(host: Host) -> None:
    host.server.refused = {"mri@example.org": "450 later"}
    assert "450 later" in host.run(16)[0]
    host.server.refused = {}
    host.run(17, 18)
    assert len(host.subjects) == 1


def test_a_message_that_is_repeated_has_the_same_id(host: Host) -> None:
    """The memory can't be written, so that no run knows what was sent."""
    (host.folder / ".memory.json.tmp").mkdir()
    host.settings["recipients"].append({"name": "b", "mail": "b@example.org"})
    host.run(20, 130)
    ids = [str(one["Message-ID"]) for one in host.server.mails]
    assert (len(ids), ids[:2]) == (4, ids[2:])
    assert ids[0] != ids[1]


def test_a_message_about_something_else_has_another_id(host: Host) -> None:
    host.run(16)
    host.write(20)
    host.run(20, 31, 36)
    assert len(host.subjects) == 3  # old, over, old
    assert len({str(one["Message-ID"]) for one in host.server.mails}) == 3


def test_a_page_that_goes_away_twice_is_reported_twice(host: Host) -> None:
    host.run(1)
    host.page.unlink()
    host.run(2, 16)
    host.write(30)
    host.run(30, 41)
    host.page.unlink()
    host.run(42, 46)
    assert len(host.subjects) == 3
    assert len({str(one["Message-ID"]) for one in host.server.mails}) == 3


def test_a_webhook_is_notified(host: Host) -> None:
    with serving(Reply(b"ok")) as web:
        (host.folder / "url").write_text(web.url)
        host.settings["recipients"] = [{"name": "chat", "webhook": {"url_file": str(host.folder / "url")}}]
        host.run(16, 17)
    [asked] = web.asked
    assert "has not been updated since 2026-11-24 12:00 UTC" in json.loads(asked.body)["text"]


@pytest.mark.parametrize("line", [b"", b"220-wait\r\n", b"x"])
def test_a_server_that_never_ends_holds_up_no_other(line: bytes, host: Host) -> None:
    with endless(line) as port, serving(Reply(b"ok")) as web:
        (host.folder / "url").write_text(web.url)
        host.settings["server"]["port"], host.settings["timeout"] = port, 0.5
        host.settings["recipients"].append({"name": "chat", "webhook": {"url_file": str(host.folder / "url")}})
        slow, chat = host.run(16)
    assert slow.startswith("operators was not notified")
    assert chat.startswith("chat was notified")


def test_without_a_memory_it_is_reported_every_ten_minutes(host: Host) -> None:
    (host.folder / ".memory.json.tmp").mkdir()
    said = host.run(*range(16, 45))
    assert len(host.subjects) == 3
    assert "can't be written" in said[0]


def test_one_that_was_notified_gets_nothing_again_while_another_waits(host: Host) -> None:
    host.settings["recipients"].append({"name": "b", "mail": "b@example.org"})
    host.server.refused = {"b@example.org": "450 later"}
    host.run(16)
    host.server.refused = {}
    host.run(17)
    assert [str(one["To"]) for one in host.server.mails] == ["mri@example.org", "b@example.org"]


def test_a_site_with_a_hostile_name(host: Host) -> None:
    host.settings["site"] = "DCCN\r\nBcc: stranger@example.net"
    host.run(16)
    [got] = host.server.mails
    assert got["Bcc"] is None
    assert host.server.envelopes[0].rcpt_tos == ["mri@example.org"]


def test_a_damaged_memory_is_begun_again(host: Host) -> None:
    Path(host.settings["memory"]).write_text("[")
    host.run(16)
    assert len(host.subjects) == 1


def test_it_needs_nothing_but_debians_python(host: Host) -> None:
    copied = host.folder / "copied/dicom_worklist/notify"
    copied.mkdir(parents=True)
    for name in COPIED:
        shutil.copy(ROOT / f"src/dicom_worklist/notify/{name}.py", copied)
    line = ["/usr/bin/python3", "-s", "-m", "dicom_worklist.notify.page_age", str(host.file)]
    host.write(-1e6)
    done = subprocess.run(line, cwd=host.folder / "copied", env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("operators was notified")
    graph = imports(ROOT / "src")
    own = {f"notify.{name}" for name in COPIED}
    for name in own:  # the settings only for the types
        assert {one for one in graph[name] if not one.startswith("^")} <= own | {"settings", "notify"}
