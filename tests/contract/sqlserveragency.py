"""An agency on a real SQL Server, where the environment names one: a table and a view of its own, dropped at the end.

Statements carry their values as literals, so that they can be looked at without a server. Nothing here goes through
the code under test but the options that a driver needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import islice
from typing import Any

import pyodbc
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from smsd.adapters.agencydb.sqlserver import connection_options
from tests.support.agencyviews import COLUMNS, AgencyDatabase, Row

VARIABLE = "SMSD_TEST_MSSQL_URL"
ALL = (*COLUMNS, "agency_code")
BYTES = "COLLATE Latin1_General_BIN2"
"""Compares code by code, as the other databases of the suite do; only spaces at the end are left aside."""
_TYPES = {
    "dossier_code": f"NVARCHAR(450) {BYTES}",
    "agency_code": f"NVARCHAR(450) {BYTES}",
    **dict.fromkeys(COLUMNS[1:6], f"NVARCHAR(MAX) {BYTES}"),
    **dict.fromkeys(COLUMNS[6:], "DATETIME2(7)"),
}
_ROWS_AT_ONCE = 500
"""A statement takes a thousand."""
_WAIT = 20
"""Seconds for a login, for a lock, and for a statement of the tests' own."""


def real_server(environ: Mapping[str, str]) -> str | None:
    """The URL of the SQL Server to test on; None if there is none. Raises ValueError for one that cannot be used."""
    url = environ.get(VARIABLE, "")
    if not url:
        return None
    try:
        named = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(f"{VARIABLE} is no URL; : / @ in a password are written %3A %2F %40") from None
    options = {option.casefold() for option in named.query}
    if named.get_backend_name() != "mssql" or "driver" not in options:
        raise ValueError(f"{VARIABLE} is to be mssql+pyodbc://user:password@host:1433/db?driver=FreeTDS")
    return url


def connection_text(url: str) -> str:
    """What the driver is told; unlike smsd, the tests write."""
    named = make_url(url).set(drivername="mssql+pyodbc")
    options = connection_options(dict(named.query))
    options.pop("ApplicationIntent", None)
    named = named.update_query_dict(options)
    dialect: Any = named.get_dialect()
    ((text,), _) = dialect(dbapi=pyodbc).create_connect_args(named)
    return str(text)


