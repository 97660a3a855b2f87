"""Which SOP classes were refused to which scanner: the role's own image and configuration, without a deployed site."""

import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
import requests
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, XRayAngiographicImageStorage
from pynetdicom.sop_class import ModalityPerformedProcedureStep  # type: ignore[attr-defined]

from dicom_worklist.settings import Pacs
from dicom_worklist.status.pacs import refused as as_the_sync_reads_it
from support import conformance, role_pacs, scanner, twins
from support.waiting import wait_until

SUBNET, OTHER_SUBNET = "198.18.218.0/24", "198.18.219.0/24"
EXPLICIT = str(ExplicitVRLittleEndian)
#: Classes and a transfer syntax that don't exist.
FIRST, SECOND, NO_SYNTAX = "1.3.12.2.1107.5.9.998", "1.3.12.2.1107.5.9.999", "1.3.12.2.1107.5.9.1.1"
SCANNERS: list[dict[str, object]] = [{"ae_title": title, "address": "GATEWAY"} for title in ("PRISMA", "TRIO")]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[role_pacs.Pacs]:
    tmp_path.chmod(0o755)
    with role_pacs.pacs(tmp_path, "test-refused", SUBNET, SCANNERS) as found:
        yield found


def offer(pacs: role_pacs.Pacs, *classes: str, syntax: str = EXPLICIT, calling: str = "PRISMA") -> set[str]:
    """Offer classes; return those that are accepted."""
    offered = {sop_class: [syntax] for sop_class in classes}
    association = conformance.associated(pacs.dicom_port, "ORTHANC", offered, calling)
    accepted = {str(item.abstract_syntax) for item in association.accepted_contexts}
    if association.is_established:
        association.release()
    return accepted


def kept(pacs: role_pacs.Pacs) -> Mapping[tuple[str, str], dict[str, Any]]:
    """Return what Orthanc has refused: scanner and class → what it keeps of it."""
    found = {}
    for one in pacs.ask("/refused-sop-classes"):
        assert one.keys() == {"scanner", "sop_class", "first", "last", "count", "syntax", "stored"}
        found[one["scanner"], one["sop_class"]] = one
    return found


def counts(pacs: role_pacs.Pacs) -> dict[tuple[str, str], int]:
    return {names: one["count"] for names, one in kept(pacs).items()}


def test_what_is_refused_is_kept_by_scanner_and_class(pacs: role_pacs.Pacs, tmp_path: Path) -> None:
    assert kept(pacs) == {}
    began = int(time.time())
    assert offer(pacs, FIRST, MRImageStorage) == {MRImageStorage}
    assert offer(pacs, FIRST, SECOND, calling="TRIO") == set()
    assert offer(pacs, FIRST, calling="TRIO") == set()
    assert offer(pacs, SECOND, calling="STRANGER") == set()
    found = counts(pacs)
    assert found == {("PRISMA", FIRST): 1, ("TRIO", FIRST): 2, ("TRIO", SECOND): 1}
    for one in kept(pacs).values():
        assert began <= one["first"] <= one["last"] <= time.time()
        assert (one["syntax"], one["stored"]) == (False, False)
    images = scanner.make(tmp_path / "images", 3)
    assert {*scanner.store(pacs.dicom_port, images).values()} == {0}
    assert counts(pacs) == found


def test_a_class_of_which_one_context_is_accepted_is_not_refused(pacs: role_pacs.Pacs) -> None:
    offered = {str(MRImageStorage): [EXPLICIT, NO_SYNTAX], str(XRayAngiographicImageStorage): [NO_SYNTAX]}
    conformance.associated(pacs.dicom_port, "ORTHANC", offered).release()
    assert [(names, one["syntax"], one["stored"]) for names, one in kept(pacs).items()] == [
        (("PRISMA", XRayAngiographicImageStorage), True, True)
    ]


def test_it_outlives_a_kill_and_a_restart(pacs: role_pacs.Pacs) -> None:
    offer(pacs, FIRST)

    def written() -> None:
        # SQLite moves what is in the second file to the first now and then
        assert any(FIRST.encode() in path.read_bytes() for path in pacs.data.glob("index*"))

    wait_until(written)  # nobody has asked
    for end in (pacs.container.kill, pacs.container.stop):
        end()
        assert pacs.container.wait()["StatusCode"] in {0, 128 + signal.SIGKILL}
        pacs.container.start()
        pacs.wait()
        assert {*counts(pacs)} == {("PRISMA", FIRST)}
        offer(pacs, FIRST)
    assert counts(pacs) == {("PRISMA", FIRST): 3}


