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


class Look(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the images of a series say of each other, when it had so many `images`, with so many `frames`.

    `lost` are the ranges of InstanceNumbers that are missing among those that are there. Its `places` (a position and
    an orientation) have up to `volumes` images each, and `short` of them have fewer than the others. It is `derived` if
    the console computed it of another series: then its header may be that one's.
    """

    images: int
    frames: int
    lost: tuple[tuple[int, int], ...] = ()
    short: int = 0
    places: int = 0
    volumes: int = 0
    derived: bool = False


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A series in the PACS, and how its images look, once that is known; `study` is Orthanc's name for its study.

    `name` is its SeriesDescription, or else its ProtocolName. `in_acquisition` is ImagesInAcquisition,
    `temporal_positions` NumberOfTemporalPositions, and `expected` how many images Orthanc expects; 0: unknown.
    """

    orthanc_id: str
    study: str
    uid: str = ""
    number: int | None = None
    name: str = ""
    modality: str = ""
    images: int = 0
    stable: bool = True
    updated: datetime | None = None
    in_acquisition: int = 0
    temporal_positions: int = 0
    expected: int = 0
    look: Look | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The series of a booking, as later sessions are compared with it. No name of a subject is in it.

    Sessions of the same `project`, `label` (what follows `_ses-` in the PatientName) and `ae_title` are alike. `series`
    has for each its name, the number of its frames, and its gaps.
    """

    booking_id: str
    project: str = ""
    label: str = ""
    ae_title: str = ""
    start: datetime | None = None
    series: tuple[tuple[str, int, str], ...] = ()


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
