"""The disk fails, or somebody does something to the folder: nothing is lost, and nothing is written elsewhere.

The real command, as the site's own user; a disk of its own; and what is done to it is done as people do it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dicom_worklist import config, pipeline
from support import live
from support.calendar import DAY, NOW, Calendar
from support.configuration import settings, write_yaml
from support.tally import Tally
from support.worklist_folder import everything, worklist_files

Files = dict[str, bytes]
#: Bookings and their subject and session: one stays, one changes, two go, two come.
BEFORE, AFTER = {1: "1-1", 2: "2-1", 3: "3-1", 4: "4-1"}, {1: "1-1", 2: "2-2", 5: "5-1", 6: "6-1"}
FULL = "No space left on device"
DENIED = "Permission denied"
ABSENT = "No such file or directory"
#: What is done beside the folder WLBROKER, what makes it good again, and what the run has to say.
FAULTS = [
    ("mount -o remount,ro .", "mount -o remount,rw .", "WLBROKER can't be written: Read-only file system"),
    (
        "mount --bind WLBROKER WLBROKER; mount -o remount,bind,ro WLBROKER",
        "umount WLBROKER",
        "WLBROKER can't be written: Read-only file system",
    ),
    ("head -c 1G /dev/zero >filler || :", "rm filler", f"WLBROKER can't be written: {FULL}"),
    ("touch $(seq -f filler%g 300) || :", "rm filler*", f"WLBROKER can't be written: {FULL}"),
    ("mv WLBROKER away", "mv away WLBROKER", f"WLBROKER can't be opened: {ABSENT}"),
    ("mv WLBROKER away; : >WLBROKER", "rm WLBROKER; mv away WLBROKER", "WLBROKER can't be opened: Not a directory"),
    # its disk isn't mounted: what is there instead is empty
    ("mkdir none; mount --bind none WLBROKER", "umount WLBROKER; rmdir none", f"WLBROKER can't be written: {DENIED}"),
    ("chown root:root WLBROKER", "chown :{group} WLBROKER; chmod g+s WLBROKER", f"WLBROKER can't be opened: {DENIED}"),
    ("chmod g-w WLBROKER", "chmod g+w WLBROKER", f"WLBROKER can't be written: {DENIED}"),
    ("chmod g-x WLBROKER", "chmod g+x WLBROKER", f"WLBROKER can't be written: {DENIED}"),
    ("chmod g-r WLBROKER", "chmod g+r WLBROKER", f"WLBROKER can't be opened: {DENIED}"),
    (
        "chmod +t WLBROKER; chown root WLBROKER/booking-4-*",
        "chmod -t WLBROKER",
        "WLBROKER can't be written: Operation not permitted (booking-4-PRISMA.wl)",
    ),
    (
        ": >other; mount --bind other WLBROKER/booking-4-PRISMA.wl",
        "umount WLBROKER/booking-4-PRISMA.wl; rm other",
        "WLBROKER can't be written: Device or resource busy (booking-4-PRISMA.wl)",
    ),
    (
        "mkdir WLBROKER/booking-6-PRISMA.wl",
        "rmdir WLBROKER/booking-6-PRISMA.wl",
        "WLBROKER can't be written: Is a directory (booking-6-PRISMA.wl)",
    ),
    (
        "mkdir WLBROKER/.booking-6-PRISMA.tmp",
        "rmdir WLBROKER/.booking-6-PRISMA.tmp",
        "WLBROKER can't be written: Is a directory (.booking-6-PRISMA.tmp)",
    ),
    ("mv WLBROKER/lockfile .", "mv lockfile WLBROKER", f"lockfile can't be opened: {ABSENT}"),
    ("chmod g-w WLBROKER/lockfile", "chmod g+w WLBROKER/lockfile", f"lockfile can't be opened: {DENIED}"),
    ("chgrp root WLBROKER/lockfile", "chgrp {group} WLBROKER/lockfile", f"lockfile can't be opened: {DENIED}"),
    (
        "mv WLBROKER/lockfile .; mkdir WLBROKER/lockfile",
        "rmdir WLBROKER/lockfile; mv lockfile WLBROKER",
        "lockfile can't be opened: Is a directory",
    ),
    (
        "mv WLBROKER/lockfile .; ln -s ../outside/file WLBROKER/lockfile",
        "mv lockfile WLBROKER",
        "lockfile can't be opened: Too many levels of symbolic links",
    ),
    (
        "mv WLBROKER/lockfile .; ln -s ../outside/new WLBROKER/lockfile",
        "mv lockfile WLBROKER",
        "lockfile can't be opened: Too many levels of symbolic links",
    ),
]
#: What is planted in the folder, and the names of what has to stay there as it is.
PLANTED = [
    ("ln -s ../outside/file booking-6-PRISMA.wl", ""),
    ("ln -s ../outside/new booking-6-PRISMA.wl", ""),
    ("ln -s ../outside booking-6-PRISMA.wl", ""),
    ("ln -sf ../outside/file booking-1-PRISMA.wl", ""),
    ("ln -sf ../outside/file booking-4-PRISMA.wl", ""),
    ("ln -f ../outside/file booking-2-PRISMA.wl", ""),
    ("ln -s ../outside/file .booking-6-PRISMA.tmp", ""),
    ("ln -s ../outside/new .booking-6-PRISMA.tmp", ""),
    ("ln ../outside/file .booking-6-PRISMA.tmp", ""),
    ("mkfifo .booking-6-PRISMA.tmp booking-6-PRISMA.wl", ""),
    ("cp booking-1-PRISMA.wl booking-2-PRISMA.wl", ""),
    ("rm -f booking-1-PRISMA.wl", ""),
    (": >booking-1-PRISMA.wl", ""),
    ("truncate -s 100 booking-1-PRISMA.wl", ""),
    ("truncate -s 4T booking-1-PRISMA.wl", ""),
    ("printf x | dd of=booking-1-PRISMA.wl bs=1 seek=700 conv=notrunc", ""),
    ("chown root:root booking-1-PRISMA.wl; chmod 0 booking-1-PRISMA.wl", ""),
    ("head -c 3000 /dev/urandom >booking-7-PRISMA.wl", ""),
    ("cp booking-1-PRISMA.wl booking-7-SKYRA.wl", ""),
    ("head -c 3000 /dev/urandom >foreign.wl; mkdir notes; : >notes/booking-1-PRISMA.wl", "foreign.wl notes"),
    ("ln -s ../outside/file other.wl; ln -s . booking-7.wl; mkfifo pipe.wl", "other.wl booking-7.wl pipe.wl"),
    (": >booking-%FF-P.wl; : >$(printf 'booking-\\377-P.wl')", "booking-%FF-P.wl booking-\udcff-P.wl"),
    (": >$(printf '.booking-\\377-PRISMA.tmp'); : >.hidden.tmp", ".booking-\udcff-PRISMA.tmp .hidden.tmp"),
    ("truncate -s 4T huge.wl", "huge.wl"),
]  # fmt: skip


@dataclass(frozen=True)
class Worklist:
    """A worklist on a disk of its own, the configurations before and after a change, and what it then holds."""

    site: live.Site
    root: Path
    configurations: tuple[Path, Path]
    contents: tuple[Files, Files]

    @property
    def folder(self) -> Path:
        return self.root / "WLBROKER"

    def prepare(self) -> None:
        """Make the folder as it was before the change: as the site has it, with entries of the sync's user."""
        original = Path(live.VARIABLES["wlmscpfs_data_dir"]) / "WLBROKER"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "lockfile").touch()
        for path, like in ((self.folder, original), (self.folder / "lockfile", original / "lockfile")):
            os.chown(path, like.stat().st_uid, like.stat().st_gid)
            shutil.copymode(like, path)
        for name, content in self.contents[0].items():
            (self.folder / name).write_bytes(content)
            shutil.chown(self.folder / name, self.site.user)
            (self.folder / name).chmod(0o640)

    def do(self, line: str) -> None:
        """Do what a person, or a disk, does beside the folder."""
        line = line.replace("{group}", str((Path(live.VARIABLES["wlmscpfs_data_dir"]) / "WLBROKER").group()))
        subprocess.run(["sh", "-ec", line], cwd=self.root, check=True, capture_output=True)

    def check(self) -> str:
        """Return what `dicom-worklist check` says of the folder, in one line."""
        said = self.site.run("check", "--only", "folder", "-c", str(self.configurations[1])).stdout
        return " ".join(said.split())

    def sync(self) -> subprocess.CompletedProcess[str]:
        return self.site.run("sync", "-c", str(self.configurations[1]), "--day", str(DAY))

    def files(self) -> Files:
        paths = sorted(self.folder.glob("*.wl"))
        return {path.name: path.read_bytes() for path in paths if path.is_file() and path.stat().st_size < 10**6}

    def state(self, names: Iterable[str]) -> dict[str, tuple[int, int, int]]:
        """Return name → inode, size and time of change."""
        of = {name: (self.folder / name).lstat() for name in names}
        return {name: (status.st_ino, status.st_size, status.st_mtime_ns) for name, status in of.items()}

    def ends_well(self) -> bool:
        """Return whether the next run makes the folder right, and leaves nothing else there."""
        done = self.sync()
        names = sorted(path.name for path in self.folder.iterdir())
        print(done.returncode, done.stderr, *names)  # is read if the test fails
        return done.returncode == 0 and self.files() == self.contents[1] and names == [*self.contents[1], "lockfile"]


