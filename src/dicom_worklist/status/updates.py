"""Debian's updates that wait for the containers' images, as a job of root's wrote them down on each host."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

#: Nothing that the job writes is as long, and no image has as many packages. Another host may say anything.
Text = Annotated[str, msgspec.Meta(max_length=400)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=2000)]
LARGEST = 1 << 20


class Waiting(msgspec.Struct, frozen=True):
    """What waits for one image: packages, each with its versions; or `unknown`, why that is not known.

    `security` is None where Debian doesn't say which updates are for security: in testing.
    """

    security: Texts | None = None
    other: Texts = ()
    unknown: Text = ""


class Updates(msgspec.Struct, frozen=True):
    """What waited at the time `asked`, an aware one, for the image of each container."""

    asked: Annotated[datetime, msgspec.Meta(tz=True)]
    containers: Annotated[dict[Text, Waiting], msgspec.Meta(max_length=100)]


def checked(answer: Any, now: datetime) -> Updates | None:
    """Return what another host's answer, read from JSON, says; None: it makes no sense at `now`, an aware time."""
    try:
        found = msgspec.convert(answer, Updates)
    except msgspec.ValidationError:
        return None
    return found if found.asked <= now else None


def known(path: str | None, images: Mapping[str, datetime], elsewhere: Updates | None = None) -> Updates | None:
    """Return what is written there, and by the PACS's host (`elsewhere`), of the containers of `images`.

    None: nothing is known. An image that was built (`images`) since then is left out. This host's word counts more.
    The time is that of the host that asked longest ago.
    """
    found = [one for one in (elsewhere, _written(path)) if one]
    if not found:
        return None
    latest = {name: (one.asked, waiting) for one in found for name, waiting in one.containers.items()}
    return Updates(
        min(one.asked for one in found),
        {name: waiting for name, (asked, waiting) in latest.items() if name in images and images[name] < asked},
    )


def _written(path: str | None) -> Updates | None:
    if path is None:
        return None
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Updates)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # the job has not run yet, or not to its end
