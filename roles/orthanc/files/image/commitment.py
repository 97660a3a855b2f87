"""Answers what a scanner asks to commit from the files on the disk, each compared with the checksum of what came.

Orthanc's own answer may come from its memory, where an image is for a while after it came, and it compares no checksum.
Without this script Orthanc doesn't start, so nothing is committed without it.
"""

import hashlib
import json
import os
from pathlib import Path

import orthanc
import viewer  # noqa: F401 - beside this file; it registers itself

STORAGE = Path(json.loads(orthanc.GetConfiguration())["StorageDirectory"])
Reason = orthanc.StorageCommitmentFailureReason


def ask(path):
    """Return what Orthanc's REST interface answers."""
    return json.loads(orthanc.RestApiGet(path))


def whole(instance):
    """Whether the file of an instance is on the disk as it came."""
    kept = ask(f"/instances/{instance}/attachments/dicom/info")
    uuid = kept["Uuid"]
    with (STORAGE / uuid[:2] / uuid[2:4] / uuid).open("rb") as file:
        # the disk itself, not what the kernel still has in memory since it was written
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "md5").hexdigest() == kept["CompressedMD5"]


def reason(sop_class, sop_instance):
    """Return why an image isn't committed, or that it is."""
    found = json.loads(orthanc.RestApiPost("/tools/lookup", sop_instance))
    # several, if it came again under another patient or study: then all of them have to be right
    instances = [item["ID"] for item in found if item["Type"] == "Instance"]
    if not instances:
        return Reason.NO_SUCH_OBJECT_INSTANCE
    for instance in instances:
        if not whole(instance):
            orthanc.LogError(f"Not committed: the file of instance {instance} is not what came from the scanner")
            return Reason.PROCESSING_FAILURE
        if orthanc.RestApiGet(f"/instances/{instance}/metadata/SopClassUid").decode() != sop_class:
            return Reason.CLASS_INSTANCE_CONFLICT
    return Reason.SUCCESS


def begin(_job, _transaction, _sop_classes, _sop_instances, _connection):
    """Orthanc has got a request; `look_up` is asked for each of its images."""


def look_up(sop_class, sop_instance, _begun):
    """Return Orthanc's word for what `reason` finds."""
    try:
        return reason(sop_class, sop_instance)
    except Exception as error:  # noqa: BLE001 - of any kind: the image isn't committed
        orthanc.LogError(f"Not committed: {sop_instance}: {error}")
        return Reason.PROCESSING_FAILURE


orthanc.RegisterStorageCommitmentScpCallback2(begin, look_up)
