"""The broker's C library in the role's own image, preloaded into a server that calls it as wlmscpfs does."""

import fcntl
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from support import live, networks
from support.waiting import wait_until

IMAGE = live.PROJECT / "roles/wlmscpfs/files/image"
#: A-ASSOCIATE-RJ: transient, by the service provider (presentation), local limit exceeded (PS3.8 9.3.4).
REJECTION = bytes([3, 0, 0, 0, 0, 4, 0, 2, 3, 2])
#: What a query asks for.
READ_LOCK = f"lock {fcntl.F_SETLKW} {fcntl.F_RDLCK}"
#: How many connections the server may have at a time, where a test says nothing else.
PLACES = 2
#: Where the server listens: its last descriptor.
LISTENING = 3


class Client:
    """A connection to the server."""

    def __init__(self, server: "Server") -> None:
        self.socket = server.stack.enter_context(socket.create_connection((server.address, 1234), timeout=60))

    def send(self, line: str) -> None:
        self.socket.sendall(f"{line}\n".encode())

    def read(self) -> bytes:
        """Return what the server sends next; nothing if it has ended the connection."""
        try:
            return self.socket.recv(100)
        except ConnectionResetError:  # it didn't read what was sent
            return b""

    def ask(self, line: str) -> bytes:
        self.send(line)
        return self.read()


@dataclass(frozen=True)
class Server:
    """The server in its container; `pid` is the machine's. The clients are in `stack`."""

    container: Container
    address: str
    pid: int
    lockfile: Path
    stack: ExitStack

    def served(self) -> Client:
        """Return a client that the server answers."""
        client = Client(self)
        assert client.ask("peer") == f"{client.socket.getsockname()[1]} 0\n".encode()
        return client

    def served_in_the_end(self) -> Client:
        """Return the client that the server answers as soon as the place of another one is free."""
        clients = []
        wait_until(lambda: clients.append(self.served()))
        return clients[0]

    def rejected(self) -> None:
        client = Client(self)
        assert client.read() == REJECTION
        assert client.read() == b""

    def children(self, pid: int | None = None) -> dict[int, str]:
        """Return the states of the children of a process, by default of the first one, by their ids."""
        processes = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                number, (state, parent, *_) = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
                if int(parent) == (pid or self.pid):
                    processes[number] = state
        return processes

    def child(self, pid: int | None = None) -> int:
        """Return the only child that hasn't ended, as soon as it is the only one."""
        found: list[int] = []

        def find() -> None:
            found[:] = [child for child, state in self.children(pid).items() if state != "Z"]
            assert len(found) == 1

        wait_until(find)
        return found[0]

    def query(self) -> int:
        """Return the process that answers the only client."""
        return self.child(self.child())


Start = Callable[..., Server]


@pytest.fixture(scope="module")
def image() -> str:
    engine = docker.from_env()
    engine.images.build(path=str(IMAGE), tag="test-broker-library", target="library", rm=True)
    engine.images.build(path=str(IMAGE), tag="test-broker-image", rm=True)
    image, _ = engine.images.build(path=str(live.PROJECT / "tests/images/broker"), tag="test-broker", rm=True)
    return str(image.id)


