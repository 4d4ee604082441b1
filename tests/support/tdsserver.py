"""A server that speaks just enough TDS 7.4 (MS-TDS) for a real ODBC driver to log in, ask, and be answered or not.

It understands no SQL: a test says what follows on which text. One thread per connection.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

_BATCH, _RPC, _ATTENTION, _LOGIN, _PRELOGIN, _REPLY = 0x01, 0x03, 0x06, 0x10, 0x12, 0x04
_COLLATION = b"\x09\x04\xd0\x00\x34"
_CHUNK = 4_088


@dataclass(frozen=True)
class Rows:
    """A result: column names with their types (``text``, ``datetime``, ``zoned``, ``number``) and its rows."""

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[object]] = ()


@dataclass(frozen=True)
class Refusal:
    """An error as SQL Server words it."""

    number: int
    message: str


@dataclass(frozen=True)
class Silence:
    """No answer; after ``rows`` if there are any."""

    rows: Rows | None = None


Answer = Rows | Refusal | Silence


def _text(value: str, size: str) -> bytes:
    return struct.pack(size, len(value)) + value.encode("utf-16-le")


def _done(token: int = 0xFD, status: int = 0, rows: int = 0) -> bytes:
    return struct.pack("<BHHQ", token, status, 0xC1, rows)


def _refusal(refusal: Refusal) -> bytes:
    body = struct.pack("<IBB", refusal.number, 1, 16) + _text(refusal.message, "<H")
    body += _text("sql", "B") + _text("", "B") + struct.pack("<I", 1)
    return struct.pack("<BH", 0xAA, len(body)) + body


_TYPES = {
    "text": b"\xe7" + struct.pack("<H", 8000) + _COLLATION,
    "datetime": b"\x2a\x07",
    "zoned": b"\x2b\x07",
    "number": b"\x26\x04",
}


def _columns(columns: Sequence[tuple[str, str]]) -> bytes:
    described = [b"\0\0\0\0\x09\0" + _TYPES[kind] + _text(name, "B") for name, kind in columns]
    return struct.pack("<BH", 0x81, len(columns)) + b"".join(described)


def _value(kind: str, value: object) -> bytes:
    if kind == "text":
        data = None if value is None else str(value).encode("utf-16-le")
        return b"\xff\xff" if data is None else struct.pack("<H", len(data)) + data
    if value is None:
        return b"\0"
    if kind == "number":
        return struct.pack("<Bi", 4, value)
    assert isinstance(value, datetime)
    offset = value.utcoffset()
    moment = (value - offset if offset else value).replace(tzinfo=None)
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    ticks = (seconds * 1_000_000 + moment.microsecond) * 10
    data = ticks.to_bytes(5, "little") + (moment.toordinal() - 1).to_bytes(3, "little")
    if kind == "zoned":
        data += struct.pack("<h", int(offset.total_seconds()) // 60 if offset else 0)
    return struct.pack("B", len(data)) + data


def _rows(result: Rows) -> bytes:
    kinds = [kind for _, kind in result.columns]
    rows = [b"\xd1" + b"".join(_cells(kinds, row)) for row in result.rows]
    return _columns(result.columns) + b"".join(rows)


def _cells(kinds: Sequence[str], row: Sequence[object]) -> list[bytes]:
    return [_value(kind, value) for kind, value in zip(kinds, row, strict=True)]


@dataclass
class TdsServer:
    """Listens on a loopback port. ``answer`` says what follows a statement; ``login`` refuses everybody if set."""

    answer: Callable[[str], Answer]
    login: Refusal | None = None
    said: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    heeds_cancels: bool = True

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening and hang up."""
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Break every connection."""
        while self._connections:
            with suppress(OSError):
                self._connections.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection:
            while True:
                kind, body = _message(connection)
                reply = self._reply(kind, body)
                if reply:
                    _send(connection, reply)
                if kind == _LOGIN and self.login is not None:
                    return

    def _reply(self, kind: int, body: bytes) -> bytes:
        if kind == _PRELOGIN:
            return _prelogin()
        if kind == _LOGIN:
            return self._welcome()
        if kind == _ATTENTION:
            self.cancelled.set()
            return _done(status=0x20) if self.heeds_cancels else b""
        if kind == _RPC:
            return self._call(body)
        text = body[struct.unpack_from("<I", body)[0] :].decode("utf-16-le", "replace")
        return self._answer(text, 0xFD, b"") if "SELECT" in text else _done()

    def _welcome(self) -> bytes:
        if self.login is not None:
            return _refusal(self.login) + _done(status=2)
        ack = b"\x01\x74\x00\x00\x04" + _text("Microsoft SQL Server", "B") + b"\x10\x00\x00\x00"
        return struct.pack("<BH", 0xAD, len(ack)) + ack + _done()

    def _call(self, body: bytes) -> bytes:
        """A statement with values, which follow it in what a test sees; the driver's own questions get no answer."""
        start = body.find("SELECT".encode("utf-16-le"))
        if start < 0:
            return _done(0xFE)
        text = body[start:].decode("utf-16-le", "replace")
        handle = (
            b"\x79\0\0\0\0" + b"\xac\0\0" + _text("", "B") + b"\x01\0\0\0\0\0\0" + b"\x26\x04\x04\x01\0\0\0"
        )
        return self._answer(text, 0xFE, handle)

    def _answer(self, text: str, end: int, trailer: bytes) -> bytes:
        self.said.append(text)
        answer = self.answer(text)
        if isinstance(answer, Refusal):
            return _refusal(answer) + _done(end, status=2)
        if isinstance(answer, Silence):
            return b"" if answer.rows is None else _rows(answer.rows)
        count = len(answer.rows)
        middle = _done(0xFF, 0x11, count) if end == 0xFE else b""
        return _rows(answer) + middle + trailer + _done(end, 0 if end == 0xFE else 0x10, count)


def _prelogin() -> bytes:
    options = [(0, b"\x10\0\0\0\0\0"), (1, b"\x02"), (2, b"\0"), (3, b""), (4, b"\0")]
    place = len(options) * 5 + 1
    head = b""
    for token, data in options:
        head += struct.pack(">BHH", token, place, len(data))
        place += len(data)
    return head + b"\xff" + b"".join(data for _, data in options)


def _message(connection: socket.socket) -> tuple[int, bytes]:
    body = b""
    while True:
        kind, status, length = struct.unpack(">BBH4x", _exactly(connection, 8))
        body += _exactly(connection, length - 8)
        if status & 1:
            return kind, body


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _send(connection: socket.socket, body: bytes) -> None:
    for start in range(0, len(body), _CHUNK):
        piece = body[start : start + _CHUNK]
        last = start + _CHUNK >= len(body)
        connection.sendall(struct.pack(">BBHHBB", _REPLY, int(last), len(piece) + 8, 1, 1, 0) + piece)
