"""The services of one configuration at work: threads that send, that ask for receipts, and for the daily jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import structlog

from smsd.core.errors import described
from smsd.services.ports import Connecting
from smsd.services.receiptpolling import ReceiptPoller
from smsd.wiring import System

log = structlog.get_logger(__name__)

_STOP_SECONDS = 7.0
"""How long a stop waits for what is under way, all together."""
_READS_WAIT = 1.5
_LAST_WRITES = 1.0
_LAST_TOLD = 0.5


class Running:
    """A `System` and its threads. Used once: what is stopped is not started again."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._stop = threading.Event()
        self._stop_by: float | None = None
        self._sending = threading.Thread(target=self._send, name="delivery", daemon=True)
        self._asking: list[threading.Thread] = []
        self._daily: threading.Thread | None = None

    def start(self) -> None:
        """Take up what the last process left, then send. After an error it may be tried again."""
        self.system.take_part()
        left = self.system.delivery.recover()
        if left:
            log.warning("answers_lost", messages=left)
        for gateway in self.system.gateways:
            if isinstance(gateway, Connecting):
                gateway.start()
        self._sending.start()
        for poller in self.system.receipt_pollers:
            name = f"receipts-{poller.gateway}"
            thread = threading.Thread(target=self._ask, args=(poller,), name=name, daemon=True)
            self._asking.append(thread)
            thread.start()

    def begin_stop(self) -> None:
        """Ask reading and sending to end, and wait for nothing."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + _STOP_SECONDS
        self._stop.set()
        self.system.delivery.wake()

    def stop(self) -> None:
        """End reading and sending, and wait for what is under way: eight seconds since `begin_stop` at most."""
        self.begin_stop()
        self.system.poller.stop(_READS_WAIT)
        if self._sending.is_alive():
            self._sending.join(self._time_left())
        for thread in self._asking:  # what a provider tells after that is asked for again
            thread.join(min(_LAST_TOLD, self._time_left()))
        # another program may hold the store: what is not written by then is lost with a log line, not waited for
        closing = threading.Thread(target=self.system.lookups.close, name="last-inquiries", daemon=True)
        closing.start()
        closing.join(max(_LAST_WRITES, self._time_left()))
        if closing.is_alive():
            log.warning("inquiries_not_written", reason="the state store is busy")

    def _time_left(self) -> float:
        return max(0.0, (self._stop_by or 0.0) - time.monotonic())

    def is_started(self) -> bool:
        """Whether the sending thread was started."""
        return self._sending.ident is not None

    def is_sending(self) -> bool:
        """Whether the sending thread is alive."""
        return self._sending.is_alive()

    def start_daily_jobs(self) -> None:
        """Run the daily jobs that are owed, beside the loop, once at a time."""
        if self._daily is None or not self._daily.is_alive():
            self._daily = threading.Thread(target=self._run_daily_jobs, name="daily", daemon=True)
            self._daily.start()

    def _send(self) -> None:
        self.system.delivery.run(self._stop.is_set)

    def _ask(self, poller: ReceiptPoller) -> None:
        while not self._stop.is_set():
            try:
                poller.turn(self._stop.is_set)
            except Exception as error:
                log.error("receipts_not_recorded", gateway=poller.gateway, **described(error))
            self._stop.wait(poller.interval)

    def _run_daily_jobs(self) -> None:
        for name, job in daily_jobs(self.system):
            if self._stop.is_set():
                return
            try:
                job()
            except Exception as error:
                log.error("daily_job_failed", job=name, **described(error))


def daily_jobs(system: System) -> Iterator[tuple[str, Callable[[], object]]]:
    """What may be owed each day, in the order in which it is run; each finds out by itself."""
    plans = system.installation.plans
    yield "missed_passes", lambda: system.missed_passes.tick(plans)
    yield "reconciliation", lambda: system.nightly.tick(plans, system.installation.report_agencies)
    yield "purge", system.upkeep.tick
