"""The site of inventories/dccn on machines of the tests, as its scanners, its administrator and a stranger reach it.

PACS and worklist may be one machine, which then has both addresses.
"""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support import live, machines
from support.booking_database import BookingDatabase
from support.images import synthetic_image

INVENTORY = live.PROJECT / "inventories/dccn"
SITE = yaml.safe_load((INVENTORY / "group_vars/all/main.yml").read_text())
SCANNERS = {scanner["ae_title"]: scanner["address"] for scanner in SITE["site_scanners"]}
PACS, WORKLIST, CALENDAR = "198.51.100.2", "198.51.100.3", "198.51.100.4"
ADMINISTRATOR, STRANGER = "198.51.100.65", "198.51.100.99"
LOGIN = "the-password-of-orthanc"
#: The names that the hosts can resolve.
NAMES = {"calendar.dccn.example": CALENDAR}
SECRETS = ["-e", json.dumps({"vault_orthanc_admin_password": LOGIN, "vault_booking_db_password": live.PASSWORD,
                             "vault_operator_password_hash": "$6$salt$hash"})]  # fmt: skip


@dataclass
class Site:
    net: machines.Net
    database: BookingDatabase
    pacs: machines.Host
    worklist: machines.Host
    clients: dict[str, machines.Client] = field(default_factory=dict)

    def play(self, playbook: str, *options: str, inventory: Path = INVENTORY, cwd: Path = live.PROJECT) -> live.Played:
        hosts = list({host.name: host for host in (self.pacs, self.worklist)}.values())
        return machines.play(self.net, hosts, inventory, playbook, *SECRETS, *options, cwd=cwd)

    def sync(self) -> None:
        self.worklist.run("runuser -u dicom-worklist -- dicom-worklist sync -c /etc/dicom-worklist/config.yml")

    def seen(self, scanner: str) -> list[str]:
        """Ask from the scanner's own machine; return the PatientIDs that its console shows, of today and tomorrow."""
        status, said = self.clients[scanner].run(
            "findscu", "-v", "-W", "-aet", scanner, "-aec", "WLBROKER", "-k", "PatientID",
            "-k", f"ScheduledProcedureStepSequence[0].ScheduledStationAETitle={scanner}", WORKLIST, "1234",
        )  # fmt: skip
        assert status == 0, said
        assert "Final Find Response (Success)" in said, said
        return sorted({line.split("[")[1].split("]")[0] for line in said.splitlines() if "(0010,0020) LO [" in line})

    def trust(self) -> None:
        """Let the administrator's browser trust the certificate that was generated on the PACS."""
        certificate = self.pacs.run("cat /etc/orthanc-pacs/tls/generated.crt")
        self.clients["administrator"].put("/tmp/pacs.crt", certificate.encode())

    def ask(self, path: str, *options: str) -> str:
        """Return what the PACS answers to an administrator's browser."""
        line = ["curl", "-sS", "--fail", "--max-time", "10", "--cacert", "/tmp/pacs.crt", "-u", f"admin:{LOGIN}"]
        status, said = self.clients["administrator"].run(*line, *options, f"https://{PACS}:8042{path}")
        assert status == 0, said
        return said

    def stored(self) -> int:
        """Return how many images the PACS has."""
        return int(json.loads(self.ask("/statistics"))["CountInstances"])

    def stores_as(self, scanner: str, title: str, folder: Path) -> bool:
        """Return whether a scanner's console stores under this AE title."""
        self.clients[scanner].put("/tmp/image.dcm", synthetic_image(folder / "image.dcm").read_bytes())
        line = ("storescu", "-aet", title, "-aec", "ORTHANC", PACS, "4042", "/tmp/image.dcm")
        return self.clients[scanner].run(*line)[0] == 0

    def store(self, scanner: str, folder: Path, count: int = 3) -> None:
        for number in range(count):
            image = synthetic_image(folder / f"{number}.dcm", number)
            self.clients[scanner].put("/tmp/image.dcm", image.read_bytes())
            status, said = self.clients[scanner].run(
                "storescu", "-aet", scanner, "-aec", "ORTHANC", PACS, "4042", "/tmp/image.dcm"
            )
            assert status == 0, said

    def open_doors(self) -> set[tuple[str, int]]:
        """Return who can connect to which port, of those that matter."""
        doors = [(who, *door) for who in self.clients for door in ((WORKLIST, 1234), (PACS, 4042), (PACS, 8042))]
        with ThreadPoolExecutor(len(doors)) as pool:
            tried = pool.map(lambda door: self.clients[door[0]].connects(*door[1:]), doors)
        return {(who, port) for (who, _, port), connected in zip(doors, tried, strict=True) if connected}

    def started(self) -> dict[str, str]:
        """Return when each container was started."""
        return {
            name: host.run(f"docker inspect -f '{{{{.State.StartedAt}}}}' {name}").strip()
            for host, name in ((self.pacs, "orthanc"), (self.worklist, "wlmscpfs"))
        }


ALLOWED = {(scanner, port) for scanner in SCANNERS for port in (1234, 4042)} | {("administrator", 8042)}


def calendar(net: machines.Net) -> BookingDatabase:
    """A MariaDB on its own machine that lets the sync's user in by TLS only, with a booking for noon of each day."""
    folder = net.folder / "tls"
    folder.mkdir()
    certificate = folder / "calendar.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=calendar.dccn.example",
         "-addext", "subjectAltName=DNS:calendar.dccn.example", "-keyout", certificate, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    folder.chmod(0o755)  # the database's own user reads it
    certificate.chmod(0o644)
    database = BookingDatabase(
        "test-calendar", 13308, "--ssl-cert=/tls/calendar.pem", "--ssl-key=/tls/calendar.pem", files=folder
    )
    net.network.connect(database.container, ipv4_address=CALENDAR)
    database.clear()
    database.do("ALTER USER dicomdf REQUIRE SSL")
    database.book_daily(1, "7-1")
    return database


def clients(net: machines.Net) -> dict[str, machines.Client]:
    """The scanners' consoles, the administrator's machine, and one that has no business here."""
    addresses = {**SCANNERS, "administrator": ADMINISTRATOR, "stranger": STRANGER}
    return {name: machines.Client(net, address) for name, address in addresses.items()}


def furnish(host: machines.Host) -> None:
    """Give a fresh machine what its site has before any deployment: the calendar's certificate, and subnets."""
    # packets between containers pass this machine's own rules: a site's firewall here closes its subnets
    pools = {"default-address-pools": [{"base": "10.201.0.0/16", "size": 24}]}
    host.put("/etc/docker/daemon.json", json.dumps(pools).encode())
    certificate = (host.net.folder / "tls/calendar.pem").read_bytes()
    host.put("/usr/local/share/ca-certificates/calendar.crt", certificate)
    host.run("update-ca-certificates")
