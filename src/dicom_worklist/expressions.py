"""Expressions of the configuration.

Templates are Jinja2 in its sandbox; a name without a value is an error, and NULL an empty text. Regular expressions
have a limit of time.
"""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:  # a site without templates doesn't pay for the import, once a minute
    from jinja2 import Template
    from jinja2.nodes import Node
    from jinja2.sandbox import ImmutableSandboxedEnvironment

#: The most characters of a text that the site's regular expressions are tried on: what people type is shorter.
LONGEST_TEXT = 1000
#: How many seconds of the processor they may take on one text: (a+)+$ would take years.
PATIENCE = 1.0


@contextmanager
def in_time(place: str, failure: type[Exception]) -> Iterator[None]:
    """Give the regular expressions in `place`, a part of the configuration, only PATIENCE for one text.

    Python handles signals in the main thread alone: in another one there is no limit.

    Raises:
        failure: they take longer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        raise failure(
            f"{place} takes longer than {PATIENCE:g} s on this text: a repetition within a repetition, such as (a+)+, "
            "may be the reason. Write that expression in another way"
        )

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def why_not_valid(source: str, error: Exception) -> str:
    """Return why a text is not a regular expression, which `re` says in `error`, and what to write."""
    if name := re.search(r"\(\?<(\w+)>", source):
        return f"write (?P<{name[1]}>…) for {name[0][:-1]}>…)"
    words = {"missing )": "a ( has no )", "unbalanced p": "a ) has no (", "unterminated character set": "a [ has no ]"}
    return next((said for begin, said in words.items() if str(error).startswith(begin)), str(error))


@lru_cache(maxsize=256)
def template(source: str) -> "Template":
    """Return the template.

    Raises:
        jinja2.TemplateError: it has a fault.
    """
    return _environment().from_string(source)


@lru_cache(maxsize=256)
def names(source: str) -> frozenset[str]:
    """Return the names that a template uses and doesn't set itself.

    Raises:
        jinja2.TemplateError: it has a fault.
    """
    from jinja2 import meta  # noqa: PLC0415

    return frozenset(meta.find_undeclared_variables(_environment().parse(source)))


def paths(source: str) -> set[str]:
    """Return what a template takes from the names that it doesn't set itself, such as `resource.name`.

    Raises:
        jinja2.TemplateError: it has a fault.
    """
    from jinja2 import meta  # noqa: PLC0415

    tree = _environment().parse(source)
    names = meta.find_undeclared_variables(tree)
    return {".".join(path) for path in _paths(tree) if path[0] in names}


def _paths(node: "Node") -> Iterator[tuple[str, ...]]:
    from jinja2 import nodes  # noqa: PLC0415

    if path := _path(node):
        yield path
        return
    called = node.node if isinstance(node, nodes.Call) else None
    for inner in node.iter_child_nodes():
        # what is called is a method, and no name in the value
        yield from _paths(inner.node if inner is called and isinstance(inner, nodes.Getattr) else inner)


def _path(node: "Node") -> tuple[str, ...]:
    """Return the names in `a.b` or `a['b']`; nothing if it is something else."""
    from jinja2 import nodes  # noqa: PLC0415

    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr):
        name: object = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        name = node.arg.value
    else:
        return ()
    path = _path(node.node)
    return (*path, name) if path and isinstance(name, str) else ()


@lru_cache(maxsize=1)
def _environment() -> "ImmutableSandboxedEnvironment":
    from jinja2 import StrictUndefined  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=_printed)
    environment.filters["matching"] = _matching
    return environment


def _matching(value: object, pattern: str) -> object:
    """Return the value; a template fails where its text as a whole doesn't match the regular expression."""
    with in_time(f"matching({pattern!r})", ValueError):
        found = re.fullmatch(pattern, str(value))
    if found is None:
        raise ValueError(f"{str(value)!r} doesn't match {pattern}")
    return value


def _printed(value: object) -> object:
    """Return what a template writes of a value: of NULL nothing."""
    return "" if value is None else value
