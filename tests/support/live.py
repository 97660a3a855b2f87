"""What the integration and deploy tests are made of: a deployed site, its booking database, its scanners."""

import ipaddress
import itertools
import json
import os
import pwd
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import docker
import pymysql
import requests
import yaml
from docker.models.containers import Container
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from dicom_worklist.worklist.broker import keep_answers

PROJECT = Path(__file__).parents[2]
INVENTORY = PROJECT / "tests/inventory"
BIN = Path(sys.executable).parent
ROOT = Path("/var/tmp/dicom-worklist-test")
VARIABLES = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text().replace("{{ test_root }}", str(ROOT)))
assert VARIABLES["test_root"] == str(ROOT)
PASSWORD = VARIABLES["worklist_sync_source_password"]
ZONE = ZoneInfo(VARIABLES["site_timezone"])
#: Leaves out what the first run has proven already.
UNVERIFIED = ("--skip-tags", "verify")
ROLES = ("orthanc", "wlmscpfs", "worklist_sync")
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


@dataclass(frozen=True)
class Played:
    """How a run of a playbook ended."""

    status: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks reported `changed`, over all hosts."""
        return sum(map(int, re.findall(r"\bchanged=(\d+)", self.output)))

    def changes_on(self, host: str) -> int:
        """How many tasks reported `changed` on a host."""
        return sum(changed == host for _, changed in self.changes)

    @property
    def changes(self) -> set[tuple[str, str]]:
        """The task and the host of each change."""
        task, found = "", set()
        for line in self.output.splitlines():
            if named := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \*", line):
                task = named[1]
            elif host := re.match(r"changed: \[([^\] ]+)", line):
                found.add((task, host[1]))
        return found


def play(playbook: str, *options: str, **variables: str) -> Played:
    """Run one of the project's playbooks on the test site, from the project's root as an operator does.

    `variables` are the environment's.
    """
    line: list[str | Path] = [BIN / "ansible-playbook", "-i", INVENTORY, PROJECT / "playbooks" / playbook, *options]
    environment = os.environ | {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"} | variables
    done = subprocess.run(
        line, cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Played(done.returncode, done.stdout)


@dataclass(frozen=True)
class Deployment:
    """site.yml in check mode on a host without the site, for real, and once more."""

    preview: Played
    made_by_preview: list[str]
    first: Played
    second: Played


def traces() -> list[str]:
    """Return what of the site is on this machine."""
    names = tuple(VARIABLES[f"{role}_container_name"] for role in ("orthanc", "wlmscpfs"))  # their proxies' begin so
    containers = [c.name for c in docker.from_env().containers.list(all=True) if c.name.startswith(names)]
    users = [u.pw_name for u in pwd.getpwall() if u.pw_name in {VARIABLES[f"{role}_user"] for role in ROLES}]
    cron = Path("/etc/cron.d") / VARIABLES["worklist_sync_cron_name"]
    files = [str(path) for path in (*ROOT.rglob("*"), cron) if path.exists()]
    return containers + users + files


class BookingDatabase:
    """A real MariaDB in a container, with the tables of the DCCN calendar."""

    def __init__(
        self,
        name: str = "test-mariadb",
        port: int = VARIABLES["worklist_sync_source"]["port"],
        *options: str,
        files: Path | None = None,
    ) -> None:
        """Start it; `options` are mariadbd's, `files` is a folder that it finds at /tls."""
        self.engine, self.port = docker.from_env(), port
        image, _ = self.engine.images.build(path=str(PROJECT / "tests/images/mariadb"), tag="test-mariadb", rm=True)
        for old in self.engine.containers.list(all=True, filters={"name": f"^{name}$"}):
            old.remove(force=True, v=True)
        self.container: Container = self.engine.containers.run(
            image,
            ["sh", "/start", *options],
            name=name,
            detach=True,
            ports={"3306/tcp": ("127.0.0.1", port)},
            volumes={str(files): {"bind": "/tls", "mode": "ro"}} if files else {},
        )
        self._wait()

    def connection(self) -> "pymysql.connections.Connection[Any]":
        """Connect as the calendar's own program would."""
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="tests", password=PASSWORD, database="fcdc", charset="utf8mb4",
            autocommit=True,
        )  # fmt: skip

    def do(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement as the calendar's own program would; return the rows that it gives."""
        with self.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def clear(self) -> None:
        for table in ("calendar_items_new", "projects", "calendars", "users"):
            self.do(f"DELETE FROM {table}")
        for at, lab in enumerate(("Siemens PRISMA 3T", "Prismafit", "SKYRA", "MEG lab"), start=1):
            self.do("INSERT INTO calendars VALUES (%s, %s)", at, lab)

    def book(
        self, booking_id: int, subj_ses: str, start: str, *, lab: int = 1, project: str = "3010000.01",
        user: str = "adalov", status: str = "CONFIRMED",
    ) -> None:  # fmt: skip
        """Book a session; `start` is `YYYY-MM-DD HH:MM:SS`, `lab` the place in the list of `clear`."""
        day, clock = start.split()
        values = (booking_id, project, lab, user, subj_ses, day, clock, status)
        self.do("INSERT INTO calendar_items_new VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", *values)

    def book_daily(self, booking_id: int, subj_ses: str) -> None:
        """Book the same for noon of yesterday, today and the next two days, for a cron job by the machine's own clock.

        The console has one of them, whichever day it is at the site, and should that change meanwhile.
        """
        for number in range(4):
            day = datetime.now(UTC).date() + timedelta(days=number - 1)
            self.book(booking_id + number, subj_ses, f"{day} 12:00:00")

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self.container.stop()
        try:
            yield
        finally:
            self.container.start()
            self._wait()

    def _wait(self) -> None:
        wait_until(lambda: self.do("SELECT 1"))

    def remove(self) -> None:
        self.container.remove(force=True, v=True)


def clock(text: str) -> datetime:
    """Read the option `--clock`: ISO 8601, at the site unless it has an offset; the first of two, where it is twice."""
    moment = datetime.fromisoformat(text)
    # by way of UTC: a time that is skipped is the one that the clock on the wall then shows
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZONE)).astimezone(UTC).astimezone(ZONE)


