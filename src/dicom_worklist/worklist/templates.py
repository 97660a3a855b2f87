"""The operator's own attributes: a DICOM keyword and a Jinja2 template over the booking, or a list of codes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any

from dicom_worklist import expressions
from dicom_worklist.bookings import Booking, template_context, without_null
from dicom_worklist.errors import ConfigError, Rejected
from dicom_worklist.settings import Scanner
from dicom_worklist.worklist.attributes import CODE, CODE_REQUIRED, CODE_SEQUENCES, ROOT, STEP, TEXT_LENGTH, vr_of
from dicom_worklist.worklist.values import check_constant

#: Keyword → template; of a code sequence a list of codes, each keyword → template.
Attributes = Mapping[str, str | Sequence[Mapping[str, str]]]
#: Attributes that have a place of their own.
FIXED = {
    "SpecificCharacterSet": "give the scanner its charset",
    "StudyInstanceUID": "two bookings must never share one, so it is made of site.name and booking_id",
}
#: What a template may give.
TEXT_VRS = TEXT_LENGTH.keys() | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
NUMBER_VRS = {"FD", "FL", "SL", "SS", "UL", "US"}
#: What of a Booking is for people, and what its other columns are in.
_NOT_A_COLUMN = {"warnings", "columns"}
_SAMPLE = Booking(
    booking_id="1",
    project_id="3010000.01",
    project_title="A title",
    subject="001",
    session=1,
    start=datetime(2026, 1, 2, 9),  # noqa: DTZ001 - a booking's start is naive
    lab="A lab",
    user_first_name="Ada",
    user_last_name="Lovelace",
    status="CONFIRMED",
    end=datetime(2026, 1, 2, 10),  # noqa: DTZ001
    birth_date=date(1990, 2, 3),
    sex="F",
    weight=72.5,
    size=1.75,
)


def check(attributes: Mapping[str, Any], scanners: Sequence[Scanner]) -> None:
    """Check that each keyword can be set and each template rendered, and that a constant is what its VR allows.

    Raises:
        ConfigError: DICOM has no such keyword, or it can't be set; a template has a fault; a constant doesn't fit.
    """
    for keyword, source in attributes.items():
        if keyword in CODE_SEQUENCES:
            _check_codes(keyword, source, scanners)
            continue
        _check_keyword(keyword, source)
        _check_template(keyword, source, scanners)


def _check_keyword(keyword: str, source: object) -> None:
    place = f"attributes.{keyword}"
    if isinstance(source, list):
        raise ConfigError(f"{place} is a list: only {' and '.join(CODE_SEQUENCES)} have codes that the broker shows")
    if not isinstance(source, str):
        raise ConfigError(f"{place} is {source!r}: write a template, in quotes")
    if reason := FIXED.get(keyword):
        raise ConfigError(f"{place} can't be a template: {reason}")
    if keyword in STEP or keyword in ROOT:
        return
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - a run with usual keywords needs no pydicom

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ConfigError(f"{place} is not a DICOM keyword: write it as PS3.6 does, such as PatientComments")
    if vr_of(keyword) not in TEXT_VRS | NUMBER_VRS or tag >> 16 in {0x0000, 0x0002}:
        raise ConfigError(f"{place} can't be a template: its value is not text or a number")


def _check_codes(keyword: str, codes: object, scanners: Sequence[Scanner]) -> None:
    form = f"write a list of mappings of {', '.join(CODE_REQUIRED)}"
    if not isinstance(codes, list):
        raise ConfigError(f"attributes.{keyword} is {codes!r}: {form}")
    for number, code in enumerate(codes):
        place = f"{keyword}[{number}]"
        if not isinstance(code, dict):
            raise ConfigError(f"attributes.{place} is {code!r}: {form}")
        if unknown := sorted(map(str, code.keys() - CODE.keys())):
            raise ConfigError(f"attributes.{place} has {', '.join(unknown)}: a code has {', '.join(CODE)}")
        if missing := [part for part in CODE_REQUIRED if part not in code]:
            raise ConfigError(f"attributes.{place} has no {', '.join(missing)}: {form}")
        for part, source in code.items():
            if not isinstance(source, str):
                raise ConfigError(f"attributes.{place}.{part} is {source!r}: write a template, in quotes")
            if not source.strip() and part in CODE_REQUIRED:
                raise ConfigError(f"attributes.{place}.{part} is empty: {form}")
            _check_template(f"{place}.{part}", source, scanners)


def _check_template(place: str, source: str, scanners: Sequence[Scanner]) -> None:
    try:
        names = expressions.names(source)
        template = expressions.template(source)
        if names - context(_SAMPLE, None, "1").keys():  # columns of the source, which only a row has
            return
        texts = {scanner.charset: template.render(context(_SAMPLE, scanner, "1")).strip() for scanner in scanners}
    except Exception as error:  # a template may call any method of a str
        raise ConfigError(f"attributes.{place}: the template {source!r} has a fault: {error}") from error
    if names:
        return
    for charset, text in texts.items():
        try:
            check_constant(place, text, charset)
        except Rejected as rejected:
            raise ConfigError(f"attributes.{rejected}. It is the same for every booking: correct it") from rejected


def render(keyword: str, source: str, names: Mapping[str, object]) -> str:
    """Return the attribute's text for a booking, whose `names` are its `context`.

    Raises:
        Rejected: the template fails on it.
    """
    try:
        return expressions.template(source).render(names).strip()
    except Exception as error:  # a template may call any method of a str
        unknown = sorted(expressions.names(source) - names.keys())
        has = f"; there is no column {', '.join(unknown)} among {', '.join(sorted(names))}" if unknown else ""
        raise Rejected(f"{keyword}: the template {source!r} fails: {error}{has}") from error


def context(booking: Booking, scanner: object, accession_number: str) -> dict[str, object]:
    """Return the names that a template can use: what was read, the row's further columns, `booking` and `scanner`.

    `accession_number` is of this booking only, and has at most 16 characters.
    """
    read = (field.name for field in fields(booking) if field.name not in _NOT_A_COLUMN)
    own = {name: without_null(getattr(booking, name)) for name in read}
    more = {"accession_number": accession_number, "booking": booking, "scanner": scanner}
    return template_context(booking.columns) | own | more
