"""What a claim costs does not grow with what waits behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.event import listen

from smsd.adapters.store.engine import Database
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import dossiers, messages
from tests.store.drafts import ready
from tests.store.empty import copy_empty_store
from tests.support.builders import NOW

WINDOW = 100
EVERY = 50
"""Steps of SQLite's machine between two counts."""


def many(database: Database, count: int) -> None:
    """So many more dossiers, each with a message that may go now, made of the one that is there."""

    def copies(table: Table, changed: dict[str, str]) -> str:
        columns: list[Column[Any]] = list(table.columns)
        values = ", ".join(changed.get(column.name, f'"{column.name}"') for column in columns)
        names = ", ".join(f'"{column.name}"' for column in columns)
        numbers = f"WITH n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {count})"
        return f"INSERT INTO {table.name} ({names}) {numbers} SELECT {values} FROM {table.name}, n"

    with database.writing() as connection:
        connection.exec_driver_sql(copies(dossiers, {"code": "'C' || k", "digest": "k"}))
        id_ = "printf('%032x', k)"
        connection.exec_driver_sql(copies(messages, {"id": id_, "dossier_code": "'C' || k"}))


def steps_of_a_claim(folder: Path, waiting: int) -> int:
    """How many steps SQLite's machine takes to claim a windowful of so many."""
    copy_empty_store(folder / f"{waiting}.db")
    database = Database(f"sqlite:///{folder / f'{waiting}.db'}")
    ready(database)
    many(database, waiting - 1)
    counts = 0

    def count() -> int:
        nonlocal counts
        counts += 1
        return 0

    def watch(connection: Any, *_: object) -> None:
        connection.connection.driver_connection.set_progress_handler(count, EVERY)

    listen(database.engine, "before_cursor_execute", watch)
    with OutboxStore(database).transaction() as tx:
        claimed = tx.claim(NOW, WINDOW, "kannel")
    database.close()
    assert len(claimed) == WINDOW
    return counts * EVERY


def test_a_claim_out_of_many_costs_what_one_out_of_few_costs(tmp_path: Path) -> None:
    few, thousands = (steps_of_a_claim(tmp_path, waiting) for waiting in (200, 20_000))
    assert few > WINDOW, "the machine was not watched"
    assert thousands < 1.5 * few
