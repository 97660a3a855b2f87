"""Gives how much room the disk of the images has, in bytes, to who asks: GET /disk-space."""

import json
import os

import orthanc

STORAGE = json.loads(orthanc.GetConfiguration())["StorageDirectory"]


def answer(output, _path, **request):
    """Give what is free for Orthanc, which isn't root, and the size."""
    if request["method"] != "GET":
        output.SendMethodNotAllowed("GET")
        return
    disk = os.statvfs(STORAGE)
    said = {"free": disk.f_bavail * disk.f_frsize, "size": disk.f_blocks * disk.f_frsize}
    output.AnswerBuffer(json.dumps(said), "application/json")


orthanc.RegisterRestCallback("/disk-space", answer)
