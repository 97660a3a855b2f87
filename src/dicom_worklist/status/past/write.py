"""Writing the pages of past days: each once, and again only when something of its day has changed.

They are in the page's folder, in `past/`: one a day, and index.html, which finds them. Which are there as the history
is, the history itself knows. So a run that is killed leaves pages that the next one makes again.
"""

import hashlib
import os
import re
import sqlite3
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from zoneinfo import ZoneInfo

from dicom_worklist import files
from dicom_worklist.errors import PacsError
from dicom_worklist.settings import Config, Pacs, Status
from dicom_worklist.status import history
from dicom_worklist.status.layout import HTML, STATES, layout
from dicom_worklist.status.past.days import ONE_DAY, known, ranges

#: After midnight sessions go on; then they have ended.
NIGHT = timedelta(hours=3)
#: So many days are made in a run at most, so that the first run after an update is a short one, too.
MOST = 3
INDEX = "index.html"
#: What makes the pages: after an update that changed it, each is made again.
MADE_BY = ("past/*.*", *HTML, *STATES)
LAYOUT = layout(*MADE_BY)
#: What a page was made by; that of a day which runs still see is made once more when they don't.
FOR_GOOD, FOR_NOW = LAYOUT, f"{LAYOUT} for now"
#: Whether the index leads to the pages of usage: the end of what is noted of it.
LEADS = {True: " with usage", False: " without usage"}
#: A page, and its last day or its month.
PAGE = re.compile(r"(?:\d{4}-\d{2}-\d{2}-)?(\d{4}-\d{2}(?:-\d{2})?)\.html")


class Place(Protocol):
    """Where the pages are kept, by their names."""

    def begun(self, *, making: bool) -> bool:
        """Return whether an index is there; `making` says that a page will be put there now."""

    def put(self, name: str, content: bytes) -> None:
        """Put a page there, in place of the one before."""

    def remove(self, name: str) -> None:
        """Remove a page, if it is there."""

    def clear(self, oldest: date) -> None:
        """Remove the pages of before the oldest day, as far as that can be seen."""


class Folder:
    """The folder `past` in that of the page."""

    def __init__(self, page: Path) -> None:
        """Remember where it is; it is made when something is put there."""
        self._page, self._path = page, page / "past"

    def begun(self, *, making: bool) -> bool:
        """Return whether an index is there."""
        del making
        return (self._path / INDEX).is_file()

    def put(self, name: str, content: bytes) -> None:
        """Put a page there, whole, for its group alone."""
        path = self._path / name
        for made in reversed([one for one in path.parents if one.is_relative_to(self._path) and not one.is_dir()]):
            folder = self._page.stat()
            # its group, and its files', comes from the page's folder: a chmod by who isn't in that group would end that
            before = os.umask(0)
            try:
                made.mkdir(stat.S_IMODE(folder.st_mode) & 0o777)
            finally:
                os.umask(before)
            if os.geteuid() == 0:  # a run of root's leaves nothing that the cron job's can't write
                os.chown(made, folder.st_uid, folder.st_gid)
        files.replace(path, content, 0o640)

    def remove(self, name: str) -> None:
        """Remove a page, if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def clear(self, oldest: date) -> None:
        """Remove the pages of before the oldest day, also those of a history that was lost."""
        for folder in ("", "usage/"):
            path = self._path / folder
            names = os.listdir(path) if path.is_dir() else []  # noqa: PTH208 - each run does it
            for name in names:
                if (named := PAGE.fullmatch(name)) and named[1] < oldest.isoformat()[: len(named[1])]:
                    self.remove(folder + name)


class Host:
    """The folder `past` beside the page on the host of the PACS, where that is another."""

    def __init__(self, pacs: Pacs, page: str) -> None:
        """Remember how it is asked, and where the page is there."""
        self._pacs, self._path = pacs, page.rpartition("/")[0] + "/past/"

    def begun(self, *, making: bool) -> bool:
        """Return whether an index is there; a run that makes nothing doesn't ask."""
        return not making or self._asked(INDEX, "HEAD")

    def put(self, name: str, content: bytes) -> None:
        """Send a page."""
        self._asked(name, "PUT", content)

    def remove(self, name: str) -> None:
        """Remove a page, if it is there."""
        self._asked(name, "DELETE")

    def clear(self, oldest: date) -> None:
        """Do nothing: what is there can't be seen from here."""

    def _asked(self, name: str, method: str, content: bytes | None = None) -> bool:
        """Ask it, and return whether what was asked for is there."""
        from dicom_worklist import orthanc  # noqa: PLC0415 - a site without pays nothing

        try:
            orthanc.ask(self._pacs, self._path + name, content, method)
        except PacsError as error:
            if method == "PUT" or not (isinstance(error.__cause__, HTTPError) and error.__cause__.code == 404):
                raise
            return False
        return True


def kept_in(config: Config) -> list[Place]:
    """Return where the pages go: where that of today goes."""
    found: list[Place] = []
    if config.status and config.status.page:
        found.append(Folder(Path(config.status.page)))
    if config.pacs and config.pacs.page:
        found.append(Host(config.pacs, config.pacs.page))
    return found


