"""SQL Server through pyodbc: FreeTDS or Microsoft's driver, without a transaction of ours."""

from __future__ import annotations

import math
import re
import struct
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from typing import Any

from sqlalchemy.engine import URL

from smsd.adapters.agencydb import permissions
from smsd.adapters.agencydb.database import Database
from smsd.adapters.agencydb.faults import (
    COLUMN_MISSING,
    DATABASE_MISSING,
    DRIVER_MISSING,
    LOGIN_FAILED,
    PERMISSION_DENIED,
    TIMEOUT,
    UNREACHABLE,
    VIEW_MISSING,
    fault,
)
from smsd.adapters.agencydb.query import Syntax, value_as_text
from smsd.adapters.agencydb.work import Link
from smsd.services.ports import RawRow

_LONGEST_LOGIN = 10
_CANCEL_GRACE = 1.0
_DATETIMEOFFSET = -155

_NATIVE = {
    18456: LOGIN_FAILED,
    18452: LOGIN_FAILED,
    18470: LOGIN_FAILED,
    18486: LOGIN_FAILED,
    18487: LOGIN_FAILED,
    18488: LOGIN_FAILED,
    4060: DATABASE_MISSING,
    4064: DATABASE_MISSING,
    911: DATABASE_MISSING,
    208: VIEW_MISSING,
    4413: VIEW_MISSING,
    207: COLUMN_MISSING,
    229: PERMISSION_DENIED,
    230: PERMISSION_DENIED,
    916: PERMISSION_DENIED,
    1222: TIMEOUT,
    233: UNREACHABLE,
    10054: UNREACHABLE,
    10061: UNREACHABLE,
    20003: TIMEOUT,
    20004: UNREACHABLE,
    20006: UNREACHABLE,
    20009: UNREACHABLE,
    20017: UNREACHABLE,
    20047: UNREACHABLE,
}
_STATES = {
    "28000": LOGIN_FAILED,
    "08001": UNREACHABLE,
    "08S01": UNREACHABLE,
    "08004": UNREACHABLE,
    "08003": UNREACHABLE,
    "HYT00": TIMEOUT,
    "HYT01": UNREACHABLE,
    "42S02": VIEW_MISSING,
    "42S22": COLUMN_MISSING,
    "IM002": DRIVER_MISSING,
    "IM003": DRIVER_MISSING,
    "IM004": DRIVER_MISSING,
}
_DATA_ERRORS = frozenset({241, 242, 245, 248, 295, 8114, 8115})
"""Conversions inside the view: the server quotes the value it choked on."""
_NUMBER = re.compile(r"\((-?[0-9]+)\)")
_READ_COMMITTED_HINT = (
    "a writer may hold locks: ask the administrator for READ_COMMITTED_SNAPSHOT ON, or raise `timeout`"
)
_CERTIFICATE_HINT = (
    "the driver does not trust the server's certificate: install that of its authority on this machine; "
    "TrustServerCertificate=yes in `database` takes any certificate, and so any server in its place"
)


class SqlServerLink(Link):
    """One pyodbc connection."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self._cursor: Any = None
        self._canceller: threading.Thread | None = None

    def open_small_cursor(self) -> Any:
        """The cursor that a cancel is sent for."""
        self._cursor = self.raw.cursor()
        return self._cursor

    open_cursor = open_small_cursor

    def fetch(self, cursor: Any, size: int) -> list[RawRow]:
        """pyodbc's rows as plain tuples."""
        return list(map(tuple, cursor.fetchmany(size)))

    def break_off(self) -> None:
        """Ask the driver to cancel, in a thread of its own: it may wait for the server."""
        cursor = self._cursor
        if cursor is not None and self._canceller is None:
            self._canceller = threading.Thread(target=_cancel, args=(cursor,), name="cancel", daemon=True)
            self._canceller.start()

    def shut(self) -> None:
        """Close the connection, unless the driver is still cancelling on it: then it is left alone."""
        canceller = self._canceller
        if canceller is not None:
            canceller.join(_CANCEL_GRACE)
            if canceller.is_alive():
                return
        with suppress(Exception):  # a dead connection may say so in any class; it is gone
            self.raw.close()


def _value_as_text(value: object) -> object:
    if isinstance(value, bool):
        return "1" if value else "0"
    return value.isoformat() if isinstance(value, date) else value_as_text(value)