def test_a_scanner_that_offers_everything_keeps_out_nobody_and_fills_nothing(pacs: role_pacs.Pacs) -> None:
    offer(pacs, FIRST, calling="TRIO")
    for at in range(10):
        offer(pacs, *(f"1.3.12.2.1107.{'9' * 40}.{at}.{number}" for number in range(1, 129)))
        kept(pacs)
    found = kept(pacs)
    assert ("TRIO", FIRST) in found
    assert len(found) == 33
    # the latest
    assert all(sop_class.split(".")[-2] == "9" for title, sop_class in found if title == "PRISMA")


@pytest.mark.parametrize("uid", ["1.2.<script>", "1.2.\\x1b[2J", "1.2 3"])
def test_what_is_no_uid_is_not_kept(pacs: role_pacs.Pacs, uid: str) -> None:
    assert offer(pacs, uid, FIRST) == set()
    assert {*counts(pacs)} == {("PRISMA", FIRST)}


def test_the_sync_reads_it_and_leaves_out_what_is_no_class_of_objects(pacs: role_pacs.Pacs, tmp_path: Path) -> None:
    offer(pacs, FIRST, str(ModalityPerformedProcedureStep))
    assert len(kept(pacs)) == 2
    (tmp_path / "password").write_text(pacs.login[1])
    login = Pacs(url=pacs.url, user=pacs.login[0], password_file=str(tmp_path / "password"))
    (one,) = as_the_sync_reads_it(login)
    assert (one.ae_title, one.sop_class, one.name) == ("PRISMA", FIRST, "a private class of Siemens")
    assert (one.count, one.reason) == (1, "class")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_it_can_only_be_asked_for(pacs: role_pacs.Pacs, method: str) -> None:
    offer(pacs, FIRST)
    answer = requests.request(method, f"{pacs.url}/refused-sop-classes", data="{}", auth=pacs.login, timeout=30)
    assert answer.status_code == 405
    assert counts(pacs) == {("PRISMA", FIRST): 1}


@pytest.mark.parametrize("named", [[FIRST], ["*"]])
def test_after_the_inventory_names_it_it_is_stored_and_that_is_said(tmp_path: Path, named: list[str]) -> None:
    tmp_path.chmod(0o755)
    with role_pacs.pacs(tmp_path, "test-refused-named", OTHER_SUBNET, SCANNERS) as pacs:
        offer(pacs, FIRST)
        assert [one["stored"] for one in kept(pacs).values()] == [False]
        network = {"Subnet": OTHER_SUBNET, "Gateway": OTHER_SUBNET.replace("0/24", "1")}
        scanners = [item | {"address": network["Gateway"]} for item in SCANNERS]
        role_pacs.configured(tmp_path / "again", scanners, network, orthanc_sop_classes=named)
        (tmp_path / "orthanc.json").write_bytes((tmp_path / "again/orthanc.json").read_bytes())
        pacs.container.restart()
        pacs.wait()
        assert [(one["stored"], one["syntax"]) for one in kept(pacs).values()] == [(True, False)]
        assert offer(pacs, FIRST) == {FIRST}
        assert counts(pacs) == {("PRISMA", FIRST): 1}


def test_without_the_library_orthanc_runs_and_keeps_nothing(pacs: role_pacs.Pacs) -> None:
    """An image of the site's own may have no orthanc-start."""
    engine = docker.from_env()
    port, web = twins.free_port(), twins.free_port()
    container = engine.containers.run(
        pacs.container.image.id, ["/etc/orthanc-pacs/orthanc.json"], entrypoint="Orthanc", detach=True,
        labels={twins.LABEL: "refused"}, tmpfs={"/srv/orthanc": ""},
        ports={"4042/tcp": ("127.0.0.1", port), "8042/tcp": ("127.0.0.1", web)},
        volumes={f"{pacs.data.parent}/orthanc.json": {"bind": "/etc/orthanc-pacs/orthanc.json", "mode": "ro"}},
    )  # fmt: skip
    try:
        alone = role_pacs.Pacs(pacs.data.parent, container, (port, web), pacs.gateway)
        alone.wait()
        answer = requests.get(f"{alone.url}/refused-sop-classes", auth=alone.login, timeout=30)
        assert (answer.status_code, answer.json()["OrthancStatus"]) == (404, 17)
        assert b"refused.so is not preloaded" in container.logs()
    finally:
        container.remove(force=True, v=True)
