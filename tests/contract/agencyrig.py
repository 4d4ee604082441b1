"""Agencies of every kind as the contract tests of readers and looks take them, the fake one of other tests included.

A real SQL Server is among them where SMSD_TEST_MSSQL_URL names one. Without it nothing stands for it: there the tests
with the suite's own responder have to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.services.ports import AgencyReader
from tests.contract.sqlserveragency import real_server
from tests.support.agencyviews import AgencyDatabase
from tests.support.fakereader import FakeAgency
from tests.support.summingreader import SummingReader

SOON = 5.0
"""Seconds: far more than an interrupted read needs, far less than the view hangs."""

SQLSERVER_URL = real_server(os.environ)
REAL_SQLSERVER = ("sqlserver",) if SQLSERVER_URL is not None else ()
KINDS = ("sqlite", "postgresql", *REAL_SQLSERVER, "fake")


@dataclass
class Rig:
    """One kind of agency, and how its view is opened."""

    kind: str
    agency: Any
    open: Callable[..., AgencyReader]

    @property
    def short(self) -> timedelta:
        """A deadline that leaves time to connect, and not much more."""
        return timedelta(seconds=2 if self.kind == "sqlserver" else 0.3)


def open_real(agency: AgencyDatabase, **changes: Any) -> AgencyReader:
    names = {"url": agency.url, "view": agency.view, "timeout": timedelta(seconds=30)} | changes
    return open_reader(AgencySource(agency="nha-trang", **names))


def open_fake(agency: FakeAgency, **changes: Any) -> AgencyReader:
    return SummingReader(agency, filters=changes.pop("filter", {}), **changes)


def a_row(number: int = 1, **changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "dossier_code": f"H32.12-260803-{number:04d}",
        "phone": "0905 123 456",
        "step": "Thẩm định",
        "status": "Đang xử lý",
        "procedure_code": "1.001",
        "procedure_name": "Đăng ký khai sinh",
        "received_at": "2026-07-29 08:15:00",
        "due_at": "2026-08-05 17:00:00",
        "resolved_at": None,
        "updated_at": "2026-08-01 10:00:00",
    }
    return row | changes


def held_up(reader: AgencyReader, seconds: float = 0.5) -> Callable[[], bool]:
    """A condition that comes true when one statement of the reader lasts: few logins may ask a server what waits."""
    statement: list[tuple[object, float]] = []

    def lasts() -> bool:
        link: Any = getattr(reader, "_link", None)
        if link is None or not link._busy:
            statement.clear()
            return False
        if not statement or statement[0][0] is not link._cursor:
            statement[:] = [(link._cursor, time.monotonic())]
        return time.monotonic() - statement[0][1] > seconds

    return lasts
