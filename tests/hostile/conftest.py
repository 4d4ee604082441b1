"""The attacked office; whatever comes, its log holds no secret, no number, no traceback and no raw input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.hostile.office import SECRETS, Attacked


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    with capture_logs() as logs:
        office = Attacked(tmp_path)
        yield office
        office.close()
    said = str(logs)
    assert not any(secret in said for secret in SECRETS)
    assert "84905" not in said and "MCKH" not in said and "Traceback" not in said
    assert [entry for entry in logs if entry["event"] == "inbound_call_failed"] == []
