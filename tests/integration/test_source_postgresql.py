"""The PostgreSQL source with a real PostgreSQL: what it gives, and how it fails. It needs no deployed site."""

import csv
import json
import random
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml

from dicom_worklist.bookings.booking import COLUMNS, read_booking
from dicom_worklist.bookings.sources import _dccn, source_class
from dicom_worklist.errors import SourceError
from dicom_worklist.settings import Reading
from support import laptop, live
from support.command import command
from support.failing_proxy import garbage, proxy
from support.postgresql import PostgreSQL
from support.waiting import wait_until

DAY = "2026-10-25"
DAYS = date(2026, 10, 25), date(2026, 10, 26)
#: A row whose columns have a booking's names.
NAMES = ", ".join(f"'{name}' AS {name}" for name in COLUMNS)


def make_certificate(folder: Path, name: str, *options: str) -> None:
    line: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    files: list[str | Path] = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    subprocess.run([*line, *options, *files], check=True, capture_output=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, the server's certificate of it for `localhost`, the account `card`'s, and a stranger's."""
    folder = tmp_path_factory.mktemp("tls")
    signed = ("-CA", str(folder / "authority.crt"), "-CAkey", str(folder / "authority.key"))
    make_certificate(folder, "authority")
    make_certificate(folder, "stranger")
    make_certificate(folder, "server", "-addext", "subjectAltName=DNS:localhost", *signed)
    make_certificate(folder, "card", *signed)
    (folder / "server.key").chmod(0o644)  # in the container another user reads it
    folder.chmod(0o755)
    return folder


TABLES: dict[str, list[tuple[Any, ...]]] = {
    "projects": [("3010000.01", "50% of \"what\" 'we' \\ say ^ = [脳] 👩‍🔬"), ("3010000.02", "line\r\nbreak\tand tab")],
    "users": [("adalov", "Ada", "Lovelace"), ("jurmul", "Jürgen", "Müller")],
    "calendars": [(1, "Siemens PRISMA 3T"), (2, "Prismafit")],
    "calendar_items_new": [
        (1, "3010000.01", 1, "adalov", "7-2", DAY, "09:30:00", "10:30:00", "CONFIRMED"),
        (2, "3010000.02", 2, "jurmul", " x2 - 3 ", DAY, "20:00:00", "24:00:00", "TENTATIVE"),
        (3, "3010000.02", 3, "nobody", "Undefined", DAY, "23:59:59", None, "CONFIRMED"),
        (5, "3010000.01", 1, "adalov", "7-2", "2026-10-27", "09:30:00", None, "CONFIRMED"),
    ],
}


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[PostgreSQL]:
    made = PostgreSQL(files)
    try:
        with made.connection() as connection:
            for table, rows in TABLES.items():
                for row in rows:
                    marks = ", ".join(["%s"] * len(row))
                    connection.execute(f"INSERT INTO {table} VALUES ({marks})".encode(), row)
        yield made
    finally:
        made.remove()


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{live.PASSWORD}\n")
    return path


Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def read(server: PostgreSQL, password_file: Path) -> Read:
    """Reads two days; a setting that is given is another one."""

    def rows(query: str = _dccn.QUERY, **settings: Any) -> list[dict[str, Any]]:
        defaults = {"host": "127.0.0.1", "port": server.port, "database": "fcdc", "user": "dicomdf"}
        made = defaults | {"password_file": str(password_file), "query": query} | settings
        found: list[dict[str, Any]] = msgspec.convert(made, source_class("postgresql")).rows(*DAYS)
        return found

    return rows


def said_of(read: Read, *query: str, **settings: Any) -> str:
    with pytest.raises(SourceError) as caught:
        read(*query, **settings)
    said = str(caught.value)
    assert " can't be read: " in said
    assert live.PASSWORD not in said
    return said


@contextmanager
def altered(server: PostgreSQL, there: Sequence[str], back: Sequence[str]) -> Iterator[None]:
    try:
        server.do(*there)
        yield
    finally:
        server.do(*back)


def test_the_dccn_s_query_gives_the_same_bookings_as_sqlite(read: Read, tmp_path: Path) -> None:
    path = tmp_path / "calendar.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE projects (id, projectName);
            CREATE TABLE calendars (id, description);
            CREATE TABLE users (id, firstName, lastName);
            CREATE TABLE calendar_items_new
                (id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, stop_time, status);
            """
        )
        for table, rows in TABLES.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
    reading = Reading(ZoneInfo("Europe/Amsterdam"))
    bookings = [read_booking(row, reading) for row in read()]
    assert [booking.booking_id for booking in bookings] == ["1", "2", "3"]
    assert bookings[0].project_title == TABLES["projects"][0][1]
    assert f"{bookings[1].end}" == "2026-10-26 00:00:00"
    sqlite = source_class("sqlite")(path=str(path)).rows(*DAYS)
    assert bookings == [read_booking(row, reading) for row in sqlite]


def test_the_example_of_the_documentation_runs(server: PostgreSQL, read: Read) -> None:
    section = (live.PROJECT / "docs/calendar.md").read_text().partition("## PostgreSQL\n\n")[2]
    example = yaml.safe_load(section.partition("\n\n")[0])["worklist_sync_source"]
    columns = "id INT, project TEXT, title TEXT, subject TEXT, begins TIMESTAMPTZ, ends TIMESTAMPTZ, room TEXT, "
    row = "'3010000.01', 'Language', '7-2', timestamptz '{}', timestamptz '{}', 'SKYRA', 'Ada', 'Lovelace', 'CONFIRMED'"
    times = {"2026-10-24T21:59:59Z": "2026-10-24T23:00Z", "2026-10-24T22:00Z": "2026-10-25T00:30Z"}
    rows = [f"INSERT INTO reservations VALUES ({at}, {row.format(*pair)})" for at, pair in enumerate(times.items())]
    create = f"CREATE TABLE reservations ({columns} first TEXT, last TEXT, status TEXT)"
    grant = "GRANT SELECT ON reservations TO dicomdf"
    with altered(server, [create, grant, *rows], ["DROP TABLE reservations"]):
        [found] = read(example["query"])
    booking = read_booking(found, Reading(ZoneInfo("Europe/Amsterdam")))
    assert (booking.booking_id, f"{booking.start}", f"{booking.end}") == ("1", f"{DAY} 00:00:00", f"{DAY} 02:30:00")


def test_the_example_for_a_laptop_takes_the_place_of_its_file(
    server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = yaml.safe_load(laptop.printed("source:\n  type: postgresql"))["source"]
    (tmp_path / source["password_file"]).write_text(f"{live.PASSWORD}\n")
    here = {"host": "127.0.0.1", "port": server.port, "database": "fcdc", "user": "dicomdf"}
    config = laptop.typed(tmp_path, source | here)
    monkeypatch.chdir(tmp_path)
    create = "CREATE TABLE bookings (nr INT, title TEXT, room TEXT, day DATE, begins TIME, ends TIME)"
    rows = [
        f"INSERT INTO bookings VALUES {tuple(row)}" for row in [*csv.reader(laptop.printed("nr,").splitlines())][1:]
    ]
    with altered(server, [create, *rows, "GRANT SELECT ON bookings TO dicomdf"], ["DROP TABLE bookings"]):
        done = command("preview", "-c", config, "--day", "2026-11-24", "--json")
    assert [row["outcome"] for row in json.loads(done.stdout)["rows"]] == ["entry", "rejected"], done.stderr


def test_values_of_each_type_are_what_the_reader_expects(read: Read) -> None:
    [row] = read(
        f"""SELECT {NAMES}, 7::bigint AS number, 3010000.10::numeric AS digits, 1.5::float8 AS part, true AS yes,
        NULL AS nothing, '2026-10-25'::date AS day, '09:30'::time AS clock, '2026-10-25 09:30'::timestamp AS local,
        '2026-10-25 09:30+02'::timestamptz AS zoned, '90 minutes'::interval AS lasts, '{{"a": [1.10]}}'::jsonb AS tree,
        ARRAY['a', 'b'] AS list, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid, '192.0.2.1'::inet AS address,
        'infinity'::date AS never, '0044-03-15 BC'::date AS ides, 'infinity'::timestamptz AS ever, '24:00'::time AS late
        """
    )
    assert {name: row[name] for name in row if name not in COLUMNS} == {
        "number": 7, "digits": Decimal("3010000.10"), "part": 1.5, "yes": True, "nothing": None,
        "day": date(2026, 10, 25), "clock": time(9, 30), "local": datetime.fromisoformat("2026-10-25 09:30"),
        "zoned": datetime(2026, 10, 25, 7, 30, tzinfo=UTC), "lasts": timedelta(minutes=90),
        "tree": {"a": [Decimal("1.10")]}, "list": ["a", "b"], "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "address": "192.0.2.1", "never": "infinity", "ides": "0044-03-15 BC", "ever": "infinity", "late": "24:00:00",
    }  # fmt: skip
    assert str(row["digits"]) == "3010000.10"


def test_a_server_s_own_way_to_write_dates_changes_nothing(server: PostgreSQL, read: Read) -> None:
    query = f"SELECT {NAMES}, '2026-10-25'::date AS day, now() AS moment, '1 day 2:30'::interval AS lasts"
    settings = ("datestyle = 'German'", "intervalstyle = 'iso_8601'", "timezone = 'Asia/Tokyo'")
    with altered(server, [f"ALTER ROLE dicomdf SET {one}" for one in settings], ["ALTER ROLE dicomdf RESET ALL"]):
        [row] = read(query)
    assert (row["day"], row["lasts"]) == (date(2026, 10, 25), timedelta(days=1, hours=2, minutes=30))
    assert row["moment"].utcoffset() == timedelta(hours=9)


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        "DATE '2026-10-25' = :first_day AND :last_day = DATE '2026-10-26'",
        "TIMESTAMP '2026-10-26 23:00' < :last_day + 1 AND :first_day::text LIKE '2026%'",
        "'50%' LIKE '%s%%' OR '100%' = '100%' AND DATE '2026-10-26' = %(last_day)s -- 100% :)",
        """'{"a": 1}'::jsonb ? 'a';""",
    ],
)
def test_a_query_may_hold_anything_and_the_days_as_dates(read: Read, condition: str) -> None:
    [row] = read(f"SELECT {NAMES}, '100%' AS share WHERE {condition}")
    assert row["share"] == "100%"


def test_all_is_of_one_snapshot_and_nothing_is_written(server: PostgreSQL, read: Read) -> None:
    [row] = read(
        f"SELECT {NAMES}, current_setting('transaction_isolation') AS i, current_setting('transaction_read_only') AS r"
    )
    assert (row["i"], row["r"]) == ("repeatable read", "on")
    with altered(server, ["CREATE SEQUENCE counter", "GRANT ALL ON counter TO dicomdf"], ["DROP SEQUENCE counter"]):
        said = said_of(read, f"SELECT {NAMES}, nextval('counter')")
    assert "read-only transaction. source.query must only read" in said


def test_a_text_that_is_not_utf_8_does_not_hide_the_other_bookings(server: PostgreSQL, read: Read) -> None:
    create = "CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"
    with altered(server, [create], ["DROP DATABASE ascii WITH (FORCE)"]):
        with server.connection(dbname="ascii") as connection:
            connection.execute("CREATE TABLE t AS SELECT convert_from('\\x4dfc6c'::bytea, 'SQL_ASCII') AS title")
            connection.execute("INSERT INTO t VALUES ('Mül'); GRANT SELECT ON t TO dicomdf".encode())
        rows = read(f"SELECT {NAMES}, title FROM t", database="ascii")
    assert [row["title"] for row in rows] == ["M\udcfcl", "Mül"]


def test_more_than_a_few_days_of_bookings_are_not_read(read: Read) -> None:
    said = []
    for more in ("generate_series(1, 1000000000)", "repeat('x', 100000) AS x, generate_series(1, 2000)"):
        with pytest.raises(SourceError) as caught:
            read(f"SELECT {NAMES}, {more}")
        said.append(str(caught.value))
    assert all("gives more than 100,000 rows or 100 MB" in one for one in said)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nothing FROM users", 'column "nothing" does not exist'),
        ("SELECT 1 FROM nothing", 'relation "nothing" does not exist'),
        ("SELEKT 1", 'syntax error at or near "SELEKT"'),
        ("", "syntax error at end of input"),
        ("SELECT nothing(1)", "function nothing(integer) does not exist"),
        ("SELECT 1; SELECT 2", "cannot insert multiple commands"),
        ("DELETE FROM users", 'syntax error at or near "DELETE"'),
        ("WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x", "data-modifying statements"),
        ("SELECT * FROM users WHERE id > :first_day", "operator does not exist"),
        (f"SELECT {NAMES}, 1 / (n - 2000) FROM generate_series(1, 3000) AS n", "division by zero"),
    ],
)
def test_a_faulty_query_is_reported(read: Read, query: str, words: str) -> None:
    said = said_of(read, query)
    assert words in said
    assert said.endswith(". Check source.query")


def test_missing_columns_are_named(read: Read) -> None:
    with pytest.raises(SourceError, match=r"gives no column project_id, subject_session .*Fix source[.]query"):
        read("SELECT id AS booking_id FROM calendar_items_new")


def test_a_table_or_a_column_that_may_not_be_read_is_reported(server: PostgreSQL, read: Read) -> None:
    assert "permission denied for table pg_authid. Let" in said_of(read, "SELECT * FROM pg_authid")
    create = [f"CREATE USER narrow PASSWORD '{live.PASSWORD}'", "GRANT SELECT (id) ON users TO narrow"]
    with altered(server, create, ["DROP OWNED BY narrow", "DROP USER narrow"]):
        assert read(f"SELECT {NAMES}, id FROM users LIMIT 1", user="narrow")
        said = said_of(read, "SELECT lastName FROM users", user="narrow")
    assert "permission denied for table users. Let the server's administrator run GRANT SELECT" in said


def test_an_account_that_may_not_log_in_is_reported(server: PostgreSQL, read: Read, password_file: Path) -> None:
    assert f"Put the right password into {password_file}" in said_of(read, user="nobody")
    assert 'database "other" does not exist. Check source.database' in said_of(read, database="other")
    assert "allow banned from this host in pg_hba.conf" in said_of(read, user="banned")
    with altered(server, ["ALTER USER dicomdf NOLOGIN"], ["ALTER USER dicomdf LOGIN"]):
        assert "ALTER ROLE … LOGIN" in said_of(read)
    with altered(
        server, ["CREATE DATABASE closed", "REVOKE ALL ON DATABASE closed FROM public"], ["DROP DATABASE closed"]
    ):
        assert "GRANT CONNECT ON DATABASE … TO dicomdf" in said_of(read, database="closed")
    with altered(server, ["ALTER USER dicomdf CONNECTION LIMIT 0"], ["ALTER USER dicomdf CONNECTION LIMIT -1"]):
        assert "Let the server have more connections" in said_of(read)
    password_file.write_text("wrong")
    assert 'password authentication failed for user "dicomdf". Put the right password' in said_of(read)
    assert "no password supplied. Put the right password into a file" in said_of(read, password_file=None)


def test_a_password_may_hold_anything(server: PostgreSQL, read: Read, password_file: Path) -> None:
    password = ' it\'s \\ "ü" host=192.0.2.1 %s 日本 '
    quoted = password.replace("'", "''")
    password_file.write_text(password + "\n")
    there, back = (f"ALTER USER dicomdf PASSWORD '{one}'" for one in (quoted, live.PASSWORD))
    with altered(server, [there], [back]):
        assert read()


@pytest.mark.parametrize("user", ["dicomdf", "old", "trusted", "encrypted"])
def test_each_way_to_log_in_that_hides_the_password_works_without_tls_set(read: Read, user: str) -> None:
    assert read(user=user)


def test_certificates_of_the_user_s_home_are_not_taken(
    read: Read, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ".postgresql"
    home.mkdir()
    for name, content in (("root.crt", "stranger.crt"), ("postgresql.crt", "card.crt"), ("postgresql.key", "card.key")):
        (home / name).touch(0o600)
        (home / name).write_text((files / content).read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(user="encrypted")
    assert "requires a valid client certificate" in said_of(read, user="card")


def test_a_password_is_sent_as_it_is_over_tls_only_and_to_the_right_server(read: Read, files: Path) -> None:
    said = said_of(read, user="plain")
    assert "Set source.tls, or let the server's administrator write scram-sha-256 in place of password" in said
    assert read(user="plain", host="localhost", tls={"ca": str(files / "authority.crt")})


def test_each_fault_of_tls_is_reported(read: Read, files: Path) -> None:
    authority, stranger = (str(files / f"{name}.crt") for name in ("authority", "stranger"))
    assert read(host="localhost", tls={"ca": authority})
    assert read(tls={"ca": authority, "verify_hostname": False})
    said = said_of(read, tls={"ca": authority})
    assert 'does not match host name "127.0.0.1". Put the name that the server\'s certificate is for' in said
    for ca in (stranger, str(files / "server.key")):
        said = said_of(read, host="localhost", tls={"ca": ca})
        assert "Put the CA that signed the server's certificate, as a PEM file, into source.tls.ca" in said
        assert "Put the CA that signed" in said_of(read, tls={"ca": ca, "verify_hostname": False})
    assert "source.tls names /nowhere/ca.pem" in said_of(read, tls={"ca": "/nowhere/ca.pem"})


def test_a_server_without_tls_is_refused_where_tls_is_set(server: PostgreSQL, read: Read, files: Path) -> None:
    tls = {"ca": str(files / "authority.crt")}
    off, on = (f"ALTER SYSTEM SET ssl = {state}" for state in ("off", "on"))
    with altered(server, [off, "SELECT pg_reload_conf()"], [on, "SELECT pg_reload_conf()"]):
        wait_until(lambda: _is_plain(server))
        said = said_of(read, host="localhost", tls=tls)
        assert "server does not support SSL, but SSL was required. Switch TLS on at the server" in said
        assert read()


def _is_plain(server: PostgreSQL) -> None:
    with server.connection() as connection:
        assert not connection.pgconn.ssl_in_use


def test_a_client_s_certificate_is_shown_where_the_server_asks(read: Read, files: Path, tmp_path: Path) -> None:
    def tls(certificate: Path, key: Path) -> dict[str, str]:
        return {"ca": str(files / "authority.crt"), "certificate": str(certificate), "key": str(key)}

    place = {"host": "localhost", "user": "card"}
    card, key = files / "card.crt", files / "card.key"
    assert read(**place, tls=tls(card, key))
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_text(card.read_text() + key.read_text())
    alone = {"ca": str(files / "authority.crt"), "certificate": str(both)}
    assert read(**place, tls=alone)
    said = said_of(read, **place, tls={"ca": str(files / "authority.crt")})
    assert "The account asks for source.tls.certificate, whose CN must be card" in said
    assert "The account asks for source.tls.certificate" in said_of(read, user="card")
    both.chmod(0o644)
    for wrong in (tls(card, both), tls(card, files / "stranger.key"), tls(key, card),
                  tls(files / "stranger.crt", files / "stranger.key")):  # fmt: skip
        said = said_of(read, **place, tls=wrong)
        assert "Check source.tls: certificate and key are PEM files, the key is the certificate's" in said


def test_a_query_that_takes_too_long_is_reported(server: PostgreSQL, read: Read) -> None:
    remedy = "The query took longer than source.read_timeout, 1 seconds"
    assert remedy in said_of(read, f"SELECT {NAMES} FROM pg_sleep(30)", read_timeout=1)
    with server.connection() as other, other.transaction():
        other.execute("LOCK TABLE users")
        assert "look for what locks its tables" in said_of(read, read_timeout=1)


def test_a_server_that_falls_silent_is_given_up(
    server: PostgreSQL, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_worklist.bookings.sources.postgresql.PATIENCE", 0)
    with proxy(server.port) as between:
        assert read(port=between.port)
        between.limit, between.then = between.passed - 1000, "silence"
        said = said_of(read, port=between.port, read_timeout=1)
    assert "the answer is not complete in time" in said


@pytest.mark.parametrize(
    ("function", "remedy"), [("cancel", "or somebody ended it"), ("terminate", "its administrator ended the query")]
)
def test_a_query_that_somebody_ends_is_reported(server: PostgreSQL, read: Read, function: str, remedy: str) -> None:
    find = f"SELECT pg_{function}_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = 'old'"

    def end() -> None:
        assert server.do(find) == [(True,)]

    thread = threading.Thread(target=wait_until, args=(end, 20))
    thread.start()
    said = said_of(read, f"SELECT {NAMES} FROM pg_sleep(20)", user="old")
    thread.join()
    assert remedy in said


def test_a_server_that_stops_in_the_middle_is_reported(files: Path, password_file: Path) -> None:
    own = PostgreSQL(files)
    try:

        def stop() -> None:
            assert own.do("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            own.container.kill("SIGINT")  # PostgreSQL's fast shutdown

        thread = threading.Thread(target=wait_until, args=(stop, 20))
        thread.start()
        where = {"host": "127.0.0.1", "port": own.port, "database": "fcdc", "user": "dicomdf"}
        query = {"query": f"SELECT {NAMES} FROM pg_sleep(20)", "password_file": str(password_file)}
        source = msgspec.convert(where | query, source_class("postgresql"))
        with pytest.raises(SourceError, match=r"can't be read: .*The server starts or stops"):
            source.rows(*DAYS)
        thread.join()
    finally:
        own.remove()


def test_an_answer_that_is_cut_off_anywhere_is_an_error_and_never_a_part(server: PostgreSQL, read: Read) -> None:
    query = f"SELECT {NAMES}, n, repeat('x', 100) AS x FROM generate_series(1, 1500) AS n"
    chance, failed, complete = random.Random(14), 0, 0
    with proxy(server.port) as between:
        whole = read(query, port=between.port)
        assert len(whole) == 1500
        for place in chance.choices(range(between.passed), k=500):
            between.limit, between.then = place, chance.choice(["close", "reset"])
            between.instead = chance.choice([b"", b"", garbage(chance)])
            try:
                assert read(query, port=between.port) == whole
                complete += 1
            except SourceError:
                failed += 1
    assert failed + complete == 500
    assert complete < 5, "only the last bytes are those of the goodbye"
