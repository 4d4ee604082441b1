"""What stands around a gateway in a test: who hears outcomes, who takes receipts and who answers look-ups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.core.model import Outcome, PartReceipt
from smsd.core.policy import Encoding
from smsd.services.ports import LookupRequest, Outgoing
from tests.support.builders import NOW

PHONE = "84905123456"
SHORT = "Thong bao: Ho so cua quy Ong/Ba (H32-1) da co ket qua"
LONG = "Thông báo: Hồ sơ của quý Ông/Bà (H32-1) đã được giải quyết xong. Mời Ông/Bà đến Bộ phận Một cửa để nhận kết quả"
"""Two segments with diacritics."""


class Waiting:
    """Something that changes in other threads and can be waited for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def wait(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        """Until a condition holds; fails the test when it does not in time."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "the condition did not come true in time"


class Answers(Waiting):
    """Outcomes by message, every one of them, so that two of one message are seen."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, Outcome]] = []

    def done(self, message_id: str, outcome: Outcome) -> None:
        with self._changed:
            self.all.append((message_id, outcome))
            self._changed.notify_all()

    def of(self, message_id: str) -> Outcome:
        """The outcome of a message; waits for it."""
        self.wait(lambda: any(id_ == message_id for id_, _ in self.all))
        outcomes = [outcome for id_, outcome in self.all if id_ == message_id]
        assert len(outcomes) == 1, outcomes
        return outcomes[0]

    def wait_for(self, count: int, seconds: float = 15.0) -> None:
        self.wait(lambda: len(self.all) >= count, seconds)

    def verdicts(self) -> list[str]:
        return [outcome.verdict.value for _, outcome in self.all]


class Sink(Waiting):
    """Takes receipts; ``broken`` makes it fail, ``gate`` holds it up."""

    def __init__(self) -> None:
        super().__init__()
        self.receipts: list[PartReceipt] = []
        self.batches = 0
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        assert self.gate.wait(15)
        if self.broken:
            raise OSError("database is locked")
        with self._changed:
            self.batches += 1
            self.receipts.extend(receipts)
            self._changed.notify_all()


class Desk(Waiting):
    """Answers every look-up with a text; ``broken`` makes it fail."""

    def __init__(self, answer: str = "Ho so H32-1 dang o buoc Tham dinh") -> None:
        super().__init__()
        self.text = answer
        self.asked: list[LookupRequest] = []
        self.broken = False

    def answer(self, request: LookupRequest) -> str:
        with self._changed:
            self.asked.append(request)
            self._changed.notify_all()
        if self.broken:
            raise OSError("database is locked")
        return self.text


def an_outgoing(id: str = "m1", text: str = SHORT, phone: str = PHONE, *, repeat: bool = False) -> Outgoing:  # noqa: A002
    return Outgoing(id, phone, text, "result_ready", "nha-trang", "H32-1", NOW, 1, repeat)


def many(count: int, text: str = SHORT) -> list[Outgoing]:
    return [an_outgoing(f"m{number}", text) for number in range(count)]


@contextmanager
def a_gateway(port: int, **changes: Any) -> Iterator[SmppGateway]:
    """A gateway with short waits, closed at the end."""
    settings: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": port,
        "system_id": "smsd",
        "password": "sesame",
        "sender": "MotcuaSMS",
        "encoding": Encoding.UNACCENTED,
        "number_format": "84",
        "receipts": Sink(),
        "reconnect_after": 0.05,
    }
    gateway = SmppGateway(**(settings | changes))
    try:
        yield gateway
    finally:
        gateway.close()
