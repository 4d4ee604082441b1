"""The reports' fixtures: a store's tables in SQLite, and for what SQL decides in PostgreSQL too."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsd.services.reporting import ReportService
from tests.reports.report_builders import ReportDatabase, a_service


@pytest.fixture
def database(tmp_path: Path) -> ReportDatabase:
    return ReportDatabase(f"sqlite:///{tmp_path / 'store.db'}")


@pytest.fixture(params=["sqlite", "postgresql"])
def either_database(request: pytest.FixtureRequest, tmp_path: Path) -> ReportDatabase:
    if request.param == "sqlite":
        return ReportDatabase(f"sqlite:///{tmp_path / 'store.db'}")
    server = request.getfixturevalue("postgres")
    return ReportDatabase(server.url(request.getfixturevalue("pg_database")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "reports"


@pytest.fixture
def service(database: ReportDatabase, folder: Path) -> ReportService:
    return a_service(database, folder)
