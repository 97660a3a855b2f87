"""What a worklist entry says: Booking + Scanner → the text of each attribute, checked.

The attributes are those of the Modality Worklist Information Model (PS3.4 K.6.1.2); which of them must be
there is what `wlmscpfs` demands with its file rejection on; the form of each is its VR's (PS3.5 6.2).
This module runs for every booking, every minute: what needs pydicom is in dataset.py.
"""

import re
import uuid
from base64 import b32encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from dicom_worklist.bookings import Booking
from dicom_worklist.errors import Rejected
from dicom_worklist.settings import Scanner, Site
from dicom_worklist.worklist.attributes import CODE, CODE_REQUIRED, TEXT_LENGTH
from dicom_worklist.worklist.templates import Attributes, context, render
from dicom_worklist.worklist.values import FORBIDDEN, FORBIDDEN_IN_NAME, checked, fitted

#: A code: keyword → text of each attribute of CODE that is not empty.
Code = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """DICOM keyword → text of every attribute that is not empty, written in the scanner's `charset`.

    `codes` has the items of each code sequence that has some.
    """

    charset: str
    values: Mapping[str, str]
    codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)

    def texts(self) -> dict[str, str]:
        """Return all that the entry says, for people: keyword → text."""
        return {**self.values, **{keyword: codes_text(codes) for keyword, codes in self.codes.items()}}


def describe(
    booking: Booking, scanner: Scanner, site: Site, attributes: Attributes, *, plain: bool = False
) -> tuple[Entry, list[str]]:
    """Return the entry of a booking on a scanner, and a warning for each value that was changed or not used.

    `attributes` (keyword → Jinja2 template, or for a code sequence a list of codes) override the defaults and add to
    them. With `plain` the PatientID is the subject as it is.

    Raises:
        Rejected: a value doesn't fit its attribute; the reason names the keyword and the rule.
    """
    warnings = list(booking.warnings)
    values = _defaults(booking, scanner, site, warnings, plain=plain)
    codes: dict[str, tuple[Code, ...]] = {}
    if attributes:
        names = context(booking, scanner, accession_number(booking.booking_id))
        for keyword, source in attributes.items():
            if isinstance(source, str):
                values[keyword] = render(keyword, source, names)
            elif made := tuple(_codes(keyword, source, names, scanner.charset, warnings)):
                codes[keyword] = made
    fitting = {keyword: checked(keyword, text, scanner.charset, warnings) for keyword, text in values.items()}
    return Entry(scanner.charset, {keyword: text for keyword, text in fitting.items() if text}, codes), warnings


def codes_text(codes: Iterable[Code]) -> str:
    """Return codes in the standard's notation (PS3.16), such as `(T1, 99SITE, "T1 weighted")`."""
    texts = []
    for code in codes:
        value, scheme, version, meaning = (code.get(part, "") for part in CODE)
        texts.append(f'({value}, {scheme}{f" [{version}]" if version else ""}, "{meaning}")')
    return ", ".join(texts)


def uid(root: str | None, *names: str) -> str:
    """Return a UID (PS3.5 9 and B.2) that these names always give, and no others."""
    key = "".join(f"{len(name)}:{name}" for name in names)
    if root is None:
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, key).int}"
    digest = int.from_bytes(sha256(key.encode()).digest(), "big")
    return f"{root}.{digest % 10 ** (63 - len(root))}"


def accession_number(booking_id: str) -> str:
    """Return the id itself, or 16 letters and digits that only this id gives where it is too long for SH (PS3.5 6.2).

    They are the first 80 bits of its SHA-256, in base 32.
    """
    if len(booking_id) <= TEXT_LENGTH["SH"] or FORBIDDEN.search(booking_id):
        return booking_id  # what is forbidden is rejected as it was typed
    return b32encode(sha256(booking_id.encode()).digest()[:10]).decode()


