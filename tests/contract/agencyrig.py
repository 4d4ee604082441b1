"""Agencies of every kind as the contract tests of readers and looks take them, the fake one of other tests included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.services.ports import AgencyReader
from tests.support.agencyviews import AgencyDatabase
from tests.support.fakereader import FakeAgency
from tests.support.summingreader import SummingReader

SOON = 5.0
"""Seconds: far more than an interrupted read needs, far less than the view hangs."""


@dataclass
class Rig:
    """One kind of agency, and how its view is opened."""

    kind: str
    agency: Any
    open: Callable[..., AgencyReader]


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
