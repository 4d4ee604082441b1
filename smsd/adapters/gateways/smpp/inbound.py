"""What the message centre sends us: receipts to the sink, texts to the desk, and when each is acknowledged.

A receipt is acknowledged once it is recorded. One that cannot be recorded now is refused for a while, so that the
message centre delivers it again.
"""

from __future__ import annotations

import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import structlog

from smsd.adapters.gateways.smpp import statuses
from smsd.adapters.gateways.smpp.alphabets import decode_text
from smsd.adapters.gateways.smpp.inquiries import Inquiries
from smsd.adapters.gateways.smpp.receipts import is_receipt, looks_like_receipt, read_receipt
from smsd.adapters.gateways.smpp.wire import Deliveries
from smsd.core.errors import described
from smsd.core.model import PartReceipt
from smsd.services.ports import PartReceiptSink

log = structlog.get_logger(__name__)

Acknowledge = Callable[[int, Sequence[int], int], None]
"""Answers deliver_sm of a connection, by their sequence numbers, with a status."""

_MOST_WAITING = 20_000
"""Receipts that may wait for the sink; more are refused for a while."""
_MOST_AT_ONCE = 1_000
_PAUSE_AFTER_FAILURE = 0.2
"""Seconds before receipts are refused that could not be recorded, lest they come again at once for ever."""

_Read = tuple[int, int, PartReceipt]
"""A receipt with the connection and the sequence number by which it is acknowledged."""


class Inbound:
    """Sorts deliver_sm. `deliver`, `tick` and `idle` are called by the line's thread."""

    def __init__(
        self, gateway: str, sink: PartReceiptSink, inquiries: Inquiries, acknowledge: Acknowledge
    ) -> None:
        self.counts: Counter[str] = Counter()
        """What came, by kind; for the metrics."""
        self._gateway = gateway
        self._inquiries = inquiries
        self._acknowledge = acknowledge
        self._recorder = _Recorder(sink, acknowledge)

    def deliver(self, connection: int, deliveries: Deliveries, now: float) -> None:
        """Sort what was read in one go."""
        receipts: list[_Read] = []
        settled: list[int] = []
        for sequence, message in deliveries:
            if is_receipt(message):
                receipt = read_receipt(message, self._gateway)
                if receipt is None:
                    self._unreadable("unreadable_receipts", message.esm_class, len(message.octets))
                    settled.append(sequence)
                else:
                    receipts.append((connection, sequence, receipt))
            elif looks_like_receipt(decode_text(message.data_coding, message.octets)):
                # no mark of the message centre's: it proves nothing, and is no look-up either
                self._unreadable("unproven_receipts", message.esm_class, len(message.octets))
                settled.append(sequence)
            else:
                self.counts["inquiries"] += 1
                self._inquiries.take(connection, sequence, message, now)
        if settled:
            self._acknowledge(connection, settled, statuses.OK)
        if receipts:
            self._record(connection, receipts)

    def _record(self, connection: int, receipts: list[_Read]) -> None:
        if self._recorder.waiting + len(receipts) > _MOST_WAITING:
            self.counts["refused_receipts"] += len(receipts)
            self._acknowledge(connection, [sequence for _, sequence, _ in receipts], statuses.TRY_AGAIN)
            return
        self.counts["receipts"] += len(receipts)
        self._recorder.record(receipts)

    def _unreadable(self, kind: str, esm_class: int, octets: int) -> None:
        self.counts[kind] += 1
        count = self.counts[kind]
        if count & (count - 1) == 0:  # a message centre that always writes so is told of ever more rarely
            log.warning("smpp_receipt_unreadable", kind=kind, count=count, esm_class=esm_class, octets=octets)

    def tick(self, now: float) -> None:
        """Look-ups that wait for a part that does not come."""
        self._inquiries.tick(now)

    def idle(self) -> bool:
        """Whether all is acknowledged."""
        return self._recorder.waiting == 0 and self._inquiries.idle()

    def close(self) -> None:
        """Take no more."""
        self._recorder.close()
        self._inquiries.close()


class _Recorder:
    """The thread that records receipts, as many at once as have come meanwhile."""

    def __init__(self, sink: PartReceiptSink, acknowledge: Acknowledge) -> None:
        self._sink = sink
        self._acknowledge = acknowledge
        self._queue: queue.SimpleQueue[list[_Read] | None] = queue.SimpleQueue()
        self._taken = self._settled = 0
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many are not yet acknowledged."""
        return self._taken - self._settled

    def record(self, receipts: list[_Read]) -> None:
        """Record receipts and acknowledge them. Called by one thread."""
        self._taken += len(receipts)
        self._queue.put(receipts)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="smpp-receipts", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, after what is under way."""
        self._closed.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(0.5)

    def _run(self) -> None:
        while True:
            batch = self._queue.get()
            if batch is None:
                return
            some = list(batch)
            while len(some) < _MOST_AT_ONCE:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                if more is None:
                    self._queue.put(None)
                    break
                some += more
            self._record(some)

    def _record(self, some: list[_Read]) -> None:
        status = statuses.OK
        try:
            self._sink.receive_parts([receipt for _, _, receipt in some])
        except Exception as error:
            # whatever it was, they are not recorded, and the message centre keeps them for us
            log.error("smpp_receipts_not_recorded", receipts=len(some), **described(error))
            status = statuses.TRY_AGAIN
            self._closed.wait(_PAUSE_AFTER_FAILURE)
        by_connection: dict[int, list[int]] = defaultdict(list)
        for connection, sequence, _ in some:
            by_connection[connection].append(sequence)
        for connection, sequences in by_connection.items():
            self._acknowledge(connection, sequences, status)
        self._settled += len(some)