@pytest.fixture
def start(image: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a server; in the end it must still run, without a child and with no more descriptors than at first."""
    stack, engine = ExitStack(), docker.from_env()
    servers: list[Server] = []

    def run(places: str | None = str(PLACES), **options: object) -> Server:
        lockfile = tmp_path / "lockfile"
        lockfile.touch()
        container = engine.containers.run(
            image,
            detach=True,
            environment={"LD_PRELOAD": "/usr/local/lib/broker.so"} | ({"MAX_ASSOCIATIONS": places} if places else {}),
            volumes={str(tmp_path): {"bind": "/worklist", "mode": "rw"}},
            **options,
        )
        stack.callback(container.remove, force=True, v=True)
        address, pid = networks.address(container), container.attrs["State"]["Pid"]
        server = Server(container, address, pid, lockfile, stack.enter_context(ExitStack()))
        wait_until(lambda: Client(server))
        server.stack.close()
        servers.append(server)
        return server

    with stack:
        yield run
        for server in servers:
            server.stack.close()
            wait_until(partial(is_at_rest, server))
            server.container.reload()
            assert server.container.attrs["State"]["Pid"] == server.pid


def is_at_rest(server: Server) -> None:
    Client(server).socket.close()  # the server looks after those that have ended when the next one comes
    assert len(server.children()) <= 1
    assert set(descriptors(server.pid)) == {0, 1, 2, LISTENING}


def descriptors(pid: int) -> dict[int, str]:
    """Return what the descriptors of a process stand for."""
    links = sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda link: int(link.name))
    return {int(link.name): str(link.readlink()) for link in links}


def interrupt(pid: int) -> None:
    """Send a signal that has a handler, and return when it was handled: the process sleeps again, or has ended."""

    def handled() -> None:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert int(status["ShdPnd"], 16) == 0
        assert status["State"].split()[0] in {"S", "Z"}

    os.kill(pid, signal.SIGUSR1)
    wait_until(handled)


def is_asleep(state: str) -> None:
    assert state == "S"


def waiting(lockfile: Path) -> list[int]:
    """Return the processes that wait for a lock of the file."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [int(line[5]) for line in lines if line[1] == "->" and line[6].endswith(f":{lockfile.stat().st_ino}")]


# --- accept ---


def test_silent_clients_keep_nobody_waiting(start: Start) -> None:
    server = start(places="10")
    silent = [Client(server) for _ in range(5)]
    server.served()
    assert silent[0].ask("peer").endswith(b" 0\n"), "the silent one has waited for nobody, either"


def test_who_comes_when_all_places_are_taken_is_rejected_until_one_is_free(start: Start) -> None:
    server = start()
    for _ in range(3):
        clients = [server.served_in_the_end() for _ in range(PLACES)]
        for _ in range(20):
            server.rejected()
        assert [client.ask("peer").endswith(b" 0\n") for client in clients] == [True] * PLACES
        clients[0].socket.close()
        server.served_in_the_end()
        server.rejected()
        server.stack.close()


def test_without_a_limit_everybody_has_a_place(start: Start) -> None:
    server = start(places=None)
    for _ in range(50):
        server.served()


@pytest.mark.parametrize("places", ["0", "-1", "none", "5x", " ", "99999999999999999999"])
def test_a_limit_that_is_not_a_number_is_reported(image: str, places: str) -> None:
    environment = {"LD_PRELOAD": "/usr/local/lib/broker.so", "MAX_ASSOCIATIONS": places}
    with pytest.raises(docker.errors.ContainerError) as failed:
        docker.from_env().containers.run(image, ["true"], environment=environment, remove=True)
    assert failed.value.exit_status == 1
    assert failed.value.stderr.decode() == f'MAX_ASSOCIATIONS is "{places}": it must be a whole number, 1 or more\n'


def test_a_child_that_the_server_has_waited_for_leaves_its_place(start: Start) -> None:
    server = start()
    first, _ = server.served_in_the_end(), server.served_in_the_end()
    server.rejected()  # until then the server waits for those of before
    first.socket.close()
    wait_until(lambda: one_has_ended(server))
    interrupt(server.pid)  # the server then does what wlmscpfs does after an error: it waits for all that have ended
    wait_until(lambda: none_has_ended(server))
    server.served()
    server.rejected()


def one_has_ended(server: Server) -> None:
    assert sorted(server.children().values()) == ["S", "Z"]


def none_has_ended(server: Server) -> None:
    assert list(server.children().values()) == ["S"]


def test_a_signal_to_a_child_that_waits_for_its_association_frees_no_place(start: Start) -> None:
    server = start(places="1")
    client = server.served_in_the_end()
    wait_until(lambda: is_asleep(server.children()[server.child()]))
    interrupt(server.child())
    server.rejected()
    assert client.ask("peer").endswith(b" 0\n")


def test_a_signal_to_the_server_ends_nothing(start: Start) -> None:
    server = start()
    for _ in range(20):
        interrupt(server.pid)
    server.served()


def test_who_comes_when_no_process_can_be_made_is_rejected(start: Start) -> None:
    server = start(places="10", pids_limit=3)  # an association has two
    client = server.served_in_the_end()
    for _ in range(20):
        server.rejected()
    client.socket.close()
    server.served_in_the_end()


def test_who_comes_when_the_child_can_open_no_file_is_rejected(start: Start) -> None:
    server = start()
    before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (LISTENING + 2, before[1]))
    for _ in range(20):
        server.rejected()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
    server.served_in_the_end()


def test_a_child_has_its_connection_and_nothing_of_others(start: Start) -> None:
    server = start()
    server.served_in_the_end()
    held = [target.split(":")[0] for target in descriptors(server.query()).values()][LISTENING:]
    assert held == ["/dev/null", "socket", "socket", "/worklist/lockfile"]  # the server's child copies its connection


# --- fcntl: a turn for each writer ---


