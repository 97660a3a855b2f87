"""Who a booking is for: how project, subject and session are read, and which characters an identifier may have.

The only place that decides it; docs/identity.md shows what is read as what. Two different texts never become one
identity, except by the rules of that page: blanks and dashes, zeros in front, the `x` of an extra subject.
"""

import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from itertools import repeat

from dicom_worklist import expressions
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import CHARACTERS, Reading

_CHARACTERS_IN_WORDS = "the letters A to Z, digits and . _ - +"
#: What no site can allow: it separates values and parts of names (PS3.5 6.2), or is a wildcard of a query (PS3.4).
_NEVER = frozenset("\\^=*?")
#: Characters that nobody sees, although Unicode counts them as letters, marks or symbols.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_USUAL = re.compile("([xX]?[0-9]{1,9})(?: ?- ?([0-9]{1,2}))?")
_BIDS = re.compile("sub-(?P<subject>[^-]+?)(?:_ses-(?P<session>[^-]+))?", re.IGNORECASE)
_FORMS = "write 7, 7-2 (subject-session) or sub-007_ses-02"
#: What is nearly BIDS, and would be somebody else's PatientID if it were taken as it is.
_HALF_BIDS = re.compile("^(sub|subj|subject|ses|sess|session)[_0-9]|_(sub|ses)")
#: In front of a dash they announce a number: who reads them as a subject makes one person of many.
_LABELS = {"sub", "subj", "subject", "ses", "sess", "session", "participant"}
#: What programs write for "nothing".
_NOTHING = {"nan", "nat", "none", "null"}
_TEXT = "format that column as text, and type it again"
#: A day in numbers, as programs write it: 2026-07-01 (with a time), 7/1/2026, 07.01.26, 7/1, 07.01. and 1.2026.
_DATE = re.compile(
    r"[0-9]{4}([-/.])[0-9]{1,2}\1[0-9]{1,2}(?:[T ].*)?"
    r"|[0-9]{1,2}([-/.]) ?[0-9]{1,2}\2 ?(?:[0-9]{2}|(?:19|20)[0-9]{2})(?: .*)?"
    r"|[0-9]{1,2}/[0-9]{1,2}|[0-9]{1,2}\. ?[0-9]{1,2}\.|[0-9]{1,2}[-/.](?:19|20)[0-9]{2}"
)
_DAY_OR_YEAR = re.compile("[0-9]{1,2}|(?:19|20)[0-9]{2}")
#: A number as spreadsheets and databases write it, large or small: 3.01E+06; whole: 7.0.
_SCIENTIFIC = re.compile(r"[0-9]+\.[0-9]+[Ee][+-]?[0-9]+|[0-9]+[Ee]\+[0-9]+")
_WHOLE = re.compile(r"[0-9]+\.0+")
#: The months of English, German, Dutch, French and Spanish spreadsheets, without accents.
_MONTH = re.compile(
    "jan(?:uar[yi]?|ner|v|vier)?|ene(?:ro)?|feb(?:ruar[yi]?|er|rero)?|fevr?(?:ier)?|mar(?:ch|s|zo?)?|maerz|mrz|mrt|maart"
    "|apr(?:il)?|avr(?:il)?|abr(?:il)?|ma[iy]|mei|mayo|jun[ei]?|juin|junio|jul[iy]?|juil(?:let)?|julio|aug(?:ust|ustus)?"
    "|aout|ago(?:sto)?|sept?(?:ember|embre|iembre)?|setiembre|o[ck]t(?:ober|obre|ubre)?|nov(?:ember|embre|iembre)?"
    "|de[cz](?:ember|embre)?|dic(?:iembre)?"
)


def hidden(typed: str) -> str:
    """Return the remedy for what Calpendo writes in place of a field that its account may not see; else nothing."""
    if typed.strip().lower() != "<hidden>":
        return ""
    return (
        "the calendar's account may not see this field: let the calendar's administrator allow the account in "
        "source.auth to see it"
    )


