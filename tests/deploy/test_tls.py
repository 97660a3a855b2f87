"""The site with all of its TLS on and client certificates demanded; it is deployed and taken away here."""

import json
import os
import ssl
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import docker
import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from support import clients, live
from support.images import synthetic_image

V = live.VARIABLES
DICOM, WEB, WORKLIST = V["orthanc_dicom_port"], V["orthanc_http_port"], V["wlmscpfs_tls_port"]
CALLED = {DICOM: "ORTHANC", WORKLIST: "WLBROKER"}
DOOR, PROXY = f"{V['orthanc_container_name']}-front-door", f"{V['wlmscpfs_container_name']}-tls"
AUDIT = (V["front_door_audit_dir"], True)
#: What leads to the site's roles and to their verification.
TAGS = ("--tags", "orthanc,front_door,wlmscpfs")


@dataclass(frozen=True)
class Identity:
    """A self-signed certificate and its key, as PEM and in files."""

    certificate: str
    key: str
    folder: Path

    @classmethod
    def make(cls, folder: Path, days: int = 30) -> "Identity":
        key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, folder.name)])
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        made = cls(built.public_bytes(pem).decode(), key.private_bytes(pem, form, secret).decode(), folder)
        folder.mkdir(mode=0o755)
        (folder / "crt").write_text(made.certificate)
        (folder / "key").write_text(made.key)
        return made

    @property
    def shown(self) -> tuple[str, ...]:
        """DCMTK's options to show it."""
        return "+tls", str(self.folder / "key"), str(self.folder / "crt")


@dataclass(frozen=True)
class SecureSite:
    first: live.Played
    second: live.Played
    scanner: Identity
    stranger: Identity
    server: Identity
    options: Sequence[str]

    def trusting(self, port: int) -> tuple[str, str]:
        """DCMTK's options to trust what is shown there, and nobody else."""
        folders = {DICOM: "orthanc_config_dir", WEB: "orthanc_config_dir", WORKLIST: "wlmscpfs_config_dir"}
        name = "given" if port == WORKLIST else "generated"
        return "+cf", str(Path(V[folders[port]]) / "tls" / f"{name}.crt")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureSite]:
    """Orthanc with a generated certificate, the worklist with a given one."""
    folder = tmp_path_factory.mktemp("identities")
    scanner, stranger, server = (Identity.make(folder / name) for name in ("scanner", "stranger", "server"))
    variables = folder / "variables.json"
    variables.touch(mode=0o600)
    variables.write_text(
        json.dumps(
            {
                "orthanc_https": True,
                "orthanc_dicom_tls": True,
                "orthanc_dicom_tls_client_ca": scanner.certificate,
                "wlmscpfs_tls": True,
                "wlmscpfs_tls_client_ca": scanner.certificate,
                "wlmscpfs_tls_certificate": server.certificate,
                "wlmscpfs_tls_key": server.key,
                "wlmscpfs_allowed_addresses": ["192.0.2.1"],
            }
        )
    )
    if live.traces():
        live.play("teardown.yml", "-e", "site_teardown_data=true")
    options = [*TAGS, "-e", f"@{variables}"]
    first = live.play("site.yml", *options)
    second = live.play("site.yml", *options, *live.UNVERIFIED)
    yield SecureSite(first, second, scanner, stranger, server, options)
    if live.traces():
        live.play("teardown.yml", "-e", "site_teardown_data=true")


