"""What docs/conformance.md says of associations is what the engines do: who is accepted, which classes and syntaxes."""

import subprocess

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom._globals import ALL_TRANSFER_SYNTAXES
from pynetdicom.association import Association
from pynetdicom.presentation import AllStoragePresentationContexts
from pynetdicom.sop_class import MRImageStorage, Verification  # type: ignore[attr-defined]

from support import conformance, live, twins
from support.tally import Tally

EXPLICIT = [str(ExplicitVRLittleEndian)]


def accepted(association: Association, section: str, tally: Tally) -> set[tuple[str, str]]:
    """Return the contexts that the engine accepts, and end the association."""
    contexts = {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
    tally.tried += len(association.requestor.requested_contexts)
    if association.is_established:
        tally.wrong += not conformance.says(section, association)
        association.release()
    return contexts


def test_the_broker_accepts_what_is_stated(
    deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    assert deployment.first.status == 0, deployment.first.output
    with twins.broker(tmp_path_factory.mktemp("worklist")) as broker:
        for uid, syntaxes in conformance.table("Presentation contexts; Explicit"):
            association = conformance.associated(broker.port, "WLBROKER", {uid: [*ALL_TRANSFER_SYNTAXES]})
            found = {syntax for _, syntax in accepted(association, "#### 4.2.1", tally)}
            tally.wrong += len(found ^ set(syntaxes.split(", ")))
        # pynetdicom says "aborted" now and then, if the connection ends just after the rejection
        line = ["echoscu", "-v", "-aec", "wlbroker", "127.0.0.1", str(broker.port)]
        asked = subprocess.run(line, check=False, capture_output=True, text=True, timeout=30)
        tally.wrong += "Association Rejected" not in asked.stdout + asked.stderr


def test_orthanc_accepts_what_is_stated(
    deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    assert deployment.first.status == 0, deployment.first.output
    with twins.pacs(tmp_path_factory.mktemp("pacs")) as pacs:

        def ask(*classes: str, syntaxes: list[str] = EXPLICIT, **titles: str) -> set[tuple[str, str]]:
            given = {"called": "ORTHANC", **titles}
            association = conformance.associated(
                pacs.dicom_port,
                contexts=dict.fromkeys(classes, syntaxes),
                **given,
            )
            return accepted(association, "#### 4.2.2", tally)

        known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
        found = {uid for at in range(0, len(known), 100) for uid, _ in ask(*known[at : at + 100])}
        tally.wrong += len(found ^ {uid for _, uid in conformance.table("### 8.1")})
        syntaxes = {syntax for _, syntax in ask(MRImageStorage, syntaxes=[*ALL_TRANSFER_SYNTAXES])}
        tally.wrong += len(syntaxes ^ {uid for _, uid in conformance.table("### 8.2")})
        tally.wrong += not ask(Verification)
        tally.wrong += len(ask(Verification, called="orthanc")) + len(ask(Verification, calling="STRANGER"))
        # worklist, and performed procedure step
        tally.wrong += len(ask("1.2.840.10008.5.1.4.31")) + len(ask("1.2.840.10008.3.1.2.3.3"))
        for _, uid in conformance.table("Contexts of these are accepted"):
            tally.tried += 1
            tally.wrong += not refused(conformance.associated(pacs.dicom_port, "ORTHANC", {uid: EXPLICIT}), uid)


def refused(association: Association, uid: str) -> bool:
    """Ask for what is accepted but not allowed; return whether there is no answer."""
    assert association.accepted_contexts
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID, query.PatientID = "STUDY", "1.2", "X"
    if uid == "1.2.840.10008.1.20.1":
        action = Dataset()
        action.TransactionUID = "1.2.3"
        status, _ = association.send_n_action(action, 1, uid, f"{uid}.1")
    elif uid.endswith(".1"):
        status, _ = next(association.send_c_find(query, uid))
    elif uid.endswith(".2"):
        status, _ = next(association.send_c_move(query, "PRISMA", uid))
    else:
        status, _ = next(association.send_c_get(query, uid))
    return "Status" not in status
