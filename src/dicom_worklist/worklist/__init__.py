"""The worklist: what an entry says, as DICOM; the folder that the broker serves; asking the broker."""
