"""Synthetic MR images, of nobody."""

import random
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid


def synthetic_image(path: Path, number: int = 1, size: int = 64, frames: int = 1) -> Path:
    """Write a square MR image of nobody, or an enhanced one of several frames: noise, another for each number."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kind = MRImageStorage if frames == 1 else EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[str(path.parent)])
    dataset.PatientID, dataset.PatientName, dataset.Modality = "phantom", "phantom", "MR"
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = random.Random(number).randbytes(size * size * 2 * frames)
    dataset.save_as(path, enforce_file_format=True)
    return path
