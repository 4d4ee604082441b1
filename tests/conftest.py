"""Fixtures of every test: PostgreSQL is real, made once per test process and only when a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.builders import FixedClock
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The run's own PostgreSQL server. Tests that stop it must start it again."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop("immediate")


@pytest.fixture
def pg_database(postgres: PostgresServer) -> Iterator[str]:
    """The name of an empty PostgreSQL database, removed after the test."""
    name = postgres.database()
    yield name
    postgres.drop(name)


@pytest.fixture
def clock() -> FixedClock:
    """A clock that stands still until a test moves it."""
    return FixedClock()
