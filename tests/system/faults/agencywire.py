"""A wire between smsd and an agency's server that a test can spoil: a TCP proxy on a loopback port."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field

_PIECE = 16_384
_AT_ONCE = struct.pack("ii", 1, 0)
_TRICKLE = 0.05


@dataclass
class Spoilt:
    """What becomes of the answers once ``after`` more bytes of them have come through on a connection.

    ``how``: ``silent`` (nothing goes through any more, the connection stays), ``reset``, ``half`` (closed in one
    direction), ``deaf`` (new connections are taken and never answered), ``trickle`` (a few bytes now and then),
    ``held`` (as silent, and all goes on when it is mended). ``reached`` is set when it has come to that.
    """

    how: str
    after: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    mended: threading.Event = field(default_factory=threading.Event)


class Wire:
    """Forwards connections to a port. Connections that a fault took stay as they are when it is mended."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._spoilt: Spoilt | None = None
        self._ends: list[socket.socket] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def spoil(self, how: str, after: int = 0) -> Spoilt:
        """From now on."""
        self._spoilt = Spoilt(how, after)
        if how == "deaf":
            self._hang_up()
        return self._spoilt

    def mend(self) -> None:
        """New connections are forwarded again, and those that were held."""
        if self._spoilt is not None:
            self._spoilt.mended.set()
        self._spoilt = None

    def close(self) -> None:
        """Stop listening and hang up."""
        self.mend()
        self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        while self._ends:
            end = self._ends.pop()
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                self._ends.append(near)
                if self._spoilt is not None and self._spoilt.how == "deaf":
                    self._spoilt.reached.set()
                    continue
                self._join(near)

    def _join(self, near: socket.socket) -> None:
        far = socket.socket()
        try:
            far.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE
            )  # so that a held read fills no more than this
            far.connect(("127.0.0.1", self._to))
        except OSError:  # nobody there: refused here as well
            far.close()
            near.close()
            return
        self._ends.append(far)
        threading.Thread(target=self._questions, args=(near, far), daemon=True).start()
        threading.Thread(target=self._answers, args=(far, near), daemon=True).start()

    def _questions(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(_PIECE):
                far.sendall(data)
        with suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    def _answers(self, far: socket.socket, near: socket.socket) -> None:
        met: Spoilt | None = None
        left = 0
        with suppress(OSError):
            while data := far.recv(_PIECE):
                spoilt = self._spoilt
                if spoilt is not None:
                    left = spoilt.after if spoilt is not met else left
                    met = spoilt
                    near.sendall(data[:left])
                    data, left = data[left:], max(0, left - len(data))
                    if data and not self._meet(spoilt, near, data):
                        return
                elif data:
                    near.sendall(data)
        with suppress(OSError):
            near.shutdown(socket.SHUT_WR)

    def _meet(self, spoilt: Spoilt, near: socket.socket, rest: bytes) -> bool:
        """Let the fault happen with ``rest`` not forwarded; whether the connection goes on."""
        spoilt.reached.set()
        if spoilt.how == "reset":
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._ends.remove(near)
            near.shutdown(
                socket.SHUT_RD
            )  # wakes the other thread, which would keep the connection from going
            near.close()
        elif spoilt.how == "half":
            near.shutdown(socket.SHUT_WR)
        elif spoilt.how == "trickle":
            for place in range(len(rest)):
                near.sendall(rest[place : place + 1])
                if spoilt.mended.wait(_TRICKLE):
                    break
        elif spoilt.how == "held":
            spoilt.mended.wait()
            near.sendall(rest)
            return True
        return False
