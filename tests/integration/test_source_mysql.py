"""The MySQL source with a real MariaDB: what it gives, and how it fails."""

import csv
import sqlite3
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pymysql
import pytest

from dicom_worklist.bookings.booking import COLUMNS, Booking, read_booking
from dicom_worklist.bookings.sources import source_class
from dicom_worklist.errors import SourceError
from dicom_worklist.settings import Reading
from support import live, twins
from support.booking_database import BookingDatabase
from support.failing_proxy import proxy
from support.waiting import wait_until

DAY = "2026-10-25"
DAYS = date(2026, 10, 25), date(2026, 10, 26)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{live.PASSWORD}\n")
    return path


def mysql(password_file: Path, **settings: Any) -> Any:
    defaults: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": live.VARIABLES["worklist_sync_source"]["port"],
        "database": "fcdc",
        "user": "dicomdf",
        "password_file": str(password_file),
    }
    return msgspec.convert(defaults | settings, source_class("mysql"))


ROWS = [
    (1, "3010000.01", 1, "adalov", "7-2", DAY, "09:30:00", "CONFIRMED"),
    (2, "3010000.02", 2, "jurmul", " x2 - 3 ", DAY, "00:00:00", "TENTATIVE"),
    (3, "3010000.02", 3, "nobody", "Undefined", DAY, "23:59:59", "CONFIRMED"),
    (4, "3010000.03", 1, "adalov", "a.b_c-4", DAY, "12:00:00", "CONFIRMED"),
    (5, "3010000.01", 1, "adalov", "7-2", "2026-10-27", "09:30:00", "CONFIRMED"),
]
PROJECTS = [("3010000.01", "50% of \"what\" 'we' \\ say ^ = [脳] 👩‍🔬"), ("3010000.02", "line\r\nbreak\tand tab")]
USERS = [("adalov", "Ada", "Lovelace"), ("jurmul", "Jürgen", "Müller")]


def test_all_kinds_of_source_give_the_same_bookings(
    booking_database: BookingDatabase, password_file: Path, tmp_path: Path
) -> None:
    booking_database.clear()
    with closing(sqlite3.connect(tmp_path / "calendar.sqlite")) as connection, connection:
        connection.executescript(
            """
            CREATE TABLE projects (id, projectName);
            CREATE TABLE calendars (id, description);
            CREATE TABLE users (id, firstName, lastName);
            CREATE TABLE calendar_items_new
                (id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status);
            INSERT INTO calendars VALUES (1, 'Siemens PRISMA 3T'), (2, 'Prismafit'), (3, 'SKYRA');
            """
        )
        tables: dict[str, Sequence[tuple[object, ...]]] = {
            "projects": PROJECTS,
            "users": USERS,
            "calendar_items_new": ROWS,
        }
        for table, rows in tables.items():
            for row in rows:
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", row)
                booking_database.do(f"INSERT INTO {table} VALUES ({marks.replace('?', '%s')})", *row)
    rows_of = {
        "mysql": mysql(password_file).rows(*DAYS),
        "sqlite": source_class("sqlite")(path=str(tmp_path / "calendar.sqlite")).rows(*DAYS),
    }
    with (tmp_path / "bookings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([[row[column] for column in COLUMNS] for row in rows_of["mysql"]])
    rows_of["csv"] = source_class("csv")(path=str(tmp_path / "bookings.csv")).rows(*DAYS)

    bookings: dict[str, list[Booking]] = {
        kind: [read_booking(row, Reading(ZoneInfo("Europe/Amsterdam"))) for row in rows]
        for kind, rows in rows_of.items()
    }
    assert [booking.booking_id for booking in bookings["mysql"]] == ["1", "2", "3", "4"]
    assert bookings["mysql"][0].project_title == PROJECTS[0][1]
    assert bookings["mysql"][2].user_last_name == "nobody"
    assert bookings["mysql"] == bookings["sqlite"]
    assert bookings["mysql"] == bookings["csv"]


def test_a_site_writes_its_own_query(booking_database: BookingDatabase, password_file: Path) -> None:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    query = (
        "SELECT id AS booking_id, project_id, '100% :)' AS project_title, subj_ses AS subject_session, start_date, "
        "start_time, 'PRISMA' AS lab, '' AS user_first_name, user_id AS user_last_name, status "
        "FROM calendar_items_new WHERE start_date >= :first_day AND start_date <= %(last_day)s AND subj_ses LIKE '7%'"
    )
    (row,) = mysql(password_file, query=query).rows(*DAYS)
    assert row["project_title"] == "100% :)"
    with pytest.raises(SourceError, match="gives no column project_id, subject_session"):
        mysql(password_file, query="SELECT id AS booking_id FROM calendar_items_new").rows(*DAYS)


def published(site: live.Site) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted((live.ROOT / "wlbroker").rglob("*.wl"))}


