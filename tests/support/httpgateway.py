"""A gateway that speaks Kannel's sendsms over real HTTP/1.1, kept alive, several thousand requests a second.

In a test, in a thread of its own:

    with HttpGateway() as gateway:
        gateway.next("unavailable", "hang", Reply(status=200, body=b"?", taken=False))   # one each, in this order
        gateway.always("refuse_account")                                                 # from then on
        … gateway.url … gateway.messages …

As a process of its own, which prints ``listening on 127.0.0.1:PORT`` when it can be used:

    python -m tests.support.httpgateway --port 0 --record sent.jsonl --receipts 8,1 --receipt-delay 0.1

--port N           0: any free one
--record FILE      every message taken, appended as one JSON object a line: to, from, text, coding, charset, dlr_mask,
                   dlr_url, id (of the dlr-url), wall, monotonic (seconds of time.time and time.monotonic, when taken)
--receipts TYPES   types of delivery reports sent to each message's dlr-url in this order (1 delivered, 2 undelivered,
                   8 taken, 16 rejected); only those the message's dlr-mask asks for; none: no reports
--receipt-delay S  seconds between taking a message and its first report
--replies NAMES    what to answer first, e.g. ``unavailable*3,hang``; see `REPLIES`
--always NAME      what to answer after those (accept)
--latency S        seconds before each answer
--username, --password   what sendsms takes (smsd, sesame)

While it runs, ``POST /control`` with JSON ``{"replies": ["unavailable"], "always": "accept"}`` changes the script,
``GET /count`` tells how many messages were taken, ``GET /messages`` gives them all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, quote_plus, urlsplit

PATH = "/cgi-bin/sendsms"
ACCEPTED = b"0: Accepted for delivery"


@dataclass(frozen=True)
class Reply:
    """How one request is answered."""

    status: int = 202
    body: bytes = ACCEPTED
    headers: tuple[tuple[str, str], ...] = ()
    taken: bool = True
    """Whether the message is recorded as taken."""
    raw: bytes | None = None
    """Sent instead of an HTTP answer made of the above."""
    then: str = "keep"
    """Afterwards: keep, close, reset, or hang (say nothing more and leave the connection open)."""
    drip: float = 0.0
    """Seconds between single bytes of the answer."""


_TOLD_AGAIN_AFTER = 0.5
"""Seconds until a report that nobody took is sent again."""

_HALF = b"HTTP/1.1 202 Accepted\r\nContent-Length: 24\r\n\r\n0: Acc"
_ENDLESS = b"HTTP/1.1 202 Accepted\r\nContent-Length: 10000000\r\n\r\n" + b"0: Accepted " * 20_000

REPLIES = {
    "accept": Reply(),
    "queue": Reply(body=b"3: Queued for later delivery"),
    "sent": Reply(body=b"Sent."),
    "accept_and_close": Reply(headers=(("Connection", "close"),), then="close"),
    "unavailable": Reply(503, b"Temporal failure, try again later.", taken=False),
    "unavailable_for_7s": Reply(503, b"Temporal failure.", (("Retry-After", "7"),), taken=False),
    "throttle": Reply(429, b"slow down", (("Retry-After", "3"),), taken=False),
    "refuse_account": Reply(403, b"Authorization failed for sendsms", taken=False),
    "not_routable": Reply(403, b"Not routable. Do not try again.", taken=False),
    "misformed": Reply(400, b"Charset or body misformed, rejected", taken=False),
    "sender_missing": Reply(400, b"Sender missing and no global set, rejected", taken=False),
    "not_found": Reply(404, b"Unknown request.", taken=False),
    "fail": Reply(500, b"Sending failed.", taken=False),
    "garbage": Reply(200, b"<html>Welcome</html>"),
    "not_http": Reply(raw=b"\x16\x03\x01 what?\r\n\r\n", then="close"),
    "redirect": Reply(302, b"", (("Location", "http://127.0.0.1:9/cgi-bin/sendsms"),), taken=False),
    "close_untaken": Reply(raw=b"", taken=False, then="close"),
    "close_taken": Reply(raw=b"", then="close"),
    "reset_taken": Reply(raw=b"", then="reset"),
    "hang": Reply(raw=b"", then="hang"),
    "half": Reply(raw=_HALF, then="close"),
    "half_and_hang": Reply(raw=_HALF, then="hang"),
    "half_head": Reply(raw=b"HTTP/1.1 202 Accep", then="close"),
    "oversized": Reply(raw=_ENDLESS, then="hang"),
    "oversized_chunked": Reply(
        raw=b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"0" * 200_000,
        then="hang",
    ),
    "endless_head": Reply(raw=b"HTTP/1.1 202 Accepted\r\n" + b"X-Filler: " * 100_000, then="hang"),
    "slow": Reply(drip=0.05),
    "chunked": Reply(
        raw=b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n0: \r\n8\r\nAccepted\r\n0\r\n\r\n"
    ),
    "until_closed": Reply(raw=b"HTTP/1.0 202 Accepted\r\n\r\n0: Accepted for delivery", then="close"),
}
"""Named replies: what Kannel says, and what a broken one might."""


@dataclass(frozen=True)
class Taken:
    """One message as it came."""

    to: str
    sender: str
    text: str
    coding: str
    charset: str
    dlr_mask: str
    dlr_url: str
    id: str
    wall: float
    monotonic: float

    @classmethod
    def of(cls, fields: dict[str, str]) -> Taken:
        url = fields.get("dlr-url", "")
        own = parse_qs(urlsplit(url).query).get("id", [""])[0] if url else ""
        return cls(
            fields.get("to", ""),
            fields.get("from", ""),
            fields.get("text", ""),
            fields.get("coding", ""),
            fields.get("charset", ""),
            fields.get("dlr-mask", ""),
            url,
            own,
            time.time(),
            time.monotonic(),
        )


class Script:
    """What to answer next; may be changed from any thread."""

    def __init__(self) -> None:
        self._next: deque[Reply] = deque()
        self._always = REPLIES["accept"]

    def next(self, *replies: str | Reply) -> None:
        """Answer the coming requests so, one each."""
        self._next.extend(map(_reply, replies))

    def always(self, reply: str | Reply) -> None:
        """Answer so once nothing else is scripted."""
        self._always = _reply(reply)

    def pop(self) -> Reply:
        """The reply to a request."""
        return self._next.popleft() if self._next else self._always


def _reply(named: str | Reply) -> Reply:
    return named if isinstance(named, Reply) else REPLIES[named]


class Exchange:
    """What all connections share: the account, the script, the messages taken, the reports to send."""

    def __init__(self, *, username: str, password: str, record: Path | None, latency: float) -> None:
        self.username = username
        self.password = password
        self.latency = latency
        self.script = Script()
        self.messages: list[Taken] = []
        self.requests = 0
        self.connections = 0
        self.reports: Reports | None = None
        self._file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if record else None

    def sendsms(self, fields: dict[str, str]) -> Reply:
        """Answer a request as smsbox does: the account first, then the receiver, then the script."""
        self.requests += 1
        if fields.get("username") != self.username or fields.get("password") != self.password:
            return REPLIES["refuse_account"]
        if not fields.get("to"):
            return Reply(400, b"Missing receiver number, rejected", taken=False)
        reply = self.script.pop()
        if reply.taken:
            self._take(Taken.of(fields))
        return reply

    def _take(self, message: Taken) -> None:
        self.messages.append(message)
        if self._file is not None:
            os.write(self._file, json.dumps(asdict(message), ensure_ascii=False).encode() + b"\n")
        if self.reports is not None:
            self.reports.owe(message)


class Reports:
    """Sends delivery reports over a few kept-alive connections, those of one message in their order."""

    def __init__(self, types: list[str], delay: float, workers: int = 8) -> None:
        self._types = types
        self._delay = delay
        self._owed: asyncio.Queue[tuple[float, str, list[str]]] = asyncio.Queue()
        self._tasks = [asyncio.ensure_future(self._work()) for _ in range(workers)]
        self.statuses: list[int] = []

    def owe(self, message: Taken) -> None:
        """Report on a message as its mask asks."""
        mask = int(message.dlr_mask or "0")
        types = [kind for kind in self._types if int(kind) & mask]
        if message.dlr_url and types:
            self._owed.put_nowait((time.monotonic() + self._delay, message.dlr_url, types))

    async def _work(self) -> None:
        line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while True:
            at, url, types = await self._owed.get()
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            for index, kind in enumerate(types):
                try:
                    line, status = await self._call(line, filled_in(url, kind))
                    self.statuses.append(status)
                except (OSError, EOFError, ValueError):
                    line = None
                    self.statuses.append(0)
                    # nobody listens just now: these and the later ones are told again, as http-request-retry has it
                    self._owed.put_nowait((time.monotonic() + _TOLD_AGAIN_AFTER, url, types[index:]))
                    break

    async def _call(
        self, line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, url: str
    ) -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None, int]:
        parts = urlsplit(url)
        reader, writer = line or await asyncio.open_connection(parts.hostname, parts.port or 80)
        target = f"{parts.path}?{parts.query}"
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: Kannel/1.4.5\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0] or "0")
        await reader.readexactly(length)
        status = int(head.split(" ", 2)[1])
        if "connection: close" in head:
            writer.close()
            return None, status
        return (reader, writer), status


def filled_in(url: str, kind: str) -> str:
    """A dlr-url with Kannel's escapes filled in for one report."""
    said = {"1": "stat:DELIVRD err:000", "2": "stat:UNDELIV err:001", "16": "NACK/0x00000001"}.get(
        kind, "ACK/"
    )
    values = {"d": kind, "A": quote_plus(f"id:1 {said} text:Thong bao"), "T": str(int(time.time())), "%": "%"}
    filled, rest = "", url
    while "%" in rest:
        before, _, rest = rest.partition("%")
        filled += before + values.get(rest[:1], "")
        rest = rest[1:]
    return filled + rest


