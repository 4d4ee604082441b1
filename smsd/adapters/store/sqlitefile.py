"""The state store's SQLite file: made private, known again when it was replaced, claimed by one daemon, copied.

Nothing here knows what the tables mean, but for the mark that a copy carries.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import structlog

from smsd.adapters.folders import sync_folder
from smsd.core.errors import StoreError

log = structlog.get_logger(__name__)

BUSY_MS = 30_000
"""How long another program's lock on the file is waited for."""
BACKUP_MARK = "restored_from_backup"
PARTIAL = ".part"
"""Ends the name of a copy that is not finished: whoever looks for backups does not find it."""
_LOCK_PATIENCE = 0.5
"""Seconds for which the claim is tried."""
_JOURNAL_KIND = slice(18, 20)
"""Where the file's header says how it is written: two bytes, 2 for a write-ahead log."""

Identity = tuple[int, int]
"""Device and number of a file: a name may come to mean another one."""


def prepare(path: Path) -> None:
    """Make the file if there is none, and close it to others. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    _set_foreign_log_aside(path)


def _set_foreign_log_aside(path: Path) -> None:
    """A write-ahead log beside a file that never had one is of the store that lay here before.

    SQLite would play it into the copy that was put in its place, and make one damaged store of two good ones.
    """
    beside = path.with_name(path.name + "-wal")
    if not beside.exists() or beside.stat().st_size == 0:
        return
    with path.open("rb") as file:
        kind = file.read(_JOURNAL_KIND.stop)[_JOURNAL_KIND]
    if kind == b"\x01\x01":
        aside = beside.with_name(beside.name + ".of-the-replaced-store")
        beside.replace(aside)
        log.warning(
            "foreign_log_set_aside", file=aside.name, reason="it belongs to the store that lay here before"
        )


def connect(path: Path, *, make: bool = False) -> sqlite3.Connection:
    """A connection to the file. A store that was removed is not made anew by looking at it, unless ``make``."""
    mode = "rwc" if make else "rw"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=BUSY_MS / 1000, check_same_thread=False
    )


def set_up(raw: sqlite3.Connection, log_pages: int | None = None) -> None:
    """Make a connection one of the store's. ``log_pages``: how long a log its commits carry over; None: 1,000 pages."""
    raw.isolation_level = None  # SQLAlchemy's begin event says BEGIN itself
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_MS}",
        "cache_size=-1000",
        *([f"wal_autocheckpoint={log_pages}"] if log_pages is not None else []),
    ):
        raw.execute(f"PRAGMA {pragma}")


def identity(path: Path) -> Identity | None:
    """Which file the name means now; None for none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def claim(path: Path) -> BinaryIO:
    """An exclusive lock on ``<store>.lock``; not on the store itself, where it would fight SQLite's own locks.

    Raises BlockingIOError when another process has it, OSError when there can be none.
    """
    number = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    handle = os.fdopen(number, "r+b")
    until = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:  # longer than a command looks at it (`is_claimed`): a daemon has it
                handle.close()
                raise
            time.sleep(0.05)
        else:
            return handle


def claim_stands(path: Path, handle: BinaryIO) -> bool:
    """Whether the lock file that others would try is still the one that is held: somebody may have removed it."""
    held = os.fstat(handle.fileno())
    return identity(_lock_of(path)) == (held.st_dev, held.st_ino)


def witnessed(handle: BinaryIO) -> datetime | None:
    """When the daemon that claimed the file last said that it works on it; None if nothing readable was left."""
    try:
        handle.seek(0)
        found = datetime.fromisoformat(handle.read(40).decode("ascii").strip())
    except (OSError, ValueError):
        return None
    return found if found.tzinfo is not None else None


def witness(handle: BinaryIO, at: datetime) -> None:
    """Leave beside the store until when it was worked on: an older copy put in its place shows by that."""
    try:
        handle.seek(0)
        handle.write(f"{at.isoformat():<40}\n".encode("ascii"))
        handle.flush()
    except OSError as error:  # the copy's own mark does without it
        log.warning("not_witnessed", error=error.strerror or type(error).__name__)


def is_claimed(path: Path) -> bool:
    """Whether a process holds the lock file; looking never takes it from one that is about to."""
    try:
        with _lock_of(path).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock_of(path: Path) -> Path:
    """One lock for one file, whatever links lead to it."""
    real = path.resolve()
    return real.with_name(real.name + ".lock")


def copy_marked(source: Path, target: Path, at: datetime) -> None:
    """Copy the store into a new file while it is in use. Raises `StoreError`; then there is no such file."""
    if target.exists():
        raise StoreError(f"{target} exists", code="exists", hint="name a new file; nothing is overwritten")
    partial = target.with_name(target.name + PARTIAL)
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(source, partial, at)
        partial.replace(target)
        sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        _give_up(partial)
        cause = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        raise StoreError(
            f"cannot write the backup {target}: {cause}",
            code="backup_failed",
            hint="check that its folder exists, may be written and has room for the whole store",
        ) from error


def _give_up(partial: Path) -> None:
    for name in (partial, partial.with_name(partial.name + "-journal")):
        try:
            name.unlink(missing_ok=True)
        except OSError:
            log.warning("partial_backup_left", file=name.name)


def _copy(source: Path, target: Path, at: datetime) -> None:
    original = sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True, timeout=BUSY_MS / 1000)
    copy = sqlite3.connect(target)
    try:
        # at one go: in WAL it hinders no writer, and in steps every write would start it anew
        original.backup(copy)
        copy.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (BACKUP_MARK, at.isoformat()))
        copy.commit()
        verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        copy.execute("PRAGMA journal_mode=DELETE")
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy failed its check: {verdict}")
    finally:
        copy.close()
        original.close()
