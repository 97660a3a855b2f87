"""The checks of `dicom-worklist check`: each returns what it found, or raises the error that says what is wrong."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dicom_worklist import bookings, pipeline
from dicom_worklist.bookings import printable
from dicom_worklist.errors import BrokerError, FolderError, WorklistError
from dicom_worklist.report import count
from dicom_worklist.settings import Config
from dicom_worklist.status.overview import spell
from dicom_worklist.worklist import folder
from dicom_worklist.worklist.attributes import CODE_SEQUENCES, ROOT, STEP


class Warned(str):
    """What a check found that somebody has to look at, and that fails nothing."""

    __slots__ = ()


def run(
    config: Config, now: datetime, only: str | None = None, day: date | None = None
) -> Iterator[tuple[str, str | WorklistError]]:
    """Make the checks, or `only` one of CHECKS, at `now` (aware); return what each found, or why it failed.

    `day` stands in for the day at the site at `now`. The PACS is only asked if the site has one.
    """
    for name, look in CHECKS.items():
        if only not in {None, name} or (name == "pacs" and not (only or config.pacs)):
            continue
        try:
            yield name, look(config, now, day)
        except WorklistError as error:
            yield name, error


def _configuration(config: Config, now: datetime, day: date | None) -> str:  # noqa: ARG001 - all checks are called alike
    return f"{count(len(config.scanners), 'scanner')}, {config.source}"


def _source(config: Config, now: datetime, day: date | None) -> str:
    here = pipeline.at_site(config, now)
    days = bookings.days(config, day or here.date(), here if day in {None, here.date()} else None)
    selected = bookings.read(config, days)
    number = sum(one.shown for one in selected.selected) + sum(shown for _, _, shown, _ in selected.rejected)
    when = f"{days.first}" if days.first == days.last else f"{days.first} to {days.last}"
    is_old = False
    said = [f"{config.source} can be read and has {count(number, 'booking')} of scanners for {when} at the site"]
    if selected.made:
        age = now.astimezone(UTC) - selected.made
        made = f"what it gave was made {pipeline.at_site(config, selected.made):%Y-%m-%d %H:%M}, {spell(age)} ago"
        limit = timedelta(minutes=config.status.source_max_age or 0) if config.status else timedelta()
        is_old = bool(limit) and age > limit
        said.append(f"{made}, and may be {spell(limit)} old (status.source_max_age)" if is_old else made)
    with suppress(FolderError):  # the next check reports it
        report = pipeline.run(config, day, now=now, dry_run=True)
        waiting = len(report.published) + len(report.updated) + len(report.removed)
        said += [f"{len(report.rejected)} rejected", f"{waiting} entries wait for the next run"]
    for what, counted in (
        ("no scanner has the labs", {lab: number for lab, number in selected.labs.items() if lab}),
        ("bookings of these statuses don't count:", selected.statuses),
    ):
        if counted:
            said.append(f"{what} {', '.join(f'{name!r} ({rows})' for name, rows in sorted(counted.items()))}")
    if none := selected.labs[""]:
        said.append(f"bookings without a lab, which `dicom-worklist preview` lists: {none}")
    if selected.fault:
        said.append(f"every row: {selected.fault}")
    if selected.not_given:
        said.append(bookings.lacking(selected.not_given))
    return (Warned if is_old or selected.fault else str)("; ".join([*said, *selected.warnings]))


def _folders(config: Config, now: datetime, day: date | None) -> str:  # noqa: ARG001 - all checks are called alike
    for path in config.folders():
        folder.check_writable(path, config.worklist.lock_timeout)
    said = [f"{', '.join(map(str, config.folders()))} can be written and locked"]
    others = folder.others(Path(config.worklist.root), config.folders())
    if others:
        said.append(f"the consoles show files that the sync did not write: {', '.join(_leftovers(config, others))}")
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


def _broker(config: Config, now: datetime, day: date | None) -> str:  # noqa: ARG001 - all checks are called alike
    from dicom_worklist.worklist import broker, dataset, listing  # noqa: PLC0415 - only this check speaks DICOM

    entries, _ = listing.entries(config.folders(), config.worklist.lock_timeout)
    asked = (*ROOT, *STEP, *CODE_SEQUENCES, "SpecificCharacterSet")
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


def _pacs(config: Config, now: datetime, day: date | None) -> str:
    if config.pacs is None:
        return "there is no section pacs, so no PACS is asked what arrived"
    from dicom_worklist.status import pacs  # noqa: PLC0415 - only where there is one

    day = day or pipeline.at_site(config, now).date()
    return f"{config.pacs.url} can be asked and has {len(pacs.studies(config.pacs, day, day).studies)} studies of {day}"


CHECKS: dict[str, Callable[[Config, datetime, date | None], str]] = {
    "configuration": _configuration,
    "source": _source,
    "folder": _folders,
    "broker": _broker,
    "pacs": _pacs,
}
