"""What waitress gets wrong for us: refusals that tell of the server, requests without end, one queue for every path.

Connections and the threads that work for them; who is let go when there are too many is `server`'s to say.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from smsd.adapters.web.app import InboundCalls

REQUEST_SECONDS = 30.0
"""A request not yet whole after so long never will be: senders that dribble are never silent."""
_AHEAD = 8
"""Requests taken from a connection before the first of them is answered; what follows is not read."""

_THREADS: Mapping[str, int] = {"receipts": 8, "lookups": 8, "metrics": 2}
_OTHER_THREADS = 2


class Lanes:
    """Threads for each kind of call: look-ups do not wait for receipts, which wait for the store's writer."""

    def __init__(self) -> None:
        self._lanes = {name: _a_lane(count) for name, count in _THREADS.items()}
        self._other = _a_lane(_OTHER_THREADS)

    def add_task(self, channel: Channel) -> None:
        """Queue a connection whose next request is whole."""
        self._lanes.get(channel.asks_for, self._other).add_task(channel)

    @property
    def active_count(self) -> int:
        """How many threads are at work."""
        return sum(lane.active_count for lane in (*self._lanes.values(), self._other))

    def set_thread_count(self, count: int) -> None:
        """As waitress asks; the numbers are ours."""

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> None:
        """Let the threads finish, all within the timeout."""
        lanes = (*self._lanes.values(), self._other)
        for lane in lanes:
            lane.set_thread_count(0)
        until = time.monotonic() + timeout
        for lane in lanes:
            lane.shutdown(cancel_pending, max(0.0, until - time.monotonic()))


def _a_lane(threads: int) -> Any:
    lane = ThreadedTaskDispatcher()
    lane.set_thread_count(threads)
    return lane


class _PlainRefusal(ErrorTask):  # type: ignore[misc]
    """A refusal that tells nothing of the server."""

    def execute(self) -> None:
        """Write it."""
        error = self.request.error
        self.channel.count("oversized" if error.code in (413, 431) else "malformed")
        body = f"{error.code} {error.reason}".encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "text/plain; charset=utf-8"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection. What is refused (too large, too slow, not HTTP) is counted."""

    error_task_class = _PlainRefusal
    calls: InboundCalls | None = None
    unfinished: Any = None
    """The request that is being received."""
    began = 0.0
    """When its first octet came."""

    def count(self, outcome: str) -> None:
        """Count what never reached the application."""
        if self.calls is not None:
            self.calls.count("other", outcome)

    @property
    def asks_for(self) -> str:
        """The first part of the path of the request whose turn it is; empty where there is none."""
        path = next((getattr(request, "path", "") for request in self.requests[:1]), "")
        return str(path).lstrip("/").split("/", 1)[0]

    @property
    def is_at_work(self) -> bool:
        """Whether a receipt or a look-up waits to be answered."""
        return self.asks_for in ("receipts", "lookups")

    def received(self, data: bytes) -> bool:
        """Take in what was read."""
        taken = bool(super().received(data))
        if self.request is not self.unfinished:
            self.unfinished, self.began = self.request, time.monotonic()
        if len(self.requests) > _AHEAD:
            self._leave_the_rest()
        return taken

    def _leave_the_rest(self) -> None:
        """Nobody needs to ask so much at once: the connection ends with the last request that is answered."""
        with self.requests_lock:
            del self.requests[_AHEAD:]
            self.request = self.unfinished = None
            if self.requests:
                self.requests[-1].headers["CONNECTION"] = "close"

    def let_go_if_slow(self) -> None:
        """End a request that takes too long to arrive."""
        late = self.unfinished is not None and time.monotonic() - self.began >= REQUEST_SECONDS
        if late and not self.requests:
            self.count("slow")
            self.handle_close()


def channels_counting_in(calls: InboundCalls | None) -> type[Channel]:
    """Connections that count in these counters."""
    return type("CountingChannel", (Channel,), {"calls": calls})
