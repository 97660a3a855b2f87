#!/usr/bin/python
"""The Ansible module `booking_database`: whether a database server answers, and with which certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: booking_database
short_description: Ask the booking database before anything is installed that could read it
version_added: "0.1.0"
description:
  - Connects from the host that it runs on to a MySQL, MariaDB or PostgreSQL server, reads its first answer, and, with
    TLS, checks its certificate. It doesn't log in, since that takes a package that comes later.
  - It changes nothing. The server counts it as an attempt that wasn't finished, until the next login from this host.
options:
  type:
    description: Which server it is; MariaDB is C(mysql), too.
    type: str
    choices: [mysql, postgresql]
    default: mysql
  host:
    description: The server's name or address.
    type: str
    required: true
  port:
    description: Its port. Without one it is 3306, or PostgreSQL's 5432.
    type: int
  tls:
    description: Whether TLS is asked for.
    type: bool
    default: false
  ca:
    description: The certificates, as PEM text, that the server's is checked with.
    type: str
    default: ''
  ca_file:
    description: The file, on this host, of those certificates, where I(ca) is empty.
    type: path
  verify_hostname:
    description: Whether the certificate has to be I(host)'s.
    type: bool
    default: true
  timeout:
    description: How long, in seconds, the server may take for an answer.
    type: int
    default: 10
  from_host:
    description: What this host is called, for the messages.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: It only asks.
  diff_mode:
    support: none
    description: There is nothing to show.
author:
  - The authors of this repository
"""

EXAMPLES = r"""
- name: Ask the booking database
  booking_database:
    host: calendar.example.org
    tls: true
    ca: "{{ lookup('ansible.builtin.file', 'ca.crt') }}"
    from_host: "{{ inventory_hostname }}"
"""

RETURN = r"""
version:
  description: The server's version, as it says; empty for PostgreSQL, which shows it only after the login.
  returned: success
  type: str
  sample: 11.8.6-MariaDB
certificate:
  description: >-
    The subject of the server's certificate; empty without TLS, and, with a warning, where the host doesn't have the
    authorities yet that it is checked with.
  returned: success
  type: str
  sample: commonName=calendar.example.org
"""

import socket  # noqa: E402 - Ansible wants the documentation first
import ssl  # noqa: E402
import struct  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

#: OpenSSL's codes for a certificate of another name, and of another address.
NOT_THIS_HOST = {62, 64}
#: Capabilities of MySQL's protocol: 4.1, TLS, the secure authentication.
PROTOCOL_41 = 0x200
TLS = 0x800
SECURE = 0x8000
#: What asks a PostgreSQL server for TLS (its SSLRequest): a length, and a number in place of a version.
SSL_REQUEST = struct.pack("!II", 8, 80877103)
#: The first packet of a server that refuses; of one that greets, which has the version of the protocol.
REFUSAL = 0xFF
GREETING = 10


#: The authorities that Debian trusts; a new host gets them with the package ca-certificates, in the deployment.
DEBIAN = "/etc/ssl/certs/ca-certificates.crt"


WITHOUT = "or set worklist_sync_source.tls: false, if nobody on the way can read or change what is sent"
NO_TLS = f"it has no TLS. Let the server's administrator switch it on, {WITHOUT}"
UNASKED = 'Nothing was changed; "--skip-tags source" deploys without this question.'


class NoDatabaseError(Exception):
    """Why the database can't be used; the text says what to do."""


def trust(ca: str, ca_file: str | None, *, verify_hostname: bool) -> ssl.SSLContext:
    """Return what the server's certificate is checked with.

    Raises:
        NoDatabaseError: there are no certificates.
    """
    if not ca and not Path(ca_file or "").is_file():
        raise NoDatabaseError(
            f"the file {ca_file}, worklist_sync_source.tls.ca, doesn't exist on this host. Give its text as "
            "worklist_sync_source_ca, which is installed here, or the path of a file that is here"
        )
    try:
        context = ssl.create_default_context(cadata=ca or Path(ca_file or "").read_text(encoding="ascii"))
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        name = "worklist_sync_source_ca" if ca else f"{ca_file}, worklist_sync_source.tls.ca,"
        raise NoDatabaseError(f"{name} is not PEM text of certificates ({error})") from error
    context.check_hostname = verify_hostname
    return context


def packet(connection: socket.socket) -> bytes:
    """Return the content of a packet: three bytes of length, one of its number, the content."""
    with connection.makefile("rb") as stream:
        head = stream.read(4)
        content = stream.read(int.from_bytes(head[:3], "little")) if len(head) == 4 else b""
    if not content:
        raise NoDatabaseError("what answers is not MySQL. Check worklist_sync_source.host and .port")
    return content


def printable(text: str) -> str:
    """Return what a server says, without orders to a terminal in it, and not much of it."""
    return repr(text)[1:-1][:200]


