"""Mail to a real mail server: encrypted and checked, with a login, and with a text that may be hostile."""

import smtplib
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dicom_worklist.notify import mail
from dicom_worklist.notify.connection import NotSent
from dicom_worklist.notify.memory import Known, News
from dicom_worklist.notify.message import Message, Place, about, trial
from dicom_worklist.settings import MailServer
from support.mail_server import LOGIN, endless, mail_server
from support.web import Certificates, certificates

NOW = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
PLACE = Place("DCCN", ZoneInfo("Europe/Amsterdam"), "https://pacs.example.org/worklist/", NOW)
SENDER, TO = "worklist@example.org", "mri@example.org"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def password(tmp_path: Path) -> str:
    (tmp_path / "mail.password").write_text(LOGIN[1] + "\n")
    return str(tmp_path / "mail.password")


def server(port: int, **settings: object) -> MailServer:
    return MailServer(**{"host": "127.0.0.1", "port": port, "sender": SENDER, "security": "none", **settings})  # type: ignore[arg-type]


def message(text: str = "Booking 12 is not on the console.") -> Message:
    known = Known(kind="rejected", scanner="PRISMA", text=text, first=NOW, last=NOW, due=True)
    return about(PLACE, "operators", News({"rejected 12": known}, {}))


def sent(settings: MailServer, what: Message, timeout: float = 10) -> str:
    return mail.send(settings, TO, what.mail(SENDER, TO, NOW), timeout)


def test_a_mail_says_what_is_wrong_and_that_no_machine_should_answer() -> None:
    with mail_server() as real:
        assert sent(server(real.port), message()) == f"127.0.0.1:{real.port}"
    [got], [envelope] = real.mails, real.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, [TO])
    assert (got["From"], got["To"]) == (SENDER, TO)
    assert got["Subject"] == "Worklist DCCN: Booking 12 is not on the console."
    assert got["Auto-Submitted"] == "auto-generated"
    assert got["Date"].datetime == NOW
    assert got["Message-ID"].endswith("@example.org>")
    body = got.get_content()
    assert "Since 2026-11-24 12:00: Booking 12 is not on the console." in body  # the site's time
    assert "https://pacs.example.org/worklist/" in body


def test_the_same_news_has_the_same_message_id() -> None:
    later = Place(PLACE.site, PLACE.zone, PLACE.page, NOW.replace(minute=5))
    known = Known(kind="rejected", scanner="PRISMA", text="Booking 12", first=NOW, last=NOW, due=True)
    first, again = (about(place, "operators", News({"rejected 12": known}, {})) for place in (PLACE, later))
    other = about(PLACE, "operators", News({}, {"rejected 12": known}))
    assert first.identity == again.identity != other.identity
    assert about(PLACE, "others", News({"rejected 12": known}, {})).identity != first.identity


@pytest.mark.parametrize(
    "text",
    [
        "one\r\nBcc: stranger@example.net\r\n\r\nbody",
        "one\nSubject: two",
        "one\r\n.\r\nMAIL FROM:<a@b>\r\n",
        "null \x00, escape \x1b[2J, right to left \u202e, line \u2028 separator, next \x85 line",
        "=?utf-8?q?=0D=0ABcc=3A_stranger=40example=2Enet?=",
        "lone surrogate \udcff",
        "ein sehr langer Text " * 500,
        "漢字 né Ünïcödé 🧠",
    ],
)
def test_hostile_text_stays_text(text: str) -> None:
    with mail_server() as real:
        sent(server(real.port), message(text))
    [got], [envelope] = real.mails, real.envelopes
    assert envelope.rcpt_tos == [TO]
    assert got["Bcc"] is None
    assert got.get_all("Subject") == [got["Subject"]]
    assert len(got["Subject"]) <= 120
    assert "\n" not in got["Subject"]
    assert "\r" not in got["Subject"]
    assert set(got.keys()) <= {
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo",
    }  # fmt: skip
    assert not [one for one in got.get_content() if not (one.isprintable() or one in "\r\n")]


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it doesn't see TLS from the first byte
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_it_is_encrypted_and_logs_in(security: str, tls: Certificates, password: str) -> None:
    login = {"user": LOGIN[0], "password_file": password}
    with mail_server(tls.server(), implicit=security == "tls", login=True) as real:
        settings = server(real.port, security=security, ca_file=str(tls.ca), **login)
        sent(settings, message())
    assert len(real.mails) == 1


