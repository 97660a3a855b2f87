"""Storage commitment: what a console asks to commit is answered from the disk. The role's own image and configuration,
without a deployed site."""

import contextlib
import os
import queue
import random
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid

from support import role_pacs, scanner, twins
from support.console import Console, console

SUBNET, OTHER_SUBNET = "198.18.205.0/24", "198.18.206.0/24"
#: PS3.3 C.14.1.1
FAILED, NOT_THERE, OF_ANOTHER_CLASS = 0x0110, 0x0112, 0x0119


@pytest.fixture(scope="module")
def prisma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The console of PRISMA. TRIO has a port, too; SKYRA has none."""
    port = twins.free_port()
    scanners: list[dict[str, object]] = [
        {"ae_title": "PRISMA", "address": "GATEWAY", "port": port},
        {"ae_title": "TRIO", "address": "GATEWAY", "port": twins.free_port()},
        {"ae_title": "SKYRA", "address": "GATEWAY"},
    ]
    folder = tmp_path_factory.mktemp("commitment")
    folder.chmod(0o755)
    with role_pacs.pacs(folder, "test-commitment", SUBNET, scanners) as pacs, console(pacs, port) as found:
        yield found


def stored(console: Console, folder: Path, count: int) -> list[str]:
    """Store images, and return their SOPInstanceUIDs."""
    images = scanner.make(folder / "images", count)
    assert {*scanner.store(console.pacs.dicom_port, images).values()} == {0}
    return [scanner.uid(image) for image in images]


def mr(*instances: str) -> dict[str, str]:
    return dict.fromkeys(instances, MRImageStorage)


def test_orthanc_reaches_the_console(prisma: Console) -> None:
    assert prisma.pacs.ask("/modalities/PRISMA/echo", "{}") == {}


def test_what_is_there_is_committed(prisma: Console, tmp_path: Path) -> None:
    images = stored(prisma, tmp_path, 20)
    assert prisma.commit(mr(*images)) == dict.fromkeys(images, 0)


def test_what_never_came_or_is_of_another_class_is_not(prisma: Console, tmp_path: Path) -> None:
    whole, other = stored(prisma, tmp_path, 2)
    asked = mr(whole, other, "1.2.3") | {other: CTImageStorage}
    assert prisma.commit(asked) == {whole: 0, other: OF_ANOTHER_CLASS, "1.2.3": NOT_THERE}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[random.Random(1).randrange(len(content) // 2, len(content))] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1)


def another(file: Path) -> None:
    """Put another image's file in its place."""
    others = [path for path in file.parents[2].glob("??/??/*") if path != file]
    file.write_bytes(others[0].read_bytes())


@pytest.mark.parametrize("restarted", [False, True], ids=["just-stored", "after-a-restart"])
@pytest.mark.parametrize("damage", [flip, cut, another, Path.unlink])
def test_what_is_damaged_on_the_disk_is_not(
    prisma: Console, tmp_path: Path, damage: Callable[[Path], object], restarted: bool
) -> None:
    """Orthanc itself commits them: it reads an image that just came from its memory."""
    whole, damaged = stored(prisma, tmp_path, 2)
    damage(prisma.pacs.file(damaged))
    if restarted:
        prisma.pacs.container.restart()
        prisma.pacs.wait()
    assert prisma.commit(mr(whole, damaged)) == {whole: 0, damaged: FAILED}
    assert prisma.commit(mr(damaged)) == {damaged: FAILED}
    assert b"Not committed" in prisma.pacs.container.logs(tail=5)


def test_what_the_kernel_remembers_of_a_file_does_not_count(tmp_path: Path) -> None:
    """The disk itself has another byte, which nobody has read since the file was written."""
    disk, folder, port = tmp_path / "disk", tmp_path / "mounted", twins.free_port()
    subprocess.run(["truncate", "--size=128M", disk], check=True)
    subprocess.run(["mkfs.ext4", "-q", disk], check=True)
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", disk, folder], check=True)
    scanners: list[dict[str, object]] = [{"ae_title": "PRISMA", "address": "GATEWAY", "port": port}]
    try:
        with (
            role_pacs.pacs(folder, "test-commitment-disk", OTHER_SUBNET, scanners) as pacs,
            console(pacs, port) as prisma,
        ):
            whole, damaged = stored(prisma, tmp_path, 2)
            file = pacs.file(damaged)
            content = file.read_bytes()
            os.sync()
            blocks = disk.read_bytes()
            with disk.open("r+b") as written:
                written.seek(blocks.index(content[1000:2000]) + 500)
                written.write(bytes([content[1500] ^ 1]))
            assert file.read_bytes() == content  # else this would prove nothing
            assert prisma.commit(mr(whole, damaged)) == {whole: 0, damaged: FAILED}
    finally:
        subprocess.run(["umount", folder], check=True)


