#!/usr/bin/python3
"""Asks Debian which updates wait for the images of the containers that run here; cron starts it once a day.

An image is asked in a container of its own, which changes nothing and is gone afterwards. It prints JSON: when it asked
(UTC), and for each container the security updates (null: its Debian doesn't say which they are) and all others, or why
that is not known.
"""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime

#: Each of our images has it.
LABEL = "dicom-worklist.packages"
#: Lists and archives are kept in memory; nothing of the image is written.
RUN = ("docker", "run", "--rm", "--pull", "never", "--network", "bridge", "--user", "0:0", "--cap-drop", "ALL",
       "--security-opt", "no-new-privileges:true", "--read-only", "--memory", "512m", "--pids-limit", "64",
       "--tmpfs", "/tmp", "--tmpfs", "/var/lib/apt/lists", "--tmpfs", "/var/cache/apt", "--env", "LC_ALL=C",
       "--entrypoint", "sh")  # fmt: skip
ASK = """command -v apt-get >/dev/null || { echo "the image has no apt" >&2; exit 1; }
apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=2 -o APT::Update::Error-Mode=any update >/dev/null &&
apt-get indextargets --format 'From $(LABEL)' && exec apt-get -qq --simulate dist-upgrade"""
#: Inst libc6 [2.41-12] (2.41-12+deb13u1 Debian-Security:13/stable-security [amd64])
WAITS = re.compile(r"^Inst (\S+) \[([^]]+)\] \((\S+) ([^[]*)", re.MULTILINE)
SECONDS = 300


def docker(*line: str) -> str:
    """Run a command of Docker; return what it prints."""
    return subprocess.run(["docker", *line], check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def waiting(image: str) -> dict[str, object]:
    """Ask for one image."""
    proxy = [part for name in ("http_proxy", "https_proxy") if name in os.environ for part in ("--env", name)]
    line = [*RUN, *proxy, image, "-c", ASK]
    try:
        asked = subprocess.run(line, check=False, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return {"unknown": f"Debian's mirror did not answer within {SECONDS} s"}
    if asked.returncode:
        return {"unknown": (asked.stderr.strip() or f"apt-get ended with status {asked.returncode}")[-300:]}
    found = [(f"{name} {old} -> {new}", "Security" in source) for name, old, new, source in WAITS.findall(asked.stdout)]
    return {
        "security": [text for text, secure in found if secure] if "From Debian-Security" in asked.stdout else None,
        "other": [text for text, secure in found if not secure],
    }


def main() -> None:
    """Ask for the containers that are named, or for all of ours."""
    names = sys.argv[1:] or docker("ps", "--filter", f"label={LABEL}", "--format", "{{.Names}}").split()
    images = {name: docker("inspect", "--format", "{{.Image}}", name).strip() for name in names}
    answers = {image: waiting(image) for image in sorted({*images.values()})}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    print(json.dumps({"asked": now, "containers": {name: answers[image] for name, image in sorted(images.items())}}))


if __name__ == "__main__":
    main()
