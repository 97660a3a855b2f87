"""Waiting until something works, for a limited time."""

import time
from collections.abc import Callable

import pymysql
import requests


def wait_for_http(address: str) -> None:
    """Wait until something answers there."""
    wait_until(lambda: requests.get(address, timeout=5))  # a ConnectionError of requests is an OSError


def wait_until(works: Callable[[], object], seconds: float = 60) -> None:
    """Try until nothing is raised."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            works()
        except (AssertionError, OSError, pymysql.MySQLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