def test_a_password_that_can_not_be_sent_is_told(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pässwort\n")
    with pytest.raises(NotSent, match="is not ASCII") as failure:
        sent(server(1, user="sync", password_file=str(tmp_path / "password")), message())
    assert "sswort" not in str(failure.value)


def test_a_wrong_password_is_told_without_it(tls: Certificates, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("not this one\n")
    with mail_server(tls.server(), login=True) as real:
        settings = server(
            real.port, security="starttls", ca_file=str(tls.ca), user=LOGIN[0], password_file=str(tmp_path / "wrong")
        )
        with pytest.raises(
            NotSent, match=r"refuses the login 'sync'.*server.password in worklist_sync_notify"
        ) as failure:
            sent(settings, message())
    assert "not this one" not in str(failure.value)
    assert real.mails == []


@pytest.mark.parametrize("content", [None, ""])
def test_a_password_that_is_not_there_is_told(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NotSent, match=r"password of the mail server can't be read"):
        sent(server(1, user="sync", password_file=str(path)), message())


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_a_stranger_gets_no_mail(security: str, tls: Certificates, password: str) -> None:
    untrusted = pytest.raises(
        NotSent, match="certificate that is not trusted"
    )  # the system's authorities don't know it
    with mail_server(tls.server(), implicit=security == "tls") as real, untrusted:
        sent(server(real.port, security=security), message())
    assert real.mails == []


def test_a_certificate_for_another_name_gets_no_mail(tmp_path: Path) -> None:
    other = certificates(tmp_path / "other", "mail.example.org")
    with mail_server(other.server()) as real, pytest.raises(NotSent, match="certificate that is not trusted"):
        sent(server(real.port, security="starttls", ca_file=str(other.ca)), message())
    assert real.mails == []


def test_a_server_without_starttls_gets_neither_login_nor_mail(password: str) -> None:
    """Somebody on the way can take the offer of STARTTLS out."""
    with mail_server() as real, pytest.raises(NotSent, match="can't do what was asked"):
        sent(server(real.port, security="starttls", user="sync", password_file=password), message())
    assert real.mails == []


def test_an_address_that_is_refused_is_told() -> None:
    with mail_server() as real:
        real.refused = {TO: "550 5.1.1 no such\x1b[2J user"}
        with pytest.raises(NotSent, match=r"refuses the address mri@example.org \(550.*then run site.yml$") as failure:
            sent(server(real.port), message())
    assert str(failure.value).isprintable()


def test_a_mail_that_is_refused_is_told() -> None:
    with mail_server() as real:
        real.answer = "452 the disk is full"
        with pytest.raises(NotSent, match="452 the disk is full"):
            sent(server(real.port), message())


def test_a_server_that_is_down_is_told(closed_port: int) -> None:
    with pytest.raises(NotSent, match=r"doesn't answer.*server.host and server.port in worklist_sync_notify"):
        sent(server(closed_port), message())


def test_a_server_that_says_nothing_is_left() -> None:
    with endless(b"", pause=60) as port, pytest.raises(NotSent, match=r"doesn't answer|too slow"):
        sent(server(port), message(), timeout=0.2)


def test_a_mail_that_was_taken_is_sent_also_if_the_goodbye_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def quit_(_: object) -> None:
        raise smtplib.SMTPServerDisconnected("gone")

    monkeypatch.setattr(smtplib.SMTP, "quit", quit_)
    with mail_server() as real:
        sent(server(real.port), message())
    assert len(real.mails) == 1


def test_a_trial_says_that_it_is_one() -> None:
    with mail_server() as real:
        sent(server(real.port), trial(PLACE, "operators"))
    [got] = real.mails
    assert got["Subject"] == "Worklist DCCN: a test"
    assert "This is a test." in got.get_content()
