"""From what the runs found to the mails: the whole way, with a real mail server and runs that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dicom_worklist import notices, settings
from dicom_worklist.errors import ConfigError, FolderError, SourceError
from dicom_worklist.notify.run import Sent
from dicom_worklist.settings import Notified, Recipient, Webhook
from dicom_worklist.status import overview as overviews
from dicom_worklist.status.findings import Emptied
from dicom_worklist.status.overview import About, Level, Problem
from dicom_worklist.status.overview import overview as view
from dicom_worklist.status.records import Refused
from support.calendar import DAY, NOW
from support.command import environment, start
from support.configuration import ABSENT, Configure, changed, write_yaml
from support.local_site import RecordedSite
from support.mail_server import MailServer, endless, mail_server
from support.waiting import wait_until
from support.web import Reply, serving

MINUTE = timedelta(minutes=1)
OPERATORS = {"name": "operators", "mail": "mri@example.org"}


class Site:
    """A site whose operators are notified by mail; the minutes are those after noon."""

    def __init__(self, site: RecordedSite, mail: MailServer, configure: Configure) -> None:
        self.site, self.mail, self.configure = site, mail, configure
        self.memory = site.root / "notify.json"
        self.server = {"host": "127.0.0.1", "port": mail.port, "sender": "worklist@example.org", "security": "none"}
        site.changes |= {
            "notify.memory": str(self.memory),
            "notify.server": self.server,
            "notify.recipients": [dict(OPERATORS)],
            "notify.timeout": 5,
        }

    def at(self, minute: float) -> datetime:
        return NOW + minute * MINUTE

    def sync(self, minute: float) -> None:
        self.site.run(now=self.at(minute))

    def tell(self, minute: float) -> list[Sent]:
        return list(notices.run(str(self.file), self.at(minute)))

    def minutes(self, first: int, last: int) -> None:
        """Let both jobs run, in every third minute."""
        for minute in range(first, last, 3):
            self.sync(minute)
            self.tell(minute)

    @property
    def file(self) -> Path:
        return self.configure(self.site.changes)

    def broken(self, changes: Mapping[str, object]) -> Path:
        """Write the configuration with other values, also where a key of a given section has to go."""
        data = yaml.safe_load(self.file.read_text())
        return write_yaml(self.file, changed(data, changes))

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]).removeprefix("Worklist DCCN: ") for mail in self.mail.mails]

    @property
    def texts(self) -> list[str]:
        return [mail.get_content() for mail in self.mail.mails]

    def problems(self, minute: float, kind: str = "notify") -> list[str]:
        seen = view(self.site.config(), self.site.found, self.at(minute))
        return [one.said for one in seen.problems if one.kind == kind]

    def reject(self, booking_id: object = 12, **details: Any) -> None:
        """Book with a subject that can't be read: it says who it is."""
        self.site.book(booking_id, subj_ses="Jan Jansen", time="15:00:00", **details)


@pytest.fixture
def site(recorded_site: RecordedSite, configure: Configure) -> Iterator[Site]:
    with mail_server() as mail:
        yield Site(recorded_site, mail, configure)


def test_a_rejected_booking_is_notified_once_and_so_is_its_end(site: Site) -> None:
    site.reject()
    site.minutes(0, 30)
    [subject] = site.subjects
    assert subject.startswith("Booking 12, PRISMA 2026-11-24 15:00, is not on the console")
    assert "Since 2026-11-24 12:00: Booking 12, PRISMA 2026-11-24 15:00, is not on the console" in site.texts[0]
    site.site.calendar.change(12, subj_ses="7-1")
    site.minutes(30, 60)
    assert len(site.subjects) == 2
    assert site.subjects[1].startswith("1 over: Booking 12")
    assert "From 2026-11-24 12:00 to 2026-11-24 12:27: Booking 12" in site.texts[1]


def test_without_names_nothing_that_somebody_typed_is_in_a_mail(site: Site) -> None:
    site.reject()
    site.site.changes["notify.recipients"] = [OPERATORS, {**OPERATORS, "name": "insiders", "names": True}]
    site.minutes(0, 5)
    short, whole = sorted(site.texts, key=len)
    for personal in ("Jan", "Lovelace", "Language", "3010000"):
        assert personal not in short
    assert "Jan Jansen" in whole
    assert "Ada Lovelace" in whole


