"""How a source's server is checked over TLS, and what to do where that fails."""

import ipaddress
import os
import ssl

import msgspec

from dicom_worklist.errors import SourceError

#: The authorities that Debian trusts.
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
#: The remedy where a server can't have TLS.
WITHOUT = "or set source.tls: false, if nobody on the way can read or change what is sent"
#: OpenSSL's words for a certificate of another name, and of another address.
NOT_THIS_HOST = {62, 64}
#: And for one whose time has not come, or is over.
OTHER_TIMES = {
    9: "The server's certificate is not valid yet: compare this host's clock",
    10: "The server's certificate has expired: its administrator must renew it. If it has not expired, compare this "
    "host's clock",
}


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`ca` verifies the server; `certificate` and `key` show who we are, where the server asks."""

    ca: str
    certificate: str | None = None
    key: str | None = None
    verify_hostname: bool = True


def is_here(host: str) -> bool:
    """Return whether a host is this machine, as its name says: loopback, or a path, which is a socket's."""
    if host.startswith("/") or host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def demanded(tls: TLS | bool | None, host: str) -> TLS | None:
    """Return how a server is checked: as `source.tls` says, or else by SYSTEM; None where nothing needs TLS.

    That is this machine itself, or a site that says `tls: false`.
    """
    if tls is None:
        tls = not is_here(host)
    return TLS(ca=SYSTEM) if tls is True else tls or None


def check_files(tls: TLS | None, place: object) -> None:
    """Check that this user can read the files of `source.tls`; `place` is the source.

    Raises:
        SourceError: one of them can't be read.
    """
    for path in (tls.ca, tls.certificate, tls.key) if tls else ():
        if path is not None and not os.access(path, os.R_OK):
            raise SourceError(f"{place} can't be read: source.tls names {path}, which this user can't read")


def remedy(error: ssl.SSLError, setting: str, host: str) -> str:
    """Return what to do about an error of TLS; `setting` has the server's name, `host`."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return "Check source.tls: ca, certificate and key are PEM files, and the key is the certificate's"
    if error.verify_code in NOT_THIS_HOST:
        return f"Put the name that the server's certificate is for into {setting}, in place of {host}"
    return OTHER_TIMES.get(error.verify_code, "Put the CA that signed the server's certificate into source.tls.ca")
