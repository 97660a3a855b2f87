"""Metrics for Prometheus: a file that a node exporter's textfile collector reads. No word of a patient is in it."""

from datetime import datetime
from pathlib import Path

from dicom_worklist import files
from dicom_worklist.status.booking_status import State, hinted
from dicom_worklist.status.booking_status import odd as is_odd
from dicom_worklist.status.findings import Findings
from dicom_worklist.status.overview import Overview


def write(folder: Path, overview: Overview, found: Findings) -> None:
    """Write `dicom_worklist.prom` into the folder, for everybody to read.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415 - a site without pays nothing

    registry = CollectorRegistry()

    def tell(name: str, value: float, what: str) -> None:
        Gauge(f"dicom_worklist_{name}", what, registry=registry).set(value)

    bookings = Gauge(
        "dicom_worklist_bookings", "Bookings of today, by scanner and state.", ["ae_title", "state"], registry=registry
    )
    for lane in overview.today.lanes:
        for state in State:
            bookings.labels(lane.ae_title, state.name.lower()).set(sum(line.state is state for line in lane.lines))

    lines = [*overview.yesterday.lines, *overview.today.lines]
    unscheduled = [*overview.yesterday.unscheduled, *overview.today.unscheduled]
    odd = sum(len(line.studies) for line in lines if is_odd(line.oddities))
    odd += sum(is_odd(one.oddities) for one in unscheduled)
    tell("rejected_bookings", overview.today.counts[State.REJECTED], "Bookings of today that are not on the console.")
    tell(
        "missing_bookings",
        sum(line.state is State.MISSING for line in lines),
        "Bookings of yesterday and today whose images are missing.",
    )
    tell("odd_studies", odd, "Studies of yesterday and today that don't fit their booking, or may be of one.")
    tell("unscheduled_studies", len(unscheduled), "Studies of yesterday and today that are of no booking.")

    tell(
        "incomplete_sessions",
        sum(hinted(line.oddities) for line in lines) + sum(hinted(one.oddities) for one in unscheduled),
        "Bookings and studies of yesterday and today of which images may be missing.",
    )

    tell(
        "emptied_scanners",
        len(found.emptied),
        "Scanners whose bookings of a day all disappeared from the calendar at once.",
    )
    tell("unknown_lab_bookings", sum(found.labs.values()), "Bookings of labs that no scanner has, around today.")
    tell("uncounted_bookings", sum(found.statuses.values()), "Rows whose status doesn't count, around today.")
    tell("foreign_entries", len(found.leftovers), "Files that the consoles are shown and that the sync did not write.")

    tell("last_success_timestamp_seconds", _seconds(found.good), "When the last good run ended; 0: never.")
    tell("last_run_timestamp_seconds", _seconds(found.began), "When the last run began, good or not; 0: never.")
    tell("last_run_duration_seconds", found.seconds, "How long the last run took.")
    tell("last_run_success", found.began is not None and not found.failure, "Whether the last run published: 1, or 0.")
    if found.made:
        tell("source_made_timestamp_seconds", _seconds(found.made), "When what the calendar gave was made.")
    if overview.pacs:
        refused = Gauge(
            "dicom_worklist_refused_sop_classes",
            "SOP classes that Orthanc refused to a scanner in the last seven days.",
            ["ae_title"],
            registry=registry,
        )
        lanes = [lane.ae_title for lane in overview.today.lanes if lane.ae_title]
        for title in dict.fromkeys([*lanes, *(one.ae_title for one in overview.refused)]):
            refused.labels(title).set(sum(one.ae_title == title for one in overview.refused))
        tell(
            "disk_full_timestamp_seconds",
            _seconds(overview.disk_full.at if overview.disk_full else None),
            "When the PACS's disk will be full at the rate of the last weeks; 0: that is not foreseen.",
        )
        tell("pacs_last_success_timestamp_seconds", _seconds(found.asked), "When the PACS last answered; 0: never.")

    images = Gauge(
        "dicom_worklist_image_created_timestamp_seconds",
        "When the image of a container was built, and so got Debian's updates.",
        ["container"],
        registry=registry,
    )
    for container, built in overview.images.items():
        images.labels(container).set(_seconds(built))
    waiting = Gauge(
        "dicom_worklist_security_updates",
        "Debian's security updates that wait for the image of a container.",
        ["container"],
        registry=registry,
    )
    for container, one in overview.updates.containers.items() if overview.updates else ():
        if one.security is not None:
            waiting.labels(container).set(len(one.security))
    if overview.delivery:
        series = Gauge(
            "dicom_worklist_delivery_waiting_series",
            "Series that wait for a destination.",
            ["destination"],
            registry=registry,
        )
        oldest = Gauge(
            "dicom_worklist_delivery_oldest_timestamp_seconds",
            "Since when the oldest series waits for a destination; 0: none waits.",
            ["destination"],
            registry=registry,
        )
        ended = Gauge(
            "dicom_worklist_delivery_last_run_timestamp_seconds",
            "When the last run for a destination ended; 0: never.",
            ["destination"],
            registry=registry,
        )
        for name, destination in overview.delivery.destinations.items():
            series.labels(name).set(destination.waiting)
            oldest.labels(name).set(_seconds(destination.oldest))
            ended.labels(name).set(_seconds(destination.ended))
    if overview.updates:
        tell(
            "updates_asked_timestamp_seconds",
            _seconds(overview.updates.asked),
            "When Debian was last asked for updates.",
        )

    files.replace(folder / "dicom_worklist.prom", generate_latest(registry), 0o644)


def _seconds(when: datetime | None) -> float:
    return when.timestamp() if when else 0
