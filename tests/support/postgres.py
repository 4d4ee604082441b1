"""A PostgreSQL server of the tests' own: made in a folder of its own, on a free loopback port, gone with the run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from pathlib import Path

import psycopg2

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "timezone": "Asia/Ho_Chi_Minh",
}


def _binary(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[4]))
    if found:
        return str(found[-1])
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is missing: run scripts/system-packages.sh, which installs PostgreSQL")
    return path


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One cluster. `database` makes an empty database; `stop` and `start` interrupt the server as operators do."""

    def __init__(self, folder: Path, *, max_connections: int = 100) -> None:
        self.folder = folder
        self._settings = _SETTINGS | {"max_connections": str(max_connections)}
        self.port = free_port()
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True, exist_ok=True)
        if self._as_user:
            shutil.chown(folder, "postgres")
            for parent in folder.parents:  # the server's user has to reach it
                if parent.owner() == "root" and parent.stat().st_mode & 0o007 == 0:
                    parent.chmod(parent.stat().st_mode | 0o001)
        self.data = folder / "data"
        self._run(_binary("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        self.start()

    def _run(self, *command: str) -> None:
        done = subprocess.run(
            [*self._as_user, *command], cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = dict(self._settings, port=str(self.port), unix_socket_directories=str(self.folder))
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(self.folder / "log")
        # pg_ctl's own pipes would be inherited by the server and never close
        command = [
            *self._as_user,
            _binary("pg_ctl"),
            "-D",
            str(self.data),
            "-l",
            log,
            "-o",
            options,
            "-w",
            "start",
        ]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            raise RuntimeError(f"PostgreSQL did not start; see {log}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``smart``, ``fast`` or ``immediate`` (as after a crash)."""
        self._run(_binary("pg_ctl"), "-D", str(self.data), "-m", mode, "-w", "stop")

    def url(self, database: str, user: str = "postgres", password: str | None = None) -> str:
        """The SQLAlchemy URL of a database."""
        login = user if password is None else f"{user}:{password}"
        return f"postgresql+psycopg2://{login}@127.0.0.1:{self.port}/{database}"

    def execute(self, statements: str, database: str = "postgres") -> None:
        """Run SQL as the superuser, outside any transaction."""
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname=database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statements)
        finally:
            connection.close()

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return name

    def drop(self, database: str) -> None:
        """Remove a database and whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def wait_until(condition: object, seconds: float = 20.0, step: float = 0.02) -> None:
    """Wait for a condition (a callable) to hold; fails the test when it does not in time."""
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            raise AssertionError("the condition did not come true in time")
        time.sleep(step)
