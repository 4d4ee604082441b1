"""Opening the state store: one engine, one writer, migrations, the claim of the running daemon.

SQLite runs in WAL with ``synchronous=FULL``: a state that guards against doubling must survive a power failure.
A store that turns out to be damaged, or that is not the file it was opened on, takes no more writes.
Nothing here knows what the tables mean.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

from smsd.adapters.store import checkpoints, sqlitefile
from smsd.adapters.store.schema import meta
from smsd.core.errors import StoreError

SCHEMA_REVISION = "0004"
_ADVISORY_KEY = 0x736D7364  # "smsd": the running daemon's
_WRITER_KEY = 0x736D7377  # "smsw": the one writer's, for one transaction
BACKUP_MARK = sqlitefile.BACKUP_MARK
SEEN = "clock_seen"
"""The fact that tells the latest instant at which a daemon said that it works on this store."""
_HOME = "home"
"""The fact that tells in which database the store is at home; a dump carries it into another."""
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FAULTS = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""What the surroundings do to a statement. SQLite's damaged files are plain `DatabaseError`s."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Writing to the store fails: since when it is tried and when it failed last (monotonic seconds), and why then."""

    since: float
    last: float
    error: StoreError


class Database:
    """The state store's engine. ``writing`` gives the one writer its transaction, ``reading`` a consistent look."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.path = Path(self.url.database) if self.is_sqlite and self.url.database else None
        self._writer = threading.Lock()
        self._writing_thread: int | None = None
        self.trouble: Trouble | None = None
        """Why nothing can be written now; None when the last write succeeded."""
        self.end: StoreError | None = None
        """Why this store is not to be used any more by this process: it is damaged, or not there any more."""
        self._identity: sqlitefile.Identity | None = None
        self._checkpoints: checkpoints.Checkpoints | None = None
        self._lock_file: BinaryIO | None = None
        self._lock_connection: Connection | None = None
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        hidden = {"hide_parameters": True}  # they hold numbers and texts, and errors are logged
        if not self.is_sqlite:
            engine = create_engine(
                self.url,
                isolation_level="READ COMMITTED",  # what a writer sees begins when it has the lock, not before
                pool_size=4,
                max_overflow=8,
                pool_pre_ping=True,
                executemany_mode="values_plus_batch",
                **hidden,
            )
            event.listen(engine, "connect", _set_up_postgresql)
            return engine
        path = self.path
        made: dict[str, Any] = {}
        if path is not None:  # until it was opened, it may be a new one
            made["creator"] = lambda: sqlitefile.connect(path, make=self._identity is None)
        engine = create_engine(self.url, pool_size=4, max_overflow=12, **made, **hidden)
        event.listen(engine, "connect", self._set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _set_up_sqlite(self, raw: sqlite3.Connection, _record: Any) -> None:
        sqlitefile.set_up(raw, checkpoints.BACKSTOP_PAGES if self._checkpoints is not None else None)

    def checkpoint_aside(self) -> None:
        """From now on carry SQLite's log over beside the writer: for a process that goes on writing."""
        if self.path is not None and self._checkpoints is None:
            self._checkpoints = checkpoints.Checkpoints(self.path)
            self.engine.dispose()  # connections learn of it when they are made

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
        with self._writer, self._noting_trouble(), self._faults_in_words():
            self._require_the_same_store()
            with self.engine.connect() as opened:
                self._writing_thread = threading.get_ident()
                try:
                    connection = opened.execution_options(smsd_immediate=True)
                    with connection.begin():
                        if not self.is_sqlite:
                            connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITER_KEY})"))
                        yield connection
                finally:
                    self._writing_thread = None
            if self._checkpoints is not None:
                self._checkpoints.written()

    @contextmanager
    def _noting_trouble(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except StoreError as error:
            since = self.trouble.since if self.trouble is not None else began
            self.trouble = Trouble(since, time.monotonic(), error)
            raise
        self.trouble = None

    def _require_the_same_store(self) -> None:
        """Refuse to write where it would be lost (the file was removed or replaced) or do harm (it is damaged)."""
        if self._identity is not None and self.path is not None and self.end is None:
            now = sqlitefile.identity(self.path)
            if now != self._identity:
                self.end = _replaced(self.path, removed=now is None)
        if self.end is not None:
            raise self.end

    @contextmanager
    def _faults_in_words(self) -> Iterator[None]:
        """Faults of the disk, the server or the file as `StoreError`; mistakes in our statements stay what they are."""
        try:
            yield
        except (*_FAULTS, DatabaseError) as error:
            if not _is_fault(error):
                raise
            said = self._in_words(error)
            if said.code == "store_damaged":
                self.end = said
            raise said from error

    def open(self, *, check: bool = False) -> None:
        """Make the store ready: directory, file mode, schema. Raises `StoreError` saying how to mend it.

        ``check``: look through the whole file first; a daemon does not start on one that is damaged.
        """
        try:
            if self.path is not None:
                sqlitefile.prepare(self.path)
                self._identity = sqlitefile.identity(self.path)
            if check:
                self.check()
            self._migrate()
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error

    def check(self) -> None:
        """Look for damage in a SQLite file, page by page (a second for some hundred MB). Raises `StoreError`."""
        if not self.is_sqlite:
            return
        with self.reading() as connection:
            verdict = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        if verdict != "ok":
            raise _damaged(self.path, str(verdict))

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
            self.check()
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error
        where = self.path if self.path is not None else self.url.render_as_string(hide_password=True)
        return f"{where}, schema {revision or 'none yet'}"

    def lock(self) -> None:
        """Claim the store for this daemon until the process ends. Raises `StoreError` if another holds it."""
        try:
            if self.path is not None:
                self._lock_file = sqlitefile.claim(self.path)
                self._recognise_copy(self._lock_file)
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
                self._recognise_dump()
        except BlockingIOError as error:
            raise StoreError(
                "another smsd runs on this state store",
                code="store_in_use",
                hint="stop it first (systemctl stop smsd); two daemons would text citizens twice",
            ) from error
        except (OSError, SQLAlchemyError) as error:
            raise self._in_words(error) from error

    def _recognise_copy(self, claim: BinaryIO) -> None:
        """Mark a store that is older than the one worked on here: a copy that `smsd backup` did not make."""
        ran = sqlitefile.witnessed(claim)
        with self.reading() as connection:
            seen = self.get_meta(connection, SEEN)
        if ran is not None and seen is not None and datetime.fromisoformat(seen) < ran:
            with self.writing() as connection:
                self.set_meta(
                    connection, BACKUP_MARK, f"as of {seen}, put in place of one of {ran.isoformat()}"
                )

    def note_seen(self, at: datetime) -> None:
        """The daemon works on this store now: in the store first, then beside it."""
        with self.writing() as connection:
            self.set_meta(connection, SEEN, at.isoformat())
        if self._lock_file is not None:
            sqlitefile.witness(self._lock_file, at)

    def note_end(self, at: datetime) -> None:
        """The daemon gives this store up: what lies there at the next start is another, or older than this instant."""
        if self._lock_file is not None:
            sqlitefile.witness(self._lock_file, at)

    def _recognise_dump(self) -> None:
        """Mark a store that was restored from a dump, as `smsd backup` marks its copies.

        The note of where it is at home came along with the rest, and is of another cluster, database or table.
        """
        where = text(
            "SELECT concat_ws(' ', system_identifier, pg_database.oid, CAST('meta' AS regclass)::oid) "
            "FROM pg_control_system(), pg_database WHERE datname = current_database()"
        )
        with self.writing() as connection:
            here = str(connection.execute(where).scalar())
            noted = self.get_meta(connection, _HOME)
            if noted not in (None, here):
                self.set_meta(connection, BACKUP_MARK, "from a dump")
            if noted != here:
                self.set_meta(connection, _HOME, here)

    def still_locked(self) -> bool:
        """Whether the claim of `lock` still stands: a database server that restarted has forgotten it."""
        if self._lock_connection is None:
            held, path = self._lock_file, self.path
            return held is not None and path is not None and sqlitefile.claim_stands(path, held)
        try:
            self._lock_connection.execute(text("SELECT 1"))
            self._lock_connection.commit()
        except SQLAlchemyError:
            return False
        return True

    def in_use(self) -> bool:
        """Whether a daemon holds the store now."""
        if self.path is not None:
            return sqlitefile.is_claimed(self.path)
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
        sqlitefile.copy_marked(self.path, target, at)

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
        if self._checkpoints is not None:
            self._checkpoints.close()
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
        driver = error.orig if isinstance(error, DBAPIError) else error
        if (getattr(driver, "sqlite_errorcode", 0) & 0xFF) in _DAMAGE:
            return _damaged(self.path, cause)
        hint = "check that the user smsd may write there and that the disk is not full"
        if isinstance(error, OperationalError) and "locked" in cause:
            hint = "another program holds the file; close it"
        return StoreError(
            f"the state store {where} cannot be used: {cause}", code="store_unusable", hint=hint
        )


def _damaged(path: Path | None, verdict: str) -> StoreError:
    return StoreError(
        f"the state store {path} is damaged: {' '.join(verdict.split())}",
        code="store_damaged",
        hint="stop smsd, keep the file, and put the newest smsd backup in its place",
    )


def _replaced(path: Path, *, removed: bool) -> StoreError:
    return StoreError(
        f"the state store {path} was {'removed' if removed else 'replaced'} while smsd worked on it",
        code="store_replaced",
        hint="stop smsd before touching the file; the next start takes what lies there then",
    )


def _is_fault(error: SQLAlchemyError) -> bool:
    """Whether the surroundings failed. SQLite calls statements that cannot be right operational errors too."""
    if isinstance(error, _FAULTS):
        cause = error.orig if isinstance(error, DBAPIError) else None
        return getattr(cause, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    return type(error) is DatabaseError


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
