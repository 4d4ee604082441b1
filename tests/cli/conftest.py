"""An office for every test, and logging put back as it was: commands configure it for their own process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cli.office import Office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An installation whose daemon has not run yet."""
    it = Office(tmp_path / "etc")
    yield it
    it.close()


@pytest.fixture
def baselined(office: Office) -> Office:
    """An installation whose agencies have been read once."""
    assert office.once() == 0
    return office


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
