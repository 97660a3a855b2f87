"""What consoles send is stored, and comes back as it was sent. The role's own image and configuration, without a
deployed site."""

import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
import requests
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, RawDataStorage, generate_uid
from pynetdicom import AE, _config
from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_worklist.worklist.broker import keep_answers
from support import conformance, role_pacs, scanner
from support.elements import elements

SUBNET = "198.18.207.0/24"
SCANNERS: list[dict[str, object]] = [{"ae_title": "PRISMA", "address": "GATEWAY"}]
PRIVATE = dict(conformance.table("### 8.3"))
CSA_NON_IMAGE = "1.3.12.2.1107.5.9.1"
#: A class of Siemens' root that doesn't exist.
UNKNOWN = "1.3.12.2.1107.5.9.999"
EXPLICIT = str(ExplicitVRLittleEndian)

SHIPPED = Path(pydicom.__file__).parent / "data"
#: The answer to those that are damaged: none if cut off; "cannot understand" if the identifiers have the VR UN.
DAMAGED: dict[str, int | None] = dict.fromkeys(("MR_truncated.dcm", "rtplan_truncated.dcm", "SC_rgb_jpeg.dcm"))
DAMAGED |= dict.fromkeys(("rtdose_rle.dcm", "rtdose_rle_1frame.dcm"), 0xC000)
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


def storable() -> list[Path]:
    """Return the files that pydicom ships and that a scanner could have stored: not directories, palettes and parts."""
    found = []
    for path in sorted(SHIPPED.rglob("*")):
        try:
            with warnings.catch_warnings(action="ignore"):
                dataset = dcmread(path) if path.is_file() else Dataset()
                complete = all(dataset.get(keyword) for keyword in NEEDED)
        except pydicom.errors.InvalidDicomError:
            continue
        if complete:
            found.append(path)
    return found


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[role_pacs.Pacs]:
    folder = tmp_path_factory.mktemp("stored")
    folder.chmod(0o755)
    with role_pacs.pacs(folder, "test-stored", SUBNET, SCANNERS) as found:
        yield found


def accepted(pacs: role_pacs.Pacs, *classes: str, syntaxes: list[str] | None = None) -> set[tuple[str, str]]:
    """Return the contexts of these classes that Orthanc accepts."""
    contexts = dict.fromkeys(classes, syntaxes or [EXPLICIT])
    association = conformance.associated(pacs.dicom_port, "ORTHANC", contexts)
    found = {(str(item.abstract_syntax), str(item.transfer_syntax[0])) for item in association.accepted_contexts}
    if association.is_established:
        association.release()
    return found


def as_sent(path: Path, to: Path) -> Path:
    """Write a file as a console would send it: its identifiers in the request are those in the data set."""
    content = path.read_bytes()
    dataset = dcmread(path, specific_tags=list(NEEDED))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, False
    write_file_meta_info(written, meta)
    body = scanner.data_set(content)
    padding = b"\0" if meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99" and len(body) % 2 else b""  # PS3.5 A.5
    to.write_bytes(bytes(128) + b"DICM" + written.getvalue() + body + padding)
    return to


