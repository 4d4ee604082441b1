"""Fixtures of every test: PostgreSQL is real, made once per test process and only when a test asks for it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.support.builders import FixedClock
from tests.support.postgres import PostgresServer
from tests.support.reliability import Record, record_from_environment


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The run's own PostgreSQL server. Tests that stop it must start it again."""
    # not below pytest's own folder, which every run closes to the server's user again
    with tempfile.TemporaryDirectory(prefix="smsd-postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresServer(Path(folder))
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


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """Commands configure logging for their own process; here it is put back after them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def reliability() -> Record:
    """Where tests of faults write what they measured."""
    return record_from_environment()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep an `xdist_group` on one worker: xdist names it in ``_nodeid``, which pytest reads no more from 9.2 on."""
    for item in items:
        named = vars(item).get("_nodeid")
        if named is not None and named != item.nodeid:
            item._id = type(item.id).parse(named)