class _Connection(asyncio.Protocol):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._buffer = b""
        self._silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._exchange.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._silent:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.decode("latin-1").split("\r\n")
            length = next((int(x[15:]) for x in lines if x.lower().startswith("content-length:")), 0)
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            method, target, _ = lines[0].split(" ", 2)
            self._handle(method, target, rest[:length])

    def _handle(self, method: str, target: str, body: bytes) -> None:
        path, _, query = target.partition("?")
        if path == PATH:
            form = body.decode() if method == "POST" else query
            reply = self._exchange.sendsms(dict(parse_qsl(form, keep_blank_values=True)))
            if self._exchange.latency:
                asyncio.get_running_loop().call_later(self._exchange.latency, self._answer, reply)
                return
            self._answer(reply)
        elif path == "/count":
            self._answer(Reply(200, str(len(self._exchange.messages)).encode()))
        elif path == "/messages":
            everything = [asdict(message) for message in self._exchange.messages]
            self._answer(Reply(200, json.dumps(everything, ensure_ascii=False).encode()))
        elif path == "/control" and method == "POST":
            wanted = json.loads(body)
            self._exchange.script.next(*wanted.get("replies", ()))
            self._exchange.script.always(wanted.get("always", "accept"))
            self._answer(Reply(200, b"ok"))
        else:
            self._answer(REPLIES["not_found"])

    def _answer(self, reply: Reply) -> None:
        if reply.drip:
            self._dripping = asyncio.ensure_future(self._drip(_encoded(reply), reply))
            return
        self._transport.write(_encoded(reply))
        self._finish(reply)

    async def _drip(self, answer: bytes, reply: Reply) -> None:
        for index in range(len(answer)):
            if self._transport.is_closing():
                return
            self._transport.write(answer[index : index + 1])
            await asyncio.sleep(reply.drip)
        self._finish(reply)

    def _finish(self, reply: Reply) -> None:
        if reply.then == "close":
            self._transport.close()
        elif reply.then == "reset":
            self._transport.abort()
        elif reply.then == "hang":
            self._silent = True


