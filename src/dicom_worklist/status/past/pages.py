"""The pages of past days, and the page that finds them: HTML, each file whole in itself."""

import calendar
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from dicom_worklist.bookings import printable
from dicom_worklist.status import oddities
from dicom_worklist.status.booking_status import State
from dicom_worklist.status.past.days import PastDay
from dicom_worklist.status.past.sessions import ENDED, UNBOOKED, sessions
from dicom_worklist.status.rendering import rendered


class Found(msgspec.Struct, frozen=True, array_like=True):
    """What the search has of a day: the scanners and the projects, and of each session where these stand in them.

    The lines are as `sessions` gives them: time, scanner, subject, project, booking, state, and Orthanc's names for the
    studies. Their places in the list are the anchors of the day's page.
    """

    day: date
    scanners: Sequence[str]
    projects: Sequence[str]
    lines: Sequence[tuple[str, int, str, int, str, str, Sequence[str]]]


class _Count(msgspec.Struct, array_like=True):
    """As much of `Found` as the calendar needs."""

    day: date
    scanners: msgspec.Raw
    projects: msgspec.Raw
    lines: list[msgspec.Raw]


def found(day: PastDay) -> bytes:
    """Return what the search finds of a day, as JSON that can stand in a page."""
    scanners, projects = dict[str, int](), dict[str, int]()

    def place(table: dict[str, int], value: str) -> int:
        return table.setdefault(printable(value), len(table))

    lines = [
        (
            one.time,
            place(scanners, one.ae_title),
            printable(one.subject),
            place(projects, one.project),
            printable(one.booking_id),
            one.state,
            [printable(study.orthanc_id) for study in one.studies],
        )
        for one in sessions(day)
    ]
    said = msgspec.json.encode(Found(day.day, [*scanners], [*projects], lines))
    # no text can end the element that it stands in
    return said.replace(b"<", rb"\u003c").replace(b">", rb"\u003e").replace(b"&", rb"\u0026")


def day_page(site: str, zone: object, day: PastDay) -> str:
    """Return the page of a day."""
    lines, states = [*enumerate(day.lines)], Counter(one.state for one in sessions(day))
    return rendered(
        "day.html.j2",
        site=site,
        zone=zone,
        day=day,
        lanes=[
            (title, [(at, line) for at, line in lines if line.booked.ae_title == title])
            for title in sorted({line.booked.ae_title for _, line in lines})
        ],
        ended=[(at, version, ENDED[version.ended]) for at, version in enumerate(day.ended, len(day.lines))],
        unscheduled=[*enumerate(day.unscheduled, len(day.lines) + len(day.ended))],
        counts={state: states[state] for state in [*map(str, State), *ENDED.values(), UNBOOKED] if states[state]},
        difference=oddities.difference,
        person=oddities.person,
    )


def index_page(site: str, founds: Iterable[bytes], *, usage: bool = False) -> str:
    """Return the page that finds a day, or a session, of what `found` returned of each; `usage`: that has pages."""
    from markupsafe import Markup  # noqa: PLC0415 - a run with nothing to make doesn't pay for the import

    founds = list(founds)
    counts = {one.day: len(one.lines) for one in (msgspec.json.decode(said, type=_Count) for said in founds)}
    months = sorted({(day.year, day.month) for day in counts}, reverse=True)
    return rendered(
        "index.html.j2",
        site=site,
        usage=usage,
        data=Markup("[" + ",\n".join(said.decode() for said in founds) + "]"),  # noqa: S704 - see `found`
        months=[(date(year, month, 1), calendar.Calendar().monthdatescalendar(year, month)) for year, month in months],
        counts=counts,
    )
