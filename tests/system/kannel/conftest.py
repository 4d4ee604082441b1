"""An operator's message centre, and Kannel in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kannel import PASSWORD, Kannel
from tests.support.postgres import free_port
from tests.support.smpppeer import SmppPeer


@pytest.fixture
def peer() -> Iterator[SmppPeer]:
    """The operator's message centre; receipts as most write them, in the text."""
    with SmppPeer(password=PASSWORD, receipts="text") as centre:
        yield centre


@pytest.fixture
def inbound_port() -> int:
    """Where smsd listens, if it runs."""
    return free_port()


@pytest.fixture
def kannel(tmp_path: Path, peer: SmppPeer, inbound_port: int) -> Iterator[Kannel]:
    """Kannel as printed, connected to the message centre; numbers that begin with 8499 have no route."""
    routes = [("smsc", {"denied-prefix": "8499"})]
    folder = tmp_path / "kannel"
    with Kannel(folder, smsc_port=peer.port, inbound_port=inbound_port, more=routes) as running:
        running.start()
        yield running
