"""What a run did, or would do, for people and programs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TypedDict

from dicom_worklist.bookings import printable


class Published(TypedDict):
    """One entry, and the name of its file in the worklist's folder."""

    booking_id: str
    ae_title: str
    file: str


class Rejection(TypedDict):
    """A booking that has no entry, and why."""

    booking_id: str
    reason: str


@dataclass
class Report:
    """What a run did, or with `dry_run` would do; `as_dict` is the object of `--json`.

    `before` and `after` are the files of the entries that changed: worklist and name → content. `fault` is why no row
    at all can be read, and empty if some can.
    """

    day: date
    published: list[Published] = field(default_factory=list)
    updated: list[Published] = field(default_factory=list)
    removed: list[Published] = field(default_factory=list)
    unchanged: list[Published] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fault: str = ""
    before: dict[str, bytes] = field(default_factory=dict)
    after: dict[str, bytes] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Return whether a scanner sees something else than before."""
        return bool(self.published or self.updated or self.removed)

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {
            "day": self.day.isoformat(),
            "published": self.published,
            "updated": self.updated,
            "removed": self.removed,
            "unchanged": self.unchanged,
            "rejected": self.rejected,
            "warnings": self.warnings,
        }

    def changes(self, *, dry_run: bool = False) -> list[str]:
        """Return a line for each entry that changed."""
        verbs = ("would publish", "would update", "would remove") if dry_run else ("published", "updated", "removed")
        return [
            f"{verb} booking {printable(entry['booking_id'])} on {entry['ae_title']}"
            for verb, entries in zip(verbs, (self.published, self.updated, self.removed), strict=True)
            for entry in entries
        ]

    def remarks(self) -> list[str]:
        """Return a line for each booking that was rejected, and each warning; a reason that all share comes once."""
        own = [(one["booking_id"], without(self.fault, one["reason"])) for one in self.rejected]
        shared = [f"rejected every booking: {self.fault}"] if self.fault and self.rejected else []
        rejected = [f"rejected booking {booking_id}: {reason}" for booking_id, reason in own if reason]
        return [*shared, *rejected, *(f"warning: {warning}" for warning in self.warnings)]

    def summary(self, *, dry_run: bool = False) -> str:
        """Return how much changed, in one line."""
        would = "would be " if dry_run else ""
        return (
            f"{self.day}: {len(self.published)} {would}published, {len(self.updated)} updated, "
            f"{len(self.removed)} removed, {len(self.unchanged)} unchanged, "
            f"{len(self.rejected)} rejected, {count(len(self.warnings), 'warning')}"
        )

    def as_text(self) -> tuple[str, str]:
        """Return the changed entries before and after, as lists for people."""
        return _as_text(self.before), _as_text(self.after)


def count(number: int, noun: str) -> str:
    """Return a number of things, such as `1 row` or `2 rows`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def without(fault: str, reason: str) -> str:
    """Return a reason without the fault that all rows share."""
    return reason.removeprefix(fault).removeprefix("; ") if fault else reason


def one_line(text: str) -> str:
    """Return a text as a terminal or a log may get it: what a server or a calendar put into it gives no orders."""
    return printable(text)


def news(before: Sequence[str], remarks: Sequence[str]) -> Iterable[str]:
    """Return the remarks that are new since the last run, and those that no longer hold, as lines of the log."""
    yield from (remark for remark in remarks if remark not in before)
    yield from (f"no longer: {remark}" for remark in before if remark not in remarks)


def _as_text(contents: dict[str, bytes]) -> str:
    from dicom_worklist.worklist import dataset  # noqa: PLC0415 - only a diff needs it

    lines: list[str] = []
    for name, content in sorted(contents.items()):
        lines.append(printable(f"{name}:"))
        try:
            attributes = dataset.attributes_of(dataset.decode(content))
        except ValueError as error:
            lines.append(f"  ({error})")
        else:
            lines += [printable(f"  {keyword}: {value}") for keyword, value in attributes.items()]
    return "".join(f"{line}\n" for line in lines)
