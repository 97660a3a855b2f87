"""The worked examples of calendars, deployed beside the test site: from a booking to what a scanner is shown.

Each inventory is copied, and the copy changed, as an operator does. The recipes of docs/calendars take the place of
Calpendo's. The secrets of each are looked for in every place where somebody could read them.
"""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import clients, leaks, live
from support.calendar import DAY
from support.calendars import EXAMPLES, Calpendo, GraphQL, REDCap, place, published, sessions_table
from support.failing_proxy import proxy
from support.ical import calendar, event
from support.postgresql import PostgreSQL
from support.web import Answer, Asked, Certificates, Reply, WebServer, as_json, certificates

ROOT = Path("/var/tmp/dicom-worklist-examples")
#: The test site's own names, folders and ports, changed; nothing of what an inventory has to say itself.
PLACES: dict[str, Any] = {
    name: value
    for name, value in json.loads(
        json.dumps(live.VARIABLES).replace(str(live.ROOT), str(ROOT)).replace('"test-', '"examples-')
    ).items()
    if not name.startswith(("site_", "test_root", "worklist_sync_source"))
} | {
    "ansible_connection": "local",
    "wlmscpfs_port": 11235,
    "worklist_sync_day": f"{DAY}",
}
TAGS = ("--tags", "wlmscpfs,worklist_sync")


class Site(live.Site):
    wlmscpfs_port: int = PLACES["wlmscpfs_port"]
    command = PLACES["worklist_sync_command"]
    config = Path(PLACES["worklist_sync_config_dir"]) / "config.yml"
    user = PLACES["worklist_sync_user"]
    log = Path(PLACES["worklist_sync_log_dir"]) / "dicom-labbooking2worklist.log"

    def cron(self) -> int:
        """Run what cron runs, as cron does."""
        line = ["runuser", "-u", self.user, "--", f"{PLACES['worklist_sync_home']}/cron-run"]
        return subprocess.run(line, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, check=False, timeout=120).returncode


@dataclass(frozen=True)
class Centre:
    """A calendar with one booking, and what an operator writes into a copy of an inventory for it.

    `vault` has the secrets; `changes` are texts of the inventory and those in their place. `refuse` and `break_down`
    make the calendar refuse the login, and answer nonsense. `kept` is the file on the host that has the secret.
    """

    vault: Mapping[str, Any]
    secret: str
    changes: Mapping[str, str]
    refuse: Callable[[], None]
    break_down: Callable[[], None]
    shown: Mapping[str, str]
    kept: str = "booking-db.password"


def web_centre(server: WebServer, vault: Mapping[str, Any], secret: str, address: str, **more: Any) -> Centre:
    """Return the centre of a web server, which repeats all that it was sent when it doesn't do what was asked."""

    def repeated(asked: Asked) -> str:
        return f"{secret} {asked.headers['Authorization']} {asked.body.decode()} {asked.target}"

    def refused(asked: Asked) -> Answer:
        return as_json({"error": repeated(asked)}, 401)

    def nonsense(asked: Asked) -> Answer:
        return Reply(repeated(asked))

    return Centre(
        vault, secret, {address: server.url}, partial(setattr, server, "answer", refused),
        partial(setattr, server, "answer", nonsense), **more,
    )  # fmt: skip


SHOWN = {"PatientID": "3010000.01_sub-007", "PatientName": "3010000.01_sub-007_ses-02"}


@contextmanager
def calpendo(tls: Certificates) -> Iterator[Centre]:
    booking = {
        "id": 101, "title": "7-2 with EEG", "status": "Approved", "cancelled": False,
        "dateRange.start": f"{DAY} 09:00:00.0", "dateRange.finish": f"{DAY} 10:00:00.0", "durationInMinutes": 60,
        "resource.name": "3T Diagnostic", "project.name": "3010000.01 Language", "booker.formattedName": "Ada Lovelace",
    }  # fmt: skip
    password = leaks.new_secret()
    with published(Calpendo([booking], password), tls) as server:
        vault = {"vault_calendar_password": password}
        shown = SHOWN | {"ScheduledStationAETitle": "MR3T"}
        yield web_centre(server, vault, password, "https://calpendo.example.org", shown=shown)


