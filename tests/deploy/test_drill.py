"""The drill: a site is saved, its host is destroyed, and an empty one becomes the site again; every image is compared.

The hosts are fresh machines. The repository is on a third one, which is reached by sftp, and a second Orthanc is beside
them. `DRILL_IMAGES=50000` in the environment for so many images (`make drill`).
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread

from support import live, machines
from support.images import synthetic_image
from support.own_pacs import PASSWORD as SECOND_PASSWORD
from support.own_pacs import USER, OwnPacs, own_pacs
from support.waiting import wait_until

pytestmark = pytest.mark.timeout(6 * 3600)

INVENTORY = live.PROJECT / "inventories/demo"
SITE, SERVER, SECOND = "198.18.9.2", "198.18.9.3", "198.18.9.4"
#: The same as of test_update.py, so that the machine's image is made once.
PACKAGES = "docker.io docker-cli apparmor ca-certificates nftables python3-requests cron logrotate python3-venv sqlite3"
BASE_IMAGES = ("debian:trixie-slim", "debian:forky-slim")
IMAGES = int(os.environ.get("DRILL_IMAGES", "300"))
A_STUDY = 100
PASSWORD = "the-password-of-the-repository"
LOGIN = "the-password-of-orthanc"
DELIVER = "runuser -u dicom-delivery -- dicom-worklist deliver"
RUN = "/usr/local/sbin/dicom-backup /etc/dicom-worklist-backup/backup.json run"
#: What has to be the same on the new host, in addition to the images.
KEPT = (
    "sha256sum /etc/orthanc-pacs/*.password /scratch/data_dicom/wlbroker/WLBROKER/*.wl; "
    "sqlite3 /var/lib/dicom-worklist/status.history.sqlite 'SELECT orthanc_id, seen FROM study'"
)


@dataclass
class Drill:
    net: machines.Net
    host: machines.Host
    server: machines.Host
    second: OwnPacs
    folder: Path
    took: dict[str, float] = field(default_factory=dict)
    #: what the site had when it was saved: its images' checksums, and the rows of its databases
    images: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    paused: float = 0

    def play(self, playbook: str, *options: str) -> live.Played:
        began = time.monotonic()
        extra = ["-i", str(self.folder / "reached.yml"), "-e", f"@{self.folder / 'variables.yml'}"]
        played = machines.play(self.net, [self.host], INVENTORY, playbook, *extra, *options)
        self.took[playbook] = time.monotonic() - began
        return played

    def store(self, count: int) -> None:
        """Store as a scanner does."""
        today = self.host.run("date +%Y%m%d").strip()
        for first in range(0, count, A_STUDY):
            folder = self.folder / f"study-{time.monotonic_ns()}"
            folder.mkdir()
            for number in range(first, min(first + A_STUDY, count)):
                path = synthetic_image(folder / f"{number}.dcm", number, 32)
                image = dcmread(path)
                image.StudyDate = today  # else the sync doesn't ask for it
                image.save_as(path)
            line = ["storescu", "+sd", "-aet", "PRISMA", "-aec", "ORTHANC", SITE, "4042", str(folder)]
            subprocess.run(line, check=True, capture_output=True, env=os.environ | {"TCP_NODELAY": "1"})

    def emptied(self) -> None:
        """Destroy the site's host, and put an empty one in its place."""
        self.host.container.remove(force=True, v=True)
        self.host = machine(self.net)
        # another host has other numbers for the users
        self.host.run("for number in 1 2 3; do useradd --system somebody-$number; done")

    def held(self) -> dict[str, str]:
        """Return the checksum of each image by Orthanc's id, as the front door gives them out on the host itself."""
        script = f"""import base64, hashlib, json, urllib.request
login = base64.b64encode(b"admin:{LOGIN}").decode()
def get(path):
    request = urllib.request.Request("http://127.0.0.1:8042" + path, headers={{"Authorization": "Basic " + login}})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read()
names = json.loads(get("/instances"))
print(json.dumps({{name: hashlib.sha256(get(f"/instances/{{name}}/file")).hexdigest() for name in names}}))"""
        self.host.put("/root/held.py", script.encode())
        found: dict[str, str] = json.loads(self.host.run("python3 /root/held.py"))
        return found


