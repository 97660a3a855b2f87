"""Which series go to which destination, and the check of the section `delivery`."""

import re
from collections.abc import Iterable, Mapping

from dicom_worklist import expressions
from dicom_worklist.delivery.series import NAMES, Series
from dicom_worklist.errors import ConfigError
from dicom_worklist.settings import Delivery, Destination, FolderDestination, Matched

#: What a path can use of a series.
VALUES = {*NAMES.values(), "ae_title", "project_id", "subject", "session"}


def names(destinations: Iterable[Destination], series: Series) -> list[str]:
    """Return the names of the destinations to which a series has to go."""
    return [one.name for one in destinations if matches(one.when, series.values)]


def matches(when: Mapping[Matched, str], values: Mapping[str, str | int]) -> bool:
    """Return whether each rule matches the whole of its value."""
    return all(re.fullmatch(rule, str(values.get(name, "")), re.IGNORECASE) for name, rule in when.items())


def check(delivery: Delivery) -> None:
    """Check what the form of the section doesn't say.

    Raises:
        ConfigError: a name is there twice, or a rule or a path is not valid.
    """
    from jinja2 import TemplateError  # noqa: PLC0415

    called = [one.name for one in delivery.destinations]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ConfigError(f"delivery.destinations: the name {', '.join(twice)} is there twice; each needs its own")
    for at, one in enumerate(delivery.destinations):
        place = f"delivery.destinations[{at}]"
        for name, rule in one.when.items():
            try:
                re.compile(rule)
            except (re.error, OverflowError) as error:
                why = expressions.why_not_valid(rule, error)
                raise ConfigError(f"{place}.when.{name} '{rule}' is not a valid regular expression: {why}") from error
        if isinstance(one, FolderDestination):
            try:
                unknown = expressions.names(one.path) - VALUES
            except TemplateError as error:
                raise ConfigError(f"{place}.path is not a valid template: {error}") from error
            if unknown:
                raise ConfigError(
                    f"{place}.path uses {', '.join(sorted(unknown))}, which no series has: it can use "
                    f"{', '.join(sorted(VALUES))}"
                )
