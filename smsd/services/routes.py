"""Several gateways in order of preference: the first whose link is well sends, the others stand by.

Each gateway has a delivery of its own, which tells what became of the messages it handed over. A later one claims
messages only while every link before it has been in trouble for longer than its `failover_after`; a link in trouble
goes on trying one message now and then, and is back when one is taken. A message whose answer was lost stays with the
gateway that may have it (`Change.unbound`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog

from smsd.core.model import PartReceipt, Receipt
from smsd.services.delivery import Delivery

log = structlog.get_logger(__name__)


class Routes:
    """The deliveries of all gateways as one."""

    def __init__(self, deliveries: Sequence[Delivery], patience: Sequence[timedelta]) -> None:
        """``patience``: how long each link may be in trouble before the next takes over."""
        self.deliveries = tuple(deliveries)
        self._patience = tuple(patience)
        self._in_use = 0
        for place, delivery in enumerate(self.deliveries):
            delivery.may_send = self._turn_of(place)

    def _turn_of(self, place: int) -> Callable[[], bool]:
        # the first has always its turn: a link in trouble limits itself to a try now and then
        return lambda: all(map(self._given_up, range(place)))

    def _given_up(self, place: int) -> bool:
        return self.deliveries[place].trouble_for() >= self._patience[place].total_seconds()

    def in_use(self) -> str:
        """The name of the gateway that sends now; a change is logged."""
        last = len(self.deliveries) - 1
        place = next((p for p in range(last) if not self._given_up(p)), last)
        if place != self._in_use:
            before, self._in_use = self.deliveries[self._in_use], place
            log.warning(
                "gateway_changed", sends=self.deliveries[place].gateway.name, instead_of=before.gateway.name
            )
        return self.deliveries[place].gateway.name

    # life

    def recover(self) -> int:
        """After a start: what was in `sending` may have been handed over. Returns how many."""
        return self.deliveries[0].recover()

    def run(self, stop: Callable[[], bool]) -> None:
        """Pump every gateway until told to stop, then wait for what is under way."""
        others = [
            threading.Thread(target=delivery.run, args=(stop,), name=delivery.gateway.name, daemon=True)
            for delivery in self.deliveries[1:]
        ]
        for thread in others:
            thread.start()
        self.deliveries[0].run(stop)
        for thread in others:
            thread.join()

    def wake(self) -> None:
        """There are new messages. From any thread."""
        for delivery in self.deliveries:
            delivery.wake()

    def drain(self) -> None:
        """Send everything that may go now."""
        for delivery in self.deliveries:
            delivery.drain()

    def close(self) -> None:
        """Wait for the gateways' last answers, all at once, and record them."""
        closing = [threading.Thread(target=delivery.close) for delivery in self.deliveries]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    @property
    def in_trouble(self) -> bool:
        """Whether no gateway is well."""
        return all(delivery.in_trouble for delivery in self.deliveries)

    # receipts and age

    def receive(self, receipt: Receipt) -> str:
        """Record a proven receipt, whichever gateway it comes from."""
        return self.deliveries[0].receive(receipt)

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts that name parts by the provider's ids."""
        self.deliveries[0].receive_parts(receipts)

    def age(self) -> None:
        """Let time do to messages what it does, and see which gateway sends."""
        for delivery in self.deliveries:
            delivery.age()
        self.in_use()