def failing_sync(site: live.Site) -> str:
    """Sync with a source that fails: status 4, the worklist as it was, no password; what it says."""
    before = published(site)
    assert before
    done = site.run("sync", "-c", str(site.config), "--day", DAY)
    assert done.returncode == 4, done.stdout + done.stderr
    assert done.stdout == ""
    assert live.PASSWORD not in done.stderr
    assert published(site) == before
    return done.stderr


@pytest.fixture
def synced(site: live.Site, booking_database: BookingDatabase) -> live.Site:
    booking_database.clear()
    booking_database.book(1, "7-1", f"{DAY} 09:00:00")
    site.sync(DAY)
    return site


def test_a_stopped_database_leaves_the_worklist(synced: live.Site, booking_database: BookingDatabase) -> None:
    with booking_database.stopped():
        said = failing_sync(synced)
    assert "127.0.0.1:13306" in said
    assert "Check that the server runs" in said


def test_a_refused_password_leaves_the_worklist(synced: live.Site, booking_database: BookingDatabase) -> None:
    booking_database.do("ALTER USER dicomdf IDENTIFIED BY 'another'")
    try:
        said = failing_sync(synced)
    finally:
        booking_database.do("ALTER USER dicomdf IDENTIFIED BY %s", live.PASSWORD)
    assert "refuses the user 'dicomdf'" in said
    assert "booking-db.password" in said


def test_a_missing_table_leaves_the_worklist(synced: live.Site, booking_database: BookingDatabase) -> None:
    booking_database.do("RENAME TABLE projects TO projects_old")
    try:
        assert "projects" in failing_sync(synced)
    finally:
        booking_database.do("RENAME TABLE projects_old TO projects")


def test_a_database_that_is_not_there_is_named(password_file: Path) -> None:
    source = mysql(password_file, host="127.0.0.1", port=1, connect_timeout=1)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:1 can't be read"):
        source.rows(*DAYS)


def test_a_silent_database_is_given_up_after_its_timeout(
    booking_database: BookingDatabase, password_file: Path
) -> None:
    slow = "SELECT SLEEP(30) AS booking_id"
    with pytest.raises(SourceError, match="timed out"):
        mysql(password_file, query=slow, read_timeout=1).rows(*DAYS)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BookingDatabase]:
    """A database that the tests may change as they like. Its certificate is for another name than loopback's."""
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "stranger"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}.example",
             "-addext", f"subjectAltName=DNS:{name}.example", "-keyout", folder / f"{name}.key",
             "-out", folder / f"{name}.crt"],
            check=True, capture_output=True,
        )  # fmt: skip
    (folder / "server.key").chmod(0o644)  # in the container another user reads it
    folder.chmod(0o755)
    database = BookingDatabase(
        "test-mariadb-own", twins.free_port(), "--ssl-cert=/tls/server.crt", "--ssl-key=/tls/server.key", files=folder
    )
    try:
        database.clear()
        database.book(1, "7-1", f"{DAY} 09:00:00")
        for plugin in ("auth_ed25519", "auth_parsec"):
            database.do(f"INSTALL SONAME '{plugin}'")
        yield database
    finally:
        database.remove()


@pytest.fixture
def tls(own: BookingDatabase) -> Path:
    """The folder with the certificates of `own`."""
    [mount] = [mount for mount in own.container.attrs["Mounts"] if mount["Destination"] == "/tls"]
    return Path(mount["Source"])


@contextmanager
def altered(database: BookingDatabase, there: Sequence[str], back: Sequence[str]) -> Iterator[None]:
    try:
        for statement in there:
            database.do(statement)
        yield
    finally:
        for statement in back:
            database.do(statement)


