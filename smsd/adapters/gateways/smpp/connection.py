"""A TCP or TLS connection to the message centre that does not block, and can be given up while it is being made."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from smsd.core.model import Verdict

_SLICE = 0.1
"""Seconds between looks whether the attempt is still wanted."""

Tls = bool | Literal["insecure"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the message centre listens. ``insecure`` encrypts without asking who is there."""

    host: str
    port: int
    tls: Tls = False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ConnectError(Exception):
    """There is no connection. ``verdict`` is what that means for messages that wait."""

    def __init__(self, code: str, detail: str, verdict: Verdict = Verdict.RETRY) -> None:
        super().__init__(detail)
        self.code, self.detail, self.verdict = code, detail, verdict


def connect(
    endpoint: Endpoint, timeout: float, given_up: Callable[[], bool] = lambda: False
) -> socket.socket:
    """A connection with TCP_NODELAY that does not block. Raises `ConnectError`."""
    until = time.monotonic() + timeout
    try:
        places = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConnectError("unreachable", f"the name {endpoint.host} is not known") from None
    failure = ConnectError("unreachable", f"nobody can be reached at {endpoint}")
    for family, kind, protocol, _, address in places:
        try:
            return _prepared(socket.socket(family, kind, protocol), address, endpoint, until, given_up)
        except ConnectError as error:
            failure = error
        except OSError as error:
            failure = ConnectError("unreachable", f"{endpoint}: {error.strerror or type(error).__name__}")
    raise failure


def _prepared(
    bare: socket.socket, address: object, endpoint: Endpoint, until: float, given_up: Callable[[], bool]
) -> socket.socket:
    connection = bare
    try:
        bare.setblocking(False)
        with suppress(BlockingIOError):
            bare.connect(address)  # type: ignore[arg-type]
        _wait(bare, select.POLLOUT, until, given_up)
        error = bare.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if endpoint.tls:
            connection = _encrypted(bare, endpoint, until, given_up)
    except BaseException:
        connection.close()
        raise
    return connection


def _encrypted(
    bare: socket.socket, endpoint: Endpoint, until: float, given_up: Callable[[], bool]
) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if endpoint.tls == "insecure":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    connection = context.wrap_socket(bare, server_hostname=endpoint.host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                connection.do_handshake()
                return connection
            except ssl.SSLWantReadError:
                _wait(connection, select.POLLIN, until, given_up)
            except ssl.SSLWantWriteError:
                _wait(connection, select.POLLOUT, until, given_up)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        detail = f"the certificate of {endpoint} is not accepted: {error.verify_message}"
        raise ConnectError("certificate", detail, Verdict.ACCOUNT) from None
    except ssl.SSLError as error:
        connection.close()
        raise ConnectError("tls", f"no TLS with {endpoint}: {error.reason or 'handshake failed'}") from None
    except BaseException:
        connection.close()
        raise


def _wait(connection: socket.socket, event: int, until: float, given_up: Callable[[], bool]) -> None:
    """Until the connection can go on. Raises `ConnectError` when that takes too long or is not wanted any more."""
    poll = select.poll()
    poll.register(connection, event)
    while not poll.poll(_SLICE * 1000):
        if given_up():
            raise ConnectError("stopped", "smsd is stopping")
        if time.monotonic() > until:
            raise ConnectError("unreachable", "no connection in time")
