"""What Orthanc refused to scanners when they connected: objects of these SOP classes are not in the PACS."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from dicom_worklist.status.records import Refused

#: For so long it is shown after the last time.
SHOWN_FOR = timedelta(days=7)
#: So many classes of a scanner are named at the most.
NAMED = 5


def shown(refused: Iterable[Refused], now: datetime) -> list[Refused]:
    """Return what was refused lately, with times in the time zone of `now` (aware), by scanner, the latest first."""
    return sorted(
        (
            Refused(
                ae_title=one.ae_title, sop_class=one.sop_class, name=one.name, count=one.count, reason=one.reason,
                first=one.first.astimezone(now.tzinfo), last=one.last.astimezone(now.tzinfo),
            )
            for one in refused
            if now - one.last <= SHOWN_FOR
        ),
        key=lambda one: (one.ae_title, -one.last.timestamp(), one.sop_class),
    )  # fmt: skip


def by_scanner(shown: Iterable[Refused]) -> Iterable[list[Refused]]:
    """Return those of each scanner."""
    return (list(classes) for _, classes in groupby(shown, key=lambda one: one.ae_title))


def text(classes: Sequence[Refused]) -> str:
    """Return what was refused to a scanner."""
    what = "objects of a SOP class" if len(classes) == 1 else f"objects of {len(classes)} SOP classes"
    named = [
        f"{one.name} {one.sop_class} ({'once' if one.count == 1 else f'{one.count} times'}, the last time "
        f"{one.last:%Y-%m-%d %H:%M})"
        for one in classes[:NAMED]
    ]
    more = f" and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return f"{classes[0].ae_title} offered {what} that Orthanc refused: {', '.join(named)}{more}."


def remedy(classes: Sequence[Refused]) -> str:
    """Return what to do about it."""
    steps = {
        "class": "add the UID to orthanc_sop_classes in the inventory, and run site.yml",
        "syntax": "let the console send it uncompressed: Orthanc knows no transfer syntax in which it was offered",
        "stored": "nothing has to be changed: Orthanc stores it now",
    }
    reasons = {one.reason for one in classes}
    ways = [
        (f"for {', '.join(one.sop_class for one in classes if one.reason == reason)} " if len(reasons) > 1 else "")
        + step
        for reason, step in steps.items()
        if reason in reasons
    ]
    since = min(one.first for one in classes)
    return (
        f"See on the console whether it has objects that were not sent. If so, {'; '.join(ways)}. Then send the series "
        f"since {since:%Y-%m-%d %H:%M} again."
    )
