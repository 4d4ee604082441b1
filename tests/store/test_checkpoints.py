"""SQLite's log is carried over beside the writer, and by the writer where that fails."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from smsd.adapters.store import checkpoints
from smsd.adapters.store.engine import Database
from smsd.core.errors import StoreError
from tests.support.postgres import wait_until


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(checkpoints, "EVERY", 0.05)
    made = Database(f"sqlite:///{tmp_path / 'smsd.db'}")
    made.open()
    made.checkpoint_aside()
    yield made
    made.close()


def write(database: Database, key: str, value: str = "x") -> None:
    with database.writing() as connection:
        connection.execute(text("INSERT INTO meta VALUES (:key, :value)"), {"key": key, "value": value})


def in_the_file(database: Database) -> set[str]:
    """What stands in the file alone, without its log."""
    assert database.path is not None
    alone = database.path.with_name("alone.db")
    shutil.copyfile(database.path, alone)
    connection = sqlite3.connect(alone)
    try:
        return {key for (key,) in connection.execute("SELECT key FROM meta")}
    except sqlite3.DatabaseError:  # copied while it was written
        return set()
    finally:
        connection.close()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "checkpoints"]


def test_what_was_committed_comes_into_the_file_beside_the_writer(database: Database) -> None:
    for key in ("one", "two"):
        write(database, key)
        wait_until(lambda key=key: key in in_the_file(database), 10)  # type: ignore[misc]


def test_a_commit_does_not_carry_the_log_over_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.Checkpoints, "written", lambda _: None)
    for number in range(40):
        write(database, f"k{number}", "x" * 200_000)  # twice what SQLite would let pass

    assert "k0" not in in_the_file(database)


def test_an_open_look_at_the_store_holds_nothing_up(database: Database) -> None:
    with database.reading() as connection:
        connection.execute(text("SELECT count(*) FROM meta")).scalar()
        write(database, "one")
        write(database, "two")
    wait_until(lambda: {"one", "two"} <= in_the_file(database), 10)


def test_a_store_that_was_removed_ends_writing_and_not_the_thread(database: Database) -> None:
    assert database.path is not None
    write(database, "one")
    for name in ("smsd.db", "smsd.db-wal", "smsd.db-shm"):
        database.path.with_name(name).unlink()
    with pytest.raises(StoreError):
        write(database, "two")
    assert len(threads()) == 1


def test_closing_ends_the_thread(database: Database) -> None:
    write(database, "one")
    assert len(threads()) == 1
    database.close()
    assert not threads()


def test_a_store_on_postgresql_has_no_log_of_ours(url: str) -> None:
    database = Database(url)
    if not database.is_sqlite:
        database.checkpoint_aside()
        assert not threads()
    database.close()
