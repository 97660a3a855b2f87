"""A broker of a test's own: the role's image and command, without a deployed site."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

from support import clients, live, twins
from support.waiting import wait_until

IMAGE = live.PROJECT / "roles/wlmscpfs/files/image"
#: As the role starts it.
COMMAND = ["wlmscpfs", "-csk", "-dhl", "-ta", "5", "-td", "60", "-ll", "warn", "-dfp", "/worklists"]
ENVIRONMENT = {"LD_PRELOAD": "/usr/local/lib/broker.so", "MAX_ASSOCIATIONS": "20", "TCP_NODELAY": "1"}


@contextmanager
def broker(root: Path, *worklists: str, option: str = "-efr") -> Iterator[int]:
    """Serve these worklists below `root`, and return the port on loopback.

    With the option `-dfr` it also shows entries without what every console needs.
    """
    engine = docker.from_env()
    engine.images.build(path=str(IMAGE), tag="test-broker-image", rm=True)
    for worklist in worklists:
        (root / worklist).mkdir(parents=True)
        (root / worklist / "lockfile").touch(mode=0o660)
    port = twins.free_port()
    container = engine.containers.run(
        "test-broker-image",
        [*COMMAND, option, "1234"],
        detach=True,
        environment=ENVIRONMENT,
        labels={twins.LABEL: str(os.getpid())},
        ports={"1234/tcp": ("127.0.0.1", port)},
        volumes={str(root): {"bind": "/worklists", "mode": "rw"}},
    )
    try:
        wait_until(lambda: clients.pynetdicom_find(port, worklists[0], ScheduledStationAETitle="NOBODY"))
        yield port
    finally:
        container.remove(force=True, v=True)
