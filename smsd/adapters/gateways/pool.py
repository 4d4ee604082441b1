"""Messages under way over a few kept-alive connections, each with a thread of its own.

Every message is answered exactly once, whoever is first: its sender, or the pool being closed. What is sent and what an
answer means is the gateway's business.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from smsd.adapters.gateways.httpexchange import IDLE_SECONDS, LAST_PATIENCE, PATIENCE, Line
from smsd.core.model import Outcome, Verdict
from smsd.services.ports import Done, Outgoing

log = structlog.get_logger(__name__)

_STOPPING = Outcome(Verdict.RETRY, "stopped", "smsd is stopping")
_CUT_OFF = Outcome(Verdict.UNKNOWN, "stopped", "smsd stopped before the answer came")


class Attempt:
    """One message under way."""

    def __init__(self, message: Outgoing, done: Done) -> None:
        self.message = message
        self._done = done
        self._lock = threading.Lock()
        self._answered = False
        self._begun = False

    def begin(self) -> bool:
        """The first byte is about to leave; False if it no longer may."""
        with self._lock:
            self._begun = not self._answered
            return self._begun

    def take_back(self) -> None:
        """What was sent is known not to have been taken."""
        with self._lock:
            self._begun = False

    def answer(self, outcome: Outcome) -> None:
        """Tell what became of it."""
        with self._lock:
            if self._answered:
                return
            self._answered = True
        self._done(self.message.id, outcome)

    def give_up(self) -> None:
        """Nobody waits any longer; from here on nothing more may begin."""
        with self._lock:
            if self._answered:
                return
            self._answered = True
            outcome = _CUT_OFF if self._begun else _STOPPING
        self._done(self.message.id, outcome)

    def failed(self, word: str) -> Outcome:
        """The outcome when something of ours went wrong."""
        return Outcome(Verdict.UNKNOWN if self._begun else Verdict.RETRY, "failed", word)


Send = Callable[[Line, Attempt], Outcome]
"""Sends one message over a connection; raises nothing that is foreseen."""


class SenderPool:
    """As many senders as connections, started with the first message."""

    def __init__(self, name: str, connections: int, new_line: Callable[[], Line], send: Send) -> None:
        self.window = 2 * connections
        """One message under way and one at hand for each connection."""
        self._name = name
        self._connections = connections
        self._new_line = new_line
        self._send = send
        self._waiting: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._senders: list[_Sender] = []
        self._closed = False

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Queue messages; after `close` they are given back."""
        attempts = [Attempt(message, done) for message in messages]
        with self._lock:
            closed = self._closed
            for attempt in () if closed else attempts:
                self._waiting.put(attempt)
            if attempts and not closed:
                self._start()
        for attempt in attempts if closed else ():
            attempt.answer(_STOPPING)

    def close(self) -> None:
        """Give back what no sender has taken up, wait for answers, then cut what still hangs: 5 s at most."""
        with self._lock:
            self._closed = True
            senders = list(self._senders)
        until = time.monotonic() + PATIENCE
        for attempt in self._not_taken_up():
            attempt.answer(_STOPPING)
        for _ in senders:
            self._waiting.put(None)
        _join(senders, until)
        for sender in senders:
            sender.cut_off()
        _join(senders, until + LAST_PATIENCE)

    def _start(self) -> None:
        while len(self._senders) < self._connections:
            sender = _Sender(self._name, self._new_line(), self._send, self._waiting)
            self._senders.append(sender)

    def _not_taken_up(self) -> list[Attempt]:
        found = []
        try:
            while True:
                attempt = self._waiting.get_nowait()
                if attempt is not None:
                    found.append(attempt)
        except queue.Empty:
            return found


def _join(senders: Sequence[_Sender], until: float) -> None:
    for sender in senders:
        sender.thread.join(max(0.0, until - time.monotonic()))


class _Sender:
    def __init__(self, name: str, line: Line, send: Send, waiting: queue.SimpleQueue[Attempt | None]) -> None:
        self._name = name
        self._line = line
        self._send = send
        self._waiting = waiting
        self._attempt: Attempt | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def cut_off(self) -> None:
        """End what is still under way."""
        attempt = self._attempt
        if attempt is not None:
            attempt.give_up()
            self._line.abort()

    def _run(self) -> None:
        while True:
            attempt = self._next()
            if attempt is None:
                self._line.close()
                return
            self._attempt = attempt
            attempt.answer(self._outcome(attempt))
            self._attempt = None

    def _next(self) -> Attempt | None:
        try:
            return self._waiting.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            self._line.close()
            return self._waiting.get()

    def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            return self._send(self._line, attempt)
        except Exception as error:
            # a mistake of ours must cost neither the thread nor a message's end
            self._line.close()
            log.error("gateway_failed", gateway=self._name, error=type(error).__name__)
            return attempt.failed(type(error).__name__)
