"""Leaving the PACS to the scanners while they store."""

import time

from dicom_worklist.orthanc import ask
from dicom_worklist.settings import Pacs

#: How often Orthanc is asked whether images come, and for how long after the last one scanners go first; in seconds.
LOOK_EVERY = 0.1
QUIET_AFTER = 3.0
#: While images come, a pause before each one is so many times as long as one takes; and at the most, in seconds.
REST = 12
LONGEST_REST = 0.5


class Pace:
    """Waits before each image that is read, if scanners store."""

    def __init__(self, pacs: Pacs) -> None:
        """Look at this PACS."""
        self._pacs = pacs
        self._changes = -1
        self._looked = self._stored = float("-inf")
        self._ended = 0.0

    def wait(self) -> None:
        """Wait until an image may be read.

        Raises:
            PacsError: the PACS can't be asked.
        """
        began = time.monotonic()
        if began - self._looked > LOOK_EVERY:
            self._looked = began
            changes = int(ask(self._pacs, "/changes?last")["Last"])
            if self._changes not in {-1, changes}:
                self._stored = began
            self._changes = changes
        if began - self._stored < QUIET_AFTER:
            time.sleep(min(REST * (began - self._ended), LONGEST_REST))
        self._ended = time.monotonic()
