"""Handing one mail to a mail server (RFC 5321), encrypted and checked unless the server is this machine."""

import smtplib
import ssl
from contextlib import suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

from dicom_worklist.notify.connection import INVENTORY, NotSent, context, plain, read

if TYPE_CHECKING:
    from dicom_worklist.settings import MailServer

PORTS = {"starttls": 587, "tls": 465, "none": 25}


def compose(people: tuple[str, str], text: tuple[str, str], identity: str, now: datetime) -> EmailMessage:
    """Return a mail (RFC 5322) that no machine answers (RFC 3834): sender and recipient, subject and body."""
    (sender, to), (subject, body) = people, text
    mail = EmailMessage(policy=SMTP)
    # Python would take "=?" for the beginning of an encoded word (RFC 2047), and decode what somebody typed
    mail["From"], mail["To"], mail["Subject"], mail["Date"] = sender, to, subject.replace("=?", "= ?"), now
    mail["Message-ID"] = f"<{identity}@{sender.partition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body)
    return mail


def send(server: "MailServer", to: str, mail: EmailMessage, timeout: float) -> str:
    """Hand it over, and return what the server is; `timeout`, in seconds, is for each of its answers.

    Raises:
        NotSent: it did not take the mail.
    """
    port = server.port or PORTS[server.security]
    place = f"{server.host}:{port}"
    password = read(server.password_file, "the password of the mail server") if server.password_file else ""
    if not f"{server.user}{password}".isascii():
        raise NotSent(
            "the password of the mail server has a character that is not ASCII: choose another, and write it as "
            f"server.password {INVENTORY}"
        )
    tls = context(server.ca_file) if server.security != "none" else None
    smtp: smtplib.SMTP | None = None
    try:
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(server.host, port, timeout=timeout, context=tls)
        else:
            smtp = smtplib.SMTP(server.host, port, timeout=timeout)
        if server.security == "starttls":
            smtp.starttls(context=tls)  # raises if the server has none: nothing goes on without
        if server.user:
            smtp.login(server.user, password)
        smtp.send_message(mail, server.sender, [to])
    except OSError as error:  # smtplib's errors are OSErrors, too
        raise NotSent(_why(server, place, to, error)) from error
    finally:
        if smtp is not None:
            _leave(smtp)
    return place


def _leave(smtp: smtplib.SMTP) -> None:
    """Say goodbye; what was taken stays taken, also if there is no answer to that."""
    with suppress(OSError):
        if smtp.sock is not None:
            smtp.sock.settimeout(1)
            smtp.quit()
    smtp.close()


def _why(server: "MailServer", place: str, to: str, error: Exception) -> str:  # noqa: PLR0911 - a case each
    match error:
        case smtplib.SMTPAuthenticationError():
            return (
                f"the mail server {place} refuses the login {server.user!r}: ask its administrator, and correct "
                f"server.user or server.password {INVENTORY}"
            )
        case smtplib.SMTPRecipientsRefused():
            code, words = next(iter(error.recipients.values()), (0, b""))
            said = f"the mail server {place} refuses the address {to} ({code} {_words(words)})"
            return f"{said}: correct the recipient's mail {INVENTORY}"
        case smtplib.SMTPSenderRefused():
            return (
                f"the mail server {place} refuses the sender {server.sender} ({error.smtp_code} "
                f"{_words(error.smtp_error)}): write one that it takes as server.sender {INVENTORY}"
            )
        case smtplib.SMTPNotSupportedError():
            return (
                f"the mail server {place} can't do what was asked ({plain(str(error))}): try server.security: tls, "
                f"which has port 465, or leave out server.user and server.password, {INVENTORY}"
            )
        case smtplib.SMTPServerDisconnected():
            return f"the mail server {place} closed the connection, or was too slow: see its log"
        case smtplib.SMTPResponseException():
            return f"the mail server {place} answers {error.smtp_code} {_words(error.smtp_error)}"
        case ssl.SSLCertVerificationError():
            return (
                f"the mail server {place} shows a certificate that is not trusted ({plain(error.verify_message)}): "
                "write the name that it is for as server.host, and the certificate of who signed it as server.ca, "
                f"{INVENTORY}"
            )
        case ssl.SSLError():
            return (
                f"the mail server {place} can't be spoken to encrypted ({plain(error.reason or str(error))}): "
                f"server.port 465 is for server.security: tls, and 587 for starttls; correct it {INVENTORY}"
            )
        case OSError():
            said = plain(error.strerror or str(error)) or type(error).__name__
            return (
                f"the mail server {place} doesn't answer ({said}): see whether it runs and is reached from this host, "
                f"or correct server.host and server.port {INVENTORY}"
            )
    return f"the mail server {place} can't be used: {type(error).__name__}"


def _words(said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return plain(text)
