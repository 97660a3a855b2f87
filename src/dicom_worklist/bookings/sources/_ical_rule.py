"""What the rule of a series (RFC 5545, 3.3.10) costs to expand, and the rules that are refused for it."""

import math
import re

from dicom_worklist.bookings.sources._ical_event import Unreadable

#: The days of 400 years, after which the calendar repeats; and how long it takes to look through them in weeks, months
#: or years, in steps.
_CYCLE_DAYS, RARE_STEPS = 146_097, 20_000
_A_DAY = 86_400
#: How many seconds a rule goes on in the time that one step takes, and the parts that make several instances of it.
_CLOCK, _DAYS = ("BYSECOND", "BYMINUTE", "BYHOUR"), ("BYDAY", "BYMONTHDAY", "BYYEARDAY")
_STEPS: dict[str, tuple[int, tuple[str, ...]]] = {
    "SECONDLY": (1, ()),
    "MINUTELY": (60, _CLOCK[:1]),
    "HOURLY": (3600, _CLOCK[:2]),
    "DAILY": (_A_DAY, _CLOCK),
    "WEEKLY": (3 * _A_DAY, _CLOCK + _DAYS),
    "MONTHLY": (10 * _A_DAY, _CLOCK + _DAYS),
    "YEARLY": (20 * _A_DAY, _CLOCK + _DAYS),
}
#: The parts that leave days out, with their greatest number. Two of them may leave no day at all.
_FILTERS = {"BYMONTH": 12, "BYMONTHDAY": 31, "BYYEARDAY": 366, "BYWEEKNO": 53, "BYSETPOS": 366}


def check(rule: dict[str, str]) -> None:
    """Check the parts of a rule, in upper case, without UNTIL.

    Raises:
        Unreadable: a part is not as RFC 5545 has it, or there may be no day that fits.
    """
    frequency, interval = rule.get("FREQ", ""), int(rule.get("INTERVAL", "1"))
    if frequency not in _STEPS:
        raise Unreadable(f"the rule has no FREQ that RFC 5545 knows: {frequency!r}")
    if "BYEASTER" in rule:
        raise Unreadable("the rule has BYEASTER, which RFC 5545 doesn't know")
    filters = [name for name in _FILTERS if name in rule]
    most = {"MONTHLY": 5, "YEARLY": 5 if "BYMONTH" in rule else 53}.get(frequency)
    numbers = {name: rule[name].split(",") for name in filters}
    ranges = {name: _FILTERS[name] for name in filters}
    if most and "BYDAY" in rule:
        numbers["BYDAY"], ranges["BYDAY"] = [day[:-2] or "1" for day in rule["BYDAY"].split(",")], most
    for name, ours in numbers.items():
        if not all(1 <= abs(int(number)) <= ranges[name] for number in ours):
            raise Unreadable(f"{name}={rule[name]} is not in the range of RFC 5545")
    if interval < 1:
        raise Unreadable(f"INTERVAL={interval} is not a positive number")
    if filters == ["BYMONTH", "BYMONTHDAY"] and not _has_day(rule["BYMONTH"], rule["BYMONTHDAY"]):
        raise Unreadable(f"no day is in both BYMONTH={rule['BYMONTH']} and BYMONTHDAY={rule['BYMONTHDAY']}")
    if not most and frequency != "WEEKLY" and _is_rare(rule):
        raise Unreadable(
            f"FREQ={frequency} with {' and '.join(filters)} may be a rule without any day: "
            "write it with FREQ=MONTHLY or YEARLY"
        )


def steps_until(rule: dict[str, str], seconds: float) -> int:
    """Return how many steps a checked rule takes in this time from its first instance."""
    one, several = _STEPS[rule["FREQ"]]
    steps = int(seconds) // one
    if one < _A_DAY:
        steps //= int(rule.get("INTERVAL", "1"))
    for name in several:
        steps *= rule.get(name, "").count(",") + 1
    return max(steps, 0)


def _is_rare(rule: dict[str, str]) -> bool:
    """Return whether a rule may have no day, or none for a long time, even with INTERVAL=1."""
    filters = [name for name in _FILTERS if name in rule]
    if "BYSETPOS" in rule or (len(filters) > 1 and filters != ["BYMONTH", "BYMONTHDAY"]):
        return True
    numbered = rule["FREQ"] in {"MONTHLY", "YEARLY"} and re.search(r"\d", rule.get("BYDAY", ""))
    return bool(numbered and {*filters} - {"BYMONTH"})  # the first Monday is never the 15th


def steps_in_vain(rule: dict[str, str]) -> int:
    """Return how many steps the library may take after the last day of a rule; 0 if there is always another soon."""
    frequency, interval = rule["FREQ"], int(rule.get("INTERVAL", "1"))
    days = [name for name in ("BYDAY", *_FILTERS) if name in rule]
    if frequency in {"WEEKLY", "MONTHLY", "YEARLY"}:
        return RARE_STEPS // interval if _is_rare(rule) or (interval > 1 and {*days} - {"BYDAY"}) else 0
    step = _STEPS[frequency][0] * interval
    is_clock = frequency != "DAILY" and interval > 1 and any(name in rule for name in _CLOCK)
    sure = (
        step <= _A_DAY
        or (days == ["BYDAY"] and math.gcd(step, 7 * _A_DAY) <= _A_DAY)  # it comes to each weekday
        or (days == ["BYMONTH"] and step <= 28 * _A_DAY)
    )
    return 0 if not days or (sure and not is_clock) else _CYCLE_DAYS * _A_DAY // max(step, _A_DAY)


def _has_day(months: str, days: str) -> bool:
    """Return whether one of the months can have one of the days, counted from its begin or its end."""
    most = max(31 if month not in {2, 4, 6, 9, 11} else 30 - (month == 2) for month in map(int, months.split(",")))
    return any(abs(int(day)) <= most for day in days.split(","))
