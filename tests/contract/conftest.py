"""Fixtures of the contract tests."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smsd.services.ports import AgencyReader
from tests.contract.agencyrig import KINDS, REAL_SQLSERVER, SQLSERVER_URL, Rig, open_fake, open_real
from tests.contract.sqlserveragency import SqlServerAgency
from tests.support.agencyviews import PostgresAgency, SqliteAgency
from tests.support.fakereader import FakeAgency

collect_ignore = [] if REAL_SQLSERVER else ["test_agencydb_sqlserver_real.py"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A loopback port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture(params=KINDS)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """An agency of each kind; its readers are closed after the test."""
    opened: list[AgencyReader] = []
    agency: Any
    make: Callable[..., AgencyReader]
    if request.param == "fake":
        agency, make = FakeAgency(), open_fake
    elif request.param == "sqlite":
        agency, make = SqliteAgency(tmp_path / "100% của ai? #1.db"), open_real
    elif request.param == "sqlserver":
        assert SQLSERVER_URL is not None
        agency, make = SqlServerAgency(SQLSERVER_URL), open_real
    else:
        agency = PostgresAgency(request.getfixturevalue("postgres"), request.getfixturevalue("pg_database"))
        make = open_real

    def opening(**changes: Any) -> AgencyReader:
        opened.append(make(agency, **changes))
        return opened[-1]

    yield Rig(request.param, agency, opening)
    for reader in opened:
        reader.close()
    agency.close()
