"""What makes the pages of the past and of usage: after an update that changed one of its files, all are made again."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

#: What says what became of a booking.
STATES = ("reconcile.py", "evidence.py", "oddities.py", "booking_status.py", "slots.py", "records.py")
#: What all pages are made with.
HTML = ("rendering.py", "palette.css")


def layout(*patterns: str) -> str:
    """Return the name of what these files say now; they are below the folder of this one."""
    content = hashlib.blake2b(digest_size=8)
    for path in _files(patterns):
        content.update(path.read_bytes())
    return content.hexdigest()


def _files(patterns: Sequence[str]) -> list[Path]:
    found = {path for pattern in patterns for path in Path(__file__).parent.glob(pattern)}
    return sorted(path for path in found if path.is_file())
