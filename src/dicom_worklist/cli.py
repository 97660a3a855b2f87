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
from typing import TYPE_CHECKING

from dicom_worklist import __version__, folder, sync
from dicom_worklist.attributes import ROOT, STEP
from dicom_worklist.booking import printable
from dicom_worklist.config import Config, load
from dicom_worklist.errors import BrokerError, ConfigError, FolderError, WorklistError

if TYPE_CHECKING:
    from dicom_worklist.overview import Overview

DONE, REJECTED = 0, 3
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
        command.add_argument("-c", "--config", required=True, metavar="FILE", help="the configuration file")
        if run is _check:
            command.add_argument("--only", choices=CHECKS, help="check just this")
        else:
            command.add_argument("--json", action="store_true", help="print one JSON object")
        if run is _status:
            command.add_argument(
                "--exit-code", action="store_true", help="for Nagios: 0 all is well, 1 warning, 2 critical, 3 unknown"
            )
        if run is _sync:
            command.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="stands in for today at the site")
            command.add_argument("--dry-run", action="store_true", help="say what would change; write nothing")
        if run is _repair:
            command.add_argument("study", metavar="STUDY", help="Orthanc's id of it, or its StudyInstanceUID")
            command.add_argument("booking", metavar="BOOKING", help="the id of the booking")
            command.add_argument("--apply", action="store_true", help="do it; without, say what would change")
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
        raise argparse.ArgumentTypeError(f"{text!r} is no day: write YYYY-MM-DD") from None


def _sync(options: argparse.Namespace) -> int:
    report = sync.run(load(options.config), options.day, dry_run=options.dry_run, track=_track)
    if options.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        _print_report(report, dry_run=options.dry_run)
    return REJECTED if report.rejected else DONE


def _print_report(report: sync.Report, *, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for verb in ("published", "updated", "removed"):
        for entry in getattr(report, verb):
            print(f"{would}{verb} booking {printable(entry['booking_id'])} on {entry['ae_title']}")
    for rejection in report.rejected:
        print(f"rejected booking {rejection['booking_id']}: {rejection['reason']}")
    for warning in report.warnings:
        print(f"warning: {warning}")
    print(
        f"{report.day}: {len(report.published)} {would}published, {len(report.updated)} updated, "
        f"{len(report.removed)} removed, {len(report.unchanged)} unchanged, "
        f"{len(report.rejected)} rejected, {len(report.warnings)} warnings"
    )


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
    from dicom_worklist import terminal  # noqa: PLC0415 - cron needs no tables

    terminal.show_entries(entries)
    return DONE


def _status(options: argparse.Namespace) -> int:
    """Tell what the last runs found; `--exit-code` is for Nagios, and for mail from cron."""
    try:
        overview = _overview(load(options.config))
    except WorklistError as error:
        if not options.exit_code:
            raise
        print(f"WORKLIST UNKNOWN - {error}")
        return UNKNOWN
    from dicom_worklist import terminal  # noqa: PLC0415 - cron needs no tables

    if options.json:
        print(json.dumps(overview.as_dict(), indent=2))
    elif options.exit_code:
        print(*terminal.plugin(overview), sep="\n")
    else:
        terminal.show_overview(overview)
    return overview.level if options.exit_code else DONE


def _overview(config: Config) -> "Overview":
    from dicom_worklist import overview, state  # noqa: PLC0415

    if config.status is None:
        raise ConfigError("there is no section status: runs write down what they find only where status.state says")
    try:
        found = state.load(config.status.state)
    except OSError as error:
        raise FolderError(
            f"status.state {config.status.state} can't be read: {error.strerror}; ask as the sync's user or root"
        ) from error
    return overview.overview(config, found, datetime.now(UTC))


def _entries(config: Config) -> tuple[list[dict[str, object]], list[str]]:
    """Return the entries of all worklists in the order of the day, and what the broker would skip."""
    from dicom_worklist import dataset  # noqa: PLC0415 - the sync often needs no pydicom

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
    from dicom_worklist import repair, terminal  # noqa: PLC0415 - cron needs none of it

    config = load(options.config)
    pacs = repair.login(config, options.user, options.password_file)
    booked = repair.identity_of(config, options.booking)
    plan, study = repair.plan(pacs, options.study, booked), None
    if not options.json:
        terminal.show_repair(plan, booked, applied=options.apply)
    if options.apply and not plan.right:
        run = repair.Run(pacs, datetime.now(UTC), _track, partial(print, file=sys.stderr))
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
            verdict, said = Text("ok    ", "bold green"), look(config)
        except WorklistError as error:
            verdict, said = Text("FAILED", "bold red"), str(error)
            failures.append(error.exit_status)
        console.print(verdict, Text(f"{what}: {said}"))
    return failures[0] if failures else DONE


def _look_at_configuration(config: Config) -> str:
    return f"{len(config.scanners)} scanners, {config.source}"


def _look_at_source(config: Config) -> str:
    day = sync.today(config)
    count, labs = sync.unmatched_labs(config, day)
    said = [f"{config.source} can be read and has {count} bookings for {day} at the site"]
    with suppress(FolderError):  # which the next check tells
        report = sync.run(config, day, dry_run=True)
        waiting = len(report.published) + len(report.updated) + len(report.removed)
        said += [f"{len(report.rejected)} rejected", f"{waiting} entries wait for the next run"]
    if labs:
        said.append(f"no scanner has the labs {', '.join(map(repr, labs))}")
    return "; ".join(said)


def _look_at_folders(config: Config) -> str:
    for path in config.folders():
        folder.check_writable(path, config.worklist.lock_timeout)
    return f"{', '.join(map(str, config.folders()))} can be written and locked"


def _look_at_broker(config: Config) -> str:
    from dicom_worklist import broker, dataset  # noqa: PLC0415 - only this check speaks DICOM

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


def _look_at_pacs(config: Config) -> str:
    if config.pacs is None:
        return "there is no section pacs, so none is asked what arrived"
    from dicom_worklist import pacs  # noqa: PLC0415 - only where there is one

    day = sync.today(config)
    return f"{config.pacs.url} can be asked and has {len(pacs.studies(config.pacs, day, day))} studies of {day}"


CHECKS: dict[str, Callable[[Config], str]] = {
    "configuration": _look_at_configuration,
    "source": _look_at_source,
    "folder": _look_at_folders,
    "broker": _look_at_broker,
    "pacs": _look_at_pacs,
}
