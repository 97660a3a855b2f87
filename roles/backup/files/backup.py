#!/usr/bin/python3
"""Saves a site with restic, and brings it back: Orthanc's index and files, the configurations, what the sync remembers.

Orthanc keeps its index (SQLite) for itself, so it can't be read while it runs. It is paused for as long as the copying
takes; a guard, which is a process of its own, lets it go on even if this one is killed. The index comes first and the
files after it, so that it names no file that isn't saved, unless somebody deletes it in between.

    backup.py CONFIGURATION run | check | probe | init | awake | restore [--snapshot ID] [--overwrite]
"""

import argparse
import fcntl
import grp
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]

#: How long Orthanc stands still at most, in seconds; a console that stores waits for 30 at least.
PAUSED_AT_MOST = 20
#: It ends when the program lets go of the pipe, or is gone, and unpauses then: $1 is the container.
GUARD = f"""timeout {PAUSED_AT_MOST} cat >/dev/null
for wait in 0 1 1 1; do sleep $wait; docker unpause "$1" >/dev/null 2>&1 && break; done"""
#: Each week's check reads another one of so many parts of the repository.
PARTS = 10
#: How often, and after how many seconds, it is tried again while another host works in the repository.
TRIES, PAUSE = 60, 20
TAG = "dicom-worklist"
#: No more characters of a failure than these are on the page.
SHOWN = 1000
UNEXPLAINED = "restic ended with status "
SQLITE = b"SQLite format 3\0"
#: What restic says, the rule behind it, and what to do.
SAYINGS = (
    (
        "wrong password or no key found",
        "backup_password is not the repository's",
        "Give the password with which the repository was made, from the vault, and run site.yml.",
    ),
    (
        "repository does not exist|open config file: .*(no such file|(file|key|bucket) does not exist)",
        "there is no repository at that place",
        "If it is a disk or a share, mount it; if it is another place now, set backup_repository and run site.yml.",
    ),
    (
        "no space left on device|quota exceeded|XMinioStorageFull",
        "the repository has no space left",
        "Make it larger, or keep less (backup_keep_daily, backup_keep_weekly, backup_keep_monthly).",
    ),
    (
        "read-only file system|permission denied|access denied|AccessDenied",
        "the repository can't be written to",
        "Let root of this host, or the login that backup_repository uses, write there.",
    ),
    (
        "already locked",
        "another program works in the repository",
        "Wait until it has ended. If none does, remove its lock with restic's command unlock.",
    ),
    (
        (
            "dial tcp|connection (refused|timed out)|no such host|host key verification|not resolve|ssh|InvalidAccess|"
            "Access Key Id|match the signature|no credentials found"
        ),
        "the repository's server can't be reached, or refuses the login",
        "See that it runs and that its firewall lets this host in, and compare the login with the vault's.",
    ),
)


class Failure(Exception):  # noqa: N818 - as the page calls it
    """Something that a person has to put right, the exit status for it, and what the page shows of it."""

    def __init__(self, status: int, text: str, shown: str = "") -> None:
        """Keep the status, and what is shown."""
        super().__init__(text)
        self.status, self.shown = status, shown or text


