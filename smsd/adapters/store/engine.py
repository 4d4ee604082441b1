"""Opening the state store: one engine, one writer, migrations, the lock of the running daemon, online backup.

SQLite runs in WAL with ``synchronous=FULL``: a state that guards against doubling must survive a power failure.
Nothing here knows what the tables mean.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from smsd.adapters.store.schema import meta
from smsd.core.errors import StoreError

SCHEMA_REVISION = "0001"
_BUSY_MS = 30_000
_ADVISORY_KEY = 0x736D7364  # "smsd"
BACKUP_MARK = "restored_from_backup"


class Database:
    """The state store's engine. ``writing`` gives the one writer its transaction, ``reading`` a consistent look."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self._writer = threading.RLock()
        self._lock_file: BinaryIO | None = None
        self._lock_connection: Connection | None = None
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        if not self.is_sqlite:
            return create_engine(self.url, pool_size=4, max_overflow=8, pool_pre_ping=True)
        engine = create_engine(
            self.url,
            pool_size=4,
            max_overflow=12,
            connect_args={"timeout": _BUSY_MS / 1000, "check_same_thread": False},
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for looking; what it sees is one moment."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The writer's transaction: committed when the block ends, undone when it raises."""
        with self._writer, self.engine.connect() as opened:
            connection = opened.execution_options(smsd_immediate=True)
            with connection.begin():
                yield connection

    def open(self) -> None:
        """Make the store ready: directory, file mode, schema. Raises `StoreError` saying how to mend it."""
        try:
            if self.path is not None:
                _prepare_file(self.path)
            self._migrate()
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error

    def _migrate(self) -> None:
        revision = self.revision()
        if revision == SCHEMA_REVISION:
            return
        if revision is not None and revision > SCHEMA_REVISION:
            raise StoreError(
                f"the state store is of a newer smsd (schema {revision}, this one knows {SCHEMA_REVISION})",
                code="newer_schema",
                hint="install the newer smsd again, or restore a backup of this one's time",
            )
        from smsd.adapters.store.migrations.run import upgrade  # noqa: PLC0415  (alembic is needed this once only)

        with self._writer:
            upgrade(self.engine)

    def revision(self) -> str | None:
        """The schema revision the store is at; None for an empty one."""
        with self.reading() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def lock(self) -> None:
        """Claim the store for this daemon until the process ends. Raises `StoreError` if another holds it."""
        try:
            if self.path is not None:
                self._lock_file = _lock_beside(self.path)
            else:
                self._lock_connection = self.engine.connect()
                taken = self._lock_connection.execute(
                    text(f"SELECT pg_try_advisory_lock({_ADVISORY_KEY})")
                ).scalar()
                self._lock_connection.commit()
                if not taken:
                    raise BlockingIOError
        except BlockingIOError as error:
            raise StoreError(
                "another smsd runs on this state store",
                code="store_in_use",
                hint="stop it first (systemctl stop smsd); two daemons would text citizens twice",
            ) from error
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error

    def backup(self, target: Path, at: datetime) -> None:
        """Copy the store into a new file while it is in use, marked so that a daemon started on it baselines first."""
        if self.path is None:
            raise StoreError(
                "smsd backup copies SQLite stores only",
                code="not_sqlite",
                hint="use pg_dump for a PostgreSQL store",
            )
        if target.exists():
            raise StoreError(
                f"{target} exists", code="exists", hint="name a new file; nothing is overwritten"
            )
        partial = target.with_name(target.name + ".part")
        partial.unlink(missing_ok=True)
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _copy_marked(self.path, partial, at)
            partial.replace(target)
        except (OSError, sqlite3.Error) as error:
            partial.unlink(missing_ok=True)
            raise StoreError(f"cannot write the backup {target}: {error}", code="backup_failed") from error

    def get_meta(self, connection: Connection, key: str) -> str | None:
        """One fact of the store."""
        return connection.execute(select(meta.c.value).where(meta.c.key == key)).scalar()

    def set_meta(self, connection: Connection, key: str, value: str | None) -> None:
        """Note one fact of the store; None forgets it."""
        connection.execute(meta.delete().where(meta.c.key == key))
        if value is not None:
            connection.execute(meta.insert().values(key=key, value=value))

    def close(self) -> None:
        """Let go of everything, the lock last."""
        if self._lock_connection is not None:
            self._lock_connection.close()
            self._lock_connection = None
        self.engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _in_words(self, error: Exception) -> StoreError:
        where = str(self.path) if self.path is not None else self.url.render_as_string(hide_password=True)
        cause = str(error.orig) if isinstance(error, DBAPIError) and error.orig is not None else str(error)
        cause = cause.strip().splitlines()[0] if cause.strip() else type(error).__name__
        hint = "check that the user smsd may write there and that the disk is not full"
        if (isinstance(error, DBAPIError) and "malformed" in cause) or "not a database" in cause:
            hint = (
                "the file is damaged: stop smsd, keep the file, and put the newest smsd backup in its place"
            )
        if isinstance(error, OperationalError) and "locked" in cause:
            hint = "another program holds the file; close it"
        return StoreError(f"cannot open the state store {where}: {cause}", code="store_unusable", hint=hint)


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event below says BEGIN itself
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}", "cache_size=-2000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("smsd_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _prepare_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _lock_beside(path: Path) -> BinaryIO:
    """An exclusive lock on ``<store>.lock``; not on the store itself, where it would fight SQLite's own locks."""
    handle = path.with_name(path.name + ".lock").open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise
    return handle


def _copy_marked(source: Path, target: Path, at: datetime) -> None:
    original = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_BUSY_MS / 1000)
    copy = sqlite3.connect(target)
    try:
        original.backup(copy, pages=4096)
        copy.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (BACKUP_MARK, at.isoformat()))
        copy.commit()
        verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        copy.execute("PRAGMA journal_mode=DELETE")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy failed its check: {verdict}")
    finally:
        copy.close()
        original.close()
