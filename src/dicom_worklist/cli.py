"""The command `dicom-worklist`: parses what was typed, and prints the result."""

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, TextIO
from zoneinfo import ZoneInfo

import msgspec

from dicom_worklist import __version__, checks, pipeline, report
from dicom_worklist.bookings import printable
from dicom_worklist.config import load
from dicom_worklist.errors import ConfigError, ExitStatus, FolderError, WorklistError
from dicom_worklist.preview import preview, remarks
from dicom_worklist.settings import Config
from dicom_worklist.status import findings
from dicom_worklist.status.findings import NO_RECORD, Findings

if TYPE_CHECKING:
    from dicom_worklist.status.overview import Overview
    from dicom_worklist.status.records import BookingRecord

#: Where the role writes the configuration.
CONFIG = "/etc/dicom-worklist/config.yml"
#: What `status --exit-code` returns when it can't know, as Nagios' plug-ins do.
UNKNOWN = 3
#: Fewer changes than this are over before a progress bar can be read.
PROGRESS_FROM = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status, an `ExitStatus`; `status --exit-code` has Nagios' own."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal can't show must not end the run
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.excepthook = _show_crash
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except WorklistError as error:
        _say(f"dicom-worklist: {error}", file=sys.stderr)
        return error.exit_status
    except MemoryError:
        _say(
            "dicom-worklist: this run needs more memory than it may use (ulimit -v). What was published stays. Raise "
            "worklist_sync_memory, or shorten worklist_sync_days_ahead",
            file=sys.stderr,
        )
        return ExitStatus.SOURCE
    except BrokenPipeError:  # the program that read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.DONE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _say(*lines: str, file: TextIO | None = None) -> None:
    """Print lines. What a server or a calendar put into one can't end it, or give orders to the terminal."""
    print(*map(printable, lines), sep="\n", file=file)


def _show_crash(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    for part in traceback.format_exception(kind, error, at):
        _say(*(f"dicom-worklist: {line}" for line in part.rstrip("\n").split("\n")), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dicom-worklist",
        description="Turns the bookings of an imaging centre's calendar into a DICOM Modality Worklist.",
        epilog=f"Exit status: {'; '.join(f'{status:d} {status.meaning}' for status in ExitStatus)}.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        required=True,
        metavar="sync | list | status | usage | find | check | preview | repair | deliver | fetch | notify",
    )
    for run, summary in (
        (_sync, "make the worklist equal to the calendar"),
        (_list, "show what the scanners see now"),
        (_status, "show what was booked, is on the console, was scanned and arrived"),
        (_usage, "show how much was booked, scanned and idle, by scanner, project or person"),
        (_find, "find sessions of the past by any words: subject, project, booking, scanner or day"),
        (_check, "check the configuration, the source, the folder, the broker and the PACS"),
        (_preview, "show what each row of the calendar was read as, and its entry or why it has none"),
        (_repair, "give a study in the PACS the identity that its booking has"),
        (_deliver, "bring complete series from the PACS to their destinations, and compare them there"),
        (_fetch, "bring the images that the PACS has lost back from a second Orthanc, and compare them"),
        (_notify, "notify people of what is critical, by mail and webhook: once when it begins, once when it is over"),
    ):
        command = commands.add_parser(run.__name__.lstrip("_"), help=summary, description=f"{summary}.")
        command.set_defaults(run=run)
        command.add_argument(
            "-c", "--config", default=CONFIG, metavar="FILE", help="the configuration file (%(default)s)"
        )
        if run is _check:
            command.add_argument("--only", choices=checks.CHECKS, help="check just this")
        else:
            form = command.add_mutually_exclusive_group()
            form.add_argument("--json", action="store_true", help="print one JSON object")
        if run is _usage:
            form.add_argument("--csv", action="store_true", help="print a CSV table")
        if run is _status:
            command.add_argument(
                "--exit-code", action="store_true", help="for Nagios: 0 all is well, 1 warning, 2 critical, 3 unknown"
            )
        if run not in {_list, _fetch}:
            command.add_argument(
                "--now",
                type=_moment,
                metavar="ISO-8601",
                help="stands in for the clock: date, time and offset",
            )
        if run in {_sync, _check, _preview}:
            command.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="stands in for today at the site")
        if run is _sync:
            command.add_argument("--dry-run", action="store_true", help="say what would change; write nothing")
            command.add_argument(
                "--log", action="store_true", help="for cron: lines with their time, and a warning only once"
            )
        if run is _deliver:
            command.add_argument("--to", metavar="DESTINATION", help="only there")
            command.add_argument(
                "--again",
                metavar="STUDY",
                help="first let a study go again: Orthanc's id of it, or its StudyInstanceUID",
            )
        more = {
            _usage: _add_usage, _find: _add_find, _repair: _add_repair, _fetch: _add_fetch, _notify: _add_notify
        }  # fmt: skip
        if add := more.get(run):
            add(command)
    return parser