def now() -> str:
    """Return the time as it is written down."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def explain(output: str, status: int, repository: str) -> Failure:
    """Say what is wrong with the repository: restic's own words, the rule, and what to do.

    The page shows neither where it is nor restic's words, which may name that, too.
    """
    lines = [line for line in output.strip().splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("Fatal")), lines[-1] if lines else "")
    for pattern, rule, remedy in SAYINGS:
        if re.search(pattern, output, re.IGNORECASE):
            shown = f"{rule}. {remedy}"
            return Failure(4, f"{repository}: {shown} restic says: {last[-300:]}", shown)
    return Failure(
        4, f"{repository}: {UNEXPLAINED}{status}. It says: {last[-600:] or 'nothing'}",
        f"{UNEXPLAINED}{status}. What it says is in `journalctl -t dicom-backup`.",
    )  # fmt: skip


def ssh_command(repository: str, key: str, known: str) -> str | None:
    """Return how restic connects to an address of sftp with this key; nothing for another repository."""
    found = re.fullmatch(r"sftp://(?P<user>[^@/]+@)?(?P<host>[^:/]+)(:(?P<port>\d+))?/.*", repository) or re.fullmatch(
        r"sftp:(?P<user>[^@/:]+@)?(?P<host>[^:/]+)(?P<port>):.*", repository
    )
    if not found:
        return None
    line = ["ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=60"]
    line += ["-i", key, "-o", "IdentitiesOnly=yes"] if key else []
    line += ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"] if known else []
    line += ["-p", found["port"]] if found["port"] else []
    return shlex.join([*line, f"{found['user'] or ''}{found['host']}", "-s", "sftp"])


class Restic:
    """The repository. A command of restic dies with this process."""

    def __init__(self, config: Json) -> None:
        """Read where it is, and how it is reached."""
        self.repository: str = config["repository"]
        self.environment = os.environ | config["environment"] | {
            "RESTIC_REPOSITORY": self.repository, "RESTIC_PASSWORD_FILE": config["password_file"],
            "RESTIC_CACHE_DIR": str(Path(config["state"]) / "cache"), "RESTIC_PROGRESS_FPS": "0.01", "LC_ALL": "C",
        }  # fmt: skip
        ssh = ssh_command(self.repository, config.get("sftp_key", ""), config.get("sftp_known_hosts", ""))
        self.options = ["-o", f"sftp.command={ssh}"] if ssh else []

    def run(self, *line: str, fine: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run a command; wait for others that work in the repository."""
        whole = ["setpriv", "--pdeathsig", "KILL", "restic", *self.options, *line]
        for left in reversed(range(TRIES)):
            done = subprocess.run(whole, env=self.environment, capture_output=True, text=True, check=False)
            if done.returncode in fine:
                return done
            if "already locked" not in done.stderr or not left:
                break
            time.sleep(PAUSE)
        raise explain(done.stderr or done.stdout, done.returncode, self.repository)


