"""Clients of the broker and of the PACS: DCMTK's and pynetdicom's, as scanners use them."""

import subprocess
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from dicom_worklist.worklist.broker import keep_answers
from support import live

#: Every attribute that an entry has, apart from the charset: what a console may ask for.
ROOT_KEYS = (
    "AccessionNumber ReferringPhysicianName ReferencedStudySequence ReferencedPatientSequence PatientName PatientID "
    "PatientBirthDate PatientSex PatientWeight MedicalAlerts Allergies PregnancyStatus StudyInstanceUID "
    "RequestingPhysician RequestedProcedureDescription AdmissionID SpecialNeeds CurrentPatientLocation PatientState "
    "RequestedProcedureID RequestedProcedurePriority PatientTransportArrangements "
    "ConfidentialityConstraintOnPatientDataDescription"
).split()
STEP_KEYS = (
    "Modality ScheduledStationAETitle ScheduledProcedureStepStartDate ScheduledProcedureStepStartTime "
    "ScheduledPerformingPhysicianName ScheduledProcedureStepDescription ScheduledProcedureStepID "
    "ScheduledStationName ScheduledProcedureStepLocation"
).split()
Found = list[Dataset]


def query(**keys: str) -> Dataset:
    """Return a query for every attribute, with these keys set."""
    dataset, step = Dataset(), Dataset()
    for keyword in ROOT_KEYS:
        setattr(dataset, keyword, Sequence() if keyword.endswith("Sequence") else None)
    for keyword in STEP_KEYS:
        setattr(step, keyword, None)
    for keyword, value in keys.items():
        setattr(step if keyword in STEP_KEYS else dataset, keyword, value)
    dataset.ScheduledProcedureStepSequence = Sequence([step])
    return dataset


def findscu(port: int, folder: Path, called: str = "WLBROKER", **keys: str) -> Found:
    """Ask with DCMTK's client; `folder` takes its answers."""
    options: list[str] = []
    for part, prefix in ((query(**keys), ""), (query(**keys).ScheduledProcedureStepSequence[0], "[0]")):
        for element in part:
            if element.VR != "SQ":
                place = f"ScheduledProcedureStepSequence{prefix}." if prefix else ""
                value = "" if element.is_empty else f"={element.value}"
                options += ["-k", f"{place}{element.keyword}{value}"]
            elif element.keyword != "ScheduledProcedureStepSequence":
                options += ["-k", element.keyword]
    folder.mkdir(parents=True, exist_ok=True)
    line = ["findscu", "-W", "-X", "-aet", "PRISMA", "-aec", called, *options, "127.0.0.1", str(port)]
    done = subprocess.run(line, cwd=folder, text=True, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answers = sorted(folder.glob("rsp*.dcm"))
    found: Found = [dcmread(answer) for answer in answers]
    for answer in answers:
        answer.unlink()
    return found


def storescu(ae_title: str, image: Path) -> int:
    """Store in the site's PACS as a scanner of this AE title; return the client's exit status."""
    line = ["storescu", "-aet", ae_title, "-aec", "ORTHANC", "127.0.0.1", str(live.Site.orthanc_port), str(image)]
    return subprocess.run(line, check=False, capture_output=True, timeout=60).returncode


def pynetdicom_find(port: int, called: str = "WLBROKER", **keys: str) -> Found:
    """Ask with pynetdicom."""
    return ask(port, called, query(**keys))


def ask(port: int, called: str, query: Dataset, calling: str = "PRISMA") -> Found:
    """Return the answers to a query."""
    ae = AE(ae_title=calling)
    ae.add_requested_context(ModalityWorklistInformationFind)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    keep_answers(association)
    try:
        answers = list(association.send_c_find(query, ModalityWorklistInformationFind))
    finally:
        association.release()
    assert answers[-1][0].Status == 0, answers[-1][0]
    return [entry for status, entry in answers if entry is not None]


def texts(entry: Dataset) -> dict[str, Any]:
    """Return keyword → value (an empty one as "") of an answer, the scheduled procedure step's included."""
    entry.decode()
    parts = (entry, entry.ScheduledProcedureStepSequence[0])
    return {
        element.keyword: [] if element.VR == "SQ" else "" if element.is_empty else str(element.value)
        for part in parts
        for element in part
        if element.keyword != "ScheduledProcedureStepSequence"
    }
