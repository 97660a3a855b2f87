"""The configuration file, checked: what it may hold, and what each value must be."""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import yaml

from dicom_worklist.bookings import identity, sources
from dicom_worklist.bookings.booking import Reading
from dicom_worklist.errors import ConfigError
from dicom_worklist.worklist import templates
from dicom_worklist.worklist.attributes import CODECS

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where PyYAML has it
T = TypeVar("T")
Days = Annotated[int, msgspec.Meta(ge=0, le=366)]
Minutes = Annotated[int, msgspec.Meta(ge=0, le=1440)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
# value representations of PS3.5 6.2: AE and CS as the standard has them, SH without what splits values
AETitle = Annotated[str, msgspec.Meta(pattern=r"^(?! )[ -\[\]-~]{1,16}(?<! )\Z")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_][A-Z0-9_ ]{0,15}\Z")]
ShortText = Annotated[str, msgspec.Meta(pattern=r"^(?!\s)[^\\\x00-\x1f\x7f-\x9f]{1,16}(?<!\s)\Z")]
# an AE title that is a folder's name: what wlmscpfs accepts as one
FolderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:@_-]([A-Za-z0-9 :@_-]{0,14}[A-Za-z0-9:@_-])?\Z")]
# what isn't blank
Word = Annotated[str, msgspec.Meta(pattern=r"\S")]
# leaves at least 20 of UI's 64 characters for the booking
UIDRoot = Annotated[str, msgspec.Meta(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+\Z", max_length=43)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the file: an unknown key is an error."""


class Site(_Section, frozen=True):
    """The imaging centre; its time zone decides what "today" is."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    timezone: str
    uid_root: UIDRoot | None = None


class Window(_Section, frozen=True):
    """Which days around today the worklist has; an entry stays until its end and `grace`, in minutes, all the same."""

    days_back: Days = 0
    days_ahead: Days = 0
    grace: Minutes = 60


class Scanner(_Section, frozen=True):
    """One scanner, and the labs of the calendar that are booked on it."""

    ae_title: AETitle
    lab: str
    modality: Code = "MR"
    station_name: ShortText | None = None
    location: ShortText | None = None
    charset: str = "ISO_IR 192"
    worklist: FolderName = "WLBROKER"

    def matches(self, lab: str) -> bool:
        """Tell whether a booking of this lab is for this scanner."""
        return re.search(self.lab, lab, re.IGNORECASE) is not None


class BookingRules(_Section, frozen=True):
    """How a row of any source is read: which statuses count, in any case, and what project and subject consist of.

    `characters` is a regular expression for one character.
    """

    statuses: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)] = ("CONFIRMED", "TENTATIVE")
    characters: str = identity.CHARACTERS


class Worklist(_Section, frozen=True):
    """Where the folders of the broker are; `lock_timeout` in seconds."""

    root: str
    lock_timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30


class Broker(_Section, frozen=True):
    """Where the broker is asked by `dicom-worklist check`."""

    host: str = "127.0.0.1"
    port: Port = 1234


class Pacs(_Section, frozen=True):
    """Where Orthanc is asked for its studies (its REST interface); `timeout`, of the whole answer, in seconds.

    `ca_file` holds the certificates, as PEM text, that an `https` address is checked with; without it, the system's.
    `check_hostname: false` is for a `ca_file` that is just the server's own.
    """

    url: str
    user: Annotated[str, msgspec.Meta(min_length=1)]
    password_file: str
    ca_file: str | None = None
    check_hostname: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5


class Status(_Section, frozen=True):
    """Where each run says what it found, and when a booking counts as over; `session` and the others in minutes.

    `state` is the file that `dicom-worklist status` reads, `page` a folder for the web page, `metrics` one for a node
    exporter's textfile collector. An entry leaves the console `leave_after` the last image of its study; None: never.
    Without a good run for `frozen_after` the list counts as frozen, and the page as old. The history, a file beside the
    state, goes back `history_days`.
    """

    state: str
    page: str | None = None
    metrics: str | None = None
    session: Minutes = 60
    missing_after: Minutes = 60
    leave_after: Minutes | None = None
    frozen_after: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 5
    history_days: Annotated[int, msgspec.Meta(ge=2, le=36500)] = 400


class Config(_Section, frozen=True, dict=True):  # dict: has room for what is computed once
    """The whole file. `source` is a Source of dicom_worklist.bookings.sources.

    `ignored_labs` are regular expressions, case-insensitive: labs that are known and have no scanner.
    """

    site: Site
    source: Any
    scanners: Annotated[tuple[Scanner, ...], msgspec.Meta(min_length=1)]
    worklist: Worklist
    window: Window = Window()
    broker: Broker = Broker()
    pacs: Pacs | None = None
    status: Status | None = None
    attributes: dict[str, Any] = {}
    booking: BookingRules = BookingRules()
    ignored_labs: tuple[str, ...] = ()

    @cached_property
    def reading(self) -> Reading:
        """How a row of the source is read."""
        statuses = frozenset(status.strip().casefold() for status in self.booking.statuses)
        return Reading(ZoneInfo(self.site.timezone), statuses, self.booking.characters)

    def ignores(self, lab: str) -> bool:
        """Tell whether it is known that this lab has no scanner."""
        return any(re.search(known, lab, re.IGNORECASE) for known in self.ignored_labs)

    def folders(self) -> list[Path]:
        """Return the folders of the worklists; each one's name is the called AE title."""
        return [Path(self.worklist.root, name) for name in sorted({scanner.worklist for scanner in self.scanners})]


def load(path: str | Path) -> Config:
    """Read and check the configuration file.

    Raises:
        ConfigError: the file can't be read, or a key or value is not of the form that it must have.
    """
    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), _SafeLoader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"the configuration {path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2026-02-30
        raise ConfigError(f"the configuration {path} is no YAML: {error}") from error
    try:
        config = _convert(data, Config)
        config = msgspec.structs.replace(
            config,
            source=_source(config.source),
            scanners=tuple(_scanner(at, scanner, config.site) for at, scanner in enumerate(config.scanners)),
        )
        _check(config)
    except ConfigError as error:
        raise ConfigError(f"the configuration {path}: {error}") from error
    return config


def _convert(data: object, kind: type[T], place: str = "") -> T:
    try:
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        # msgspec names the place as `$.scanners[0].lab`
        said, _, at = str(error).partition(" - at ")
        at = f"{place}.{at.strip('`$').lstrip('.')}".strip(".")
        raise ConfigError(f"{at}: {said}" if at else said) from error


def _source(data: object) -> sources.Source:
    settings = dict(data) if isinstance(data, dict) else {}
    kind = settings.pop("type", None)
    if kind not in sources.kinds():
        raise ConfigError(f"source.type is {kind!r}: it must be one of {', '.join(sources.kinds())}")
    source: sources.Source = _convert(settings, sources.source_class(kind), "source")
    return source


def _scanner(at: int, scanner: Scanner, site: Site) -> Scanner:
    """Return the scanner with its defaults filled in and checked."""
    _check_expression(f"scanners[{at}].lab", scanner.lab)
    if scanner.charset not in CODECS:
        raise ConfigError(f"scanners[{at}].charset is {scanner.charset!r}: it must be one of {', '.join(CODECS)}")
    filled = {
        "station_name": scanner.ae_title if scanner.station_name is None else scanner.station_name,
        "location": site.name if scanner.location is None else scanner.location,
    }
    try:
        return _convert(msgspec.structs.asdict(scanner) | filled, Scanner, f"scanners[{at}]")
    except ConfigError as error:
        raise ConfigError(f"{error} (a location that isn't given is site.name, {site.name!r})") from error


def _check_expression(place: str, expression: str) -> None:
    try:
        re.compile(expression)
    except (re.error, OverflowError) as error:
        raise ConfigError(f"{place} {expression!r} is not a valid regular expression: {error}") from error


def _check(config: Config) -> None:
    """Check what takes more than one value to see."""
    try:
        ZoneInfo(config.site.timezone)
    except (KeyError, OSError, ValueError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ConfigError(
            f"site.timezone {config.site.timezone!r} is no IANA time zone such as Europe/Amsterdam"
        ) from error
    try:
        identity.check_characters(config.booking.characters)
    except ValueError as error:
        raise ConfigError(f"booking.characters is {config.booking.characters!r}: {error}") from error
    for at, lab in enumerate(config.ignored_labs):
        _check_expression(f"ignored_labs[{at}]", lab)
    if config.pacs and not re.fullmatch(r"https?://[^\s/@]+(/[^\s?#]*)?", config.pacs.url):
        raise ConfigError(
            "pacs.url is no address of Orthanc: write http://host:port or https://host:port, no login in it"
        )
    if config.status and config.status.leave_after is not None and config.pacs is None:
        raise ConfigError("status.leave_after needs the section pacs: only the PACS knows when a scan is done")
    templates.check(config.attributes, config.scanners)
    titles = [scanner.ae_title for scanner in config.scanners]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ConfigError(f"scanners: the ae_title {', '.join(twice)} is there twice; each scanner has its own")
