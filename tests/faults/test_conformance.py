"""What docs/conformance.md says of the worklist is what wlmscpfs does: each line of its table and its list is tried."""

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO

import pytest
from pydicom import config as pydicom_config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import ModalityWorklistInformationFind as Worklist  # type: ignore[attr-defined]

from support import conformance, live, twins, wire
from support.tally import Tally

#: The values of two entries, by VR, and a value that neither has.
FIRST: dict[str, object] = {
    "AE": "PRISMA",
    "CS": "MR",
    "DA": "20260310",
    "DS": "71.5",
    "LO": "Alpha-1",
    "LT": "Alpha-1",
    "PN": "Adler^Jürgen",
}
FIRST |= {"SH": "Alpha-1", "TM": "093000", "UI": "1.2.3.1", "US": 2}
SECOND: dict[str, object] = {
    "AE": "SKYRA",
    "CS": "CT",
    "DA": "20260320",
    "DS": "82.5",
    "LO": "Beta-2",
    "LT": "Beta-2",
    "PN": "Clark^Dora",
}
SECOND |= {"SH": "Beta-2", "TM": "143000", "UI": "1.2.3.2", "US": 3}
OTHER: dict[str, object] = {
    "AE": "X",
    "CS": "X",
    "DA": "20250101",
    "DS": "1",
    "LO": "X",
    "LT": "X",
    "PN": "X",
    "SH": "X",
    "TM": "010101",
}
OTHER |= {"UI": "1.9", "US": 9}
BOTH, ONE, TWO, NONE = ["Adler^Jürgen", "Clark^Dora"], ["Adler^Jürgen"], ["Clark^Dora"], list[str]()
STEP = "ScheduledProcedureStepStart"
Values = Mapping[str, object]


ATTRIBUTES = conformance.table("Attributes of the Modality Worklist Information Model")


def dataset(values: Values, charset: str = "ISO_IR 192") -> Dataset:
    """Return an entry or a query; `>` before a keyword puts it into the item of ScheduledProcedureStepSequence."""
    root, step = Dataset(), Dataset()
    root.ScheduledProcedureStepSequence = Sequence([step])
    for name, value in {"SpecificCharacterSet": charset, "PatientName": "", **values}.items():
        keyword = name.removeprefix(">")
        tag = tag_for_keyword(keyword)
        assert tag, keyword
        element = DataElement(tag, dictionary_VR(keyword), value, validation_mode=pydicom_config.IGNORE)
        (step if name.startswith(">") else root).add(element)
    return root


def value(keyword: str, vr: str, values: Values) -> object:
    """Return the attribute's value; a sequence has one item."""
    if vr != "SQ":
        return values[vr]
    item = Dataset()
    if "Code" in keyword:
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = values["SH"], "99TEST", values["LO"]
    else:
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", values["UI"]
    return Sequence([item])


class Answer:
    """What a query is answered."""

    def __init__(self, statuses: list[int], entries: list[bytes]) -> None:
        decoded = [read_dataset(BytesIO(entry), is_implicit_VR=False, is_little_endian=True) for entry in entries]
        self.entries = sorted(decoded, key=lambda entry: str(entry.PatientName))
        self.found = [str(entry.PatientName) for entry in self.entries]
        *pending, status = [f"{status:04X}" for status in statuses]
        self.pending, self.status = set(pending), status

    def values(self, name: str) -> list[object]:
        """Return an attribute of all entries."""
        parts = [entry.ScheduledProcedureStepSequence[0] if name[0] == ">" else entry for entry in self.entries]
        return [part.get(name.removeprefix(">"), "absent") for part in parts]


Ask = Callable[[Dataset], Answer]