@pytest.fixture
def worklist(site: live.Site) -> Iterator[Worklist]:
    with tempfile.TemporaryDirectory(prefix="dicom-worklist-", dir="/var/tmp") as name:
        place, root = Path(name), Path(name) / "wlbroker"
        place.chmod(0o755)
        (root / "WLBROKER").mkdir(parents=True)
        (root / "WLBROKER" / "lockfile").touch()
        configurations, contents = [], []
        for at, bookings in enumerate((BEFORE, AFTER)):
            calendar = Calendar(place / f"{at}.sqlite")
            for booking_id, subj_ses in bookings.items():
                calendar.book(booking_id, subj_ses)
            path = write_yaml(place / f"{at}.yml", settings(calendar.path, root))
            pipeline.run(config.load(path), DAY, now=NOW)
            configurations.append(path)
            contents.append(worklist_files(root / "WLBROKER"))
            for made in (calendar.path, path):
                made.chmod(0o644)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=256,mode=755", "disk", root], check=True)
        try:
            (root / "outside").mkdir(mode=0o777)
            (root / "outside").chmod(0o777)
            (root / "outside" / "file").write_bytes(b"not ours")
            (root / "outside" / "file").chmod(0o666)
            yield Worklist(site, root, (configurations[0], configurations[1]), (contents[0], contents[1]))
        finally:
            subprocess.run(["umount", "--recursive", root], check=True)