def machine(net: machines.Net) -> machines.Host:
    """An empty machine with Docker's engine, and the images that this machine has: making them costs only time."""
    host = machines.Host(net, "demo", 13, SITE, packages=PACKAGES)
    pools = {"default-address-pools": [{"base": "10.203.0.0/16", "size": 24}]}
    host.put("/etc/docker/daemon.json", json.dumps(pools).encode())
    host.run("systemctl restart docker")
    built = [tag for image in net.engine.images.list() for tag in image.tags if tag.startswith("dicom-worklist/")]
    saved = subprocess.Popen(["docker", "save", *BASE_IMAGES, *built], stdout=subprocess.PIPE)
    load = ["docker", "exec", "--interactive", host.container.name, "docker", "load"]
    subprocess.run(load, stdin=saved.stdout, check=True, capture_output=True)
    assert saved.wait() == 0
    return host


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    folder = tmp_path_factory.mktemp("drill")
    net = machines.Net(folder / "net", "test-drill", "198.18.9.0/24")
    with ExitStack() as stack:
        stack.callback(net.remove_all)
        second = stack.enter_context(own_pacs(folder / "second"))
        net.network.connect(second.container, ipv4_address=SECOND)
        with ThreadPoolExecutor() as pool:
            first = pool.submit(machine, net)
            server = pool.submit(machines.Host, net, "backup", 13, SERVER).result()
            host = first.result()
        key = folder / "backup-key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        server.put("/home/operator/.ssh/authorized_keys", key.with_suffix(".pub").read_bytes())
        server.run("chown -R operator: /home/operator")
        way = {"ansible_connection": "ssh", "ansible_user": "operator"}
        (folder / "reached.yml").write_text(yaml.safe_dump({"all": {"hosts": {"demo": way}}}))
        variables = {
            "orthanc_admin_password": LOGIN,
            "orthanc_health_interval": 2,
            "front_door_health_interval": 2,
            "wlmscpfs_health_interval": 2,
            "delivery_destinations": [
                {
                    "name": "cellar",
                    "type": "orthanc",
                    "url": f"http://{SECOND}:8042",
                    "user": USER,
                    "password": SECOND_PASSWORD,
                    "disk": "cellar",
                }
            ],
            "backup_repository": f"sftp:operator@{SERVER}:/home/operator/pacs",
            "backup_password": PASSWORD,
            "backup_sftp_key": key.read_text(),
            "backup_sftp_known_hosts": f"{SERVER} {server.run('cat /etc/ssh/ssh_host_ed25519_key.pub')}",
        }
        (folder / "variables.yml").write_text(yaml.safe_dump(variables))
        yield Drill(net, host, server, second, folder)
        net.network.disconnect(second.container)


@pytest.fixture(autouse=True)
def named(drill: Drill, record_property: Callable[[str, object], None]) -> None:
    record_property("host", f"demo ({drill.host.distribution})")


def test_a_site_is_saved(drill: Drill) -> None:
    deployed = drill.play("site.yml")
    assert deployed.status == 0, deployed.output
    assert PASSWORD not in deployed.output
    drill.host.run(DELIVER)  # what comes from now on is delivered
    drill.store(IMAGES)
    drill.host.run("runuser -u dicom-worklist -- dicom-worklist sync || true; systemctl stop cron")
    drill.images, drill.kept = drill.held(), {*drill.host.run(KEPT).splitlines()}
    assert len(drill.images) == IMAGES
    assert len([line for line in drill.kept if "|" in line]) == -(-IMAGES // A_STUDY)
    began = time.monotonic()
    saved = json.loads(drill.host.run(RUN))
    drill.took["backup"] = time.monotonic() - began
    drill.paused = saved["paused_seconds"]
    assert saved["ok"]
    assert saved["missing"] == 0
    said = json.loads(drill.host.run("runuser -u dicom-worklist -- dicom-worklist status --json || true"))
    assert [one["run"]["ok"] for one in said["backups"]] == [True]


def test_destroyed_it_is_restored_on_an_empty_host_and_every_image_is_the_same(drill: Drill) -> None:
    drill.emptied()
    restored = drill.play("restore.yml")
    print(restored.output)
    assert restored.status == 0, restored.output
    text = " ".join(restored.output.split())
    assert f"{-(-IMAGES // A_STUDY)} studies with {IMAGES} images" in text
    assert "0 missing, 0 damaged" in text
    before, after = drill.images, drill.held()
    differences = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in drill.took.items())
    print(f"{len(before)} images, {len(differences)} differences; Orthanc stood still {drill.paused} s; {took}")
    assert not differences
    assert drill.kept <= {*drill.host.run(KEPT).splitlines()}
    files = "/scratch/data_dicom/orthanc/index /var/lib/dicom-worklist/status.history.sqlite"
    owners = drill.host.run(f"stat -c '%U %G' {files}").split()
    assert owners == ["orthanc", "orthanc", "dicom-worklist", "dicom-worklist"]