def _codes(
    keyword: str, sources: Iterable[Code], names: Mapping[str, object], charset: str, warnings: list[str]
) -> Iterable[Code]:
    """Return the items of a code sequence (PS3.3 8.8) whose CodeValue is not empty and fits."""
    for number, templates in enumerate(sources):
        code: dict[str, str] = {}
        for part in CODE:
            place = f"{keyword}[{number}].{part}"
            typed = render(place, templates.get(part, ""), names)
            try:
                text = checked(place, typed, charset, warnings)
            except Rejected as rejected:
                if part != "CodeValue":
                    raise
                warnings.append(f"{rejected}. The code is left out, so the console doesn't choose by it")
                break
            if text:
                code[part] = text
            elif part == "CodeValue":
                break
            elif part in CODE_REQUIRED:
                raise Rejected(f"{place} is empty, and CodeValue is {code['CodeValue']!r}: a code needs all three")
        if code:
            yield code


def _defaults(booking: Booking, scanner: Scanner, site: Site, warnings: list[str], *, plain: bool) -> dict[str, str]:
    if not booking.project_id and not plain:
        raise Rejected("PatientID: the booking has no project_id; the PatientID begins with it")
    patient = booking.subject if plain else f"{booking.project_id}_sub-{booking.subject}"
    name = f"{patient}_ses-{booking.session:02}"
    if separator := re.search(r"[\^=]", name):
        raise Rejected(f"PatientName: {name!r} has a {separator[0]!r}, which would split the name")
    try:
        booking.booking_id.encode()
    except UnicodeEncodeError:
        raise Rejected(
            f"AccessionNumber and StudyInstanceUID are made of booking_id {booking.booking_id!r}, which has bytes that "
            "are not UTF-8: give the booking another id"
        ) from None
    step = f"{scanner.modality} session {booking.session:02}"
    title = booking.project_title
    if not fitted(title, "LO", scanner.charset):
        title = booking.project_id or step
        # that the calendar has no titles at all is known
        if booking.project_id and (booking.project_title or "project_title" in booking.columns):
            warnings.append(
                f"RequestedProcedureDescription: project {title!r} has no title, so its id is used: give it one in the "
                "calendar"
            )
    who = _person_name(booking, warnings)
    procedure = f"ses-mri{booking.session:02}"
    return {
        "PatientID": patient,
        "PatientName": name,
        "StudyInstanceUID": uid(site.uid_root, site.name, booking.booking_id),
        "AccessionNumber": accession_number(booking.booking_id),
        "RequestedProcedureID": procedure,
        "RequestedProcedureDescription": title,
        "RequestingPhysician": who,
        "ReferringPhysicianName": who,
        # some consoles take two steps with one id for the same examination
        "ScheduledProcedureStepID": accession_number(booking.booking_id) if plain else procedure,
        "ScheduledProcedureStepDescription": step,
        "ScheduledStationAETitle": scanner.ae_title,
        "ScheduledStationName": scanner.station_name or scanner.ae_title,
        "ScheduledProcedureStepLocation": scanner.location or site.name,
        "PatientBirthDate": f"{booking.birth_date:%Y%m%d}" if booking.birth_date else "",
        "PatientSex": booking.sex or "",
        "PatientWeight": "" if booking.weight is None else f"{booking.weight:g}",
        "PatientSize": "" if booking.size is None else f"{booking.size:g}",
        "Modality": scanner.modality,
        "ScheduledProcedureStepStartDate": f"{booking.start:%Y%m%d}",
        "ScheduledProcedureStepStartTime": f"{booking.start:%H%M%S}",
    }


def _person_name(booking: Booking, warnings: list[str]) -> str:
    """Return Last^First of the person who booked; what people type can't make further components."""
    typed = [booking.user_last_name, booking.user_first_name]
    parts = [FORBIDDEN_IN_NAME.sub(" ", part).strip() for part in typed]
    if parts != typed:
        warnings.append(f"RequestingPhysician: {typed!r} is written {parts!r}")
    return "^".join(parts).rstrip("^")
