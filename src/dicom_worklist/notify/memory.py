"""What each recipient knows, and of what it must be notified now: a file that outlives each run, and its rules.

The rules are pure functions: the problems, the memory and the time come in as arguments.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

from dicom_worklist import files

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
#: A problem has to be there for so long before a message goes: one run that fails may be the database's nightly dump.
BEGINS = timedelta(minutes=2)
#: It is over when it has been away for so long; if it comes back before, it is the same problem.
ENDS = timedelta(minutes=10)
HOUR = timedelta(hours=1)


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A problem of now. `key` stays the same as long as it lasts, `text` may have names in it, and `short` has none.

    `scanner` is whose it is; "" is nobody's. `since` is when it began, where that is known.
    """

    key: str
    kind: str
    text: str
    short: str
    critical: bool = True
    scanner: str = ""
    since: datetime | None = None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as a recipient knows it, or will.

    It was first seen at `first` and last at `last`. It is `due` if it has to be in a message, and `notified`
    says when it was.
    """

    kind: str
    scanner: str
    text: str
    first: Moment
    last: Moment
    due: bool = False
    notified: Moment | None = None


class Box(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipient knows: `open` are problems by their keys, `sent` the times of the messages of the last hour.

    `failure` is why the last message could not be sent, and it has been so since `failing`.
    """

    open: dict[str, Known] = {}
    sent: tuple[Moment, ...] = ()
    failure: str = ""
    failing: Moment | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The whole, by the names of the recipients; `ended` is when the last run ended."""

    boxes: dict[str, Box] = {}
    ended: Moment | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What one message says: what began, and what is over, each by its key. `last` says whether it is the last one.

    With the last one a recipient has had as many messages as it gets within an hour; further ones come `after`.
    """

    begun: Mapping[str, Known]
    over: Mapping[str, Known]
    after: datetime | None = None

    def __bool__(self) -> bool:
        """Return whether there is anything to say."""
        return bool(self.begun or self.over)


def load(path: str) -> Memory | None:
    """Return what is remembered; nothing if there is no file or it is damaged: then all is sent again.

    None: it is there, and can't be read.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Memory)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return Memory()
    except OSError:
        return None


def save(path: str, memory: Memory) -> None:
    """Write it, whole or not at all.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    files.replace(Path(path), msgspec.json.encode(memory), 0o600)


def seen(box: Box, notices: Iterable[Notice], now: datetime, *, names: bool) -> Box:
    """Return what a recipient knows, with what is seen now."""
    known = dict(box.open)
    for one in notices:
        text = one.text if names else one.short
        had = known.get(one.key)
        first = had.first if had else one.since or now
        known[one.key] = Known(
            kind=one.kind,
            scanner=one.scanner,
            text=had.text if had and had.due else text,  # a second try says the same
            first=first,
            last=now,
            due=(had is not None and had.due) or now - first >= BEGINS,
            notified=had.notified if had else None,
        )
    # what came and went before it was due was nothing
    known = {key: one for key, one in known.items() if one.due or now - one.last < ENDS}
    return msgspec.structs.replace(box, open=known, sent=tuple(at for at in box.sent if now - HOUR < at <= now))


def news(box: Box, now: datetime, per_hour: int, *, certain: bool) -> News:
    """Return of what a recipient must be notified now. Unless it is `certain` what there is, nothing is over."""
    nothing = News({}, {})
    urgent = any(one.kind == "outdated" and one.due and one.notified is None for one in box.open.values())
    if len(box.sent) >= per_hour and not urgent:  # that the list is out of date waits for no hour
        return nothing
    # again each minute at first, then less often: a server may take many tries in vain for an attack
    if box.failing and now - box.failing > ENDS and now.minute % 10:
        return nothing
    over = {key: one for key, one in box.open.items() if certain and one.due and now - one.last >= ENDS}
    begun = {key: one for key, one in box.open.items() if one.due and one.notified is None and key not in over}
    full = len(box.sent) + 1 >= per_hour
    return News(begun, over, min((*box.sent, now)) + HOUR if full else None)


def sent(box: Box, what: News, now: datetime) -> Box:
    """Return what a recipient knows after it got this."""
    known = {key: msgspec.structs.replace(one, notified=now) for key, one in what.begun.items()}
    kept = {key: one for key, one in box.open.items() if key not in what.over}
    return Box(open=kept | known, sent=(*box.sent, now))


def failed(box: Box, why: str, now: datetime) -> Box:
    """Return what a recipient knows after a message that could not be sent."""
    return msgspec.structs.replace(box, failure=why, failing=box.failing or now)