def said_of(own: BookingDatabase, password_file: Path, **settings: Any) -> str:
    with pytest.raises(SourceError) as caught:
        mysql(password_file, **{"port": own.port} | settings).rows(*DAYS)
    said = str(caught.value)
    assert f"on 127.0.0.1:{settings.get('port', own.port)} can't be read: " in said
    assert live.PASSWORD not in said
    return said


@pytest.mark.parametrize("type_", ["TIME NULL", "TIME NOT NULL DEFAULT '10:30:00'"])
def test_the_end_of_a_booking_is_read_where_the_calendar_has_it(
    own: BookingDatabase, password_file: Path, type_: str
) -> None:
    [without] = mysql(password_file, port=own.port).rows(*DAYS)
    assert "end_time" not in without
    with altered(
        own,
        [f"ALTER TABLE calendar_items_new ADD COLUMN stop_time {type_}"],
        ["ALTER TABLE calendar_items_new DROP COLUMN stop_time"],
    ):
        [row] = mysql(password_file, port=own.port).rows(*DAYS)
        assert row == without | {"end_time": timedelta(hours=10, minutes=30) if "NOT" in type_ else None}


def test_an_account_that_may_not_read_the_end_goes_on_working(own: BookingDatabase, password_file: Path) -> None:
    columns = "id, project_id, calendar_id, user_id, subj_ses, start_date, start_time, status"
    with altered(
        own,
        [
            "ALTER TABLE calendar_items_new ADD COLUMN stop_time TIME",
            f"CREATE USER narrow IDENTIFIED BY '{live.PASSWORD}'",
            f"GRANT SELECT ({columns}) ON fcdc.calendar_items_new TO narrow",
            *(f"GRANT SELECT ON fcdc.{table} TO narrow" for table in ("projects", "calendars", "users")),
        ],
        ["DROP USER narrow", "ALTER TABLE calendar_items_new DROP COLUMN stop_time"],
    ):
        [row] = mysql(password_file, port=own.port, user="narrow").rows(*DAYS)
        assert "end_time" not in row
        own.do("REVOKE SELECT (status) ON fcdc.calendar_items_new FROM narrow")
        assert "for column 'status' in table" in said_of(own, password_file, user="narrow")


@pytest.mark.parametrize("column", ["start_time", "subj_ses"])
def test_another_column_that_is_missing_is_an_error(own: BookingDatabase, password_file: Path, column: str) -> None:
    with altered(
        own,
        [f"ALTER TABLE calendar_items_new RENAME COLUMN {column} TO stop_times"],
        [f"ALTER TABLE calendar_items_new RENAME COLUMN stop_times TO {column}"],
    ):
        said = said_of(own, password_file)
    assert f"Unknown column 'item.{column}'" in said
    assert "Other tables than the DCCN calendar's need source.query" in said
    query = "SELECT stop_time FROM calendar_items_new"
    assert "Unknown column 'stop_time' in 'SELECT'. Check source.query" in said_of(own, password_file, query=query)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nothing FROM users", "Unknown column 'nothing'"),
        ("SELECT 1 FROM nothing", "'fcdc.nothing' doesn't exist"),
        ("SELEKT 1", "error in your SQL syntax"),
        ("", "no column booking_id"),
        ("SELECT nothing(1)", "nothing"),
        ("SELECT ?", "Incorrect arguments"),
        ("SELECT 1; SELECT 2", "error in your SQL syntax"),
    ],
)
def test_a_faulty_query_is_reported(own: BookingDatabase, password_file: Path, query: str, words: str) -> None:
    if not query:  # is the DCCN calendar's
        assert mysql(password_file, port=own.port, query=query).rows(*DAYS)
        return
    said = said_of(own, password_file, query=query)
    assert words in said
    assert said.endswith("Check source.query")


LOGINS = {
    "ed25519": ("ed25519", "'pynacl' package is required", "or install that package beside dicom-worklist"),
    "parsec": ("parsec", "plugin 'b'parsec'' not configured", "IDENTIFIED VIA mysql_native_password"),
    "unix_socket": ("unix_socket", "refuses the user 'other'", "or the account logs in by unix_socket"),
}


