"""What the outbox says at a glance, in a file that the page can read: what waits and why, and what is at two places."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


#: A proof that is older says nothing: the comparison is overdue.
PROVES_FOR = timedelta(hours=48)


class Failure(msgspec.Struct, frozen=True):
    """A series that can't be delivered, and why."""

    series: str
    why: str


class Superseded(msgspec.Struct, frozen=True):
    """Copies of a study under the identity that it had before it was repaired.

    `was` and `now` are PatientName and PatientID; `now` is empty if the PACS no longer has the study. `series` is how
    many are still there, `place` where one of them is.
    """

    was: str
    now: str
    series: int
    place: str


class State(msgspec.Struct, frozen=True):
    """How many series wait for a destination, since when the oldest does (None: none waits), and what fails.

    `ended` is when the last run for it ended (None: not yet). `down` is why nothing can be delivered there, since
    `down_since`; `failures` are those of single series; `superseded` are copies under an identity of before.
    """

    waiting: int
    oldest: Moment | None
    ended: Moment | None = None
    down: str = ""
    down_since: Moment | None = None
    failures: tuple[Failure, ...] = ()
    superseded: tuple[Superseded, ...] = ()


class Copied(msgspec.Struct, frozen=True):
    """A study whose images are at the PACS and at one place more, which shares no disk with it.

    All `images` in its `series` were compared at both, the last of them at `compared`; `places` are the destinations.
    """

    series: int
    images: int
    compared: Moment
    places: tuple[str, ...]


class Summary(msgspec.Struct, frozen=True):
    """The whole: destinations by name, and the studies that are at two places, by Orthanc's id."""

    written: Moment
    destinations: dict[str, State]
    copied: dict[str, Copied]


def load(path: str) -> Summary | None:
    """Return the summary; None: no run has written one."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
