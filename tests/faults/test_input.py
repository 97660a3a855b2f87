"""Text as nobody should type it: each booking is on the console as promised, or rejected with a reason; none stops
the others, and none leaves the folder."""

import csv
import json
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from dicom_worklist.bookings.booking import COLUMNS
from support import clients, twins
from support.calendar import DAY
from support.command import command
from support.configuration import changed, settings, write_yaml
from support.expected_entries import CHARSETS, Promise, Row, printed, promise
from support.tally import Tally

ORDERLY = (b"3010000.01", b"Language and the brain", b"7-1", str(DAY).encode(), b"09:00:00", b"SKYRA", b"Ada")
Often = Callable[[int, int], int]
Write = Callable[[Path, Sequence[Row]], dict[str, str]]
# pydicom counts bytes, where PS3.5 counts characters
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
#: What has a meaning to something on the way, or is hard to write.
PIECES = [
    *"\x00 \x01 \x07 \t \n \r \r\n \x1b[2J \x1b]0;x\x07 \x7f \x85 \x9b \u2028 \u2029".split(" "),
    *r"\ \\ \n ^ ^^ = == [ ] [red] [/] ( { } | ~ ' ` ; , % & && > < - -- --day # @ ! !unsafe <b> &amp;".split(),
    *"' OR 1=1 --\n'; DROP TABLE bookings; --\n:last_day\n%(first_day)s\nNULL\nNone\nnan\n$HOME\n$(id)\n`id`".split(
        "\n"
    ),
    *"{{ 7 * 7 }}\n{{ booking }}\n{% raw %}\n{# x\n{{\n%2F\n%00\n*\n?\n..\n../\n../../\n/\n//\n/etc/passwd".split("\n"),
    *".wl lockfile booking-1-SKYRA.wl Zürich Łódź naïve ß Ĳ 日本語 Ελλάδα Россия שלום مرحبا 한국어 ไทย नमस्ते".split(),
    *"😀 👩\u200d🔬 🇳🇱 e\u0301 \u0301 \u202e \u2066 \u200f \u200b \ufeff \u2800 \u3000 \u00a0 \u1361".split(" "),
    *"\uff3e \uff1d \uff3c \u2227 ≡ ⁼ \u02c6 \U000e0041 \uffff \U0010ffff \U0001d518 ﷺ".split(),
    "z" + "\u0302\u0334\u0489" * 8,
]
BROKEN = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xed\xb2\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80", b"caf\xe9"]
DATES = b"2026-11-23 2026-11-25 24-11-2026 2026-02-30 2026-11-24T99 0000-00-00 today".split()
TIMES = "0:00 23:59:59 9:05 12:34:56 24:00:00 -1:00:00 9:5 9_am \u0660\u0669:\u0660\u0660 9:60".encode().split()
TWICE = ("the calendar has",)
SESSIONS = (
    b"7,x2 - 3,Undefined-1,7-pilot-12,7-100,0,Cancellation,-1,2026-01-07,X-,sub-7_ses-2,SUB-x2,sub-7_ses-,sub-7-2,\
Jan-07,7/1,07.01.2026,7.0,sub,ses-2,7\xe2\x80\x932,7\xe2\x88\x92\xe2\x88\x922,\xef\xbc\x97-1,..-1,.7-1,nan".split(b",")
)


def hostile(chance: random.Random) -> bytes:
    pieces = [chance.choice(BROKEN) if chance.random() < 0.1 else chance.choice(PIECES).encode() for _ in range(3)]
    pieces[1 : chance.randrange(1, 3)] = [chance.choice([b"a", b"Title ", b"7"])]
    return b"".join(pieces)


def value(column: str, orderly: bytes, chance: random.Random) -> bytes | int | None:
    """Return a value that a column should not have."""
    bad = {
        "project_title": [hostile(chance) * chance.choice([1, 3, 10, 500]), hostile(chance) + b"t" * 10_000],
        "subject_session": [hostile(chance) + b"-1", chance.choice(SESSIONS), b"7-" + hostile(chance)],
        "start_date": DATES,
        "start_time": [*TIMES, hostile(chance)],
        "lab": [b"PRISMA and SKYRA", b"SKYRA" + hostile(chance), hostile(chance) + b"Prismafit\n3T"],
        "status": [b"tentative", b"Confirmed ", b"CANCELLED", hostile(chance)],
    }
    if chance.random() < 0.15:
        return chance.choice([None, b"", b" ", chance.randrange(100)])
    return chance.choice(bad.get(column, [hostile(chance), orderly + hostile(chance), hostile(chance) * 30]))


def row(number: int, chance: random.Random) -> Row:
    made: dict[str, bytes | int | None] = {"booking_id": number}
    made |= dict(zip(COLUMNS[1:], (*ORDERLY, b"Lovelace", b"CONFIRMED"), strict=True))
    made["lab"] = chance.choice([b"Siemens PRISMA 3T", b"Prismafit", b"SKYRA"])
    for column in chance.sample(COLUMNS[1:], chance.randrange(4)):
        made[column] = value(column, bytes(made[column] or b""), chance)
    if number <= len(COLUMNS):
        made[COLUMNS[number - 1]] = None
    elif chance.random() < 0.3:
        made["booking_id"] = hostile(chance)[:12] + str(number).encode()
    elif chance.random() < 0.03:
        made["booking_id"] = chance.choice([None, b" \n", number - number % 7])
    return made


#: What ends a warning about several bookings, which other tests are about.
DOUBLES = (
    "(are of one subject and session, .*|have one PatientID, .*, at one time|are at the same time on one scanner)$"
)


