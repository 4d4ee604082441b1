"""Every gateway, set up so that one suite can hold them all to the port."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from smsd.core.policy import Encoding
from smsd.services.ports import Gateway
from tests.contract.gateways.support import PASSWORD, SECRET, a_kannel, a_spool
from tests.support.fakegateway import ACCOUNT, HELD, LOST, REJECTED, RETRY, FakeGateway
from tests.support.httpgateway import HttpGateway


@dataclass
class Stand:
    """A gateway and what stands behind it. ``sent`` gives (number, text) as they left; ``fail`` scripts a fault."""

    gateway: Gateway
    sent: Callable[[], list[tuple[str, str]]]
    fail: dict[str, Callable[[], object]]


@contextmanager
def _spool(folder: Path, encoding: Encoding) -> Iterator[Stand]:
    directory = folder / "spool"
    gateway = a_spool(directory)

    def sent() -> list[tuple[str, str]]:
        lines = [line for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]
        return [(record["to"], record["text"]) for record in map(json.loads, lines)]

    def in_the_way() -> None:
        directory.write_text("a file where the directory should be")

    yield Stand(gateway, sent, {"retry": in_the_way})
    gateway.close()


@contextmanager
def _kannel(folder: Path, encoding: Encoding) -> Iterator[Stand]:
    with HttpGateway() as server:
        gateway = a_kannel(server.url, encoding=encoding)
        faults = {
            "retry": "unavailable",
            "rejected": "misformed",
            "account": "refuse_account",
            "unknown": "close_taken",
            "hang": "hang",
        }
        yield Stand(
            gateway,
            lambda: [(message.to, message.text) for message in server.messages],
            {fault: lambda reply=reply: server.next(reply) for fault, reply in faults.items()},
        )
        gateway.close()


@contextmanager
def _fake(folder: Path, encoding: Encoding) -> Iterator[Stand]:
    gateway = FakeGateway()
    faults = {"retry": RETRY, "rejected": REJECTED, "account": ACCOUNT, "unknown": LOST, "hang": HELD}
    yield Stand(
        gateway,
        lambda: [(message.phone, message.text) for message in gateway.taken],
        {
            fault: lambda reaction=reaction: gateway.script(reaction, times=1)
            for fault, reaction in faults.items()
        },
    )
    gateway.close()


STANDS = {"spool": _spool, "kannel": _kannel, "fake": _fake}


@pytest.fixture
def open_stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    """Opens a gateway by its name; whatever it does, no secret and no number may come into the log."""
    with capture_logs() as logs, ExitStack() as stack:

        def open_one(name: str, encoding: Encoding = Encoding.UNICODE) -> Stand:
            return stack.enter_context(STANDS[name](tmp_path, encoding))

        yield open_one
    said = json.dumps(logs, default=str)
    assert PASSWORD not in said
    assert SECRET not in said
    assert "84905" not in said


@pytest.fixture
def server() -> Iterator[HttpGateway]:
    with HttpGateway() as gateway:
        yield gateway
