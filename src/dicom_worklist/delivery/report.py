"""Writing the summary of the outbox."""

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from dicom_worklist import files
from dicom_worklist.delivery.outbox import Outbox, text
from dicom_worklist.delivery.series import Series
from dicom_worklist.delivery.summary import PROVES_FOR, Copied, Failure, State, Summary, Superseded
from dicom_worklist.errors import FolderError
from dicom_worklist.settings import Delivery, DicomDestination

#: Studies are reported whose last image came in these days.
DAYS = timedelta(days=3)
#: How many failures of a destination are named.
MOST = 20


def write(delivery: Delivery, outbox: Outbox, now: datetime) -> None:
    """Write the summary.

    Raises:
        FolderError: it can't be written.
    """
    found = Summary(now, _states(delivery, outbox), _copied(delivery, outbox, now))
    path = Path(delivery.summary)
    own = path.with_name(f"{path.name}.{os.getpid()}")  # runs of other destinations write it, too
    try:
        files.replace(own, msgspec.json.encode(found), 0o640)
        own.replace(path)
    except OSError as error:
        with suppress(OSError):
            own.unlink()
        raise FolderError(
            f"delivery.summary {path} can't be written: {error.strerror}; site.yml corrects owner and mode"
        ) from error


def _states(delivery: Delivery, outbox: Outbox) -> dict[str, State]:
    states = {}
    for destination in delivery.destinations:
        here = (destination.name,)
        [(waiting, oldest)] = outbox.rows(
            "SELECT count(*), min(since) FROM delivery WHERE destination = ? AND done IS NOT wanted", here
        )
        downs = outbox.rows("SELECT failure, since FROM destination WHERE name = ?", here)
        ended = outbox.rows("SELECT ended FROM run WHERE destination = ?", here)
        down, since = downs[0] if downs else ("", None)
        failed = outbox.rows(
            "SELECT coalesce(nullif(body ->> '$.values.patient_name', ''), body ->> '$.values.patient_id') || ' ' || "
            "(body ->> '$.values.series_number') || ' ' || (body ->> '$.values.series_description'), failure "
            "FROM delivery JOIN series ON id = series WHERE destination = ? AND done IS NOT wanted AND failure != '' "
            "ORDER BY since LIMIT ?",
            (destination.name, MOST),
        )
        states[destination.name] = State(
            waiting,
            datetime.fromisoformat(oldest) if oldest else None,
            datetime.fromisoformat(ended[0][0]) if ended else None,
            down,
            datetime.fromisoformat(since) if since else None,
            tuple(Failure(series.strip(), why) for series, why in failed if why != down),
            _superseded(outbox, destination.name),
        )
    return states


def _superseded(outbox: Outbox, destination: str) -> tuple[Superseded, ...]:
    """Return the studies that the destination has under an identity of before, the newest first."""
    rows = outbox.rows(
        "SELECT superseded.body, max(series.body), count(*), min(coalesce(superseded.place, destination)) "
        "FROM superseded LEFT JOIN series ON series.body ->> '$.values.series_instance_uid' = "
        "superseded.body ->> '$.values.series_instance_uid' "
        "WHERE destination = ? AND held IS NOT NULL GROUP BY superseded.body ->> '$.study', patient "
        "ORDER BY max(superseded.held) DESC LIMIT ?",
        (destination, MOST),
    )
    return tuple(Superseded(_whose(was), _whose(now) if now else "", count, place) for was, now, count, place in rows)


def _whose(body: str) -> str:
    values = msgspec.json.decode(body, type=Series).values
    return f"{values['patient_name']} ({values['patient_id']})"


def _copied(delivery: Delivery, outbox: Outbox, now: datetime) -> dict[str, Copied]:
    """Return the studies of which each image was compared at the PACS and elsewhere."""
    elsewhere = [
        one.name
        for one in delivery.destinations
        if one.disk not in {None, delivery.disk} and not isinstance(one, DicomDestination)
    ]
    rows = outbox.rows(
        "SELECT study, series.id, images, max(verified), group_concat(DISTINCT destination) FROM series "
        "LEFT JOIN delivery ON series = id AND done IS wanted AND images = body ->> '$.images' AND verified >= ? "
        "AND destination IN (SELECT value FROM json_each(?)) "
        "WHERE study IN (SELECT study FROM series WHERE updated >= ?) GROUP BY series.id",
        (text(now - PROVES_FOR), json.dumps(elsewhere), text(now - DAYS)),
    )
    studies: dict[str, list[tuple[int, str, str] | None]] = {}
    for study, _, images, verified, places in rows:
        studies.setdefault(study, []).append((images, verified, places) if verified else None)
    return {
        study: Copied(
            len(parts),
            sum(images for images, _, _ in proven),
            min(datetime.fromisoformat(verified) for _, verified, _ in proven),
            tuple(sorted({name for _, _, names in proven for name in names.split(",")})),
        )
        for study, parts in studies.items()
        if len(proven := [part for part in parts if part]) == len(parts)
    }