def write_csv(path: Path, rows: Sequence[Row]) -> dict[str, str]:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            texts = (v.decode("utf-8", "surrogateescape") if isinstance(v, bytes) else v for v in row.values())
            writer.writerow(texts)
    return {"type": "csv", "path": str(path)}


def write_sqlite(path: Path, rows: Sequence[Row]) -> dict[str, str]:
    """Text is TEXT in one row, and a BLOB in the next."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE bookings ({', '.join(COLUMNS)})")
        for number, row in enumerate(rows):
            places = ("CAST(? AS TEXT)" if isinstance(v, bytes) and number % 2 else "?" for v in row.values())
            connection.execute(f"INSERT INTO bookings VALUES ({', '.join(places)})", tuple(row.values()))
    return {"type": "sqlite", "path": str(path), "query": "SELECT * FROM bookings"}


def promises(rows: Sequence[Row]) -> list[Promise]:
    """Return what each row that counts must become; an id that is there twice rejects both."""
    every = [promise(row) for row in rows]
    times = Counter(promised.booking_id for promised in every if promised.taken)
    made = [promised for promised in every if promised.counts]
    for promised in made:
        if promised.booking_id and times[promised.booking_id] > 1 and not promised.faults & {"start_date", "lab"}:
            promised.faults = set(TWICE)
    return made


@pytest.mark.parametrize("write", [write_csv, write_sqlite])
def test_hostile_text(write: Write, broker: twins.Broker, tmp_path: Path, tally: Tally, often: Often) -> None:
    chance = random.Random(write.__name__)
    changes: dict[str, object] = {"attributes.SpecialNeeds": "{{ lab }}"}
    changes |= {f"scanners.{at}.charset": charset for at, (charset, _) in enumerate(CHARSETS.values())}
    many = Counter[str]()
    for batch in range(often(1, 4)):
        rows = [row(number, chance) for number in range(1, often(200, 2500) + 1)]
        changes["source"] = write(tmp_path / f"bookings{batch}", rows)
        config = write_yaml(tmp_path / "config.yml", changed(settings(tmp_path, broker.folder.parent), changes))
        made = promises(rows)
        wanted = {promised.booking_id: promised for promised in made if not promised.faults}
        rejected = [promised for promised in made if promised.faults]
        assert min(len(wanted), len(rejected)) > len(rows) / 5, "most of these rows try nothing"
        tally.tried += len(rows)
        many.update(shown=len(wanted), rejected=len(rejected))
        judge_report(config, wanted, rejected, tally)
        judge_files(broker.folder, wanted, tally)
        judge_answers(broker.port, wanted, tally)
    tally.fault += f" ({many['shown']:,} shown, {many['rejected']:,} rejected; the others are not sessions of the day)"


def judge_report(config: Path, wanted: dict[str, Promise], rejected: list[Promise], tally: Tally) -> None:
    done = command("sync", "-c", config, "--day", str(DAY), "--json")
    tally.failed += done.returncode != 3
    report = json.loads(done.stdout)
    shown = {item["booking_id"] for kind in ("published", "updated", "unchanged") for item in report[kind]}
    tally.wrong += len(shown ^ wanted.keys())
    reasons: dict[str, list[str]] = {}
    for rejection in report["rejected"]:
        reasons.setdefault(rejection["booking_id"], []).append(rejection["reason"])
    faults: dict[str, list[tuple[str, ...]]] = {}
    for promised in rejected:
        faults.setdefault(printed(promised.booking_id), []).append(tuple(sorted(promised.faults)))
    for booking_id, each in faults.items():
        found = reasons.pop(booking_id, [])
        tally.lost += len(found) != len(each) - max(each.count(TWICE) - 1, 0)  # these have one reason for all
        tally.wrong += sum(not reason.startswith(sum(each, ())) for reason in found)
    tally.wrong += len(reasons)
    keywords = "|".join({keyword for promised in wanted.values() for keyword in promised.texts})
    alone = [warning for warning in report["warnings"] if not re.search(DOUBLES, warning)]
    said = [re.match(rf"booking (.*?): ({keywords}): ", warning) for warning in alone]
    warned = {(match[1], match[2]) if match else None for match in said}
    tally.wrong += len(
        warned ^ {(printed(key), keyword) for key, promised in wanted.items() for keyword in promised.warned}
    )
    again = command("sync", "-c", config, "--day", str(DAY))  # as cron does, into the log
    tally.failed += (
        f"0 published, 0 updated, 0 removed, {len(wanted)} unchanged" not in again.stdout or again.stderr != ""
    )
    tally.wrong += sum(not line.isprintable() for line in again.stdout.split("\n"))


def judge_files(folder: Path, wanted: dict[str, Promise], tally: Tally) -> None:
    names = {str(path.relative_to(folder.parent)) for path in folder.parent.rglob("*")}
    names -= {folder.name, f"{folder.name}/lockfile"}
    tally.wrong += sum(not re.fullmatch(rf"{folder.name}/booking-[^/\s]+-[A-Z]+\.wl", name) for name in names)
    tally.wrong += len(names) != len(wanted)


def judge_answers(port: int, wanted: dict[str, Promise], tally: Tally) -> None:
    missing = dict(wanted)
    studies = set()
    for scanner in CHARSETS:
        for entry in clients.pynetdicom_find(port, ScheduledStationAETitle=scanner):
            found = clients.texts(entry)
            studies.add(found["StudyInstanceUID"])
            promised = missing.pop(found["AccessionNumber"], None)
            tally.wrong += promised is None or not promised.texts.items() <= found.items()
    tally.lost += len(missing)
    tally.wrong += len(studies) != len(wanted)
