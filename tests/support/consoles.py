"""Consoles of three makes, as vendors' statements and manuals describe them; docs/scanners.md says the same.

No console was at hand. Each asks the broker for what it uses, and does with the answers what is written of its make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid

from support import clients
from support.calendar import DAY

#: What images have of an entry: keyword → text.
Images = dict[str, str | None]


@dataclass
class Console:
    """A console that asks for the entries of a day; what `asks_station` is off of sees those of every station."""

    port: int
    ae_title: str = "PRISMA"
    called: str = "WLBROKER"
    asks_station: bool = True
    #: What it asks for, at the root and in the step.
    root: ClassVar[tuple[str, ...]] = ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber")
    step: ClassVar[tuple[str, ...]] = (
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
        "ScheduledProcedureStepStartTime",
        "ScheduledProcedureStepID",
        "Modality",
    )

    def answers(self) -> list[Dataset]:
        """Ask for today's entries; they are in the order of the day."""
        query, step = Dataset(), Dataset()
        for part, keywords in ((query, self.root), (step, self.step)):
            for keyword in keywords:
                setattr(part, keyword, Sequence() if keyword.endswith("Sequence") else None)
        step.ScheduledStationAETitle = self.ae_title if self.asks_station else None
        step.ScheduledProcedureStepStartDate = f"{DAY:%Y%m%d}"
        step.Modality = "MR"
        query.ScheduledProcedureStepSequence = Sequence([step])
        found = clients.ask(self.port, self.called, query, calling=self.ae_title)
        return sorted(found, key=lambda entry: texts(entry).get("ScheduledProcedureStepStartTime", ""))

    def images(self, entry: Dataset, **typed_over: str) -> Images:
        """Scan with an entry; what an operator sees of it can be typed over, its StudyInstanceUID can't."""
        return {**{keyword: texts(entry).get(keyword, "") for keyword in self.root}, **typed_over}


def texts(entry: Dataset) -> dict[str, str]:
    """Return what is not empty, the step's included."""
    return {
        element.keyword: str(element.value)
        for part in (entry, *entry.get("ScheduledProcedureStepSequence", ()))
        for element in part
        if element.VR != "SQ" and not element.is_empty
    }


@dataclass
class GE(Console):
    """Skips an entry without what it needs; takes the StudyInstanceUID only where `takes_uid` is on."""

    takes_uid: bool = True
    needed: ClassVar[tuple[str, ...]] = (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "ScheduledStationAETitle",
        "ScheduledProcedureStepStartDate",
    )

    def patients(self) -> list[Dataset]:
        """Return the entries that it shows."""
        return [entry for entry in self.answers() if texts(entry).keys() >= {*self.needed}]

    def names(self) -> list[str]:
        """Return what an operator reads: 24 characters."""
        return [str(entry.PatientName)[:24] for entry in self.patients()]

    def images(self, entry: Dataset, **typed_over: str) -> Images:
        """Scan with an entry."""
        own = {} if self.takes_uid else {"StudyInstanceUID": generate_uid()}
        return {**super().images(entry, **typed_over), **own}


@dataclass
class Philips(Console):
    """Keeps a list of examinations by ScheduledProcedureStepID: the same id with other data is another examination.

    The one that had the id is deleted.
    """

    examinations: dict[str, Mapping[str, str]] = field(default_factory=dict)
    deleted: list[Mapping[str, str]] = field(default_factory=list)

    def refresh(self) -> list[str]:
        """Ask, and return the names of the patients on the list."""
        said = [texts(entry) for entry in self.answers()]
        for examination in said:
            before = self.examinations.get(examination["ScheduledProcedureStepID"], examination)
            if before != examination:
                self.deleted.append(before)
            self.examinations[examination["ScheduledProcedureStepID"]] = examination
        there = [examination["ScheduledProcedureStepID"] for examination in said]
        self.examinations = {step: one for step, one in self.examinations.items() if step in there}
        return sorted(examination["PatientName"] for examination in self.examinations.values())


@dataclass
class Siemens(Console):
    """Registers a patient: asks the operator for what the SAR needs, and takes the protocol that a code names."""

    protocols: Mapping[str, str] = field(default_factory=dict)
    root: ClassVar[tuple[str, ...]] = (
        *Console.root,
        "RequestedProcedureID",
        "RequestedProcedureDescription",
        "PatientBirthDate",
        "PatientSex",
        "PatientWeight",
        "PatientSize",
    )
    step: ClassVar[tuple[str, ...]] = (*Console.step, "ScheduledProtocolCodeSequence")
    sar: ClassVar[tuple[str, ...]] = ("PatientBirthDate", "PatientSex", "PatientWeight", "PatientSize")

    def asks_operator(self, entry: Dataset) -> list[str]:
        """Return what the operator has to type."""
        return [keyword for keyword in self.sar if keyword not in texts(entry)]

    def protocol(self, entry: Dataset) -> str | None:
        """Return the protocol that is loaded for the entry."""
        codes = entry.ScheduledProcedureStepSequence[0].get("ScheduledProtocolCodeSequence") or ()
        return next((self.protocols[code.CodeValue] for code in codes if code.CodeValue in self.protocols), None)

    def images(self, entry: Dataset, **typed_over: str) -> Images:
        """Scan with an entry."""
        said = texts(entry)
        own: Images = {"StudyID": said["RequestedProcedureID"], "StepID": said["ScheduledProcedureStepID"][:16]}
        return {**super().images(entry, **typed_over), **own}
