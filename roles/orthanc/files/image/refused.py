"""Keeps which SOP classes Orthanc refused to which scanner, and gives them to who asks: GET /refused-sop-classes.

What is refused when the association is negotiated is never sent, so only refused.so sees it.
A failure here ends no association, and keeps Orthanc from nothing.
"""

import ctypes
import json
import re
import threading
import time
from collections import deque

import orthanc

#: One of the numbers that are the plug-ins' in Orthanc's index: it outlives a restart, and is in the backup.
PROPERTY = 16016
#: So many scanners, and classes of each, are kept, for so many days: those of which something was refused last.
SCANNERS, CLASSES, DAYS = 64, 32, 30
#: The index is written once in so many seconds at the most: a console may connect for each image.
PAUSE = 1

#: What Orthanc's only thread that accepts associations leaves here, so that it never waits: scanner, class, Unix time.
heard, news = deque(maxlen=4096), threading.Event()
#: Scanner → class → {"first", "last" (Unix times), "count" (associations), "syntax": only the transfer syntax was not
#: taken}. Who holds the lock may wait for the index.
refused, lock = {}, threading.Lock()
#: What is in the index, when it was read.
index = {}


def hear(scanner, sop_class):
    """Orthanc, which knows this scanner, has refused this class to it."""
    # a UID (PS3.5 9.1), and an AE title: the page shows them
    if re.fullmatch(rb"[0-9.]{1,64}", sop_class) and re.fullmatch(rb"[ -~]{1,64}", scanner):
        heard.append((scanner.decode().strip()[:16], sop_class.decode(), int(time.time())))
        news.set()


def stored():
    """Return what says of a class whether Orthanc stores it."""
    every = orthanc.RestApiGet("/tools/unknown-sop-class-accepted").strip() == b"1"
    known = {*json.loads(orthanc.RestApiGet("/tools/accepted-sop-classes"))}
    return lambda sop_class: every or sop_class in known


def limit(some, most, last):
    """Leave those of which something was refused last."""
    for name in sorted(some, key=lambda name: last(some[name]))[: max(0, len(some) - most)]:
        del some[name]


def count():
    """Add what was heard, and forget what is old."""
    stores = stored() if heard else None
    while heard:
        scanner, sop_class, now = heard.popleft()
        classes = refused.setdefault(scanner, {})
        one = classes.setdefault(sop_class, {"first": now, "count": 0})
        one.update(last=now, count=one["count"] + 1, syntax=stores(sop_class))
        limit(classes, CLASSES, lambda one: one["last"])
        limit(refused, SCANNERS, lambda classes: max(one["last"] for one in classes.values()))
    oldest = time.time() - DAYS * 86400
    for scanner, classes in [*refused.items()]:
        for sop_class in [sop_class for sop_class, one in classes.items() if one["last"] < oldest]:
            del classes[sop_class]
        if not classes:
            del refused[scanner]


def keep():
    """Write it in the index, if it is another than before. The first time, read before what is there."""
    if not index:
        index["text"] = orthanc.GetGlobalProperty(PROPERTY, "{}")
        refused.update(json.loads(index["text"]))
    count()
    text = json.dumps(refused)
    if text != index["text"]:
        orthanc.SetGlobalProperty(PROPERTY, text)
        index["text"] = text


def keep_always():
    """Keep it within a moment: Orthanc may be killed."""
    while True:
        news.wait()
        news.clear()
        try:
            with lock:
                keep()
        except Exception as error:  # noqa: BLE001 - of any kind: what comes next is kept
            orthanc.LogError(f"What was refused to a scanner is not kept: {error}")
        time.sleep(PAUSE)


def answer(output, _path, **request):
    """Give what was refused."""
    if request["method"] != "GET":
        output.SendMethodNotAllowed("GET")
        return
    with lock:
        keep()
        stores = stored() if refused else None
        said = [
            {"scanner": scanner, "sop_class": sop_class, **one, "stored": stores(sop_class)}
            for scanner, classes in sorted(refused.items())
            for sop_class, one in sorted(classes.items())
        ]
    output.AnswerBuffer(json.dumps(said), "application/json")


#: Orthanc calls it as long as it runs.
listener = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p)(hear)
try:
    listen = ctypes.CDLL(None).listen_to_refused  # of the library that is preloaded
except AttributeError:
    orthanc.LogWarning("What is refused to scanners is not known: refused.so is not preloaded")
else:
    threading.Thread(target=keep_always, daemon=True).start()
    listen(listener)
    orthanc.RegisterRestCallback("/refused-sop-classes", answer)
