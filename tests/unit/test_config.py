"""The configuration file: defaults, and each wrong key or value named with its place."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from dicom_worklist.config import load
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import (
    BookingRules,
    Broker,
    Config,
    Delivery,
    DicomDestination,
    FolderDestination,
    Notify,
    OrthancDestination,
    Pacs,
    Reading,
    Scanner,
    Site,
    Status,
    Window,
    Worklist,
)
from support.configuration import ABSENT, Configure

MYSQL = {"type": "mysql", "host": "db.example.org", "database": "fcdc", "user": "dicomdf"}


def error_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_defaults(configure: Configure) -> None:
    config = load(configure({"worklist.lock_timeout": ABSENT}))
    scanner = config.scanners[0]
    assert (scanner.station_name, scanner.location, scanner.modality) == ("PRISMA", "DCCN", "MR")
    assert (scanner.charset, scanner.worklist) == ("ISO_IR 192", "WLBROKER")
    assert (config.window.days_back, config.window.days_ahead) == (0, 0)
    assert config.worklist.lock_timeout == 30
    assert config.site.uid_root is None
    assert config.attributes == {}


def test_what_the_file_says_stands_above_the_defaults(configure: Configure) -> None:
    scanner = {"station_name": "MR1", "location": "Trigon", "modality": "PT", "worklist": "OTHER"}
    config = load(configure({f"scanners.0.{key}": value for key, value in scanner.items()}))
    assert {key: getattr(config.scanners[0], key) for key in scanner} == scanner
    assert [path.name for path in config.folders()] == ["OTHER", "WLBROKER"]


def test_the_whole_example_is_valid(configure: Configure) -> None:
    source = MYSQL | {"password_file": "/etc/dicom-worklist/booking-db.password", "query": None}
    assert str(load(configure({"source": source, "site.uid_root": None})).source).endswith(
        "fcdc on db.example.org:3306"
    )


@pytest.mark.parametrize("lab", ["Siemens PRISMA 3T", "prisma", "MR PRISMA (new)"])
def test_a_lab_matches_anywhere_and_in_any_case(lab: str, configure: Configure) -> None:
    assert [scanner.ae_title for scanner in load(configure()).scanners if scanner.matches(lab)] == ["PRISMA"]


def test_a_lab_of_the_longer_name_is_not_the_shorter_one_s(configure: Configure) -> None:
    matching = [scanner.ae_title for scanner in load(configure()).scanners if scanner.matches("Prismafit")]
    assert matching == ["PRISMAFIT"]


@pytest.mark.parametrize(
    "place",
    [
        "lbas", "site.lbas", "source.lbas", "window.lbas", "scanners.0.lbas", "worklist.lbas", "broker.lbas",
        "pacs.lbas", "status.lbas", "booking.lbas",
    ],
)  # fmt: skip
def test_an_unknown_key_is_named_with_its_place(place: str, configure: Configure) -> None:
    said = error_of(configure({place: "x"}))
    section = place.rpartition(".")[0].replace("scanners.0", "scanners[0]")
    assert "lbas" in said
    assert section in said


def test_a_password_in_the_file_is_refused_and_not_shown(configure: Configure) -> None:
    said = error_of(configure({"source": MYSQL | {"password": "geheim!"}}))
    assert "`password`" in said
    assert "geheim" not in said


@pytest.mark.parametrize(
    "place",
    ["site", "site.name", "site.timezone", "source", "source.path", "scanners", "scanners.0.ae_title",
     "scanners.0.lab", "worklist", "worklist.root"],
)  # fmt: skip
def test_a_missing_key_is_named(place: str, configure: Configure) -> None:
    assert place.rpartition(".")[2] in error_of(configure({place: ABSENT}))


def test_all_that_is_missing_or_unknown_is_said_at_once(configure: Configure) -> None:
    tls = {"certificate": "a.pem", "verify": False}
    auth = {"type": "basic", "user": "", "pasword_file": "x"}
    said = error_of(
        configure(
            {
                "site": {"nmae": "DCCN"},
                "source": {"type": "http", "uri": "x", "tls": tls, "auth": auth, "timeout": 0},
                "scanners.1": {"ae_title": "PRISMAFIT", "lbas": "x", "modality": "mr"},
                "scanners.2.lab": ABSENT,
                "window.days_ahead": -1,
                "worklist": ABSENT,
                "bookings": {},
                "pacs": {"url": "http://127.0.0.1"},
            }
        )
    )
    assert said.count(" has no `") == 10
    for fault in (
        "the file has the unknown field `bookings`: it can have site, source, scanners, worklist, window",
        "the file has no `worklist`, which it needs",
        "site has the unknown field `nmae`",
        "site has no `name`",
        "site has no `timezone`",
        "scanners[1] (scanner PRISMAFIT) has the unknown field `lbas`",
        "scanners[1] (scanner PRISMAFIT) has no `lab`",
        "scanners[1].modality (scanner PRISMAFIT): ",
        "scanners[2] (scanner SKYRA) has no `lab`",
        "window.days_ahead: ",
        "pacs has no `user`",
        "pacs has no `password_file`",
        "source has the unknown field `uri`",
        "source has no `url`",
        "source.tls has the unknown field `verify`",
        "source.tls has no `ca`",
        "source.auth has the unknown field `pasword_file`",
        "source.auth has no `password_file`",
        "source.auth.user: ",
        "source.timeout: ",
    ):
        assert fault in said, fault
    assert said.endswith(". docs/command.md describes this file; if Ansible wrote it, correct the inventory")


def test_the_page_has_each_setting_and_says_which_are_needed() -> None:
    page = (Path(__file__).parents[2] / "docs/command.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)`[^|]*\|([^|]*)\|([^|]*)\|$", page.partition("## Commands")[0], re.MULTILINE)
    sections = {name: (re.findall(r"`(\w+)`", needed), re.findall(r"`(\w+)`", rest)) for name, needed, rest in table}
    kinds: dict[str, type[msgspec.Struct]] = {
        "site": Site, "scanners": Scanner, "worklist": Worklist, "window": Window, "booking": BookingRules,
        "broker": Broker, "pacs": Pacs, "status": Status, "delivery": Delivery, "notify": Notify,
    }  # fmt: skip
    destinations = (FolderDestination, OrthancDestination, DicomDestination)
    said = {*sections["destinations"][0], *sections.pop("destinations")[1]} - {"type"}
    assert said == {field.name for kind in destinations for field in msgspec.structs.fields(kind)}
    assert sections.keys() == {field.name for field in msgspec.structs.fields(Config)}
    for name, kind in kinds.items():
        fields = msgspec.structs.fields(kind)
        needed = [field.name for field in fields if field.required]
        assert (sorted(sections[name][0]), sorted(sections[name][1])) == (
            sorted(needed),
            sorted({field.name for field in fields} - {*needed}),
        )


def test_a_webcal_address_is_answered_with_the_right_one_and_not_shown(configure: Configure) -> None:
    said = error_of(configure({"source": {"type": "ical", "url": "webcal://example.org/geheim/basic.ics"}}))
    assert "source.url: write https:// for webcal://" in said
    assert "geheim" not in said


PACS = {"url": "http://127.0.0.1:8042", "user": "reader", "password_file": "/etc/dicom-worklist/pacs.password"}


def test_defaults_of_pacs_and_status(configure: Configure) -> None:
    assert (load(configure()).pacs, load(configure()).status) == (None, None)
    config = load(configure({"pacs": PACS, "status": {"state": "/var/lib/dicom-worklist/status.json"}}))
    assert config.pacs
    assert config.status
    assert (config.pacs.ca_file, config.pacs.timeout) == (None, 5)
    assert (config.status.page, config.status.metrics) == (None, None)
    assert (config.status.session, config.status.missing_after, config.status.leave_after) == (60, 60, None)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("pacs.url", "127.0.0.1:8042"),
        ("pacs.url", "ftp://pacs.example.org"),
        ("pacs.url", "http://admin:secret@pacs.example.org"),
        ("pacs.url", "http://pacs.example.org/?a=b"),
        ("pacs.user", ""),
        ("pacs.password_file", ABSENT),
        ("pacs.timeout", 0),
        ("pacs.timeout", 61),
        ("status.state", ABSENT),
        ("status.page", 5),
        ("status.session", -1),
        ("status.missing_after", 1441),
        ("status.leave_after", "60"),
        ("status.hints_off", {"3010000.01": ["holes"]}),
        ("status.hints_off", ["gaps"]),
    ],
)
def test_a_wrong_value_of_pacs_or_status_is_named(place: str, value: object, configure: Configure) -> None:
    changes: dict[str, object] = {"pacs": dict(PACS), "status": {"state": "/var/lib/dicom-worklist/status.json"}}
    section, _, key = place.partition(".")
    said = error_of(configure({**changes, place: value}))
    assert section in said
    assert key in said


def test_entries_can_not_leave_without_a_pacs_that_says_when(configure: Configure) -> None:
    said = error_of(configure({"status": {"state": "/var/lib/status.json", "leave_after": 60}}))
    assert "status.leave_after needs the section pacs" in said


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("site.name", ""),
        ("site.name", 5),
        ("site.timezone", "Mars/Olympus"),
        ("site.timezone", "CEST"),
        ("site.timezone", ""),
        ("site.timezone", "../Europe/Amsterdam"),
        ("site.timezone", "Europe"),
        ("site.uid_root", "1.02"),
        ("site.uid_root", "3.1"),
        ("site.uid_root", "1." + "1" * 42),
        ("site.uid_root", "1.2."),
        ("source.type", "oracle"),
        ("source.type", "_dccn"),
        ("source.type", None),
        ("source.type", ["csv"]),
        ("source.path", 5),
        ("window.days_back", -1),
        ("window.days_ahead", 367),
        ("window.days_ahead", "1"),
        ("window.days_ahead", 0.5),
        ("scanners", []),
        ("scanners[0].ae_title", ""),
        ("scanners[0].ae_title", "A" * 17),
        ("scanners[0].ae_title", " PRISMA"),
        ("scanners[0].ae_title", "PRISMA "),
        ("scanners[0].ae_title", "PRIS\\MA"),
        ("scanners[0].ae_title", "PRISMÄ"),
        ("scanners[0].ae_title", "PRISMA\n"),
        ("scanners[0].ae_title", 5),
        ("scanners[0].lab", "("),
        ("scanners[0].lab", None),
        ("scanners[0].modality", "mr"),
        ("scanners[0].modality", "MR\\PT"),
        ("scanners[0].modality", "MR\n"),
        ("scanners[0].station_name", "MR1\n"),
        ("scanners[0].worklist", "WLBROKER\n"),
        ("site.uid_root", "1.2.3\n"),
        ("scanners[0].station_name", "A" * 17),
        ("scanners[0].station_name", "A\\B"),
        ("scanners[0].location", "A" * 17),
        ("scanners[0].location", "A\tB"),
        ("scanners[0].charset", "GB18030"),
        ("scanners[0].charset", "utf-8"),
        ("scanners[0].worklist", "../other"),
        ("scanners[0].worklist", ".."),
        ("scanners[0].worklist", "A/B"),
        ("scanners[0].worklist", ""),
        ("worklist.lock_timeout", 0),
        ("worklist.lock_timeout", "30"),
        ("worklist.root", None),
        ("broker.port", 0),
        ("broker.port", 65536),
        ("attributes.PatientComments", 5),
        ("attributes.PatientComments", None),
    ],
)
def test_a_wrong_value_is_named_with_its_place(place: str, value: object, configure: Configure) -> None:
    assert place in error_of(configure({place.replace("[0]", ".0"): value}))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("scanners.2.lab", "(", "scanners[2].lab (scanner SKYRA) '(' is not a valid regular expression"),
        ("scanners.2.lab", r"\d (", r"'\d (' is not a valid regular expression: a ( has no )"),
        ("ignored_labs", [r"\d)"], r"ignored_labs[0] '\d)' is not a valid regular expression: a ) has no ("),
        ("booking.patterns", {"a": r"(?<subject>\d)"},
         r"'(?<subject>\d)' is not a valid regular expression: write (?P<subject>…) for (?<subject>…)"),
        ("booking.characters", r"[\d", r"is '[\d': it is not a valid regular expression: a [ has no ]"),
        ("source", {"type": "http", "url": "http://a/", "method": "PUT"}, "source.method 'PUT': write GET or POST"),
        ("booking.identity", "subject", "booking.identity 'subject': write dccn or plain"),
        ("worklist.lock_timeout", "30", "worklist.lock_timeout: write a number, without quotes"),
        ("broker.port", 0, "broker.port: write a number from 1 to 65535"),
        ("window.days_ahead", 0.5, "window.days_ahead: write a whole number, without quotes"),
        ("booking.columns", {"minutes": 60}, "booking.columns.minutes: it must be a text: put it in quotes"),
        ("site.name", None, "site.name: it is empty, and must be a text"),
        ("site.name", ["a"], "site.name: it must be a text, not a list"),
        ("pacs", {"url": "x", "user": "u", "password_file": "p", "check_hostname": "yes"},
         "pacs.check_hostname: write true or false, without quotes"),
        ("ignored_labs", "MEG", "ignored_labs: write a list"),
        ("scanners.2.modality", "mr", "scanners[2].modality (scanner SKYRA): "),
        ("scanners.2.location", "A\tB", "scanners[2].location (scanner SKYRA): "),
        ("scanners.2.ae_title", 5, "scanners[2].ae_title: "),
        ("scanners.2", "SKYRA", "scanners[2]: "),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_what_is_allowed(place: str, value: object, said: str, configure: Configure) -> None:
    assert said in error_of(configure({place: value}))


@pytest.mark.parametrize(
    ("key", "value"), [("port", 0), ("port", "3306"), ("connect_timeout", 0), ("read_timeout", 3601), ("tls", "yes")]
)
def test_a_wrong_setting_of_mysql_is_named_with_its_place(key: str, value: object, configure: Configure) -> None:
    assert f"source.{key}" in error_of(configure({"source": MYSQL | {key: value}}))


def test_an_unknown_tls_setting_is_named_with_its_place(configure: Configure) -> None:
    said = error_of(configure({"source": MYSQL | {"tls": {"ca": "ca.pem", "verify": False}}}))
    assert "`verify`" in said
    assert "source.tls" in said


def test_a_kind_of_source_that_is_unknown_is_answered_with_those_that_are(configure: Configure) -> None:
    assert "csv, http, ical, mysql, postgresql, sqlite" in error_of(configure({"source.type": "oracle"}))


def test_a_site_name_that_does_not_fit_a_location_asks_for_one(configure: Configure) -> None:
    long_name = {"site.name": "Donders Centre for Cognitive Neuroimaging"}
    assert "location" in error_of(configure(long_name))
    assert load(configure(long_name | {f"scanners.{at}.location": "DCCN" for at in range(3)}))


def test_how_rows_are_read_by_default(configure: Configure) -> None:
    config = load(configure())
    assert config.booking.statuses == ("CONFIRMED", "TENTATIVE")
    assert config.booking.characters == "[A-Za-z0-9._+-]"
    assert config.reading == Reading(ZoneInfo("Europe/Amsterdam"))
    assert not config.ignores("MEG lab")


def test_a_site_says_how_its_rows_are_read(configure: Configure) -> None:
    changes = {"statuses": ["Best\u00e4tigt", " ok "], "characters": r"[\w ]"}
    config = load(configure({"booking": changes, "ignored_labs": ["^meg", "EEG"]}))
    assert config.reading == Reading(ZoneInfo("Europe/Amsterdam"), frozenset({"best\u00e4tigt", "ok"}), r"[\w ]")
    assert [lab for lab in ("MEG lab", "old eeg 2", "PRISMA", "the MEG") if config.ignores(lab)] == [
        "MEG lab",
        "old eeg 2",
    ]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("booking.characters", "[a-z]+"),
        ("booking.characters", "[a-z"),
        ("booking.characters", ""),
        ("booking.characters", "ab"),
        ("booking.characters", None),
        ("booking.characters", 5),
        ("booking.characters", r"[\\^=*?]"),
        ("booking.statuses", []),
        ("booking.statuses", [" "]),
        ("booking.statuses", "CONFIRMED"),
        ("booking.statuses", [1]),
        ("booking.status", ["CONFIRMED"]),
        ("ignored_labs", "MEG"),
        ("ignored_labs", [5]),
        ("ignored_labs", ["MEG", "("]),
    ],
)
def test_a_wrong_rule_of_how_rows_are_read_is_named(place: str, value: object, configure: Configure) -> None:
    said = error_of(configure({place: value}))
    assert place.split(".", maxsplit=1)[0] in said
    assert place.rsplit(".", maxsplit=1)[-1] in said


def test_two_scanners_never_share_an_ae_title(configure: Configure) -> None:
    assert "PRISMA is there twice" in error_of(configure({"scanners.1.ae_title": "PRISMA"}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "object"),
        (b"- 1\n", "object"),
        (b"site: [", "not valid YAML: line 1 is wrong: "),
        (b"site: \xff\n", "not valid YAML"),
        (b"site: !!python/object/apply:os.getpid []\n", "not valid YAML: line 1 is wrong: "),
        (b"site:\n  name: {{ x }}\n", "line 2 has a text that begins with {{: put it in quotes"),
        (b"site:\n  name: {{ x }} and {{ y }}\n", "line 2 has a text that begins with {{: put it in quotes"),
        (b"site:\n  name: x\n\ttimezone: y\n", "line 3 begins with a tab: use blanks"),
        (b"site:\n\tname: x\n", "line 2 begins with a tab: use blanks"),
        (b"site:\n  name: x\n timezone: y\n", "line 3 doesn't stand under the line before it"),
        (b"site:\n  name: x\n    timezone: y\n", "line 3 doesn't stand under the line before it"),
        (b"site:\n  name: @b\n", "line 2 has a text that begins with @: put it in quotes"),
        (b"site:\n  name: 'b\n  more: c\n", "line 3 can't be read: the quote that begins in line 2 has no end"),
        (b"site:\n  name: a: b\n", "line 2 has a text with a colon and a blank: put it in quotes"),
    ],
    ids=["empty", "a list", "broken", "not UTF-8", "an object of Python's", "template", "two templates", "tab",
         "tab at once", "too far left", "too far right", "at", "quote", "colon"],
)  # fmt: skip
def test_a_file_that_is_not_a_configuration_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_bytes(content)
    assert said in error_of(tmp_path / "config.yml")
    assert not re.search("unicode string|byte string|column", error_of(tmp_path / "config.yml"))


@pytest.mark.parametrize("name", ["absent.yml", "."])
def test_a_file_that_can_not_be_read_is_named(name: str, tmp_path: Path) -> None:
    assert "can't be read" in error_of(tmp_path / name)
