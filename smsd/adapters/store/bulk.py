"""Inserting many rows at once: the statement is written out once, and the rows go to the driver as they are.

SQLAlchemy works out the parameters of each row anew, which takes several times as long as SQLite needs for the row
itself. Only what is written for every message that is sent and every dossier that changed is written this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2


@dataclass(frozen=True)
class BulkInsert:
    """One INSERT. ``columns`` are in the table's order; ``on_conflict`` adds what becomes of rows that are there.

    No part of ``on_conflict`` may bind a value: what is bound are the rows.
    """

    table: Table
    columns: tuple[str, ...]
    on_conflict: Callable[[Any], Any] = lambda query: query

    def write(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, each in the order of ``columns`` and as the database keeps it (an instant by `to_micros`)."""
        if rows:
            connection.exec_driver_sql(_written_out(self, connection.dialect.name), list(rows))


@cache
def _written_out(bulk: BulkInsert, database: str) -> str:
    """The statement with a mark for each column, as the database's driver has marks."""
    dialect: Dialect
    if database == "sqlite":
        query, dialect = bulk.on_conflict(sqlite.insert(bulk.table)), sqlite.dialect(paramstyle="qmark")
    else:
        query = bulk.on_conflict(postgresql.insert(bulk.table))
        dialect = PGDialect_psycopg2(paramstyle="format")  # type: ignore[no-untyped-call]
    compiled = query.compile(dialect=dialect, column_keys=list(bulk.columns))
    if tuple(compiled.positiontup) != bulk.columns:
        raise ValueError(f"{bulk.table.name} takes its rows as {compiled.positiontup}, not {bulk.columns}")
    return str(compiled)
