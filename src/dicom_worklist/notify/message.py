"""What a message says: one text for mail and webhook, and the same as data for programs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from email.message import EmailMessage
from typing import Any

from dicom_worklist.bookings import printable
from dicom_worklist.notify import mail
from dicom_worklist.notify.memory import Known, News

#: A subject that is longer is cut by those who show it.
LONGEST_SUBJECT = 120
#: What a chat program would take for a mention, a link or an image looks the same in these letters, and does nothing.
CHAT = str.maketrans({"@": "\N{FULLWIDTH COMMERCIAL AT}", "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
                      ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}", "[": "(", "]": ")", "`": "'"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """A message for one recipient; `foot` has the site's own words. If it is sent again its `identity` is the same."""

    subject: str
    body: str
    foot: str
    identity: str
    data: Mapping[str, Any]

    def mail(self, sender: str, to: str, now: datetime) -> EmailMessage:
        """Return it as a mail."""
        return mail.compose((sender, to), (self.subject, f"{self.body}\n\n{self.foot}\n"), self.identity, now)

    def json(self) -> bytes:
        """Return it as JSON; chat programs show `text`."""
        text = f"{self.subject}\n\n{self.body}".translate(CHAT).replace("://", ": //")
        whole = {"text": f"{text}\n\n{self.foot}", "id": self.identity, **self.data}
        return json.dumps(whole).encode()


@dataclass(frozen=True, slots=True)
class Place:
    """What every message of a run has: the site's name and time zone, the address of its page, and the time."""

    site: str
    zone: tzinfo
    page: str | None
    now: datetime


def about(place: Place, recipient: str, news: News) -> Message:
    """Return the message that says this."""
    begun, over = _in_order(news.begun), _in_order(news.over)
    words = [*([f"{len(begun)} new"] if len(begun) > 1 else []), *([f"{len(over)} over"] if over else [])]
    head = f"{', '.join(words)}: " if words else ""
    parts = [
        *(["What is wrong:", *(_begun(place, one) for one in begun)] if begun else []),
        *(["What is over:", *(_over(place, one) for one in over)] if over else []),
    ]
    if news.after:
        until = _at(place, news.after)
        parts.append(f"What begins or ends from now on comes in one message after {until}. The page has it before.")
    data = {
        "began": [_data(one) for one in begun],
        "over": [{**_data(one), "until": _iso(one.last)} for one in over],
    }
    return _message(place, recipient, (f"{head}{[*begun, *over][0].text}", parts), data)


def trial(place: Place, recipient: str) -> Message:
    """Return a message that only shows that messages arrive."""
    body = "This is a test. When something critical begins you get a message like this one, and one when it is over."
    return _message(place, recipient, ("a test", [body]), {"test": _iso(place.now)})


def _message(place: Place, recipient: str, text: tuple[str, Iterable[str]], data: Mapping[str, Any]) -> Message:
    subject, parts = text
    run = "run dicom-worklist status on the worklist's host."
    look = f"What to do is on the page: {place.page}\nOr {run}" if place.page else f"To see what to do, {run}"
    site, at = printable(place.site), _at(place, place.now)
    foot = f"Sent to {recipient} by dicom-worklist of {site}, {at}. Nobody reads answers."
    line = " ".join(printable(f"Worklist {place.site}: {subject}").split())
    return Message(
        line if len(line) <= LONGEST_SUBJECT else f"{line[: LONGEST_SUBJECT - 3]}...",
        "\n\n".join(parts),
        "\n\n".join([look, foot]),
        hashlib.sha256(json.dumps([place.site, recipient, data]).encode()).hexdigest()[:32],
        {"site": place.site, "page": place.page, "time": _iso(place.now), **data},
    )


def _in_order(some: Mapping[str, Known]) -> list[Known]:
    return sorted(some.values(), key=lambda one: (one.first, one.scanner, one.text))


def _begun(place: Place, one: Known) -> str:
    return f"* Since {_at(place, one.first)}: {printable(one.text)}"


def _over(place: Place, one: Known) -> str:
    late = "" if one.notified else " (No message about it could be sent before.)"
    return f"* From {_at(place, one.first)} to {_at(place, one.last)}: {printable(one.text)}{late}"


def _data(one: Known) -> dict[str, str]:
    return {"kind": one.kind, "scanner": one.scanner, "text": printable(one.text), "since": _iso(one.first)}


def _at(place: Place, moment: datetime) -> str:
    return f"{moment.astimezone(place.zone):%Y-%m-%d %H:%M}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
