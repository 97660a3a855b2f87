"""Reading the configuration file, and checking it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from zoneinfo import ZoneInfo

import msgspec
import yaml

from dicom_worklist import expressions
from dicom_worklist.bookings import Rules, identity, sources
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import Config, Notify, Scanner, Site
from dicom_worklist.worklist import templates
from dicom_worklist.worklist.attributes import CODECS

_SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the quick one, where PyYAML has it
T = TypeVar("T")
#: What a value must be, by msgspec's name for it.
FORMS = {
    "int": "write a whole number, without quotes",
    "float": "write a number, without quotes",
    "bool": "write true or false, without quotes",
    "array": "write a list",
}
#: Where people find what the file may say.
DOCUMENTATION = "docs/command.md describes this file; if Ansible wrote it, correct the inventory"


def load(path: str | Path) -> Config:
    """Read and check the configuration file.

    Raises:
        ConfigError: the file can't be read, or a key or value is not of the form that it must have.
    """
    text = ""
    try:
        text = Path(path).read_text(encoding="utf-8")
        data = yaml.load(text, _SafeLoader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"the configuration {path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2026-02-30
        ansible = " Leave !unsafe out: it is for Ansible's variables" if "!unsafe" in str(error) else ""
        said = _yaml_fault(error, text) if isinstance(error, yaml.MarkedYAMLError) else " ".join(str(error).split())
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
        faults = _faults_of_all(data)
        said = "; ".join(_with_titles(fault, data) for fault in faults or [str(error)])
        raise ConfigError(f"the configuration {path}: {said}{f'. {DOCUMENTATION}' if faults else ''}") from error
    return config


def part(path: str | Path) -> tuple[Site, Notify] | None:
    """Return of a file that can't be used as a whole who is notified of that; None: that can't be read either."""
    from dicom_worklist.notify import recipients  # noqa: PLC0415 - only where somebody is notified

    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), _SafeLoader)  # noqa: S506
        site, notify = _convert(data["site"], Site), _convert(data["notify"], Notify)
        ZoneInfo(site.timezone)
        recipients.check_ways(notify)
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError, ConfigError):
        return None
    return site, notify


def _yaml_fault(error: yaml.MarkedYAMLError, text: str) -> str:
    """Return in which line YAML has a fault, and what to write there."""
    mark, said, lines = error.problem_mark or error.context_mark, error.problem or "", text.splitlines()
    at = min(mark.line, len(lines) - 1) if mark else 0
    line, column = lines[at], mark.column if mark else 0
    stray = said.startswith("mapping values")
    begins = line[column : column + 1]
    opened = error.context_mark if error.context == "while scanning a quoted scalar" else None
    quotes = opened.line + 1 if opened else 0
    faults = (
        (re.match(" *\t", line), "begins with a tab: use blanks"),
        (re.search(r"[:-] +\{\{", line), "has a text that begins with {{: put it in quotes"),
        ("cannot start any token" in said, f"has a text that begins with {begins}: put it in quotes"),
        (stray and re.search(r":\s", line[:column]), "has a text with a colon and a blank: put it in quotes"),
        (stray or said == "did not find expected key", "doesn't stand under the line before it"),
        (quotes, f"can't be read: the quote that begins in line {quotes} has no end"),
    )
    return f"line {at + 1} {next((what for found, what in faults if found), f'is wrong: {said}')}"


def _faults_of_all(data: object) -> list[str]:
    """Return what is wrong with the form of the file: each setting that is missing, unknown, or not of its form."""
    faults = list(_faults(data, Config, ""))
    source = data.get("source") if isinstance(data, dict) else None
    if isinstance(source, dict):
        try:
            _source(source)
        except ConfigError as error:
            kind, settings = source.get("type", ""), {name: source[name] for name in source if name != "type"}
            known = kind in sources.kinds()
            faults += _faults(settings, sources.source_class(kind), "source") if known else [str(error)]
    return faults


def _faults(data: object, kind: Any, place: str) -> Iterator[str]:
    """Yield what is wrong with the form of a value; of a section, what is wrong with each of its settings."""
    try:
        msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError as error:
        yield from list(_inner_faults(data, kind, place)) or [_words(error, place, data, kind)]


def _inner_faults(data: object, kind: Any, place: str) -> Iterator[str]:
    options = get_args(kind) if get_origin(kind) in {Annotated, Union, UnionType} else (kind,)
    if isinstance(data, list):
        for listed in (option for option in options if get_origin(option) is tuple):
            for at, item in enumerate(data):
                yield from _faults(item, get_args(listed)[0], f"{place}[{at}]")
    if not isinstance(data, dict):
        return
    for mapping in (option for option in options if get_origin(option) is dict):
        yield from (fault for name in data for fault in _faults(data[name], get_args(mapping)[1], f"{place}.{name}"))
    for section in (option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)):
        form = section.__struct_config__
        if form.tag_field and form.tag != data.get(form.tag_field):  # another of several sections
            continue
        settings = {field.encode_name: field for field in msgspec.structs.fields(section)}
        for name in data:
            if name not in settings and name != form.tag_field:
                yield _unknown(str(name), place, settings)
        for name, field in settings.items():
            if name in data:
                yield from _faults(data[name], field.type, f"{place}.{name}".lstrip("."))
            elif field.required:
                yield f"{place or 'the file'} has no `{name}`, which it needs"


def _unknown(name: str, place: str, settings: Iterable[str]) -> str:
    if (place, name) == ("source", "password"):
        return "source: `password` is not taken here: write it into a file, and its path into source.password_file"
    return f"{place or 'the file'} has the unknown field `{name}`: it can have {', '.join(settings)}"


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
        raise ConfigError(_words(error, place, data)) from error


def _words(error: msgspec.ValidationError, place: str, data: object, kind: Any = None) -> str:
    """Return what is wrong with the form of some data, and where it is; without the data, which may be secret."""
    # msgspec names the place as `$.scanners[0].lab`
    said, _, at = str(error).partition(" - at ")
    if said.startswith("Invalid enum value") and (allowed := _parts(kind, Literal)):
        return f"{place} {data!r}: write {' or '.join(allowed)}"
    said = said if at else _remedy(said, kind)
    at = f"{place}.{at.strip('`$').lstrip('.')}".strip(".")
    if isinstance(data, str) and data.lower().startswith("webcal:"):
        said = "write https:// for webcal://"
    return f"{at}: {said}" if at else said


def _remedy(said: str, kind: Any) -> str:
    """Return what to write in place of a value, for what msgspec says of it; its own words where they must do."""
    form = re.fullmatch(r"Expected `(\w+)(?: \| null)?`(?:, got `(\w+)`)?(?: (.*))?", said)
    expected, got, rule = form.groups() if form else ("", None, None)
    if expected in {"int", "float"} and rule:
        [meta] = _parts(kind, Annotated)
        return f"write a number {f'from {meta.ge}' if meta.gt is None else f'above {meta.gt} and up'} to {meta.le}"
    if expected == "str" and (got == "null" or rule == "of length >= 1"):
        return "it is empty, and must be a text"
    if expected == "str" and got:
        what = {"array": "a list", "object": "a mapping"}.get(got)
        return f"it must be a text, not {what}" if what else "it must be a text: put it in quotes"
    return FORMS.get(expected, said)


def _parts(kind: Any, of: Any) -> list[Any]:
    """Return the values of a Literal, or the rules of an Annotated, at any place in a type."""
    own = get_args(kind)[of is Annotated :] if get_origin(kind) is of else ()
    return [*own, *(part for inner in get_args(kind) for part in _parts(inner, of))]


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
        why = expressions.why_not_valid(expression, error)
        raise ConfigError(f"{place} '{expression}' is not a valid regular expression: {why}") from error


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
        raise ConfigError(f"booking.characters is '{config.booking.characters}': {error}") from error
    Rules(config.booking)
    for at, lab in enumerate(config.ignored_labs):
        _check_expression(f"ignored_labs[{at}]", lab)
    if config.pacs and not re.fullmatch(r"https?://[^\s/@]+(/[^\s?#]*)?", config.pacs.url):
        raise ConfigError(
            "pacs.url is not an address of Orthanc: write http://host:port or https://host:port, without a login"
        )
    if config.status and config.status.leave_after is not None and config.pacs is None:
        raise ConfigError("status.leave_after needs the section pacs: only the PACS knows when a scan is done")
    if config.delivery:
        from dicom_worklist.delivery import rules  # noqa: PLC0415 - only where something is delivered

        if config.pacs is None:
            raise ConfigError("delivery needs the section pacs: it says where the images are")
        rules.check(config.delivery)
    if config.notify:
        from dicom_worklist.notify import recipients  # noqa: PLC0415 - only where somebody is notified

        recipients.check(config.notify, config)
    templates.check(config.attributes, config.scanners)
    titles = [scanner.ae_title for scanner in config.scanners]
    if twice := sorted({title for title in titles if titles.count(title) > 1}):
        raise ConfigError(f"scanners: the ae_title {', '.join(twice)} is there twice; each scanner needs its own")
