"""The services' fixture: a stage with one agency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.adapters.store.audit import AuditStore
from tests.services.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    assert AuditStore(made.database).verify().faults == []
    made.database.close()
