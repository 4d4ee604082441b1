"""Empty stores, migrated once for a test process, then copied or emptied: migrating takes a tenth of a second."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import text

from smsd.adapters.store.engine import Database
from smsd.adapters.store.schema import metadata


@lru_cache(maxsize=1)
def _folder() -> TemporaryDirectory[str]:
    """Kept alive by the cache, removed with the process."""
    folder = TemporaryDirectory(prefix="smsd-empty-")
    database = Database(f"sqlite:///{folder.name}/smsd.db")
    database.open()
    database.close()
    return folder


def copy_empty_store(target: Path) -> None:
    """An SQLite store that was opened once, for its owner alone."""
    shutil.copy(Path(_folder().name) / "smsd.db", target)
    target.chmod(0o600)


def empty_again(database: Database) -> None:
    """Remove every row of a store."""
    names = ", ".join(metadata.tables)
    with database.writing() as connection:
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
