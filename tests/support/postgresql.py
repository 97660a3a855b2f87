"""A real PostgreSQL in a container, with the tables of the DCCN calendar."""

import uuid
from pathlib import Path
from typing import Any

import docker
import psycopg
from docker.models.containers import Container

from support import live
from support.waiting import wait_until


class PostgreSQL:
    """A real PostgreSQL in a container; its name and its port are its own."""

    def __init__(self, files: Path, *options: str) -> None:
        """Start it; `options` are the server's, `files` has server.key, server.crt and authority.crt."""
        image, _ = docker.from_env().images.build(
            path=str(live.PROJECT / "tests/images/postgresql"), tag="test-postgresql", rm=True
        )
        self.container: Container = docker.from_env().containers.run(
            image,
            ["sh", "/start", *options],
            name=f"test-postgresql-{uuid.uuid4().hex[:8]}",
            detach=True,
            ports={"5432/tcp": ("127.0.0.1", None)},
            volumes={str(files): {"bind": "/tls", "mode": "ro"}},
        )
        try:
            wait_until(self._find_port)
            wait_until(self._answer)
        except BaseException:
            self.remove()
            raise

    def _find_port(self) -> None:
        self.container.reload()
        assert self.container.ports.get("5432/tcp")
        self.port = int(self.container.ports["5432/tcp"][0]["HostPort"])

    def _answer(self) -> None:
        try:
            self.do("SELECT 1")
        except psycopg.OperationalError as error:
            raise ConnectionError(str(error)) from error

    def connection(self, **settings: Any) -> "psycopg.Connection[Any]":
        """Connect as the calendar's own program would, or as somebody else."""
        own = {"host": "127.0.0.1", "port": self.port, "dbname": "fcdc", "user": "tests", "password": live.PASSWORD}
        return psycopg.connect(**own | settings, autocommit=True)

    def do(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the calendar's own program would; return the rows that the last one gives."""
        with self.connection() as connection:
            for statement in statements:
                done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def remove(self) -> None:
        self.container.remove(force=True, v=True)
