"""Filling the PACS from a second Orthanc, a destination of the delivery, when its own disk and its backup are lost.

What is in the PACS stays as it is. Killed at any moment, the next run goes on.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from dicom_worklist.delivery import series as asking
from dicom_worklist.delivery.run import settings
from dicom_worklist.delivery.series import Damaged, Image, Series
from dicom_worklist.errors import ConfigError, PacsError
from dicom_worklist.orthanc import ask
from dicom_worklist.settings import Config, OrthancDestination, Pacs

#: Gives each of the names, and shows how far it is.
Progress = Callable[[Sequence[str], str], Iterable[str]]


@dataclass(slots=True)
class Fetched:
    """How many images came and were compared, how many were there before, and what isn't right, in sentences."""

    came: int = 0
    there: int = 0
    wrong: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was done, for people."""
        return [
            *self.wrong,
            f"Images that came: {self.came}; that were there: {self.there}; not right: {len(self.wrong)}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {"came": self.came, "there": self.there, "wrong": self.wrong}


def fetch(config: Config, name: str, login: tuple[str, str], progress: Progress) -> Fetched:
    """Store in the PACS what the destination `name` has and the PACS has not, and compare each image at both.

    `login` is the name of one at the PACS that may store images, and the file with its password.

    Raises:
        ConfigError: there is no such destination.
        PacsError: one of the two can't be asked.
    """
    delivery, pacs = settings(config)
    orthancs = {one.name: one.pacs for one in delivery.destinations if isinstance(one, OrthancDestination)}
    if name not in orthancs:
        known = ", ".join(orthancs) or "none"
        raise ConfigError(f"{name!r} is not a destination of the type orthanc. Those in delivery.destinations: {known}")
    user, password_file = login
    pacs, second = msgspec.structs.replace(pacs, user=user, password_file=password_file), orthancs[name]
    done = Fetched()
    found, there = ([*asking.changed(one, datetime.fromtimestamp(0, UTC))] for one in (second, pacs))
    of_one: dict[object, dict[str, Series]] = {}
    for series in (*found, *there):
        of_one.setdefault(series.values["series_instance_uid"], {})[series.id] = series
    for uid, identities in of_one.items():
        if len(identities) > 1:
            done.wrong.append(_several(str(uid), identities.values()))
    for series_id in progress(
        [one.id for one in found if len(of_one[one.values["series_instance_uid"]]) == 1], "series"
    ):
        _series(pacs, second, series_id, done)
    return done


def _several(uid: str, series: Iterable[Series]) -> str:
    """Say that a series is there under several identities: a repair keeps its UID, and leaves the copy of before."""
    names = " and ".join(sorted(f"{one.values['patient_id']} ({one.values['patient_name']})" for one in series))
    return (
        f"series {uid} is there as that of {names}, as after a repair. Nothing of it was taken: delete the wrong study "
        "at the second Orthanc, and run this again"
    )


def _series(pacs: Pacs, second: Pacs, series: str, done: Fetched) -> None:
    there = {image.uid: image for image in asking.images(pacs, series)}
    sent = []
    for image in asking.images(second, series):
        if image.uid not in there:
            if _sent(pacs, second, image, done):
                sent.append(image)
        elif there[image.uid].md5 == image.md5:
            done.there += 1
        else:
            done.wrong.append(
                f"image {image.uid}: {pacs.url} has another file than {second.url}. Nothing was changed: compare both"
            )
    if sent:
        _compare(pacs, series, sent, done)


def _sent(pacs: Pacs, second: Pacs, image: Image, done: Fetched) -> bool:
    try:
        content = asking.read(second, image)
    except Damaged:
        done.wrong.append(
            f"image {image.uid}: its file at {second.url} isn't what was received there, so it was not taken"
        )
        return False
    try:
        ask(pacs, "/instances", content)
    except PacsError as error:
        if error.orthanc_status is None:  # it doesn't answer, or the login may not
            raise
        done.wrong.append(f"image {image.uid}: the PACS doesn't take it: {error}")
        return False
    return True


def _compare(pacs: Pacs, series: str, sent: Iterable[Image], done: Fetched) -> None:
    """Count what came, and let the PACS read each file from its disk."""
    wanted = {image.uid: image.md5 for image in sent}
    copies = {image.uid: image for image in asking.images(pacs, series) if wanted.get(image.uid) == image.md5}
    lost = [*(wanted.keys() - copies.keys())]
    while True:
        try:
            asking.verify(pacs, copies.values())
            break
        except Damaged as error:
            lost.append(str(error))
            del copies[str(error)]
    done.came += len(copies)
    done.wrong += [f"image {uid}: {pacs.url} doesn't have it as it was sent: check its disk" for uid in sorted(lost)]
