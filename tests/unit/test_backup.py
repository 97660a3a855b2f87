"""What decides in the backup's program, without Docker and restic; what it does with them is in tests/integration."""

import importlib.util
import json
import os
import sqlite3
from contextlib import closing
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLE = Path(__file__).parents[2] / "roles/backup"
ALERTS = Path(__file__).parents[2] / "roles/worklist_sync/files/monitoring/alerts.yml"
specification = importlib.util.spec_from_file_location("backup", ROLE / "files/backup.py")
assert specification
assert specification.loader
backup: Any = importlib.util.module_from_spec(specification)
specification.loader.exec_module(backup)

#: The reason is after it. The second is that of restic 0.18 where there is no such file.
CONFIG = "Fatal: unable to open config file"
NONE = "Fatal: repository does not exist: unable to open config file"
SIGNATURE = "does not match the signature you provided"


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("Fatal: wrong password or no key found", "backup_password is not the repository's"),
        *(
            (f"{fatal}: {why}\nIs there a repository at the following location?\n/mnt", rule)
            for fatal, why, rule in (
                (CONFIG, "stat /mnt/config: no such file or directory", "there is no repository at that place"),
                (CONFIG, "Lstat: file does not exist", "there is no repository at that place"),
                (CONFIG, "Stat: The specified key does not exist.", "there is no repository at that place"),
                (CONFIG, "Stat: The specified bucket does not exist", "there is no repository at that place"),
                (NONE, "stat /mnt/config: no such file or directory", "there is no repository at that place"),
                (CONFIG, "stat /mnt/config: permission denied", "can't be written to"),
                (CONFIG, "Stat: Access Denied.", "can't be written to"),
                (
                    CONFIG,
                    "Stat: The AWS Access Key Id you provided does not exist in our records.",
                    "refuses the login",
                ),
                (CONFIG, f"Stat: The request signature we calculated {SIGNATURE}.", "refuses the login"),
                (
                    CONFIG,
                    'Stat: Get "http://x/": dial tcp 192.0.2.1:9: connect: connection refused',
                    "can't be reached",
                ),
            )
        ),
        ("Fatal: unable to open repository at s3:x: s3.getCredentials: no credentials found.", "refuses the login"),
        ("Save(<data/12>) returned error: write /mnt/12: no space left on device", "no space left"),
        ("Fatal: create lock: open /mnt/locks/1: read-only file system", "can't be written to"),
        ("Fatal: unable to create lock in backend: repository is already locked by PID 7", "another program works"),
        ("Fatal: Get https://s3.example.org/pacs: dial tcp: lookup s3.example.org: no such host", "can't be reached"),
        ("subprocess ssh: Host key verification failed.\nFatal: unable to open repository", "can't be reached"),
        ("Fatal: something that nobody has seen", "restic ended with status 7"),
        ("", "It says: nothing"),
    ],
)
def test_what_restic_says_becomes_the_place_the_rule_and_the_remedy(said: str, rule: str) -> None:
    failure = backup.explain(said, 7, "/mnt")
    text = str(failure)
    assert text.startswith("/mnt: ")
    assert rule in text
    assert not said or said.splitlines()[-1] in text or "Fatal" in text
    assert rule in failure.shown or "nothing" in rule
    assert not {word for word in ("/mnt", "Fatal", "PID", "s3.example.org") if word in failure.shown}


@pytest.mark.parametrize(
    ("repository", "command"),
    [
        ("/mnt/backup", None),
        ("s3:https://s3.example.org/pacs", None),
        ("sftp:backup@backup.example.org:/pacs", "backup@backup.example.org -s sftp"),
        ("sftp:backup.example.org:pacs", "backup.example.org -s sftp"),
        ("sftp://backup@backup.example.org:2222//pacs", "-p 2222 backup@backup.example.org -s sftp"),
        ("sftp://backup.example.org/pacs", "backup.example.org -s sftp"),
    ],
)
def test_an_sftp_server_is_asked_with_the_site_s_key_and_only_if_it_is_known(repository: str, command: str) -> None:
    found = backup.ssh_command(repository, "/etc/key", "/etc/known")
    if command is None:
        assert found is None
    else:
        assert found.endswith(command)
        assert "-i /etc/key -o IdentitiesOnly=yes" in found
        assert "UserKnownHostsFile=/etc/known -o StrictHostKeyChecking=yes" in found
        assert "BatchMode=yes" in found


