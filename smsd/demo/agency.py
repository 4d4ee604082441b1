"""One agency's database in the demonstration: a SQLite file whose view smsd reads, and its clerks' day."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from smsd.core.rows import VIEW_COLUMNS
from smsd.demo.lives import Change, Population

VIEW = "smsd_dossiers"
_TABLE = f"CREATE TABLE ho_so ({', '.join(VIEW_COLUMNS)}, PRIMARY KEY (dossier_code))"
_MAKE_VIEW = f"CREATE VIEW {VIEW} AS SELECT {', '.join(VIEW_COLUMNS)} FROM ho_so"  # noqa: S608 # nosec B608 # our names


class DemoAgency:
    """The database and the changes still to come."""

    def __init__(self, path: Path, population: Population) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute(_TABLE)
        self._connection.execute(_MAKE_VIEW)
        self._to_come = list(reversed(population.changes))
        self._connection.execute("BEGIN")
        for row in population.standing:
            self._insert(row)
        self._connection.execute("COMMIT")

    def live_until(self, now: datetime) -> int:
        """Make every change up to an instant; returns how many."""
        due: list[Change] = []
        while self._to_come and self._to_come[-1].at <= now:
            due.append(self._to_come.pop())
        if due:
            self._connection.execute("BEGIN")
            for change in due:
                self._make(change)
            self._connection.execute("COMMIT")
        return len(due)

    def lose_view(self) -> None:
        """An administrator's mistake: the view is gone."""
        self._connection.execute(f"DROP VIEW IF EXISTS {VIEW}")

    def restore_view(self) -> None:
        """The mistake is mended."""
        self._connection.execute(_MAKE_VIEW)

    def codes(self) -> list[str]:
        """Every dossier's code."""
        return [code for (code,) in self._connection.execute("SELECT dossier_code FROM ho_so ORDER BY 1")]

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def _make(self, change: Change) -> None:
        if "dossier_code" in change.columns:
            self._insert(change.columns)
            return
        names = ", ".join(f"{name} = ?" for name in change.columns)
        values = [*change.columns.values(), change.code]
        self._connection.execute(f"UPDATE ho_so SET {names} WHERE dossier_code = ?", values)  # noqa: S608 # nosec B608 # our names

    def _insert(self, row: dict[str, str | None]) -> None:
        marks = ", ".join("?" for _ in VIEW_COLUMNS)
        values = [row[name] for name in VIEW_COLUMNS]
        self._connection.execute(f"INSERT INTO ho_so VALUES ({marks})", values)  # noqa: S608 # nosec B608 # our own names