def test_a_query_waits_while_a_writer_does(start: Start) -> None:
    server = start()
    client = server.served_in_the_end()
    with server.lockfile.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        client.send(READ_LOCK)
        wait_until(lambda: waits(server))
        interrupt(server.query())
        assert client.read() == b"signal\n"
        wait_until(lambda: waits(server))
    assert client.read() == b"0 0\n"


def waits(server: Server) -> None:
    assert waiting(server.lockfile) == [server.query()]


def test_a_query_that_has_begun_goes_on_and_keeps_writers_out(start: Start) -> None:
    server = start()
    client = server.served_in_the_end()
    assert client.ask(READ_LOCK) == b"0 0\n"
    with server.lockfile.open("r+") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert client.ask("peer").endswith(b" 0\n")
        with pytest.raises(BlockingIOError):
            fcntl.lockf(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert client.ask(f"lock {fcntl.F_SETLKW} {fcntl.F_UNLCK}") == b"0 0\n"
        fcntl.lockf(writer, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (fcntl.F_SETLKW, fcntl.F_WRLCK),
        (fcntl.F_SETLKW, fcntl.F_UNLCK),
        (fcntl.F_SETLK, fcntl.F_RDLCK),
        (fcntl.F_GETLK, fcntl.F_RDLCK),
        (fcntl.F_OFD_SETLKW, fcntl.F_RDLCK),
    ],
)
def test_no_other_lock_waits_or_has_a_limit(start: Start, command: int, kind: int) -> None:
    server = start()
    client = server.served_in_the_end()
    with server.lockfile.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert client.ask(f"lock {command} {kind}") == b"0 0\n"
    assert resource.prlimit(server.query(), resource.RLIMIT_CPU) == (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_every_other_command_is_passed_on(start: Start) -> None:
    server = start()
    client = server.served_in_the_end()

    def does(command: int, argument: int = 0) -> tuple[int, int]:
        result, error = client.ask(f"fcntl {command} {argument}").split()
        return int(result), int(error)

    assert does(fcntl.F_GETFD) == (0, 0)
    assert does(fcntl.F_SETFD, fcntl.FD_CLOEXEC) == (0, 0)
    assert does(fcntl.F_GETFD) == (fcntl.FD_CLOEXEC, 0)
    assert does(fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND) == (0, 0)
    assert does(fcntl.F_GETFL)[0] & (os.O_NONBLOCK | os.O_APPEND) == os.O_NONBLOCK | os.O_APPEND
    assert does(fcntl.F_DUPFD, 40) == (40, 0)
    assert does(fcntl.F_DUPFD, -1) == (-1, 22)  # EINVAL
    assert does(fcntl.F_SETOWN, -1) == (0, 0)  # a process group
    assert does(fcntl.F_GETOWN)[0] == -1
    assert does(9999) == (-1, 22)


# --- fcntl: an end for each query ---


def limit(server: Server) -> int:
    return resource.prlimit(server.query(), resource.RLIMIT_CPU)[0]


def test_each_query_of_an_association_has_five_seconds(start: Start) -> None:
    server = start()
    client = server.served_in_the_end()
    assert client.ask(READ_LOCK) == b"0 0\n"
    assert limit(server) == 6  # it has used less than one
    assert client.ask("burn 60 60") == b"0 0\n"
    assert client.ask(READ_LOCK) == b"0 0\n"
    assert limit(server) == 7  # 1.2 s
    assert client.ask("burn 100 0") == b"0 0\n"
    assert client.ask(READ_LOCK) == b"0 0\n"
    assert limit(server) == 8


@pytest.mark.parametrize(("hard", "soft"), [(600, 6), (3, 3)])
def test_a_limit_that_the_container_has_stays(start: Start, hard: int, soft: int) -> None:
    server = start()
    resource.prlimit(server.pid, resource.RLIMIT_CPU, (hard, hard))
    client = server.served_in_the_end()
    assert client.ask(READ_LOCK) == b"0 0\n"
    assert resource.prlimit(server.query(), resource.RLIMIT_CPU) == (soft, hard)


def test_a_query_without_end_is_ended_and_no_other(start: Start) -> None:
    server = start()
    endless, other = server.served_in_the_end(), server.served_in_the_end()
    assert [client.ask(READ_LOCK) for client in (endless, other)] == [b"0 0\n"] * 2
    assert endless.ask("burn 100000 0") == b""
    assert other.ask(READ_LOCK) == b"0 0\n"
    server.served_in_the_end()
    server.rejected()