@contextmanager
def ical(tls: Certificates) -> Iterator[Centre]:
    """A weekly series whose instance of the day was moved, as Google publishes it."""
    weekly = ("DTSTART;TZID=Europe/Amsterdam:20261103T090000", "DTEND;TZID=Europe/Amsterdam:20261103T100000",
              "RRULE:FREQ=WEEKLY;COUNT=6", "SUMMARY:3010000.01 7-2 Faces", "LOCATION:Siemens SKYRA")  # fmt: skip
    moved = ("RECURRENCE-ID;TZID=Europe/Amsterdam:20261124T090000", "DTSTART;TZID=Europe/Amsterdam:20261124T130000",
             "DTEND;TZID=Europe/Amsterdam:20261124T140000", *weekly[3:])  # fmt: skip
    text = calendar(event(*weekly), event(*moved), method="PUBLISH")
    secret = secrets.token_hex(16)
    path = f"/calendar/ical/lab%40group.calendar.google.com/private-{secret}/basic.ics"

    def feed(asked: Asked) -> Reply:
        return Reply(text, 200 if asked.target == path else 404, {"Content-Type": "text/calendar"})

    with published(feed, tls) as server:
        shown = SHOWN | {"ScheduledStationAETitle": "SKYRA", "ScheduledProcedureStepStartTime": "130000"}
        yield web_centre(server, {"vault_calendar_feed": server.url + path}, secret, "https://", shown=shown)


@contextmanager
def postgresql(tls: Certificates) -> Iterator[Centre]:
    files = tls.ca.parent
    for own, name in ((tls.ca, "authority.crt"), (tls.certificate, "server.crt"), (tls.key, "server.key")):
        shutil.copy(own, files / name)
    (files / "server.key").chmod(0o644)  # in the container another user reads it
    password = leaks.new_secret()
    database = PostgreSQL(files)
    try:
        database.do("CREATE DATABASE bookings", f"CREATE USER worklist PASSWORD '{password}'")
        with database.connection(dbname="bookings") as connection:
            row = f"1, 'MRN-0012', '1990-02-03', 'F', 72.5, 'FACES', 'SKYRA', '{DAY} 09:00', '{DAY} 10:00', FALSE"
            grant = "GRANT SELECT ON sessions TO worklist"
            for statement in (sessions_table(), f"INSERT INTO sessions VALUES ({row})", grant):
                connection.execute(statement.encode())
        with proxy(database.port) as between:

            def refuse() -> None:
                database.do("ALTER USER worklist PASSWORD 'another'")

            def break_down() -> None:
                between.limit, between.instead = 0, b"HTTP/1.1 400 Bad Request\r\n\r\n"

            yield Centre(
                {"vault_booking_db_password": password},
                password,
                {
                    "host: calendar.example.org": f"host: localhost\n  port: {between.port}",
                    "  tls: {ca: /etc/ssl/certs/ca-certificates.crt} # the authorities that Debian trusts\n": "",
                },
                refuse,
                break_down,
                {
                    "PatientID": "MRN-0012", "PatientBirthDate": "19900203", "PatientSex": "F", "PatientWeight": "72.5",
                    "ScheduledStationAETitle": "SKYRA", "ScheduledProcedureStepStartTime": "090000",
                },
            )  # fmt: skip
    finally:
        database.remove()


@contextmanager
def redcap(tls: Certificates) -> Iterator[Centre]:
    record = {
        "record_id": "12", "redcap_event_name": "visit_1_arm_1", "redcap_repeat_instance": "1", "subject": "7",
        "session": "2", "study": "Language", "scan_start": f"{DAY} 09:00", "scan_minutes": "90", "scanner": "3T",
        "scan_status": "Booked",
    }  # fmt: skip
    token = secrets.token_hex(16)
    with published(REDCap([record], token), tls) as server:
        vault = {"worklist_sync_source_secrets": {"token": token}}
        shown = SHOWN | {"ScheduledStationAETitle": "MR3T"}
        yield web_centre(server, vault, token, "https://redcap.example.org", shown=shown, kept="token.secret")


@contextmanager
def graphql(tls: Certificates) -> Iterator[Centre]:
    booking = {
        "id": "b1", "start": f"{DAY}T09:00:00+01:00", "end": f"{DAY}T10:00:00+01:00", "status": "CONFIRMED",
        "subject": "7", "session": "2", "lab": {"name": "7T"}, "user": {"first": "Ada", "last": "Lovelace"},
        "project": {"number": "3010000.01", "title": "Language"},
    }  # fmt: skip
    secret = secrets.token_hex(16)
    with published(GraphQL([booking], secret), tls) as server:
        vault = {"worklist_sync_source_password": secret}
        shown = SHOWN | {"ScheduledStationAETitle": "MR7T"}
        yield web_centre(server, vault, secret, "https://calendar.example.org", shown=shown)


CENTRES: dict[str, Callable[[Certificates], AbstractContextManager[Centre]]] = {
    "calpendo": calpendo, "redcap": redcap, "graphql": graphql, "ical": ical, "postgresql": postgresql,
}  # fmt: skip


