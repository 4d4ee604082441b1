"""PostgreSQL agencies in trouble: one server, and for each case a schema, a login and a wire of its own."""

from __future__ import annotations

import os
import signal

import psycopg2
import psycopg2.extensions

from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.postgres import PostgresServer, wait_until
from tests.system.daemonoffice import READY, WORK, Office
from tests.system.faults.agencytrouble import DOSSIERS, Case
from tests.system.faults.agencywire import Spoilt, Wire

LONG_VIEW = 1_500
LONGER_VIEW = 100_000
"""Rows that do not fit into the buffers between the server and a reader that is held."""
MIDDLE = 100_000
"""Bytes of the answer after which a read of the long view is surely under way and surely not over."""
PASSWORD = "Mật khẩu 1/2"


class OwnSchema(PostgresAgency):
    """An agency in a schema of a database that many share; its clerks see nothing else."""

    def __init__(self, server: PostgresServer, database: str, schema: str) -> None:
        self.schema = schema
        super().__init__(server, database)
        self.view = f"{schema}.smsd_dossiers"

    @property
    def connection(self) -> psycopg2.extensions.connection:
        if self._connection is None or self._connection.closed:
            made = super().connection
            with made.cursor() as cursor:
                cursor.execute(
                    f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"; SET search_path = "{self.schema}"'
                )
        return super().connection


class Postgres(Case):
    """An agency in a schema of its own, behind a wire, with a login that has to show its password."""

    rows = DOSSIERS

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.database = OwnSchema(server, database, self.id)
        self.wire = Wire(server.port)

    def settle_in(self, office: Office) -> None:
        self.database.execute(
            "INSERT INTO dossiers (dossier_code, phone, step, procedure_code, procedure_name, received_at, due_at) "
            f"SELECT '{self.id}-' || i, '0905123456', '{WORK}', '1.001', repeat('x', 100), now() - interval '3 days', "
            f"now() + interval '9 days' FROM generate_series(0, {self.rows - 1}) i"
        )
        grants = (
            f'GRANT USAGE ON SCHEMA "{self.id}" TO {{role}}; GRANT SELECT ON smsd_dossiers TO {{role}}; '
            f'ALTER DEFAULT PRIVILEGES IN SCHEMA "{self.id}" GRANT SELECT ON TABLES TO {{role}}'
        )
        url = self.database.role(PASSWORD, grants).replace(f":{self.server.port}/", f":{self.wire.port}/")
        self.role = self.database.roles[-1]
        self.sessions = f"FROM pg_stat_activity WHERE application_name = 'smsd' AND usename = '{self.role}'"
        office.agency(self.id, database=url, view=self.database.view)

    def work(self, code: str) -> None:
        self.database.update(code, step=READY)

    def close(self) -> None:
        self.wire.close()
        self.database.close()


class InMidStream(Postgres):
    """Something happens while a large view is being read."""

    rows = LONG_VIEW

    def caught(self) -> Spoilt:
        """Returns when a read is under way and held between its first row and its last."""
        spoilt = self.wire.spoil("held", MIDDLE)
        assert spoilt.reached.wait(10)
        return spoilt


class CutSilently(InMidStream):
    id, fault = "cut-silently", "network stops forwarding in the middle of a read"
    codes, says = frozenset({"timeout"}), ("did not give", "no answer within 2 s", "raise `timeout`")
    how = "silent"

    def spoil(self) -> None:
        self.wire.spoil(self.how, MIDDLE)

    def mend(self) -> None:
        self.wire.mend()


class Reset(CutSilently):
    id, fault, how = "reset", "connection reset in the middle of a read", "reset"
    codes, says = frozenset({"unreachable"}), ("cannot be reached", "check that the server runs")


class HalfClosed(CutSilently):
    id, fault, how = "half-closed", "connection half-closed in the middle of a read", "half"
    codes, says = frozenset({"unreachable"}), ("cannot be reached",)


class Trickling(CutSilently):
    id, fault, how = (
        "trickling",
        "network lets a few bytes a second through in the middle of a read",
        "trickle",
    )


class Deaf(CutSilently):
    id, fault, how = "deaf", "connections taken and never answered", "deaf"
    codes, says = frozenset({"unreachable", "timeout"}), ("within 2 s",)


class Hanging(InMidStream):
    once = True
    rows = LONGER_VIEW
    id, fault = "hanging", "server process hangs (SIGSTOP) in the middle of a read"
    codes, says = frozenset({"timeout"}), ("no answer within 2 s",)
    stopped = 0

    def spoil(self) -> None:
        self.caught()
        self.stopped = int(str(self.database.ask(f"SELECT pid {self.sessions}")))
        os.kill(self.stopped, signal.SIGSTOP)
        self.wire.mend()

    def calm(self) -> None:
        if self.stopped:
            os.kill(self.stopped, signal.SIGCONT)
            self.stopped = 0


class Terminated(InMidStream):
    once = True
    rows = LONGER_VIEW
    id, fault = "terminated", "session ended by the administrator in the middle of a read"
    codes, says = frozenset({"unreachable"}), ("cannot be reached",)

    def spoil(self) -> None:
        self.caught()
        self.database.execute(f"SELECT pg_terminate_backend(pid) {self.sessions}")
        self.wire.mend()


class Cancelled(Postgres):
    once = True
    id, fault = "cancelled", "statement cancelled by the administrator"
    codes, says = frozenset({"timeout"}), ("canceling statement due to user request",)

    def spoil(self) -> None:
        self.database.hang()
        wait_until(
            lambda: self.database.ask(f"SELECT count(*) {self.sessions} AND wait_event = 'PgSleep'") == 1
        )
        self.database.execute(f"SELECT pg_cancel_backend(pid) {self.sessions}")
        self.database.show()