def test_a_sync_that_is_dead_is_notified_and_so_is_its_return(site: Site) -> None:
    site.sync(0)
    for minute in range(1, 60, 4):
        site.tell(minute)
    assert len(site.texts) == 1
    assert "Since 2026-11-24 12:00: The list has not been updated since 2026-11-24 12:00, for" in site.texts[0]
    site.minutes(60, 80)
    assert site.subjects[1].startswith("1 over: The list has not been updated since 2026-11-24 12:00")


def test_a_site_whose_sync_never_ran_is_notified(site: Site) -> None:
    for minute in range(10):
        site.tell(minute)
    assert [text for text in site.texts if "There is no list yet" in text] == site.texts
    assert len(site.texts) == 1


def test_a_state_that_is_lost_ends_nothing(site: Site) -> None:
    site.reject()
    site.minutes(0, 5)
    (site.site.root / "status.json").unlink()
    for minute in range(5, 40, 5):
        site.tell(minute)
    assert [subject for subject in site.subjects if "over" in subject] == []


@pytest.mark.parametrize("kinds", [[], ["outdated"]])
def test_a_calendar_that_cannot_be_read_for_a_moment_is_not_reported(kinds: list[str], site: Site) -> None:
    site.site.changes["notify.recipients"] = [{**OPERATORS, "kinds": kinds}]
    site.sync(0)
    path = site.site.calendar.path
    hidden = path.with_suffix(".away")
    path.rename(hidden)
    for minute in range(1, 5):
        with pytest.raises(SourceError, match="can't be read"):
            site.sync(minute)
        site.tell(minute)
    hidden.rename(path)
    site.minutes(4, 30)
    assert site.texts == []


def test_each_is_notified_what_is_its_own(site: Site) -> None:
    site.reject(12)
    site.reject(13, lab="SKYRA")
    site.site.changes["notify.recipients"] = [
        {"name": "all", "mail": "all@example.org"},
        {"name": "prisma", "mail": "prisma@example.org", "scanners": ["PRISMA"]},
        {"name": "outdated", "mail": "sync@example.org", "kinds": ["outdated"]},
    ]
    site.minutes(0, 5)
    got = {str(mail["To"]): mail.get_content() for mail in site.mail.mails}
    assert got.keys() == {"all@example.org", "prisma@example.org"}
    assert "Booking 12" in got["prisma@example.org"]
    assert "Booking 13" not in got["prisma@example.org"]
    assert "Booking 13" in got["all@example.org"]


def test_a_problem_that_is_no_longer_a_recipients_is_not_over(site: Site) -> None:
    """The inventory says so; the booking is as wrong as before."""
    site.reject()
    site.minutes(0, 5)
    site.site.changes["notify.recipients"] = [{**OPERATORS, "scanners": ["SKYRA"]}]
    site.minutes(5, 30)
    assert len(site.texts) == 1


def test_what_is_critical_today_and_only_a_warning_tomorrow_is_over(site: Site) -> None:
    site.reject()
    site.minutes(0, 5)
    site.site.calendar.change(12, start_date="2026-11-25")
    site.minutes(5, 30)
    assert [subject.partition(":")[0] for subject in site.subjects][1:] == ["1 over"]


def test_a_booking_of_tomorrow_will_not_be_on_the_console(site: Site) -> None:
    site.reject(day="2026-11-25")
    site.site.changes["notify.recipients"] = [{**OPERATORS, "kinds": ["rejected"]}]
    site.minutes(0, 5)
    assert "Booking 12, PRISMA 2026-11-25 15:00, will not be on the console. The calendar" in site.texts[0]


