"""The points at which a process may end: store writes, commits, gateway calls, renames of files.

A process that ends at a point does so by ``os._exit``: no ``finally``, no ``atexit``, no rollback, nothing flushed.
What it leaves is what stands in its files.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any

from sqlalchemy import event

from smsd.adapters.store.engine import Database
from smsd.core.model import Outcome, Verdict
from smsd.services.ports import CheckResult, Done, Outgoing

CRASHED = 87
"""The exit status of a process that ended at its point."""
KINDS = (
    "after a write",
    "before a commit",
    "after a commit",
    "before a gateway call",
    "after a gateway call",
    "before a rename",
    "after a rename",
)
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLAC", "CREATE", "ALTER ", "DROP T")


@dataclass
class Fuse:
    """Ends the process at the n-th point it passes (0: never), after noting in ``note`` which that was."""

    at: int
    note: Path
    points: list[str] = field(default_factory=list)

    def point(self, kind: str) -> None:
        self.points.append(kind)
        if len(self.points) == self.at:
            self.note.write_text(kind, encoding="utf-8")
            os._exit(CRASHED)


def watch_store(database: Database, fuse: Fuse) -> None:
    """Points after each statement that writes, and around each commit of a transaction that wrote."""

    wrote: set[sqlite3.Connection] = set()

    def executed(_connection: Any, cursor: sqlite3.Cursor, statement: str, *_: Any) -> None:
        if statement.lstrip()[:6].upper() in _WRITES:
            wrote.add(cursor.connection)
            fuse.point("after a write")

    event.listen(database.engine, "after_cursor_execute", executed)
    commit = database.engine.dialect.do_commit

    def watched(connection: Any) -> None:
        driver = connection.dbapi_connection
        if driver not in wrote:
            commit(connection)
            return
        fuse.point("before a commit")
        commit(connection)
        wrote.discard(driver)
        fuse.point("after a commit")

    database.engine.dialect.do_commit = watched  # type: ignore[method-assign]


def watch_renames(fuse: Fuse) -> None:
    """Points around each rename of a file, until this process ends."""

    def around(rename: Callable[..., None]) -> Callable[..., None]:
        @wraps(rename)
        def watched(*paths: Any, **options: Any) -> None:
            fuse.point("before a rename")
            rename(*paths, **options)
            fuse.point("after a rename")

        return watched

    os.replace, os.rename = around(os.replace), around(os.rename)


class PostOffice:
    """A gateway outside the process: it has taken a message once its line is in the file.

    ``repeats_safely``: an id that was taken is not taken again, and it can be asked for.
    """

    name = "post"
    window = 3

    def __init__(self, taken: Path, fuse: Fuse, *, repeats_safely: bool) -> None:
        self.repeats_safely = repeats_safely
        self._taken = taken
        self._fuse = fuse

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        for message in messages:
            self._fuse.point("before a gateway call")
            if not (self.repeats_safely and message.id in self._ids()):
                self._take(message)
            self._fuse.point("after a gateway call")
            done(message.id, Outcome(Verdict.ACCEPTED, message.id))

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        if not self.repeats_safely:
            return None
        self._fuse.point("before a gateway call")
        known = message_id in self._ids()
        self._fuse.point("after a gateway call")
        return Outcome(Verdict.ACCEPTED, message_id) if known else None

    def check(self) -> list[CheckResult]:
        return []

    def close(self) -> None:
        """Nothing is ever under way."""

    def _take(self, message: Outgoing) -> None:
        line = {"id": message.id, "code": message.dossier_code, "kind": message.kind, "text": message.text}
        with self._taken.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _ids(self) -> set[str]:
        return {line["id"] for line in lines_of(self._taken)}


def lines_of(path: Path) -> list[dict[str, str]]:
    """The JSON objects of a file, one a line; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def append_line(path: Path, line: dict[str, str]) -> None:
    """Add one JSON object."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def spread(points: list[str], count: int) -> list[int]:
    """The places (from 1) of ``count`` points all over the day, with some of every kind there is."""
    if count >= len(points):
        return list(range(1, len(points) + 1))
    kinds = set(points)
    places = {kind: [n for n, name in enumerate(points, start=1) if name == kind] for kind in kinds}
    each = max(1, count // len(kinds))
    return sorted(
        n for own in places.values() for n in own[len(own) // (2 * each) :: max(1, len(own) // each)][:each]
    )
