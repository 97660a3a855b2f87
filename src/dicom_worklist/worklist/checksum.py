"""A checksum in an entry's file: it shows, without reading DICOM, which entry the file holds, and that it is whole.

It stands in the file's preamble, 128 bytes that PS3.10 7.1 leaves to the writer: the digest of the
entry, the digest of the rest of the file, zeros.
"""

import json
from hashlib import sha256

from dicom_worklist.worklist.attributes import DEFAULT_CHARSET
from dicom_worklist.worklist.entry import Entry

#: Goes up when the same entry is to give other bytes, so that every file is written again.
FORMAT = 1
PREAMBLE = 128


def with_checksum(file: bytes, entry: Entry) -> bytes:
    """Return the DICOM file with the checksum of the entry that it holds."""
    return (_digest(entry) + sha256(file[PREAMBLE:]).digest()).ljust(PREAMBLE, b"\0") + file[PREAMBLE:]


def holds(file: bytes, entry: Entry) -> bool:
    """Return whether these are the bytes that `with_checksum` returned for this entry."""
    return file.startswith(_digest(entry)) and file == with_checksum(file, entry)


def _digest(entry: Entry) -> bytes:
    # files of the default character set once named it, which they must not: another checksum has them written again
    charset = "" if entry.charset == DEFAULT_CHARSET else entry.charset
    said: list[object] = [FORMAT, charset, sorted(entry.values.items())]
    if entry.codes:  # an entry without codes has the checksum that it had before there were any
        said.append(sorted(entry.codes.items()))
    return sha256(json.dumps(said).encode()).digest()
