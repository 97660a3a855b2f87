"""Bringing images from the PACS to other places, and the proof that they are there."""

from dicom_worklist.delivery.summary import PROVES_FOR, Copied, State, Summary, load

__all__ = ["PROVES_FOR", "Copied", "State", "Summary", "load"]
