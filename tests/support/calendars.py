"""Calendars on the web as imaging centres have them: Calpendo, REDCap and a GraphQL one, with their peculiarities."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from support.web import Asked, Certificates, Reply, WebServer, as_json, serving

PROJECT = Path(__file__).parents[2]
RECIPES = PROJECT / "docs/calendars"
#: The inventories that are worked examples of a calendar.
EXAMPLES = ("calpendo", "ical", "postgresql")


class _Loader(yaml.SafeLoader):
    """Reads an inventory's variables: !unsafe is Ansible's."""


def _unsafe(loader: yaml.SafeLoader, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_Loader.add_constructor("!unsafe", _unsafe)


def place(name: str) -> Path:
    """Return the file that has a recipe: an inventory's own, or one of docs/calendars."""
    return PROJECT / f"inventories/{name}/group_vars/all/calendar.yml" if name in EXAMPLES else RECIPES / f"{name}.yml"


def variables(name: str) -> dict[str, Any]:
    """Return the variables that a recipe gives an inventory."""
    read: dict[str, Any] = yaml.load(place(name).read_text(encoding="utf-8"), _Loader)
    return read


def recipe(name: str, server: WebServer, certificates: Certificates, folder: Path) -> dict[str, Any]:
    """Return the changes for a configuration with a recipe of a web server, for this one and files in `folder`."""
    text = place(name).read_text(encoding="utf-8")
    text = re.sub(r"https://\w+\.example\.org", server.url, text).replace("/etc/dicom-worklist", str(folder))
    read = yaml.load(text, _Loader)
    source = read["worklist_sync_source"] | {"tls": {"ca": str(certificates.ca)}}
    if "worklist_sync_source_password" in read:  # which the role writes into a file
        source["auth"] |= {"password_file": str(folder / "calendar.password")}
    return {"source": source, "booking": read["worklist_sync_booking"]}


def sessions_table() -> str:
    """Return the statement that makes the table of inventories/postgresql, as its comment has it."""
    made = re.search(r"# +(CREATE TABLE .*?\)\n)# The", place("postgresql").read_text(encoding="utf-8"), re.DOTALL)
    assert made
    return made[1].replace("#", "")


class Calpendo:
    """`bookings` have an id, start ("2026-11-24 09:00:00.0"), finish and the paths that an account sees.

    Each path that the account may not see reads <Hidden>.
    """

    FEW = ("id", "formattedName", "title", "status", "biskitType", "created")

    def __init__(self, bookings: Sequence[Mapping[str, Any]], password: str) -> None:
        self.bookings = bookings
        self._login = "Basic " + b64encode(f"worklist:{password}".encode()).decode()

    def __call__(self, asked: Asked) -> Reply:
        if asked.headers["Authorization"] != self._login:
            return Reply(
                "<html>Log in", 401, {"Content-Type": "text/html", "WWW-Authenticate": 'Basic realm="Calpendo"'}
            )
        address = urlsplit(asked.target)
        match = re.fullmatch(
            r"/webdav/q/Calpendo\.Booking/AND/dateRange\.start/GE/(\d{8})-0000/dateRange\.start/LT/(\d{8})-0000",
            unquote(address.path),
        )
        if asked.method != "GET" or match is None:
            return Reply("<html>Not found", 404, {"Content-Type": "text/html"})
        [paths] = parse_qs(address.query).get("paths", [""])
        first, end = (f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in match.groups())
        found = [one for one in self.bookings if first <= one["dateRange.start"] < end]
        return as_json({"biskits": [self._item(one, paths.split(",") if paths else self.FEW) for one in found]})

    def _item(self, booking: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
        times = f"[{booking['dateRange.start']}, {booking['dateRange.finish']}]"
        own = {"formattedName": times, "biskitType": "Calpendo.Booking", "created": "2026-11-01 08:00:00.0", **booking}
        return {path: own.get(path, "<Hidden>") for path in paths}


class REDCap:
    """`records` have texts only; one lies between the days of filterLogic by its scan_start."""

    def __init__(self, records: Sequence[Mapping[str, str]], token: str) -> None:
        self.records, self._token = records, token

    def __call__(self, asked: Asked) -> Reply:
        form = {name: value for name, [value] in parse_qs(asked.body.decode()).items()}
        if asked.method != "POST" or urlsplit(asked.target).path != "/api/":
            return Reply("<html>", 404, {"Content-Type": "text/html"})
        if form.get("token") != self._token:
            return as_json({"error": "You do not have permissions to use the API"}, 403)
        if (form.get("content"), form.get("format"), form.get("type")) != ("record", "json", "flat"):
            return as_json({"error": 'The value of the parameter "content" is not valid'}, 400)
        days = re.fullmatch(r"\[scan_start\] >= '([-\d]+)' and \[scan_start\] < '([-\d]+)'", form["filterLogic"])
        if days is None:
            return as_json({"error": "The filterLogic has a fault"}, 400)
        fields = {value for name, value in form.items() if name.startswith("fields[")}
        fields |= {"redcap_event_name", "redcap_repeat_instance"}
        found = [record for record in self.records if days[1] <= record["scan_start"] < days[2]]
        return as_json([{name: value for name, value in one.items() if name in fields} for one in found])


class GraphQL:
    """Gives `bookings` in pages of two; a token is good for `good_for` of them. `errors` come with status 200."""

    def __init__(self, bookings: Sequence[Mapping[str, Any]], secret: str, good_for: int = 1000) -> None:
        self.bookings, self.good_for, self.tokens, self._left = bookings, good_for, 0, 0
        self.errors: list[dict[str, str]] = []
        self._login = "Basic " + b64encode(f"worklist:{secret}".encode()).decode()

    def __call__(self, asked: Asked) -> Reply:
        if asked.target == "/oauth/token":
            form = {name: value for name, [value] in parse_qs(asked.body.decode()).items()}
            if asked.headers["Authorization"] != self._login or form != {
                "grant_type": "client_credentials",
                "scope": "bookings.read",
            }:
                return as_json({"error": "invalid_client"}, 401)
            self.tokens, self._left = self.tokens + 1, self.good_for
            return as_json({"access_token": f"token{self.tokens}", "token_type": "Bearer", "expires_in": 60})
        if asked.headers["Authorization"] != f"Bearer token{self.tokens}" or self._left <= 0:
            return as_json({"errors": [{"message": "the token has ended"}]}, 401)
        self._left -= 1
        question = json.loads(asked.body)
        first, last, after = (question["variables"][name] for name in ("from", "to", "after"))
        found = [one for one in self.bookings if first <= one["start"][:10] <= last]
        begin = 0 if after is None else int(after.removeprefix("after-"))
        more = begin + 2 < len(found)
        page = {
            "nodes": found[begin : begin + 2],
            "pageInfo": {"hasNextPage": more, "endCursor": f"after-{begin + 2}" if found else None},
        }
        return as_json({"data": {"bookings": page}} | ({"errors": self.errors} if self.errors else {}))


@contextmanager
def published(calendar: Any, certificates: Certificates) -> Iterator[WebServer]:
    """Run a server for one of these calendars, over TLS."""
    with serving(calendar, context=certificates.server()) as server:
        yield server