def update(config: Config, status: Status, now: datetime) -> None:
    """Make the pages that are not as the history is, of the newest days first, and remove those that are too old.

    Raises:
        OSError, sqlite3.Error, PacsError: a page can't be written, or the history not be read. The next run goes on.
    """
    places = kept_in(config)
    path, zone = history.path_beside(status.state), ZoneInfo(config.site.timezone)
    if not places or not path.exists():
        return
    # in UTC: the night in which the clock is changed has three hours, too
    ended = (now.astimezone(UTC) - NIGHT).astimezone(zone).date()
    with history.opened(path) as connection:
        oldest = history.oldest_day(connection, now, status.history_days)
        forgotten = [day for (day,) in connection.execute("SELECT day FROM page WHERE day < ?", (oldest.isoformat(),))]
        wanted, leads = _wanted(connection, oldest, ended), _leads(connection)
        if not all(place.begun(making=bool(wanted) or not leads) for place in places):
            connection.execute("DELETE FROM page")
            connection.execute("DELETE FROM used_page")
            wanted = _wanted(connection, oldest, ended)
    for place in places:
        place.clear(oldest)
    if not (wanted or forgotten) and leads:
        return
    from dicom_worklist.status.past import pages  # noqa: PLC0415 - a run with nothing to make pays nothing

    made = dict[date, bytes]()
    for span in ranges(wanted):
        for day in known(config, status, span, now):
            if day.day in wanted:
                content = pages.day_page(config.site.name, zone, day).encode()
                for place in places:
                    place.put(_name(day.day), content)
                made[day.day] = pages.found(day)
    gone = [date.fromisoformat(day) for day in forgotten] + [day for day in wanted if day not in made]
    for place in places:
        for one in gone:
            place.remove(_name(one))
    news = dict.fromkeys(forgotten, "") | {day.isoformat(): made.get(day, b"").decode() for day in wanted}
    says = _put_index(path, config.site.name, news, places)
    # only now: nobody else can write while another host takes its time
    with history.opened(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM page WHERE day = ?", [(day,) for day in forgotten])
        connection.executemany(
            "INSERT OR REPLACE INTO page VALUES (?, ?, ?)",
            [
                (day.isoformat(), FOR_GOOD if day < ended - ONE_DAY else FOR_NOW, made.get(day, b"").decode())
                for day in wanted
            ]
            + [(INDEX, says, "")],
        )
        connection.execute("COMMIT")


def _put_index(path: Path, site: str, news: Mapping[str, str], places: Sequence[Place]) -> str:
    """Put the index there, if what it finds has changed, and return of what it is; `news` is what it finds now."""
    from dicom_worklist.status.past import pages  # noqa: PLC0415 - a run with nothing to make pays nothing

    with history.opened(path) as connection:
        rows = {**dict(connection.execute("SELECT day, found FROM page").fetchall()), **news}
        founds = [found.encode() for _, found in sorted(rows.items(), reverse=True) if found]
        usage = _usage(connection)
        says = hashlib.sha256(b"\n".join([LAYOUT.encode(), site.encode(), *founds])).hexdigest() + LEADS[usage]
        if connection.execute("SELECT made FROM page WHERE day = ?", (INDEX,)).fetchone() == (says,):
            return says
        connection.execute("DELETE FROM page WHERE day = ?", (INDEX,))  # until it is there
    index = pages.index_page(site, founds, usage=usage).encode()
    for place in places:
        place.put(INDEX, index)
    return says


def _leads(connection: sqlite3.Connection) -> bool:
    """Return whether the index, if it finds anything, leads to the pages of usage if there are any, and only then."""
    shown = connection.execute("SELECT made FROM page WHERE day = ?", (INDEX,)).fetchone() or ("",)
    finds = connection.execute("SELECT 1 FROM page WHERE found != ''").fetchone()
    return not finds or shown[0].endswith(LEADS[_usage(connection)])


def _usage(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM used_page WHERE name = ?", (Path(INDEX).stem,)).fetchone() is not None


def _wanted(connection: sqlite3.Connection, oldest: date, ended: date) -> list[date]:
    """Return the newest days whose pages have to be made, as many as a run makes; some may have nothing."""
    first, newest = connection.execute("SELECT min(day), max(day) FROM version").fetchone()
    if first is None:
        return []
    made = dict(connection.execute("SELECT day, made FROM page").fetchall())
    yesterday = ended - ONE_DAY
    wanted: list[date] = []
    day = min(yesterday, date.fromisoformat(newest))
    while day >= max(oldest, date.fromisoformat(first)) and len(wanted) < MOST:
        if made.get(day.isoformat()) not in {FOR_GOOD, FOR_NOW if day == yesterday else FOR_GOOD}:
            wanted.append(day)
        day -= ONE_DAY
    return wanted


def _name(day: date) -> str:
    return f"{day}.html"
