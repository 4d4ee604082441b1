"""One HTTP request and its answer over a kept-alive connection, telling for certain whether anything was sent.

The usual clients hide that: they reconnect, repeat and follow by themselves. Here nothing is ever sent twice, no
proxy is asked, and an exchange ends in time whatever the other side does. What an answer means is decided elsewhere.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LARGEST_BODY = 64 * 1024
LARGEST_ANSWER = 2 * LARGEST_BODY
"""Head and body together."""
FRESH = 3.0
"""Seconds a connection may have been idle and still be used; servers close idle ones, and later ones may be closed."""
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 5.0
"""After so long an idle connection is closed."""
PATIENCE = 4.0
"""Seconds a gateway that is closed waits for answers before it cuts its connections."""
LAST_PATIENCE = 0.8
"""And then so many for its threads."""


class ExchangeError(Exception):
    """An exchange without a whole answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class NotSentError(ExchangeError):
    """Nothing of the request left: it was surely not taken."""


class NoAnswerError(ExchangeError):
    """The request, or a part of it, left, and no whole answer came: it was perhaps taken."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where requests go. ``target`` is the path with the query the address already has."""

    host: str
    port: int
    tls: bool
    authority: str
    target: str

    @classmethod
    def of(cls, url: str) -> Address:
        """The address of an http or https URL. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no address of an HTTP service")
        tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        authority = parts.netloc.rpartition("@")[2]
        return cls(parts.hostname, parts.port or (443 if tls else 80), tls, authority, target)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that came whole. ``retry_after`` in seconds, where the server named any."""

    status: int
    body: bytes
    retry_after: float | None = None


class Line:
    """One connection for one exchange at a time, opened when needed and kept while it is fresh."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._tls = ssl.create_default_context() if address.tls else None
        self._socket: socket.socket | None = None
        self._used_at = 0.0

    def exchange(self, request: bytes, may_send: Callable[[], bool] = lambda: True) -> Answer:
        """Send a request and read its answer, all within the timeout.

        ``may_send`` is asked once connected, before the first byte. Raises `NotSentError` or `NoAnswerError`.
        """
        deadline = time.monotonic() + self._timeout
        connection = self._usable() or self._connect(deadline)
        kept = False
        try:
            if not may_send():
                raise NotSentError("stopped", "smsd is stopping")
            self._send(connection, request, deadline)
            answer, kept = _read_answer(connection, deadline)
            return answer
        finally:
            self._used_at = time.monotonic()
            if not kept:
                self.close()

    def abort(self) -> None:
        """End a running exchange soon. From any thread."""
        connection = self._socket
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is gone already

    def close(self) -> None:
        """Let go of the connection; the next exchange opens another."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()

    def _usable(self) -> socket.socket | None:
        """The kept connection, unless it is too old or the server has closed it or said something unasked."""
        connection = self._socket
        if connection is None:
            return None
        if time.monotonic() - self._used_at < FRESH:
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            if not poll.poll(0):
                return connection
        self.close()
        return None

    def _connect(self, deadline: float) -> socket.socket:
        address = self._address
        seconds = min(CONNECT_SECONDS, deadline - time.monotonic())
        try:
            connection = socket.create_connection((address.host, address.port), timeout=seconds)
        except TimeoutError:
            raise NotSentError("connect_timeout", f"{address.authority} does not answer") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise NotSentError("not_connected", f"{address.authority}: {reason}") from None
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            self._socket = connection = self._secured(connection, self._tls)
        return connection

    def _secured(self, connection: socket.socket, context: ssl.SSLContext) -> socket.socket:
        authority = self._address.authority
        try:
            return context.wrap_socket(connection, server_hostname=self._address.host)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise NotSentError("certificate", f"{authority}: {error.verify_message}") from None
        except OSError as error:
            self.close()
            raise NotSentError("not_connected", f"{authority}: {type(error).__name__} in TLS") from None

    def _send(self, connection: socket.socket, request: bytes, deadline: float) -> None:
        """Write it all. An error of the first write means that nothing left; TLS cannot tell that."""
        sent = 0
        try:
            while sent < len(request):
                connection.settimeout(_left(deadline))
                sent += connection.send(request[sent:] if sent else request)
        except OSError as error:
            detail = f"{self._address.authority}: {error.strerror or type(error).__name__} while sending"
            if sent == 0 and self._tls is None:
                raise NotSentError("not_sent", detail) from None
            raise NoAnswerError("connection_lost", detail) from None


def _read_answer(connection: socket.socket, deadline: float) -> tuple[Answer, bool]:
    """The answer, and whether the connection may be used again. Raises `NoAnswerError`."""
    try:
        response = http.client.HTTPResponse(_Source(connection, deadline))  # type: ignore[arg-type]
        response.begin()
        if response.length is not None and response.length > LARGEST_BODY:
            raise NoAnswerError("unrecognised_answer", "the answer is too large")
        body = response.read(LARGEST_BODY + 1)
        if len(body) > LARGEST_BODY:
            raise NoAnswerError("unrecognised_answer", "the answer is too large")
        if response.length:
            raise NoAnswerError("answer_cut_off", "the connection was closed in the middle of the answer")
        wait = seconds_of(response.getheader("Retry-After"))
        return Answer(response.status, body, wait), not response.will_close
    except TimeoutError:
        raise NoAnswerError("answer_timeout", "no answer in time") from None
    except http.client.RemoteDisconnected:
        raise NoAnswerError("connection_lost", "the connection was closed without an answer") from None
    except http.client.IncompleteRead:
        raise NoAnswerError(
            "answer_cut_off", "the connection was closed in the middle of the answer"
        ) from None
    except (http.client.HTTPException, ValueError):
        raise NoAnswerError("unrecognised_answer", "the answer is not HTTP") from None
    except OSError as error:
        detail = f"{error.strerror or type(error).__name__} while waiting for the answer"
        raise NoAnswerError("connection_lost", detail) from None


class _Source(io.RawIOBase):
    """What `http.client` reads an answer from: a socket until a deadline, and only so many bytes."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._room = LARGEST_ANSWER

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As `http.client` asks a socket. Closing the file leaves the socket open."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read once. Raises TimeoutError past the deadline."""
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise http.client.HTTPException("too large")
        return count


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def seconds_of(header: str | None) -> float | None:
    """Retry-After as a number of seconds; a date says nothing without trusting the server's clock."""
    text = (header or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) <= 6 else None
