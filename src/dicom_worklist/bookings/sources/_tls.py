"""How a source's server is checked over TLS, and what to do where that fails."""

import os
import ssl

import msgspec

from dicom_worklist.errors import SourceError

#: OpenSSL's words for a certificate of another name, and of another address.
NOT_THIS_HOST = {62, 64}


class TLS(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`ca` verifies the server; `certificate` and `key` show who we are, where the server asks."""

    ca: str
    certificate: str | None = None
    key: str | None = None
    verify_hostname: bool = True


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
    return "Put the CA that signed the server's certificate into source.tls.ca; renew one that has expired"
