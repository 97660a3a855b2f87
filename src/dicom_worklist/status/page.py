"""The page: one HTML file that says at a glance what was booked, is on the console, was scanned and arrived."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from dicom_worklist import files
from dicom_worklist.status import oddities, rendering, time_line, triage
from dicom_worklist.status.booking_status import BookingStatus, State
from dicom_worklist.status.overview import Day, Level, Overview, Problem, spell

#: Further pages, beside the page: their names and where they are.
_KEPT = (("Find earlier", "./past/index.html"), ("Usage", "./past/usage/index.html"))


def render(overview: Overview, links: Sequence[tuple[str, str]] = _KEPT[:1]) -> str:
    """Return the page, whole in itself; `links` are the names and the addresses of further pages beside it."""
    from markupsafe import Markup  # noqa: PLC0415 - a site without a page doesn't pay for the import

    days = [("today", overview.today), ("yesterday", overview.yesterday), ("tomorrow", overview.tomorrow)]
    here = overview.now.replace(tzinfo=None)
    anchors = _anchors([line for _, day in days for line in day.lines])
    return rendering.rendered(
        "page.html.j2",
        overview=overview,
        days=days,
        links=links,
        anchors=anchors,
        places={line.booked.booking_id: anchors[id(line)] for _, day in days for line in day.lines},
        groups=triage.groups(overview.problems),
        when_of=lambda group: _when(days, group.problems),
        # its own text, and no one's else
        style=Markup((rendering.HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup((rendering.HERE / "page.js").read_text(encoding="utf-8")),  # noqa: S704
        parts=lambda day: time_line.parts(day, overview.now),
        current=time_line.current(overview.today, (overview.yesterday, overview.tomorrow), here),
        is_on=lambda line: time_line.is_on(line, here),
        label=time_line.label,
        last=lambda line: _last(line, overview.now),
        identity=id,
        difference=oddities.difference,
        person=oddities.person,
        Level=Level,
        State=State,
        spell=spell,
        key=_key,
    )


def _anchors(lines: Sequence[BookingStatus]) -> dict[int, str]:
    """Return for each line the name of its place: the same one in each run, so that an open page can follow."""
    taken: dict[str, int] = {}
    for line in lines:
        booked = line.booked
        name = f"booking-{_key([booked.booking_id, booked.day, booked.ae_title])}"
        while name in taken:
            name += "x"
        taken[name] = id(line)
    return {line: name for name, line in taken.items()}


def _when(days: Sequence[tuple[str, Day]], problems: Iterable[Problem]) -> str:
    """Return how many of these are about a booking of which day, if they are not all of today."""
    about = Counter(one.about.when[:10] for one in problems if one.about)
    counts = {name: about[day.day.isoformat()] for name, day in days if about[day.day.isoformat()]}
    return "" if counts.keys() <= {"today"} else ", ".join(f"{count} {name}" for name, count in counts.items())


def _key(parts: Sequence[object]) -> str:
    """Return a short name for these, which may be any text."""
    return hashlib.blake2s("\0".join(map(str, parts)).encode(errors="surrogatepass"), digest_size=5).hexdigest()


def _last(line: BookingStatus, now: datetime) -> datetime | None:
    """Return when the last image of a booking came, in the site's time zone."""
    return max((study.updated.astimezone(now.tzinfo) for study in line.studies if study.updated), default=None)


def write(folder: Path, overview: Overview) -> None:
    """Put the page into the folder, as index.html.

    Raises:
        OSError: it can't be written; what was there stays.
    """
    links = [(name, path) for name, path in _KEPT if (folder / path).exists()]
    files.replace(folder / "index.html", render(overview, links).encode(), 0o640)
