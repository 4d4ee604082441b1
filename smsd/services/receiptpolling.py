"""Asking a provider what became of messages, where it does not tell by itself.

What is asked after is looked up anew each turn, so that nothing is remembered that a crash could lose. What an answer
makes of a message is `receipts`' to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from smsd.services.ports import PartReceiptSink, Polled

log = structlog.get_logger(__name__)

MOST_A_TURN = 500
"""Messages asked after in one turn; those left come first in the next."""


@dataclass(frozen=True, slots=True)
class Unreported:
    """A message that a provider has, and of which nothing final is known. ``reference`` is the provider's id."""

    message_id: str
    handed_over_at: datetime
    reference: str


class UnreportedStore(Protocol):
    """What asking needs of the state store."""

    def unreported(self, gateway: str, after: Unreported | None, limit: int) -> list[Unreported]:
        """Accepted messages of a gateway by the provider's ids, handed over first first, beginning behind ``after``."""


class ReceiptPoller:
    """Asks one gateway's provider. One turn at a time."""

    def __init__(
        self,
        store: UnreportedStore,
        gateway: Polled,
        receipts: PartReceiptSink,
        *,
        interval: float,
        most: int = MOST_A_TURN,
    ) -> None:
        self.gateway = gateway.name
        self.interval = interval
        """Seconds from one turn to the next."""
        self._store = store
        self._provider = gateway
        self._receipts = receipts
        self._most = most
        self._last: Unreported | None = None
        """The last one asked after, while those behind it still wait for their turn."""

    def turn(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Ask after the messages that have waited longest and record what is told. Returns how many were asked after.

        A turn that a fault, the bound or ``stop`` cut short is gone on with by the next one, behind the message at
        which it ended; so neither a long queue nor one id that the provider chokes on keeps others from their turn.
        """
        waiting = self._waiting()
        if not waiting:
            self._last = None
            return 0
        asked = 0

        def ended() -> bool:
            nonlocal asked
            if stop():
                return True
            asked += 1
            return False

        receipts = self._provider.poll_receipts([one.reference for one in waiting], ended)
        if asked:
            whole = asked == len(waiting) < self._most
            self._last = None if whole else waiting[asked - 1]
        if receipts:
            self._receipts.receive_parts(receipts)
        log.info("receipts_asked_for", gateway=self.gateway, messages=asked, told=len(receipts))
        return asked

    def _waiting(self) -> Sequence[Unreported]:
        """Whose turn it is: those behind the last one, then those before it."""
        behind = self._store.unreported(self.gateway, self._last, self._most)
        if self._last is None or len(behind) == self._most:
            return behind
        known = {one.message_id for one in behind}
        first = self._store.unreported(self.gateway, None, self._most - len(behind))
        return behind + [one for one in first if one.message_id not in known]
