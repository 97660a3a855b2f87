"""The operator's own attributes: a DICOM keyword and a Jinja2 template over the booking."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime

from dicom_worklist import expressions
from dicom_worklist.bookings import Booking, template_context
from dicom_worklist.errors import ConfigError, Rejected
from dicom_worklist.worklist.attributes import TEXT_LENGTH, vr_of

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
)


def check(attributes: Mapping[str, str], scanners: Iterable[object]) -> None:
    """Check that each keyword can be set and each template rendered.

    Raises:
        ConfigError: DICOM has no such keyword, or it holds a sequence; the template has a fault.
    """
    if not attributes:
        return
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415

    known = context(_SAMPLE, None, "1")
    for keyword, source in attributes.items():
        place = f"attributes.{keyword}"
        tag = tag_for_keyword(keyword)
        if not isinstance(source, str):
            raise ConfigError(f"{place} is {source!r}: write a template, in quotes")
        if tag is None:
            raise ConfigError(f"{place} is not a DICOM keyword: write it as PS3.6 does, such as PatientComments")
        if reason := FIXED.get(keyword):
            raise ConfigError(f"{place} can't be a template: {reason}")
        if vr_of(keyword) not in TEXT_VRS | NUMBER_VRS or tag >> 16 in {0x0000, 0x0002}:
            raise ConfigError(f"{place} can't be a template: its value is not text or a number")
        try:
            if expressions.names(source) - known.keys():  # columns of the source, which only a row has
                expressions.template(source)
                continue
            for scanner in scanners:
                expressions.template(source).render(context(_SAMPLE, scanner, "1"))
        except Exception as error:  # a template may call any method of a str
            raise ConfigError(f"{place}: the template {source!r} has a fault: {error}") from error


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
    own = {field.name: getattr(booking, field.name) for field in fields(booking) if field.name not in _NOT_A_COLUMN}
    more = {"accession_number": accession_number, "booking": booking, "scanner": scanner}
    return template_context(booking.columns) | own | more
