"""A message centre and somebody who waits for answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.smppclient import Answers
from tests.support.smpppeer import SmppPeer


@pytest.fixture
def peer() -> Iterator[SmppPeer]:
    with SmppPeer() as running:
        yield running


@pytest.fixture
def answers() -> Answers:
    return Answers()
