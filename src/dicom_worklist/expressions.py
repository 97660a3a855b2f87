"""Templates of the configuration: Jinja2 in its sandbox; an unknown name is an error, NULL an empty text."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from dicom_worklist.errors import Rejected

if TYPE_CHECKING:  # a site without templates doesn't pay for the import, once a minute
    from jinja2 import Template
    from jinja2.sandbox import ImmutableSandboxedEnvironment


@lru_cache(maxsize=256)
def template(source: str) -> "Template":
    """Return the template.

    Raises:
        jinja2.TemplateError: it has a fault.
    """
    return _environment().from_string(source)


def names(source: str) -> set[str]:
    """Return the names that a template uses and doesn't set itself.

    Raises:
        jinja2.TemplateError: it has a fault.
    """
    from jinja2 import meta  # noqa: PLC0415

    return meta.find_undeclared_variables(_environment().parse(source))


@lru_cache(maxsize=1)
def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2 import StrictUndefined  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_printed)
    environment.filters["matching"] = _matching
    return environment


def _matching(value: object, pattern: str) -> object:
    """Return the value; a template fails where its text as a whole doesn't match the regular expression."""
    if re.fullmatch(pattern, str(value)) is None:
        raise Rejected(f"{str(value)!r} doesn't match {pattern}")
    return value


def _printed(value: object) -> object:
    """Return what a template writes of a value: of NULL nothing."""
    return "" if value is None else value