def _encoded(reply: Reply) -> bytes:
    if reply.raw is not None:
        return reply.raw
    headers = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    head = f"HTTP/1.1 {reply.status} Some\r\n{headers}Content-Type: text/html\r\nContent-Length: {len(reply.body)}"
    return head.encode() + b"\r\n\r\n" + reply.body


class HttpGateway:
    """The server in a thread of its own; see the module."""

    def __init__(
        self,
        *,
        port: int = 0,
        username: str = "smsd",
        password: str = "sesame",
        record: Path | None = None,
        receipts: Iterable[str] = (),
        receipt_delay: float = 0.0,
        latency: float = 0.0,
    ) -> None:
        self.exchange = Exchange(username=username, password=password, record=record, latency=latency)
        self.port = port
        self._receipts = list(receipts)
        self._receipt_delay = receipt_delay
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of sendsms."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    @property
    def messages(self) -> list[Taken]:
        """The messages taken, in order."""
        return list(self.exchange.messages)

    def next(self, *replies: str | Reply) -> None:
        """Answer the coming requests so, one each."""
        self.exchange.script.next(*replies)

    def always(self, reply: str | Reply) -> None:
        """Answer so once nothing else is scripted."""
        self.exchange.script.always(reply)

    async def open(self) -> None:
        """Listen, on the loop that runs."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Connection(self.exchange), "127.0.0.1", self.port, backlog=512
        )
        self.port = server.sockets[0].getsockname()[1]
        if self._receipts:
            self.exchange.reports = Reports(self._receipts, self._receipt_delay)

    def start(self) -> HttpGateway:
        """Listen, and serve in a thread."""
        self._loop.run_until_complete(self.open())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving; connections break off."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(10)
            self._thread = None
            self._loop.close()

    def _stop(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_soon(self._loop.stop)

    def __enter__(self) -> HttpGateway:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def _scripted(text: str) -> list[Reply]:
    """``unavailable*3,hang`` as replies."""
    replies: list[Reply] = []
    for part in filter(None, text.split(",")):
        name, _, times = part.partition("*")
        replies += [REPLIES[name]] * int(times or "1")
    return replies


def main(arguments: list[str] | None = None, ready: Callable[[str], object] = print) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.httpgateway")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--receipts", default="")
    parser.add_argument("--receipt-delay", type=float, default=0.0)
    parser.add_argument("--replies", default="")
    parser.add_argument("--always", default="accept", choices=sorted(REPLIES))
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--username", default="smsd")
    parser.add_argument("--password", default="sesame")
    given = parser.parse_args(arguments)
    types = [] if given.receipts in ("", "none") else given.receipts.split(",")
    gateway = HttpGateway(
        port=given.port,
        username=given.username,
        password=given.password,
        record=given.record,
        receipts=types,
        receipt_delay=given.receipt_delay,
        latency=given.latency,
    )
    gateway.next(*_scripted(given.replies))
    gateway.always(given.always)

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await gateway.open()
        ready(f"listening on 127.0.0.1:{gateway.port}")
        await stop.wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main(ready=lambda line: print(line, flush=True))
