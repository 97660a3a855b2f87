"""The command `dicom-worklist`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dicom_worklist import __version__, sync
from dicom_worklist.bookings import selection
from dicom_worklist.bookings.booking import printable
from dicom_worklist.config import load
from dicom_worklist.errors import BrokerError, ConfigError, FolderError, WorklistError
from dicom_worklist.settings import Config
from dicom_worklist.worklist import folder
from dicom_worklist.worklist.attributes import ROOT, STEP

if TYPE_CHECKING:
    from dicom_worklist.status.findings import Findings
    from dicom_worklist.status.overview import Overview

DONE, REJECTED = 0, 3
#: Where the role writes the configuration.
CONFIG = "/etc/dicom-worklist/config.yml"
#: What `status --exit-code` returns when it can't tell, as Nagios' plug-ins do.
UNKNOWN = 3
#: Fewer changes than this are over before a progress bar can be read.
PROGRESS_FROM = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    0 done; 2 usage or configuration; 3 done, but bookings were rejected; 4 the source could not be read;
    5 the folder could not be written or locked; 6 the broker doesn't show what the folder holds; 7 the PACS
    can't be asked. `status --exit-code` has Nagios' own.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't show must not end the run
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except WorklistError as error:
        print(f"dicom-worklist: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dicom-worklist",
        description="Turns the bookings of an imaging centre's calendar into a DICOM Modality Worklist.",
        epilog="Exit status: 0 done; 2 usage or configuration; 3 done, but bookings were rejected; "
        "4 the bookings could not be read; 5 the folder could not be written or locked; "
        "6 the broker doesn't show what the folder holds; 7 the PACS can't be asked.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="sync | list | status | check | repair")
    for run, summary in (
        (_sync, "make the worklist equal to the calendar"),
        (_list, "show what the scanners see now"),
        (_status, "show what was booked, is on the console, was scanned and arrived"),
        (_check, "check the configuration, the source, the folder, the broker and the PACS"),
        (_repair, "give a study in the PACS the identity that its booking has"),
    ):
        command = commands.add_parser(run.__name__.lstrip("_"), help=summary, description=f"{summary}.")
        command.set_defaults(run=run)
        command.add_argument(
            "-c", "--config", default=CONFIG, metavar="FILE", help="the configuration file (%(default)s)"
        )
        if run is _check:
            command.add_argument("--only", choices=CHECKS, help="check just this")
        else:
            command.add_argument("--json", action="store_true", help="print one JSON object")
        if run is _status:
            command.add_argument(
                "--exit-code", action="store_true", help="for Nagios: 0 all is well, 1 warning, 2 critical, 3 unknown"
            )
        if run is not _list:
            command.add_argument(
                "--now",
                type=_moment,
                metavar="ISO-8601",
                help="stands in for the clock: date, time and offset",
            )
        if run is _sync:
            command.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="stands in for today at the site")
            command.add_argument("--dry-run", action="store_true", help="say what would change; write nothing")
            command.add_argument(
                "--log", action="store_true", help="for cron: lines with their time, and a warning only once"
            )
        if run is _repair:
            command.add_argument("study", metavar="STUDY", help="Orthanc's id of it, or its StudyInstanceUID")
            command.add_argument("booking", metavar="BOOKING", help="the id of the booking")
            command.add_argument("--apply", action="store_true", help="do it; without, say what would change")
            command.add_argument("--entry-of", metavar="BOOKING", help="the booking whose entry was used by mistake")
            command.add_argument("--user", default="admin", help="a login of Orthanc that may change studies (admin)")
            command.add_argument(
                "--password-file",
                default="/etc/orthanc-pacs/admin.password",
                metavar="FILE",
                help="the file with its password (%(default)s)",
            )
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write YYYY-MM-DD") from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment: write 2026-11-24T09:30:00+01:00")
    return moment


def _now(options: argparse.Namespace) -> datetime:
    return options.now or datetime.now(UTC)


def _sync(options: argparse.Namespace) -> int:
    config, now = load(options.config), _now(options)
    if options.log:
        return _sync_for_the_log(config, options, now)
    report = sync.run(config, options.day, now=now, dry_run=options.dry_run, track=_track)
    if options.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        dry_run = options.dry_run
        print(*report.changes(dry_run=dry_run), *report.remarks(), report.summary(dry_run=dry_run), sep="\n")
    return REJECTED if report.rejected else DONE


def _sync_for_the_log(config: Config, options: argparse.Namespace, now: datetime) -> int:
    """Print what changed, and each remark in the run in which it begins, and in the one in which it has ended."""
    before = _before(config)
    try:
        report = sync.run(config, options.day, now=now, dry_run=options.dry_run)
    except WorklistError as error:
        # what is wrong with bookings is not known, and so has not ended
        changes, remarks, summary, status = [], [*before.said, *error.said], [], error.exit_status
    else:
        changes, remarks, summary = (
            report.changes(dry_run=options.dry_run),
            report.remarks(),
            [report.summary(dry_run=options.dry_run)],
        )
        status = REJECTED if report.rejected else DONE
    begun = [remark for remark in remarks if remark not in before.remarks]
    ended = [f"no longer: {remark}" for remark in before.remarks if remark not in remarks]
    moment = now.astimezone(ZoneInfo(config.site.timezone)).isoformat(timespec="seconds")
    for line in [*changes, *begun, *ended, *summary]:
        print(moment, printable(line))
    return status


def _before(config: Config) -> "Findings":
    """Return what the last run found."""
    from dicom_worklist.status import findings as state  # noqa: PLC0415

    with suppress(OSError):  # the run itself names it
        return state.load(config.status.state) if config.status else state.Findings()
    return state.Findings()


def _track(items: Sequence[str], description: str) -> Iterable[str]:
    """Show a progress bar where somebody watches and there is something to wait for."""
    if len(items) < PROGRESS_FROM or not sys.stderr.isatty():
        return items
    from rich.console import Console  # noqa: PLC0415 - cron needs none of it
    from rich.progress import track  # noqa: PLC0415

    return track(items, description, console=Console(stderr=True), transient=True)


def _list(options: argparse.Namespace) -> int:
    entries, unreadable = _entries(load(options.config))
    for problem in unreadable:
        print(f"dicom-worklist: {printable(problem)}", file=sys.stderr)
    if options.json:
        print(json.dumps({"entries": entries}, indent=2))
        return DONE
    from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs no tables

    terminal.show_entries(entries)
    return DONE


def _status(options: argparse.Namespace) -> int:
    """Tell what the last runs found; `--exit-code` is for Nagios, and for mail from cron."""
    try:
        overview = _overview(load(options.config), _now(options))
    except WorklistError as error:
        if not options.exit_code:
            raise
        print(f"WORKLIST UNKNOWN - {error}")
        return UNKNOWN
    from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs no tables

    if options.json:
        print(json.dumps(overview.as_dict(), indent=2))
    elif options.exit_code:
        print(*terminal.plugin(overview), sep="\n")
    else:
        terminal.show_overview(overview)
    return overview.level if options.exit_code else DONE


def _overview(config: Config, now: datetime) -> "Overview":
    from dicom_worklist.status import findings as state  # noqa: PLC0415
    from dicom_worklist.status import overview  # noqa: PLC0415

    if config.status is None:
        raise ConfigError("there is no section status: runs write down what they find only where status.state says")
    try:
        found = state.load(config.status.state)
    except OSError as error:
        raise FolderError(
            f"status.state {config.status.state} can't be read: {error.strerror}; ask as the sync's user or root"
        ) from error
    return overview.overview(config, found, now)


def _entries(config: Config) -> tuple[list[dict[str, object]], list[str]]:
    """Return the entries of all worklists in the order of the day, and what the broker would skip."""
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - the sync often needs no pydicom

    entries: list[dict[str, object]] = []
    unreadable: list[str] = []
    for path in config.folders():
        for name, content in folder.read(path, lock_timeout=config.worklist.lock_timeout).items():
            try:
                attributes = dataset.attributes_of(dataset.decode(content))
            except ValueError as error:
                unreadable.append(f"{path / name} is shown to nobody: {error}")
                continue
            booking_id, ae_title = folder.parse_file_name(name) or (None, None)
            place: dict[str, object] = {"booking_id": booking_id, "ae_title": ae_title, "worklist": path.name}
            entries.append(place | {"file": name} | attributes)
    keys = ("ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
    return sorted(entries, key=lambda entry: [str(entry.get(key, "")) for key in keys]), unreadable


def _repair(options: argparse.Namespace) -> int:
    from dicom_worklist.status import repair, terminal  # noqa: PLC0415 - cron needs none of it

    config = load(options.config)
    pacs = repair.login(config, options.user, options.password_file)
    booked = repair.identity_of(config, options.booking)
    plan, study = repair.plan(pacs, options.study, booked), None
    if not options.json:
        terminal.show_repair(plan, booked, applied=options.apply)
    other = None if plan.right else repair.other_booking(config, plan, booked)
    if other and other.booking_id != options.entry_of:
        said = (
            f"this study is as booked for booking {other.booking_id} ({other.patient_name}, {other.ae_title}). If its "
            f"entry was used by mistake, say so with --entry-of {other.booking_id}"
        )
        if options.apply:
            raise ConfigError(f"{said}; nothing was changed")
        print(f"dicom-worklist: {said}", file=sys.stderr)
    if options.apply and not plan.right:
        run = repair.Run(pacs, _now(options), _track, partial(print, file=sys.stderr))
        study = repair.repair(run, options.study, booked)
    if options.json:
        print(json.dumps(plan.as_dict() | {"repaired": study}, indent=2))
    return DONE


def _check(options: argparse.Namespace) -> int:
    """Check each, and return the exit status of the first that fails."""
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False, soft_wrap=True)
    config = load(options.config)
    failures: list[int] = []
    for what, look in CHECKS.items():
        if options.only not in {None, what} or (what == "pacs" and not (options.only or config.pacs)):
            continue
        try:
            verdict, said = Text("ok    ", "bold green"), look(config, _now(options))
        except WorklistError as error:
            verdict, said = Text("FAILED", "bold red"), str(error)
            failures.append(error.exit_status)
        console.print(verdict, Text(f"{what}: {said}"))
    return failures[0] if failures else DONE


def _look_at_configuration(config: Config, now: datetime) -> str:  # noqa: ARG001 - all checks are called alike
    return f"{len(config.scanners)} scanners, {config.source}"


def _look_at_source(config: Config, now: datetime) -> str:
    here = sync.here(config, now)
    days = selection.days(config, here.date(), here)
    reading = sync.Report(here.date())
    selected = sync.read(config, days, reading)
    count = sum(one.shown for one in selected.scheduled) + sum(shown for _, _, shown, _ in selected.rejected)
    when = f"{days.first}" if days.first == days.last else f"{days.first} to {days.last}"
    said = [f"{config.source} can be read and has {count} bookings of scanners for {when} at the site"]
    with suppress(FolderError):  # which the next check tells
        report = sync.run(config, now=now, dry_run=True)
        waiting = len(report.published) + len(report.updated) + len(report.removed)
        said += [f"{len(report.rejected)} rejected", f"{waiting} entries wait for the next run"]
    for what, counted in (
        ("no scanner has the labs", selected.labs),
        ("bookings of these statuses don't count:", selected.statuses),
    ):
        if counted:
            said.append(f"{what} {', '.join(f'{name!r} ({number})' for name, number in sorted(counted.items()))}")
    return "; ".join([*said, *reading.warnings])


def _look_at_folders(config: Config, now: datetime) -> str:  # noqa: ARG001 - all checks are called alike
    for path in config.folders():
        folder.check_writable(path, config.worklist.lock_timeout)
    said = [f"{', '.join(map(str, config.folders()))} can be written and locked"]
    others = folder.others(Path(config.worklist.root), config.folders())
    if others:
        said.append(f"the consoles are shown what no sync wrote: {', '.join(_leftovers(config, others))}")
    return "; ".join(said)


def _leftovers(config: Config, names: Iterable[str]) -> Iterable[str]:
    """Return each file with the day that it is for, or that it is broken."""
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - rarely needed

    for name in names:
        try:
            entry = dataset.attributes_of(dataset.decode(Path(config.worklist.root, name).read_bytes()))
        except (OSError, ValueError):
            yield f"{printable(name)} (broken)"
        else:
            yield f"{printable(name)} (of {entry.get('ScheduledProcedureStepStartDate', 'no day')})"


def _look_at_broker(config: Config, now: datetime) -> str:  # noqa: ARG001 - all checks are called alike
    from dicom_worklist.worklist import broker, dataset  # noqa: PLC0415 - only this check speaks DICOM

    entries, _ = _entries(config)
    asked = (*ROOT, *STEP, "SpecificCharacterSet")
    counts: list[str] = []
    for scanner in config.scanners:
        found = map(dataset.attributes_of, broker.find(config.broker, scanner))
        shown = {entry.get("StudyInstanceUID"): entry for entry in found}
        held = {
            str(entry.get("StudyInstanceUID")): {keyword: entry[keyword] for keyword in asked if keyword in entry}
            for entry in entries
            if (entry["worklist"], entry.get("ScheduledStationAETitle")) == (scanner.worklist, scanner.ae_title)
        }
        # the broker has values of its own for some that are empty, such as PregnancyStatus 4, "unknown"
        if shown.keys() != held.keys() or any(not entry.items() <= shown[uid].items() for uid, entry in held.items()):
            raise BrokerError(
                f"{scanner.ae_title} is shown {len(shown)} entries, and the folder of {scanner.worklist} holds "
                f"{len(held)} for it, or they differ: does the broker serve this folder?"
            )
        counts.append(f"{scanner.ae_title} sees {len(shown)}")
    return f"{config.broker.host}:{config.broker.port} shows what the folder holds: {', '.join(counts)}"


def _look_at_pacs(config: Config, now: datetime) -> str:
    if config.pacs is None:
        return "there is no section pacs, so none is asked what arrived"
    from dicom_worklist.status import pacs  # noqa: PLC0415 - only where there is one

    day = sync.here(config, now).date()
    return f"{config.pacs.url} can be asked and has {len(pacs.studies(config.pacs, day, day))} studies of {day}"


CHECKS: dict[str, Callable[[Config, datetime], str]] = {
    "configuration": _look_at_configuration,
    "source": _look_at_source,
    "folder": _look_at_folders,
    "broker": _look_at_broker,
    "pacs": _look_at_pacs,
}
