"""What of an overview recipients are notified of, and in which words: from what the runs found to the messages.

A cron job of its own runs it, not the sync: it reports a sync that is dead, and a slow mail server holds up no sync.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist.config import load, part
from dicom_worklist.errors import ConfigError
from dicom_worklist.notify import Notice, message
from dicom_worklist.notify import run as sending
from dicom_worklist.notify.message import Place
from dicom_worklist.notify.run import Sent
from dicom_worklist.settings import Config, Notify, Site
from dicom_worklist.status import findings
from dicom_worklist.status.booking_status import BookingStatus
from dicom_worklist.status.oddities import when
from dicom_worklist.status.overview import Level, Overview, Problem, overview

#: What stands in a message without names: about a booking, and about anything else. `place` is a destination's name.
SENTENCES = {
    "rejected": ("is not on the console. The calendar has to be corrected.", ""),
    "missing": ("has no images, long after its time. Ask who was at the scanner whether it took place.", ""),
    "odd": ("is not as booked. Somebody has to look at it.", "A study of no booking{study} may belong to a booking."),
    "double": ("", "Bookings contradict each other. Ask who booked them."),
    "labs": ("", "Bookings have no lab, or one that no scanner has. They are on no console."),
    "statuses": ("", "Bookings have a status that doesn't count. They are on no console."),
    "leftovers": ("", "The consoles show files that the sync did not write. See `dicom-worklist check`."),
    "delivery": ("", "Images can't be delivered to {place}, or have waited too long."),
    "superseded": ("", "Destination {place} still has images under an old name, or that were deleted since."),
    "run": ("", "The sync published, but could not do something else, such as write the page."),
}
#: What to do, where the page says it otherwise than a message, in which no booking stands below.
REMEDIES = {
    "console": "Until the calendar can be read again, type PatientID and PatientName on the console exactly as the "
    "page (or `dicom-worklist status`) shows them, and ask the person who booked whether the booking still holds.",
}
#: Kinds whose text on the page has nothing in it that somebody typed into the calendar, or at a console.
NAMELESS = {"outdated", "console", "emptied", "source", "pacs", "refused", "disk", "backup", "notify"}


def run(path: str, now: datetime) -> Iterator[Sent]:
    """Notify the recipients of what is new at `now`, an aware time, and yield what became of each message.

    Raises:
        ConfigError: the configuration can't be used, of which they are notified, or has no recipients.
        FolderError: what was sent can't be remembered.
    """
    try:
        config = load(path)
    except ConfigError as error:
        yield from _without(path, error, now)
        raise
    section = _section(config)
    try:
        found = findings.load(config.status.state) if config.status else findings.Findings()
    except OSError as error:
        found = findings.Findings(failure=f"status.state can't be read: {error.strerror}")
    seen = overview(config, found, now)
    # without a list it is not known what there is: nothing is over
    certain = found.good is not None
    yield from sending.run(section, _place(config.site, section, now), notices(seen), certain=certain)


def _without(path: str, error: ConfigError, now: datetime) -> Iterator[Sent]:
    """Notify the recipients that the configuration can't be used, if it still says who they are."""
    if found := part(path):
        site, section = found
        text = f"No run of the sync can work: {error}"
        notice = Notice(key="outdated", kind="outdated", text=text, short=text)
        yield from sending.run(section, _place(site, section, now), [notice], certain=False)


def trial(path: str, now: datetime, only: str | None = None) -> Iterator[Sent]:
    """Send each recipient, or only one, a message that says it is a test, and yield what became of it.

    Raises:
        ConfigError: the configuration can't be used, or has no such recipient.
    """
    config = load(path)
    section = _section(config)
    names = [one.name for one in section.recipients if only in {None, one.name}]
    if not names:
        known = ", ".join(one.name for one in section.recipients)
        raise ConfigError(f"notify.recipients has no {only!r}: it has {known}")
    at = _place(config.site, section, now)
    yield from sending.send(section, {name: message.trial(at, name) for name in names}, at.now)


def _place(site: Site, section: Notify, now: datetime) -> Place:
    return Place(site.name, ZoneInfo(site.timezone), section.page, now.astimezone(UTC))


def notices(seen: Overview) -> list[Notice]:
    """Return the problems as recipients get them: those that are about the same thing are one."""
    lines = {line.booked.booking_id: line for day in (seen.tomorrow, seen.yesterday, seen.today) for line in day.lines}
    together: dict[str, Notice] = {}
    for problem in seen.problems:
        one = _notice(problem, lines.get(problem.booking_id), seen)
        if one is None:
            continue
        if before := together.get(one.key):
            text = "\n".join(dict.fromkeys((before.text, one.text)))
            short = "\n".join(dict.fromkeys((before.short, one.short)))
            together[one.key] = msgspec.structs.replace(before, text=text, short=short)
        else:
            together[one.key] = one
    return list(together.values())


def _notice(problem: Problem, line: BookingStatus | None, seen: Overview) -> Notice | None:
    kind = problem.kind if problem.kind in SENTENCES.keys() | NAMELESS else "odd"
    critical = problem.level is Level.CRITICAL
    problem = replace(problem, remedy=REMEDIES.get(kind, problem.remedy))
    if kind == "outdated" and not critical:  # one run that failed; the next one may be good
        return None
    return Notice(
        key=" ".join(filter(None, (kind, problem.booking_id, problem.place))),
        kind=kind,
        text=problem.said,
        short=problem.said if kind in NAMELESS else _short(problem, kind, line),
        critical=critical,
        scanner=line.booked.ae_title if line else problem.place if kind in {"emptied", "refused"} else "",
        since=seen.good.astimezone(UTC) if kind == "outdated" and seen.good else None,
    )


def _short(problem: Problem, kind: str, line: BookingStatus | None) -> str:
    of_booking, other = SENTENCES[kind]
    if not problem.booking_id:
        # the place of what is superseded also has the name that the images had, which somebody typed
        return other.format(place=problem.place.partition(" ")[0] or "a destination", study=_of(problem))
    where = f", {line.booked.ae_title or 'no scanner'} {when(line.booked)}," if line else ""
    if kind == "rejected" and problem.level is not Level.CRITICAL:
        of_booking = of_booking.replace("is not", "will not be")
    return f"Booking {problem.booking_id}{where} {of_booking or other}"


def _of(problem: Problem) -> str:
    """Return where and when a study was made, as far as it is known."""
    about = problem.about
    where = [f"on {about.scanner}"] if about and about.scanner else []
    at = [f"at {about.when}"] if about and about.when else []
    return f", {' '.join([*where, *at])}," if where or at else ""


def _section(config: Config) -> Notify:
    if config.notify is None:
        raise ConfigError("there is no section notify, so nobody is notified: docs/notify.md says what it has")
    return config.notify
