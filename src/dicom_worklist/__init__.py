"""Turns the bookings of an imaging centre's calendar into a DICOM Modality Worklist."""

__version__ = "0.1.0"
