"""What the scanners see now: the entries in the folders of the worklists."""

from collections.abc import Sequence
from pathlib import Path

from dicom_worklist.worklist import dataset, folder


def entries(folders: Sequence[Path], lock_timeout: float) -> tuple[list[dict[str, object]], list[str]]:
    """Return the entries of all worklists in the order of the day, and, in sentences, what the broker skips.

    An entry is keyword → text, and its booking_id, ae_title, worklist and file; booking_id and ae_title are None for a
    file that is not ours.

    Raises:
        FolderError: a folder can't be read or locked.
    """
    found: list[dict[str, object]] = []
    unreadable: list[str] = []
    for path in folders:
        for name, content in folder.read(path, lock_timeout=lock_timeout).items():
            try:
                attributes = dataset.attributes_of(dataset.decode(content))
            except ValueError as error:
                unreadable.append(f"{path / name} is shown to no scanner: {error}")
                continue
            booking_id, ae_title = folder.parse_file_name(name) or (None, None)
            place: dict[str, object] = {"booking_id": booking_id, "ae_title": ae_title, "worklist": path.name}
            found.append(place | {"file": name} | attributes)
    keys = ("ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
    return sorted(found, key=lambda entry: [str(entry.get(key, "")) for key in keys]), unreadable
