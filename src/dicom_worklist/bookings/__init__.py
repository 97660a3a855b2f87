"""Bookings: what a booking is, how a row of the calendar is read as one, and which rows count.

Other wings import from here, and from no module inside.
"""

from dicom_worklist.bookings.booking import (
    KNOWN_COLUMNS,
    Booking,
    Row,
    lacking,
    names_session,
    not_given,
    printable,
    read_booking,
    read_date,
    read_start,
    shown,
    text,
)
from dicom_worklist.bookings.columns import Rules, template_context, without_null
from dicom_worklist.bookings.selection import (
    CANCELLING,
    Days,
    SelectedRow,
    Selection,
    days,
    is_over,
    read,
    rows,
    select,
    session_length,
)

__all__ = [
    "CANCELLING", "KNOWN_COLUMNS", "Booking", "Days", "Row", "Rules", "SelectedRow", "Selection", "days",
    "is_over", "lacking", "names_session", "not_given", "printable", "read", "read_booking", "read_date", "read_start",
    "rows", "select", "session_length", "shown", "template_context", "text", "without_null",
]  # fmt: skip
