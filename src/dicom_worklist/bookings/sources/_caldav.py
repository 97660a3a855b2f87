"""The events of some days in a CalDAV collection (RFC 4791), asked for in one request."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from xml.etree import ElementTree

from dicom_worklist.bookings.booking import printable
from dicom_worklist.errors import SourceError

XML = {"Content-Type": "application/xml; charset=utf-8"}
#: The body of a PROPFIND that asks what there is at an address (RFC 4918, 15.9).
KIND = b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/></prop></propfind>'
#: A server has floating times and days in a zone of its own choice, and the site's days are not those of UTC.
MARGIN = timedelta(days=2)
DAV, CALDAV = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"


def query(first_day: date, last_day: date) -> bytes:
    """Return the body of a REPORT for all that may take place on these days, both included (RFC 4791, 7.8 and 9.9).

    The server finds a series by its instances, also by moved ones, and gives each event with all changes.
    """
    begin = datetime.combine(max(first_day, date.min + MARGIN) - MARGIN, time(0))
    end = datetime.combine(min(last_day, date.max - 2 * MARGIN) + 2 * MARGIN, time(0))
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<C:calendar-query xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop><C:calendar-data/></prop>'
        '<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">'
        f'<C:time-range start="{begin:%Y%m%dT%H%M%SZ}" end="{end:%Y%m%dT%H%M%SZ}"/>'
        "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
    ).encode()


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type: nothing of WebDAV has one, and its entities can make a small answer a huge one."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:  # noqa: ARG002
        """Refuse it before its entities are used."""
        raise ElementTree.ParseError("it has a document type")


def events(content: bytes, place: object) -> Iterator[tuple[str, bytes]]:
    """Yield where each event is, and its iCalendar text, from the answer to a `query`.

    Raises:
        SourceError: it is not such an answer, or lacks an event.
    """
    root = _multistatus(content, place)
    for response in root.iter(f"{DAV}response"):
        href = printable(response.findtext(f"{DAV}href", "").strip())
        found = [part for part in response.iter(f"{DAV}propstat") if _is_good(part.findtext(f"{DAV}status", ""))]
        texts = [text for part in found for text in part.iter(f"{CALDAV}calendar-data") if (text.text or "").strip()]
        if not texts:
            status = printable(" ".join(one.text or "" for one in response.iter(f"{DAV}status")))[:100]
            raise SourceError(
                f"{place} is not whole, so nothing of it is used: {href} comes without its event ({status}). "
                "If this stays, look at the server's log, and at the rights of the account"
            )
        yield href, "".join(text.text or "" for text in texts).encode()


def check_calendar(content: bytes, place: object) -> None:
    """Check the answer to KIND: an account or a folder gives no events, just as an empty calendar does.

    Raises:
        SourceError: there is no calendar at that address.
    """
    if _multistatus(content, place).find(f".//{DAV}resourcetype/{CALDAV}calendar") is None:
        raise _no_answer(place, "there is something else than a calendar")


def _multistatus(content: bytes, place: object) -> ElementTree.Element:
    """Return the root of an answer of WebDAV (RFC 4918, 13)."""
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - without a document type there is nothing to expand
    try:
        parser.feed(content)
        root: ElementTree.Element = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _no_answer(place, printable(str(error))[:100]) from error
    if root.tag != f"{DAV}multistatus":
        raise _no_answer(place, f"its root is {printable(root.tag)[:100]}")
    return root


def _is_good(status: str) -> bool:
    return status.split()[1:2] == ["200"]


def _no_answer(place: object, why: str) -> SourceError:
    return SourceError(
        f"{place} gives no answer of CalDAV: {why}. source.caldav must be the address of one calendar, "
        "as its properties show it, and not of an account or a web page"
    )
