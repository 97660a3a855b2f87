"""Running a program inside a container."""

import subprocess

from docker.models.containers import Container


def run(container: Container, *line: str) -> subprocess.CompletedProcess[bytes]:
    """Run it with the command `docker`: the SDK can lose what arrives together with the headers of its answer."""
    line = ("docker", "exec", str(container.id), *line)
    return subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
