"""The store's fixtures: every test of what it promises runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.adapters.store.engine import Database
from tests.store.empty import copy_empty_store, empty_again
from tests.support.postgres import PostgresServer


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'smsd.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of a store that nobody has opened yet."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    server = request.getfixturevalue("postgres")
    return str(server.url(request.getfixturevalue("pg_database")))


@pytest.fixture(scope="module")
def pg_store(postgres: PostgresServer) -> Iterator[str]:
    """The address of a migrated PostgreSQL store that the tests of a module share, one after the other."""
    name = postgres.database()
    database = Database(postgres.url(name))
    database.open()
    database.close()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An open, empty store of either kind."""
    if request.param == "sqlite":
        copy_empty_store(tmp_path / "smsd.db")
        made = Database(f"sqlite:///{tmp_path / 'smsd.db'}")
    else:
        made = Database(request.getfixturevalue("pg_store"))
        made.open()
        empty_again(made)
    yield made
    made.close()