@pytest.mark.parametrize(
    "change",
    [
        {"worklist.root": ABSENT},
        {"scanners.0.lab": "("},
        {"status": ABSENT},
        {"notify.recipients": [{**OPERATORS, "scanners": ["TRIO"]}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_that_can_not_be_used_is_reported(change: dict[str, Any], site: Site) -> None:
    """The sync can't work with it either."""
    site.minutes(0, 1)
    path = site.broken(change)
    for minute in range(4, 12):
        with pytest.raises(ConfigError):
            list(notices.run(str(path), site.at(minute)))
    assert len(site.texts) == 1
    assert "No run of the sync can work: the configuration" in site.texts[0]
    site.minutes(12, 30)
    assert len(site.texts) == 2
    assert "1 over" in site.subjects[1]


@pytest.mark.parametrize(
    "change",
    [
        {"notify.server.host": "mail.example.org"},
        {"notify.server": ABSENT},
        {"notify.recipients.0.mail": "x"},
        {"notify": ABSENT},
        {"site.timezone": "Nowhere"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_that_does_not_say_whom_to_notify_how_notifies_nobody(
    change: dict[str, Any], site: Site
) -> None:
    path = site.broken({"worklist.root": ABSENT, **change})
    for minute in (0, 4):
        with pytest.raises(ConfigError):
            list(notices.run(str(path), site.at(minute)))
    assert not site.memory.exists()


def test_a_file_that_is_not_yaml_notifies_nobody(site: Site) -> None:
    path = site.file
    path.write_text("site: [")
    with pytest.raises(ConfigError, match="is not valid YAML"):
        list(notices.run(str(path), site.at(0)))


def test_a_webhook_is_notified_beside_the_mail(site: Site, tmp_path: Path) -> None:
    site.reject()
    with serving(Reply(b"ok")) as web:
        (tmp_path / "url").write_text(web.url)
        site.site.changes["notify.recipients"] = [
            OPERATORS, {"name": "chat", "webhook": {"url_file": str(tmp_path / "url")}},
        ]  # fmt: skip
        site.minutes(0, 5)
    [asked] = web.asked
    assert "Booking 12" in json.loads(asked.body)["text"]
    assert len(site.texts) == 1


def test_an_address_that_is_refused_holds_up_no_other_and_is_on_the_page(site: Site) -> None:
    site.reject()
    site.mail.refused = {"gone@example.org": "550 no such user"}
    site.site.changes["notify.recipients"] = [{"name": "gone", "mail": "gone@example.org"}, OPERATORS]
    site.minutes(0, 5)
    assert [str(mail["To"]) for mail in site.mail.mails] == ["mri@example.org"]
    [said] = site.problems(5)
    assert said.startswith("gone can't be notified: the mail server 127.0.0.1:")
    assert (
        "refuses the address gone@example.org (550 no such user): correct the recipient's mail in worklist_sync_notify"
        in said
    )
    site.mail.refused = {}
    site.minutes(5, 12)
    assert len(site.texts) == 2
    assert site.problems(12) == []


def test_a_server_that_is_down_is_on_the_page_and_nothing_is_lost(site: Site, closed_port: int) -> None:
    site.reject()
    site.site.changes["notify.server"] = site.server | {"port": closed_port}
    site.minutes(0, 6)
    assert "doesn't answer" in site.problems(6)[0]
    site.site.changes["notify.server"] = site.server
    site.minutes(6, 20)
    assert len(site.texts) == 1
    assert site.problems(20) == []


@pytest.mark.parametrize("line", [b"", b"220-wait\r\n", b"x"])
def test_a_server_that_never_ends_holds_up_no_other(line: bytes, site: Site, tmp_path: Path) -> None:
    """It trickles its answer, a line or a byte at a time: no time between two bytes is long."""
    site.reject()
    with endless(line) as port, serving(Reply(b"ok")) as web:
        (tmp_path / "url").write_text(web.url)
        site.site.changes |= {
            "notify.server": site.server | {"port": port},
            "notify.timeout": 1,
            "notify.recipients": [OPERATORS, {"name": "chat", "webhook": {"url_file": str(tmp_path / "url")}}],
        }
        site.sync(0)
        site.tell(0)
        done = {one.recipient: one.failure for one in site.tell(2)}
    assert done["chat"] == ""
    assert re.search(r"longer than 1 seconds|doesn't answer|too slow", done["operators"])
    assert len(web.asked) == 1


def test_a_sync_knows_nothing_of_mail(site: Site) -> None:
    """It publishes though no mail server is there and no recipient can be reached, and never waits for one."""
    site.site.changes["notify.server"] = {
        "host": "192.0.2.1", "sender": "a@example.org", "security": "tls", "ca_file": "/nowhere",
    }  # fmt: skip
    site.site.book(1)
    report = site.site.run(now=site.at(0))
    assert [one["booking_id"] for one in report.published] == ["1"]
    assert report.warnings == []


def test_that_nobody_is_notified_is_on_the_page(site: Site) -> None:
    site.sync(0)
    assert "`dicom-worklist notify` has not run yet" in site.problems(0)[0]
    site.tell(0)
    assert site.problems(10) == []
    assert "`dicom-worklist notify` has not run for 11 minutes" in site.problems(11)[0]


def test_a_memory_that_is_damaged_is_begun_anew(site: Site) -> None:
    site.reject()
    site.minutes(0, 5)
    site.memory.write_bytes(b"{")
    site.minutes(5, 30)
    assert len(site.texts) == 2  # rather twice than never


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may write everywhere, and here it is taken away")
def test_without_a_memory_it_is_notified_every_ten_minutes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    site.reject()
    site.minutes(0, 1)
    monkeypatch.setattr("dicom_worklist.notify.memory.files.replace", full)
    for minute in range(1, 31):
        with pytest.raises(FolderError, match=r"notify\.memory .* can't be written: No space left on device"):
            site.tell(minute)
    assert len(site.texts) == 3


def test_two_runs_at_once_tell_once(site: Site) -> None:
    site.reject()
    site.minutes(0, 2)
    site.sync(2)
    inner: list[Sent] = []
    site.mail.taken = lambda _: inner.extend(site.tell(2))
    site.tell(2)
    assert inner == []
    assert len(site.texts) == 1


KILLED = """
import os, signal, sys
from dicom_worklist import cli
from dicom_worklist.notify import {module}
real, calls = {module}.{call}, []
def killing(*arguments, **options):
    calls.append(0)
    if len(calls) == {at} and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
{module}.{call} = killing
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("over", [False, True], ids=["begin", "end"])
@pytest.mark.parametrize(
    ("module", "call", "at", "before", "most"),
    [
        ("memory", "save", 1, True, 1),
        ("memory", "save", 1, False, 1),
        ("mail", "send", 1, True, 1),
        ("mail", "send", 1, False, 2),  # the server took it, and nobody wrote that down
        ("memory", "save", 2, True, 2),
        ("memory", "save", 2, False, 1),
        ("memory", "save", 3, True, 1),
    ],
)
def test_a_run_that_is_killed_loses_no_message(  # noqa: PLR0917 - of pytest's
    over: bool, module: str, call: str, at: int, before: bool, most: int, site: Site
) -> None:
    site.reject()
    site.minutes(0, 1)
    minute = 2
    if over:
        site.minutes(2, 3)
        site.site.calendar.change(12, subj_ses="7-1")
        minute = 13
    earlier = len(site.texts)
    site.sync(minute)
    program = KILLED.format(module=module, call=call, at=at, before=before)
    path = site.file
    line = [sys.executable, "-c", program, "notify", "-c", str(path), "--now", site.at(minute).isoformat()]
    assert subprocess.run(line, env=environment(), check=False, timeout=60).returncode == -signal.SIGKILL
    site.minutes(minute + 1, minute + 4)
    mails = site.mail.mails[earlier:]
    assert 1 <= len(mails) <= most
    assert len({mail["Message-ID"] for mail in mails}) == 1
    assert all(("1 over" in str(mail["Subject"])) == over for mail in mails)


def test_a_run_that_is_killed_while_a_server_is_slow_has_remembered_the_others(site: Site, tmp_path: Path) -> None:
    site.reject()
    site.site.changes |= {
        "notify.timeout": 50,
        "notify.recipients": [OPERATORS, {"name": "chat", "webhook": {"url_file": str(tmp_path / "url")}}],
    }
    site.minutes(0, 1)
    site.sync(2)

    def remembered() -> None:
        assert json.loads(site.memory.read_bytes())["boxes"]["operators"]["sent"]

    with endless(b"") as port:
        (tmp_path / "url").write_text(f"http://127.0.0.1:{port}/")
        running = start("-m", "dicom_worklist", "notify", "-c", site.file, "--now", site.at(2).isoformat())
        with running:
            wait_until(remembered, 30)
            running.kill()
    with serving(Reply(b"ok")) as web:
        (tmp_path / "url").write_text(web.url)
        site.minutes(3, 5)
    assert (len(site.texts), len(web.asked)) == (1, 1)


def test_the_command_says_what_it_did(site: Site, run: Any) -> None:
    site.reject()
    site.minutes(0, 2)
    path = site.file
    done = run("notify", "-c", path, "--now", site.at(2).isoformat())
    assert (done.status, done.err) == (0, "")
    assert done.out == f"operators was notified: 127.0.0.1:{site.mail.port} took it\n"
    again = run("notify", "-c", path, "--now", site.at(3).isoformat())
    assert (again.status, again.out) == (0, "")


def test_a_trial_goes_to_each_and_says_what_became_of_it(site: Site, run: Any) -> None:
    site.mail.refused = {"gone@example.org": "550 no such user"}
    site.site.changes["notify.recipients"] = [{"name": "gone", "mail": "gone@example.org"}, OPERATORS]
    path = site.file
    done = run("notify", "--test", "-c", path, "--json")
    assert done.status == 8
    by_name = {one["recipient"]: one for one in done.json["messages"]}
    assert by_name["operators"] == {
        "recipient": "operators", "server": f"127.0.0.1:{site.mail.port}", "failure": None,
    }  # fmt: skip
    assert "550 no such user" in by_name["gone"]["failure"]
    assert not site.memory.exists()  # a test is not remembered
    only = run("notify", "--test", "operators", "-c", path)
    assert (only.status, only.out) == (0, f"operators was notified: 127.0.0.1:{site.mail.port} took it\n")
    assert len(site.texts) == 2
    unknown = run("notify", "--test", "nobody", "-c", path)
    assert (unknown.status, unknown.err) == (
        2, "dicom-worklist: notify.recipients has no 'nobody': it has gone, operators\n",
    )  # fmt: skip


def test_a_site_that_tells_nobody_says_so(configure: Configure, run: Any) -> None:
    done = run("notify", "-c", configure())
    assert (done.status, done.err) == (
        2, "dicom-worklist: there is no section notify, so nobody is notified: docs/notify.md says what it has\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"notify.recipients": []}, "notify.recipients"),
        ({"notify.recipients.0.mail": "mri@example.org\nBcc: x@y"}, "notify.recipients[0].mail"),
        ({"notify.recipients.0.mail": "a@b, c@d"}, "notify.recipients[0].mail"),
        ({"notify.recipients.0.mail": ABSENT}, "operators needs either mail, an address, or webhook"),
        ({"notify.recipients.0.webhook": {"url_file": "/x"}}, "operators needs either mail, an address, or webhook"),
        ({"notify.recipients.0.scanners": ["TRIO"]}, "names the scanner TRIO: write the ae_title of one of PRISMA"),
        ({"notify.recipients.0.kinds": ["everything"]}, "notify.recipients[0].kinds[0]"),
        ({"notify.recipients": [dict(OPERATORS), dict(OPERATORS)]}, "the name operators is there twice"),
        ({"notify.server": None}, "notify.server must say which server takes it"),
        ({"notify.server.host": "mail.example.org"}, "mail to mail.example.org would go without encryption"),
        ({"notify.server.user": "sync"}, "needs user and password_file together"),
        ({"notify.server.sender": "Worklist <w@example.org>"}, "notify.server.sender"),
        ({"notify.per_hour": 0}, "notify.per_hour: write a number from 1 to 60"),
        ({"notify.password": "x"}, "notify has the unknown field `password`"),
        ({"status": ABSENT}, "notify needs the section status"),
    ],
)
def test_what_goes_wrong_is_refused(changes: dict[str, object], said: str, site: Site, run: Any) -> None:
    path = site.configure({**site.site.changes, **changes})
    done = run("check", "--only", "configuration", "-c", path)
    assert done.status == 2
    assert said in done.err


def test_each_kind_of_problem_can_be_notified() -> None:
    """A kind that has neither a sentence nor the promise that no name is in it would be sent as odd."""
    source = Path(overviews.__file__).read_text()
    kinds = {*re.findall(r'kind="(\w+)"', source), "rejected", "missing", "odd"}
    assert kinds == set(Notified.__args__) == notices.SENTENCES.keys() | notices.NAMELESS  # type: ignore[attr-defined]


PAGE = (Path(__file__).parents[2] / "docs/notify.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of docs/notify.md."""
    part = re.split(r"\n##+ ", PAGE.partition(f"# {heading}\n")[2])[0]
    return [re.findall(r"[\w`, ]+", line.split("|")[1]) for line in part.split("\n") if line.startswith("| ")][1:]


def names(heading: str) -> set[str]:
    return {name for cells in rows(heading) for name in re.findall(r"\w+", cells[0]) if name not in {"or", "setting"}}


def test_the_page_has_each_kind_and_each_setting() -> None:
    """Where the configuration has a file, the inventory has a text."""
    assert names("What you get when") - {"kind"} == set(Notified.__args__)  # type: ignore[attr-defined]
    for heading, section in (
        ("The mail server", settings.MailServer),
        ("A recipient", Recipient),
        ("A webhook", Webhook),
    ):
        fields = {field.name.removesuffix("_file") for field in msgspec.structs.fields(section)}
        assert names(heading) - {"what"} == fields, heading


def test_a_problem_of_a_scanner_is_for_those_of_that_scanner(site: Site) -> None:
    """Also where it is about no booking."""
    site.sync(0)
    first = site.at(-5)
    refused = [
        Refused(ae_title=title, sop_class="1.2", name="X", first=first, last=first, count=1, reason="class")
        for title in ("PRISMA", "SKYRA")
    ]
    emptied = Emptied(ae_title="PRISMA", day=DAY, count=5, since=first)
    found = msgspec.structs.replace(site.site.found, refused=tuple(refused), emptied=(emptied,))
    config = site.site.config(site.site.pacs(1))
    all_ = notices.notices(view(config, found, site.at(0)))
    assert {one.key: one.scanner for one in all_ if one.kind in {"refused", "emptied"}} == {
        "refused PRISMA": "PRISMA",
        "refused SKYRA": "SKYRA",
        "emptied PRISMA": "PRISMA",
    }


def test_a_kind_that_is_not_known_is_notified_without_its_text(site: Site) -> None:
    site.sync(0)
    problem = Problem(Level.CRITICAL, "Jan Jansen was scanned twice.", kind="news")
    seen = replace(view(site.site.config(), site.site.found, site.at(0)), problems=[problem])
    [one] = notices.notices(seen)
    assert one.kind == "odd"
    assert "Jan" not in one.short


def short(site: Site, kind: str, place: str, about: About | None = None) -> str:
    """Return what a message without names says of a problem that is about no booking."""
    problem = Problem(Level.WARNING, "Jan Jansen", kind=kind, place=place, about=about)
    seen = replace(view(site.site.config(), site.site.found, site.at(0)), problems=[problem])
    [one] = notices.notices(seen)
    return one.short


def test_a_message_without_names_says_which_destination_it_is(site: Site) -> None:
    assert short(site, "delivery", "raw") == "Images can't be delivered to raw, or have waited too long."
    old = "Destination raw still has images under an old name, or that were deleted since."
    assert short(site, "superseded", "raw Jan Jansen ses-01") == old


def test_a_message_without_names_says_when_and_where_a_study_of_no_booking_was_made(site: Site) -> None:
    about = About("Jan Jansen", "Jan Jansen", "Jan Jansen", "2026-11-24 10:00", "PRISMA")
    said = short(site, "several bookings fit", "1f3b", about)
    assert said == "A study of no booking, on PRISMA at 2026-11-24 10:00, may belong to a booking."
    assert short(site, "odd", "1f3b") == "A study of no booking may belong to a booking."


@pytest.mark.parametrize("page", [None, "https://pacs.example.org/worklist/"])
def test_each_message_says_once_at_its_foot_where_to_look(page: str | None, site: Site) -> None:
    site.reject(12)
    site.reject(13)
    site.site.changes |= {"notify.page": page} if page else {}
    site.minutes(0, 5)
    [text] = site.texts
    assert text.lower().count("what to do") == 1
    assert text.count("run dicom-worklist status on the worklist's host.") == 1
    assert text.index("dicom-worklist status") > text.index("Booking 13")
    assert page is None or text.count(page) == 1


def test_a_message_points_to_the_page_for_what_to_type_on_the_console(site: Site) -> None:
    """Nothing stands below it, as on the page."""
    remedy = "Type PatientID and PatientName on the console exactly as they stand below."
    problem = Problem(Level.CRITICAL, "None of today's 2 bookings that wait is on a console.", remedy=remedy,
                      kind="console")  # fmt: skip
    seen = replace(view(site.site.config(), site.site.found, site.at(0)), problems=[problem])
    [one] = notices.notices(seen)
    for text in (one.text, one.short):
        assert "below" not in text
        assert "exactly as the page (or `dicom-worklist status`) shows them" in text
        assert "2 bookings" in text