@pytest.fixture(scope="module")
def ask(deployment: live.Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a broker that has two entries, which have every attribute of the statement."""
    assert deployment.first.status == 0, deployment.first.output
    with twins.broker(tmp_path_factory.mktemp("worklist")) as broker:
        for number, values in enumerate((FIRST, SECOND), start=1):
            entry = dataset({name: value(name, vr, values) for name, _, vr, *_ in ATTRIBUTES})
            entry.file_meta = FileMetaDataset()
            entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            entry.file_meta.MediaStorageSOPClassUID = Worklist
            entry.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.{number}")
            entry.save_as(broker.folder / f"{number}.wl", enforce_file_format=True)
            (broker.folder / f"{number}.wl").chmod(0o644)
        recorded = wire.query(broker.port)

        def ask(query: Dataset) -> Answer:
            content = encode(query, is_implicit_vr=False, is_little_endian=True)
            assert content
            return Answer(*wire.find(broker.port, recorded, content))

        yield ask


def kinds(ask: Ask, name: str, vr: str) -> set[str]:
    """Return how the attribute matches: single, wildcard, range, or `odd` for anything else."""

    def found(key: object) -> list[str]:
        return ask(dataset({name: key})).found

    one = value(name, vr, FIRST)
    single = [found(one), found(value(name, vr, OTHER))]
    matched = {"single"} if single == [ONE, NONE] else set() if single == [BOTH, BOTH] else {"odd"}
    if vr in {"DA", "TM"}:
        ranges = [found(f"{one}-{one}"), found(f"-{one}"), found({"DA": "20260311-", "TM": "1000-"}[vr])]
        matched |= {"range"} if ranges == [ONE, ONE, TWO] else set() if ranges == [BOTH] * 3 else {"odd"}
    elif isinstance(one, str) and vr not in {"UI", "DS"}:
        globs = [found(f"{one[:2]}*"), found(f"{one[:-1]}?")]
        matched |= (
            {"wildcard"} if globs == [ONE, ONE] else {"odd"} if globs not in ([NONE, NONE], [BOTH, BOTH]) else set()
        )
    return matched


def test_each_attribute_of_a_worklist_matches_as_stated(ask: Ask, tally: Tally) -> None:
    stated = {"exact": {"single"}, "wildcard": {"single", "wildcard"}, "range": {"single", "range"}, "none": set[str]()}
    required = {"PN": "wildcard", "DA": "range", "TM": "range"}  # PS3.4 K.6.1.2.2; else single value
    for name, tag, vr, kind, _, matching in ATTRIBUTES:
        keyword = name.removeprefix(">")
        number = tag_for_keyword(keyword) or 0
        tally.wrong += (tag, vr) != (f"({number >> 16:04X},{number & 0xFFFF:04X})", dictionary_VR(keyword))
        tally.wrong += kind == "R" and matching != required.get(vr, "exact")
        universal = ask(dataset({name: Sequence() if vr == "SQ" else None}))
        tally.wrong += universal.found != BOTH
        tally.wrong += universal.values(name) != [value(name, vr, FIRST), value(name, vr, SECOND)] and vr != "SQ"
        tally.wrong += vr == "SQ" and [len(items) for items in universal.values(name)] != [1, 1]  # type: ignore[arg-type]
        tally.wrong += kinds(ask, name, vr) != stated[matching]
        tally.tried += 1
        assert tally.wrong == 0, name


def without_step() -> Dataset:
    query = dataset({})
    del query.ScheduledProcedureStepSequence
    return query


def with_steps(*steps: Values) -> Dataset:
    query = dataset({})
    items = [dataset({f">{name}": value for name, value in step.items()}) for step in steps]
    query.ScheduledProcedureStepSequence = Sequence([item.ScheduledProcedureStepSequence[0] for item in items])
    return query


def private() -> Dataset:
    query = dataset({})
    query.private_block(0x0009, "TEST", create=True).add_new(1, "LO", "X")
    return query


def texts(item: Dataset) -> dict[str, str]:
    return {element.keyword: str(element.value) for element in item if not element.is_empty}


#: Each item of the statement's list, and whether it is so.
DETAILS: dict[str, Callable[[Ask], bool]] = {
    "An empty value, and a single `*`, match every entry.": lambda ask: (
        ask(dataset({">Modality": ""})).found == ask(dataset({"PatientID": "*"})).found == BOTH
    ),
    "Several keys have to match all.": lambda ask: (
        ask(dataset({">Modality": "MR", "PatientID": "Alpha-1"})).found == ONE
        and ask(dataset({">Modality": "MR", "PatientID": "Beta-2"})).found == NONE
    ),
    "Text matches by case and by byte: a name in another character set than the entry's doesn't match.": lambda ask: (
        ask(dataset({"PatientName": "Adler^Jürgen"})).found == ONE
        and ask(dataset({"PatientName": "Adler^Jürgen"}, "ISO_IR 100")).found == NONE
        and ask(dataset({"PatientName": "adler^Jürgen"})).found == NONE
    ),
    "A `?` stands for one byte, so for an `ü` in UTF-8 it takes two.": lambda ask: (
        ask(dataset({"PatientName": "Adler^J?rgen"})).found == NONE
        and ask(dataset({"PatientName": "Adler^J??rgen"})).found == ONE
    ),
    "Blanks at the end of a value don't count.": lambda ask: (
        ask(dataset({">ScheduledStationAETitle": "PRISMA    "})).found == ONE
        and ask(dataset({"PatientID": "Alpha-1   "})).found == ONE
    ),
    "A time without seconds matches the whole minute's beginning: `0930` is 09:30:00.": lambda ask: (
        ask(dataset({f">{STEP}Time": "0930"})).found == ONE
    ),
    "A range includes both its ends; one end may be missing.": lambda ask: (
        ask(dataset({f">{STEP}Date": "20260310-20260320"})).found == BOTH
        and ask(dataset({f">{STEP}Date": "-20260310"})).found == ONE
        and ask(dataset({f">{STEP}Date": "20260320-"})).found == TWO
    ),
    "Ranges of start date and start time are one span, from the first day's time to the last day's.": lambda ask: (
        ask(dataset({f">{STEP}Date": "20260309-20260320", f">{STEP}Time": "120000-150000"})).found == BOTH
        and ask(dataset({f">{STEP}Date": "20260310-20260320", f">{STEP}Time": "120000-150000"})).found == TWO
        and ask(dataset({f">{STEP}Date": "20260310-20260320", f">{STEP}Time": "090000-140000"})).found == ONE
    ),
    "A list of values matches what one of them matches.": lambda ask: (
        ask(dataset({">ScheduledStationAETitle": ["OTHER", "PRISMA"]})).found == ONE
        and ask(dataset({">ScheduledStationAETitle": ["SKYRA", "PRISMA"]})).found == BOTH
    ),
    "A date, a time or a code that its VR forbids is answered with A900.": lambda ask: (
        {
            ask(dataset({name: text})).status
            for name, text in {
                f">{STEP}Date": "today",
                f">{STEP}Time": "09:30",
                ">Modality": "mr",
            }.items()
        }
        == {"A900"}
    ),
    "ScheduledProcedureStepSequence absent, empty, or with an empty item matches all.": lambda ask: (
        ask(without_step()).found == ask(with_steps()).found == ask(with_steps({})).found == BOTH
    ),
    "ScheduledProcedureStepSequence empty, or with an empty item, returns all its attributes.": lambda ask: all(
        ask(query).values(name) == [value(name, vr, FIRST), value(name, vr, SECOND)]
        for query in (with_steps(), with_steps({}))
        for name, _, vr, *_ in ATTRIBUTES
        if name.startswith(">") and vr != "SQ"
    ),
    "ScheduledProcedureStepSequence with two items is answered with A900.": lambda ask: (
        ask(with_steps({"Modality": "MR"}, {"Modality": "CT"})).status == "A900"
    ),
    "Items of other sequences match every entry.": lambda ask: (
        ask(dataset({"RequestedProcedureCodeSequence": value("Code", "SQ", OTHER)})).found == BOTH
    ),
    "An empty code sequence, or one with an empty item, returns all items whole.": lambda ask: all(
        [[texts(item) for item in items] for items in ask(dataset({name: key})).values(name)]  # type: ignore[attr-defined]
        == [[texts(value("Code", "SQ", values)[0])] for values in (FIRST, SECOND)]  # type: ignore[index]
        for name in (">ScheduledProtocolCodeSequence", "RequestedProcedureCodeSequence")
        for key in (Sequence(), Sequence([Dataset()]))
    ),
    "An attribute that the engine doesn't know is ignored, and the answers are FF01.": lambda ask: (
        (answer := ask(private())).found == BOTH and answer.pending == {"FF01"} and ask(dataset({})).pending == {"FF00"}
    ),
    "An unknown SpecificCharacterSet in the query is ignored.": lambda ask: (
        ask(dataset({">Modality": "MR"}, "ISO_IR 999")).found == ONE
    ),
}


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_each_detail_of_matching_is_as_stated(ask: Ask, tally: Tally) -> None:
    listed = conformance.TEXT[conformance.TEXT.index("Matching, in detail:") :].split("\n\n")[1]
    assert listed.removeprefix("- ").split("\n- ") == list(DETAILS)
    for detail, holds in DETAILS.items():
        tally.tried += 1
        tally.wrong += not holds(ask)
        assert tally.wrong == 0, detail
