"""An office for every test, and logging put back as it was: commands configure it for their own process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
def _logging(logging_put_back: None) -> None:
    """Around every test here."""
