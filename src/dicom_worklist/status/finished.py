"""Which bookings are finished, so that their entries leave the console: pure logic."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.settings import Config
from dicom_worklist.status.booking_status import BookingStatus, State
from dicom_worklist.status.evidence import EARLY
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import seen
from dicom_worklist.status.records import BookingRecord, Study


def finished(
    config: Config, last: Findings, studies: Sequence[Study] | None, now: datetime
) -> dict[str, BookingRecord]:
    """Return the bookings of the last good run that are finished at `now` (UTC), by their ids.

    Their time is over; their images were made in it, by the right scanner, of the right subject, and since the
    booking is as it is; no image has come for `status.leave_after`. `studies` are those of the PACS; None
    if it can't say: then what was finished stays finished.
    """
    if config.status is None or config.status.leave_after is None:
        return {}
    here = now.astimezone(ZoneInfo(config.site.timezone)).replace(tzinfo=None)
    last_image = now - timedelta(minutes=config.status.leave_after)
    studies = last.studies if studies is None else tuple(studies)
    known = msgspec.structs.replace(last, studies=studies, asked=now)
    return {
        status.booked.booking_id: status.booked
        for status in seen(config, config.status, known, now).lines
        if _is_finished(status, here, last_image)
    }


def _is_finished(status: BookingStatus, here: datetime, last_image: datetime) -> bool:
    """Return whether a booking is finished at `here` (at the site), if its last image came before `last_image`."""
    begins = [study.start for study in status.studies if study.start]
    ends = [study.updated for study in status.studies if study.updated]
    return (
        status.state is State.ARRIVED
        and not status.oddities
        and len(begins) == len(ends) == len(status.studies) > 0
        and status.booked.start is not None
        and min(begins) >= status.booked.start - EARLY
        and status.end is not None
        and status.end <= here
        and status.booked.since is not None
        # Orthanc gives whole seconds
        and status.booked.since.replace(microsecond=0) <= max(ends) <= last_image
    )
