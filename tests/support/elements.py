"""What a file says, element by element, as bytes: all that has to come back as it was sent.

Left out is what docs/conformance.md (8.3) says that Orthanc writes in its own way.
"""

from collections.abc import Iterator
from io import BytesIO

from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import BYTES_VR, STR_VR

#: A place (tags, and numbers of items), its VR (None: implicit), and the value's bytes, or how many items it has.
Element = tuple[tuple[int, ...], str | None, bytes | int]

PIXEL_DATA = 0x7FE00010


def elements(file: bytes) -> list[Element]:
    """Return every element of a file's data set, those of sequences too."""
    return [*_within((), dcmread(BytesIO(file), force=True))]


def _within(place: tuple[int, ...], dataset: Dataset) -> Iterator[Element]:
    # as read: pydicom decodes some when it is asked for others
    kept = {tag: dataset.get_item(tag) for tag in sorted(dataset.keys())}
    for tag, raw in kept.items():
        here = (*place, int(tag))
        vr = raw.VR
        if vr is None and not tag.is_private:
            vr = dictionary_VR(tag)
        if tag.element == 0:  # the length of its group
            continue
        if vr == "SQ":
            items = dataset[tag].value
            assert isinstance(items, Sequence)
            yield here, "SQ", len(items)
            for number, item in enumerate(items):
                yield from _within((*here, number), item)
        elif not isinstance(raw, RawDataElement):  # pydicom decodes the character set at once
            yield here, vr, str(raw.value).encode()
        elif vr in STR_VR - BYTES_VR:
            yield here, vr, (raw.value or b"").rstrip(b" \0")  # blanks at the end only pad
        else:
            yield here, "OB or OW" if tag == PIXEL_DATA else vr, raw.value or b""
