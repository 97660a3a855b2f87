"""`dicom-worklist check`: configuration, source, folder, broker and PACS, each ok or why not."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification  # type: ignore[attr-defined]

from support.calendar import DAY, Calendar
from support.command import command
from support.configuration import Configure, mysql
from support.timed_site import Site, check, day
from support.worklist_folder import entries, everything


@pytest.fixture
def broker(folder: Path) -> Iterator[Any]:
    """A broker that shows what is in the folder, or what `server.shown` says."""

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        title = event.identifier.ScheduledProcedureStepSequence[0].ScheduledStationAETitle
        for entry in server.shown(folder).values():
            if entry.ScheduledProcedureStepSequence[0].ScheduledStationAETitle == title:
                yield 0xFF00, entry

    ae = AE(ae_title="WLBROKER")
    ae.require_called_aet = True
    ae.add_supported_context(ModalityWorklistInformationFind)
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)])
    server.shown = entries
    yield server
    server.shutdown()


def test_a_pacs_that_can_not_be_asked_is_7(configure: Configure, closed_port: int, run: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    changes = {"url": f"http://127.0.0.1:{closed_port}", "user": "reader", "password_file": str(tmp_path / "password")}
    done = run("check", "-c", configure({"pacs": changes}), "--only", "pacs")
    assert done.status == 7
    assert done.out.startswith(f"FAILED pacs: Orthanc at http://127.0.0.1:{closed_port} can't be asked")


def test_check_prints_ok_for_each(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, folder: Path
) -> None:
    calendar.add_project("3010000.02", "Zürich 日本")
    calendar.book(1, project="3010000.02")
    config = configure({"broker.port": broker.server_address[1]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    before = everything(folder)
    done = run("check", "-c", config)
    assert [line.split(":")[0] for line in done.out.splitlines()] == [
        "ok     configuration",
        "ok     source",
        "ok     folder",
        "ok     broker",
    ]
    assert "PRISMA sees 1, PRISMAFIT sees 0" in done.out
    assert "configuration: 3 scanners, " in done.out
    one = configure({"scanners": [{"ae_title": "PRISMA", "lab": "PRISMA"}]})
    assert "configuration: 1 scanner, " in run("check", "-c", one, "--only", "configuration").out
    assert "has 1 booking of scanners for " in run("check", "-c", one, "--only", "source", "--day", DAY.isoformat()).out
    assert (done.status, everything(folder)) == (0, before)


def without_one(folder: Path) -> dict[str, Dataset]:
    return dict(list(entries(folder).items())[1:])


def with_another_name(folder: Path) -> dict[str, Dataset]:
    shown = entries(folder)
    next(iter(shown.values())).PatientName = "Garbled"
    return shown


def with_another_code(folder: Path) -> dict[str, Dataset]:
    shown = entries(folder)
    for entry in shown.values():
        entry.ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence[0].CodeMeaning = "Foot"
    return shown


def without_codes(folder: Path) -> dict[str, Dataset]:
    shown = entries(folder)
    for entry in shown.values():
        del entry.ScheduledProcedureStepSequence[0].ScheduledProtocolCodeSequence
    return shown


HEAD = {"CodeValue": "HEAD", "CodingSchemeDesignator": "99DCCN", "CodeMeaning": "Head"}


@pytest.mark.parametrize("shown", [without_one, with_another_name, with_another_code, without_codes])
def test_a_broker_that_shows_something_else_is_6(
    shown: Any, calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    calendar.book(1)
    broker.shown = shown
    changes = {"broker.port": broker.server_address[1], "attributes.ScheduledProtocolCodeSequence": [HEAD]}
    config = configure(changes)
    run("sync", "-c", config, "--day", DAY.isoformat())
    done = run("check", "-c", config)
    assert done.status == 6
    assert "FAILED broker: PRISMA is shown" in done.out


def test_a_broker_that_does_not_know_the_worklist_is_6(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, folder: Path
) -> None:
    folder.rename(folder.with_name("OTHER"))
    titles = {f"scanners.{at}.worklist": "OTHER" for at in range(3)}
    done = run("check", "-c", configure(titles | {"broker.port": broker.server_address[1]}))
    assert (done.status, "refuses the association: it serves no such worklist" in done.out) == (6, True)


def test_a_broker_with_all_places_taken_is_6_and_reported_as_busy(
    calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    broker.ae.maximum_associations = 1
    scanner = AE()
    scanner.add_requested_context(Verification)
    host, port = broker.server_address
    taken = scanner.associate(host, port, ae_title="WLBROKER")
    assert taken.is_established
    done = run("check", "-c", configure({"broker.port": port}))
    taken.release()
    assert done.status == 6
    assert "has no place for one more association (Local limit exceeded): ask again in some seconds" in done.out
    assert "wlmscpfs_max_associations" in done.out
    assert "serves no such worklist" not in done.out


class LateEvent(threading.Event):
    """A thread that waited for it gets the processor only later."""

    def wait(self, timeout: float | None = None) -> bool:
        happened = super().wait(timeout)
        time.sleep(0.05)
        return happened


def test_check_hears_a_rejection_that_comes_at_once(
    calendar: Calendar, configure: Configure, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from the broker, which reads no request of those for whom it has no place."""

    def reject() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(bytes([3, 0, 0, 0, 0, 4, 0, 2, 3, 2]))  # A-ASSOCIATE-RJ
            while connection.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=reject)
        thread.start()
        monkeypatch.setattr("pynetdicom.association.threading.Event", LateEvent)
        done = run("check", "-c", configure({"broker.port": server.getsockname()[1]}))
        thread.join()
    assert (done.status, "has no place for one more association" in done.out) == (6, True), done.out


