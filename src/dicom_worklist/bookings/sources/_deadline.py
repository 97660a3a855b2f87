"""The end of a connection at a given time, however slowly the server answers."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cut_off(connection: int, seconds: float) -> Iterator[threading.Event]:
    """End a connection, a file descriptor, after so many seconds; the event says whether that happened.

    A limit for each read doesn't end a server that sends a byte now and then, nor does libpq's for a silent one.
    """
    over = threading.Event()
    with socket.socket(fileno=os.dup(connection)) as own:

        def cut() -> None:
            over.set()
            with suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.start()
        try:
            yield over
        finally:
            timer.cancel()
            timer.join()