def client(name: str, port: int, options: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a client of DCMTK's as a scanner."""
    line = [name, "-ta", "10", "-to", "10", *options, "-aet", "PRISMA", "-aec", CALLED[port]]
    line += ["127.0.0.1", str(port), *arguments]
    environment = os.environ | {"TCP_NODELAY": "1"}
    return subprocess.run(line, env=environment, text=True, capture_output=True, timeout=60, check=False)


def test_it_is_deployed_and_proves_itself(site: SecureSite) -> None:
    assert site.first.status == 0, site.first.output
    assert site.first.output.count("(item=C-ECHO without a certificate)") == len(CALLED)
    assert (site.second.status, site.second.changed) == (0, 0), site.second.output


@pytest.mark.parametrize("port", [DICOM, WORKLIST])
def test_who_shows_no_listed_certificate_is_refused(site: SecureSite, port: int) -> None:
    trusting = site.trusting(port)
    assert client("echoscu", port, [*site.scanner.shown, *trusting]).returncode == 0
    for shown in (site.stranger.shown, ("+tla",)):
        assert client("echoscu", port, [*shown, *trusting]).returncode != 0, shown
    assert client("echoscu", port, []).returncode != 0


@pytest.mark.parametrize("port", [DICOM, WORKLIST])
def test_a_scanner_can_tell_the_server_from_another(site: SecureSite, port: int) -> None:
    wrong = ["+cf", str(site.stranger.folder / "crt")]
    done = client("echoscu", port, [*site.scanner.shown, *wrong])
    assert done.returncode != 0
    assert "certificate verify failed" in done.stderr


@pytest.mark.parametrize("port", [DICOM, WEB, WORKLIST])
def test_nothing_older_than_tls_1_2_is_spoken(site: SecureSite, port: int) -> None:
    def speaks(version: str) -> bool:
        line = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-cipher", "ALL:@SECLEVEL=0"]
        line += ["-cert", str(site.scanner.folder / "crt"), "-key", str(site.scanner.folder / "key")]
        return subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0

    assert speaks("-tls1_2")
    assert not speaks("-tls1_1")


def test_a_scanner_finds_its_entry_over_tls(site: SecureSite, tmp_path: Path) -> None:
    entry = clients.query(
        PatientName="sub-007", PatientID="sub-007", StudyInstanceUID=generate_uid(), RequestedProcedureID="1",
        RequestedProcedureDescription="Language", ScheduledStationAETitle="PRISMA", Modality="MR",
        ScheduledProcedureStepStartDate="20260601", ScheduledProcedureStepStartTime="090000",
        ScheduledProcedureStepID="1", ScheduledProcedureStepDescription="MR session 01",
    )  # fmt: skip
    entry.file_meta = FileMetaDataset()
    entry.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    entry.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.31")  # a worklist query
    entry.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    entry.save_as(Path(V["wlmscpfs_data_dir"]) / "WLBROKER/tls.wl", enforce_file_format=True)
    keys = ["-W", "-X", "-od", str(tmp_path), "-k", "PatientName", "-k", "PatientID"]
    keys += ["-k", "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=PRISMA"]
    done = client("findscu", WORKLIST, [*site.scanner.shown, *site.trusting(WORKLIST), *keys])
    assert done.returncode == 0, done.stderr
    (answer,) = map(dcmread, tmp_path.glob("rsp*.dcm"))
    assert (answer.PatientName, answer.PatientID) == ("sub-007", "sub-007")


def password() -> str:
    return (Path(V["orthanc_config_dir"]) / "admin.password").read_text().strip()


def orthanc(site: SecureSite, path: str) -> requests.Response:
    verify = site.trusting(WEB)[1]
    return requests.get(f"https://127.0.0.1:{WEB}{path}", auth=("admin", password()), verify=verify, timeout=10)


def test_an_image_goes_in_over_dicom_tls_and_out_over_https(site: SecureSite, tmp_path: Path) -> None:
    image = synthetic_image(tmp_path / "image.dcm")
    options = [*site.scanner.shown, *site.trusting(DICOM)]
    assert client("storescu", DICOM, options, str(image)).returncode == 0
    (instance,) = orthanc(site, "/instances").json()
    assert dcmread(BytesIO(orthanc(site, f"/instances/{instance}/file").content)) == dcmread(image)


def test_the_web_front_end_speaks_https_only(site: SecureSite) -> None:
    assert requests.get(f"https://127.0.0.1:{WEB}/", verify=site.trusting(WEB)[1], timeout=10).status_code == 401
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://127.0.0.1:{WEB}/", verify=str(site.stranger.folder / "crt"), timeout=10)
    bookmark = requests.get(f"http://127.0.0.1:{WEB}/system", timeout=10, allow_redirects=False)
    assert (bookmark.status_code, bookmark.headers["Location"]) == (301, f"https://127.0.0.1:{WEB}/system")


def test_a_given_certificate_is_shown(site: SecureSite) -> None:
    shown = ssl.get_server_certificate(("127.0.0.1", WORKLIST))
    assert ssl.PEM_cert_to_DER_cert(shown) == ssl.PEM_cert_to_DER_cert(site.server.certificate.strip())


def test_the_access_list_holds_at_the_proxy(site: SecureSite) -> None:
    """Another container is in the broker's network, but not on the list."""
    engine = docker.from_env()
    proxy = engine.containers.get(PROXY)
    address = proxy.attrs["NetworkSettings"]["Networks"][V["wlmscpfs_network"]]["IPAddress"]
    line = ["echoscu", "+tls", "/i/key", "/i/crt", "-ic", "-to", "5", "-aec", "WLBROKER", address, "2762"]
    container = engine.containers.run(
        proxy.image, line, detach=True, network=V["wlmscpfs_network"], entrypoint="",
        volumes={str(site.scanner.folder): {"bind": "/i", "mode": "ro"}},
    )  # fmt: skip
    try:
        assert container.wait(timeout=60)["StatusCode"] != 0
        assert "REFUSED by libwrap" in proxy.logs(tail=20).decode()
    finally:
        container.remove(force=True)


@pytest.mark.parametrize("name", [DOOR, PROXY])
def test_what_speaks_tls_has_no_more_rights_than_it_needs(site: SecureSite, name: str) -> None:
    container = docker.from_env().containers.get(name)
    host = container.attrs["HostConfig"]
    assert container.attrs["Config"]["User"].split(":")[0] not in {"", "0", "root"}
    assert (host["CapDrop"], host["CapAdd"] or [], host["Privileged"]) == (["ALL"], [], False)
    assert host["ReadonlyRootfs"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    written = {(mount["Source"], mount["RW"]) for mount in container.attrs["Mounts"] if mount["RW"]}
    assert written == ({AUDIT} if name == DOOR else set())
    assert container.attrs["State"]["Health"]["Status"] == "healthy"


def test_a_key_is_a_file_for_its_readers_only(site: SecureSite) -> None:
    middle = site.server.key.splitlines()[5]
    shown = [site.first.output, site.second.output]
    shown += [json.dumps(container.attrs) for container in docker.from_env().containers.list()]
    assert not [text for text in shown if middle in text]
    for folder in (Path(V[f"{role}_config_dir"]) / "tls" for role in ("orthanc", "wlmscpfs")):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o750
        keys = list(folder.glob("*.pem"))
        assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o640}, keys
        assert {key.owner() for key in keys} == {"root"}


def test_a_wrong_certificate_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    good, other = Identity.make(tmp_path / "good"), Identity.make(tmp_path / "other")
    old = Identity.make(tmp_path / "old", days=-1)
    given = {"wlmscpfs_tls_certificate": good.certificate, "wlmscpfs_tls_key": good.key}
    broken = {"wlmscpfs_tls_key": good.key.replace("\nM", "\nX", 1)}
    wrong = {
        "Of wlmscpfs_tls_certificate and wlmscpfs_tls_key only one": given | {"wlmscpfs_tls_key": ""},
        "wlmscpfs_tls_key is not the private key of": given | {"wlmscpfs_tls_key": other.key},
        "wlmscpfs_tls_certificate has to be PEM": given | {"wlmscpfs_tls_certificate": "/etc/ssl/a.crt"},
        "wlmscpfs_tls_certificate and wlmscpfs_tls_key can't be read": given | broken,
        "wlmscpfs_tls_certificate is no longer valid since": {
            "wlmscpfs_tls_certificate": old.certificate,
            "wlmscpfs_tls_key": old.key,
        },
        "but wlmscpfs_tls_client_ca is empty": {"wlmscpfs_tls_client_ca": ""},
        "wlmscpfs_tls_client_ca has to be PEM": {"wlmscpfs_tls_client_ca": "scanner.crt"},
        "No longer valid: ": {"wlmscpfs_tls_client_ca": old.certificate},
    }
    role = {"name": "wlmscpfs", "tasks_from": "preflight.yml"}
    always: dict[str, object] = {"wlmscpfs_tls": True, "wlmscpfs_tls_client_ca": good.certificate}
    tasks = [
        {
            "block": [{"ansible.builtin.include_role": role, "vars": {**always, **variables}}],
            "rescue": [{"ansible.builtin.debug": {"msg": "REFUSED {{ ansible_failed_result.msg }}"}}],
        }
        for variables in (given, *wrong.values())
    ]
    playbook = tmp_path / "preflight.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "worklist", "gather_facts": False, "tasks": tasks}]))
    line: list[str | Path] = [live.BIN / "ansible-playbook", "-i", live.INVENTORY, playbook]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(line, cwd=live.PROJECT, env=environment, text=True, capture_output=True, check=False)
    refusals = [text for text in done.stdout.splitlines() if '"msg": "REFUSED ' in text]
    assert len(refusals) == len(wrong), done.stdout
    for message, refusal in zip(wrong, refusals, strict=True):
        assert message in refusal
    assert good.key.splitlines()[5] not in done.stdout + done.stderr


def test_without_tls_the_proxy_goes_and_its_port_is_free(site: SecureSite) -> None:
    """And with it they are back; the last test but one."""
    engine = docker.from_env()
    removed = "wlmscpfs : Remove the proxy of a site that no longer wants TLS"
    predicted = live.play("site.yml", *TAGS, "--check", *live.UNVERIFIED)
    assert predicted.status == 0, predicted.output
    assert {container.name for container in engine.containers.list()} >= {DOOR, PROXY}
    played = live.play("site.yml", *TAGS)
    assert played.status == 0, played.output
    assert PROXY not in {container.name for container in engine.containers.list(all=True)}
    for done in (predicted, played):
        assert removed in {task for task, _ in done.changes}
    assert requests.get(f"http://127.0.0.1:{WEB}/system", auth=("admin", password()), timeout=10).status_code == 200
    again = live.play("site.yml", *TAGS, *live.UNVERIFIED)
    assert (again.status, again.changed) == (0, 0), again.output
    assert live.play("site.yml", *site.options, *live.UNVERIFIED).status == 0
    assert {container.name for container in engine.containers.list()} >= {DOOR, PROXY}


def test_teardown_takes_the_proxies_and_the_keys_away(site: SecureSite) -> None:
    """The last test."""
    played = live.play("teardown.yml", "-e", "site_teardown_data=true")
    assert played.status == 0, played.output
    engine = docker.from_env()
    assert not [container for container in engine.containers.list(all=True) if container.name in {DOOR, PROXY}]
    assert not [n for n in engine.networks.list() if n.name in (V["orthanc_network"], V["wlmscpfs_network"])]
    assert live.traces() == []