def store(pacs: role_pacs.Pacs, path: Path, timeout: int = 20) -> int | None:
    """Store a file in its own class and transfer syntax, byte for byte; return the status, if one comes."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    ae = AE(ae_title="PRISMA")
    ae.dimse_timeout = ae.network_timeout = timeout
    ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", pacs.dicom_port, ae_title="ORTHANC")
    keep_answers(association)
    assert association.accepted_contexts, meta.MediaStorageSOPClassUID
    answer = association.send_c_store(path)
    if association.is_established:
        association.release()
    status: int | None = answer.get("Status")
    return status


def given_back(pacs: role_pacs.Pacs, uid: str) -> bytes:
    answer = requests.get(f"{pacs.url}{pacs.instance(uid)}/file", auth=pacs.login, timeout=30)
    answer.raise_for_status()
    return answer.content


@pytest.mark.parametrize("path", storable(), ids=lambda path: str(path.relative_to(SHIPPED)))
@pytest.mark.filterwarnings("ignore")
def test_each_file_that_pydicom_ships_comes_back_as_it_was_sent(
    pacs: role_pacs.Pacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)  # the file's own bytes
    sent = as_sent(path, tmp_path / "sent.dcm")
    dataset = dcmread(sent, specific_tags=list(NEEDED))
    uid = str(dataset.SOPInstanceUID)
    for found in pacs.ask("/tools/lookup", uid):  # several files are the same image in another syntax
        requests.delete(pacs.url + found["Path"], auth=pacs.login, timeout=30).raise_for_status()
    status = store(pacs, sent, timeout=20 if DAMAGED.get(path.name, 0) is not None else 3)  # 3: no answer is due
    if path.name in DAMAGED:
        assert status == DAMAGED[path.name]
        assert pacs.ask("/tools/lookup", uid) == []
        return
    assert status == 0
    back = given_back(pacs, uid)
    if scanner.data_set(back) != scanner.data_set(sent.read_bytes()):
        assert elements(back) == elements(sent.read_bytes())
    meta, before = (dcmread(file, stop_before_pixels=True).file_meta for file in (BytesIO(back), sent))
    kept = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    assert [meta[keyword].value for keyword in kept] == [before[keyword].value for keyword in kept]


@pytest.mark.filterwarnings("ignore")
def test_that_comparison_sees_a_byte_within_sequences() -> None:
    content = bytearray((SHIPPED / "test_files/waveform_ecg.dcm").read_bytes())
    before = elements(bytes(content))
    content[content.index(b"Einthoven")] ^= 1
    assert elements(bytes(content)) != before


def private_object(path: Path, sop_class: str) -> str:
    """Write an object of a private class: no pixels, and what only its maker understands; return its identifier."""
    dataset, meta = Dataset(), FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientID, dataset.Modality = "phantom", "MR"
    block = dataset.private_block(0x0029, "SIEMENS CSA NON-IMAGE", create=True)
    block.add_new(0x10, "OB", bytes(range(256)) * 40)
    block.add_new(0x11, "UN", b"\xff\0 \0")
    block.add_new(0x12, "LO", "a text")
    dataset.file_meta = meta
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


@pytest.mark.parametrize("sop_class", [*PRIVATE.values(), str(RawDataStorage)])
def test_private_objects_come_back_byte_for_byte(pacs: role_pacs.Pacs, tmp_path: Path, sop_class: str) -> None:
    uid = private_object(tmp_path / "private.dcm", sop_class)
    assert store(pacs, tmp_path / "private.dcm") == 0
    assert scanner.data_set(given_back(pacs, uid)) == scanner.data_set((tmp_path / "private.dcm").read_bytes())


def test_the_private_classes_are_those_that_are_stated(pacs: role_pacs.Pacs) -> None:
    variables = yaml.safe_load((role_pacs.ROLE / "vars/main.yml").read_text())
    assert variables["__orthanc_private_sop_classes"] == PRIVATE
    syntaxes = [uid for _, uid in conformance.table("### 8.2")]
    assert accepted(pacs, CSA_NON_IMAGE, syntaxes=syntaxes) == {(CSA_NON_IMAGE, syntax) for syntax in syntaxes}


def test_the_standards_classes_are_those_that_are_stated(pacs: role_pacs.Pacs) -> None:
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    found = {uid for at in range(0, len(known), 100) for uid, _ in accepted(pacs, *known[at : at + 100])}
    assert found == {uid for _, uid in conformance.table("### 8.1")}


def test_another_class_is_refused(pacs: role_pacs.Pacs) -> None:
    assert accepted(pacs, UNKNOWN, CSA_NON_IMAGE) == {(CSA_NON_IMAGE, EXPLICIT)}


@pytest.mark.parametrize("named", [[UNKNOWN], ["*"]])
def test_the_inventory_can_name_others_or_all(tmp_path: Path, named: list[str]) -> None:
    tmp_path.chmod(0o755)
    with role_pacs.pacs(
        tmp_path, "test-stored-others", "198.18.208.0/24", SCANNERS, orthanc_sop_classes=named
    ) as others:
        classes = {UNKNOWN, CSA_NON_IMAGE, str(RawDataStorage)} | ({f"{UNKNOWN}.1"} if named == ["*"] else set())
        worklist = "1.2.840.10008.5.1.4.31"
        found = accepted(others, UNKNOWN, f"{UNKNOWN}.1", CSA_NON_IMAGE, str(RawDataStorage), worklist)
        assert found == {(sop_class, EXPLICIT) for sop_class in classes}
        uid = private_object(tmp_path / "private.dcm", UNKNOWN)
        assert store(others, tmp_path / "private.dcm") == 0
        assert scanner.data_set(given_back(others, uid)) == scanner.data_set((tmp_path / "private.dcm").read_bytes())
