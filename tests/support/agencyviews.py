"""Agencies' databases of the tests' own: one table, and the contract's view over it."""

from __future__ import annotations

import sqlite3
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg2
import psycopg2.extensions
from sqlalchemy.engine import URL

from tests.support.postgres import PostgresServer

COLUMNS = (
    "dossier_code",
    "phone",
    "step",
    "status",
    "procedure_code",
    "procedure_name",
    "received_at",
    "due_at",
    "resolved_at",
    "updated_at",
)
"""The contract's ten, as the view has them unless a test wants otherwise."""

Row = Mapping[str, object]


class AgencyDatabase(ABC):
    """What clerks and administrators do to an agency's database. Every change is committed at once."""

    url: str
    view = "smsd_dossiers"
    mark = "?"

    def insert(self, rows: Iterable[Row]) -> None:
        """New dossiers; columns left out are null."""
        names = ", ".join((*COLUMNS, "agency_code"))
        marks = ", ".join([self.mark] * (len(COLUMNS) + 1))
        values = [tuple(row.get(column) for column in (*COLUMNS, "agency_code")) for row in rows]
        self._many(f"INSERT INTO dossiers ({names}) VALUES ({marks})", values)

    def update(self, code: str, **values: object) -> None:
        """Change one dossier."""
        self.update_all([code], **values)

    def update_all(self, codes: Iterable[str], **values: object) -> None:
        """Change many dossiers alike, in one transaction."""
        changes = ", ".join(f"{column} = {self.mark}" for column in values)
        self._many(
            f"UPDATE dossiers SET {changes} WHERE dossier_code = {self.mark}",
            [(*values.values(), code) for code in codes],
        )

    def delete(self, code: str) -> None:
        """Remove one dossier."""
        self._many(f"DELETE FROM dossiers WHERE dossier_code = {self.mark}", [(code,)])

    def show(self, names: Mapping[str, str] | Sequence[str] = COLUMNS) -> None:
        """Make the view anew with these columns, each under its own name or the one given for it."""
        own = names if isinstance(names, Mapping) else {name: name for name in names}
        chosen = ", ".join(f'{column} AS "{name}"' for column, name in own.items())
        self.lose_view()
        self.execute(f"CREATE VIEW smsd_dossiers AS SELECT {chosen}, agency_code FROM dossiers")

    def lose_view(self) -> None:
        """An administrator's mistake: the view is gone."""
        self.execute("DROP VIEW IF EXISTS smsd_dossiers")

    @abstractmethod
    def hang(self) -> None:
        """From now on the view gives no row for minutes; `show` mends it."""

    @abstractmethod
    def execute(self, sql: str) -> None:
        """Run one statement."""

    @abstractmethod
    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Run one statement for each of ``rows``, in one transaction."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""


class SqliteAgency(AgencyDatabase):
    """An agency in a SQLite file in WAL mode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = URL.create("sqlite", database=str(path.absolute())).render_as_string()
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = OFF")
        self.execute(f"CREATE TABLE IF NOT EXISTS dossiers ({', '.join(COLUMNS)}, agency_code)")
        self.show()

    def execute(self, sql: str) -> None:
        self.connection.execute(sql)

    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            self.connection.executemany(sql, rows)
        except sqlite3.Error:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def hang(self) -> None:
        chosen = ", ".join(f"d.{column}" for column in (*COLUMNS, "agency_code"))
        self.lose_view()
        self.execute(
            "CREATE VIEW smsd_dossiers AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            f"SELECT {chosen} FROM n LEFT JOIN dossiers AS d ON n.i < 0 WHERE n.i < 0"
        )

    def close(self) -> None:
        self.connection.close()


class PostgresAgency(AgencyDatabase):
    """An agency in a PostgreSQL database; the login is the superuser's unless a role is made."""

    view = "public.smsd_dossiers"
    mark = "%s"

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = database
        self.url = server.url(database)
        self.roles: list[str] = []
        self._connection: psycopg2.extensions.connection | None = None
        dates = ", ".join(f"{column} timestamp" for column in COLUMNS[6:])
        texts = ", ".join(f"{column} text" for column in (*COLUMNS[:6], "agency_code"))
        self.execute(f"CREATE TABLE IF NOT EXISTS dossiers ({texts}, {dates})")
        self.show()

    @property
    def connection(self) -> psycopg2.extensions.connection:
        """The clerks' connection; a new one if the server has been stopped in between."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(
                host="127.0.0.1", port=self.server.port, user="postgres", dbname=self.database
            )
            self._connection.autocommit = True
        return self._connection

    def execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def ask(self, sql: str) -> object:
        """The one value a question gives."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
        return None if row is None else row[0]

    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self.connection.autocommit = False
        try:
            with self.connection, self.connection.cursor() as cursor:
                cursor.executemany(sql, rows)
        finally:
            self.connection.autocommit = True

    def hang(self) -> None:
        chosen = ", ".join(f"d.{column}" for column in (*COLUMNS, "agency_code"))
        self.lose_view()
        self.execute(
            f"CREATE VIEW smsd_dossiers AS SELECT {chosen} FROM dossiers d "
            "RIGHT JOIN (SELECT pg_sleep(600)::text AS slept OFFSET 0) s ON s.slept = ''"
        )

    def role(self, password: str, grants: str = "") -> str:
        """The URL of a new login that has to show its password. ``{role}`` in ``grants`` is its name."""
        name = f"r{uuid.uuid4().hex[:10]}"
        ask_for_passwords(self.server)
        quoted = password.replace("'", "''")
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{quoted}' IN ROLE with_password")
        self.roles.append(name)
        if grants:
            self.execute(grants.format(role=name))
        return self.server.url(self.database, name, quote(password, safe=""))

    def close(self) -> None:
        for name in self.roles:
            self.execute(f"DROP OWNED BY {name}")
            self.execute(f"DROP ROLE {name}")
        if self._connection is not None:
            self._connection.close()


def ask_for_passwords(server: PostgresServer) -> None:
    """Let members of the role ``with_password`` in only with theirs; all others stay trusted."""
    rule = "host all +with_password 127.0.0.1/32 scram-sha-256\n"
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    if not before.startswith(rule):
        server.execute(
            "DO $$ BEGIN IF to_regrole('with_password') IS NULL THEN CREATE ROLE with_password NOLOGIN; END IF; END $$"
        )
        rules.write_text(rule + before)
        server.execute("SELECT pg_reload_conf()")
