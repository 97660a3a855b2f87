"""A second, independent Orthanc: each image is sent as it was received, and compared there on its disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dicom_worklist import orthanc
from dicom_worklist.delivery import series as asking
from dicom_worklist.delivery.destinations import Down, Read, Undelivered
from dicom_worklist.delivery.series import Damaged, Image, Series
from dicom_worklist.errors import PacsError
from dicom_worklist.settings import OrthancDestination


class Orthanc:
    """A destination of the type `orthanc`."""

    compares = True

    def __init__(self, settings: OrthancDestination) -> None:
        """Use these settings."""
        self._pacs = settings.pacs

    def deliver(self, series: Series, images: Sequence[Image], read: Read) -> str:
        """Send the images that are not there."""
        with self._faults():
            there = {image.uid for image in asking.images(self._pacs, series.id)}
        for image in images:
            if image.uid not in there:
                content = read(image)  # the PACS's own failure is not the destination's
                with self._faults():
                    orthanc.ask(self._pacs, "/instances", content)
        self.verify(series, images, "")
        return f"{self._pacs.url}/app/explorer.html#series?uuid={series.id}"

    def verify(self, series: Series, images: Sequence[Image], place: str) -> None:  # noqa: ARG002 - it has one place
        """Compare the checksums of both, and let the destination read its disk."""
        with self._faults():
            there = {image.uid: image for image in asking.images(self._pacs, series.id)}
            for image in images:
                copy = there.get(image.uid)
                if copy is None:
                    raise Undelivered(
                        f"{self._pacs.url} doesn't have the image {image.uid}: it is sent again on its own"
                    )
                if copy.file == image.file:
                    raise Down(
                        f"{self._pacs.url} is the PACS itself, not a second one: name the other one's address in "
                        "delivery.destinations"
                    )
                if copy.md5 != image.md5:
                    raise Undelivered(
                        f"{self._pacs.url} has another file as the image {image.uid}, and keeps it. Compare both; "
                        "the one that is wrong has to be deleted there by hand"
                    )
            try:
                asking.verify(self._pacs, [there[image.uid] for image in images])
            except Damaged as error:
                raise Undelivered(
                    f"{self._pacs.url} has lost or changed the file of the image {error}: delete the image there, "
                    "and it is sent again on its own"
                ) from error

    def holds(self, series: Series, place: str | None) -> bool:  # noqa: ARG002 - it has one place
        """Ask for its images."""
        with self._faults():
            return bool(asking.images(self._pacs, series.id))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except PacsError as error:
            # what it answers is about this series, such as a file that it refuses
            raise (Down if error.orthanc_status is None else Undelivered)(str(error)) from error
