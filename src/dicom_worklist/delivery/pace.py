"""Leaving the PACS to the scanners while they store."""

import time
from collections import deque
from collections.abc import Callable

from dicom_worklist.orthanc import ask
from dicom_worklist.settings import Pacs

#: How often Orthanc is asked how many images came, and the time over which they are counted; in seconds.
LOOK_EVERY = 0.1
WINDOW = 4.0
#: While that many images come in a second, the pause before each one is as long as one takes: half the speed. With
#: twice as many it is four times as long. What comes on a usual day is hardly slowed, and what several scanners
#: send at once goes first.
HALF_SPEED_AT = 50
#: No pause is longer, in seconds; several fit into the window.
LONGEST_REST = 1.0


class Pace:
    """Waits before each image that is read, if scanners store."""

    def __init__(
        self, pacs: Pacs, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """Look at this PACS; `clock` gives seconds."""
        self._pacs, self._clock, self._sleep = pacs, clock, sleep
        #: when it was looked, and the number of Orthanc's last change: each image makes one
        self._seen = deque[tuple[float, int]]()
        self._ended = self._clock()

    def wait(self) -> None:
        """Wait until an image may be read.

        Raises:
            PacsError: the PACS can't be asked.
        """
        began = self._clock()
        if not self._seen or began - self._seen[-1][0] > LOOK_EVERY:
            self._seen.append((began, int(ask(self._pacs, "/changes?last")["Last"])))
            while began - self._seen[0][0] > WINDOW:
                self._seen.popleft()
        self._sleep(rest(began - self._ended, self._rate()))
        self._ended = self._clock()

    def _rate(self) -> float:
        (since, first), (until, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(until - since, LOOK_EVERY)


def rest(taken: float, rate: float) -> float:
    """Return for how long to wait (in seconds) after an image took so long, while so many come in a second."""
    return min(taken * (rate / HALF_SPEED_AT) ** 2, LONGEST_REST)
