"""An index of Orthanc's as years of scanning leave it: really stored studies, and copies of their rows."""

import hashlib
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

#: How many copies of the seed are of one day.
A_DAY = 10
_TAG = "tagGroup * 65536 + tagElement"
#: SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID; PatientName, PatientID, AccessionNumber; StudyDate, SeriesDate.
_VALUE = f"""CASE
    WHEN {_TAG} IN (0x00080018, 0x0020000d, 0x0020000e) THEN value || '.' || copy
    WHEN {_TAG} IN (0x00100010, 0x00100020, 0x00080050) THEN value || copy
    WHEN {_TAG} IN (0x00080020, 0x00080021) THEN
        strftime('%Y%m%d', substr(value, 1, 4) || '-' || substr(value, 5, 2) || '-' || substr(value, 7, 2),
                 (-copy / {A_DAY}) || ' days')
    ELSE value END"""
_ID = "id + copy * size"
#: What of a copied row is another than in the seed. PatientRecyclingOrder and GlobalIntegers are Orthanc's triggers'.
_FRESH = {
    "Resources": {
        "internalId": "internalId + copy * size",
        "publicId": "public_id(publicId || copy)",
        "parentId": "parentId + copy * size",
    },
    "MainDicomTags": {"id": _ID, "value": _VALUE},
    "DicomIdentifiers": {"id": _ID, "value": _VALUE},
    "Metadata": {"id": _ID},
    "AttachedFiles": {"id": _ID, "uuid": "file_id(uuid || copy)"},
    "Changes": {"seq": "NULL", "internalId": "internalId + copy * size"},
}


def grow(index: Path, size: int, instances: int) -> None:
    """Copy the first `size` resources, which are whole studies, until the index has this many instances, or some more.

    Orthanc must be stopped. The copies' images don't exist as files.
    """
    with closing(sqlite3.connect(index, isolation_level=None)) as database:
        database.create_function("public_id", 1, _public_id, deterministic=True)
        database.create_function("file_id", 1, _file_id, deterministic=True)
        (seed, held), (top,) = (
            database.execute(
                "SELECT sum(internalId <= ?), count(*) FROM Resources WHERE resourceType = 4", (size,)
            ).fetchone(),
            database.execute("SELECT max(internalId) FROM Resources").fetchone(),
        )
        if held >= instances:
            return
        first = -(-top // size)
        last = first + -(-(instances - held) // seed) - 1
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -500000"):
            database.execute(f"PRAGMA {setting}")
        database.execute("BEGIN")
        for table, fresh in _FRESH.items():
            columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(fresh.get(name, name) for name in columns)
            key = next(name for name in ("id", "internalId") if name in columns)
            database.execute(
                f"""WITH RECURSIVE copies(copy, size) AS
                    (SELECT ?, ? UNION ALL SELECT copy + 1, size FROM copies WHERE copy < ?)
                INSERT INTO {table} SELECT {values}
                FROM copies CROSS JOIN (SELECT * FROM {table} WHERE {key} <= ? ORDER BY {key})""",
                (first, size, last, size),
            )
        database.execute("COMMIT")


def _public_id(text: str) -> str:
    """Return an id of the form of Orthanc's: a SHA-1 in five groups."""
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


def _file_id(text: str) -> str:
    return str(uuid.UUID(bytes=hashlib.md5(text.encode(), usedforsecurity=False).digest()))
