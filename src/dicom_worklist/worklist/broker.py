"""Asking the broker as a scanner would: C-ECHO and C-FIND (PS3.4 K), for `dicom-worklist check`."""

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification  # type: ignore[attr-defined]

from dicom_worklist.errors import BrokerError
from dicom_worklist.settings import Broker, Scanner
from dicom_worklist.worklist.attributes import CODE_SEQUENCES, ROOT, STEP, STEP_CODE_SEQUENCES

SUCCESS, PENDING = 0x0000, {0xFF00, 0xFF01}
#: The source of a rejection that has nothing to do with what was asked: temporary congestion, local limit exceeded.
BUSY = 3
#: How long the broker may take to answer, in seconds.
TIMEOUT = 30


def find(broker: Broker, scanner: Scanner) -> list[Dataset]:
    """Return the entries that this scanner is shown, after a C-ECHO.

    Raises:
        BrokerError: the broker can't be reached, doesn't know the worklist, or can't answer.
    """
    query, step = Dataset(), Dataset()
    for part, keywords in ((query, ROOT), (step, STEP)):
        for keyword in keywords:
            setattr(part, keyword, None)
    for keyword in CODE_SEQUENCES:
        setattr(step if keyword in STEP_CODE_SEQUENCES else query, keyword, Sequence())
    step.ScheduledStationAETitle = scanner.ae_title
    query.ScheduledProcedureStepSequence = Sequence([step])
    association = _associate(broker, scanner)
    try:
        if (status := association.send_c_echo()).get("Status") != SUCCESS:
            raise _failure(broker, scanner, f"answers C-ECHO with {_said(status)}")
        return list(_entries(broker, scanner, association.send_c_find(query, ModalityWorklistInformationFind)))
    except RuntimeError as error:  # pynetdicom's, when the association has ended
        raise _failure(broker, scanner, "ended the association: see the broker's log") from error
    finally:
        association.release()


def _associate(broker: Broker, scanner: Scanner) -> Association:
    ae = AE(ae_title=scanner.ae_title)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT
    ae.add_requested_context(Verification)
    ae.add_requested_context(ModalityWorklistInformationFind)
    rejections: list[A_ASSOCIATE_RJ] = []  # association.is_rejected misses one that comes at once

    def note(event: evt.Event) -> None:
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            rejections.append(event.pdu)

    handlers: list[evt.EventHandlerType] = [(evt.EVT_PDU_RECV, note)]
    association = ae.associate(broker.host, broker.port, ae_title=scanner.worklist, evt_handlers=handlers)
    if rejections:
        raise _failure(broker, scanner, _rejection(rejections[0]))
    if not association.is_established:
        raise _failure(broker, scanner, "doesn't answer: check that its container runs, and broker.host and .port")
    keep_answers(association)
    return association


def keep_answers(association: Association) -> None:
    """See that an answer reaches the caller that waits for it.

    pynetdicom's reactor looks for requests of the peer, without waiting. On a busy machine it looks so late that it
    takes an answer, and drops it; here the peer has no requests.
    """
    get_msg = association.dimse.get_msg
    association.dimse.get_msg = lambda block=False: get_msg(block=True) if block else (None, None)  # type: ignore[method-assign]


def _entries(broker: Broker, scanner: Scanner, answers: Iterable[tuple[Dataset, Dataset | None]]) -> Iterable[Dataset]:
    for status, entry in answers:
        if status.get("Status") in PENDING and entry is not None:
            yield entry
        elif status.get("Status") != SUCCESS:
            raise _failure(broker, scanner, f"answers C-FIND with {_said(status)}: see the broker's log")


def _rejection(answer: A_ASSOCIATE_RJ) -> str:
    """Return why an association was rejected, and what to do (PS3.8 9.3.4)."""
    if answer.source == BUSY:
        return (
            f"has no place for one more association ({answer.reason_str}): ask again in some seconds; "
            "if that happens often, give wlmscpfs_max_associations a higher number and run site.yml"
        )
    return "refuses the association: it serves no such worklist, or not this host"


def _said(status: Dataset) -> str:
    return f"status {status.Status:04X}" if "Status" in status else "nothing"


def _failure(broker: Broker, scanner: Scanner, what: str) -> BrokerError:
    return BrokerError(
        f"the broker on {broker.host}:{broker.port}, worklist {scanner.worklist}, asked as {scanner.ae_title}, {what}"
    )
