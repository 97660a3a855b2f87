"""A text as its attribute allows it: the value representation, its length and the scanner's character set (PS3.5 6.2).

An identifier is taken as it is or not at all; a description is made to fit. This module runs for every booking, every
minute: what needs pydicom is in `as_vr`.
"""

import re
import struct
import unicodedata
from collections.abc import Callable

from dicom_worklist.errors import Rejected
from dicom_worklist.worklist.attributes import (
    CODECS,
    DEFAULT_CHARSET,
    ENUMERATED,
    IDENTIFIERS,
    NAME_GROUPS,
    REQUIRED,
    TEXT_LENGTH,
    vr_of,
)

FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\]+")  # control characters, line ends, backslash
FORBIDDEN_IN_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\\\\^=]+")  # and what separates a name's parts
#: The VRs of numbers that are written in binary.
NUMBERS: dict[str, Callable[[str], int | float]] = {
    "US": int,
    "SS": int,
    "UL": int,
    "SL": int,
    "FL": float,
    "FD": float,
}
#: What other VRs look like, for people.
FORMS = {
    "AE": "at most 16 characters of ASCII",
    "AS": "three digits and D, W, M or Y, such as 030Y",
    "CS": "at most 16 of upper-case letters, digits, blanks and _",
    "DA": "a date such as 20261124",
    "DS": "a number of at most 16 characters, such as 72.5",
    "DT": "a date and time such as 20261124093000",
    "IS": "a whole number",
    "TM": "a time such as 093000",
    "UI": "at most 64 digits and dots",
    "UR": "an address without blanks at its beginning",
}


def checked(place: str, text: str, charset: str, warnings: list[str]) -> str:
    """Return an identifier as it is, a description made to fit.

    `place` is the attribute's keyword, or that of a code such as `ScheduledProtocolCodeSequence[0].CodeValue`.

    Raises:
        Rejected: the attribute must not be empty, or its VR forbids the text.
    """
    keyword = place.rpartition(".")[2]
    vr = vr_of(keyword)
    if vr in TEXT_LENGTH and keyword not in IDENTIFIERS:
        shortened = fitted(text, vr, charset)
        if shortened != text:
            warnings.append(f"{place}: {_excerpt(text)} is written {_excerpt(shortened)}")
        text = shortened
    if text:
        if text not in (allowed := ENUMERATED.get(keyword, (text,))):
            raise Rejected(f"{place}: {text!r} is not one of {', '.join(allowed)}")
        _check_text(place, text, vr, charset)
    elif keyword in REQUIRED:
        raise Rejected(f"{place} is empty: no scanner would be shown the entry")
    return text


def check_constant(place: str, text: str, charset: str) -> None:
    """Check a text that is the same in every entry: a description has to fit, too.

    Raises:
        Rejected: the VR forbids it; or, for an identifier, the character set.
    """
    checked(place, text, charset, [])
    if text:
        # what the character set of a description can't write is spelled in it
        vr = vr_of(place.rpartition(".")[2])
        _check_text(place, text, vr, charset if _encodable(text, charset) else "ISO_IR 192")
        if vr not in TEXT_LENGTH:
            as_vr(place, text)


def as_vr(place: str, text: str) -> str | int | float | bytes:
    """Return the value that pydicom writes.

    Raises:
        Rejected: the VR forbids it.
    """
    from pydicom import config  # noqa: PLC0415 - a run with nothing to change needs no pydicom
    from pydicom.valuerep import validate_value  # noqa: PLC0415

    vr = vr_of(place.rpartition(".")[2])
    try:
        if vr == "OB":
            return text.encode("latin-1")
        if vr in NUMBERS:
            number = NUMBERS[vr](text)
            validate_value(vr, number, config.RAISE)
            struct.pack("<f" if vr == "FL" else "<d", number)
            return number
        validate_value(vr, text, config.RAISE)
    except (OverflowError, ValueError) as error:
        raise Rejected(f"{place}: {text!r} is not a valid {vr}: {FORMS.get(vr, error)}") from error
    return text


def fitted(text: str, vr: str, charset: str) -> str:
    """Return a description as the VR and the character set allow it."""
    fitting = FORBIDDEN.sub(" ", text).strip()
    if not _encodable(fitting, charset):
        composed = unicodedata.normalize("NFC", fitting)
        fitting = "".join(c if _encodable(c, charset) else _spelled(c, vr) for c in composed).strip()
    if vr == "PN" and "=" in fitting:
        return "=".join(group[: TEXT_LENGTH[vr]].rstrip() for group in fitting.split("=")[:NAME_GROUPS])
    return fitting[: TEXT_LENGTH[vr]].rstrip()


def _check_text(place: str, text: str, vr: str, charset: str) -> None:
    if bad := FORBIDDEN.search(text):
        raise Rejected(f"{place}: {text!r} has {bad[0]!r}; {vr} allows no backslash or control character")
    charset = charset if vr in TEXT_LENGTH else DEFAULT_CHARSET
    if not _encodable(text, charset):
        raise Rejected(f"{place}: {text!r} has characters that {charset} can't write")
    if vr == "PN" and "=" in text:
        groups = text.split("=")
        if len(groups) > NAME_GROUPS:
            raise Rejected(f"{place}: {text!r} has {len(groups)} groups, with '=' between; PN allows {NAME_GROUPS}")
        text = max(groups, key=len)  # each may be as long
    if len(text) > TEXT_LENGTH.get(vr, len(text)):
        raise Rejected(f"{place}: {text!r} has {len(text)} characters; {vr} allows {TEXT_LENGTH[vr]}")


def _spelled(character: str, vr: str) -> str:
    """Return a character in ASCII; that of a name makes no further parts, such as U+FF3E, which is spelled `^`."""
    from anyascii import anyascii  # noqa: PLC0415 - rarely needed

    return (FORBIDDEN_IN_NAME if vr == "PN" else FORBIDDEN).sub(" ", anyascii(character)) or "?"


def _encodable(text: str, charset: str) -> bool:
    try:
        text.encode(CODECS[charset])
    except UnicodeEncodeError:
        return False
    return True


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}…")
