"""What the configuration file may say: each section, its keys, the form and the default of each value.

`config.load` reads and checks the file. This module imports nothing of the rest of the package.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

#: What project and subject may consist of, where the site doesn't say: a regular expression for one character.
CHARACTERS = "[A-Za-z0-9._+-]"
Days = Annotated[int, msgspec.Meta(ge=0, le=366)]
Minutes = Annotated[int, msgspec.Meta(ge=0, le=1440)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
# value representations of PS3.5 6.2: AE and CS as the standard has them, SH without what splits values
AETitle = Annotated[str, msgspec.Meta(pattern=r"^(?! )[ -\[\]-~]{1,16}(?<! )\Z")]
Code = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_][A-Z0-9_ ]{0,15}\Z")]
ShortText = Annotated[str, msgspec.Meta(pattern=r"^(?!\s)[^\\\x00-\x1f\x7f-\x9f]{1,16}(?<!\s)\Z")]
# an AE title that is a folder's name: what wlmscpfs accepts as one
FolderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9:@_-]([A-Za-z0-9 :@_-]{0,14}[A-Za-z0-9:@_-])?\Z")]
# what isn't blank
Word = Annotated[str, msgspec.Meta(pattern=r"\S")]
# leaves at least 20 of UI's 64 characters for the booking
UIDRoot = Annotated[str, msgspec.Meta(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+\Z", max_length=43)]


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping of the file: an unknown key is an error."""