def index_of(folder: Path, **files: bytes) -> Path:
    """An index with a study of one series, and an image of it for each file."""
    index = folder / "index"
    with closing(sqlite3.connect(index)) as database:
        database.executescript(
            """CREATE TABLE Resources(internalId INTEGER PRIMARY KEY, resourceType, publicId, parentId);
            CREATE TABLE AttachedFiles(id, fileType, uuid, compressedSize, compressedMD5);
            CREATE TABLE MainDicomTags(id, tagGroup, tagElement, value);
            CREATE TABLE DicomIdentifiers(id, tagGroup, tagElement, value);
            INSERT INTO Resources VALUES (1, 1, 'p', NULL), (2, 2, 's', 1), (3, 3, 'r', 2);
            INSERT INTO MainDicomTags VALUES (1, 16, 32, '7_sub-007'), (2, 8, 32, '20261126'), (2, 32, 13, '2.25.7');"""
        )
        for number, (uuid, content) in enumerate(files.items(), 4):
            database.execute("INSERT INTO Resources VALUES (?, 4, ?, 3)", (number, uuid))
            row = (number, uuid, len(content), md5(content).hexdigest())
            database.execute("INSERT INTO AttachedFiles VALUES (?, 1, ?, ?, ?)", row)
            path = backup.file_of(folder, uuid)
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        database.commit()
    return index


def test_each_file_is_compared_with_the_index(tmp_path: Path) -> None:
    index = index_of(tmp_path, aabb1=b"whole", bbcc2=b"gone", ccdd3=b"changed", ddee4=b"longer", eeff5=b"whole too")
    (tmp_path / "bb/cc/bbcc2").unlink()
    (tmp_path / "cc/dd/ccdd3").write_bytes(b"CHANGED")
    (tmp_path / "dd/ee/ddee4").write_bytes(b"much longer")
    (tmp_path / "ee/ff/eeff6").write_bytes(b"came later")
    assert backup.compare(index, tmp_path) == {
        "studies": 1,
        "instances": 5,
        "files": 5,
        "missing": 1,
        "damaged": 2,
        "not_whole": {"7_sub-007 20261126 2.25.7": {"missing": 1, "damaged": 2}},
        "not_in_index": ["eeff6"],
    }


def test_the_databases_are_found_by_what_is_in_them(tmp_path: Path) -> None:
    index_of(tmp_path)
    (tmp_path / "status.json").write_text("{}")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "index")
    assert backup.databases([str(tmp_path), str(tmp_path / "nowhere")]) == [tmp_path / "index"]


def test_who_owns_a_file_follows_from_the_name_and_not_from_the_number(tmp_path: Path) -> None:
    for name in ("theirs", "nobodys", "ours"):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, {"theirs": 4001, "nobodys": 4002, "ours": 0}[name], 4001)
    (tmp_path / "theirs").chmod(0o640)
    (tmp_path / "link").symlink_to("/nonexistent")
    backup.own(tmp_path, {"users": {"4001": "daemon", "4002": "nobody-here", "0": "root"}, "groups": {"4001": "adm"}})
    found = {path.name: (path.lstat().st_uid, path.lstat().st_gid) for path in tmp_path.iterdir()}
    assert found == {"theirs": (1, 4), "nobodys": (4002, 4), "ours": (0, 4), "link": (0, 0)}
    assert (tmp_path / "theirs").stat().st_mode & 0o777 == 0o640


def test_each_metric_that_an_alert_names_is_written() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    named = {word for rule in rules for word in rule["expr"].split() if word.startswith("dicom_backup_")}
    assert len(named) == 4
    text = backup.metrics({})
    assert not {name for name in named if f"\n{name} " not in text}


def test_what_never_ran_is_no_good_backup_and_no_failed_check() -> None:
    text = backup.metrics({})
    assert "\ndicom_backup_last_success_timestamp_seconds 0\n" in text
    assert "\ndicom_backup_check_success 1\n" in text


def test_the_metrics_say_when_the_last_good_one_was_after_one_that_failed() -> None:
    text = backup.metrics(
        {"run": {"ok": False, "good": "2026-11-26T03:04:05Z", "missing": 2}, "check": {"ok": False, "ended": None}}
    )
    assert "\ndicom_backup_last_success_timestamp_seconds 1795662245\n" in text
    assert "\ndicom_backup_last_run_success 0\n" in text
    assert "\ndicom_backup_missing_files 2\n" in text
    assert "\ndicom_backup_check_success 0\n" in text


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = tmp_path / "backup.json"
    configuration.write_text(json.dumps({"state": str(tmp_path), "container": ""}))
    with backup.alone(tmp_path):
        assert backup.main([str(configuration), "run"]) == 1
        assert backup.main([str(configuration), "awake"]) == 0
    assert "is running already" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup.main([str(tmp_path / "backup.json"), "run"]) == 2
    assert "backup.json" in capsys.readouterr().err
