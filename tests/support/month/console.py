"""A scanner's console: it asks for its list, and stores images with the text of the entry, or with what was typed."""

import socket
from collections.abc import Mapping
from io import BytesIO

from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dsutils import encode

from dicom_worklist.worklist.broker import keep_answers
from support import clients, wire
from support.month.truth import Visit

#: The UIDs are below it; pydicom's own root, as these are nobody's images.
ROOT = "1.2.826.0.1.3680043.8.498.7"
#: What an image has from the worklist (PS3.4 K.6.1.2.2, Table K.6-1).
COPIED = ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber", "PatientBirthDate", "PatientSex")


class Console:
    """The consoles of all scanners: the lists that they asked for, and their connections to the PACS."""

    def __init__(self, broker_port: int, pacs_port: int) -> None:
        self._broker_port, self._pacs_port = broker_port, pacs_port
        self._recorded = wire.query(broker_port)
        self._associations: dict[str, Association] = {}
        self._taken: dict[str, Dataset] = {}
        self._uids: dict[str, str] = {}
        #: The visits whose entry the console wasn't shown: they can't be scanned.
        self.not_shown: list[Visit] = []

    def take(self, visit: Visit) -> None:
        """Ask for the list of the scanner, or everybody's, and keep the entry of a booking in it."""
        keys = {} if visit.everybodys else {"ScheduledStationAETitle": visit.ae_title}
        entries = [entry for entry in self._ask(keys) if str(entry.AccessionNumber) == visit.entry]
        if len(entries) == 1:
            self._taken[visit.key] = entries[0]
        else:
            self.not_shown.append(visit)

    def send(self, visit: Visit, series: tuple[int, ...]) -> None:
        """Store two images of each of these series."""
        if visit.entry and visit.key not in self._taken:
            return
        for number in series:
            for instance in (1, 2):
                status = self._association(visit.ae_title).send_c_store(self._image(visit, number, instance))
                assert status.get("Status") == 0, f"{visit.key} on {visit.ae_title}: {status}"

    def uid(self, visit: Visit) -> str:
        """Return the StudyInstanceUID of a visit's study."""
        return self._uids.get(visit.study, "")

    def close(self) -> None:
        for association in self._associations.values():
            if association.is_established:
                association.release()

    def _ask(self, keys: Mapping[str, str]) -> list[Dataset]:
        question = encode(clients.query(**keys), is_implicit_vr=False, is_little_endian=True)
        assert question
        statuses, answers = wire.find(self._broker_port, self._recorded, question)
        assert statuses[-1] == 0, statuses
        return [read_dataset(BytesIO(answer), is_implicit_VR=False, is_little_endian=True) for answer in answers]

    def _association(self, ae_title: str) -> Association:
        association = self._associations.get(ae_title)
        if association is None or not association.is_established:
            ae = AE(ae_title=ae_title)
            ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 30
            ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
            association = ae.associate("127.0.0.1", self._pacs_port, ae_title="ORTHANC")
            assert association.is_established, f"the PACS refuses {ae_title}"
            keep_answers(association)
            # else each message waits for the other side's acknowledgement of the last one
            assert association.dul.socket
            assert association.dul.socket.socket
            association.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._associations[ae_title] = association
        return association

    def _image(self, visit: Visit, series: int, instance: int) -> Dataset:
        said = self._said(visit)
        own = f"{ROOT}.{visit.key.removeprefix('visit-').replace('-again', '.2')}"
        said.setdefault("StudyInstanceUID", own)
        self._uids.setdefault(visit.study, said["StudyInstanceUID"])
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, f"{own}.{series}.{instance}"
        image.SeriesInstanceUID, image.SeriesNumber, image.InstanceNumber = f"{own}.{series}", series, instance
        image.Modality, image.StationName, image.StudyDescription = "MR", visit.ae_title, "Head"
        image.Rows = image.Columns = 2
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelData = 16, 12, 11, bytes(8)
        step = self._taken[visit.key].ScheduledProcedureStepSequence[0] if visit.entry else None
        if step:
            request = Dataset()
            request.ScheduledProcedureStepID = step.ScheduledProcedureStepID
            request.RequestedProcedureID = self._taken[visit.key].RequestedProcedureID
            image.RequestAttributesSequence = Sequence([request])
        for keyword, value in said.items():
            # what no standard allows is written as it is
            image.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=pydicom_config.IGNORE))
        return image

    def _said(self, visit: Visit) -> dict[str, str]:
        """Return what the images say of study and patient: the entry's, what was typed over it, the console's clock."""
        entry = self._taken[visit.key] if visit.entry else Dataset()
        said = {"AccessionNumber": ""} | {
            keyword: str(entry[keyword].value or "") for keyword in COPIED if keyword in entry
        }
        if visit.own_uid:
            del said["StudyInstanceUID"]
        first = visit.continues or visit  # the console goes on with what it has of the study
        series = visit.clock(visit.begins)
        return said | visit.clock(first.begins) | visit.values | {
            "SeriesDate": series["StudyDate"], "SeriesTime": series["StudyTime"]
        }  # fmt: skip
