"""Who is notified of what: which recipients the configuration may name, and which problems each of them gets."""

from dicom_worklist.errors import ConfigError
from dicom_worklist.notify.connection import is_here
from dicom_worklist.notify.memory import Notice
from dicom_worklist.settings import Config, Notify, Recipient


def check(notify: Notify, config: Config) -> None:
    """Check what takes more than one value to see.

    Raises:
        ConfigError: something doesn't go together.
    """
    check_ways(notify)
    if config.status is None:
        raise ConfigError("notify needs the section status: what the runs find is in status.state")
    titles = {scanner.ae_title for scanner in config.scanners}
    for one in notify.recipients:
        if unknown := [title for title in one.scanners if title not in titles]:
            raise ConfigError(
                f"notify.recipients {one.name} names the scanner {', '.join(unknown)}: write the ae_title of one of "
                f"{', '.join(sorted(titles))}"
            )


def check_ways(notify: Notify) -> None:
    """Check that there is a way to each recipient, and that no mail goes without encryption.

    Raises:
        ConfigError: it isn't so.
    """
    names = [one.name for one in notify.recipients]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"notify.recipients: the name {', '.join(twice)} is there twice; each needs its own")
    for one in notify.recipients:
        if (one.mail is None) == (one.webhook is None):
            raise ConfigError(f"notify.recipients {one.name} needs either mail, an address, or webhook")
        if one.mail and notify.server is None:
            raise ConfigError(f"notify.recipients {one.name} gets mail: notify.server must say which server takes it")
    server = notify.server
    if server and server.security == "none" and not is_here(server.host):
        raise ConfigError(
            f"notify.server: mail to {server.host} would go without encryption: write security: starttls or tls. Only "
            "a server on this machine (localhost) may have security: none"
        )
    if server and (server.user is None) != (server.password_file is None):
        raise ConfigError("notify.server needs user and password_file together, or neither")


def concerns(recipient: Recipient, notice: Notice) -> bool:
    """Return whether a problem is of the scanners and kinds of a recipient."""
    if recipient.scanners and notice.scanner and notice.scanner not in recipient.scanners:
        return False
    return not recipient.kinds or notice.kind in recipient.kinds


def gets(recipient: Recipient, notice: Notice) -> bool:
    """Return whether a recipient is notified of a problem: of kinds that it names also what is only a warning."""
    return concerns(recipient, notice) and (notice.critical or bool(recipient.kinds))
