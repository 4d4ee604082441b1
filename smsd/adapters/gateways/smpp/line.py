"""The thread that holds the connection: it connects, again if need be, and is the only one to touch a session.

Other threads leave what they want in an inbox and wake it. Every message offered ends in one outcome, whatever
becomes of the connection.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from smsd.adapters.gateways.smpp.connection import ConnectError, Endpoint, connect
from smsd.adapters.gateways.smpp.session import Ending, Session, Timings
from smsd.adapters.gateways.smpp.submission import Submission
from smsd.adapters.gateways.smpp.window import Window
from smsd.adapters.gateways.smpp.wire import Deliveries, Wire
from smsd.core.errors import described
from smsd.core.model import Outcome, Verdict
from smsd.core.outbox import LONGEST_GATEWAY_WAIT, STOPPED_LINK_WAIT, backoff

log = structlog.get_logger(__name__)

_ACCOUNT_WAIT = STOPPED_LINK_WAIT.total_seconds()
"""Seconds until a refused account is tried again unasked; a message to send tries it sooner."""
_SPACING = 1.0
"""Seconds between two tries of a refused account, whatever is asked."""
_GOOD_AFTER = 30.0
"""A session that lasted so many seconds was no failure."""
_LONGEST_SLEEP = 1.0
_STOPPING_SLEEP = 0.05
_PATIENCE = 3.0
"""Seconds `stop` waits for answers, before the unbind and what goes with it."""
_STOPPED = Ending("stopped", "smsd is stopping")
_CUT = Ending("stopped", "smsd stopped before the answer came")


class Correspondent(Protocol):
    """Takes what the message centre sends. Called by the line's thread; must not block."""

    def deliver(self, connection: int, deliveries: Deliveries, now: float) -> None:
        """Take deliver_sm of a connection, each to be acknowledged by `Line.acknowledge` once."""

    def tick(self, now: float) -> None:
        """Some time has passed."""

    def idle(self) -> bool:
        """Whether nothing waits to be acknowledged."""


@dataclass(frozen=True, slots=True)
class _Acknowledgement:
    connection: int
    sequences: Sequence[int]
    status: int