def check_characters(characters: str) -> None:
    """Check a site's own rule for the characters of an identifier.

    Raises:
        ValueError: it is not a regular expression that matches single characters; the message is the reason.
    """
    try:
        matches = re.compile(characters).fullmatch
    except (re.error, OverflowError) as error:
        raise ValueError(
            f"it is not a valid regular expression: {expressions.why_not_valid(characters, error)}"
        ) from error
    if matches("") or any(matches(chr(code) * 2) for code in range(0x250)):
        raise ValueError(f"it must match one character at a time: write a class such as {CHARACTERS}, nothing after it")
    if not any(chr(code).isalnum() and allows(characters, chr(code)) for code in range(0x3000)):
        raise ValueError(f"no letter or digit matches it: write a class such as {CHARACTERS}")


@lru_cache(maxsize=4096)
def allows(characters: str, character: str) -> bool:
    """Return whether a site with this rule takes the character in an identifier."""
    return (
        character.isprintable()  # of all blanks it is only true for U+0020
        and character not in _NEVER
        and not _INVISIBLE.match(character)
        and re.fullmatch(characters, character) is not None
    )


@lru_cache(maxsize=4096)
def read_project(typed: str, characters: str) -> str:
    """Return the project as identifiers have it.

    Raises:
        Rejected: it has a character that the site doesn't allow, or is not what somebody typed.
    """
    project = _plain(typed)
    if project:
        if _SCIENTIFIC.fullmatch(project):
            raise Rejected(f"project_id {typed!r} is a number as spreadsheets write it: {_TEXT}")
        _check("project_id", typed, project, characters)
    return project


def read_subject_session(typed: str, start: datetime, reading: Reading) -> tuple[str, int]:
    """Read `<subject>-<session>`, or BIDS' `sub-<subject>_ses-<session>`, as the calendar's users type it.

    Without a session it is 1. `7` → `007`, `x2` → `x002`, `Undefined` → `start`, the booking's; anything else is
    padded with zeros to three characters. Where the PatientID is the plain subject, it stays as it is, and an undefined
    one is rejected.

    Raises:
        Rejected: no subject, more parts than two, a session that is not a number from 0 to 99, a date, or a character
            that the site doesn't allow.
    """
    if reading.characters == CHARACTERS and (usual := _USUAL.fullmatch(typed)):  # most are, and need no further look
        return usual[1] if reading.plain else _padded(usual[1]), int(usual[2] or 1)
    column = "subject_session"
    plain = _plain(typed)
    if "-" in plain:
        _reject_spreadsheet(column, typed, plain)
    if bids := _BIDS.fullmatch(plain):
        subject, session = bids["subject"], bids["session"] or "1"
    else:
        subject, dash, session = plain.partition("-")
        if "-" in session:
            raise Rejected(f"{column} {typed!r} has more than one dash: {_FORMS}")
        if dash and subject.strip().lower() in _LABELS:
            raise Rejected(f"{column} {typed!r} has {subject.strip()!r} where the subject should be: {_FORMS}")
        session = session if dash else "1"
    return _subject(column, typed, subject.strip(), start, reading), _session(column, typed, session.strip())


def names_session(typed: str) -> bool:
    """Return whether a text that `read_subject_session` can read has a session."""
    plain = _plain(typed)
    bids = _BIDS.fullmatch(plain)
    return bids["session"] is not None if bids else "-" in plain


def read_subject(typed: str, start: datetime, reading: Reading) -> str:
    """Read a subject that has a column of its own, as `read_subject_session` does; BIDS' `sub-` may stand before it.

    Where the PatientID is the plain subject, that belongs to it.

    Raises:
        Rejected: as `read_subject_session`.
    """
    plain = _plain(typed)
    subject = plain if reading.plain else re.sub("^sub-", "", plain, flags=re.IGNORECASE)
    return _subject("subject", typed, subject.strip(), start, reading)


def read_session(typed: str) -> int:
    """Read a session that has a column of its own; BIDS' `ses-` may stand before it.

    Raises:
        Rejected: it is not a number from 0 to 99.
    """
    return _session("session", typed, re.sub("^ses-", "", _plain(typed), flags=re.IGNORECASE).strip())