def quoted(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


def literal(value: object) -> str:
    """A value in SQL."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    text = value.isoformat(" ") if isinstance(value, datetime) else str(value)
    if not isinstance(value, str | date) or "\\\n" in text or "\\\r\n" in text or "\0" in text:
        raise ValueError(f"no literal for {type(value).__name__}, or a line that SQL Server would join")
    return "N'" + text.replace("'", "''") + "'"


def create_table(table: str) -> str:
    columns = ", ".join(f"{quoted(column)} {_TYPES[column]} NULL" for column in ALL)
    return f"CREATE TABLE {quoted(table)} ({columns})"


def create_view(view: str, table: str, names: Mapping[str, str], hint: str = "") -> str:
    chosen = ", ".join(f"{quoted(column)} AS {quoted(name)}" for column, name in names.items())
    return (
        f"CREATE VIEW {quoted(view)} AS SELECT {chosen}, {quoted('agency_code')} FROM {quoted(table)}{hint}"
    )


def drop_view(view: str) -> str:
    """Whether there is one or not; DROP VIEW IF EXISTS is younger than some servers."""
    return f"IF OBJECT_ID({literal(quoted(view))}, N'V') IS NOT NULL DROP VIEW {quoted(view)}"


def inserts(table: str, rows: Iterable[Row]) -> Iterator[str]:
    into = f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, ALL))}) VALUES "
    left = iter(rows)
    while part := list(islice(left, _ROWS_AT_ONCE)):
        yield into + ", ".join(
            "(" + ", ".join(literal(row.get(column)) for column in ALL) + ")" for row in part
        )


def update(table: str, code: str, values: Mapping[str, object]) -> str:
    changes = ", ".join(f"{quoted(column)} = {literal(value)}" for column, value in values.items())
    return f"UPDATE {quoted(table)} SET {changes} WHERE [dossier_code] = {literal(code)}"


class SqlServerAgency(AgencyDatabase):
    """What clerks and administrators do in the database of the URL, whose login may create tables and views there."""

    def __init__(self, url: str, connect: Callable[..., Any] = pyodbc.connect) -> None:
        pyodbc.pooling = False  # before the first connection, or the reader's would be pooled as well
        self.url = url
        self._connect = connect
        self.table = f"smsd_test_{uuid.uuid4().hex[:12]}"
        self.view = f"{self.table}_view"
        self._holder: Any = None
        self.connection = self.connected()
        try:
            self.execute(f"SET LOCK_TIMEOUT {_WAIT * 1000}")
            self.execute(create_table(self.table))
            self.show()
        except BaseException:
            with suppress(pyodbc.Error):  # the first one tells more
                self.close()
            raise

    def connected(self, *, autocommit: bool = True) -> Any:
        """One more connection to the database."""
        connection = self._connect(connection_text(self.url), autocommit=autocommit, timeout=_WAIT)
        connection.timeout = _WAIT
        return connection

    def execute(self, sql: str) -> None:
        cursor = self.connection.cursor()
        cursor.execute(sql)
        cursor.close()

    def ask(self, sql: str) -> object:
        """The one value a question gives."""
        cursor = self.connection.cursor()
        row = cursor.execute(sql).fetchone()
        cursor.close()
        return None if row is None else row[0]

    def _together(self, statements: Iterable[str]) -> None:
        self.connection.autocommit = False
        try:
            for statement in statements:
                self.execute(statement)
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        finally:
            self.connection.autocommit = True

    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        raise TypeError("values are literals here")

    def insert(self, rows: Iterable[Row]) -> None:
        self._together(inserts(self.table, rows))

    def update_all(self, codes: Iterable[str], **values: object) -> None:
        self._together(update(self.table, code, values) for code in codes)

    def delete(self, code: str) -> None:
        self.execute(f"DELETE FROM {quoted(self.table)} WHERE [dossier_code] = {literal(code)}")

    def show(self, names: Mapping[str, str] | Sequence[str] = COLUMNS) -> None:
        self._let_go()
        self.lose_view()
        own = names if isinstance(names, Mapping) else {name: name for name in names}
        self.execute(create_view(self.view, self.table, own))

    def lose_view(self) -> None:
        self.execute(drop_view(self.view))

    def retype(self, **types: str) -> None:
        """Give columns of the empty table other types."""
        self.lose_view()
        for column, type_ in types.items():
            self.execute(f"ALTER TABLE {quoted(self.table)} DROP COLUMN {quoted(column)}")
            self.execute(f"ALTER TABLE {quoted(self.table)} ADD {quoted(column)} {type_} NULL")
        self.show()

    def hang(self) -> None:
        """A writer holds the whole table, and the view waits for it even where the database versions its rows."""
        self._let_go()
        self.lose_view()
        names = {column: column for column in COLUMNS}
        self.execute(create_view(self.view, self.table, names, " WITH (READCOMMITTEDLOCK)"))
        self._holder = self.connected(autocommit=False)
        cursor = self._holder.cursor()
        cursor.execute(f"SELECT COUNT(*) FROM {quoted(self.table)} WITH (TABLOCKX, HOLDLOCK)").fetchall()
        cursor.close()

    def _let_go(self) -> None:
        holder, self._holder = self._holder, None
        if holder is not None:
            holder.rollback()
            holder.close()

    def close(self) -> None:
        """Drop view and table. What cannot be dropped is told, and begins with ``smsd_test_``."""
        try:
            with suppress(pyodbc.Error):
                self._let_go()
            self.lose_view()
            self.execute(
                f"IF OBJECT_ID({literal(quoted(self.table))}, N'U') IS NOT NULL DROP TABLE {quoted(self.table)}"
            )
        finally:
            self.connection.close()
