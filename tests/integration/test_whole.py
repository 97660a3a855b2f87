"""Whether a session is whole, as a real Orthanc answers it: the role's image, without a deployed site."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

from dicom_worklist.status import pacs_series
from dicom_worklist.status.oddities import Weight
from support.images import synthetic_image
from support.own_pacs import PASSWORD, OwnPacs, own_pacs
from support.timed_site import Site
from support.waiting import wait_until

PLACES, VOLUMES = 6, 10


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPacs]:
    with own_pacs(tmp_path_factory.mktemp("pacs")) as found:
        yield found


class Console:
    """A console that stores the series of one session."""

    def __init__(self, pacs: OwnPacs, entry: Mapping[str, str | None], folder: Path) -> None:
        self.pacs, self.entry, self.folder, self.number = pacs, entry, folder, 0

    def store(self, name: str, images: Iterable[Mapping[str, object]], frames: int = 1, **header: object) -> None:
        """Store a series: images by what only they have, and what all of them have."""
        self.number += 1
        uid = generate_uid()
        for given in images:
            image = dcmread(synthetic_image(self.folder / "image.dcm", 1, 8, frames))
            common = {"SeriesInstanceUID": uid, "SeriesNumber": self.number, "SeriesDescription": name}
            dated = {"StudyDate": "20261124", "StudyTime": "090500"}
            for keyword, value in {**self.entry, **dated, **common, **header, **given}.items():
                setattr(image, keyword, value)
            self.pacs.put(encoded(image))

    def settled(self) -> None:
        """Wait until Orthanc calls all series stable."""

        def stable() -> None:
            assert all(one["IsStable"] for one in self.pacs.ask("/series?expand").json())

        wait_until(stable)


def encoded(image: Dataset) -> bytes:
    buffer = DicomBytesIO()
    dcmwrite(buffer, image, enforce_file_format=True)
    return bytes(buffer.getvalue())


def grid(places: int = PLACES, volumes: int = VOLUMES) -> list[dict[str, object]]:
    return [
        {
            "InstanceNumber": at * places + place + 1, "ImagePositionPatient": [-110.123456, 7, place * 3.3],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }
        for at in range(volumes) for place in range(places)
    ]  # fmt: skip


def test_what_orthanc_says_of_series_and_images_becomes_hints(
    pacs: OwnPacs, field_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = field_site
    (site.root / "password").write_text(PASSWORD)
    site.changes |= {"pacs.url": pacs.login.url, "pacs.user": pacs.login.user, "pacs.timeout": 30}
    site.book(1, "7-1", "09:00", "10:00")
    site.run("09:00")
    console = Console(pacs, site.take(1), tmp_path)
    whole = grid()
    console.store("GE", whole, ImagesInAcquisition=len(whole), NumberOfTemporalPositions=VOLUMES)
    console.store("Philips", whole[:-PLACES], ImagesInAcquisition=PLACES, NumberOfTemporalPositions=VOLUMES)
    console.store("an image", [*whole[:20], *whole[21:]], ImagesInAcquisition=len(whole))
    console.store("a map", grid(volumes=1), ImagesInAcquisition=len(whole), ImageType=["DERIVED", "PRIMARY", "ADC"])
    console.store("enhanced", [{"InstanceNumber": number} for number in (1, 2, 3, 4, 6)], frames=4)
    console.store("echoes", [*grid(volumes=1), *grid(volumes=1)])
    console.settled()
    site.run("09:30")
    told = [oddity.text for oddity in site.line(1).oddities if oddity.level is Weight.HINT]
    philips, an_image, enhanced = sorted(told)
    assert philips == 'Series 2 "Philips" has 54 images; its header says 60.'
    assert an_image.split("; ") == [
        'Series 3 "an image" has 59 images', "InstanceNumber 21 is missing",
        "1 of 6 slices has fewer images than the others (10)", "its header says 60.",
    ]  # fmt: skip
    assert enhanced == 'Series 5 "enhanced" has 20 frames; InstanceNumber 5 is missing.'
    looks = site.found.looks
    assert {look.frames for look in looks.values()} == {60, 54, 59, 6, 20, 12}

    def never(*_: object) -> None:
        raise AssertionError("what is known is asked for again")

    monkeypatch.setattr(pacs_series, "_images", never)
    site.run("09:31")
    assert site.found.looks == looks
