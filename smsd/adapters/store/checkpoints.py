"""Carrying the log of a SQLite store over into its file, beside the writer.

A commit that finds the log grown does it itself, and then takes several times as long: every page is read, written and
synced once more. Here it happens in a thread of its own, once for all that was written in a while.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from smsd.adapters.store import sqlitefile

EVERY = 2.0
"""Seconds from the first commit to when the log is carried over."""
BACKSTOP_PAGES = 32_768
"""128 MB: a writer that finds the log as long carries it over itself, since this here failed to."""
_STOP_WITHIN = 5.0


class Checkpoints:
    """A thread that carries the log over; `written` after every commit, `close` at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def written(self) -> None:
        """Something was committed. Never blocks, never raises."""
        self._written.set()

    def close(self) -> None:
        """End. What is left in the log is carried over when the last connection is closed."""
        self._closing.set()
        self._written.set()
        self._thread.join(_STOP_WITHIN)

    def _work(self) -> None:
        while True:
            self._written.wait()
            if self._closing.wait(EVERY):
                return
            self._written.clear()
            try:
                with closing(sqlitefile.connect(self._path)) as connection:
                    connection.execute(
                        "PRAGMA wal_checkpoint(PASSIVE)"
                    )  # waits for nobody, and nobody for it
            except sqlite3.Error:
                continue  # a full disk, a file that is gone: the writer meets it too, and tells
