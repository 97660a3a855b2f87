"""Bookings in an iCalendar text (RFC 5545): a file, a published feed, or a calendar on a CalDAV server (RFC 4791)."""

import os
import re
from collections.abc import Collection
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from dicom_worklist.bookings.booking import NEEDED
from dicom_worklist.bookings.sources import Rows, _caldav, _secrets, _web
from dicom_worklist.bookings.sources._tls import TLS
from dicom_worklist.errors import SourceError


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of `path`, a file; `url`, a feed; `url_file`, a file with its address; `caldav`, a calendar on a server.

    The address of a private feed is its password: `url_file` keeps it out of the configuration. `auth`, `tls`
    and `proxy` are for servers, and `timeout` (seconds). More than `max_megabytes` is not read.
    """

    path: str | None = None
    url: _web.Address | None = None
    url_file: str | None = None
    caldav: _web.Address | None = None
    auth: _web.Auth | None = None
    tls: TLS | bool | None = None
    proxy: _web.Proxy | None = None
    timeout: _web.Seconds = 30
    max_megabytes: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32

    def __post_init__(self) -> None:
        """Check that it is one of the four."""
        if sum(one is not None for one in (self.path, self.url, self.url_file, self.caldav)) != 1:
            raise ValueError("it needs one of path, url, url_file and caldav, and no other of them")
        if self.path is not None and (self.auth or self.tls or self.proxy):
            raise ValueError("auth, tls and proxy are for url, url_file and caldav: leave them out with path")

    def __str__(self) -> str:
        """Say where the bookings are; the address of a feed is its password, so only the server is named."""
        if self.url is not None:
            parts = urlsplit(self.url)
            return f"the calendar feed on {parts.scheme}://{parts.netloc}"
        if self.url_file is not None:
            return f"the calendar feed of {self.url_file}"
        return f"the calendar {self.path if self.caldav is None else self.caldav.partition('?')[0]}"

    def rows(self, first_day: date, last_day: date, needed: Collection[str] = NEEDED) -> Rows:  # noqa: ARG002 - of tables
        """Return a row for each event and each instance of a series.

        One that can't be read is a row whose `start` says why; a text that is not whole is not read in part. Times
        have the event's zone. Floating ones have none, so they are the site's.

        `made` of a calendar with a METHOD, as Google and Outlook publish them, is its newest DTSTAMP, which RFC 5545
        (3.8.7.2) then makes the moment at which the text was written, or the server's Last-Modified if that is later.
        Without a METHOD a DTSTAMP only says when its event was changed: then it is Last-Modified, or the file's time.
        What a CalDAV server gives is the calendar itself, so it is None.
        """
        from dicom_worklist.bookings.sources import _ical_series, _ical_text  # noqa: PLC0415 - slow to import

        made = None
        if self.caldav is not None:
            with self._client() as web:
                calendars = [
                    calendar
                    for href, text in self._events(web, self.caldav, first_day, last_day)
                    for calendar in _ical_text.take_apart(text, f"{self}, in {href},", web.shown)
                ]
        elif self.path is None:
            address = self._feed()
            with self._client() as web:
                for secret in re.findall(r"[^/?&=]{8,}", address) + re.findall(r"\w{16,}", address):
                    web.hide(secret)  # a server may repeat a part of the address
                answer = web.ask("GET", address, headers={"Accept": "text/calendar, */*"})
                calendars = _ical_text.take_apart(answer.content, self, web.shown)
            made = _ical_text.newest_stamp(calendars) or answer.made
        else:
            content, written = self._file(self.path)
            calendars = _ical_text.take_apart(content, self)
            made = _ical_text.newest_stamp(calendars) or written
        rows = Rows(_ical_series.Reading(self, first_day, last_day).rows(calendars))
        rows.made = made
        return rows

    def _client(self) -> _web.Web:
        most = self.max_megabytes * 1_000_000
        web = _web.Web(self, auth=self.auth, tls=self.tls, timeout=self.timeout, most_bytes=most)
        web.proxy = self.proxy
        web.asked_by = ("caldav" if self.caldav else "url" if self.url else "url_file",)
        return web

    def _feed(self) -> str:
        """Return the address of the feed."""
        if self.url is not None:
            return self.url
        path = self.url_file or ""
        try:
            return msgspec.convert(_secrets.read(path, f"the address of {self}"), _web.Address)
        except msgspec.ValidationError:  # its text has the address
            raise SourceError(
                f"{self} can't be read: {path} has no address. Write it there, on one line; it begins with https://"
            ) from None

    def _events(self, web: _web.Web, address: str, first_day: date, last_day: date) -> list[tuple[str, bytes]]:
        """Return where each event of these days is on a CalDAV server, and its text."""
        body = _caldav.query(first_day, last_day)
        answer = web.ask("REPORT", address, headers={**_caldav.XML, "Depth": "1"}, body=body)
        events = list(_caldav.events(answer.content, self))
        if not events:
            answer = web.ask("PROPFIND", address, headers={**_caldav.XML, "Depth": "0"}, body=_caldav.KIND)
            _caldav.check_calendar(answer.content, self)
        return events

    def _file(self, path: str) -> tuple[bytes, datetime]:
        """Return what is in the file, and when it was written."""
        most = self.max_megabytes * 1_000_000
        try:
            with Path(path).open("rb") as file:
                content = file.read(most + 1)
                written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
        except OSError as error:
            raise SourceError(f"{self} can't be read: {error.strerror}. Check source.path") from error
        if len(content) > most:
            raise SourceError(
                f"{self} has more than {self.max_megabytes} MB, the most that is read. "
                "Export fewer years, or raise source.max_megabytes"
            )
        return content, written
