"""Reading the configuration file, and checking it."""

import re
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import yaml

from dicom_worklist.bookings import Rules, identity, sources
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import Config, Scanner, Site
from dicom_worklist.worklist import templates
from dicom_worklist.worklist.attributes import CODECS

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where PyYAML has it
T = TypeVar("T")


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
        ansible = " Leave !unsafe out: it is for Ansible's variables" if "!unsafe" in str(error) else ""
        said = " ".join(str(error).split())  # PyYAML writes several lines
        raise ConfigError(f"the configuration {path} is not valid YAML: {said}{ansible}") from error
    try:
        config = _convert(data, Config)
        config = msgspec.structs.replace(
            config,
            source=_source(config.source),
            scanners=tuple(_scanner(at, scanner, config.site) for at, scanner in enumerate(config.scanners)),
        )
        _check(config)
    except ConfigError as error:
        raise ConfigError(f"the configuration {path}: {_with_titles(str(error), data)}") from error
    return config


def _with_titles(said: str, data: Any) -> str:
    """Return an error that names a scanner by its AE title, where it has one, and not by its number alone."""

    def titled(place: re.Match[str]) -> str:
        scanner = data["scanners"][int(place[1])]
        if not isinstance(scanner, dict) or not isinstance(scanner.get("ae_title"), str):
            return place[0]
        return f"{place[0]} (scanner {scanner['ae_title']})"

    return re.sub(r"^scanners\[([0-9]+)\](\.\w+)*", titled, said)


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
    if "password" in settings:
        raise ConfigError(
            "source: `password` is not taken here: write it into a file, and its path into source.password_file"
        )
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
            f"site.timezone {config.site.timezone!r} is not an IANA time zone such as Europe/Amsterdam"
        ) from error
    try:
        identity.check_characters(config.booking.characters)
    except ValueError as error:
        raise ConfigError(f"booking.characters is {config.booking.characters!r}: {error}") from error
    Rules(config.booking)
    for at, lab in enumerate(config.ignored_labs):
        _check_expression(f"ignored_labs[{at}]", lab)
    if config.pacs and not re.fullmatch(r"https?://[^\s/@]+(/[^\s?#]*)?", config.pacs.url):
        raise ConfigError(
            "pacs.url is not an address of Orthanc: write http://host:port or https://host:port, without a login"
        )
    if config.status and config.status.leave_after is not None and config.pacs is None:
        raise ConfigError("status.leave_after needs the section pacs: only the PACS knows when a scan is done")
    templates.check(config.attributes, config.scanners)
    titles = [scanner.ae_title for scanner in config.scanners]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ConfigError(f"scanners: the ae_title {', '.join(twice)} is there twice; each scanner needs its own")
