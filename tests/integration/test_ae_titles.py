"""Who may store under which AE title: the role's own image and configuration, without a deployed site."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from support import role_pacs, twins
from support.images import synthetic_image
from support.modules import run
from support.waiting import wait_until

ENGINE = docker.from_env()
ROLE = role_pacs.ROLE
NETWORK, SUBNET = "test-ae-titles", "198.18.204.0/24"
GATEWAY, PACS = "198.18.204.1", "198.18.204.2"
SCANNERS = {"PRISMA": "198.18.204.11", "SKYRA": "198.18.204.12"}


def configured(folder: Path, scanners: list[dict[str, object]], **variables: object) -> dict[str, Any]:
    """Return Orthanc's configuration, as the role writes it."""
    return role_pacs.configured(folder, scanners, {"Subnet": SUBNET, "Gateway": GATEWAY}, **variables)


class Site:
    """Orthanc in a network of its own, with the settings of the role that decide who may store."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.image, _ = ENGINE.images.build(path=str(ROLE / "files/image"), tag="test-orthanc-image", rm=True)
        self.stack, self.folder = stack, folder
        pool = docker.types.IPAMPool(subnet=SUBNET, gateway=GATEWAY)
        self.network = ENGINE.networks.create(NETWORK, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        stack.callback(self.network.remove)
        synthetic_image(folder / "image.dcm").chmod(0o644)
        folder.chmod(0o755)
        scanners: list[dict[str, object]] = [
            {"ae_title": title, "address": address} for title, address in SCANNERS.items()
        ]
        settings = {
            name: value
            for name, value in configured(folder / "role", scanners).items()
            if name.startswith("Dicom") and name != "DicomWeb"
        }
        own = {"StorageDirectory": "/tmp/orthanc", "IndexDirectory": "/tmp/orthanc", "StrictAetComparison": True}
        (folder / "orthanc.json").write_text(json.dumps(settings | own))
        self.port = twins.free_port()
        self.pacs = self.start(PACS, ["Orthanc", "/files/orthanc.json"], {"4042/tcp": ("127.0.0.1", self.port)})

        def up() -> None:
            assert b"Orthanc has started" in self.pacs.logs()

        wait_until(up)

    def start(self, address: str, line: list[str], ports: dict[str, tuple[str, int]] | None = None) -> Any:
        """Run a program in a container that has this address."""
        container = ENGINE.containers.create(
            self.image, line, entrypoint="", network=NETWORK, ports=ports, labels={twins.LABEL: str(os.getpid())},
            volumes={str(self.folder): {"bind": "/files", "mode": "ro"}},
        )  # fmt: skip
        self.stack.callback(container.remove, force=True, v=True)
        self.network.disconnect(container)
        self.network.connect(container, ipv4_address=address)
        container.start()
        return container

    def store(self, title: str, address: str) -> str:
        """Store an image under an AE title from an address; return how that ended."""
        line = ["storescu", "-v", "-aet", title, "-aec", "ORTHANC", PACS, "4042", "/files/image.dcm"]
        container = self.start(address, line)
        container.wait(timeout=60)
        said: str = container.logs().decode()
        return next(end for end in ("Store Response (Success)", "Association Rejected") if end in said)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("titles"), stack)


def test_a_scanner_stores_under_its_own_title_and_not_under_anothers(site: Site) -> None:
    ended = {(title, mine): site.store(title, SCANNERS[mine]) for title in SCANNERS for mine in SCANNERS}
    assert ended == {
        (title, mine): "Store Response (Success)" if title == mine else "Association Rejected" for title, mine in ended
    }


def test_nobody_else_stores_under_the_title_of_the_verification(site: Site) -> None:
    assert site.store("VERIFICATION", SCANNERS["PRISMA"]) == "Association Rejected"


@pytest.mark.parametrize(
    ("scanners", "bound"),
    [
        ([{"ae_title": "PRISMA", "address": "203.0.113.11"}], True),
        ([{"ae_title": "PRISMA", "address": "203.0.113.11"}, {"ae_title": "SKYRA"}], False),
        ([{"ae_title": "PRISMA", "address": "203.0.113.0/24"}], False),  # Orthanc knows no networks
        ([{"ae_title": "PRISMA"}], False),
        ([], False),
    ],
)
def test_titles_are_bound_where_every_scanner_has_an_address(
    tmp_path: Path, scanners: list[dict[str, object]], bound: bool
) -> None:
    settings = configured(tmp_path, scanners)
    assert settings["DicomCheckModalityHost"] is bound
    assert ("VERIFICATION" in {item["AET"] for item in settings["DicomModalities"].values()}) is bound


@pytest.mark.parametrize(
    ("address", "seen"), [("0.0.0.0", GATEWAY), ("127.0.0.1", GATEWAY), ("192.0.2.7", "192.0.2.7")]
)
def test_the_verification_comes_from_where_orthanc_sees_this_host(tmp_path: Path, address: str, seen: str) -> None:
    settings = configured(tmp_path, [{"ae_title": "PRISMA", "address": "203.0.113.11"}], orthanc_dicom_address=address)
    assert settings["DicomModalities"]["verification"]["Host"] == seen


def test_peers_are_the_scanners_and_what_the_settings_name(tmp_path: Path) -> None:
    named = {
        "DicomModalities": {"archive": ["ARCHIVE", "192.0.2.8", 104]},
        "OrthancPeers": {"other": {"Url": "https://192.0.2.9:8042/"}},
        "Name": "not 192.0.2.10",
    }
    scanners = [
        {"ae_title": "PRISMA", "address": "203.0.113.11", "port": 4006},
        {"ae_title": "SKYRA", "address": "203.0.113.12"},
        {"ae_title": "TRIO"},
    ]
    variables = {"orthanc_scanners": scanners, "orthanc_settings": named}
    tasks = [{"ansible.builtin.include_vars": str(ROLE / f"{part}/main.yml")} for part in ("defaults", "vars")]
    shown = run(
        tmp_path, *tasks, {"ansible.builtin.debug": {"var": "__orthanc_peers"}}, options=["-e", json.dumps(variables)]
    )[-1]
    assert shown["__orthanc_peers"] == [
        {"address": "192.0.2.8"},
        {"address": "192.0.2.9"},
        {"address": "203.0.113.11", "port": 4006},
        {"address": "203.0.113.12", "port": 104},
    ]


@pytest.mark.parametrize(
    ("scanner", "variables", "answered"),
    [
        ({"address": "203.0.113.11", "port": 4006}, {}, True),
        ({"address": "203.0.113.11"}, {}, False),
        ({"port": 4006}, {}, False),
        ({"address": "203.0.113.0/24", "port": 4006}, {}, False),
        # another script, or none: Orthanc's own answer doesn't read the files
        ({"address": "203.0.113.11", "port": 4006}, {"orthanc_settings": {"PythonScript": "/srv/own.py"}}, False),
        ({"address": "203.0.113.11", "port": 4006}, {"orthanc_plugins": ["/opt/libServeFolders.so"]}, False),
    ],
)
def test_commitment_is_answered_where_the_files_are_read_and_the_answer_can_be_sent(
    tmp_path: Path, scanner: dict[str, object], variables: dict[str, object], answered: bool
) -> None:
    settings = configured(tmp_path, [{"ae_title": "PRISMA", **scanner}], **variables)
    assert settings["DicomModalities"]["PRISMA"]["AllowStorageCommitment"] is answered