class Locked(Postgres):
    id, fault = "locked", "table locked by the agency's own migration"
    codes, says = frozenset({"timeout"}), ("did not give", "look for locks and load")
    clerks_wait = True

    def spoil(self) -> None:
        self.migration = psycopg2.connect(
            host="127.0.0.1", port=self.server.port, user="postgres", dbname=self.database.database
        )
        with self.migration.cursor() as cursor:
            cursor.execute(f'LOCK TABLE "{self.id}".dossiers IN ACCESS EXCLUSIVE MODE')

    def mend(self) -> None:
        self.migration.close()


class ViewDropped(Postgres):
    id, fault = "view-dropped", "view dropped"
    codes, says = frozenset({"view_missing"}), ("has no view", "sql/ has the view to make")
    person = "the agency makes the view again"

    def spoil(self) -> None:
        self.database.lose_view()

    def mend(self) -> None:
        self.database.show()


class ViewRenamed(Postgres):
    id, fault = "view-renamed", "view renamed"
    codes, says = frozenset({"view_missing"}), ("has no view", "check `view`")
    person = "the agency gives it its name back, or its file names the new one"

    def spoil(self) -> None:
        self.database.execute("ALTER VIEW smsd_dossiers RENAME TO smsd_hoso")

    def mend(self) -> None:
        self.database.execute("ALTER VIEW smsd_hoso RENAME TO smsd_dossiers")


class ColumnMissing(ViewDropped):
    id, fault = "column-missing", "column missing from the view"
    codes, says = (
        frozenset({"column_missing"}),
        ("no due_at among dossier_code, phone, step", "add it to the view"),
    )
    person = "the agency adds it to the view, or its file names another"

    def spoil(self) -> None:
        self.database.show([column for column in COLUMNS if column != "due_at"])


class Unreadable(ViewDropped):
    id, fault = "unreadable", "column of another type that not every value fits"
    codes, says = (
        frozenset({"read_failed"}),
        ("invalid input syntax for type bigint", "run the view's SELECT"),
    )
    person = ""

    def spoil(self) -> None:
        chosen = ", ".join(column for column in COLUMNS if column != "phone")
        self.database.lose_view()
        self.database.execute(
            f"CREATE VIEW smsd_dossiers AS SELECT {chosen}, replace(phone, '56', 'x')::bigint AS phone FROM dossiers"
        )


class GarbageDates(ViewDropped):
    id, fault = "garbage-dates", "dates turned into text that is none"
    codes, says = frozenset(), ()
    person = ""

    def spoil(self) -> None:
        chosen = ", ".join(column for column in COLUMNS if column not in ("due_at", "received_at"))
        garbage = (
            "to_char(received_at, 'DD/MM \"năm\" YY') AS received_at, 'hôm nào' || due_at::text AS due_at"
        )
        self.database.lose_view()
        self.database.execute(f"CREATE VIEW smsd_dossiers AS SELECT {chosen}, {garbage} FROM dossiers")


class Revoked(Postgres):
    id, fault = "revoked", "permission to read the view revoked"
    codes, says = (
        frozenset({"permission_denied"}),
        ("may not read revoked.smsd_dossiers", "grant SELECT on the view"),
    )
    person = "the agency grants it again"

    def spoil(self) -> None:
        self.database.execute(f"REVOKE SELECT ON smsd_dossiers FROM {self.role}")

    def mend(self) -> None:
        self.database.execute(f"GRANT SELECT ON smsd_dossiers TO {self.role}")


class PasswordChanged(Postgres):
    id, fault = "password-changed", "password of the login changed"
    codes, says = (
        frozenset({"login_failed"}),
        ("refuses the login of r", "check user and password in `database`"),
    )
    person = "the password is put right in the server or the agency's file"

    def spoil(self) -> None:
        self._set("another")

    def mend(self) -> None:
        self._set(PASSWORD)

    def _set(self, password: str) -> None:
        self.database.execute(f"ALTER ROLE {self.role} PASSWORD '{password}'")
        self.database.execute(f"SELECT pg_terminate_backend(pid) {self.sessions}")


class ShutOut(Postgres):
    id, fault = "shut-out", "pg_hba.conf lets this machine in no more"
    codes, says = frozenset({"login_failed"}), ("pg_hba.conf rejects connection", "lets this machine in")
    person = "the agency lets it in again"

    def spoil(self) -> None:
        self.rules = (self.server.data / "pg_hba.conf").read_text()
        self._rule(f"host {self.database.database} {self.role} 127.0.0.1/32 reject\n" + self.rules)
        self.database.execute(f"SELECT pg_terminate_backend(pid) {self.sessions}")

    def mend(self) -> None:
        self._rule(self.rules)

    def _rule(self, rules: str) -> None:
        (self.server.data / "pg_hba.conf").write_text(rules)
        before = self.database.ask("SELECT pg_conf_load_time()")
        self.database.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.database.ask("SELECT pg_conf_load_time()") != before)


POSTGRESQL: tuple[type[Postgres], ...] = (
    CutSilently, Reset, HalfClosed, Trickling, Deaf, Hanging, Terminated, Cancelled, Locked, ViewDropped, ViewRenamed,
    ColumnMissing, Unreadable, GarbageDates, Revoked, PasswordChanged, ShutOut,
)  # fmt: skip
