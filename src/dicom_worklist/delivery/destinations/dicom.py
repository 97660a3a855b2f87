"""Another DICOM node, to which Orthanc's own job sends: it commits itself to the images, or is asked which it has."""

import time
from collections.abc import Sequence
from typing import Any

from dicom_worklist import orthanc
from dicom_worklist.delivery import series as asking
from dicom_worklist.delivery.destinations import Down, Read, Undelivered
from dicom_worklist.delivery.series import Image, Series
from dicom_worklist.errors import PacsError
from dicom_worklist.settings import DicomDestination, Pacs

#: Seconds between two questions to Orthanc.
BETWEEN = 0.5


class Dicom:
    """A destination of the type `dicom`."""

    compares = False  # no byte of it can be read back

    def __init__(self, settings: DicomDestination, pacs: Pacs) -> None:
        """Send from this PACS."""
        self._settings, self._pacs = settings, pacs
        self._node = f"/modalities/{settings.modality}"

    def deliver(self, series: Series, images: Sequence[Image], read: Read) -> str:  # noqa: ARG002 - Orthanc sends
        """Let Orthanc send the series, and wait for it."""
        job = self._ask(
            f"{self._node}/store",
            {"Resources": [series.id], "Asynchronous": True, "StorageCommitment": self._settings.commitment},
        )
        done = self._wait(f"/jobs/{job['ID']}", "State", {"Pending", "Running", "Retry"})
        if done["State"] != "Success":
            why = f"{done.get('ErrorDescription', '')}. {done.get('ErrorDetails', '')}".strip(". ")
            raise Undelivered(f"{self._settings.modality} doesn't take the images: {why}. See its log and Orthanc's")
        if self._settings.commitment:
            self._committed(done["Content"]["StorageCommitmentTransactionUID"])
        else:
            self.verify(series, images, "")
        return self._settings.modality

    def verify(self, series: Series, images: Sequence[Image], place: str) -> None:  # noqa: ARG002 - it has one place
        """Ask which images it has (C-FIND at the level of images, PS3.4 annex C)."""
        uids = self._uids(series, "StudyInstanceUID", "SeriesInstanceUID")
        answers = self._find("Instance", {**uids, "SOPInstanceUID": ""})
        missing = {image.uid for image in images} - {str(one.get("SOPInstanceUID", "")) for one in answers}
        if missing:
            raise Undelivered(
                f"{self._settings.modality} says that it doesn't have {len(missing)} of {len(images)} images, such as "
                f"{min(missing)}: they are sent again on their own"
            )

    def holds(self, series: Series, place: str | None) -> bool:  # noqa: ARG002 - it has one place
        """Ask whose the study is there."""
        asked = {**self._uids(series, "StudyInstanceUID"), "PatientID": "", "PatientName": ""}
        there = {(one.get("PatientID"), one.get("PatientName")) for one in self._find("Study", asked)}
        return (series.values["patient_id"], series.values["patient_name"]) in there

    @staticmethod
    def _uids(series: Series, *keywords: str) -> dict[str, object]:
        return {keyword: series.values[asking.NAMES[keyword]] for keyword in keywords}

    def _find(self, level: str, query: dict[str, object]) -> list[dict[str, Any]]:
        found = self._ask(f"{self._node}/query", {"Level": level, "Query": query})
        answers: list[dict[str, Any]] = self._ask(f"/queries/{found['ID']}/answers?expand&simplify")
        return answers

    def _committed(self, transaction: str) -> None:
        report = self._wait(f"/storage-commitment/{transaction}", "Status", {"Pending"})
        if report["Status"] != "Success":
            failed = [one.get("Description", "") for one in report.get("Failures", ())]
            reasons = ", ".join(sorted({*failed}))
            raise Undelivered(
                f"{self._settings.modality} doesn't commit itself to {len(failed)} images ({reasons}): they are "
                "sent again on their own"
            )

    def _wait(self, path: str, key: str, going_on: set[str]) -> dict[str, Any]:
        deadline = time.monotonic() + self._settings.timeout
        while (answer := self._ask(path))[key] in going_on:
            if time.monotonic() > deadline:
                if path.startswith("/jobs/"):
                    self._ask(f"{path}/cancel", {})
                raise Down(
                    f"{self._settings.modality} takes longer than {self._settings.timeout:g} s (timeout) for a series; "
                    "if it has no storage commitment, write commitment: false"
                )
            time.sleep(BETWEEN)
        return answer  # type: ignore[no-any-return]

    def _ask(self, path: str, content: object = None) -> Any:
        try:
            return orthanc.ask(self._pacs, path, content)
        except PacsError as error:
            raise Down(
                f"{self._settings.modality} can't be reached by Orthanc, or isn't known to it: {error}"
            ) from error