def docker(*line: str, keep: Sequence[int] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command of Docker, which keeps these files open."""
    return subprocess.run(["docker", *line], capture_output=True, text=True, check=False, pass_fds=keep)


def state_of(container: str) -> str:
    """Return what the container does, and since when; nothing, if there is none."""
    return docker("inspect", "--format", "{{.State.Status}} {{.State.StartedAt}}", container).stdout.strip()


def wake(container: str, marker: Path) -> None:
    """Let the container go on that an earlier run has left paused."""
    if marker.exists():
        if state_of(container).startswith("paused"):
            docker("unpause", container)
        if state_of(container).startswith("paused"):
            raise Failure(5, f"The container {container} is paused and can't be unpaused. See why: docker unpause.")
        marker.unlink()


@contextmanager
def paused(container: str, marker: Path) -> Iterator[None]:
    """Pause the container for this block. If it has moved meanwhile, the block was in vain."""
    before = state_of(container)
    status, _, started = before.partition(" ")
    if status != "running":
        if status not in {"", "created", "exited"}:
            raise Failure(5, f"The container {container} is {status}, so its index can't be copied. Start it.")
        yield
        if state_of(container) != before:
            raise Failure(5, f"The container {container} was started while its index was copied. Run this again.")
        return
    reads, writes = os.pipe()
    with subprocess.Popen(["sh", "-c", GUARD, "guard", container], stdin=reads, start_new_session=True) as guard:
        os.close(reads)
        try:
            marker.touch()
            done = docker("pause", container, keep=(writes,))  # no guard lets go before this is over
            if done.returncode:
                raise Failure(5, f"The container {container} can't be paused: {done.stderr.strip()}")
            yield
            if state_of(container) != f"paused {started}":
                raise Failure(
                    5,
                    f"Copying the index takes longer than the {PAUSED_AT_MOST} s that {container} may stand still. Put "
                    "backup_staging_dir on the disk of the index, with a file system that copies without reading (XFS, "
                    "Btrfs), or use a faster disk.",
                )
        finally:
            os.close(writes)
            guard.wait()
    wake(container, marker)


def place(staging: Path, path: Path) -> Path:
    """Return where the copy of a file is kept."""
    return staging / "files" / path.relative_to("/")


def copy_index(config: Json, staging: Path, marker: Path) -> float:
    """Copy Orthanc's index, and see that the copy is sound; return for how long Orthanc stood still."""
    folder = Path(config["index"])
    target = place(staging, folder / "index")
    target.parent.mkdir(parents=True)
    names = ("index", "index-wal", "index-journal")
    with paused(config["container"], marker):
        began = time.monotonic()
        for name in names:
            if (folder / name).exists():
                # without reading, where the file system can
                line = ["cp", "--reflink=auto", "--preserve=mode,ownership", folder / name, target.with_name(name)]
                done = subprocess.run(line, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise Failure(5, f"The index can't be copied to {staging}: {done.stderr.strip()}. Make room there.")
        seconds = time.monotonic() - began
    if not target.exists():
        raise Failure(5, f"{folder / 'index'} isn't there. See that orthanc_data_dir is Orthanc's folder.")
    try:
        with closing(sqlite3.connect(target)) as database:
            database.execute("PRAGMA journal_mode = DELETE")  # into one file
            sound = database.execute("PRAGMA quick_check").fetchone()[0]
    except sqlite3.Error as error:
        sound = str(error)
    if sound != "ok":
        raise Failure(5, f"{folder / 'index'} is damaged: {sound}. Restore the last good backup; keep this file.")
    return seconds


def databases(folders: Sequence[str]) -> list[Path]:
    """Return the SQLite files in these folders."""
    found = []
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError), path.open("rb") as file:  # a part that has its name now
                    if file.read(len(SQLITE)) == SQLITE:
                        found.append(path)
    return found


def copy_database(path: Path, staging: Path) -> None:
    """Copy an SQLite file that others write to meanwhile."""
    target = place(staging, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    status = path.stat()
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(status.st_mode & 0o7777)


def owners() -> Json:
    """Return the names of the numbers that files belong to: another host has others."""
    return {
        "users": {str(user.pw_uid): user.pw_name for user in pwd.getpwall()},
        "groups": {str(group.gr_gid): group.gr_name for group in grp.getgrall()},
    }


def file_of(storage: Path, uuid: str) -> Path:
    """Return the file of an attachment, as Orthanc names it."""
    return storage / uuid[:2] / uuid[2:4] / uuid


def named(index: Path) -> Iterator[tuple[int, str, int, str]]:
    """Return resource, id, size and MD5 of each file that an index names."""
    with closing(sqlite3.connect(f"{index.as_uri()}?mode=ro", uri=True)) as database:
        yield from database.execute("SELECT id, uuid, compressedSize, compressedMD5 FROM AttachedFiles")


def save(restic: Restic, config: Json, staging: Path, taken: Sequence[Path]) -> Json:
    """Save everything as one snapshot; return what restic says of it."""
    paths = [path for path in config["paths"] if Path(path).exists()]
    (staging / "site.json").write_text(json.dumps(owners() | {"paths": paths}))
    left_out = [f"{path}{end}" for path in taken for end in ("", "-wal", "-shm", "-journal")]
    excludes = [part for path in left_out for part in ("--exclude", path)]
    line = ["backup", "--json", "--host", config["host"], "--tag", TAG, *excludes, *paths, str(staging)]
    done = restic.run(*line, fine=(0, 3))
    said: list[Json] = []
    for text in [*done.stdout.splitlines(), *done.stderr.splitlines()]:
        with suppress(ValueError):
            said.append(json.loads(text))
    # what was deleted meanwhile is left out, and counted below
    unread = [one["item"] for one in said if one.get("message_type") == "error" and os.path.lexists(one["item"])]
    if unread:
        raise Failure(
            5,
            f"{len(unread)} files can't be read, such as {unread[0]}: see the disk that they are on. All others "
            "were saved.",
        )
    summary = next((one for one in said if one.get("message_type") == "summary"), None)
    if summary is None:
        raise explain(done.stderr, done.returncode, restic.repository)
    return summary


def back_up(config: Json) -> Json:
    """Save the site; return what there is to say of it."""
    restic, state, staging = Restic(config), Path(config["state"]), Path(config["staging"])
    if (state / "restoring").exists():
        raise Failure(2, "A restore was interrupted, so this host is not whole. Run restore.yml again.")
    restic.run("unlock")  # of a run that was killed
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    try:
        taken = databases(config["databases"])
        said: Json = {}
        for path in taken:
            copy_database(path, staging)
        if config["container"]:
            index = Path(config["index"]) / "index"
            said["paused_seconds"] = round(copy_index(config, staging, state / "paused"), 3)
            taken.append(index)
        summary = save(restic, config, staging, taken)
        said |= {
            "snapshot": summary["snapshot_id"],
            "bytes_added": summary["data_added"],
            "files": summary["total_files_processed"],
        }
        if config["container"]:
            # deleted since the index was copied, or lost before
            said["missing"] = sum(
                not file_of(Path(config["index"]), uuid).exists() for _, uuid, *_ in named(place(staging, index))
            )
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    keep = {name: count for name, count in config["keep"].items() if count}
    if keep:
        line = ["forget", "--host", config["host"], "--tag", TAG, "--group-by", "host"]
        restic.run(*line, *(part for name, count in keep.items() for part in (f"--keep-{name}", str(count))))
    return said


def check(config: Json) -> Json:
    """Take what was forgotten out of the repository, and see that it is sound."""
    restic = Restic(config)
    restic.run("unlock")
    if any(config["keep"].values()):
        restic.run("prune")
    part = int(time.time() / 604800) % PARTS + 1
    try:
        restic.run("check", f"--read-data-subset={part}/{PARTS}")
    except Failure as error:
        if UNEXPLAINED not in str(error):
            raise
        shown = (
            "The backups are damaged. Keep the repository as it is, make another one (backup_repository) today, and "
            "see restic's page on troubleshooting."
        )
        raise Failure(4, f"{shown} {error}", shown) from error
    return {}


def write_down(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that every reader finds the old one or the new one, whole."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.chmod(mode)
    part.replace(path)


def metrics(known: Json) -> str:
    """Return what is known as metrics for Prometheus."""
    last, checked = known.get("run", {}), known.get("check", {})
    values = (
        ("last_success_timestamp_seconds", "When the last good backup ended; 0: never.", stamp(last.get("good"))),
        ("last_run_success", "Whether the last backup was good: 1, or 0.", int(last.get("ok", False))),
        ("last_run_bytes", "What the last good backup added.", last.get("bytes_added", 0)),
        ("missing_files", "Files that the index names and that aren't there.", last.get("missing", 0)),
        ("check_timestamp_seconds", "When the backups were last checked; 0: never.", stamp(checked.get("ended"))),
        ("check_success", "Whether the last check found them sound: 1, or 0.", int(checked.get("ok", True))),
    )
    return "".join(
        f"# HELP dicom_backup_{name} {text}\n# TYPE dicom_backup_{name} gauge\ndicom_backup_{name} {value}\n"
        for name, text, value in values
    )


def publish(config: Json, known: Json) -> None:
    """Write down what the worklist's page shows, where its sync can read it: neither an address nor restic's words."""
    file = Path(config["state"]) / "page/backup.json"
    file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        since = str(json.loads(file.read_text())["since"])
    except (OSError, ValueError, LookupError, TypeError):  # the first time, or it is damaged
        since = now()
    runs = {
        what: {
            "ended": one["ended"], "ok": one["ok"], "failure": one.get("shown", "")[:SHOWN], "good": one["good"],
            "missing": one.get("missing", 0),
        }
        for what in ("run", "check") if (one := known.get(what))
    }  # fmt: skip
    write_down(file, json.dumps({"host": config["host"], "since": since, **runs}) + "\n")


def stamp(text: str | None) -> int:
    """Return a time that was written down in seconds since 1970."""
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").timestamp()) if text else 0


def recorded(config: Json, what: str) -> None:
    """Run it, and write down how it ended."""
    file = Path(config["state"]) / "backup.json"
    known: Json = json.loads(file.read_text()) if file.exists() else {}
    before = known.get(what, {})
    entry: Json = {"began": now(), "ok": False, "failure": "", "good": before.get("good")}
    failed: Failure | None = None
    try:
        entry |= {"run": back_up, "check": check}[what](config)
    except Failure as error:
        failed = error
    except (OSError, sqlite3.Error) as error:
        failed = Failure(5, f"{error}")
    except SystemExit:
        failed = Failure(1, "It was ended from outside.")
    entry["ended"] = now()
    if failed is None:
        entry |= {"ok": True, "good": entry["ended"]}
    else:
        entry |= {"failure": str(failed), "shown": failed.shown}
    known = {"run": {}, "check": {}} | known | {"repository": config["repository"], what: entry}
    write_down(file, json.dumps(known, indent=1) + "\n", 0o600)
    publish(config, known)
    if config["metrics"] and Path(config["metrics"]).is_dir():
        write_down(Path(config["metrics"]) / "dicom_backup.prom", metrics(known))
    if failed:
        raise failed
    print(json.dumps(entry))


def probe(config: Json) -> None:
    """See that the repository can be opened."""
    Restic(config).run("cat", "config")


def snapshots_of(restic: Restic, host: str) -> list[Json]:
    """Return what the repository has of a host."""
    found: list[Json] = json.loads(restic.run("snapshots", "--json", "--host", host, "--tag", TAG).stdout) or []
    return found


def init(config: Json) -> None:
    """Make the repository, unless it is there; or gone, after this host has saved something in it.

    An empty host that has the name of a lost one must not save its emptiness as the latest state of that.
    """
    state, restic = Path(config["state"]), Restic(config)
    file = state / "backup.json"
    known: Json = json.loads(file.read_text()) if file.exists() else {}
    try:
        probe(config)
    except Failure as error:
        used = known.get("repository") == config["repository"] and known.get("run", {}).get("good")
        if "there is no repository" not in str(error) or used:
            raise
        restic.run("init")
        print("made")
    if not known and not (state / "restored.json").exists() and (there := snapshots_of(restic, config["host"])):
        raise Failure(
            4,
            f"{config['repository']} has {len(there)} backups of {config['host']}, the last one of "
            f"{max(str(one['time']) for one in there)[:19]}, and this host has made none of them. To make it the site "
            "as it was, run restore.yml, here with -e backup_restore_overwrite=true. For a new site, give it another "
            "backup_repository.",
        )
    if not (state / "page/backup.json").exists():
        publish(config, known)


def compare(index: Path, storage: Path) -> Json:
    """Compare each file that the index names with its size and its MD5; say which studies are not whole."""
    counted, wrong, files = 0, {"missing": 0, "damaged": 0}, set()
    resources = []
    for resource, uuid, size, md5 in named(index):
        counted += 1
        path = file_of(storage, uuid)
        files.add(uuid)
        kind = "" if whole(path, size, md5) else "damaged" if path.exists() else "missing"
        if kind:
            wrong[kind] += 1
            resources.append((resource, kind))
    with closing(sqlite3.connect(f"{index.as_uri()}?mode=ro", uri=True)) as database:
        totals = dict(database.execute("SELECT resourceType, count(*) FROM Resources GROUP BY resourceType"))
        studies: dict[str, Json] = {}
        for resource, kind in resources:
            study = studies.setdefault(title(database, resource), {"missing": 0, "damaged": 0})
            study[kind] += 1
    unknown = [path.name for path in storage.glob("??/??/*") if path.name not in files]
    return {
        "studies": totals.get(2, 0), "instances": totals.get(4, 0), "files": counted, **wrong,
        "not_whole": studies, "not_in_index": sorted(unknown),
    }  # fmt: skip


def whole(path: Path, size: int, md5: str | None) -> bool:
    """Return whether a file is there, and what the index says of it."""
    try:
        if path.stat().st_size != size:
            return False
        with path.open("rb") as file:
            return not md5 or hashlib.file_digest(file, "md5").hexdigest() == md5
    except OSError:
        return False


def title(database: sqlite3.Connection, resource: int) -> str:
    """Return what a person knows the study of a resource by: PatientID, date, description and StudyInstanceUID."""
    line = database.execute(
        """WITH RECURSIVE up(id, type, parent) AS (
               SELECT internalId, resourceType, parentId FROM Resources WHERE internalId = ?
               UNION ALL SELECT above.internalId, above.resourceType, above.parentId
                   FROM Resources above JOIN up ON above.internalId = up.parent)
           SELECT type, id FROM up WHERE type <= 2 ORDER BY type""",
        (resource,),
    ).fetchall()
    values = {}
    for _, of in line:
        for table in ("MainDicomTags", "DicomIdentifiers"):
            found = database.execute(f"SELECT tagGroup, tagElement, value FROM {table} WHERE id = ?", (of,))  # noqa: S608
            for group, element, value in found:
                values.setdefault((group, element), value)
    wanted = ((0x10, 0x20), (0x08, 0x20), (0x08, 0x1030), (0x20, 0x0D))
    return " ".join(values[tag] for tag in wanted if values.get(tag)) or f"resource {resource}"


def restore(config: Json, snapshot: str, overwrite: bool) -> Json:
    """Bring the files of a snapshot back to their places; return what is there, and what is missing."""
    restic, state, staging = Restic(config), Path(config["state"]), Path(config["staging"])
    unfinished = state / "restoring"
    snapshots = snapshots_of(restic, config["host"])
    chosen = [one for one in snapshots if snapshot == "latest" or one["id"].startswith(snapshot)]
    if not chosen:
        there = ", ".join(f"{one['short_id']} of {one['time'][:19]}" for one in snapshots)
        raise Failure(
            4,
            f"{config['repository']} has no snapshot {snapshot} of the host {config['host']}. It has: "
            f"{there or 'none of this host. A snapshot is found by the name that the inventory gives the host'}.",
        )
    one = max(chosen, key=lambda found: str(found["time"]))
    if not unfinished.exists() and (there := [path for path in config["paths"] if occupied(Path(path))]):
        if not overwrite:
            raise Failure(
                2, f"There is something in {', '.join(there)} already, and nothing of it is overwritten. If the backup "
                "is to take its place, say so with -e backup_restore_overwrite=true: what is there is then renamed."
            )  # fmt: skip
        suffix = f".before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for path in there:
            set_aside(Path(path), suffix)
    write_down(unfinished, one["id"])
    shutil.rmtree(staging, ignore_errors=True)
    restic.run("restore", one["id"], "--target", "/")
    if not (staging / "site.json").exists():
        raise Failure(
            2,
            f"The snapshot has {', '.join(one['paths'])}, and not {staging}. Set backup_staging_dir as it was then.",
        )
    site: Json = json.loads((staging / "site.json").read_text())
    take_copies(staging)
    for path in site["paths"]:
        own(Path(path), site)
    shutil.rmtree(staging)
    found: Json = {"snapshot": one["id"], "saved": one["time"], "paths": site["paths"]}
    index = Path(config["index"]) / "index"
    if config["container"]:
        if not index.exists():
            raise Failure(5, f"The snapshot {one['id']} has no {index}. Set orthanc_data_dir as it was then.")
        found |= compare(index, index.parent)
    write_down(state / "restored.json", json.dumps(found, indent=1) + "\n", 0o600)
    unfinished.unlink()
    return found


def occupied(path: Path) -> bool:
    """Return whether anything is there."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def set_aside(path: Path, suffix: str) -> None:
    """Give it another name beside it."""
    try:
        path.rename(path.with_name(path.name + suffix))
    except OSError as error:
        raise Failure(
            2, f"{path} can't be renamed ({error.strerror}). If it is a disk of its own, empty it, and run this again."
        ) from error  # fmt: skip


def take_copies(staging: Path) -> None:
    """Bring the copies of the databases to their places."""
    root = staging / "files"
    for copy in sorted(root.rglob("*")) if root.exists() else []:
        if copy.is_file():
            target = Path("/") / copy.relative_to(root)
            for old in ("-wal", "-shm", "-journal"):
                target.with_name(target.name + old).unlink(missing_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(copy, target)


def own(top: Path, site: Json) -> None:
    """Give everything below a folder to whom it belonged, whose number may be another here."""
    users = {int(number): name for number, name in site["users"].items()}
    groups = {int(number): name for number, name in site["groups"].items()}
    here = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    here_groups = {group.gr_name: group.gr_gid for group in grp.getgrall()}
    for path in (top, *(Path(folder, name) for folder, *names in os.walk(top) for part in names for name in part)):
        status = path.lstat()
        uid = here.get(users.get(status.st_uid, ""), status.st_uid)
        gid = here_groups.get(groups.get(status.st_gid, ""), status.st_gid)
        if (uid, gid) != (status.st_uid, status.st_gid):
            os.chown(path, uid, gid, follow_symlinks=False)
            if not path.is_symlink():
                path.chmod(status.st_mode & 0o7777)


@contextmanager
def alone(state: Path) -> Iterator[bool]:
    """Work in this host's backups alone; return whether that is so."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("configuration", type=Path)
    parser.add_argument("what", choices=["run", "check", "probe", "init", "awake", "restore"])
    parser.add_argument("--snapshot", default="latest", help="restore: its id")
    parser.add_argument("--overwrite", action="store_true", help="restore: rename what is there")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        config: Json = json.loads(given.configuration.read_text())
        if given.what in {"probe", "init"}:
            {"probe": probe, "init": init}[given.what](config)
            return 0
        state = Path(config["state"])
        with alone(state) as ours:
            if not ours:
                if given.what == "awake":
                    return 0  # that run has a guard
                raise Failure(1, "A backup, a check or a restore is running already. Wait until it has ended.")
            if config["container"]:
                wake(config["container"], state / "paused")
            if given.what in {"run", "check"}:
                recorded(config, given.what)
            elif given.what == "restore":
                print(json.dumps(restore(config, given.snapshot, given.overwrite)))
    except Failure as error:
        print(error, file=sys.stderr)
        return error.status
    except (OSError, ValueError) as error:
        print(f"{given.configuration}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
