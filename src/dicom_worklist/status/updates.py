"""Debian's updates that wait for the containers' images, as a job of root's wrote them down on this host."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec


class Waiting(msgspec.Struct, frozen=True):
    """What waits for one image: packages, each with its versions; or `unknown`, why that is not known.

    `security` is None where Debian doesn't say which updates are for security: in testing.
    """

    security: tuple[str, ...] | None = None
    other: tuple[str, ...] = ()
    unknown: str = ""


class Updates(msgspec.Struct, frozen=True):
    """What waited at the time `asked`, an aware one, for the image of each container."""

    asked: Annotated[datetime, msgspec.Meta(tz=True)]
    containers: dict[str, Waiting]


def load(path: str | None, images: Mapping[str, datetime]) -> Updates | None:
    """Return what is written there of the containers of `images`; None: it is not known.

    An image that was built (`images`) since then is left out.
    """
    if path is None:
        return None
    try:
        found = msgspec.json.decode(Path(path).read_bytes(), type=Updates)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # the job has not run yet, or not to its end
    known = {name: one for name, one in found.containers.items() if name in images and images[name] < found.asked}
    return msgspec.structs.replace(found, containers=known)