class Site:
    """The deployed test site, as its operator, its scanners and its browsers reach it."""

    #: The site's clock in this run of the tests, from the option `--clock`; nothing but that decides what is right.
    now: datetime
    wlmscpfs_port: int = VARIABLES["wlmscpfs_port"]
    orthanc_port: int = VARIABLES["orthanc_dicom_port"]
    orthanc_url = f"http://127.0.0.1:{VARIABLES['orthanc_http_port']}"
    command = VARIABLES["worklist_sync_command"]
    config = Path(VARIABLES["worklist_sync_config_dir"]) / "config.yml"
    user = VARIABLES["worklist_sync_user"]

    def run(self, command: str, *arguments: str, now: datetime | None = None) -> subprocess.CompletedProcess[str]:
        """Run `dicom-worklist` as the cron job's user, at this time by the clock (default: `Site.now`)."""
        at = [] if command == "list" else ["--now", (now or self.now).isoformat()]
        line = ["runuser", "-u", self.user, "--", self.command, command, *at, *arguments]
        return subprocess.run(line, text=True, capture_output=True, check=False, timeout=120)

    def sync(self, day: str) -> dict[str, Any]:
        done = self.run("sync", "-c", str(self.config), "--day", day, "--json")
        assert done.returncode in {0, 3}, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    @property
    def login(self) -> tuple[str, str]:
        return "admin", (Path(VARIABLES["orthanc_config_dir"]) / "admin.password").read_text().strip()

    def orthanc(self, path: str, **options: Any) -> requests.Response:
        return requests.request(
            options.pop("method", "GET"), self.orthanc_url + path, auth=self.login, timeout=30, **options
        )


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
    line = ["storescu", "-aet", ae_title, "-aec", "ORTHANC", "127.0.0.1", str(Site.orthanc_port), str(image)]
    return subprocess.run(line, check=False, capture_output=True, timeout=60).returncode


def pynetdicom_find(port: int, called: str = "WLBROKER", **keys: str) -> Found:
    """Ask with pynetdicom."""
    ae = AE(ae_title="PRISMA")
    ae.add_requested_context(ModalityWorklistInformationFind)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    keep_answers(association)
    try:
        answers = list(association.send_c_find(query(**keys), ModalityWorklistInformationFind))
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


def address(container: Container) -> str:
    """Return a container's own address: where a scanner's packets go, without Docker's proxy for loopback."""
    container.reload()
    (network,) = container.attrs["NetworkSettings"]["Networks"].values()
    return str(network["IPAddress"])


def ipv4(network: str) -> dict[str, str]:
    """Return Subnet and Gateway of a Docker network; it may also have those of IPv6, in any order."""
    networks: list[dict[str, str]] = docker.from_env().networks.get(network).attrs["IPAM"]["Config"]
    return next(one for one in networks if ":" not in one["Subnet"])


def wait_for_http(address: str) -> None:
    """Wait until something answers there."""
    wait_until(lambda: requests.get(address, timeout=5))  # a ConnectionError of requests is an OSError


def synthetic_image(path: Path, number: int = 1, size: int = 64, frames: int = 1) -> Path:
    """Write a square MR image of nobody, or an enhanced one of several frames: noise, another for each number."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    kind = MRImageStorage if frames == 1 else EnhancedMRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[str(path.parent)])
    dataset.PatientID, dataset.PatientName, dataset.Modality = "phantom", "phantom", "MR"
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = random.Random(number).randbytes(size * size * 2 * frames)
    dataset.save_as(path, enforce_file_format=True)
    return path


def hosts_of(subnet: str) -> list[ipaddress.IPv4Address]:
    """Return the first addresses that a container may get in a Docker network."""
    return list(itertools.islice(ipaddress.IPv4Network(subnet).hosts(), 30))


def neighbour_is_answered(network: str) -> bool:
    """Ask the broker from another container in its network."""
    engine = docker.from_env()
    broker = engine.containers.get(VARIABLES["wlmscpfs_container_name"])
    address = broker.attrs["NetworkSettings"]["Networks"][network]["IPAddress"]
    container = engine.containers.run(
        broker.image, ["echoscu", "-to", "5", "-aec", "WLBROKER", address, "1234"], detach=True, network=network,
        entrypoint="",
    )  # fmt: skip
    try:
        return bool(container.wait(timeout=60)["StatusCode"] == 0)
    finally:
        container.remove(force=True)


def wait_until(works: Callable[[], object], seconds: float = 60) -> None:
    """Try until nothing is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            works()
        except (AssertionError, OSError, pymysql.MySQLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
