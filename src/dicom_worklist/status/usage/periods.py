"""The days, weeks and months that have a page, and what these are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from dicom_worklist.status.evidence import ONE_DAY

Per = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class Period:
    """A day, a week from Monday to Sunday, or a month; from its first to its last day."""

    per: Per
    first: date
    last: date

    @property
    def name(self) -> str:
        """What its page is called; two of the three would have one name if a week had its number."""
        if self.per == "week":
            return f"{self.first}-{self.last}"
        return f"{self.first:%Y-%m}" if self.per == "month" else f"{self.first}"

    @property
    def label(self) -> str:
        """What a row of it is called; a week by its number (ISO 8601)."""
        year, week, _ = self.first.isocalendar()
        return f"{year}-W{week:02}" if self.per == "week" else self.name

    @property
    def title(self) -> str:
        """What people call it."""
        if self.per == "month":
            return f"{self.first:%B %Y}"
        if self.per == "week":
            year, week, _ = self.first.isocalendar()
            return f"Week {week} of {year}"
        return f"{self.first:%A} {self.first.day} {self.first:%B %Y}"

    @property
    def days(self) -> list[date]:
        """Its days."""
        return [self.first + number * ONE_DAY for number in range((self.last - self.first).days + 1)]

    def next(self, step: int) -> "Period":
        """Return the next one, or with -1 the one before."""
        return period(self.per, (self.last if step > 0 else self.first) + step * ONE_DAY)


def period(per: Per, day: date) -> Period:
    """Return the period that a day is in."""
    if per == "day":
        return Period(per, day, day)
    if per == "week":
        first = day - day.weekday() * ONE_DAY
        return Period(per, first, first + 6 * ONE_DAY)
    first = day.replace(day=1)
    return Period(per, first, (first + timedelta(days=31)).replace(day=1) - ONE_DAY)


def periods(first: date, last: date) -> Iterator[Period]:
    """Return all periods that have one of these days, the newest first."""
    for per in ("month", "week", "day"):
        one = period(per, last)
        while one.last >= first:
            yield one
            one = one.next(-1)