def test_the_restored_site_goes_on_and_is_saved_again(drill: Drill) -> None:
    again = drill.play("site.yml", "--skip-tags", "verify")
    assert (again.status, again.changed) == (0, 0), again.output
    drill.store(3)
    saved = json.loads(drill.host.run(RUN))
    assert saved["missing"] == 0
    assert len(drill.held()) == IMAGES + 3


def test_a_site_that_is_there_is_not_overwritten(drill: Drill) -> None:
    before = hashlib.sha256(json.dumps(drill.held(), sort_keys=True).encode()).hexdigest()
    refused = drill.play("restore.yml")
    assert refused.status != 0
    assert "backup_restore_overwrite=true" in refused.output
    assert hashlib.sha256(json.dumps(drill.held(), sort_keys=True).encode()).hexdigest() == before


def test_the_backup_takes_the_place_of_a_site_if_one_says_so(drill: Drill) -> None:
    before = drill.held()
    drill.store(2)  # not saved
    restored = drill.play("restore.yml", "-e", "backup_restore_overwrite=true")
    assert restored.status == 0, restored.output
    assert drill.held() == before
    assert drill.host.run("ls -d /scratch/data_dicom/orthanc.before-restore-*/index")


def test_an_empty_host_gets_every_image_back_from_the_second_orthanc(drill: Drill) -> None:
    before = drill.held()

    def delivered() -> None:
        drill.host.run(DELIVER)
        assert drill.second.ask("/statistics").json()["CountInstances"] >= len(before)

    wait_until(delivered, seconds=3600)
    drill.emptied()
    refused = drill.play("site.yml")
    assert "of demo, the last one of" in refused.output, refused.output  # an empty host isn't saved beside a site's
    # those backups are lost, too
    deployed = drill.play("site.yml", "-e", f"backup_repository=sftp:operator@{SERVER}:/home/operator/again")
    assert deployed.status == 0, deployed.output
    assert not drill.held()
    began = time.monotonic()
    fetched = json.loads(drill.host.run("dicom-worklist fetch cellar --json"))
    drill.took["fetch"] = time.monotonic() - began
    after = drill.held()
    differences = {name for name in before if before[name] != after.get(name)}
    print(
        f"{len(before)} images, {len(differences)} differences; site.yml {drill.took['site.yml']:.0f} s, "
        f"fetch {drill.took['fetch']:.0f} s"
    )
    assert not differences
    assert fetched["wrong"] == []
    assert fetched["came"] == len(after)


def test_the_secrets_are_for_root_only(drill: Drill) -> None:
    modes = drill.host.run("stat -c '%U %a %n' /etc/dicom-worklist-backup /etc/dicom-worklist-backup/*").splitlines()
    assert len(modes) == 5
    assert all(line.startswith(("root 600 ", "root 700 ")) for line in modes)


def test_the_teardown_leaves_what_was_saved(drill: Drill) -> None:
    removed = drill.play("teardown.yml", "-e", "site_teardown_data=true")
    assert removed.status == 0, removed.output
    left = drill.host.run(
        "ls -d /etc/dicom-worklist-backup /var/lib/dicom-worklist-backup /etc/cron.d/dicom-backup "
        "/usr/local/sbin/dicom-backup /scratch/data_dicom/backup-staging 2>/dev/null",
        check=False,
    )
    assert left == ""
    assert "config" in drill.server.run("ls /home/operator/pacs")
