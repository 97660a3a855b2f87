"""inventories/dccn on fresh machines: PACS, worklist and booking database each on its own, scanners on theirs.

Nothing of the inventory is overridden but how Ansible reaches the hosts, and the secrets of its vault. Its
addresses are those of the machines' network.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import machines
from support.dccn import ALLOWED, NAMES, PACS, SITE, WORKLIST, Site, calendar, clients, furnish
from support.waiting import wait_until

UNVERIFIED = ("--skip-tags", "verify")
#: What follows the inventory, without the engine and without what the first run has proven already.
SERVICES = ("--tags", "orthanc,wlmscpfs,worklist_sync", *UNVERIFIED)
#: What a deployment of ours may leave in a machine's folders, found by name.
OURS = (
    "find /etc /opt /usr/local /var/lib /var/cache /var/log /scratch -xdev -path /var/lib/docker -prune -o \\( "
    + " -o ".join(f"-iname '*{word}*'" for word in ("dicom", "orthanc", "wlmscpfs", "wlbroker", "labbooking"))
    + " \\) -print 2>/dev/null"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    net = machines.Net(tmp_path_factory.mktemp("hosts"))
    database = None
    try:
        with ThreadPoolExecutor() as pool:
            started = pool.submit(calendar, net)
            pacs = pool.submit(machines.Host, net, "pacs.dccn.example", 13, PACS)
            worklist = pool.submit(machines.Host, net, "worklist.dccn.example", 12, WORKLIST, NAMES)
            database = started.result()
            site = Site(net, database, pacs.result(), worklist.result(), clients(net))
        for host in (site.pacs, site.worklist):
            furnish(host)
        yield site
    finally:
        if database is not None:
            database.remove()
        net.remove_all()


@pytest.fixture(autouse=True)
def named(site: Site, record_property: Callable[[str, object], None]) -> None:
    """Name the hosts in the summary."""
    for host in (site.pacs, site.worklist):
        record_property("host", f"{host.name} ({host.distribution})")


def test_check_mode_on_empty_hosts_passes_and_makes_nothing(site: Site) -> None:
    played = site.play("site.yml", "--check", "--diff")
    assert played.status == 0, played.output
    for host in (site.pacs, site.worklist):
        assert played.changes_on(host.name) > 5, played.output
        assert "docker" not in host.run("ls /usr/bin /opt")
        assert host.run("ls /etc/docker") == "daemon.json\n"
        assert host.run(OURS, check=False) == ""


def test_the_first_run_deploys_and_verifies_over_ssh(site: Site) -> None:
    played = site.play("site.yml")
    assert played.status == 0, played.output


def test_the_second_run_changes_nothing(site: Site) -> None:
    played = site.play("site.yml", *UNVERIFIED)
    assert (played.status, played.changed) == (0, 0), played.output


def test_scanners_find_their_bookings_and_store(site: Site, tmp_path: Path) -> None:
    site.trust()
    assert site.seen("PRISMA") == ["3010000.01_sub-007"]
    assert site.seen("PRISMAFIT") == []
    site.store("PRISMA", tmp_path)
    assert site.stored() == 3


def test_the_page_is_at_the_pacs_and_knows_what_arrived(site: Site) -> None:
    """The sync is on another host: it asks over HTTPS, and sends the page."""
    waits = '{"asked": "\'$(date -u +%FT%TZ)\'", "containers": {"orthanc-front-door": {"security": ["nginx 1 -> 2"]}}}'
    site.pacs.run(f"echo '{waits}' >/var/lib/dicom-worklist-updates/updates.json")
    site.sync()
    page = site.ask("/worklist/index.html")
    assert "3010000.01_sub-007" in page or "sub-007" in page
    assert "What arrived is not known" not in page
    said = json.loads(site.worklist.run("dicom-worklist status --json", check=False))
    assert not said["pacs_failure"]
    assert said["updates"]["containers"]["orthanc-front-door"]["security"] == ["nginx 1 -> 2"]
    assert "nginx 1 -&gt; 2" in page
    mode = site.pacs.run("stat -c '%U %G %a' /scratch/data_dicom/page /scratch/data_dicom/page/index.html").split()
    assert mode == ["dicom-front-door", "orthanc", "2750", "dicom-front-door", "orthanc", "600"]


def test_a_scanner_can_not_store_under_anothers_title(site: Site, tmp_path: Path) -> None:
    assert not site.stores_as("PRISMA", "SKYRA", tmp_path)
    assert not site.stores_as("PRISMA", "VERIFICATION", tmp_path)
    assert site.stored() == 3


def test_silent_connections_of_one_scanner_leave_places_to_the_others(site: Site) -> None:
    script = f"for i in $(seq 100); do exec {{open}}<>/dev/tcp/{WORKLIST}/1234 || break; done; sleep 60"
    line = ["docker", "exec", str(site.clients["SKYRA"].container.id), "timeout", "60", "bash", "-c", script]
    with subprocess.Popen(line) as silent:
        wait_until(lambda: taken(site), 30)
        assert site.seen("PRISMA") == ["3010000.01_sub-007"]
        assert silent.poll() is None
        site.clients["SKYRA"].run("pkill", "sleep")


def taken(site: Site) -> None:
    """Raise while a scanner still gets another connection to the worklist."""
    assert not site.clients["SKYRA"].connects(WORKLIST, 1234)


def test_nobody_else_can_connect(site: Site) -> None:
    assert site.open_doors() == ALLOWED


def test_a_neighbour_can_not_go_around_the_published_ports(site: Site) -> None:
    """A machine of the same network may route to the containers' own addresses."""
    stranger, inner = site.clients["stranger"], "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"

    def around() -> list[bool]:
        reached = []
        for host, name, port in ((site.pacs, "orthanc", 4042), (site.worklist, "wlmscpfs", 1234)):
            address = host.run(f"docker inspect -f '{inner}' {name}").strip()
            stranger.run("ip", "route", "replace", address, "via", host.address)  # it may be the same on both hosts
            reached.append(stranger.connects(address, port))
        return reached

    assert around() == [False, False]
    for host in (site.pacs, site.worklist):
        host.run("nft list tables | grep -o 'inet .*_firewall' | while read -r t; do nft delete table $t; done")
    assert around() == [True, True]  # else the test would prove nothing
    verified = site.play("verify.yml", "--tags", "orthanc")
    assert verified.status != 0
    assert "Everybody can connect to port 4042" in verified.output
    for host in (site.pacs, site.worklist):
        host.run("systemctl restart dicom-worklist-firewall")
    assert around() == [False, False]