@pytest.mark.parametrize("login", LOGINS)
def test_an_account_with_another_login_method_is_reported_with_the_remedy(
    own: BookingDatabase, password_file: Path, login: str
) -> None:
    plugin, words, remedy = LOGINS[login]
    using = "" if plugin == "unix_socket" else f"USING PASSWORD('{live.PASSWORD}')"
    with altered(
        own,
        [f"CREATE USER other IDENTIFIED VIA {plugin} {using}", "GRANT SELECT ON fcdc.* TO other"],
        ["DROP USER other"],
    ):
        said = said_of(own, password_file, user="other")
        assert words in said
        assert remedy in said
        assert "source.host" not in said
        own.do(f"ALTER USER other IDENTIFIED VIA mysql_native_password USING PASSWORD('{live.PASSWORD}')")
        assert mysql(password_file, port=own.port, user="other").rows(*DAYS)  # the remedy works


@pytest.mark.parametrize(
    ("limit", "usual", "words"),
    [
        ("SET GLOBAL max_connections = 10", 100, "Too many connections"),
        ("ALTER USER dicomdf WITH MAX_USER_CONNECTIONS 1", 0, "'max_user_connections' resource"),
        ("ALTER USER dicomdf WITH MAX_QUERIES_PER_HOUR 1", 0, "'max_queries_per_hour' resource"),
    ],
)
def test_a_busy_server_is_reported(
    own: BookingDatabase, password_file: Path, limit: str, usual: int, words: str
) -> None:
    others = []
    with closing(own.connection()) as administrator:
        try:
            administrator.query(limit)
            for _ in range(12):
                try:
                    others.append(
                        pymysql.connect(host="127.0.0.1", port=own.port, user="dicomdf", password=live.PASSWORD)
                    )
                except pymysql.MySQLError:
                    break
            said = said_of(own, password_file)
        finally:
            for other in others:
                other.close()
            administrator.query(f"{limit.rpartition(' ')[0]} {usual}")
            administrator.query("FLUSH USER_RESOURCES")
    assert words in said
    assert "Let the server have more connections (max_connections) or the user more (MAX_USER_CONNECTIONS" in said
    assert "source.host" not in said
    wait_until(lambda: mysql(password_file, port=own.port).rows(*DAYS))


def test_more_than_a_few_days_of_bookings_are_not_read(own: BookingDatabase, password_file: Path) -> None:
    row = ", ".join(f"'{name}' AS {name}" for name in COLUMNS)
    query = f"SELECT {row}, seq FROM seq_1_to_"
    with pytest.raises(SourceError, match=r"gives more than 100,000 rows .*Narrow source[.]query to :first_day"):
        mysql(password_file, port=own.port, query=f"{query}100000000").rows(*DAYS)
    assert len(mysql(password_file, port=own.port, query=f"{query}100000").rows(*DAYS)) == 100_000


def test_a_query_that_takes_too_long_is_reported(own: BookingDatabase, password_file: Path) -> None:
    slow = {"query": "SELECT SLEEP(30) AS booking_id"}
    said = said_of(own, password_file, read_timeout=1, **slow)
    assert "timed out" in said
    assert "raise source.read_timeout" in said
    assert "source.host" not in said
    with altered(
        own, ["ALTER USER dicomdf WITH MAX_STATEMENT_TIME 0.2"], ["ALTER USER dicomdf WITH MAX_STATEMENT_TIME 0"]
    ):
        assert "The server's own limit ended the query" in said_of(own, password_file, **slow)


@pytest.mark.parametrize(
    ("kill", "remedy"), [("QUERY", "Somebody ended the query"), ("", "Check that the server runs")]
)
def test_a_query_that_somebody_ends_is_reported(
    own: BookingDatabase, password_file: Path, kill: str, remedy: str
) -> None:
    running = "SELECT MAX(ID) FROM information_schema.PROCESSLIST WHERE USER = 'sleeper' AND TIME_MS > 200"

    def end() -> None:
        [(found,)] = own.do(f"{running} AND COMMAND = 'Query'")
        assert found
        own.do(f"KILL {kill} {found}")

    with altered(
        own,
        [f"CREATE USER sleeper IDENTIFIED BY '{live.PASSWORD}'", "GRANT SELECT ON fcdc.* TO sleeper"],
        ["DROP USER sleeper"],
    ):
        thread = threading.Thread(target=wait_until, args=(end, 20))
        thread.start()
        # a bare SLEEP that is ended gives 1, a condition is an error
        query = "SELECT COUNT(*) AS booking_id FROM seq_1_to_1000 WHERE SLEEP(20) = 0"
        said = said_of(own, password_file, user="sleeper", query=query)
        thread.join()
    assert remedy in said