def version(greeting: bytes) -> str:
    """Return the version in a server's greeting.

    Raises:
        NoDatabaseError: it refuses, or is not a MySQL server.
    """
    if greeting[0] == REFUSAL:
        raise NoDatabaseError(
            f"it refuses this host: {printable(greeting[3:].decode(errors='replace'))}. "
            "Let the server's administrator allow it"
        )
    if greeting[0] != GREETING or len(greeting.partition(b"\0")[2]) < 15:
        raise NoDatabaseError("what answers is not MySQL. Check worklist_sync_source.host and .port")
    return printable(greeting[1:].partition(b"\0")[0].decode(errors="replace"))


def greet_mysql(connection: socket.socket, *, tls: bool) -> str:
    """Return the version of a MySQL server; with `tls`, the connection is ready for TLS then.

    Raises:
        NoDatabaseError: it refuses, is not a MySQL server, or has no TLS.
    """
    greeting = packet(connection)
    said = version(greeting)
    if not tls:
        return said
    # after the version: the thread's number (4 bytes), a part of the salt (8), a zero, the capabilities' lower half
    [capabilities] = struct.unpack_from("<H", greeting.partition(b"\0")[2], 13)
    if not capabilities & TLS:
        raise NoDatabaseError(NO_TLS)
    # an SSLRequest: the capabilities, the largest packet, the character set (utf8mb4), zeros
    request = struct.pack("<IIB23x", PROTOCOL_41 | TLS | SECURE, 1 << 24, 45)
    connection.sendall(struct.pack("<I", len(request) | 1 << 24) + request)
    return said


def greet_postgresql(connection: socket.socket, *, tls: bool) -> str:
    """Return an empty version; with `tls`, the connection is ready for TLS then.

    Raises:
        NoDatabaseError: it is not a PostgreSQL server, or has no TLS.
    """
    connection.sendall(SSL_REQUEST)
    answer = connection.recv(1)
    if answer not in {b"S", b"N"}:
        raise NoDatabaseError("what answers is not PostgreSQL. Check worklist_sync_source.host and .port")
    if tls and answer == b"N":
        raise NoDatabaseError(NO_TLS)
    return ""


#: Kind of server → its usual port, and what begins a conversation with it.
SERVERS = {"mysql": (3306, greet_mysql), "postgresql": (5432, greet_postgresql)}


def named(subject: Any) -> str:
    """Return a certificate's subject as text."""
    return ", ".join(f"{name}={value}" for ((name, value),) in subject)


def certificate_remedy(error: ssl.SSLError, host: str, ca: str) -> str:
    """Return what to do about a certificate that is not accepted."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS is not understood ({error.reason or error}). Check the server's TLS settings"
    if error.verify_code in NOT_THIS_HOST:
        return (
            f"its certificate, which {ca} signed, is for another name than {host} ({error.verify_message}). Put a name "
            "that it is for into worklist_sync_source.host"
        )
    return (
        f"its certificate is not accepted with {ca} ({error.verify_message}). Put the CA that signed it into "
        f"worklist_sync_source_ca, as PEM text; renew one that has expired; {WITHOUT}"
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "type": {"type": "str", "choices": ["mysql", "postgresql"], "default": "mysql"},
            "host": {"type": "str", "required": True},
            "port": {"type": "int"},
            "tls": {"type": "bool", "default": False},
            "ca": {"type": "str", "default": ""},
            "ca_file": {"type": "path"},
            "verify_hostname": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 10},
            "from_host": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    usual, greet = SERVERS[asked["type"]]
    port = usual if asked["port"] is None else asked["port"]
    place = f"the booking database on {asked['host']}:{port} can't be used from {asked['from_host']}"
    ca, subject = "worklist_sync_source_ca" if asked["ca"] else str(asked["ca_file"]), ""
    try:
        context = None
        if asked["tls"] and not asked["ca"] and asked["ca_file"] == DEBIAN and not Path(DEBIAN).exists():
            module.warn(
                f"The certificate of {asked['host']} is not checked before the deployment: {DEBIAN} comes to "
                f"{asked['from_host']} with it, in the package ca-certificates"
            )
        elif asked["tls"]:
            context = trust(asked["ca"], asked["ca_file"], verify_hostname=asked["verify_hostname"])
        if context and asked["ca"]:
            ca += f" ({'; '.join(named(authority['subject']) for authority in context.get_ca_certs())})"
        with socket.create_connection((asked["host"], port), asked["timeout"]) as connection:
            said = greet(connection, tls=context is not None)
            if context:
                with context.wrap_socket(connection, server_hostname=asked["host"]) as secure:
                    subject = named((secure.getpeercert() or {}).get("subject", ()))
    except NoDatabaseError as error:
        module.fail_json(msg=f"{place}: {error}. {UNASKED}")
    except ssl.SSLError as error:
        module.fail_json(msg=f"{place}: {certificate_remedy(error, asked['host'], ca)}. {UNASKED}")
    except OSError as error:  # a name that nobody knows and a timeout are, too
        module.fail_json(
            msg=f"{place}: {error}. Check that the server runs and is reached from {asked['from_host']}, and "
            f"worklist_sync_source.host and .port. {UNASKED}"
        )
    module.exit_json(changed=False, version=said, certificate=subject)


if __name__ == "__main__":
    main()
