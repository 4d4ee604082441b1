"""HTTP requests over a few kept-alive connections, all in one thread: for a gateway that stands near and answers fast.

As with `httpexchange`, nothing is ever sent twice, no proxy is asked and every exchange ends in time, telling for
certain whether anything was sent. The next request leaves before it is told what the last answer was, so that a
connection never idles while the rest of the program has the interpreter. That matters more than it seems: Kannel's two
boxes talk over a connection on which one side holds small writes back (Nagle's algorithm) while the other delays its
acknowledgements for 40 ms, and only a steady stream of requests keeps them from waiting for each other.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from smsd.adapters.gateways.httpexchange import (
    FRESH,
    IDLE_SECONDS,
    LAST_PATIENCE,
    PATIENCE,
    Address,
    Answer,
    ExchangeError,
    NoAnswerError,
    NotSentError,
)
from smsd.adapters.gateways.httpreply import Reply
from smsd.adapters.gateways.opening import opened

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A whole request, and who is told its answer, exactly once, in the multiplexer's thread or by `submit`."""

    request: bytes = field(repr=False)
    end: Callable[[Answer | ExchangeError], None] = field(repr=False)


class Multiplexer:
    """Exchanges over at most so many connections, opened when they are needed. The thread starts with the first one."""

    def __init__(self, name: str, address: Address, *, connections: int, timeout: float) -> None:
        """``timeout``: seconds an exchange may take, with opening its connection."""
        self._name = name
        self.address = address
        self.timeout = timeout
        self._limit = connections
        self._tls = ssl.create_default_context() if address.tls else None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        # from here on the thread's own
        self.loop: asyncio.AbstractEventLoop
        self._waiting: deque[Exchange] = deque()
        self._opening: dict[asyncio.Task[None], Exchange] = {}
        self._busy: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._stopping = False

    def submit(self, exchanges: Sequence[Exchange]) -> None:
        """Queue exchanges; after `close` they are given back as not sent. From any thread."""
        with self._lock:
            if not self._closed and (self._thread is not None or self._start()):
                self.loop.call_soon_threadsafe(self._take, exchanges)
                return
            error = _not_begun() if self._closed else NotSentError("failed", "no thread can be started")
        for exchange in exchanges:
            self.tell(exchange, error)

    def close(self) -> None:
        """Give back what no connection has taken up, wait for answers, then cut what still hangs: 5 s at most."""
        with self._lock:
            first, self._closed = not self._closed, True
        if self._thread is None:
            return
        if first:
            self.loop.call_soon_threadsafe(self._stop)
        self._thread.join(PATIENCE + LAST_PATIENCE)

    # the thread

    def _start(self) -> bool:
        """Start it; False where no thread is to be had now."""
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._failed)
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.loop.close()
            log.error("gateway_failed", gateway=self._name, error=type(error).__name__)
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    def _failed(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A mistake of ours: what it concerned ends with its connection. The context may quote a request."""
        error = context.get("exception")
        log.error("gateway_failed", gateway=self._name, error=type(error).__name__)

    def tell(self, exchange: Exchange, result: Answer | ExchangeError) -> None:
        """End an exchange; a mistake of who is told costs no other exchange its end."""
        try:
            exchange.end(result)
        except Exception as error:
            log.error("gateway_failed", gateway=self._name, error=type(error).__name__)

    def _stop(self) -> None:
        self._stopping = True
        for exchange in self._waiting:
            self.tell(exchange, _not_begun())
        self._waiting.clear()
        self.loop.call_later(PATIENCE, self._cut_off)
        self.go_on()

    def _cut_off(self) -> None:
        for task, exchange in list(self._opening.items()):
            task.cancel()
            self.tell(exchange, _not_begun())
        self._opening.clear()
        for connection in list(self._busy):
            connection.fail(NoAnswerError("stopped", "smsd stopped before the answer came"))
        self.go_on()

    # which exchange goes over which connection

    def _take(self, exchanges: Sequence[Exchange]) -> None:
        if self._stopping:
            for exchange in exchanges:
                self.tell(exchange, _not_begun())
            return
        self._waiting.extend(exchanges)
        self.go_on()

    def go_on(self) -> None:
        """Give waiting exchanges to idle and new connections; once stopped and nothing is under way, end."""
        while self._waiting and (self._idle or len(self._opening) + len(self._busy) < self._limit):
            if self._idle:
                self.give_next(self._idle.pop())
            else:
                exchange = self._waiting.popleft()
                self._opening[self.loop.create_task(self._open_for(exchange))] = exchange
        if self._stopping and not self._busy and not self._opening:
            for connection in self._idle:
                connection.drop()
            self._idle.clear()
            # one turn later: what was cancelled lets go of its socket first
            self.loop.call_soon(self.loop.call_soon, self.loop.stop)

    def give_next(self, connection: _Connection) -> None:
        """Let a connection that is free have the next exchange, or rest."""
        if not connection.is_usable():
            self.let_go(connection)
        elif self._waiting:
            self._busy.add(connection)
            connection.begin(self._waiting.popleft())
        else:
            self._busy.discard(connection)
            self._idle.append(connection)
            connection.rest()

    def let_go(self, connection: _Connection) -> None:
        """Close a connection and forget it."""
        connection.drop()
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _open_for(self, exchange: Exchange) -> None:
        """Open a connection and begin the exchange on it."""
        until = self.loop.time() + self.timeout
        result = await opened(self.address, self._tls, lambda: _Connection(self), until)
        task = asyncio.current_task()
        if task is None or self._opening.pop(task, None) is None:
            return  # it has been given back meanwhile
        if isinstance(result, _Connection):
            self._busy.add(result)
            result.begin(exchange, until)
        else:
            self.tell(exchange, result)
            self.go_on()


def _not_begun() -> NotSentError:
    return NotSentError("stopped", "smsd is stopping")


class _Connection(asyncio.Protocol):
    """One connection for one exchange at a time."""

    def __init__(self, owner: Multiplexer) -> None:
        self._owner = owner
        self._transport: asyncio.Transport
        self._readable = select.poll()
        self._exchange: Exchange | None = None
        self._reply = Reply()
        self._unsent = False
        self._until = 0.0
        """When the exchange has to be over, or the connection has been idle for long enough."""
        self._used_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 # nosec B101 # for the type checker
        self._transport = transport
        self._readable.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._used_at = self._owner.loop.time()

    def is_usable(self) -> bool:
        """Whether the server has neither closed it nor said anything unasked, as far as can be seen now."""
        if self._transport.is_closing() or self._owner.loop.time() - self._used_at > FRESH:
            return False
        return not self._readable.poll(0)

    def begin(self, exchange: Exchange, until: float | None = None) -> None:
        """Send its request; ``until`` when its answer has to be there."""
        self._exchange = exchange
        self._reply = Reply()
        self._until = self._owner.loop.time() + self._owner.timeout if until is None else until
        if self._transport.is_closing():  # and perhaps closed: nobody would tell so once more
            self._unsent = True
            error = NotSentError("not_sent", f"{self._owner.address.authority} closed the connection at once")
            self._owner.loop.call_soon(self.fail, error)
            return
        self._transport.write(exchange.request)
        # a first write that failed let nothing out; TLS cannot tell that
        self._unsent = self._transport.is_closing() and not self._owner.address.tls
        self._watch()

    def rest(self) -> None:
        """Nothing is to be sent over it now."""
        self._until = self._owner.loop.time() + IDLE_SECONDS
        if self._timer is not None:  # it is an exchange's, which may take longer
            self._timer.cancel()
            self._timer = None
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A piece of the answer, or something unasked."""
        if self._exchange is None:
            self._owner.let_go(self)
            return
        error = self._reply.feed(data)
        if error is not None:
            self.fail(error)
        elif self._reply.complete:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is None:
            self._owner.let_go(self)
        elif self._unsent or exc is not None:
            reason = "closed" if exc is None else getattr(exc, "strerror", None) or type(exc).__name__
            authority = self._owner.address.authority
            if self._unsent:
                self.fail(NotSentError("not_sent", f"{authority}: {reason} while sending"))
            else:
                self.fail(NoAnswerError("connection_lost", f"{reason} while waiting for the answer"))
        elif self._reply.ends_with_connection:
            self._finish()
        else:
            self.fail(self._reply.cut_off())

    def fail(self, error: ExchangeError) -> None:
        """End the exchange without an answer, and the connection with it."""
        exchange, self._exchange = self._exchange, None
        self._owner.let_go(self)
        if exchange is not None:
            self._owner.tell(exchange, error)
        self._owner.go_on()

    def drop(self) -> None:
        """Close it now; what it waits for is lost."""
        self._transport.abort()

    def _finish(self) -> None:
        """The answer is whole: let the next request out, then tell."""
        exchange, self._exchange = self._exchange, None
        reply, self._used_at = self._reply, self._owner.loop.time()
        try:
            if not reply.may_follow:
                self._owner.let_go(self)
            elif self._owner.address.tls:
                # the end of TLS may have come in the same piece as the answer, and is told only after it
                self._owner.loop.call_soon(self._go_on)
            else:
                self._owner.give_next(self)
        finally:
            if exchange is not None:
                self._owner.tell(exchange, reply.answer())
        self._owner.go_on()

    def _go_on(self) -> None:
        if self._exchange is None:
            self._owner.give_next(self)
        self._owner.go_on()

    def _watch(self) -> None:
        """See to `_until`. A timer in hand may be early, and is set anew when it rings: most never have to."""
        if self._timer is None:
            self._timer = self._owner.loop.call_at(self._until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._owner.loop.time() < self._until:
            self._watch()
        elif self._exchange is None:
            self._owner.let_go(self)
        else:
            self.fail(NoAnswerError("answer_timeout", "no answer in time"))