def test_a_folder_that_can_not_be_written_is_named_and_keeps_what_it_has(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    for fault, remedy, said in FAULTS[:: often(5, 1)]:
        worklist.prepare()
        outside = everything(worklist.root / "outside")
        worklist.do(fault)
        there = worklist.files()
        done = worklist.sync()
        tally.tried += 1
        tally.wrong += (done.returncode, done.stdout, done.stderr.count("\n")) != (5, "", 1)
        tally.wrong += f"{worklist.root}/{said}" not in done.stderr.replace("WLBROKER/lockfile", "lockfile")
        tally.wrong += "site.yml makes them" not in done.stderr
        tally.lost += len(there.items() - worklist.files().items())
        tally.wrong += len(worklist.files().items() - there.items())
        if "booking-" not in said:  # nothing is wrong with one entry, but with the folder
            print(checked := worklist.check())
            tally.wrong += said.split(": ")[1] not in checked
        worklist.do(remedy)
        tally.lost += len(worklist.contents[0].items() - worklist.files().items())
        tally.wrong += everything(worklist.root / "outside") != outside
        print(f"{fault}: {done.returncode} {done.stderr}")  # is read if the test fails
        tally.failed += not worklist.ends_well()


def test_a_disk_of_which_any_number_of_pages_is_free(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    ends = set()
    for pages in range(0, 12, often(6, 1)):
        worklist.prepare()
        filler = worklist.root / "filler"
        worklist.do(f"head -c {pages * 4096} /dev/zero >room; head -c 1G /dev/zero >filler || :; rm room")
        done = worklist.sync()
        tally.tried += 1
        tally.wrong += (done.returncode, worklist.files()) not in ((5, worklist.contents[0]), (0, worklist.contents[1]))
        tally.lost += len((worklist.contents[0].items() & worklist.contents[1].items()) - worklist.files().items())
        tally.wrong += done.returncode == 5 and FULL not in done.stderr
        ends.add(done.returncode)
        filler.unlink()
        tally.failed += not worklist.ends_well()
    assert ends == {0, 5}


def test_what_is_planted_in_the_folder_leads_nowhere(
    worklist: Worklist, tally: Tally, often: Callable[[int, int], int]
) -> None:
    for line, stays in PLANTED[:: often(8, 1)]:
        worklist.prepare()
        outside = everything(worklist.root / "outside")
        worklist.do(f"cd WLBROKER; {line}")
        theirs = worklist.state(stays.split())
        done = worklist.sync()
        tally.tried += 1
        tally.failed += done.returncode != 0
        print(f"{line}: {done.returncode} {done.stderr}")  # is read if the test fails
        tally.lost += len(worklist.contents[1].items() - worklist.files().items())
        names = {path.name for path in worklist.folder.iterdir()}
        tally.wrong += names != {*worklist.contents[1], *theirs, "lockfile"}
        tally.lost += worklist.state(name for name in theirs if name in names) != theirs
        tally.wrong += everything(worklist.root / "outside") != outside
        done = worklist.site.run("list", "-c", str(worklist.configurations[1]))
        tally.failed += done.returncode != 0 or len(done.stdout.splitlines()) < len(AFTER)
