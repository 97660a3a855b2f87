"""The deployment: how long site.yml takes, verification included, and which of its tasks take longest."""

import re
import time
from collections.abc import Iterator

from bench.measure import Row
from support import live

#: How many tasks are shown.
LONGEST = 5


def rows() -> Iterator[Row]:
    """Deploy the test site on this machine, which has the base images, and deploy it again."""
    for what in ("a first deployment, base images present", "a second one, nothing to change"):
        began = time.perf_counter()
        played = live.play("site.yml", ANSIBLE_CALLBACKS_ENABLED="ansible.posix.profile_tasks")
        seconds = time.perf_counter() - began
        assert played.status == 0, played.output
        yield Row(what, "", f"{seconds:.0f} s, {played.changed} changed")
        for task, taken in re.findall(r"^(\S.*?) -+ ([0-9.]+)s$", played.output, re.MULTILINE)[:LONGEST]:
            yield Row(f"  {task}", "", f"{float(taken):.1f} s")
