"""Bookings that a web server gives as JSON (RFC 8259): Calpendo, REDCap, GraphQL, or a page of the site's own."""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import date, timedelta
from typing import Annotated, Any, Literal, NoReturn, Self
from urllib.parse import urlencode

import jmespath
import msgspec
from jmespath.exceptions import JMESPathError, JMESPathTypeError

from dicom_worklist import expressions
from dicom_worklist.bookings.booking import DEEPEST, NEEDED, Row, nested, printable
from dicom_worklist.bookings.sources import Rows, _secrets
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.bookings.sources._web import Answer, Auth, Proxy, Seconds, Web, joined
from dicom_worklist.errors import SourceError

#: The names that url, headers and body can use, beside those of `secrets` in headers and body.
DAYS = ("first_day", "last_day", "next_day")
#: A part of a body that is nothing but the cursor; null on the first page.
CURSOR = re.compile(r"\{\{\s*cursor\s*\}\}")
#: What url begins with: a server that no template changes, and without a login.
SERVER = re.compile(r"https?://[^\s/@{}?#]+(?=[/?]|\Z)")
_SAMPLE = date(2026, 1, 2)


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the bookings are asked for, and where in the answer they are.

    `url`, the values of `headers`, and the texts in `body` are Jinja2 templates over `first_day`, `last_day` and
    `next_day`, the day after the last, which are dates. `body` is text, or a mapping or a list, sent as JSON, or with
    `body_type: form` as a form. `secrets` names files: the text of each is a name for `headers` and `body`, and never
    for `url`, because addresses are logged.

    `records`, `next` and `error` are JMESPath. `records` is the list of bookings. `next` is the address of the next
    page on the same server; if a template uses `cursor`, it is the cursor of the next page instead: a text or a number,
    null on the first page. Without a `next`, or where it is null, false or empty, the page is the last. An answer in
    which `error` is not null is an error. `timeout` (seconds) and `max_megabytes` (decompressed) are for all pages
    together. `proxy` is an HTTP proxy, in place of those of the environment.
    """

    url: str
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}
    body: str | dict[str, Any] | list[Any] | None = None
    body_type: Literal["json", "form"] = "json"
    secrets: dict[str, str] = {}
    auth: Auth | None = None
    tls: TLS | bool | None = None
    proxy: Proxy | None = None
    timeout: Seconds = 30
    records: str = "@"
    next: str | None = None
    error: str | None = None
    max_pages: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
    max_megabytes: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 50

    def __post_init__(self) -> None:
        """Check the templates and the JMESPath, on a sample day."""
        if not SERVER.match(self.url):
            raise ValueError(
                "url must begin with http:// or https:// and the server's name, without a login: that is source.auth"
            )
        if self.body is not None and self.method == "GET":
            raise ValueError("body needs method: POST")
        try:
            json.dumps(self.body, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"body has a value that JSON doesn't know, {error}: put it in quotes") from error
        if self.body_type == "form" and not isinstance(self.body, dict):
            raise ValueError("body_type: form needs a mapping in body")
        for name in self.secrets:
            if not name.isidentifier() or name in {*DAYS, "cursor"}:
                raise ValueError(f"secrets: {name!r} can't be a name in a template: write letters, digits and _")
        for setting in ("records", "next", "error"):
            _check_path(setting, getattr(self, setting))
        self._check_templates()
        if self._has_cursor and self.next is None:
            raise ValueError("cursor is used, so next must say where an answer has the next page's")

    def __str__(self) -> str:
        """Say where the bookings are; a query may hold a secret."""
        return f"the calendar at {re.split('[?#{]', self.url)[0].rstrip('/')}"

    def rows(
        self,
        first_day: date,
        last_day: date,
        needed: Collection[str] = NEEDED,  # noqa: ARG002 - booking.columns may make each of them
    ) -> Rows:
        """Ask for one page after the other; `columns` makes a row of each record."""
        next_day = last_day if last_day == date.max else last_day + timedelta(days=1)
        names: dict[str, Any] = {"first_day": first_day, "last_day": last_day, "next_day": next_day, "cursor": None}
        rows, seen, before = Rows(), set[object](), list[Any]()
        url = self._rendered("url", self.url, names)
        most_bytes = int(self.max_megabytes * 1_000_000)
        web = Web(self, auth=self.auth, tls=self.tls, timeout=self.timeout, most_bytes=most_bytes)
        web.proxy = self.proxy
        with web:
            secrets = self._secrets(web)
            for _ in range(self.max_pages):
                answer = web.ask(self.method, url, **self._request(names | secrets))
                content = self._json(answer)
                if (error := self._find("error", content)) is not None:
                    raise self._failure(
                        f"the answer reports an error: {web.shown(_text(error))}",
                        "Check what source.url, source.headers and source.body ask for, and who may ask it",
                    )
                records = self._records(content, web)
                rows += map(columns, records)
                if answer.made:
                    rows.made = min(answer.made, rows.made or answer.made)
                following = self._find("next", content)
                if following is None or following is False or following == "":
                    return rows
                if following is True or not isinstance(following, (str, int)):
                    raise self._failure(
                        f"source.next gives {_kind(following)}, not a text or a number", "Check source.next"
                    )
                names["cursor"] = following
                url = self._rendered("url", self.url, names) if self._has_cursor else joined(answer.url, str(following))
                if following in seen or (records and records == before):
                    raise self._failure("a page comes a second time", "Check source.next")
                seen.add(following)
                before = records
        raise self._failure(
            f"there are more than {self.max_pages} pages",
            "Ask for larger pages or fewer days, or raise source.max_pages",
        )

    @property
    def _has_cursor(self) -> bool:
        return any("cursor" in expressions.names(text) for _, text in self._templates())

    def _templates(self) -> Iterator[tuple[str, str]]:
        """Yield each template with its place in the settings."""
        yield "url", self.url
        yield from ((f"headers.{name}", text) for name, text in self.headers.items())
        yield from _texts("body", self.body)

    def _check_templates(self) -> None:
        from jinja2 import TemplateSyntaxError  # noqa: PLC0415

        names: dict[str, Any] = dict.fromkeys(DAYS, _SAMPLE) | {"cursor": 1} | dict.fromkeys(self.secrets, "secret")
        for place, text in self._templates():
            try:
                used = expressions.names(text)
                unknown = sorted(used - names.keys())
                if not unknown:
                    expressions.template(text).render(names)
            except Exception as error:  # noqa: BLE001 - a template may call any method of a value
                # a secret may stand in the template, but hardly between its braces
                what = error.message if isinstance(error, TemplateSyntaxError) else type(error).__name__
                raise ValueError(f"{place}: the template has a fault ({what})") from None
            if place == "url" and (secret := sorted(used & self.secrets.keys())):
                raise ValueError(
                    f"url uses the secret {', '.join(secret)}: use it in headers or body, as addresses are logged"
                )
            if unknown:
                raise ValueError(f"{place} uses {', '.join(unknown)}; there is {', '.join(names)}")

    def _secrets(self, web: Web) -> dict[str, str]:
        secrets = {name: _secrets.read(path, f"{name} for {self}") for name, path in self.secrets.items()}
        for secret in secrets.values():
            web.hide(secret)
        return secrets

    def _request(self, names: Mapping[str, Any]) -> dict[str, Any]:
        """Return the headers and the body of a request."""
        headers = {"Accept": "application/json"}
        body = _filled(self.body, lambda text: self._rendered("body", text, names), names["cursor"])
        if isinstance(self.body, str):
            body = body.encode()
        elif self.body is not None and self.body_type == "form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode({name: value for name, value in body.items() if value is not None}, doseq=True).encode()
        elif self.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        for name, text in self.headers.items():
            headers[name] = self._rendered(f"headers.{name}", text, names)
        return {"headers": headers, "body": body}

    def _rendered(self, place: str, text: str, names: Mapping[str, Any]) -> str:
        try:
            return expressions.template(text).render(names)
        except Exception as error:  # noqa: BLE001 - a template may call any method of a value
            # its text may have a secret in it
            raise self._failure(
                f"the template in source.{place} fails ({type(error).__name__})", f"Check source.{place}"
            ) from None

    def _json(self, answer: Answer) -> Any:
        if answer.media_type.endswith("html") or answer.content.lstrip()[:1] == b"<":
            raise self._failure(
                "it answers with a web page and not with JSON, perhaps one that asks for a login",
                "Check source.auth and source.url; some calendars want Accept in source.headers",
            )
        try:
            # a number keeps its digits: 3010000.10 is not 3010000.1
            return json.loads(answer.content, parse_float=_Number, parse_constant=_not_json)
        except (ValueError, RecursionError, ArithmeticError) as error:
            what = (
                f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else f"{error}"
            )
            raise self._failure(
                f"its answer of {len(answer.content)} bytes is cut off, or not JSON ({printable(what)[:100]})",
                "The next run tries again; if it stays so, check source.url and look at the server",
            ) from error

    def _find(self, setting: str, content: Any) -> Any:
        """Return what the JMESPath of a setting finds; None if there is not one."""
        path = getattr(self, setting)
        try:
            return None if path is None else jmespath.compile(path).search(content)
        except (JMESPathError, TypeError, ValueError, RecursionError, ArithmeticError) as error:
            raise self._failure(
                f"source.{setting} fails on the answer: {printable(str(error))[:200]}", f"Check source.{setting}"
            ) from error

    def _records(self, content: Any, web: Web) -> list[dict[str, Any]]:
        records = self._find("records", content)
        if not isinstance(records, list):
            raise self._no_list(content, records, web)
        for at, record in enumerate(records):
            if not isinstance(record, dict):
                raise self._failure(
                    f"source.records, {self.records}, gives a list with {_kind(record)} at {at}, not with objects only",
                    "Check source.records",
                )
            if _is_deeper(record, 1 + DEEPEST):
                raise self._failure(
                    f"source.records, {self.records}, gives at {at} more than {DEEPEST} levels, one within the other",
                    "Ask for fewer columns, or let source.records choose the columns, such as [].{id: id}",
                )
        return records

    def _no_list(self, content: Any, found: Any, web: Web) -> SourceError:
        """Return the error of an answer without a list of bookings; many servers say in it what is wrong."""
        there = f"names {', '.join(content)}" if isinstance(content, dict) else _kind(content)
        there = printable(there)[:200]
        errors = content if isinstance(content, dict) else {}
        for name, error in errors.items():
            if name.lower() in {"error", "errors"} and error:
                return self._failure(
                    f"source.records, {self.records}, gives {_kind(found)} and not a list; the answer has {there}; "
                    f"{name} says {web.shown(_text(error))}",
                    "Check what source.url, source.headers and source.body ask for, and who may ask it",
                )
        if self.records == "@" and isinstance(content, dict):
            lists = [name for name, value in content.items() if isinstance(value, list)]
            remedy = lists[0] if len(lists) == 1 and lists[0].isidentifier() else "to where the list is"
            return self._failure(
                f"the answer is an object with the {there}, not a list",
                f"Set source.records{'' if remedy.startswith('to ') else ':'} {remedy}",
            )
        return self._failure(
            f"source.records, {self.records}, gives {_kind(found)} and not a list; the answer has {there}",
            "Check source.records",
        )

    def _failure(self, what: str, remedy: str) -> SourceError:
        return SourceError(f"{self} can't be read: {what}. {remedy}")


def columns(record: Mapping[str, Any]) -> Row:
    """Return a record as a row.

    Each name is a column. What lies within an object has its path with `_` as a name as well, so `a` and within it `b`
    is `a_b`; a dot in a name counts as such a path. A name that the record has itself wins over one that is made so.
    """
    row = dict(record)
    for name, value in record.items():
        first, *path = name.split(".")
        if path and all([first, *path]) and len(path) <= DEEPEST:
            _nest(row, first, path, value)
    for name, value in list(row.items()):
        if isinstance(value, dict):
            for path_name, inner in nested(name, value):
                row.setdefault(path_name, inner)
        elif "." in name:
            row.setdefault(name.replace(".", "_"), value)
    return row


def _nest(row: dict[str, Any], first: str, path: list[str], value: Any) -> None:
    """Put a value where its path leads, unless something else is there."""
    inner = row[first] = dict(row[first]) if isinstance(row.get(first), dict) else row.get(first, {})
    for at, name in enumerate(path):
        if not isinstance(inner, dict):
            return
        inner = inner.setdefault(name, value if at == len(path) - 1 else {})


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether objects and lists lie within each other over more than so many levels."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (not levels or any(_is_deeper(one, levels - 1) for one in inner))


def _texts(place: str, part: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts within a body, each with its place."""
    if isinstance(part, str):
        yield place, part
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from _texts(f"{place}.{name}", value)
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from _texts(f"{place}[{at}]", value)


def _filled(part: Any, render: Any, cursor: Any) -> Any:
    """Return a part of the body with its texts rendered."""
    if isinstance(part, str):
        return cursor if CURSOR.fullmatch(part) else render(part)
    if isinstance(part, dict):
        return {name: _filled(value, render, cursor) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, render, cursor) for value in part]
    return part


def _check_path(setting: str, path: str | None) -> None:
    if path is None:
        return
    try:
        compiled = jmespath.compile(path)
        with suppress(JMESPathTypeError):  # of a function that has no answer yet
            compiled.search({})
    except JMESPathError as error:
        raise ValueError(f"{setting} {path!r} is not JMESPath: {' '.join(str(error).split())}") from error


class _Number(float):
    """A number that keeps its digits in its text, and that JMESPath compares."""

    def __new__(cls, digits: str) -> Self:
        number = super().__new__(cls, digits)
        if math.isinf(number):
            raise ValueError(f"it has {digits}")
        number.digits = digits
        return number

    digits: str

    def __str__(self) -> str:
        return self.digits


_Number.__name__ = float.__name__  # by which JMESPath knows what is a number


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "true or false"}
    return kinds.get(type(value), "a number")
