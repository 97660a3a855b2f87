"""What the pages promise of a booking, written a second time: the texts of its entry, or why it is rejected."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from anyascii import anyascii

from support.calendar import DAY

#: The scanners' character sets, and Python's names of them.
CHARSETS = {
    "PRISMA": ("ISO_IR 100", "latin-1"),
    "PRISMAFIT": ("ISO_IR 192", "utf-8"),
    "SKYRA": ("ISO_IR 6", "ascii"),
}
Row = Mapping[str, bytes | int | None]


@dataclass
class Promise:
    """What one row must become; `faults` are the columns and attributes for which it may be rejected.

    `taken` means that its id must not be another booking's, on any day.
    """

    booking_id: str
    counts: bool = False
    taken: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    faults: set[str] = field(default_factory=set)


def text(value: bytes | int | None) -> str:
    if value is None:
        return ""
    return (value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)).strip()


def printed(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def promise(row: Row) -> Promise:
    """Return what a row must become, if no other row has its id."""
    said = {column: text(value) for column, value in row.items()}
    made = Promise(said["booking_id"])
    lab = said["lab"].upper().replace("PRISMAFIT", "FIT")
    scanners = [
        title for title, name in (("PRISMA", "PRISMA"), ("PRISMAFIT", "FIT"), ("SKYRA", "SKYRA")) if name in lab
    ]
    confirmed = said["status"].upper() in ("CONFIRMED", "TENTATIVE")
    placeholder = said["subject_session"].lower() in ("0", "cancellation")
    other_day = re.fullmatch(r"20\d\d-(0\d|1[0-2])-(0\d|1\d|2[0-8])", said["start_date"]) and said["start_date"] != str(
        DAY
    )
    made.taken = bool(confirmed and not placeholder and scanners)
    made.counts = made.taken and not other_day
    if not made.counts:
        return made
    if said["start_date"] != str(DAY):
        made.faults.add("start_date")
    if len(scanners) > 1:
        made.faults.add("lab")
    if not said["booking_id"]:
        made.faults.add("booking_id")
    clock = re.fullmatch("([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?", said["start_time"])
    start = [int(part or 0) for part in clock.groups()] if clock else [99, 99, 99]
    if start > [23, 59, 59] or max(start[1:]) > 59:
        made.faults.add("start_time")
    _patient(said, "".join(f"{part:02}" for part in start), scanners[0], made)
    _descriptions(said, scanners[0], made)
    return made


def _patient(said: Mapping[str, str], clock: str, scanner: str, made: Promise) -> None:
    """Identifiers are taken as they are, or not at all."""
    if said["project_id"] and not _plain(_dashed(said["project_id"])):
        made.faults.add("project_id")
    subject, session = _who(_dashed(said["subject_session"]))
    if not (session.isascii() and session.isdigit() and int(session) < 100):
        made.faults.add("subject_session")
        return
    if subject.lower().startswith("undefined"):
        subject = f"{DAY:%Y%m%d}T{clock}"
    elif not _plain(subject) or re.fullmatch(r"\d+\.0+", subject) or _is_date(_dashed(said["subject_session"])):
        made.faults.add("subject_session")
        return
    elif len(subject) > 1 and subject[0] in "xX":
        subject = "x" + "0" * (4 - len(subject)) + subject[1:]
    subject = "0" * (3 - len(subject)) + subject
    patient = f"{_dashed(said['project_id'])}_sub-{subject}"
    name = f"{patient}_ses-{int(session):02}"
    made.texts |= {
        "PatientID": patient,
        "PatientName": name,
        "AccessionNumber": said["booking_id"],
        "RequestedProcedureID": f"ses-mri{int(session):02}",
        "ScheduledProcedureStepID": f"ses-mri{int(session):02}",
        "ScheduledProcedureStepDescription": f"MR session {int(session):02}",
        "ScheduledProcedureStepStartDate": f"{DAY:%Y%m%d}",
        "ScheduledProcedureStepStartTime": clock,
        "ScheduledStationAETitle": scanner,
    }
    if scanner != "SKYRA":  # ISO_IR 6 is what is written where nothing says otherwise
        made.texts["SpecificCharacterSet"] = CHARSETS[scanner][0]
    for keyword, length, further in (("PatientID", 64, ""), ("PatientName", 64, "^="), ("AccessionNumber", 16, "")):
        value = made.texts[keyword]
        if len(value) > length or not _writable(value, scanner) or any(_forbidden(c, further) for c in value):
            made.faults.add(keyword)
    if not said["project_id"]:
        made.faults.add("PatientID")


def _descriptions(said: Mapping[str, str], scanner: str, made: Promise) -> None:
    """A text for people is made to fit, with a warning."""
    names = [_clean(said[f"user_{which}_name"], "^=") for which in ("last", "first")]
    if names != [said["user_last_name"], said["user_first_name"]]:
        made.warned.add("RequestingPhysician")
    who = "^".join(names).rstrip("^")
    texts = {
        "RequestedProcedureDescription": (said["project_title"], _fitted(said["project_title"], scanner)),
        "RequestingPhysician": (who, _fitted(who, scanner, "^=")),
        "ReferringPhysicianName": (who, _fitted(who, scanner, "^=")),
        "SpecialNeeds": (said["lab"], _fitted(said["lab"], scanner)),
    }
    made.warned |= {keyword for keyword, (typed, fitted) in texts.items() if typed != fitted}
    made.texts |= {keyword: fitted for keyword, (_, fitted) in texts.items()}
    if not made.texts["RequestedProcedureDescription"]:
        made.texts["RequestedProcedureDescription"] = said["project_id"]
        made.warned.add("RequestedProcedureDescription")


def _dashed(text: str) -> str:
    return unicodedata.normalize("NFC", re.sub("[\u2010-\u2015\u2212\ufe58\ufe63\uff0d]", "-", text))


def _who(typed: str) -> tuple[str, str]:
    """Return subject and session as they were typed; no session, if it is not clear which."""
    if bids := re.fullmatch("sub-([^-]+?)(_ses-([^-]+))?", typed, re.IGNORECASE):
        return bids[1].strip(), (bids[3] or "1").strip()
    parts = [part.strip() for part in typed.split("-")]
    if parts[0].lower() in ("sub", "subj", "subject", "ses", "sess", "session", "participant") and parts[1:]:
        return "", ""
    return parts[0], {1: "1", 2: parts[-1]}.get(len(parts), "")


def _plain(text: str) -> bool:
    """Return whether a site without booking.characters takes it."""
    taken = re.fullmatch("[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?", text)
    return bool(taken) and not re.search("_s(ub|es)-", text.lower()) and text.lower() not in "nan nat none null".split()


def _is_date(typed: str) -> bool:
    """Return whether it is one of the dates of test_input; test_identity.py has more."""
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d|[A-Z][a-z]{2}-\d\d?|\d\d?/\d\d?|\d\d\.\d\d\.\d{4}", typed, re.ASCII))


def _forbidden(character: str, further: str = "") -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in f"\\{further}"


def _clean(text: str, further: str = "") -> str:
    runs = groupby(text, lambda c: _forbidden(c, further))
    return "".join(" " if forbidden else "".join(run) for forbidden, run in runs).strip()


def _writable(text: str, scanner: str) -> bool:
    return text.encode(CHARSETS[scanner][1], "ignore").decode(CHARSETS[scanner][1]) == text


def _fitted(text: str, scanner: str, further: str = "") -> str:
    """`further` may be in the text, but not as the spelling of another character."""
    text = _clean(text)
    if not _writable(text, scanner):
        text = "".join(
            c if _writable(c, scanner) else "".join(" " if _forbidden(a, further) else a for a in anyascii(c)) or "?"
            for c in unicodedata.normalize("NFC", text)
        )
    return text.strip()[:64].rstrip()
