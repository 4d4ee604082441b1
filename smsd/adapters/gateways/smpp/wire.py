"""The octets between a socket and a session. Reads and writes as much as goes without waiting."""

from __future__ import annotations

import selectors
import socket
import ssl
from contextlib import suppress

from smsd.adapters.gateways.smpp.pdu import DeliverSm
from smsd.adapters.gateways.smpp.session import OUT_LIMIT, Session

_READ = 256 * 1024
_WRITE = 64 * 1024
_READS = 16
"""Reads in a row before others have their turn."""
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Deliveries = list[tuple[int, DeliverSm]]


class Wire:
    """One connection in a selector, and its session."""

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector, session: Session) -> None:
        self._socket = connection
        self._selector = selector
        self._session = session
        self._blocked = False
        self._events = selectors.EVENT_READ
        selector.register(connection, self._events)

    @property
    def fd(self) -> int:
        """The file descriptor."""
        return self._socket.fileno()

    def read(self, now: float) -> Deliveries:
        """Read what is there; returns the deliver_sm in it."""
        deliveries: Deliveries = []
        for _ in range(_READS):
            if self._session.ended is not None or len(self._session.out) > 4 * OUT_LIMIT:
                break  # a peer that asks and does not read the answers is not asked for more
            try:
                data = self._socket.recv(_READ)
            except _NOT_NOW:
                break
            except OSError as error:
                self._session.lost(_reason(error))
                break
            if not data:
                self._session.lost("the message centre closed the connection")
                break
            deliveries += self._session.received(data, now)
            if len(data) < _READ and not self.unread:
                break
        return deliveries

    def write(self, now: float) -> Deliveries:
        """Write what can be written. A connection that broke is read to its end: answers may have come before."""
        session, deliveries = self._session, Deliveries()
        self._blocked = False
        while session.out and not self._blocked:
            try:
                octets = self._socket.send(bytes(session.out[:_WRITE]))
            except _NOT_NOW:
                self._blocked = True
            except OSError as error:
                deliveries = self.read(now)
                session.lost(_reason(error))
                break
            else:
                session.sent(octets, now)
        self._watch()
        return deliveries

    @property
    def unread(self) -> bool:
        """Whether something was decrypted that the selector does not know of."""
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0

    @property
    def unwritten(self) -> bool:
        """Whether something is to be written that was not yet tried."""
        return bool(self._session.out) and not self._blocked

    def _watch(self) -> None:
        events = selectors.EVENT_WRITE if self._blocked else 0
        if len(self._session.out) <= 4 * OUT_LIMIT or not events:
            events |= selectors.EVENT_READ
        if events != self._events and self._session.ended is None:
            self._events = events
            self._selector.modify(self._socket, events)

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(self._socket)
        with suppress(OSError):
            self._socket.close()


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
