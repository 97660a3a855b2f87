"""What can go wrong, each with the exit status of the command."""

from collections.abc import Sequence


class WorklistError(Exception):
    """A failure that ends the run; its message names the thing, the rule and the remedy.

    `said` has it and what else failed, each as a line of the log.
    """

    exit_status = 1

    def __init__(self, message: str, besides: Sequence[str] = ()) -> None:
        """Fail with this message, and what failed `besides`."""
        super().__init__(f"{message}. Besides, {'; '.join(besides)}" if besides else message)
        self.said = [message, *(f"warning: {failure}" for failure in besides)]


class ConfigError(WorklistError):
    """The configuration file or the command line can't be used."""

    exit_status = 2


class SourceError(WorklistError):
    """The bookings can't be read; entries in the window stay as they are."""

    exit_status = 4


class FolderError(WorklistError):
    """The worklist folder can't be read, written or locked."""

    exit_status = 5


class BrokerError(WorklistError):
    """The worklist broker doesn't answer, or not with what the folder holds."""

    exit_status = 6


class PacsError(WorklistError):
    """The PACS can't be asked for its studies; the worklist does without."""

    exit_status = 7


class Rejected(Exception):  # noqa: N818 - a verdict on one booking, not a failure of the run
    """The booking can't become a worklist entry; the message is the reason."""
