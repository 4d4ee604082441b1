"""SQLite agencies in trouble: files that are locked, replaced, damaged or gone."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.support.agencyviews import COLUMNS, AgencyDatabase
from tests.system.daemonoffice import READY, WORK, Office
from tests.system.faults.agencytrouble import DOSSIERS, Case

FILLING = 400
"""Rows of a file of some twenty pages, so that the damage is in the middle of the table."""


class AgencyFile(AgencyDatabase):
    """A SQLite file without WAL that its owner opens for each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"
        self.execute(f"CREATE TABLE dossiers ({', '.join(COLUMNS)}, agency_code)")
        self.show()

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql)

    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(sql, rows)

    def hang(self) -> None:
        raise AssertionError("a file does not hang")

    def close(self) -> None:
        """Nothing is kept open."""


class Sqlite(Case):
    """An agency in a file in a folder of its own."""

    clerks_wait = True

    def settle_in(self, office: Office) -> None:
        folder = office.folder / self.id
        folder.mkdir()
        self.database = AgencyFile(folder / "motcua.db")
        dates = {"received_at": "2026-08-03 09:00:00", "due_at": "2099-08-05 17:00:00"}
        self.database.insert(
            {
                "dossier_code": f"{self.id}-{number}",
                "phone": "0905123456",
                "step": WORK,
                "procedure_code": "1.001",
                "procedure_name": "x" * 100,
                **dates,
            }
            for number in range(DOSSIERS + FILLING)
        )
        office.agency(self.id, database=self.database.url)

    @property
    def path(self) -> Path:
        return self.database.path

    @property
    def copy(self) -> Path:
        """Where the good file is meanwhile."""
        return self.path.with_suffix(".good")

    def mend(self) -> None:
        self.copy.replace(self.path)

    def work(self, code: str) -> None:
        self.database.update(code, step=READY)


class Replaced(Sqlite):
    id, fault = "replaced", "file replaced by a newer one of its name again and again"
    once, clerks_wait = True, False

    def spoil(self) -> None:
        for _ in range(20):
            shutil.copy(self.path, self.copy)
            self.copy.replace(self.path)


class Deleted(Sqlite):
    id, fault = "deleted", "file deleted"
    codes, says = (
        frozenset({"database_missing"}),
        ("deleted/motcua.db", "there is no such file for this user"),
    )
    person = "the owner brings it back"

    def spoil(self) -> None:
        self.path.replace(self.copy)


class Locked(Sqlite):
    id, fault = "owner-s-lock", "file locked exclusively by its owner"
    codes, says = frozenset({"timeout"}), ("database is locked", "let it commit, or use WAL mode")

    def spoil(self) -> None:
        self.owner = sqlite3.connect(self.path, isolation_level=None)
        self.owner.execute("BEGIN EXCLUSIVE")

    def mend(self) -> None:
        self.owner.execute("ROLLBACK")
        self.owner.close()


class Damaged(Sqlite):
    """Pages in the middle of the table are overwritten; the schema can still be read."""

    id, fault = "damaged", "file damaged in its middle"
    codes, says = frozenset({"read_failed"}), ("malformed", "is damaged; check the path")
    person = "the owner brings it back"

    def spoil(self) -> None:
        shutil.copy(self.path, self.copy)
        size = self.path.stat().st_size
        with self.path.open("r+b") as file:
            file.seek(size // 2)
            file.write(b"\xa5" * (size // 4))


class Truncated(Damaged):
    id, fault = "truncated", "file cut off in its middle"

    def spoil(self) -> None:
        shutil.copy(self.path, self.copy)
        with self.path.open("r+b") as file:
            file.truncate(self.path.stat().st_size // 2)


class NoDatabase(Damaged):
    id, fault = "no-database", "file overwritten by one that is no database"
    says = ("not a database", "is no SQLite database")

    def spoil(self) -> None:
        self.path.replace(self.copy)
        self.path.write_bytes(b"PK\x03\x04" * 4096)


class Emptied(Sqlite):
    id, fault = "emptied", "file emptied"
    codes, says = frozenset({"view_missing"}), ("has no view smsd_dossiers",)
    person = "the owner brings it back"

    def spoil(self) -> None:
        self.path.replace(self.copy)
        self.path.touch()


class FolderClosed(Sqlite):
    id, fault = "folder-closed", "the file's folder cannot be entered"
    codes, says = frozenset({"database_missing"}), ("there is no such file for this user",)
    person = "the owner lets smsd in"

    def spoil(self) -> None:
        self.path.parent.chmod(0)

    def mend(self) -> None:
        self.path.parent.chmod(0o755)


class FileClosed(FolderClosed):
    id, fault = "file-closed", "the file may not be read"
    codes, says = frozenset({"permission_denied"}), ("let the user smsd read the file",)

    def spoil(self) -> None:
        self.path.chmod(0)

    def mend(self) -> None:
        self.path.chmod(0o644)


SQLITE: tuple[type[Sqlite], ...] = (
    Replaced, Deleted, Locked, Damaged, Truncated, NoDatabase, Emptied, FolderClosed, FileClosed,
)  # fmt: skip
