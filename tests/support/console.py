"""A console that asks what is safe: the user of DICOM's storage commitment (PS3.4, annex J)."""

import queue
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from support.role_pacs import Pacs

#: Of the only instance of the class, with which all requests are made.
INSTANCE = "1.2.840.10008.1.20.1.1"


class Console:
    """Asks under its AE title, and waits for the reports at its port."""

    def __init__(self, pacs: Pacs, title: str, tls: ssl.SSLContext | None = None) -> None:
        self.pacs, self.title, self.tls = pacs, title, tls
        self.reports: queue.Queue[Dataset] = queue.Queue()

    def request(self, references: Iterable[tuple[str, str]]) -> int | None:
        """Ask to commit images, each an SOP class and instance; return the status of the answer, if there is one."""
        ae = AE(ae_title=self.title)
        ae.add_requested_context(StorageCommitmentPushModel)
        tls = (self.tls, "orthanc") if self.tls else None
        association = ae.associate("127.0.0.1", self.pacs.dicom_port, ae_title="ORTHANC", tls_args=tls)
        assert association.is_established
        asked = Dataset()
        asked.TransactionUID, asked.ReferencedSOPSequence = generate_uid(), []
        for sop_class, instance in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            asked.ReferencedSOPSequence.append(item)
        answer, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, INSTANCE)
        if association.is_established:
            association.release()
        self.transaction = str(asked.TransactionUID)
        status: int | None = answer.get("Status")
        return status

    def report(self, seconds: float = 60) -> dict[str, int]:
        """Return the reason of each image (0: committed) of the report that comes.

        Raises:
            queue.Empty: none came.
        """
        report = self.reports.get(timeout=seconds)
        assert report.TransactionUID == self.transaction
        committed = {str(item.ReferencedSOPInstanceUID): 0 for item in report.get("ReferencedSOPSequence", [])}
        failed = {
            str(item.ReferencedSOPInstanceUID): item.FailureReason for item in report.get("FailedSOPSequence", [])
        }
        assert not committed.keys() & failed.keys()
        return committed | failed

    def commit(self, references: Mapping[str, str]) -> dict[str, int]:
        """Ask to commit images, instance → class, and return the report."""
        assert self.request((sop_class, instance) for instance, sop_class in references.items()) == 0
        return self.report()

    def receive(self, event: Event) -> tuple[int, None]:
        self.reports.put(event.event_information)
        return 0, None


@contextmanager
def console(
    pacs: Pacs, port: int, title: str = "PRISMA", tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
) -> Iterator[Console]:
    """Run a console at this port of this host; `tls` is for what it asks and for what it answers."""
    asks, answers = tls or (None, None)
    found, ae = Console(pacs, title, asks), AE(ae_title=title)
    # Orthanc reports as the provider of the service
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    ae.add_supported_context(Verification)
    server = ae.start_server(
        (pacs.gateway, port),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, found.receive)],
        ssl_context=answers,
    )
    assert server is not None
    try:
        yield found
    finally:
        server.shutdown()
