"""Bringing images from the PACS to other places, and the proof that they are there."""

from dicom_worklist.delivery.summary import Copied, State, Summary, load

__all__ = ["Copied", "State", "Summary", "load"]