def test_a_wrong_input_of_one_host_stops_every_host(site: Site) -> None:
    wrong = "{{ 'long' if inventory_hostname == 'worklist.dccn.example' else 20 }}"
    played = site.play("site.yml", "-e", json.dumps({"docker_host_pull_timeout": wrong}))
    assert played.status != 0
    assert "docker_host_pull_timeout" in played.output
    assert played.changed == 0
    assert "PLAY [Check the inputs of the PACS]" not in played.output


def test_check_mode_predicts_what_a_change_then_changes(site: Site) -> None:
    """One more scanner: Orthanc reads its list at its start, the broker its addresses."""
    before = site.started()
    more = {"ae_title": "TERRA", "lab": "TERRA", "modality": "MR", "address": "198.51.100.14"}
    variables = ["-e", json.dumps({"site_scanners": [*SITE["site_scanners"], more]})]
    predicted = site.play("site.yml", "--check", *SERVICES, *variables)
    assert predicted.status == 0, predicted.output
    assert site.started() == before
    played = site.play("site.yml", *SERVICES, *variables)
    assert played.status == 0, played.output
    assert predicted.changes == played.changes
    assert {host for _, host in played.changes} == {site.pacs.name, site.worklist.name}
    terra = site.clients["TERRA"] = machines.Client(site.net, more["address"])
    assert site.seen("TERRA") == []
    assert terra.connects(PACS, 4042)