class Line:
    """The connection of one gateway. `offer`, `acknowledge` and `stop` may be called from any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        bind: bytes,
        *,
        window: int,
        timings: Timings,
        finish: Callable[[Submission, Outcome], None],
        correspondent: Correspondent,
    ) -> None:
        self.bound = False
        self.fault: Ending | None = None
        """Why the last session ended, if there is none now."""
        self._endpoint = endpoint
        self._bind = bind
        self._timings = timings
        self._finish = finish
        self._correspondent = correspondent
        self._window = Window(window, timings.answer_timeout, finish)
        self._inbox: deque[Submission | _Acknowledgement] = deque()
        self._patient: deque[Submission] = deque()
        """Messages that wait for a session; others are given back."""
        self._connection = 0
        self._failures = 0
        self._next_try = 0.0
        self._last_try = -_SPACING
        self._asleep = False
        self._stopping = False
        self._stop_by = 0.0
        self._woken_end, self._wake_end = socket.socketpair()
        self._woken_end.setblocking(False)
        self._wake_end.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken_end, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="smpp", daemon=True)

    def start(self) -> None:
        """Connect, and stay connected."""
        self._thread.start()

    # from any thread

    def offer(self, submissions: Sequence[Submission]) -> None:
        """Submit messages in their turn."""
        self._inbox.extend(submissions)
        if self._asleep:
            self._wake()

    def acknowledge(self, connection: int, sequences: Sequence[int], status: int) -> None:
        """Answer deliver_sm of a connection; of one that has ended they are forgotten, to be delivered again."""
        self._inbox.append(_Acknowledgement(connection, sequences, status))
        if self._asleep:
            self._wake()

    def stop(self, patience: float) -> None:
        """Wait for answers, unbind and end the thread, within so many seconds."""
        self._stop_by = time.monotonic() + min(_PATIENCE, patience)
        self._stopping = True
        self._wake()
        self._thread.join(patience)

    def _wake(self) -> None:
        with suppress(OSError):  # full: it is awake as it is
            self._wake_end.send(b"\0")

    # the thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self._may_try(time.monotonic()):
                    self._hold_session()
                else:
                    self._turn_away()
                    self._sleep(self._next_try - time.monotonic())
                self._correspondent.tick(time.monotonic())
            except Exception as error:
                # a mistake of ours must cost neither the thread nor a message's end
                log.error("smpp_line_failed", **described(error))
                self._rest_after(Ending("failed", type(error).__name__))
        self._turn_away()
        self._selector.close()
        self._woken_end.close()
        self._wake_end.close()

    def _may_try(self, now: float) -> bool:
        if now >= self._next_try:
            return True
        refused = self.fault is not None and self.fault.verdict is Verdict.ACCOUNT
        asked_for = any(isinstance(item, Submission) and not item.waits_until for item in tuple(self._inbox))
        return refused and asked_for and now >= self._last_try + _SPACING

    def _sleep(self, seconds: float) -> Sequence[tuple[selectors.SelectorKey, int]]:
        """Until something happens, or for so long."""
        self._asleep = True
        wait = 0.0 if self._inbox else min(max(seconds, 0.0), _LONGEST_SLEEP)
        events = self._selector.select(wait)
        self._asleep = False
        if any(key.fileobj is self._woken_end for key, _ in events):
            with suppress(BlockingIOError):
                self._woken_end.recv(65536)
        return events

    def _turn_away(self) -> None:
        """Without a session: give back what was offered."""
        now = time.monotonic()
        why = _STOPPED if self._stopping or self.fault is None else self.fault
        wait: float | None = max(0.0, self._next_try - now) if why.verdict is Verdict.RETRY else None
        waiting = [*self._patient, *(self._inbox.popleft() for _ in range(len(self._inbox)))]
        self._patient.clear()
        for item in waiting:
            if not isinstance(item, Submission):
                continue
            if now < item.waits_until and not self._stopping:
                self._patient.append(item)
                continue
            # one of them tells how long to wait: each that does would count as a failure of its own
            self._finish(item, Outcome(why.verdict, why.code, why.detail, retry_after=wait))
            wait = None

    # a session

    def _hold_session(self) -> None:
        """Connect, bind, and go on until the session ends."""
        begun = self._last_try = time.monotonic()
        try:
            connection = connect(self._endpoint, self._timings.connect_timeout, lambda: self._stopping)
        except ConnectError as error:
            self._rest_after(Ending(error.code, error.detail, error.verdict))
            return
        now = time.monotonic()
        session = Session(self._bind, self._window, self._timings, now)
        self._connection += 1
        wire = Wire(connection, self._selector, session)
        self._inbox.extend(self._patient)
        self._patient.clear()
        ending = Ending("failed", "the session failed")
        try:
            while session.ended is None:
                self._turn(session, wire)
            ending = session.ended
        finally:
            self.bound = False
            wire.close()
            if session.proven or time.monotonic() - begun >= _GOOD_AFTER:
                self._failures = 0
            self._rest_after(ending)
            told = _CUT if self._stopping else ending
            self._window.lost(session.sent_octets, told.code, told.detail, ending.verdict)

    def _turn(self, session: Session, wire: Wire) -> None:
        """Wait for something, and do what it asks for."""
        now = time.monotonic()
        unread = wire.unread
        wait = _STOPPING_SLEEP if self._stopping else session.deadline(now) - now
        events = self._sleep(0.0 if unread or wire.unwritten else wait)
        now = time.monotonic()
        was_bound = session.bound
        deliveries: Deliveries = []
        if unread or any(key.fd == wire.fd for key, _ in events):
            deliveries = wire.read(now)
        if session.bound and not was_bound:
            self.bound, self.fault = True, None
            log.info("smpp_bound", peer=str(self._endpoint))
        self._take_inbox(session)
        session.fill(now)
        deliveries += wire.write(now)
        if deliveries:
            self._correspondent.deliver(self._connection, deliveries, now)
        session.tick(now)
        self._correspondent.tick(now)
        if self._stopping:
            self._take_leave(session, now)

    def _take_inbox(self, session: Session) -> None:
        inbox = self._inbox
        for _ in range(len(inbox)):
            item = inbox.popleft()
            if isinstance(item, Submission):
                self._window.offer(item)
            elif item.connection == self._connection:
                session.acknowledge(item.sequences, item.status)

    def _take_leave(self, session: Session, now: float) -> None:
        """Begin nothing more; unbind when all is answered, or when that takes too long."""
        self._window.give_back(_STOPPED.code, _STOPPED.detail)
        if not session.bound:
            session.lost(_STOPPED.detail)
        elif now >= self._stop_by or (self._window.idle and self._correspondent.idle() and not self._inbox):
            session.leave(now)

    def _rest_after(self, ending: Ending) -> None:
        self.fault = ending
        self._failures += 1
        first = timedelta(seconds=self._timings.reconnect_after)
        wait = backoff(self._failures, first, LONGEST_GATEWAY_WAIT).total_seconds()
        if ending.verdict is Verdict.ACCOUNT:
            wait = _ACCOUNT_WAIT
        self._next_try = time.monotonic() + wait
        if not self._stopping:
            log.warning("smpp_disconnected", code=ending.code, detail=ending.detail, seconds=round(wait, 2))
