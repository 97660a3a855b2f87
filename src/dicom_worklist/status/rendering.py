"""Making the pages of templates: the same rules for all, so that what a calendar or a console says is text in each.

As a program, `python -m dicom_worklist.status.rendering`, it compiles all templates once, beside Python's own compiled
files. A release does so when it is installed; without that each run compiles those that it needs.
"""

import hashlib
import pickle
from base64 import b64encode
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from dicom_worklist import files
from dicom_worklist.bookings import printable

HERE = Path(__file__).parent
FOLDERS = (HERE, HERE / "past", HERE / "usage")
COMPILED = HERE / "__pycache__"


def rendered(name: str, **values: object) -> str:
    """Return the page of a template of this folder, or of those of past days and of usage."""
    page: str = _template(name).render(values)
    return page


@lru_cache(maxsize=8)
def _template(name: str) -> Any:
    return _environment(_Compiled()).get_template(name)


class _Compiled(BytecodeCache):
    """What was compiled; jinja2 compares the checksum of the template."""

    # the name alone: a release is reached by several paths
    def get_cache_key(self, name: str, filename: str | None = None) -> str:  # noqa: ARG002
        return name

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            bucket.bytecode_from_string((COMPILED / bucket.key).read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):  # not compiled, or damaged: it is compiled now
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep nothing: who runs the sync may not write code that others run."""


class _Compiling(_Compiled):
    def dump_bytecode(self, bucket: Bucket) -> None:
        COMPILED.mkdir(exist_ok=True)
        files.replace(COMPILED / bucket.key, bucket.bytecode_to_string(), 0o644)


def compile_all() -> None:
    """Compile every template.

    Raises:
        OSError: the folder can't be written.
    """
    environment = _environment(_Compiling())
    for template in (HERE / "palette.css", *(template for folder in FOLDERS for template in folder.glob("*.j2"))):
        environment.get_template(template.name)


def _environment(compiled: BytecodeCache) -> Environment:
    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else printable(str(value))

    environment = Environment(
        loader=FileSystemLoader(FOLDERS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        bytecode_cache=compiled,
    )
    environment.filters |= {"printable": printable, "digest": _digest}
    return environment


def _digest(script: str) -> str:
    """Return the name under which a Content-Security-Policy allows this script and no other."""
    return "sha256-" + b64encode(hashlib.sha256(script.encode()).digest()).decode()


if __name__ == "__main__":
    compile_all()