def test_an_unknown_database_or_host_is_reported(own: BookingDatabase, password_file: Path) -> None:
    assert "Unknown database 'fcdb'. Check source.database" in said_of(
        own, password_file, user="tests", database="fcdb"
    )
    assert "grant it SELECT on fcdb; or source.database is wrong" in said_of(own, password_file, database="fcdb")
    with altered(own, [f"CREATE USER far@'10.9.8.7' IDENTIFIED BY '{live.PASSWORD}'"], ["DROP USER far@'10.9.8.7'"]):
        assert "the account is for other hosts" in said_of(own, password_file, user="far")
    with altered(own, ["ALTER USER dicomdf REQUIRE X509"], ["ALTER USER dicomdf REQUIRE NONE"]):
        assert "asks for source.tls.certificate" in said_of(own, password_file)
    with (
        proxy(own.port) as between,
        altered(own, ["SET GLOBAL require_secure_transport = ON"], ["SET GLOBAL require_secure_transport = OFF"]),
    ):
        between.plain = True
        assert "The server wants TLS" in said_of(own, password_file, port=between.port)


def test_each_fault_of_tls_is_reported(own: BookingDatabase, password_file: Path, tls: Path) -> None:
    right = {"ca": str(tls / "server.crt")}
    assert mysql(password_file, port=own.port, tls=right | {"verify_hostname": False}).rows(*DAYS)
    said = said_of(own, password_file, tls=right)
    assert "certificate is not valid for '127.0.0.1'" in said
    assert "Put the name that the server's certificate is for into source.host, in place of 127.0.0.1" in said
    stranger = {"ca": str(tls / "stranger.crt"), "verify_hostname": False}
    assert "Put the CA that signed the server's certificate into source.tls.ca" in said_of(
        own, password_file, tls=stranger
    )
    for broken in ({"ca": str(password_file)}, right | {"certificate": right["ca"], "key": str(tls / "stranger.key")}):
        assert "Check source.tls: ca, certificate and key are PEM files" in said_of(own, password_file, tls=broken)
    with proxy(own.port) as between:
        between.plain = True
        said = said_of(own, password_file, tls=right, port=between.port)
    assert "SSL is required but the server doesn't support it. Switch TLS on at the server" in said


STARTS = {
    "a column": "CONVERT_TZ(start_date, 'UTC', 'Europe/Amsterdam') AS start FROM calendar_items_new",
    "a condition": "start_date AS start FROM calendar_items_new "
    "WHERE CONVERT_TZ(start_date, '+00:00', 'Europe/Amsterdam') >= :first_day",
    "a name of one part": "convert_tz (start_date, 'MET', @@session.time_zone) AS start FROM calendar_items_new",
}


@pytest.mark.parametrize("start", STARTS)
def test_a_server_without_zone_tables_is_reported(own: BookingDatabase, password_file: Path, start: str) -> None:
    columns = [name for name in COLUMNS if name not in ("start_date", "start_time")]
    query = f"SELECT {', '.join(f'1 AS {name}' for name in columns)}, {STARTS[start]}"
    with pytest.raises(SourceError) as caught:
        mysql(password_file, port=own.port, query=query).rows(*DAYS)
    said = str(caught.value)
    assert "CONVERT_TZ in source.query makes NULL of every time" in said
    assert "mysql_tzinfo_to_sql" in said
    # offsets need no tables; days without a booking are not a fault
    for offset in ("+01:00", "+00:00"):
        other = query.replace("Europe/Amsterdam", offset).replace("UTC", "+00:00").replace("MET", "+00:00")
        assert len(mysql(password_file, port=own.port, query=other).rows(*DAYS)) == 1
        assert mysql(password_file, port=own.port, query=f"{other} LIMIT 0").rows(*DAYS) == []