class SqlServer(Database):
    """A SQL Server database."""

    drivername = "mssql+pyodbc"

    syntax = Syntax("[", "]", "?", _value_as_text)

    def __init__(self, url: URL, view: str) -> None:
        super().__init__(url, view)
        self.url = self.url.update_query_dict(connection_options(dict(self.url.query)))

    def _secrets(self) -> tuple[str, ...]:
        return (*super()._secrets(), str(self.url.query.get("odbc_connect", "")))

    def connect(self, seconds: float) -> Link:
        """Connect, if the URL names a driver."""
        query = {name.casefold() for name in self.url.query}
        if "odbc_connect" not in query and "driver" not in query and self.url.database:
            raise fault(
                DRIVER_MISSING, self.place, "no driver is named", hint="add ?driver=FreeTDS to `database`"
            )
        return super().connect(seconds)

    def open(self, driver: Any, positional: Sequence[Any], named: Mapping[str, Any], seconds: float) -> Link:
        """Connect without a transaction. The driver's own query timeout comes after our deadline: it kills the link."""
        driver.pooling = False  # the driver manager's own; a broken connection would come back
        wait = max(1, min(_LONGEST_LOGIN, int(seconds)))
        raw = driver.connect(*positional, **(dict(named) | {"autocommit": True, "timeout": wait}))
        raw.timeout = math.ceil(seconds) + 1
        raw.add_output_converter(_DATETIMEOFFSET, read_datetimeoffset)
        return SqlServerLink(raw)

    def words(self, error: Exception) -> str:
        """The message without the drivers' bracketed names."""
        said = str(error.args[1]) if len(error.args) > 1 else str(error)
        return re.sub(r"^(\[[^\]]*\]\s*)+", "", said)

    def explain(self, error: Exception, *, connecting: bool) -> tuple[str | None, str, bool]:
        """By the first of the server's numbers that we know, then by SQLSTATE."""
        state = str(error.args[0]) if error.args else ""
        said = str(error.args[1]) if len(error.args) > 1 else str(error)
        if "Can't open lib" in said:
            return DRIVER_MISSING, "", False
        if "certificate verify failed" in said:
            return UNREACHABLE, _CERTIFICATE_HINT, False
        numbers = [int(number) for number in _NUMBER.findall(said)]
        known = [_NATIVE[number] for number in numbers if number in _NATIVE]
        code = known[0] if known else _STATES.get(state)
        if DATABASE_MISSING in known:  # with it comes, first or last, that the login failed
            code = DATABASE_MISSING
        if code == TIMEOUT and connecting:
            code = UNREACHABLE
        if (
            code is None and not connecting and "Unknown error (0)" in said
        ):  # a wire cut in the middle of a row
            code = UNREACHABLE
        hint = _READ_COMMITTED_HINT if code == TIMEOUT else ""
        return code, hint, not _DATA_ERRORS.isdisjoint(numbers)

    def write_rights(self, link: Link, view: str) -> list[str]:
        """By the server's own account of the login's permissions."""
        _, answer = link.ask(permissions.SQLSERVER, [view] * permissions.SQLSERVER_VIEWS)
        return permissions.in_words(answer[0], permissions.SQLSERVER_WORDS)

    def protection(self) -> str:
        """SQL Server has no read-only session: the login is what protects."""
        return "the login can only read"


def connection_options(query: dict[str, Any]) -> dict[str, str]:
    """What is added to a URL's options unless it says otherwise, by the driver it names."""
    if "odbc_connect" in query:
        return {}
    given = {name.casefold(): str(value).casefold() for name, value in query.items()}
    driver = given.get("driver", "")
    wanted = {"APP": "smsd"}
    if "freetds" in driver or "tdsodbc" in driver:
        # without a version FreeTDS tries one after the other, each for the whole login timeout
        wanted |= {"TDS_Version": "7.4", "ClientCharset": "UTF-8"}
    elif "sql server" in driver:
        wanted |= {"ApplicationIntent": "ReadOnly"}
    return {name: value for name, value in wanted.items() if name.casefold() not in given}


def read_datetimeoffset(raw: bytes | None) -> object:
    """A datetimeoffset as ODBC hands it over; one that Python cannot hold as text, to be listed as a bad date."""
    if raw is None:
        return None
    try:
        year, month, day, hour, minute, second, nanoseconds, hours, minutes = struct.unpack("<6hI2h", raw)
        zone = timezone(timedelta(hours=hours, minutes=minutes))
        return datetime(year, month, day, hour, minute, second, nanoseconds // 1000, zone)
    except (struct.error, ValueError):
        return raw.hex()


def _cancel(cursor: Any) -> None:
    with suppress(Exception):  # nothing to cancel, or gone already
        cursor.cancel()