def copied(name: str, centre: Centre, folder: Path) -> Path:
    """Copy an inventory as an operator does, and make it this centre's."""
    inventory = folder / "mysite"
    shutil.copytree(live.PROJECT / "inventories" / (name if name in EXAMPLES else "calpendo"), inventory)
    own = inventory / "group_vars/all"
    text = place(name).read_text()
    for there, instead in centre.changes.items():
        text = text.replace(there, instead)
    (own / "calendar.yml").write_text(text)
    if name in EXAMPLES:
        assert centre.vault.keys() == yaml.safe_load((own / "vault.yml.example").read_text()).keys()
    key = folder / "vault.password"
    key.write_text(secrets.token_hex())
    line: list[str | Path] = [live.BIN / "ansible-vault", "encrypt", "--vault-password-file", key]
    line += ["--output", own / "vault.yml"]
    subprocess.run(line, input=yaml.safe_dump(dict(centre.vault)), text=True, check=True, capture_output=True)
    return inventory


@dataclass
class Deployed:
    """An example, deployed; `shown` has what was printed since, and `processes` what ran."""

    name: str
    centre: Centre
    since: float
    played: live.Played
    processes: set[bytes]
    site: Site = field(default_factory=Site)
    shown: list[str] = field(default_factory=list)

    def run(self, command: str, *arguments: str) -> int:
        """Run `dicom-worklist`, and keep what it prints."""
        done = self.site.run(command, "-c", str(self.site.config), *arguments)
        self.shown += [done.stdout, done.stderr]
        return done.returncode


@pytest.fixture(scope="module")
def machine() -> Iterator[None]:
    """This machine; no example is on it before and after."""
    options = ["-e", json.dumps(PLACES), "-e", "site_teardown_data=true"]
    inventory = live.PROJECT / "inventories/postgresql"
    if ROOT.exists():  # of a run that was killed
        live.play("teardown.yml", *options, inventory=inventory)
    yield
    gone = live.play("teardown.yml", *options, inventory=inventory)
    assert gone.status == 0, gone.output
    assert [path for path in ROOT.rglob("*") if path.is_file()] == []


#: In `make test` one is deployed: what differs, tests/playbooks and test_three_centres.py try for each.
PARAMS = [pytest.param(name, marks=[pytest.mark.hosts] if name != "calpendo" else []) for name in CENTRES]


@pytest.fixture(scope="module", params=PARAMS)
def deployed(
    machine: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """One of the examples: with everything that Ansible can print, and with diffs."""
    folder = tmp_path_factory.mktemp(request.param)
    tls = certificates(folder / "tls", "localhost" if request.param == "postgresql" else "127.0.0.1")
    with CENTRES[request.param](tls) as centre:
        inventory, places = copied(request.param, centre, folder), folder / "places.json"
        places.write_text(json.dumps(PLACES | {"worklist_sync_source_ca": tls.ca.read_text()}))
        options = ["-vvv", "--diff", *TAGS, "--vault-password-file", str(folder / "vault.password"), "-e", f"@{places}"]
        if request.param not in EXAMPLES:  # the broker is proven, and nothing of it is new
            options += live.UNVERIFIED
        since = time.time()
        with leaks.Processes(600) as processes:
            played = live.play("site.yml", *options, inventory=inventory)
            yield Deployed(request.param, centre, since, played, processes.seen)


def test_a_scanner_is_shown_the_booking(deployed: Deployed, tmp_path: Path) -> None:
    assert deployed.played.status == 0, deployed.played.output[-5000:]
    shown = deployed.centre.shown
    title = shown["ScheduledStationAETitle"]
    [entry] = map(clients.texts, clients.findscu(Site.wlmscpfs_port, tmp_path, ScheduledStationAETitle=title))
    assert {keyword: entry[keyword] for keyword in shown} == shown


def test_its_secret_is_only_where_the_sync_reads_it(deployed: Deployed) -> None:
    """Not when all is well, not when the calendar refuses the login, and not when it answers nonsense."""
    centre, site = deployed.centre, deployed.site
    assert deployed.run("check", "--only", "source") == 0
    for command in ("preview", "status"):
        assert deployed.run(command, "--json") == 0
    assert site.cron() == 0
    for fail in (centre.refuse, centre.break_down):
        fail()
        assert site.cron() == 4
        assert deployed.run("sync", "--day", f"{DAY}", "--json") == 4
        assert deployed.run("check", "--only", "source") == 4
        assert deployed.run("preview", "--json") == 4
        assert deployed.run("status", "--json") == 0
    assert site.log.read_text().count("exit status 4") >= 2
    told: list[tuple[str, Iterable[bytes]]] = [
        ("what Ansible printed", [deployed.played.output.encode()]),
        ("what the command printed", [text.encode() for text in deployed.shown]),
        ("a process", deployed.processes),
    ]
    found = leaks.search([centre.secret], iter(told), leaks.journal(deployed.since), leaks.files(deployed.since))
    kept = Path(PLACES["worklist_sync_config_dir"]) / centre.kept
    assert leaks.misplaced(found, {kept}) == set()
    assert found == {str(kept)}  # so the search isn't blind
