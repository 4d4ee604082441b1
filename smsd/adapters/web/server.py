"""The inbound listener: waitress in a thread of its own, with limits, stopped within a moment.

What is served is `app`'s; here are sockets, limits and the refusals that never reach the application.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any
from wsgiref.types import WSGIApplication

import structlog
from waitress import wasyncore
from waitress.server import create_server

from smsd.adapters.web.app import LARGEST_BODY, InboundCalls
from smsd.adapters.web.channels import Channel, Lanes, channels_counting_in
from smsd.core.errors import SmsdError

log = structlog.get_logger(__name__)

_CONNECTIONS = 200
_ROOM = 20
"""So many more connections may always come: others are closed for them."""
_BACKLOG = 4096
"""Connections that may wait to be accepted; callers for whom there is no room hear nothing for a second or three."""
_ACCEPTED_AT_ONCE = 16
_IDLE_SECONDS = 30
_LARGEST_HEADER = 32 * 1024
_TICK = 0.5
_LAST_WORDS = 0.5
"""Seconds for which answers are still written out when the listener closes."""


class ListenError(SmsdError):
    """The inbound listener cannot listen where it is told to."""


class InboundServer:
    """Serves an application on ``host:port`` (port 0: any) until closed."""

    def __init__(self, listen: str, app: WSGIApplication, calls: InboundCalls | None = None) -> None:
        self.listen = listen
        self._app = app
        self._calls = calls
        self._map: dict[int, Any] = {}
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        """Listen and serve in a thread. Raises `ListenError` if the address cannot be had."""
        logging.getLogger("waitress").setLevel(
            logging.CRITICAL
        )  # tells of peers and paths; calls are counted here
        try:
            self._server = self._create()
        except (OSError, ValueError) as error:
            wasyncore.close_all(self._map, ignore_all=True)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise ListenError(
                f"cannot listen on {self.listen}: {reason}",
                code="listen_failed",
                hint="inbound.listen is host:port; see what holds the port with: ss -ltnp",
            ) from error
        self._thread = threading.Thread(target=self._serve, name="inbound", daemon=True)
        self._thread.start()
        log.info("inbound_listens", listen=self.listen, port=self.port)

    @property
    def port(self) -> int:
        """The port listened on."""
        listening = getattr(self._server, "effective_listen", None)
        return int(listening[0][1] if listening else self._server.effective_port)

    def close(self) -> None:
        """Finish the calls under way (2 s at most) and let go. Safe to call twice."""
        self._stopping.set()
        if self._thread is None:
            return
        with suppress(OSError):  # stopped already
            self._server.pull_trigger()
        self._thread.join(timeout=_TICK + 5)
        self._thread = None

    def _create(self) -> Any:
        server = create_server(
            self._app,
            map=self._map,
            listen=self.listen,
            _dispatcher=Lanes(),
            backlog=_BACKLOG,
            ident=None,
            connection_limit=_CONNECTIONS,
            channel_timeout=_IDLE_SECONDS,
            cleanup_interval=5,
            # a little more reaches the application, to be refused plainly
            max_request_body_size=4 * LARGEST_BODY,
            max_request_header_size=_LARGEST_HEADER,
            clear_untrusted_proxy_headers=True,
            expose_tracebacks=False,
            log_socket_errors=False,
        )
        channel_class = channels_counting_in(self._calls)
        for dispatcher in self._map.values():
            if hasattr(dispatcher, "channel_class"):
                dispatcher.channel_class = channel_class
                dispatcher.handle_accept = partial(_accept_several, dispatcher)
        return server

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                wasyncore.loop(timeout=_TICK, use_poll=True, map=self._map, count=1)
            except OSError as error:
                # a connection closed between being listed and being polled
                log.debug("inbound_poll_failed", error=type(error).__name__)
            self._make_room()
        self._shut_down()

    def _make_room(self) -> None:
        """No caller may keep others out, by slowness or by number. Near the limit some go, see `_dispensable`."""
        channels = [c for c in self._map.values() if isinstance(c, Channel)]
        for channel in channels:
            channel.let_go_if_slow()
        surplus = len(self._map) - (_CONNECTIONS - _ROOM)
        if surplus <= 0:
            return
        for channel in _dispensable([c for c in channels if c.connected])[:surplus]:
            channel.handle_close()

    def _shut_down(self) -> None:
        """Answer what the workers still have in hand, then close every socket."""
        for dispatcher in list(self._map.values()):
            if hasattr(dispatcher, "channel_class"):
                dispatcher.accepting = False
        self._server.task_dispatcher.shutdown(timeout=2)
        until = time.monotonic() + _LAST_WORDS
        while self._has_words_left() and time.monotonic() < until:
            wasyncore.loop(timeout=0.05, use_poll=True, map=self._map, count=1)
        wasyncore.close_all(self._map, ignore_all=True)

    def _has_words_left(self) -> bool:
        """Whether an answer is not yet wholly with its caller."""
        return any(c.total_outbufs_len for c in self._map.values() if isinstance(c, Channel))


def _accept_several(listening: Any) -> None:
    """Waitress takes one connection a turn, and a turn looks at every connection there is."""
    for _ in range(_ACCEPTED_AT_ONCE):
        before = len(listening.active_channels)
        type(listening).handle_accept(listening)
        if len(listening.active_channels) == before:
            return


def _dispensable(channels: list[Channel]) -> list[Channel]:
    """In the order in which they go: who asks many things at once, then the longest silent, last whose call is at work.

    An address that has more than half of all goes before the others. (Behind a proxy all callers have one.)
    """
    held = Counter(channel.addr[0] for channel in channels)
    greedy = {address for address, count in held.items() if count > len(channels) // 2 and len(held) > 1}

    def order(channel: Channel) -> tuple[bool, bool, bool, float]:
        one_call = len(channel.requests) <= 1
        return channel.addr[0] not in greedy, one_call, channel.is_at_work, channel.last_activity

    return sorted(channels, key=order)