def test_a_scanner_that_is_taken_away_is_kept_out(site: Site) -> None:
    played = site.play("site.yml", *SERVICES)
    assert played.status == 0, played.output
    assert site.open_doors() == ALLOWED


def test_a_variable_restarts_only_what_depends_on_it(site: Site) -> None:
    before = site.started()
    played = site.play("site.yml", *SERVICES, "-e", "worklist_sync_days_ahead=2", "-e", "wlmscpfs_log_level=warn")
    assert played.status == 0, played.output
    after = site.started()
    assert after["orthanc"] == before["orthanc"]
    assert after["wlmscpfs"] != before["wlmscpfs"]
    # as the inventory has it: check mode publishes with the configuration that is installed
    assert site.play("site.yml", *SERVICES).status == 0


@pytest.mark.parametrize("event", ["restart of Docker", "reboot"])
def test_everything_is_back_after_a(site: Site, event: str) -> None:
    """A booking made meanwhile is on the console within the cron job's minute, without a hand."""
    number = {"restart of Docker": 20, "reboot": 30}[event]
    site.database.book_daily(number, f"{number}-1")
    for host in (site.pacs, site.worklist):
        # the machine's own rules are made again, and Docker's and ours with them
        host.run("systemctl restart nftables docker") if event == "restart of Docker" else host.reboot()

    def back() -> None:
        assert f"3010000.01_sub-{number:03}" in site.seen("PRISMA")
        assert site.stored() == 3

    wait_until(back, 150)
    assert site.open_doors() == ALLOWED


def test_an_image_is_rebuilt_and_the_data_stays(site: Site) -> None:
    before = site.pacs.run("docker inspect -f '{{.Image}}' orthanc")
    site.pacs.run(
        "docker rm -f orthanc orthanc-front-door && docker image rm -f $(docker image ls -q 'dicom-worklist/orthanc')"
    )
    played = site.play("site.yml", "--limit", site.pacs.name, *SERVICES)
    assert played.status == 0, played.output
    assert site.pacs.run("docker inspect -f '{{.Image}}' orthanc") != before
    assert site.stored() == 3


def test_one_variable_opens_the_doors_and_shuts_them(site: Site) -> None:
    off = ["-e", "site_firewall=false"]
    predicted, played = site.play("site.yml", *SERVICES, "--check", *off), site.play("site.yml", *SERVICES, *off)
    assert (predicted.status, played.status) == (0, 0), predicted.output + played.output
    assert predicted.changes == played.changes
    assert {("stranger", 4042), ("stranger", 8042)} <= site.open_doors()
    echo = ("echoscu", "-aec", "WLBROKER", WORKLIST, "1234")
    assert site.clients["stranger"].run(*echo)[0] == 0
    assert site.play("site.yml", *SERVICES).status == 0
    assert site.open_doors() == ALLOWED


def test_teardown_leaves_nothing_but_the_data(site: Site) -> None:
    played = site.play("teardown.yml")
    assert played.status == 0, played.output
    left = {host.name: host.run(OURS, check=False).split() for host in (site.pacs, site.worklist)}
    data = ("/scratch/data_dicom", "/var/lib/dicom-worklist")
    assert all(path.startswith(data) for paths in left.values() for path in paths), left
    assert any("orthanc" in path for path in left[site.pacs.name])
    for host in (site.pacs, site.worklist):
        ours = "docker ps -aq; docker volume ls -q; nft list tables | grep -E 'dicom|firewall'"
        remaining = host.run(ours, check=False)
        assert remaining == ""
        assert host.run("docker network ls -q --filter type=custom") == ""
    # the images and the engine stay for the next test
    assert site.play("teardown.yml", "-e", "site_teardown_data=true").status == 0
    for host in (site.pacs, site.worklist):
        assert host.run(OURS, check=False).split() in ([], ["/scratch/data_dicom"])  # others may share it
        assert host.run("getent passwd orthanc wlmscpfs dicom-worklist", check=False) == ""
