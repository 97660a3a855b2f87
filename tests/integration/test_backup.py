"""The backup, with a real Orthanc and a real restic, without a deployed site: nothing acknowledged is lost, and what is
restored is the same. It needs only Docker, and root."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from docker.models.containers import Container
from moto import settings
from moto.server import ThreadedMotoServer

from dicom_worklist.status import backups
from support import live, own_pacs, scanner
from support.images import synthetic_image
from support.waiting import wait_for_http, wait_until

SCRIPT = live.PROJECT / "roles/backup/files/backup.py"
LOGIN = (own_pacs.USER, own_pacs.PASSWORD)


@dataclass
class Site:
    """An Orthanc, an SQLite file such as the sync's, and a backup of both."""

    root: Path
    pacs: own_pacs.OwnPacs
    keep: int = 0

    @property
    def data(self) -> Path:
        return self.pacs.data

    @property
    def container(self) -> Container:
        return self.pacs.container

    @property
    def url(self) -> str:
        return self.pacs.login.url

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    def configuration(self, **changes: Any) -> Path:
        password = self.root / "repository.password"
        if not password.exists():
            password.write_text("the-password-of-the-repository\n")
        config = {
            "repository": str(self.repository), "password_file": str(password), "environment": {}, "host": "pacs",
            "container": self.container.name, "index": str(self.data), "databases": [str(self.root / "lib")],
            "paths": [str(self.data), str(self.root / "lib")], "staging": str(self.root / "staging"),
            "state": str(self.root / "state"), "metrics": str(self.root / "metrics"),
            "keep": {"daily": self.keep, "weekly": 0, "monthly": 0},
        }  # fmt: skip
        file = self.root / "backup.json"
        file.write_text(json.dumps(config | changes))
        return file

    def start(self, what: str, *options: str, **changes: Any) -> subprocess.Popen[str]:
        line: list[str | Path] = [sys.executable, SCRIPT, self.configuration(**changes), what, *options]
        return subprocess.Popen(line, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def backup(self, what: str, *options: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        with self.start(what, *options, **changes) as running:
            said, wrong = running.communicate(timeout=300)
        return subprocess.CompletedProcess([what], running.returncode, said, wrong)

    def good(self, what: str, *options: str, **changes: Any) -> dict[str, Any]:
        done = self.backup(what, *options, **changes)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return answer

    def restic(self, *line: str) -> str:
        environment = os.environ | {
            "RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD_FILE": str(self.root / "repository.password"),
        }  # fmt: skip
        done = subprocess.run(
            ["restic", "--no-cache", *line], env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def known(self) -> dict[str, Any]:
        known: dict[str, Any] = json.loads((self.root / "state/backup.json").read_text())
        return known

    @property
    def status(self) -> str:
        self.container.reload()
        return str(self.container.status)

    def held(self) -> dict[str, str]:
        """Return the checksum of each image that Orthanc holds, by its id, as Orthanc gives them out."""
        with requests.Session() as session:
            session.auth = LOGIN
            names = session.get(f"{self.url}/instances", timeout=60).json()
            files = {name: session.get(f"{self.url}/instances/{name}/file", timeout=60) for name in names}
            assert all(answer.ok for answer in files.values())
            return {name: hashlib.sha256(answer.content).hexdigest() for name, answer in files.items()}

    def put(self, count: int, folder: str, size: int = 64) -> dict[str, str]:
        """Store; return the checksum of each image by Orthanc's id."""
        target = self.root / "sent" / folder
        target.mkdir(parents=True)
        stored = {}
        for number in range(count):
            content = synthetic_image(target / f"{number}.dcm", number, size).read_bytes()
            answer = requests.post(f"{self.url}/instances", data=content, auth=LOGIN, timeout=60)
            answer.raise_for_status()
            stored[answer.json()["ID"]] = hashlib.sha256(content).hexdigest()
        return stored


@contextmanager
def site_in(root: Path) -> Iterator[Site]:
    for folder in ("lib", "metrics", "state"):
        (root / folder).mkdir(parents=True)
    with closing(sqlite3.connect(root / "lib/history.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE seen (text)")
    with own_pacs.own_pacs(root) as pacs:
        yield Site(root, pacs)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as site:
        site.good("init")
        yield site


@dataclass(frozen=True)
class Bucket:
    """A bucket of a server that speaks S3 on loopback, and compares each signature."""

    folder: Path
    url: str
    key: str
    secret: str

    def changes(self, secret: str = "", key: str = "") -> dict[str, Any]:
        """Return what a site is configured with, with its secrets in a file, as the role writes it."""
        file = self.folder / "s3"
        file.write_text(
            f"[default]\naws_access_key_id = {key or self.key}\naws_secret_access_key = {secret or self.secret}\n"
        )
        return {"repository": f"s3:{self.url}/pacs/demo", "environment": {"AWS_SHARED_CREDENTIALS_FILE": str(file)}}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        url = "http://{}:{}".format(*server.get_host_and_port())
        requests.post(f"{url}/moto-api/reset", timeout=30).raise_for_status()  # of another test, in the same process
        anyone = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        iam = boto3.client("iam", endpoint_url=url, **anyone)
        iam.create_user(UserName="backup")
        everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
        iam.put_user_policy(UserName="backup", PolicyName="all", PolicyDocument=json.dumps(everything))
        made = iam.create_access_key(UserName="backup")["AccessKey"]
        boto3.client("s3", endpoint_url=url, **anyone).create_bucket(Bucket="pacs")
        monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)  # from here on it asks who it is
        yield Bucket(tmp_path, url, made["AccessKeyId"], made["SecretAccessKey"])
    finally:
        server.stop()


def start_again(site: Site) -> None:
    site.container.start()
    wait_for_http(f"{site.url}/system")


def lose(site: Site) -> None:
    """Take the disk away, with all that is on it."""
    site.container.stop(timeout=60)
    for folder in ("data", "lib", "state", "staging"):
        shutil.rmtree(site.root / folder, ignore_errors=True)


def test_what_is_restored_is_what_was_stored(site: Site) -> None:
    stored = site.put(20, "first")
    with closing(sqlite3.connect(site.root / "lib/history.sqlite")) as database:
        database.execute("INSERT INTO seen VALUES ('a study')")
        database.commit()  # what is in its log only is saved, too
        os.chown(site.root / "lib/history.sqlite", 12, 34)
        said = site.good("run")
    assert said["ok"]
    assert said["missing"] == 0
    assert said["paused_seconds"] > 0
    assert site.status == "running"
    lose(site)
    found = site.good("restore")
    assert (found["instances"], found["studies"], found["missing"], found["damaged"]) == (20, 1, 0, 0)
    assert found["not_whole"] == {}
    start_again(site)
    assert site.held() == stored
    assert (site.root / "lib/history.sqlite").stat().st_uid == 12
    with closing(sqlite3.connect(site.root / "lib/history.sqlite")) as database:
        assert database.execute("SELECT text FROM seen").fetchall() == [("a study",)]
    site.put(1, "second")  # and it goes on


def test_stores_go_on_while_it_runs_and_none_is_lost(site: Site) -> None:
    images = scanner.make(site.root / "console", 300)
    acknowledged = set[str]()
    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(
            scanner.store, site.pacs.dicom_port, images, lambda image: acknowledged.add(scanner.uid(image))
        )
        snapshots = []
        while not storing.done():
            snapshots.append(site.good("run")["snapshot"])
        assert len(snapshots) > 1
        assert {*storing.result().values()} == {0}
    assert len(acknowledged) == 300
    before = site.held()
    assert len(before) == 300
    site.good("run")
    lose(site)
    for snapshot in snapshots[:-1]:  # each saved while images came: its index names no file that it hasn't
        found = site.good("restore", "--snapshot", snapshot, "--overwrite")
        assert (found["missing"], found["damaged"]) == (0, 0)
        assert found["instances"] <= 300
    assert site.good("restore", "--overwrite")["instances"] == 300
    start_again(site)
    assert site.held() == before


@pytest.mark.parametrize("whom", ["the program", "the program and its guard"])
def test_a_kill_at_any_moment_leaves_orthanc_running_and_the_repository_sound(
    site: Site, whom: str, request: pytest.FixtureRequest
) -> None:
    site.put(30, "first", 128)
    began = time.monotonic()
    site.good("run")
    length = time.monotonic() - began
    chance = random.Random(16)
    rounds, stood_still = 300 if request.config.getoption("--long") else 6, 0
    for number in range(10 * rounds):
        if number >= rounds and stood_still:
            break
        site.put(2, f"more-{number}", 128)  # something to save
        with site.start("run") as running:
            if number % 2:  # in that part of a second in which Orthanc stands still
                while not (site.root / "state/paused").exists() and running.poll() is None:
                    time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.1))
            else:
                time.sleep(chance.uniform(0, length))
            stood_still += site.status == "paused"
            if whom != "the program":
                for guard in guards(site):
                    os.kill(guard, signal.SIGKILL)
            running.kill()
        if whom != "the program":
            kill_guards(site)
            site.good("awake")
        wait_until(lambda: running_again(site), 30)
        site.good("awake")  # and it is no longer known as paused
        assert requests.get(f"{site.url}/system", auth=LOGIN, timeout=30).ok
    assert stood_still
    site.good("run")
    site.good("check")
    site.restic("check", "--read-data")
    before = site.held()
    lose(site)
    site.good("restore")
    start_again(site)
    assert site.held() == before


def running_again(site: Site) -> None:
    assert site.status == "running"


def guards(site: Site) -> list[int]:
    """Return the processes of the guard of this site's container, but not those of others."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if line[:2] == [b"sh", b"-c"] and line[3:5] == [b"guard", str(site.container.name).encode()]:
            found.append(int(folder.name))
    return found


def kill_guards(site: Site) -> None:
    for guard in guards(site):
        os.kill(guard, signal.SIGKILL)


def test_one_that_was_left_paused_goes_on(site: Site) -> None:
    (site.root / "state/paused").touch()
    site.container.pause()
    site.good("awake")
    assert site.status == "running"
    assert not (site.root / "state/paused").exists()


def test_one_that_somebody_else_has_paused_is_left_alone(site: Site) -> None:
    site.container.pause()
    site.good("awake")
    assert site.status == "paused"
    done = site.backup("run")
    assert done.returncode == 5
    assert "is paused, so its index can't be copied" in done.stderr
    site.container.unpause()


def test_an_orthanc_that_is_stopped_is_saved(site: Site) -> None:
    site.put(3, "first")
    site.container.stop(timeout=60)
    assert site.good("run")["missing"] == 0
    assert site.status == "exited"


def test_what_is_deleted_between_index_and_files_is_told_when_it_is_restored(site: Site) -> None:
    """Nothing keeps a person from it: then the index of the backup names what the backup hasn't."""
    stored = site.put(5, "first")
    name, gone = next(iter(stored)), site.root / "gone"
    with closing(sqlite3.connect(":memory:")):
        [file] = [
            path for path in site.data.glob("??/??/*") if hashlib.sha256(path.read_bytes()).hexdigest() == stored[name]
        ]
    shutil.move(file, gone)  # as somebody's deletion does, once the index is copied
    assert site.good("run")["missing"] == 1
    lose(site)
    found = site.good("restore")
    assert (found["missing"], found["damaged"], found["instances"]) == (1, 0, 5)
    [(study, counts)] = found["not_whole"].items()
    assert study.startswith("phantom ")
    assert counts == {"missing": 1, "damaged": 0}


def test_a_file_that_says_something_else_is_told(site: Site) -> None:
    site.put(5, "first")
    file = next(site.data.glob("??/??/*"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    site.good("run")
    lose(site)
    found = site.good("restore")
    assert (found["missing"], found["damaged"]) == (0, 1)


def test_a_place_that_has_something_is_not_overwritten(site: Site) -> None:
    stored = site.put(3, "first")
    site.good("run")
    later = site.put(2, "second")
    site.container.stop(timeout=60)
    done = site.backup("restore")
    assert done.returncode == 2
    assert str(site.data) in done.stderr
    assert "backup_restore_overwrite=true" in done.stderr
    site.good("restore", "--overwrite")
    start_again(site)
    assert site.held() == stored
    [aside] = site.root.glob("data.before-restore-*")
    assert len([*aside.glob("??/??/*")]) >= len(stored | later)


def test_a_restore_that_was_killed_is_taken_up(site: Site) -> None:
    stored = site.put(100, "first", 256)
    site.good("run")
    lose(site)
    with site.start("restore") as running:
        while not any(site.data.glob("??/??/*")):
            time.sleep(0.001)
        running.kill()
    assert (site.root / "state/restoring").exists()
    done = site.backup("run")  # half a site must not become the latest state
    assert done.returncode == 2
    assert "A restore was interrupted" in done.stderr
    found = site.good("restore")
    assert (found["missing"], found["damaged"]) == (0, 0)
    start_again(site)
    assert site.held() == stored


def test_an_older_snapshot_is_restored_and_one_that_is_not_there_is_refused(site: Site) -> None:
    stored = site.put(2, "first")
    first = site.good("run")["snapshot"]
    site.put(2, "second")
    site.good("run")
    lose(site)
    done = site.backup("restore", "--snapshot", "abcdef")
    assert done.returncode == 4
    assert first[:8] in done.stderr
    site.good("restore", "--snapshot", first[:8])
    start_again(site)
    assert site.held() == stored


def test_an_empty_host_does_not_go_on_where_a_lost_one_has_ended(site: Site) -> None:
    site.put(2, "first")
    site.good("run")
    site.good("init")
    lose(site)
    done = site.backup("init")
    assert done.returncode == 4
    assert "has 1 backups of pacs" in done.stderr
    assert "run restore.yml" in done.stderr
    site.good("init", host="another")
    site.good("restore")
    site.good("init")


def test_the_files_alone_give_every_image_again_but_not_who_sent_it(site: Site, tmp_path: Path) -> None:
    images = scanner.make(site.root / "console", 5)
    assert {*scanner.store(site.pacs.dicom_port, images).values()} == {0}
    before = site.held()
    files = [path for path in site.data.glob("??/??/*") if path.read_bytes()[128:132] == b"DICM"]
    with site_in(tmp_path / "empty") as empty:
        for file in files:
            answer = requests.post(f"{empty.url}/instances", data=file.read_bytes(), auth=LOGIN, timeout=60)
            assert answer.ok
        assert empty.held() == before
        for name in before:
            path = f"instances/{name}/metadata/RemoteAET"
            assert requests.get(f"{site.url}/{path}", auth=LOGIN, timeout=60).text == "PRISMA"
            assert requests.get(f"{empty.url}/{path}", auth=LOGIN, timeout=60).text != "PRISMA"


def test_old_backups_are_forgotten(site: Site) -> None:
    site.keep = 1
    site.put(1, "first")
    first = site.good("run")["snapshot"]
    second = site.good("run")["snapshot"]
    site.good("check")
    assert [one["id"][:8] for one in json.loads(site.restic("snapshots", "--json"))] == [second[:8]]
    assert first != second


def wrong_password(site: Site) -> None:
    (site.root / "repository.password").write_text("another-password\n")


def absent(site: Site) -> None:
    site.repository.rename(site.root / "elsewhere")


def read_only(site: Site) -> None:
    subprocess.run(["mount", "--bind", site.repository, site.repository], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", site.repository], check=True)


def full(site: Site) -> None:
    elsewhere = site.repository.rename(site.root / "elsewhere")
    site.repository.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", site.repository], check=True)
    shutil.copytree(elsewhere, site.repository, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("fault", "rule", "remedy"),
    [
        (wrong_password, "backup_password is not the repository's", "from the vault"),
        (absent, "there is no repository at that place", "mount it"),
        (read_only, "can't be written to", "Let root of this host"),
        (full, "has no space left", "backup_keep_daily"),
    ],
)
def test_a_fault_of_the_repository_is_told_with_its_rule_and_its_remedy(
    site: Site, fault: Any, rule: str, remedy: str
) -> None:
    site.put(40, "first", 256)
    good = site.good("run", paths=[str(site.root / "lib")])["ended"]
    fault(site)
    try:
        done = site.backup("run")
        assert done.returncode == 4
        assert done.stderr.startswith(f"{site.repository}: ")
        assert rule in done.stderr
        assert remedy in done.stderr
        assert site.status == "running"
        known = site.known["run"]
        assert (known["ok"], known["good"]) == (False, good)
        assert rule in known["failure"]
        assert "dicom_backup_last_run_success 0" in (site.root / "metrics/dicom_backup.prom").read_text()
        assert not (site.root / "staging").exists()
        if fault is absent:  # no new one where there was one: its disk may not be mounted
            assert site.backup("init").returncode == 4
            assert not site.repository.exists()
    finally:
        subprocess.run(["umount", site.repository], check=False, capture_output=True)


def test_a_damaged_repository_fails_the_check(site: Site) -> None:
    site.put(5, "first")
    site.good("run")
    for pack in (site.repository / "data").glob("??/*"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:-7])
    done = site.backup("check")
    assert done.returncode == 4
    assert "The backups are damaged" in done.stderr
    assert not site.known["check"]["ok"]
    assert "dicom_backup_check_success 0" in (site.root / "metrics/dicom_backup.prom").read_text()


def test_a_damaged_index_is_told_and_not_saved(site: Site) -> None:
    site.put(30, "first")
    site.container.stop(timeout=60)
    with (site.data / "index").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 16384)
    done = site.backup("run")
    assert done.returncode == 5
    assert "is damaged" in done.stderr
    assert json.loads(site.restic("snapshots", "--json")) in (None, [])


def test_no_secret_is_on_a_command_line_or_in_what_is_said(site: Site) -> None:
    site.put(20, "first", 256)
    lines = set[bytes]()
    with site.start("run") as running:
        while running.poll() is None:
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    lines.add(file.read_bytes())
                except OSError:
                    continue
        said = running.stdout.read() if running.stdout else ""
    assert any(b"restic" in line for line in lines)
    assert not [line for line in lines if b"the-password-of-the-repository" in line]
    assert "the-password" not in said + (site.root / "state/backup.json").read_text()


def test_the_sync_s_user_reads_how_it_ended_and_not_where_it_is(site: Site) -> None:
    """The page is for many, so the file has neither the repository's address nor restic's own words."""

    def as_nobody(path: Path) -> subprocess.CompletedProcess[str]:
        line = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "cat", str(path)]
        return subprocess.run(line, text=True, capture_output=True, check=False)

    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        state.chmod(0o755)
        file = state / "page/backup.json"
        site.good("init", state=name)
        new = backups.written(str(file))
        assert new
        assert (new.host, new.run, new.check) == ("pacs", None, None)
        site.good("run", state=name)
        site.good("check", state=name)
        good = backups.written(str(file))
        assert good
        assert good.run
        assert good.check
        assert (good.since, good.run.ok, good.run.good, good.run.missing, good.check.ok) == (
            new.since, True, good.run.ended, 0, True,
        )  # fmt: skip
        site.repository.rename(site.root / "elsewhere")
        assert site.backup("run", state=name).returncode == 4
        assert str(site.repository) in (state / "backup.json").read_text()
        read = as_nobody(file)
        assert read.returncode == 0, read.stderr
        assert str(site.repository) not in read.stdout
        assert "restic says" not in read.stdout
        failed = backups.written(str(file))
        assert failed
        assert failed.run
        assert failed.run.failure.startswith("there is no repository at that place. If it is a disk")
        assert (failed.run.ok, failed.run.good, failed.check) == (False, good.run.good, good.check)
        assert as_nobody(state / "backup.json").returncode != 0
        file.unlink()
        (site.root / "elsewhere").rename(site.repository)
        site.good("init", state=name)  # an update to a version that writes it
        again = backups.written(str(file))
        assert again
        assert (again.run, again.check) == (failed.run, failed.check)


def test_another_repository_that_was_lost_is_not_made_again(site: Site) -> None:
    site.good("run")
    other = site.root / "another"
    site.good("init", repository=str(other))
    site.good("run", repository=str(other))
    other.rename(site.root / "lost")
    done = site.backup("init", repository=str(other))
    assert done.returncode == 4
    assert "there is no repository at that place" in done.stderr


def test_what_is_saved_in_a_bucket_is_restored(site: Site, bucket: Bucket) -> None:
    s3 = bucket.changes()
    assert site.good("init", **s3) == {}
    stored = site.put(20, "first")
    assert site.good("run", **s3)["missing"] == 0
    site.put(2, "second")
    assert len(stored | site.held()) == 22
    stored = site.held()
    assert site.good("run", **s3)["ok"]
    assert site.good("check", **s3)["ok"]
    assert site.good("probe", **s3) == {}
    lose(site)
    found = site.good("restore", **s3)
    assert (found["instances"], found["missing"], found["damaged"], found["not_whole"]) == (22, 0, 0, {})
    start_again(site)
    assert site.held() == stored
    assert bucket.secret not in (site.root / "state/restored.json").read_text()


@pytest.mark.parametrize(
    "wrong", [{"secret": "not-the-secret"}, {"key": "AKIANOTTHEKEY0000000"}], ids=["secret", "key"]
)
def test_a_bucket_that_refuses_the_login_is_told(site: Site, bucket: Bucket, wrong: dict[str, str]) -> None:
    if " 0.14." not in site.restic("version"):
        pytest.skip("restic 0.18 asks again for minutes before it says so")
    site.good("init", **bucket.changes())
    done = site.backup("run", **bucket.changes(**wrong))
    assert done.returncode == 4
    assert "can't be reached, or refuses the login" in done.stderr
    assert "compare the login with the vault's" in done.stderr
    assert bucket.secret not in done.stderr
    assert not site.known["run"]["ok"]
