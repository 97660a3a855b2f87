"""A connection to a MySQL server that may be anybody's: bounded, and the password is never sent as it is."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NoReturn

from pymysql._auth import scramble_caching_sha2
from pymysql.connections import Connection
from pymysql.protocol import MysqlPacket

from dicom_worklist.bookings.sources import MOST_BYTES, MOST_ROWS, too_much
from dicom_worklist.errors import SourceError

#: The ways to log in by which a server gets the password itself, or nearly: PAM's two, and the hash of MySQL 4.0.
TELLING = ("mysql_clear_password", "dialog", "mysql_old_password")
#: By this one it gets the password over TLS, and without TLS encrypted with the key that it shows. So it does by
#: caching_sha2_password, where it says that it doesn't know the hash.
TELLING_ANYBODY = "sha256_password"
#: The packets beside the rows: the columns, of which MySQL has at most 4,096, and the answers to other statements.
OTHER_PACKETS = 5000
#: What follows the first byte of a packet where the hash is right, and where the server wants the password itself.
HASH_IS_RIGHT, NOT_KNOWN = b"\3", b"\4"


class BoundedConnection(Connection):
    """A connection by which a server can't get more than its answer.

    `place` is the source, for messages; `checked` is whether TLS makes sure which server it is.
    """

    _auth_plugin_name: str
    _auth_plugin_map: Mapping[str, Any]

    def __init__(self, place: object, *, checked: bool, **settings: Any) -> None:
        """Prepare; nothing is sent before `connect`."""
        self._place, self._packets, self._bytes = place, 0, 0
        refused = TELLING if checked else (*TELLING, TELLING_ANYBODY)
        plugins: dict[str, Any] = {name: partial(_Refused, name) for name in refused}
        if not checked:
            plugins["caching_sha2_password"] = _HashOnly
        super().__init__(defer_connect=True, auth_plugin_map=plugins, **settings)

    def refuse(self, plugin: str) -> NoReturn:
        """Refuse a way to log in.

        Raises:
            SourceError: always.
        """
        remedy = "caching_sha2_password (MySQL) or mysql_native_password (MariaDB)"
        if plugin not in TELLING:
            remedy = "mysql_native_password, or set source.tls, which makes sure that it is the right server"
        raise SourceError(
            f"{self._place} can't be read: the server asks for the password as it is ({plugin}), as anybody could who "
            f"answers in its place, so it was not sent. Let the server's administrator give the account {remedy}"
        )

    def _request_authentication(self) -> None:
        # this one's password is in the answer to the greeting, where there is any TLS
        if self._auth_plugin_name == TELLING_ANYBODY in self._auth_plugin_map:
            self.refuse(TELLING_ANYBODY)
        super()._request_authentication()  # type: ignore[misc]

    def _read_packet(self, packet_type: Callable[..., Any] = MysqlPacket) -> Any:
        self._packets += 1
        if self._packets > MOST_ROWS + OTHER_PACKETS:
            raise too_much(self._place)
        return super()._read_packet(packet_type)  # type: ignore[no-untyped-call]

    def _read_bytes(self, num_bytes: int) -> Any:
        self._bytes += num_bytes
        if self._bytes > MOST_BYTES:
            raise too_much(self._place)
        return super()._read_bytes(num_bytes)  # type: ignore[misc]


class _Refused:
    """A way to log in that is refused."""

    def __init__(self, name: str, connection: BoundedConnection) -> None:
        self._name, self._connection = name, connection

    def authenticate(self, packet: MysqlPacket) -> NoReturn:  # noqa: ARG002 - PyMySQL calls it so
        self._connection.refuse(self._name)


class _HashOnly:
    """caching_sha2_password as far as the server gets a hash, with a salt, and no more."""

    def __init__(self, connection: BoundedConnection) -> None:
        self._connection = connection

    def authenticate(self, packet: Any) -> Any:
        connection: Any = self._connection
        if packet.is_auth_switch_request():
            salt = packet.read_all().removesuffix(b"\0")
            connection.write_packet(scramble_caching_sha2(connection.password, salt))
            packet = connection._read_packet()
        if packet.is_extra_auth_data():
            if packet.get_all_data()[1:] != HASH_IS_RIGHT:
                connection.refuse("caching_sha2_password")
            packet = connection._read_packet()
        return packet
