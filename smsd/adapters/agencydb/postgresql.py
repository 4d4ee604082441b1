"""PostgreSQL through psycopg2: a server-side cursor in a read-only transaction.

Everything is set for the transaction, not the session: a pooler between must not hand our settings to others.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from smsd.adapters.agencydb import permissions
from smsd.adapters.agencydb.database import Database
from smsd.adapters.agencydb.faults import (
    COLUMN_MISSING,
    DATABASE_MISSING,
    LOGIN_FAILED,
    PERMISSION_DENIED,
    READ_FAILED,
    TIMEOUT,
    UNREACHABLE,
    VIEW_MISSING,
)
from smsd.adapters.agencydb.query import Syntax, value_as_text
from smsd.adapters.agencydb.work import Link

_DATE_OIDS = (1082, 1114, 1184)  # date, timestamp, timestamptz
_LONGEST_CONNECT = 10
_NOTICES_LOST_CLIENT = 140_000
"""The server version that knows client_connection_check_interval."""

_STATES = {
    "28P01": LOGIN_FAILED,
    "28000": LOGIN_FAILED,
    "3D000": DATABASE_MISSING,
    "3F000": VIEW_MISSING,
    "42P01": VIEW_MISSING,
    "42703": COLUMN_MISSING,
    "42501": PERMISSION_DENIED,
    "57014": TIMEOUT,
    "55P03": TIMEOUT,
    "53300": UNREACHABLE,
    "57P01": UNREACHABLE,
    "57P02": UNREACHABLE,
    "57P03": UNREACHABLE,
    "57P05": UNREACHABLE,
    "25P03": UNREACHABLE,
}
_HINTS = {
    "25006": "the view calls something that writes; a view for smsd must only read",
    "42883": "compare the types of the `filter` values with the view's columns",
    "53300": "raise max_connections on the server, or the login's CONNECTION LIMIT",
}
_FULL = re.compile(r"connection slots are reserved|too many clients|too many connections")
_REFUSALS = (  # a refused connection has no SQLSTATE in psycopg2, only words
    (re.compile(r'database "[^"]*" does not exist'), DATABASE_MISSING),
    (re.compile(r"permission denied for database"), PERMISSION_DENIED),
    (re.compile(r"authentication|no password supplied|role .* does not exist|not permitted to log in|pg_hba|SCRAM"),
     LOGIN_FAILED),
)  # fmt: skip
_TLS = re.compile(r"certificate|SSL error|support SSL|root\.crt|sslrootcert")
_TLS_HINT = (
    "the connection could not be made safe: sslrootcert in `database` names the file of the authority that signed the "
    "server's certificate, and the certificate must be for the host as it is written there"
)
_LOST = re.compile(
    r"server closed the connection|connection .*closed|SSL connection|could not receive data|EOF"
    r"|PGRES_COPY_OUT and no message"  # the wire was cut in the middle of COPY
)


class WritesRows(Protocol):
    """What takes rows."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """Called with each; what it raises ends the answer."""


class PostgresLink(Link):
    """One psycopg2 connection."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        # our own handle of the socket: the driver may close its own, and the number be used again, at any moment
        self._socket = socket.socket(fileno=os.dup(raw.fileno()))
        self._socket_lock = threading.Lock()

    def begin(self, seconds: float) -> None:
        """Begin the transaction; every statement in it has ``seconds``, and all rows are wanted, not the first few."""
        settings = f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}; SET LOCAL cursor_tuple_fraction = 1"
        if self.raw.server_version >= _NOTICES_LOST_CLIENT:
            settings += "; SET LOCAL client_connection_check_interval = '1s'"
        with self._in_driver(), self.raw.cursor() as cursor:
            cursor.execute(settings)

    def open_cursor(self) -> Any:
        """A cursor on the server."""
        return self.raw.cursor(name="smsd", scrollable=False)

    def copy_out(self, sql: str, values: list[object], target: WritesRows) -> None:
        """Give the rows of a question in COPY's binary format to ``target.write``, one at a time.

        The first has the header before it, and the trailer comes as a row.
        """
        with self._in_driver(), self.raw.cursor() as cursor:
            question = cursor.mogrify(sql, values) if values else sql.encode()
            cursor.copy_expert(b"COPY (" + question + b") TO STDOUT (FORMAT binary)", target)

    def types(self, question: tuple[str, list[object]]) -> dict[str, int]:
        """The types (OIDs) of a question's columns by their names."""
        with self._in_driver(), self.raw.cursor() as cursor:
            cursor.execute(question[0], question[1] or None)
            return {column.name: column.type_code for column in cursor.description}

    def ask_nothing(self, sql: str) -> None:
        """A statement without an answer."""
        with self._in_driver(), self.raw.cursor() as cursor:
            cursor.execute(sql)

    def rest(self) -> None:
        """End the transaction."""
        with self._in_driver():
            self.raw.rollback()

    def break_off(self) -> None:
        """Cut the wire. The server sees it at once, or within a second while it works on a statement.

        psycopg2's own cancel() stops the whole process while it waits for a server that may not answer.
        """
        with self._socket_lock, suppress(OSError):  # gone already
            self._socket.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Close connection and handle."""
        try:
            self.raw.close()
        finally:
            with self._socket_lock:
                self._socket.close()


class Postgres(Database):
    """A PostgreSQL database."""

    drivername = "postgresql+psycopg2"
    syntax = Syntax('"', '"', "%s", value_as_text)

    def open(self, driver: Any, positional: Sequence[Any], named: Mapping[str, Any], seconds: float) -> Link:
        """Connect; dates come as ISO 8601 text: Python cannot hold all that PostgreSQL can, and text is faster."""
        wait = max(2, min(_LONGEST_CONNECT, int(seconds)))
        ours = {
            "application_name": "smsd",
            "client_encoding": "UTF8",
            "connect_timeout": wait,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": max(1, int(seconds)) * 1000,
        }
        raw = driver.connect(*positional, **(ours | dict(named)))
        try:
            raw.set_session(readonly=True, isolation_level="REPEATABLE READ")
            dates = driver.extensions.new_type(_DATE_OIDS, "TEXT DATE", lambda value, _cursor: value)
            driver.extensions.register_type(dates, raw)
            return PostgresLink(raw)
        except BaseException:
            raw.close()
            raise

    def explain(self, error: Exception, *, connecting: bool) -> tuple[str | None, str, bool]:
        """By SQLSTATE; by the words where there is none."""
        state = getattr(error, "pgcode", None)
        if state is None:
            hint = _TLS_HINT if connecting and _TLS.search(str(error)) else ""
            if connecting and _FULL.search(str(error)):
                hint = _HINTS["53300"]
            return self._by_words(str(error), connecting=connecting), hint, False
        code = UNREACHABLE if state.startswith("08") else _STATES.get(state)
        hint = _HINTS.get(state, "")
        if code == VIEW_MISSING and self.place.view != self.place.view.lower():
            hint = (
                "PostgreSQL writes names small that were made without quotes: check `view`, capitals included"
            )
        return code, hint, state.startswith(("22", "23", "P0"))

    @staticmethod
    def _by_words(said: str, *, connecting: bool) -> str | None:
        if connecting:
            return next((code for pattern, code in _REFUSALS if pattern.search(said)), UNREACHABLE)
        return UNREACHABLE if _LOST.search(said) else READ_FAILED

    def write_rights(self, link: Link, view: str) -> list[str]:
        """By the server's own account of the login's privileges."""
        _, answer = link.ask(permissions.POSTGRES, [self.syntax.bare(view)])
        return permissions.in_words(answer[0], permissions.POSTGRES_WORDS)