def test_an_image_that_is_there_twice_is_not_if_one_is_damaged(prisma: Console, tmp_path: Path) -> None:
    """The same SOPInstanceUID in two studies, as after somebody changed the patient on the console and sent again."""
    (uid,) = stored(prisma, tmp_path, 1)
    first = prisma.pacs.file(uid)
    image = dcmread(tmp_path / "images/0.dcm")
    image.PatientID, image.StudyInstanceUID = "another", generate_uid()
    image.save_as(tmp_path / "again.dcm")
    assert {*scanner.store(prisma.pacs.dicom_port, [tmp_path / "again.dcm"]).values()} == {0}
    assert prisma.commit(mr(uid)) == {uid: 0}
    flip(first)
    assert prisma.commit(mr(uid)) == {uid: FAILED}


def test_an_orthanc_that_is_killed_meanwhile_commits_nothing_unread(prisma: Console, tmp_path: Path) -> None:
    first, damaged = stored(prisma, tmp_path, 2)
    files = [prisma.pacs.file(uid) for uid in (first, damaged)]
    content = files[0].read_bytes()
    files[0].unlink()
    os.mkfifo(files[0])  # reading it never ends
    files[0].chmod(0o666)
    assert prisma.request((MRImageStorage, uid) for uid in (first, damaged)) == 0
    with pytest.raises(queue.Empty):
        prisma.report(seconds=3)  # Orthanc has saved its job by then
    prisma.pacs.container.kill()
    files[0].unlink()
    files[0].write_bytes(content)
    files[0].chmod(0o644)
    flip(files[1])
    prisma.pacs.container.start()
    prisma.pacs.wait()
    with contextlib.suppress(queue.Empty):  # 1.13.0 forgets what it was asked
        assert prisma.report(seconds=5)[damaged] == FAILED
    assert prisma.commit(mr(first, damaged)) == {first: 0, damaged: FAILED}


def test_a_console_that_was_off_asks_again(prisma: Console, tmp_path: Path) -> None:
    (uid,) = stored(prisma, tmp_path, 1)
    port = prisma.pacs.ask("/modalities/TRIO/configuration")["Port"]
    assert Console(prisma.pacs, "TRIO").request([(MRImageStorage, uid)]) == 0
    with console(prisma.pacs, port, "TRIO") as trio:
        assert trio.commit(mr(uid)) == {uid: 0}


def test_with_tls_the_report_is_sent_with_tls(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "tls").mkdir()
    shown, accepted = tmp_path / "tls/server.pem", tmp_path / "tls/clients.crt"
    # one certificate for both sides, each of which accepts no other
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=both"]
    subprocess.run([*line, "-keyout", shown, "-out", accepted], check=True, capture_output=True)
    shown.write_text(shown.read_text() + accepted.read_text())
    shown.chmod(0o644)
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for context in contexts:
        context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
        context.load_cert_chain(shown)
        context.load_verify_locations(accepted)
    port = twins.free_port()
    scanners: list[dict[str, object]] = [{"ae_title": "PRISMA", "address": "GATEWAY", "port": port}]
    with (
        role_pacs.pacs(tmp_path, "test-commitment-tls", OTHER_SUBNET, scanners, orthanc_dicom_tls=True) as pacs,
        console(pacs, port, tls=contexts) as prisma,
    ):
        assert prisma.commit(mr("1.2.3")) == {"1.2.3": NOT_THERE}


def test_without_a_port_a_scanner_gets_no_answer(prisma: Console) -> None:
    assert Console(prisma.pacs, "SKYRA").request([(MRImageStorage, "1.2.3")]) is None


def test_orthanc_does_not_start_without_the_script(prisma: Console) -> None:
    """So nothing is committed that it didn't compare."""
    engine = prisma.pacs.container.client
    line = ["sh", "-c", "sed 's,scripts.py,absent.py,' /etc/orthanc-pacs/orthanc.json >/tmp/it && Orthanc /tmp/it"]
    settings = f"{prisma.pacs.data.parent}/orthanc.json"
    container = engine.containers.run(
        prisma.pacs.container.image.id, line, entrypoint="", detach=True, labels={twins.LABEL: str(os.getpid())},
        volumes={settings: {"bind": "/etc/orthanc-pacs/orthanc.json", "mode": "ro"}},
        tmpfs={"/srv/orthanc": ""},
    )  # fmt: skip
    try:
        assert container.wait(timeout=60)["StatusCode"] != 0
        assert b"absent.py" in container.logs()
    finally:
        container.remove(force=True, v=True)
