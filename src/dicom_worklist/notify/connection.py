"""What mail and webhooks share: secrets out of files, how a server is checked, and what can go wrong.

Like `mail`, `webhook` and `page_age` it needs nothing but Python: the PACS's host has these four, and not the package.
"""

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


#: Where the settings are; site.yml overwrites the files on the host.
INVENTORY = "in worklist_sync_notify in the inventory, then run site.yml"


class NotSent(Exception):  # noqa: N818 - the run goes on, and tries again
    """A message was not taken; the text says why, and what to do. It has no secret in it."""


def is_here(host: str) -> bool:
    """Return whether a host is this machine, as its name says."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def plain(text: str) -> str:
    """Return a server's words in one line of printable text, and not all of them."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))[:200]


def read(path: str, what: str) -> str:
    """Return what a file holds, without its line end.

    Raises:
        NotSent: it can't be read, or holds nothing.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8"
        raise NotSent(f"{what} can't be read from {path}: {said}: run site.yml, which writes it") from error
    if not text:
        raise NotSent(f"{what} can't be read from {path}: it is empty: write it {INVENTORY}")
    return text


def context(ca_file: str | None) -> "ssl.SSLContext":
    """Return how a server is checked: always, and its name, too.

    Raises:
        NotSent: what it is checked with can't be read.
    """
    import ssl  # noqa: PLC0415 - the sync checks the configuration, and needs no more of this

    try:
        made = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise NotSent(f"the certificates in {ca_file} can't be used ({error}): correct `ca` {INVENTORY}") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made
