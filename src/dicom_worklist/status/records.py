"""What runs remember: bookings as their entries show them, and the studies of the PACS. Plain data."""

from datetime import date, datetime

import msgspec


class BookingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A booking, as its worklist entry says it; without an entry `reason` says why.

    `start` and `end` are naive, in the site's time zone. `start` is None where it can't be read, `end` where the
    calendar gives none. `on_console` says whether the scanner is shown its entry. `since` is when a run first saw the
    booking as it is, in UTC.
    """

    booking_id: str
    day: date
    ae_title: str = ""
    start: datetime | None = None
    end: datetime | None = None
    patient_id: str = ""
    patient_name: str = ""
    study_instance_uid: str = ""
    accession_number: str = ""
    step_id: str = ""
    project: str = ""
    booked_by: str = ""
    reason: str = ""
    on_console: bool = False
    since: datetime | None = None

    def same(self, other: "BookingRecord") -> bool:
        """Return whether both describe the session alike; `since` and `on_console` don't matter."""
        return self._said() == other._said()

    def _said(self) -> "BookingRecord":
        return msgspec.structs.replace(self, on_console=False, since=None)


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A booking as it was from `booked.since` until `until` (UTC).

    `ended` says what came then: "changed" (another version), "cancelled" (by its status or its subject), or "gone" (it
    was in the calendar of these days no more: deleted, or moved to another day).
    """

    booked: BookingRecord
    until: datetime
    ended: str = "changed"


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """A study in the PACS. `ae_titles` are those that stored it, `orthanc_id` is Orthanc's name for it.

    `start` is StudyDate and StudyTime, naive, in the site's time zone; None without a StudyDate; `timed` says whether
    it has a StudyTime. `last_series` is the latest SeriesDate and SeriesTime, as `start`. `stable` says that no image
    has come for Orthanc's StableAge. `updated` is when the last one came, by Orthanc's clock, and `seen` when a run
    first saw the study, both in UTC.
    """

    orthanc_id: str
    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    step_ids: tuple[str, ...] = ()
    ae_titles: tuple[str, ...] = ()
    start: datetime | None = None
    timed: bool = True
    last_series: datetime | None = None
    description: str = ""
    series: int = 0
    instances: int = 0
    stable: bool = True
    updated: datetime | None = None
    seen: datetime | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A SOP class that Orthanc refused to a scanner, from `first` to `last` (aware), in `count` associations.

    `reason` is "class" (Orthanc doesn't store it), "syntax" (it stores it in other transfer syntaxes) or "stored" (it
    did not, and does now).
    """

    ae_title: str
    sop_class: str
    name: str
    first: datetime
    last: datetime
    count: int
    reason: str


class DiskSpace(msgspec.Struct, frozen=True, kw_only=True):
    """How much room the PACS's disk had `at` a time (aware), in bytes."""

    at: datetime
    free: int
    size: int

    @property
    def used(self) -> int:
        """What is not free."""
        return self.size - self.free


class FullDisk(msgspec.Struct, frozen=True, kw_only=True):
    """When the PACS's disk will be full (aware); what is free, its size, and what comes `daily`, in bytes."""

    at: datetime
    free: int
    size: int
    daily: int