def test_check_loses_no_answer_on_a_busy_machine(
    calendar: Calendar, configure: Configure, broker: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calendar.book(1)
    config = configure({"broker.port": broker.server_address[1]})
    run("sync", "-c", config, "--day", DAY.isoformat())
    monkeypatch.setattr("pynetdicom.association.threading.Event", LateEvent)
    monkeypatch.setattr("dicom_worklist.worklist.broker.TIMEOUT", 2)
    for _ in range(3):
        done = run("check", "-c", config, "--only", "broker")
        assert (done.status, "PRISMA sees 1" in done.out) == (0, True), done.out


def test_a_broker_that_can_not_be_reached_is_6(calendar: Calendar, configure: Configure, closed_port: int) -> None:
    done = command("check", "-c", configure({"broker.port": closed_port}))
    assert done.returncode == 6
    assert done.stderr == ""
    *others, last = done.stdout.splitlines()
    assert [line.split()[0] for line in others] == ["ok"] * 3
    assert last.startswith(f"FAILED broker: the broker on 127.0.0.1:{closed_port}")


@pytest.mark.parametrize("what", ["configuration", "source", "folder", "broker"])
def test_check_can_be_asked_for_just_one(
    what: str, calendar: Calendar, configure: Configure, broker: Any, run: Any
) -> None:
    done = run("check", "-c", configure({"broker.port": broker.server_address[1]}), "--only", what)
    assert (done.status, [line.split(":")[0] for line in done.out.splitlines()]) == (0, [f"ok     {what}"])


def test_check_goes_on_after_a_failure_and_exits_with_the_first(
    configure: Configure, closed_port: int, tmp_path: Path, run: Any
) -> None:
    changes = mysql(closed_port, tmp_path / "password") | {
        "broker.port": closed_port,
        "worklist.root": str(tmp_path / "absent"),
    }
    done = run("check", "-c", configure(changes))
    assert done.status == 4
    assert [line.split(":")[0] for line in done.out.splitlines()][:3] == [
        "ok     configuration",
        "FAILED source",
        "FAILED folder",
    ]
    assert "geheim" not in done.out + done.err


def test_check_can_be_asked_for_another_day(calendar: Calendar, configure: Configure, run: Any) -> None:
    calendar.book(1)
    calendar.book(2, "8-1")
    at = ("--only", "source", "--now", "2020-01-01T09:00:00+01:00")
    done = run("check", "-c", configure(), *at, "--day", DAY.isoformat())
    assert f"has 2 bookings of scanners for {DAY} at the site" in done.out
    assert "2 entries wait for the next run" in done.out
    assert "has 0 bookings of scanners for 2020-01-01" in run("check", "-c", configure(), *at).out


@pytest.mark.parametrize(
    ("window", "said"),
    [
        pytest.param({}, f"has 2 bookings of scanners for {day()} at the site", id="21-today"),
        pytest.param(
            {"window.days_ahead": 1}, f"has 3 bookings of scanners for {day()} to {day(1)}", id="21-tomorrow too"
        ),
        pytest.param(
            {"window.days_back": 1}, f"has 3 bookings of scanners for {day(-1)} to {day()}", id="21-yesterday too"
        ),
    ],
)
def test_check_counts_the_rows_of_the_window(window: dict[str, int], said: str, field_site: Site) -> None:
    site = field_site
    site.changes |= window
    rows = [
        (f"{one}", f"{one}-1", when) for one, when in enumerate((day(), "2020-01-01", "2020-01-02", day(1), day(-1)))
    ]
    site.read_csv(
        *((*row, "CONFIRMED") for row in rows), ("9", "x-", day(), "CONFIRMED"), ("8", "8-1", day(), "CANCELLED")
    )
    assert said in check(site)
    assert "1 rejected" in check(site)