def _plain(typed: str) -> str:
    """Return the text with every dash as `-`, and each character composed (Unicode's NFC): é has one spelling."""
    return typed if typed.isascii() else unicodedata.normalize("NFC", typed.translate(_DASHES))


def _reject_spreadsheet(column: str, typed: str, plain: str) -> None:
    if _DATE.fullmatch(plain) or _has_month(plain):
        raise Rejected(f"{column} {typed!r} is a date, as spreadsheets make of 7-1: {_TEXT}")
    if _WHOLE.fullmatch(plain) or _SCIENTIFIC.fullmatch(plain):
        raise Rejected(f"{column} {typed!r} is a number as spreadsheets and databases write it: {_TEXT}")


def _has_month(plain: str) -> bool:
    """Return whether it is a month's name and numbers, such as `07. Jan`, `Jan-32` and `1 de julio de 2026`."""
    words = re.split("[-./, ]+", plain.strip(". "))
    if len(words) < 2:
        return False
    names = [word for word in words if not _DAY_OR_YEAR.fullmatch(word) and word.lower() != "de"]
    return len(names) == 1 < len(words) and _MONTH.fullmatch(_without_accents(names[0])) is not None


def _without_accents(word: str) -> str:
    folded = word.casefold()
    if folded.isascii():
        return folded
    return "".join(c for c in unicodedata.normalize("NFD", folded) if not unicodedata.combining(c))


def _subject(column: str, typed: str, subject: str, start: datetime, reading: Reading) -> str:
    undefined = subject[:9].lower() == "undefined"
    if not subject or (undefined and reading.plain):
        raise Rejected(f"{column} {typed!r} names no subject: {_FORMS if not reading.plain else 'write its PatientID'}")
    if undefined:
        return f"{start:%Y%m%dT%H%M%S}"
    if not subject.isalpha():
        _reject_spreadsheet(column, typed, subject)
    _check(column, typed, subject, reading.characters)
    if reading.plain:
        return subject
    if _HALF_BIDS.search(subject.lower()):
        raise Rejected(f"{column} {typed!r} has 'sub' or 'ses' where the subject should be: {_FORMS}")
    return _padded(subject)


def _padded(subject: str) -> str:
    if subject[0] in "xX" and len(subject) > 1:
        return "x" + subject[1:].rjust(3, "0")
    return subject.rjust(3, "0")


def _session(column: str, typed: str, session: str) -> int:
    if not re.fullmatch("0*[0-9]{1,2}", session):
        raise Rejected(f"{column} {typed!r} has the session {session!r}: write a number from 0 to 99")
    return int(session)


def _check(column: str, typed: str, plain: str, characters: str) -> None:
    """Check what project and subject have in common: nothing in them means something to a path, a shell or a query."""
    if remedy := hidden(typed):
        raise Rejected(f"{column} {typed!r}: {remedy}")
    if not all(map(allows, repeat(characters), plain)):
        bad = next(character for character in plain if not allows(characters, character))
        if "\udc80" <= bad <= "\udcff":
            raise Rejected(
                f"{column} {typed!r} has a byte that is not UTF-8: save the file as UTF-8, or set source.encoding"
            )
        named = f"{bad!r} (U+{ord(bad):04X} {unicodedata.name(bad, 'without a name')})"
        allowed = _CHARACTERS_IN_WORDS if characters == CHARACTERS else f"{characters!r} (booking.characters)"
        raise Rejected(
            f"{column} {typed!r} has the character {named}: PatientID and PatientName take {allowed}; type it again"
        )
    if not plain[0].isalnum():
        raise Rejected(
            f"{column} {typed!r} begins with {plain[0]!r}: it must begin with a letter or digit, as file names need it"
        )
    if plain[-1] == ".":
        raise Rejected(f"{column} {typed!r} ends with a dot, which a file's name must not: leave it out")
    lower = plain.lower()
    if "_sub-" in lower or "_ses-" in lower:
        raise Rejected(
            f"{column} {typed!r} has '_sub-' or '_ses-' in it, which PatientID and PatientName use themselves"
        )
    if lower in _NOTHING:
        raise Rejected(f"{column} is {typed!r}, a program's word for nothing: write the real one")
