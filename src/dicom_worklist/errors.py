"""What can go wrong, and the exit statuses of the command."""

from collections.abc import Sequence
from enum import IntEnum


class ExitStatus(IntEnum):
    """What the command returns; `status --exit-code` has Nagios' own."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> "ExitStatus":
        """Make a status with its meaning, for people."""
        status = int.__new__(cls, value)
        status._value_ = value
        status.meaning = meaning
        return status

    DONE = 0, "done"
    CONFIGURATION = 2, "usage or configuration"
    REJECTED = 3, "done, but bookings were rejected"
    SOURCE = 4, "the bookings could not be read"
    FOLDER = 5, "the folder could not be written or locked"
    BROKER = 6, "the broker doesn't show what the folder holds"
    PACS = 7, "the PACS can't be asked"
    DELIVERY = 8, "done, but something could not be delivered"


class WorklistError(Exception):
    """A failure that ends the run; its message names the thing, the rule and the remedy.

    `lines` are it and what else failed, for the log.
    """

    exit_status: int = 1

    def __init__(self, message: str, also_failed: Sequence[str] = ()) -> None:
        """Fail with this message; `also_failed` are further failures."""
        super().__init__(f"{message}. In addition: {'; '.join(also_failed)}" if also_failed else message)
        self.lines = [message, *(f"warning: {failure}" for failure in also_failed)]


class ConfigError(WorklistError):
    """The configuration file or the command line can't be used."""

    exit_status = ExitStatus.CONFIGURATION


class SourceError(WorklistError):
    """The bookings can't be read; entries in the window stay as they are."""

    exit_status = ExitStatus.SOURCE


class FolderError(WorklistError):
    """The worklist folder can't be read, written or locked."""

    exit_status = ExitStatus.FOLDER


class BrokerError(WorklistError):
    """The worklist broker doesn't answer, or not with what the folder holds."""

    exit_status = ExitStatus.BROKER


class PacsError(WorklistError):
    """The PACS can't be asked for its studies; the worklist is published without them.

    `orthanc_status` is Orthanc's own number of what went wrong, where it is Orthanc that answers.
    """

    exit_status = ExitStatus.PACS
    orthanc_status: int | None = None


class Rejected(Exception):  # noqa: N818 - a verdict on one booking, not a failure of the run
    """The booking can't become a worklist entry; the message is the reason."""