def _add_usage(command: argparse.ArgumentParser) -> None:
    _add_days(command, required=True)
    command.add_argument(
        "--by", choices=("scanner", "project", "person"), default="scanner", help="whose figures (%(default)s)"
    )
    command.add_argument("--per", choices=("day", "week", "month"), help="each of these for itself")


def _add_find(command: argparse.ArgumentParser) -> None:
    command.add_argument("text", nargs="*", metavar="TEXT", help="words that have to be in it, in any order")
    _add_days(command, required=False)


def _add_repair(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", metavar="STUDY", help="Orthanc's id of it, or its StudyInstanceUID")
    command.add_argument("booking", metavar="BOOKING", help="the id of the booking")
    command.add_argument("--apply", action="store_true", help="do it; without, say what would change")
    command.add_argument("--entry-of", metavar="BOOKING", help="the booking whose entry was used by mistake")
    _add_login(command)


def _add_fetch(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="DESTINATION", help="a second Orthanc in delivery.destinations")
    _add_login(command)


def _add_login(command: argparse.ArgumentParser) -> None:
    command.add_argument("--user", default="admin", help="a login of Orthanc that may store and delete images (admin)")
    command.add_argument(
        "--password-file",
        default="/etc/orthanc-pacs/admin.password",
        metavar="FILE",
        help="the file with its password (%(default)s)",
    )


def _add_notify(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--test",
        nargs="?",
        const="",
        metavar="RECIPIENT",
        help="send a test to each recipient, or to this one, and say what became of it",
    )


def _add_days(command: argparse.ArgumentParser, *, required: bool) -> None:
    for name, edge in (("from", "first"), ("to", "last")):
        command.add_argument(
            f"--{name}", dest=edge, type=_day, required=required, metavar="YYYY-MM-DD", help=f"the {edge} day"
        )


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
    done = pipeline.run(config, options.day, now=now, dry_run=options.dry_run, progress=_progress)
    if options.json:
        print(json.dumps(done.as_dict(), indent=2))
    else:
        dry_run = options.dry_run
        _say(*done.changes(dry_run=dry_run), *done.remarks(), done.summary(dry_run=dry_run))
    return ExitStatus.REJECTED if done.rejected else ExitStatus.DONE


def _sync_for_the_log(config: Config, options: argparse.Namespace, now: datetime) -> int:
    """Print what changed, and each remark in the run in which it begins, and in the one in which it has ended."""
    before = Findings()
    if config.status:
        with suppress(OSError):  # the run itself reports it
            before = findings.load(config.status.state)
    try:
        done = pipeline.run(config, options.day, now=now, dry_run=options.dry_run)
    except WorklistError as error:
        # what is wrong with bookings is not known, and so has not ended
        changes, remarks, summary, status = [], [*before.said, *error.lines], [], error.exit_status
    else:
        dry_run = options.dry_run
        changes, remarks, summary = done.changes(dry_run=dry_run), done.remarks(), [done.summary(dry_run=dry_run)]
        status = ExitStatus.REJECTED if done.rejected else ExitStatus.DONE
    moment = now.astimezone(ZoneInfo(config.site.timezone)).isoformat(timespec="seconds")
    for line in [*changes, *report.news(before.remarks, remarks), *summary]:
        _say(f"{moment} {line}")
    return status


def _progress(names: Sequence[str], description: str) -> Iterable[str]:
    """Show a progress bar where somebody watches and there is something to wait for."""
    if len(names) < PROGRESS_FROM or not sys.stderr.isatty():
        return names
    from rich.console import Console  # noqa: PLC0415 - cron needs none of it
    from rich.progress import track  # noqa: PLC0415

    return track(names, description, console=Console(stderr=True), transient=True)


def _list(options: argparse.Namespace) -> int:
    from dicom_worklist.worklist import listing  # noqa: PLC0415 - the sync often needs no pydicom

    config = load(options.config)
    entries, unreadable = listing.entries(config.folders(), config.worklist.lock_timeout)
    for problem in unreadable:
        _say(f"dicom-worklist: {problem}", file=sys.stderr)
    if options.json:
        print(json.dumps({"entries": entries}, indent=2))
        return ExitStatus.DONE
    from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs no tables

    terminal.show_entries(entries)
    return ExitStatus.DONE


def _status(options: argparse.Namespace) -> int:
    """Show what the last runs found; `--exit-code` is for Nagios, and for mail from cron."""
    try:
        overview = _overview(load(options.config), _now(options))
    except WorklistError as error:
        if not options.exit_code:
            raise
        _say(f"WORKLIST UNKNOWN - {error}")
        return UNKNOWN
    from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs no tables

    if options.json:
        print(json.dumps(overview.as_dict(), indent=2))
    elif options.exit_code:
        print(*terminal.plugin(overview), sep="\n")
    else:
        terminal.show_overview(overview)
    return overview.level if options.exit_code else ExitStatus.DONE


def _find(options: argparse.Namespace) -> int:
    from dicom_worklist.status import history, terminal  # noqa: PLC0415 - cron needs none of it
    from dicom_worklist.status.past.find import find  # noqa: PLC0415

    config = load(options.config)
    if config.status is None:
        raise ConfigError(NO_RECORD)
    days = (options.first or date.min, options.last or date.max)
    _check_order(options)
    path, now, keep = history.path_beside(config.status.state), _now(options), config.status.history_days
    try:
        begins = history.begins(path, now, keep)
        found = find(config, config.status, " ".join(options.text), days, now)
    except (OSError, sqlite3.Error, ValueError) as error:
        raise FolderError(history.unread(path, error)) from error
    if options.json:
        print(json.dumps({"sessions": msgspec.to_builtins(found)}, indent=2))
    else:
        terminal.show_sessions(found)
        if not found:
            since = f"begins on {begins}" if begins else "is empty"
            _say(f"The history {since}, and keeps {keep} days (worklist_sync_history_days).")
    return ExitStatus.DONE


def _check_order(options: argparse.Namespace) -> None:
    if options.first and options.last and options.last < options.first:
        raise ConfigError(f"--to {options.last} is before --from {options.first}")


def _overview(config: Config, now: datetime) -> "Overview":
    from dicom_worklist.status import overview  # noqa: PLC0415 - cron needs none of it

    if config.status is None:
        raise ConfigError(NO_RECORD)
    try:
        found = findings.load(config.status.state)
    except IsADirectoryError as error:
        raise FolderError(f"status.state {config.status.state} is a folder: name a file") from error
    except OSError as error:
        raise FolderError(
            f"status.state {config.status.state} can't be read: {error.strerror}; run the command as the sync's user "
            "or root"
        ) from error
    return overview.overview(config, found, now)


def _usage(options: argparse.Namespace) -> int:
    from dicom_worklist.status import history  # noqa: PLC0415 - cron needs none of it
    from dicom_worklist.status.usage import report as usage  # noqa: PLC0415

    config = load(options.config)
    if config.status is None:
        raise ConfigError(NO_RECORD)
    _check_order(options)
    try:
        used = usage.read(config, config.status, options.first, options.last, _now(options))
    except (OSError, sqlite3.Error, ValueError) as error:
        raise FolderError(history.unread(history.path_beside(config.status.state), error)) from error
    if options.csv:
        print(usage.as_csv(used, options.by, options.per), end="")
    elif options.json:
        print(json.dumps(usage.as_dict(used, options.by, options.per), indent=2))
    else:
        from dicom_worklist.status import terminal  # noqa: PLC0415 - the others need no tables

        terminal.show_table(*usage.as_table(used, options.by, options.per))
        _say(*usage.remarks(used))
    return ExitStatus.DONE


def _preview(options: argparse.Namespace) -> int:
    config = load(options.config)
    shown = preview(config, options.day, now=_now(options))
    if options.json:
        print(json.dumps(shown, indent=2))
    else:
        from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs no tables

        days = " to ".join(dict.fromkeys((shown["first_day"], shown["last_day"])))
        rows = [
            row
            | {"reason": report.without(shown["fault"], row["reason"]) or (row["reason"] and "as every row, see below")}
            for row in shown["rows"]
        ]
        terminal.show_preview(f"{shown['source']}, {days}", rows)
        _say(*remarks(shown))
    return ExitStatus.REJECTED if any(row["outcome"] == "rejected" for row in shown["rows"]) else ExitStatus.DONE


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
        _say(f"dicom-worklist: {said}", file=sys.stderr)
    if options.apply and not plan.right:
        run = repair.Run(pacs, _now(options), _progress, partial(_say, file=sys.stderr))
        study = repair.repair(run, options.study, booked)
        _follow(config, plan.original, study, booked, _now(options))
    if options.json:
        print(json.dumps(plan.as_dict() | {"repaired": study}, indent=2))
    return ExitStatus.DONE


def _follow(config: Config, former: str, study: str, booked: "BookingRecord", now: datetime) -> None:
    """Let the history know where a study is that was repaired: the pages of past days lead there."""
    from dicom_worklist.status import history  # noqa: PLC0415 - cron needs none of it

    if config.status:
        path = history.path_beside(config.status.state)
        try:
            history.repaired(path, former, study, booked, now)
        except (OSError, sqlite3.Error) as error:
            _say(f"dicom-worklist: the history {path} can't be written: {error}", file=sys.stderr)


def _deliver(options: argparse.Namespace) -> int:
    from dicom_worklist.delivery import run as delivery  # noqa: PLC0415 - cron's other jobs need none of it

    config, began, clock = load(options.config), _now(options), time.monotonic()

    def now() -> datetime:
        return began + timedelta(seconds=time.monotonic() - clock)

    if options.again:
        delivery.again(config, options.again, began)
    watched = sys.stderr.isatty() and not options.json
    done = delivery.run(config, now, options.to, partial(_say, file=sys.stderr) if watched else None)
    if options.json:
        print(json.dumps(done.as_dict(), indent=2))
    else:
        moment = began.astimezone(ZoneInfo(config.site.timezone)).isoformat(timespec="seconds")
        _say(*(f"{moment} {line}" for line in done.lines()))
    return ExitStatus.DELIVERY if done.failed else ExitStatus.DONE


def _fetch(options: argparse.Namespace) -> int:
    from dicom_worklist.delivery.fetch import fetch  # noqa: PLC0415 - cron's jobs need none of it

    done = fetch(load(options.config), options.name, (options.user, options.password_file), _progress)
    if options.json:
        print(json.dumps(done.as_dict(), indent=2))
    else:
        _say(*done.lines())
    return ExitStatus.DELIVERY if done.wrong else ExitStatus.DONE


def _notify(options: argparse.Namespace) -> int:
    """Notify the recipients of what is new, or send a test, and print what became of each message."""
    from dicom_worklist import notices  # noqa: PLC0415 - cron's other jobs need none of it

    now, only = _now(options), options.test
    done = []
    for one in notices.run(options.config, now) if only is None else notices.trial(options.config, now, only or None):
        done.append(one)
        if not options.json:
            _say(one.said)
    if options.json:
        print(json.dumps({"messages": [one.as_dict() for one in done]}, indent=2))
    return ExitStatus.DELIVERY if any(one.failure for one in done) else ExitStatus.DONE


def _check(options: argparse.Namespace) -> int:
    """Make the checks, and return the exit status of the first that fails."""
    from dicom_worklist.status import terminal  # noqa: PLC0415 - cron needs none of it
    from dicom_worklist.status.overview import Level  # noqa: PLC0415

    failures: list[int] = []
    for name, found in checks.run(load(options.config), _now(options), options.only, options.day):
        failures += [found.exit_status] if isinstance(found, WorklistError) else []
        level = Level.CRITICAL if isinstance(found, WorklistError) else Level(isinstance(found, checks.Warned))
        terminal.show_check(name, str(found), level)
    return failures[0] if failures else ExitStatus.DONE
