"""SQLite through Python's own driver: the file is opened read-only, for one read at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

from smsd.adapters.agencydb import permissions
from smsd.adapters.agencydb.database import Database
from smsd.adapters.agencydb.faults import (
    COLUMN_MISSING,
    DATABASE_MISSING,
    PERMISSION_DENIED,
    READ_FAILED,
    TIMEOUT,
    UNREACHABLE,
    VIEW_MISSING,
)
from smsd.adapters.agencydb.query import Syntax
from smsd.adapters.agencydb.work import Link

_LONGEST_LOCK_WAIT = 2.0
"""Seconds to wait for a writer. SQLite cannot be interrupted while it waits."""

_BROKEN = "the file is no SQLite database, or is damaged; check the path in `database`"
_WAL = (
    "a database in WAL mode needs its -wal and -shm files beside it: let the user smsd write in the folder, "
    "or have the owner set PRAGMA journal_mode = DELETE"
)
_SAYINGS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"no such table"), VIEW_MISSING, ""),
    (re.compile(r"no such column"), COLUMN_MISSING, ""),
    (re.compile(r"locked|busy"), TIMEOUT, "a program holds the file locked; let it commit, or use WAL mode"),
    (re.compile(r"interrupted"), TIMEOUT, ""),
    (re.compile(r"readonly database|read-only|authorized|permission"), PERMISSION_DENIED, _WAL),
    (re.compile(r"not a database|malformed|disk image"), READ_FAILED, _BROKEN),
)  # fmt: skip


class SqliteLink(Link):
    """One open file."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self._cursor: Any = None

    def open_cursor(self) -> Any:
        """The cursor that keeps the file locked while it is open."""
        self._cursor = self.raw.cursor()
        return self._cursor

    def break_off(self) -> None:
        """Interrupt the statement under way."""
        with suppress(self.raw.ProgrammingError):  # closed already
            self.raw.interrupt()

    def shut(self) -> None:
        """Close the file; a cursor left open would keep it, and its lock."""
        if self._cursor is not None:
            self._cursor.close()
        self.raw.close()


class Sqlite(Database):
    """A SQLite file. Not kept open between reads, since a file is often replaced by a newer one of its name."""

    drivername = "sqlite"
    keeps = False
    syntax = Syntax('"', '"', "?", lambda value: value.isoformat() if isinstance(value, date) else value)

    def _where(self) -> str:
        return str(self.path)

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.url.database or "").absolute()

    def open(
        self, driver: Any, _positional: Sequence[Any], _named: Mapping[str, Any], seconds: float
    ) -> Link:
        """Open the file; bytes that are not UTF-8 do not fail the read."""
        raw = driver.connect(
            f"file:{quote(str(self.path))}?mode=ro",
            uri=True,
            timeout=min(_LONGEST_LOCK_WAIT, seconds / 2),
            isolation_level=None,
            check_same_thread=False,
        )
        raw.text_factory = lambda content: content.decode("utf-8", "replace")
        try:
            raw.execute("PRAGMA query_only = ON")
            raw.execute("PRAGMA cache_size = -256")  # the view is read once from end to end
        except BaseException:
            raw.close()
            raise
        return SqliteLink(raw)

    def explain(self, error: Exception, *, connecting: bool) -> tuple[str | None, str, bool]:  # noqa: ARG002
        """By what is in the file's place; else by the words."""
        try:
            there = self.path.is_file()
        except (OSError, ValueError):
            there = False
        if not there:
            return (
                DATABASE_MISSING,
                "check the path in `database`: there is no such file for this user",
                False,
            )
        said = str(error)
        if "unable to open" in said:
            return self._unopened()
        for pattern, code, hint in _SAYINGS:
            if pattern.search(said):
                return code, hint, False
        return None, "", False

    def _unopened(self) -> tuple[str, str, bool]:
        if not os.access(self.path, os.R_OK):
            return PERMISSION_DENIED, "let the user smsd read the file", False
        return UNREACHABLE, _WAL, False

    def write_rights(self, _link: Link, _view: str) -> list[str]:
        """By the file's mode; SQLite itself refuses to write to a file that was opened so, whatever it says."""
        return permissions.file_rights(self.path)

    def protection(self) -> str:
        """How it is opened."""
        return "the file is opened read-only"
