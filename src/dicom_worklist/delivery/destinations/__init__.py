"""The kinds of destinations, one file each."""

from collections.abc import Callable, Sequence
from typing import Protocol

from dicom_worklist.delivery.series import Image, Series

#: Gives the file of an image, as the PACS received it.
Read = Callable[[Image], bytes]


class Undelivered(Exception):  # noqa: N818 - the state of one series, not a failure of the run
    """A series is not at its destination; the message is why, and what to do."""


class Down(Undelivered):
    """Nothing can be delivered there now."""


class Place(Protocol):
    """Where series go. Each method may be killed at any moment and called again."""

    #: Whether `verify` compares the bytes, or only asks.
    compares: bool

    def deliver(self, series: Series, images: Sequence[Image], read: Read) -> str:
        """Bring the images there, compare them, and return where they are. What is there is never overwritten.

        Raises:
            Undelivered, Down: they are not all there.
            PacsError: the PACS doesn't give them.
        """
        ...

    def verify(self, series: Series, images: Sequence[Image], place: str) -> None:
        """Compare what is there with the images.

        Raises:
            Undelivered: it isn't the same.
            Down: it can't be compared now.
        """
        ...

    def holds(self, series: Series, place: str | None) -> bool:
        """Return whether a series of an identity that it no longer has is there; `place`: where it was put, if it was.

        Raises:
            Undelivered: that can't be seen now.
        """
        ...
