"""The messages about what is critical, to whom each goes, and what each recipient has had.

Other wings import from here, and from no module inside.
"""

from dicom_worklist.notify.memory import Memory, Notice, load

__all__ = ["Memory", "Notice", "load"]