class Site(_Section, frozen=True):
    """The imaging centre; its time zone decides what "today" is."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    timezone: str
    uid_root: UIDRoot | None = None


class Window(_Section, frozen=True):
    """Which days around today the worklist has; outside it an entry stays until its end and `grace`, in minutes."""

    days_back: Days = 0
    days_ahead: Days = 0
    grace: Minutes = 60


class Scanner(_Section, frozen=True):
    """One scanner, and the labs of the calendar that are booked on it."""

    ae_title: AETitle
    lab: str
    modality: Code = "MR"
    station_name: ShortText | None = None
    location: ShortText | None = None
    charset: str = "ISO_IR 192"
    worklist: FolderName = "WLBROKER"

    def matches(self, lab: str) -> bool:
        """Return whether a booking of this lab is for this scanner."""
        return re.search(self.lab, lab, re.IGNORECASE) is not None


class BookingRules(_Section, frozen=True):
    """How a row of any source is read: which statuses count, in any case, and what project and subject consist of.

    `columns` has a Jinja2 template over the row's own columns for columns of a booking, `patterns` a regular expression
    for columns of the row, whose named groups become columns. With `identity: plain` the PatientID is the subject as
    it is, with `dccn` project and subject. `characters` is a regular expression for one character.
    """

    columns: dict[str, str] = {}
    patterns: dict[str, str] = {}
    identity: Literal["dccn", "plain"] = "dccn"
    statuses: Annotated[tuple[Word, ...], msgspec.Meta(min_length=1)] = ("CONFIRMED", "TENTATIVE")
    characters: str = CHARACTERS


class Worklist(_Section, frozen=True):
    """Where the folders of the broker are; `lock_timeout` in seconds."""

    root: str
    lock_timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30


class Broker(_Section, frozen=True):
    """Where the broker is asked by `dicom-worklist check`."""

    host: str = "127.0.0.1"
    port: Port = 1234


class Pacs(_Section, frozen=True):
    """Where Orthanc is asked for its studies (its REST interface); `timeout`, of the whole answer, in seconds.

    `ca_file` holds the certificates, as PEM text, that an `https` address is checked with; without it, the system's.
    `check_hostname: false` is for a `ca_file` that is just the server's own. `page` is the address there to which each
    run sends the web page (PUT), such as /worklist/index.html: where the PACS is on another host. `updates` is the one
    where that host says which updates of Debian wait for its images, and `backup` the one where it says what its backup
    did.
    """

    url: str
    user: Annotated[str, msgspec.Meta(min_length=1)]
    password_file: str
    ca_file: str | None = None
    check_hostname: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0, le=60)] = 5
    page: Annotated[str, msgspec.Meta(pattern="^/")] | None = None
    updates: Annotated[str, msgspec.Meta(pattern="^/")] | None = None
    backup: Annotated[str, msgspec.Meta(pattern="^/")] | None = None


#: What says that images of a session may be missing: docs/reconciliation.md.
Rule = Literal["gaps", "slices", "header", "fewer", "missing"]


class Status(_Section, frozen=True):
    """Where each run says what it found, and when a booking counts as over; `session` and the others in minutes.

    `state` is the file that `dicom-worklist status` reads, `page` a folder for the web page, `metrics` one for a node
    exporter's textfile collector. An entry leaves the console `leave_after` the last image of its study; None: never.
    Without a good run for `frozen_after` the list counts as outdated, and the page as old. The history, a file
    beside the state, goes back `history_days`. If what the source gave was made more than `source_max_age` ago, as far
    as it can know, that is a warning; None: never. That the PACS's disk will be full within `disk_full_within` days is
    one, too. `images` says when the image of each container was built, and the
    file `updates`, which updates of Debian wait for them. The file `backup` says what this host's backup did.
    `hints_off` has the rules that are off for a project, or for `*`, all of them. `usage_people` says whether the pages
    of usage have figures of people.
    """

    state: str
    page: str | None = None
    metrics: str | None = None
    session: Minutes = 60
    missing_after: Minutes = 60
    leave_after: Minutes | None = None
    frozen_after: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 5
    history_days: Annotated[int, msgspec.Meta(ge=2, le=36500)] = 400
    source_max_age: Annotated[int, msgspec.Meta(ge=1, le=527040)] | None = None
    disk_full_within: Annotated[int, msgspec.Meta(ge=0, le=366)] = 14
    images: dict[str, Annotated[datetime, msgspec.Meta(tz=True)]] = {}
    updates: str | None = None
    backup: str | None = None
    hints_off: dict[str, tuple[Rule, ...]] = {}
    usage_people: bool = False


#: What the rules of a destination can ask for.
Matched = Literal["project_id", "ae_title", "modality", "series_description"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")]


class Destination(_Section, frozen=True, kw_only=True, tag_field="type"):
    """A place to which series are brought from the PACS.

    A series goes there if each regular expression in `when` matches the whole of its value, in any case. `disk` is
    any name for what holds the images there; what has the name of the PACS's own disk, or none, is no second copy.
    """

    name: Name
    when: dict[Matched, str] = {}
    disk: Name | None = None


class FolderDestination(Destination, frozen=True, kw_only=True, tag="folder"):
    """A folder for each series: `path` is a Jinja2 template of its absolute path.

    The folder before the first `{{` has to be there, and `mount`, if it is given, to be mounted. `group` is the group
    of what is written, `mode` the mode of the files; folders can be entered by those who may read the files.
    """

    path: Annotated[str, msgspec.Meta(pattern="^/")]
    mount: Annotated[str, msgspec.Meta(pattern="^/")] | None = None
    group: str | None = None
    mode: Annotated[str, msgspec.Meta(pattern=r"^0[0-7]{3}\Z")] = "0640"


class OrthancDestination(Destination, frozen=True, kw_only=True, tag="orthanc"):
    """A second, independent Orthanc; the keys are those of the section pacs. The login may store images."""

    url: str
    user: Annotated[str, msgspec.Meta(min_length=1)]
    password_file: str
    ca_file: str | None = None
    check_hostname: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60

    @property
    def pacs(self) -> Pacs:
        """How it is asked."""
        return Pacs(
            url=self.url,
            user=self.user,
            password_file=self.password_file,
            ca_file=self.ca_file,
            check_hostname=self.check_hostname,
            timeout=self.timeout,
        )


class DicomDestination(Destination, frozen=True, kw_only=True, tag="dicom"):
    """Another DICOM node: `modality` is Orthanc's name for it.

    With `commitment` it has to commit itself to the images (PS3.4 annex J), else it is asked which it has. `timeout`
    is for a whole series, in seconds.
    """

    modality: str
    commitment: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86400)] = 3600


class Delivery(_Section, frozen=True, kw_only=True):
    """Where complete series go, from the PACS of the section pacs.

    `user` is a login there that may read images. `outbox` is an SQLite file, `summary` a JSON file for the page.
    `disk` is any name for the PACS's own disk.
    """

    user: Annotated[str, msgspec.Meta(min_length=1)]
    password_file: str
    outbox: str
    summary: str
    destinations: Annotated[
        tuple[FolderDestination | OrthancDestination | DicomDestination, ...], msgspec.Meta(min_length=1)
    ]
    disk: Name = "pacs"


#: The kinds of problems that a recipient can name; docs/notify.md says what each is.
Notified = Literal[
    "outdated", "console", "rejected", "emptied", "missing", "odd", "double", "labs", "statuses", "leftovers", "source",
    "pacs", "run", "delivery", "superseded", "refused", "disk", "backup", "notify",
]  # fmt: skip
# what can stand in a header and in SMTP's commands as it is
MailAddress = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\Z")
]
HostName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:_-]{1,253}\Z")]


class MailServer(_Section, frozen=True, kw_only=True):
    """The server that takes mail, and from whom it is.

    `security` is `starttls`, `tls`, or, only for a server on this machine, `none`. `ca_file` holds the certificates
    that it is checked with; without it, the system's. `port` is 587, 465 or 25 if it isn't given.
    """

    host: HostName
    sender: MailAddress
    security: Literal["starttls", "tls", "none"] = "starttls"
    port: Port | None = None
    user: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    password_file: str | None = None
    ca_file: str | None = None


class Webhook(_Section, frozen=True, kw_only=True):
    """An address that gets JSON (POST). It is in a file, as everybody who knows it can often write there.

    `token_file` has a bearer token, `secret_file` the key of a signature (HMAC-SHA256). `ca_file` is as for mail;
    `proxy` is an HTTP proxy on the way.
    """

    url_file: str
    token_file: str | None = None
    secret_file: str | None = None
    ca_file: str | None = None
    proxy: Annotated[str, msgspec.Meta(pattern=r"^http://[^\s/@{}?#]+\Z")] | None = None


class Recipient(_Section, frozen=True, kw_only=True):
    """Who is notified: by `mail` or by `webhook`.

    `scanners` are those whose problems it gets, beside those of no scanner; none: all. `kinds` are what it gets, also
    what is only a warning; none: everything that is critical. With `names` it gets the text of the page, in which are
    names and PatientIDs.
    """

    name: Name
    mail: MailAddress | None = None
    webhook: Webhook | None = None
    scanners: tuple[AETitle, ...] = ()
    kinds: tuple[Notified, ...] = ()
    names: bool = False


class Notify(_Section, frozen=True, kw_only=True):
    """Who is notified of what is critical, by `dicom-worklist notify`.

    `memory` is the file that remembers what was sent, `page` the address of the page. A recipient gets `per_hour`
    messages at most; `timeout`, of a message, is in seconds.
    """

    memory: str
    recipients: Annotated[tuple[Recipient, ...], msgspec.Meta(min_length=1)]
    server: MailServer | None = None
    page: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s<>\"]+\Z")] | None = None
    per_hour: Annotated[int, msgspec.Meta(ge=1, le=60)] = 6
    timeout: Annotated[float, msgspec.Meta(ge=1, le=50)] = 20


@dataclass(frozen=True, slots=True)
class Reading:
    """How a site reads its rows.

    `zone` is the site's; `statuses` that count, in lower case; `characters` is a regular expression for one character
    of project and subject, checked by `bookings.identity.check_characters`. `plain` is whether the PatientID is the
    subject as it is.
    """

    zone: ZoneInfo
    statuses: frozenset[str] = frozenset({"confirmed", "tentative"})
    characters: str = CHARACTERS
    plain: bool = False


class Config(_Section, frozen=True, dict=True):  # dict: has room for what is computed once
    """The whole file. `source` is a Source of dicom_worklist.bookings.sources.

    `ignored_labs` are regular expressions, case-insensitive: labs that are known and have no scanner.
    """

    site: Site
    source: Any
    scanners: Annotated[tuple[Scanner, ...], msgspec.Meta(min_length=1)]
    worklist: Worklist
    window: Window = Window()
    broker: Broker = Broker()
    pacs: Pacs | None = None
    status: Status | None = None
    attributes: dict[str, Any] = {}
    booking: BookingRules = BookingRules()
    ignored_labs: tuple[str, ...] = ()
    delivery: Delivery | None = None
    notify: Notify | None = None

    @cached_property
    def reading(self) -> Reading:
        """How a row of the source is read."""
        statuses = frozenset(status.strip().casefold() for status in self.booking.statuses)
        plain = self.booking.identity == "plain"
        return Reading(ZoneInfo(self.site.timezone), statuses, self.booking.characters, plain)

    def ignores(self, lab: str) -> bool:
        """Return whether it is known that this lab has no scanner."""
        return any(re.search(known, lab, re.IGNORECASE) for known in self.ignored_labs)

    def folders(self) -> list[Path]:
        """Return the folders of the worklists; each one's name is the called AE title."""
        return [Path(self.worklist.root, name) for name in sorted({scanner.worklist for scanner in self.scanners})]
