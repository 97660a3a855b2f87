"""Three centres with other calendars than the DCCN's: what `preview` says, and what their consoles are shown.

Each is as the documentation describes it. The broker is of these tests' own, so no deployed site is needed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import live, own_broker
from support.calendar import DAY
from support.calendars import Calpendo, published, recipe, sessions_table, variables
from support.command import command
from support.configuration import Configure
from support.consoles import Siemens, texts
from support.ical import calendar, event
from support.postgresql import PostgreSQL
from support.web import Certificates, Reply, certificates, serving

NOW = f"{DAY}T06:00:00+01:00"
#: A series with an instance on the tests' day, as a published feed of Google's has it.
WEEKLY = ("DTSTART;TZID=Europe/Amsterdam:20261103T090000", "DTEND;TZID=Europe/Amsterdam:20261103T100000",
          "RRULE:FREQ=WEEKLY;COUNT=6", "SUMMARY:3010000.01 7-2 Faces", "LOCATION:SKYRA, Trigon")  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worklists")


@pytest.fixture(scope="module")
def port(root: Path) -> Iterator[int]:
    with own_broker.broker(root, "WLBROKER") as port:
        yield port


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def folder(root: Path, port: int) -> Path:
    """The folder of the broker; without entries."""
    for entry in root.glob("*/*.wl"):
        entry.unlink()
    return root / "WLBROKER"


def outcomes(config: Path) -> dict[str, str]:
    """Return what the preview says of each row, by its booking_id."""
    rows = json.loads(command("preview", "-c", config, "--now", NOW, "--json").stdout)["rows"]
    return {row["booking_id"]: row["outcome"] for row in rows}


def console(config: Path, port: int) -> list[tuple[str, str]]:
    """Make a run, and return the name and the time of each entry that a console is shown."""
    command("sync", "-c", config, "--now", NOW)
    shown = [texts(entry) for entry in Siemens(port, "SKYRA").answers()]
    return [(one["PatientName"], one["ScheduledProcedureStepStartTime"]) for one in shown]


def test_calpendo_with_subjects_in_titles(
    configure: Configure, tls: Certificates, port: int, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "calendar.password").write_text("s3cr3t\n")
    one = {
        "id": 101, "title": "7-2 with EEG", "status": "Approved", "cancelled": False,
        "dateRange.start": f"{DAY} 09:00:00.0", "dateRange.finish": f"{DAY} 10:00:00.0", "durationInMinutes": 60,
        "resource.name": "3T SKYRA", "project.name": "3010000.01 Language", "booker.formattedName": "Ada Lovelace",
    }  # fmt: skip
    bookings = [
        one,
        one | {"id": 102, "title": "x8 - 1, pilot", "dateRange.start": f"{DAY} 11:00:00.0"},
        one | {"id": 103, "title": "9 ses 2", "dateRange.start": f"{DAY} 12:00:00.0"},
        one | {"id": 104, "title": "10-1", "cancelled": True},
    ]
    with published(Calpendo(bookings, "s3cr3t"), tls) as server:
        config = configure(recipe("calpendo", server, tls, tmp_path))
        assert outcomes(config) == {"101": "entry", "102": "entry", "103": "rejected", "104": "ignored"}
        assert console(config, port) == [
            ("3010000.01_sub-007_ses-02", "090000"),
            ("3010000.01_sub-x008_ses-01", "110000"),
        ]


def test_a_feed_of_google_with_weekly_series(configure: Configure, port: int, folder: Path) -> None:
    moved = ("RECURRENCE-ID;TZID=Europe/Amsterdam:20261124T090000", "DTSTART;TZID=Europe/Amsterdam:20261124T130000",
             "DTEND;TZID=Europe/Amsterdam:20261124T140000", "SUMMARY:3010000.01 8-2", "LOCATION:SKYRA")  # fmt: skip
    feed = calendar(
        event(*WEEKLY, uid="kept@google.com"),
        event(*[line.replace("7-2", "8-2") for line in WEEKLY], uid="moved@google.com"),
        event(*moved, uid="moved@google.com"),
        event(*WEEKLY, "EXDATE;TZID=Europe/Amsterdam:20261124T090000", uid="cancelled@google.com"),
        event(f"DTSTART:{DAY:%Y%m%d}T140000Z", "SUMMARY:3010000.02 9-1", "LOCATION:SKYRA", uid="single@google.com"),
        event(f"DTSTART;VALUE=DATE:{DAY:%Y%m%d}", "SUMMARY:3010000.02 9-2", "LOCATION:SKYRA", uid="day@google.com"),
        method="PUBLISH",
    )
    booking = variables("ical")["worklist_sync_booking"]
    with serving(Reply(body=feed.encode(), headers={"Content-Type": "text/calendar"})) as server:
        source = {"type": "ical", "url": f"{server.url}/basic.ics"}
        config = configure({"source": source, "booking": booking})
        assert outcomes(config) == {
            "kept@google.com/20261124T080000Z": "entry",
            "moved@google.com/20261124T080000Z": "entry",
            "single@google.com": "entry",
            "day@google.com": "rejected",
        }
        assert console(config, port) == [
            ("3010000.01_sub-007_ses-02", "090000"),
            ("3010000.01_sub-008_ses-02", "130000"),
            ("3010000.02_sub-009_ses-01", "150000"),
        ]


def test_a_table_of_postgresql_with_what_the_console_needs(
    configure: Configure, port: int, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "password").write_text(f"{live.PASSWORD}\n")
    server = PostgreSQL(tmp_path / "tls")
    try:
        server.do(
            sessions_table(),
            "INSERT INTO sessions VALUES "
            f"(1, 'MRN-0012', '1990-02-03', 'F', 72.5, 'FACES', 'SKYRA', '{DAY} 09:00', '{DAY} 10:00', FALSE), "
            f"(2, 'MRN-0013', NULL, NULL, NULL, 'REST', 'SKYRA', '{DAY} 11:00', '{DAY} 12:00', FALSE), "
            f"(3, 'MRN-0014', NULL, NULL, NULL, 'REST', 'SKYRA', '{DAY} 13:00', '{DAY} 14:00', TRUE)",
            "GRANT SELECT ON sessions TO dicomdf",
        )
        example = variables("postgresql")
        config = configure(
            {
                "source": {
                    "type": "postgresql", "host": "127.0.0.1", "port": server.port, "database": "fcdc",
                    "user": "dicomdf", "password_file": str(tmp_path / "password"),
                    "query": example["worklist_sync_source"]["query"],
                },
                "booking": example["worklist_sync_booking"],
                "attributes": example["worklist_sync_attributes"],
            }
        )  # fmt: skip
        assert outcomes(config) == {"1": "entry", "2": "entry"}
        assert console(config, port) == [("MRN-0012_ses-01", "090000"), ("MRN-0013_ses-01", "110000")]
    finally:
        server.remove()
    siemens = Siemens(port, "SKYRA", protocols={"FACES": "Faces, 20 min", "REST": "Resting state"})
    first, second = siemens.answers()
    assert [str(entry.PatientID) for entry in (first, second)] == ["MRN-0012", "MRN-0013"]
    assert [siemens.protocol(entry) for entry in (first, second)] == ["Faces, 20 min", "Resting state"]
    assert siemens.asks_operator(first) == ["PatientSize"]
    assert siemens.asks_operator(second) == ["PatientBirthDate", "PatientSex", "PatientWeight", "PatientSize"]
