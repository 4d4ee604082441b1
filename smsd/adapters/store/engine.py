"""Opening the state store: one engine, one writer, migrations, the lock of the running daemon, online backup.

SQLite runs in WAL with ``synchronous=FULL``: a state that guards against doubling must survive a power failure.
Nothing here knows what the tables mean.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from smsd.adapters.store.schema import meta
from smsd.core.errors import StoreError

SCHEMA_REVISION = "0001"
_BUSY_MS = 30_000
_ADVISORY_KEY = 0x736D7364  # "smsd": the running daemon's
_WRITER_KEY = 0x736D7377  # "smsw": the one writer's, for one transaction
_LOCK_PATIENCE = 0.5
"""Seconds for which the lock is tried."""
BACKUP_MARK = "restored_from_backup"
_FAULTS = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""What the surroundings do to a statement. SQLite's damaged files are plain `DatabaseError`s."""


class Database:
    """The state store's engine. ``writing`` gives the one writer its transaction, ``reading`` a consistent look."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self._writer = threading.Lock()
        self._writing_thread: int | None = None
        self._lock_file: BinaryIO | None = None
        self._lock_connection: Connection | None = None
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        hidden = {"hide_parameters": True}  # they hold numbers and texts, and errors are logged
        if not self.is_sqlite:
            engine = create_engine(
                self.url,
                pool_size=4,
                max_overflow=8,
                pool_pre_ping=True,
                executemany_mode="values_plus_batch",
                **hidden,
            )
            event.listen(engine, "connect", _set_up_postgresql)
            return engine
        engine = create_engine(
            self.url,
            pool_size=4,
            max_overflow=12,
            connect_args={"timeout": _BUSY_MS / 1000, "check_same_thread": False},
            **hidden,
        )
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for looking. Raises `StoreError` when the store fails."""
        with self._faults_in_words(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The writer's transaction: committed when the block ends, undone when it raises.

        There is one writer at a time, on every host. Raises `StoreError` when the store fails, and RuntimeError for a
        transaction within another of the same thread, which would wait for itself.
        """
        if self._writing_thread == threading.get_ident():
            raise RuntimeError("a transaction was asked for within another")
        with self._writer, self._faults_in_words(), self.engine.connect() as opened:
            self._writing_thread = threading.get_ident()
            try:
                connection = opened.execution_options(smsd_immediate=True)
                with connection.begin():
                    if not self.is_sqlite:
                        connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITER_KEY})"))
                    yield connection
            finally:
                self._writing_thread = None

    @contextmanager
    def _faults_in_words(self) -> Iterator[None]:
        """Faults of the disk, the server or the file as `StoreError`; mistakes in our statements stay what they are."""
        try:
            yield
        except (*_FAULTS, DatabaseError) as error:
            if not _is_fault(error):
                raise
            raise self._in_words(error) from error

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

    def verify(self) -> str:
        """What can be said of a store that is in order: where it is and its schema. Raises `StoreError` otherwise."""
        try:
            revision = self.revision()
            with self.reading() as connection:
                verdict = connection.execute(text("PRAGMA quick_check")).scalar() if self.is_sqlite else "ok"
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error
        if verdict != "ok":
            raise StoreError(
                f"the state store {self.path} is damaged: {verdict}",
                code="store_damaged",
                hint="stop smsd, keep the file, and put the newest smsd backup in its place",
            )
        where = self.path if self.path is not None else self.url.render_as_string(hide_password=True)
        return f"{where}, schema {revision or 'none yet'}"

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
                    self._lock_connection.close()
                    self._lock_connection = None
                    raise BlockingIOError
        except BlockingIOError as error:
            raise StoreError(
                "another smsd runs on this state store",
                code="store_in_use",
                hint="stop it first (systemctl stop smsd); two daemons would text citizens twice",
            ) from error
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error

    def still_locked(self) -> bool:
        """Whether the claim of `lock` still stands: a database server that restarted has forgotten it."""
        if self._lock_connection is None:
            return self._lock_file is not None
        try:
            self._lock_connection.execute(text("SELECT 1"))
            self._lock_connection.commit()
        except SQLAlchemyError:
            return False
        return True

    def in_use(self) -> bool:
        """Whether a daemon holds the store now."""
        if self.path is not None:
            return _is_locked(self.path.with_name(self.path.name + ".lock"))
        query = text(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND objid = :key AND datname = current_database()"
        )
        with self.reading() as connection:
            return bool(connection.execute(query, {"key": _ADVISORY_KEY}).scalar())

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
        cause = next(iter(cause.strip().splitlines()), type(error).__name__)
        hint = "check that the user smsd may write there and that the disk is not full"
        if (isinstance(error, DBAPIError) and "malformed" in cause) or "not a database" in cause:
            hint = (
                "the file is damaged: stop smsd, keep the file, and put the newest smsd backup in its place"
            )
        if isinstance(error, OperationalError) and "locked" in cause:
            hint = "another program holds the file; close it"
        return StoreError(
            f"the state store {where} cannot be used: {cause}", code="store_unusable", hint=hint
        )


def _is_fault(error: SQLAlchemyError) -> bool:
    """Whether the surroundings failed. SQLite calls statements that cannot be right operational errors too."""
    if isinstance(error, _FAULTS):
        cause = error.orig if isinstance(error, DBAPIError) else None
        return getattr(cause, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    return type(error) is DatabaseError


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event below says BEGIN itself
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}", "cache_size=-1000"):
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    """A commit that guards against doubling must not be lost, whatever the server is set to."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()


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
    number = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    handle = os.fdopen(number, "r+b")
    until = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:  # longer than a command looks at it (`_is_locked`): a daemon has it
                handle.close()
                raise
            time.sleep(0.05)
        else:
            return handle


def _is_locked(path: Path) -> bool:
    """Whether a process holds the lock file; looking never takes it from one that is about to."""
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _copy_marked(source: Path, target: Path, at: datetime) -> None:
    original = sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_BUSY_MS / 1000)
    copy = sqlite3.connect(target)
    try:
        original.backup(
            copy
        )  # at one go: in WAL it hinders no writer, and in steps every write would start it anew
        copy.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (BACKUP_MARK, at.isoformat()))
        copy.commit()
        verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        copy.execute("PRAGMA journal_mode=DELETE")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy failed its check: {verdict}")
    finally:
        copy.close()
        original.close()
