"""The module `firewall_rules`, with the kernel's own nftables, in a network that nobody else is in."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.modules import run
from support.plays import Result

RULES = """\
table inet one_firewall
delete table inet one_firewall
table inet one_firewall {
    chain connections {
        type filter hook prerouting priority mangle; policy accept;
        tcp dport PORT counter drop
    }
}
"""
UNIT = "dicom-worklist-firewall.service"
#: Notes what it is asked, and knows a unit as enabled and active once it was enabled.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>{0}/asked
case $1 in
    is-*) test -e {0}/enabled-"$3" ;;
    enable) touch {0}/enabled-"$3" ;;
    disable) rm -f {0}/enabled-"$4" ;;
esac
"""


class Machine:
    """A network and a folder /run of its own, kept by a process that only waits: the host's stay as they are."""

    def __init__(self, path: Path) -> None:
        self.path, self.etc, self.systemd = path, path / "etc", path / "systemd"
        self.etc.mkdir()
        self.systemd.mkdir()
        (path / "bin").mkdir()
        (path / "bin/systemctl").write_text(SYSTEMCTL.format(path))
        (path / "bin/systemctl").chmod(0o755)
        line = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c"]
        script = "mount -t tmpfs none /run && echo ready && exec cat"
        self.process = subprocess.Popen([*line, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        self.within = [
            "nsenter",
            f"--target={self.process.pid}",
            "--user",
            "--preserve-credentials",
            "--net",
            "--mount",
        ]

    def run(self, *line: str) -> str:
        done = subprocess.run([*self.within, *line], cwd="/", text=True, capture_output=True, check=False)
        return done.stdout

    def tables(self) -> list[str]:
        return sorted(line.split()[-1] for line in self.run("/usr/sbin/nft", "list", "tables").splitlines())

    def asked(self) -> list[str]:
        """Return what systemd was asked to do, and forget it; questions don't count."""
        noted = self.path / "asked"
        lines = noted.read_text().splitlines() if noted.exists() else []
        noted.write_text("")
        return [line for line in lines if not line.startswith("is-")]

    def task(self, port: int | None = 4042, name: str = "one", **more: Any) -> Result:
        rules = RULES.replace("PORT", str(port)).replace("one", name) if port else ""
        arguments = {
            "table": f"{name}_firewall", "file": str(self.etc / f"firewall/{name}.nft"), "rules": rules, "unit": UNIT,
            "unit_files": {str(self.etc / "firewall/load"): "#!/bin/sh\n", str(self.systemd / UNIT): "[Unit]\n"},
            **more,
        }  # fmt: skip
        return {"firewall_rules": arguments}

    def ask(self, *tasks: Result, check: bool = False) -> list[Result]:
        options = ["--check", "--diff"] if check else ["--diff"]
        path = f"{self.path / 'bin'}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        return run(self.path, *tasks, options=options, within=self.within, PATH=path)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.process.kill()
    machine.process.wait()


@pytest.fixture
def with_systemd(machine: Machine) -> Machine:
    machine.run("mkdir", "-p", "/run/systemd/system")
    return machine


def differences(result: Result) -> set[str]:
    return {Path(one["after_header"]).name for one in result["diff"]}


def test_rules_are_in_force_and_kept_and_loaded_once(machine: Machine) -> None:
    [preview] = machine.ask(machine.task(), check=True)
    assert (preview["changed"], machine.tables(), list(machine.etc.iterdir())) == (True, [], [])
    first, second = machine.ask(machine.task(), machine.task())
    assert (first["changed"], second["changed"]) == (True, False)
    assert differences(first) == differences(preview) == {"one.nft"}
    assert machine.tables() == ["one_firewall"]
    assert "dport 4042" in (machine.etc / "firewall/one.nft").read_text()
    [changed] = machine.ask(machine.task(11112))
    assert changed["changed"]
    assert "11112" in machine.run("/usr/sbin/nft", "list", "table", "inet", "one_firewall")


def test_what_somebody_flushed_is_put_right(machine: Machine) -> None:
    machine.ask(machine.task())
    machine.run("/usr/sbin/nft", "flush", "ruleset")
    [preview] = machine.ask(machine.task(), check=True)
    assert (preview["changed"], machine.tables()) == (True, [])
    [result] = machine.ask(machine.task())
    assert (result["changed"], machine.tables()) == (True, ["one_firewall"])


def test_a_file_that_others_could_write_gets_its_mode_back(machine: Machine) -> None:
    machine.ask(machine.task())
    file = machine.etc / "firewall/one.nft"
    file.chmod(0o666)
    [preview] = machine.ask(machine.task(), check=True)
    assert (preview["changed"], file.stat().st_mode & 0o777) == (True, 0o666)
    result, second = machine.ask(machine.task(), machine.task())
    assert (result["changed"], second["changed"], file.stat().st_mode & 0o777) == (True, False, 0o644)


def test_wrong_rules_are_refused_and_the_old_ones_stay(machine: Machine) -> None:
    machine.ask(machine.task())
    before = (machine.etc / "firewall/one.nft").read_text()
    for check in (True, False):
        [result] = machine.ask(machine.task(99999), check=check)
        assert "failed" in result["msg"]
    assert (machine.etc / "firewall/one.nft").read_text() == before
    assert "4042" in machine.run("/usr/sbin/nft", "list", "table", "inet", "one_firewall")


def test_without_rules_the_service_is_open_and_the_last_one_takes_the_unit(with_systemd: Machine) -> None:
    machine = with_systemd
    machine.ask(machine.task(), machine.task(1234, "two"))
    assert machine.asked() == ["daemon-reload", f"enable --now {UNIT}"]
    assert (machine.etc / "firewall/load").stat().st_mode & 0o777 == 0o755
    [preview] = machine.ask(machine.task(None), check=True)
    [first] = machine.ask(machine.task(None))
    assert preview["diff"] == first["diff"]
    assert (machine.tables(), machine.asked()) == (["two_firewall"], [])
    assert (machine.systemd / UNIT).exists()
    [preview] = machine.ask(machine.task(None, "two"), check=True)
    [last] = machine.ask(machine.task(None, "two"))
    assert preview["diff"] == last["diff"]
    assert (machine.tables(), machine.asked()) == ([], [f"disable --now --quiet {UNIT}", "daemon-reload"])
    assert not (machine.systemd / UNIT).exists()
    assert not (machine.etc / "firewall").exists()
    [again] = machine.ask(machine.task(None, "two"))
    assert again["changed"] is False


def old(machine: Machine, name: str) -> dict[str, object]:
    return {
        "table": f"dicom_{name}", "file": str(machine.etc / f"former/{name}.nft"), "unit": "former.service",
        "unit_files": [str(machine.etc / "former/load"), str(machine.systemd / "former.service")],
    }  # fmt: skip


def test_what_had_another_name_goes_when_the_new_is_in_force(with_systemd: Machine) -> None:
    """Of two services on one host the old unit stays until the second has its new rules."""
    machine = with_systemd
    (machine.etc / "former").mkdir()
    (machine.etc / "former/load").write_text("")
    (machine.systemd / "former.service").write_text("")
    (machine.path / "enabled-former.service").touch()
    for name in ("one", "two"):
        rules = RULES.replace("one_firewall", f"dicom_{name}").replace("PORT", "4042")
        (machine.etc / f"former/{name}.nft").write_text(rules)
        machine.run("/usr/sbin/nft", "--file", str(machine.etc / f"former/{name}.nft"))
    assert machine.tables() == ["dicom_one", "dicom_two"]
    tasks = [machine.task(name=name, replaces=[old(machine, name)]) for name in ("one", "two")]
    [preview] = machine.ask(tasks[0], check=True)
    assert machine.tables() == ["dicom_one", "dicom_two"]
    [first] = machine.ask(tasks[0])
    assert preview["diff"] == first["diff"]
    assert machine.tables() == ["dicom_two", "one_firewall"]
    assert (machine.systemd / "former.service").exists()
    machine.ask(tasks[1])
    assert machine.tables() == ["one_firewall", "two_firewall"]
    assert not (machine.etc / "former").exists()
    assert not (machine.systemd / "former.service").exists()
    assert "disable --now --quiet former.service" in machine.asked()
    assert [result["changed"] for result in machine.ask(*tasks)] == [False, False]


def test_there_is_no_moment_without_rules(machine: Machine) -> None:
    """Each new table is there before the old one goes: the kernel says so itself, change by change."""
    machine.ask(machine.task(name="dicom"))
    watch = subprocess.Popen(
        [*machine.within, "/usr/sbin/nft", "--json", "monitor", "tables"], stdout=subprocess.PIPE, text=True
    )
    try:
        replaced = old(machine, "firewall") | {"file": str(machine.etc / "firewall/dicom.nft")}
        machine.ask(machine.task(name="one", replaces=[replaced]))
        machine.run("/usr/sbin/nft", "add", "table", "inet", "last")
        assert watch.stdout is not None
        seen = []
        for line in watch.stdout:
            event = json.loads(line)
            kind = "add" if "add" in event else "delete"
            seen.append((kind, event[kind]["table"]["name"]))
            if seen[-1][1] == "last":
                break
    finally:
        watch.kill()
        watch.wait()
    assert seen.index(("add", "one_firewall")) < seen.index(("delete", "dicom_firewall"))
