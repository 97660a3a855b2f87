"""Making the pages of templates: the same rules for all, so that what a calendar or a console says is text in each."""

import hashlib
from base64 import b64encode
from functools import lru_cache
from pathlib import Path
from typing import Any

from dicom_worklist.bookings import printable

HERE = Path(__file__).parent


def rendered(name: str, **values: object) -> str:
    """Return the page of a template of this folder, or of those of past days and of usage."""
    page: str = _template(name).render(values)
    return page


@lru_cache(maxsize=8)
def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - a site without pages pays nothing
    from markupsafe import Markup  # noqa: PLC0415

    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else printable(str(value))

    environment = Environment(
        loader=FileSystemLoader([HERE, HERE / "past", HERE / "usage"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
    )
    environment.filters |= {"printable": printable, "digest": _digest}
    return environment.get_template(name)


def _digest(script: str) -> str:
    """Return the name under which a Content-Security-Policy allows this script and no other."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()
