"""One run: each recipient is notified of what is new, all at the same time, and each message is remembered.

A run that is killed loses no message. If it is killed after a server took one and before that is written down, the next
run sends it again, with the same Message-ID.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, Queue

from dicom_worklist.errors import FolderError
from dicom_worklist.notify import mail, memory, message, webhook
from dicom_worklist.notify.connection import NotSent
from dicom_worklist.notify.memory import Box, Memory, News, Notice
from dicom_worklist.notify.message import Message, Place
from dicom_worklist.notify.recipients import concerns, gets
from dicom_worklist.settings import Notify, Recipient

#: Without a memory a run sends only in every tenth minute: neither silent, nor a message each minute.
FORGETFUL = 10


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message: `server` took it; "" if not, and then `failure` says why."""

    recipient: str
    server: str = ""
    failure: str = ""

    @property
    def said(self) -> str:
        """What became of it, in one line."""
        return (
            f"{self.recipient} was not notified: {self.failure}"
            if self.failure
            else f"{self.recipient} was notified: {self.server} took it"
        )

    def as_dict(self) -> dict[str, str | None]:
        """Return what `--json` prints."""
        return {"recipient": self.recipient, "server": self.server or None, "failure": self.failure or None}


def run(notify: Notify, place: Place, notices: Sequence[Notice], *, certain: bool) -> Iterator[Sent]:
    """Notify each recipient of what is new, and yield what became of each message; `place.now` is in UTC.

    `certain` says whether it is known what there is: else nothing counts as over.

    Raises:
        FolderError: what was sent can't be remembered. Everything that could be sent has been.
    """
    now = place.now
    with _alone(f"{notify.memory}.lock") as is_alone:
        if not is_alone:
            return
        known = memory.load(notify.memory)
        boxes = {one.name: _seen(one, known or Memory(), notices, now) for one in notify.recipients}
        before = known.ended if known else None
        unwritten = _save(notify, boxes, before)
        waiting: dict[str, News] = {}
        if not unwritten or now.minute % FORGETFUL == 0:
            all_news = {name: memory.news(box, now, notify.per_hour, certain=certain) for name, box in boxes.items()}
            waiting = {name: one for name, one in all_news.items() if one}
        messages = {name: message.about(place, name, one) for name, one in waiting.items()}
        for done in send(notify, messages, now):
            box = boxes[done.recipient]
            boxes[done.recipient] = (
                memory.failed(box, done.failure, now)
                if done.failure
                else memory.sent(box, waiting[done.recipient], now)
            )
            unwritten = _save(notify, boxes, before)
            yield done
        unwritten = _save(notify, boxes, now)
        if unwritten:
            raise FolderError(
                f"notify.memory {notify.memory} can't be written: {unwritten}; messages are sent again every "
                f"{FORGETFUL} minutes until it can"
            )


def send(notify: Notify, messages: Mapping[str, Message], now: datetime) -> Iterator[Sent]:
    """Send each message to the recipient of that name, and yield what became of each as soon as it is known."""
    done: Queue[Sent] = Queue()
    waiting = {one.name for one in notify.recipients if one.name in messages}
    for to in (one for one in notify.recipients if one.name in waiting):
        # a server that trickles, or whose name nobody knows, must not keep the run: at its end such a thread ends, too
        threading.Thread(target=_send, args=(notify, to, messages[to.name], now, done.put), daemon=True).start()
    deadline = time.monotonic() + notify.timeout
    while waiting:
        try:
            one = done.get(timeout=max(deadline - time.monotonic(), 0))
        except Empty:
            break
        waiting.discard(one.recipient)
        yield one
    for name in sorted(waiting):
        yield Sent(name, failure=f"the server took longer than {notify.timeout:g} seconds (notify.timeout)")


def _send(notify: Notify, to: Recipient, what: Message, now: datetime, put: Callable[[Sent], None]) -> None:
    try:
        if to.mail and notify.server:
            ready = what.mail(notify.server.sender, to.mail, now)
            server = mail.send(notify.server, to.mail, ready, notify.timeout)
        elif to.webhook:
            server = webhook.send(to.webhook, what.json(), notify.timeout)
        put(Sent(to.name, server=server))
    except NotSent as error:
        put(Sent(to.name, failure=str(error)))
    except Exception as error:  # noqa: BLE001 - the others are notified, and this failure is shown
        put(Sent(to.name, failure=f"a fault of the program: {type(error).__name__}"))


def _seen(to: Recipient, known: Memory, notices: Sequence[Notice], now: datetime) -> Box:
    box = known.boxes.get(to.name, Box())
    own = [one for one in notices if gets(to, one)]
    # what is still there, and is no longer this one's by the configuration, is not over
    others = {one.key for one in notices if not concerns(to, one)}
    box = Box(
        open={key: one for key, one in box.open.items() if key not in others},
        sent=box.sent,
        failure=box.failure,
        failing=box.failing,
    )
    return memory.seen(box, own, now, names=to.names)


def _save(notify: Notify, boxes: Mapping[str, Box], ended: datetime | None) -> str:
    """Write what is remembered, and return why it can't be."""
    try:
        memory.save(notify.memory, Memory(boxes=dict(boxes), ended=ended))
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextmanager
def _alone(path: str) -> Iterator[bool]:
    """Keep a second run away: it would send the same messages."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:  # the cron job must be able to open it
            folder = os.stat(os.path.dirname(path))  # noqa: PTH116, PTH120
            os.fchown(handle, folder.st_uid, folder.st_gid)
    except OSError:  # a disk that is full: the messages go anyway
        yield True
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(handle)
