"""A scanner that stores images in a PACS, and what the PACS then holds of them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import requests
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE

from dicom_worklist.worklist.broker import keep_answers
from support import twins
from support.images import synthetic_image

#: SOPInstanceUID → data set, byte for byte.
Held = dict[str, bytes]


def make(folder: Path, count: int, size: int = 64) -> list[Path]:
    """Make a series of images of noise, so that no byte of one is like that of another."""
    folder.mkdir(parents=True)
    return [synthetic_image(folder / f"{number}.dcm", number, size) for number in range(count)]


def data_set(file: bytes) -> bytes:
    """Return what is sent of a file: all after the preamble and the group 0002, whose length comes first."""
    return file[144 + int.from_bytes(file[140:144], "little") :]


def uid(image: Path) -> str:
    """Return the SOPInstanceUID of one of our images."""
    return str(dcmread(image, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)


def sent(images: Iterable[Path]) -> Held:
    return {uid(image): data_set(image.read_bytes()) for image in images}


def store(
    port: int,
    images: Iterable[Path],
    acknowledged: Callable[[Path], object] = lambda image: None,
) -> dict[Path, int]:
    """Store until the PACS goes; return the status of each answer, and say of each success so at once."""
    ae, answers = AE(ae_title="PRISMA"), dict[Path, int]()
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 20
    ae.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", port, ae_title="ORTHANC")
    keep_answers(association)
    for image in images:
        if not association.is_established:
            break
        status = association.send_c_store(image)
        if "Status" not in status:
            break
        answers[image] = status.Status
        if status.Status == 0:
            acknowledged(image)
    if association.is_established:
        association.release()
    return answers


def held(pacs: twins.Pacs) -> Held:
    """Read all that the PACS holds, through its web front end; an image that is there twice is an error."""
    with requests.Session() as session:
        session.auth = pacs.login
        found: Held = {}
        for instance in get(session, f"{pacs.url}/instances?expand").json():
            name = instance["MainDicomTags"].get("SOPInstanceUID", instance["ID"])
            assert name not in found, f"{name} is there twice"
            found[name] = data_set(get(session, f"{pacs.url}/instances/{instance['ID']}/file").content)
    return found


def remove(pacs: twins.Pacs, name: str) -> bool:
    """Remove an image by its SOPInstanceUID, as somebody does in the web front end; return whether it could be."""
    (found,) = requests.post(f"{pacs.url}/tools/lookup", name, auth=pacs.login, timeout=30).json()
    return requests.delete(f"{pacs.url}{found['Path']}", auth=pacs.login, timeout=30).ok


def admit(pacs: twins.Pacs, title: str) -> None:
    """Let another scanner store, until the PACS starts again."""
    modality = {"AET": title, "Host": "127.0.0.1", "Port": 104}
    answer = requests.put(f"{pacs.url}/modalities/{title}", json=modality, auth=pacs.login, timeout=30)
    answer.raise_for_status()


def get(session: requests.Session, address: str) -> requests.Response:
    answer = session.get(address, timeout=30)
    answer.raise_for_status()
    return answer


def differences(expected: Mapping[str, bytes], found: Mapping[str, bytes]) -> tuple[int, int]:
    """Return how many are lost, and how many of those that are there say something else."""
    lost = expected.keys() - found.keys()
    return len(lost), sum(found[name] != content for name, content in expected.items() if name in found)
