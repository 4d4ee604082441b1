"""The daemon's listener under attack on its real socket: honest callers are answered in time, whatever others do."""

from __future__ import annotations

import http.client
import resource
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlencode

import pytest

from smsd.core.signing import signature
from tests.hostile.office import SECRET
from tests.support.httpgateway import HttpGateway
from tests.support.postgres import free_port, wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, Office, baselined
from tests.system.process import Daemon

pytestmark = [pytest.mark.reliability, pytest.mark.xdist_group("hostile-listener")]
GROUP = "Hostile input"
IN_TIME = 10.0
"""Seconds: what a gateway waits at least. The rows say what was measured."""
_TABLES = ("messages", "message_events", "dossiers", "transitions", "findings", "parts", "inquiries")


class Target:
    """A daemon with a listener, a message that was handed over, and an honest caller."""

    def __init__(self, office: Office, daemon: Daemon, port: int, message: str) -> None:
        self.office, self.daemon, self.port, self.message = office, daemon, port, message
        self._asked = 0

    def digest(self) -> str:
        """A fingerprint of what calls could change."""
        known = {
            str(name) for (name,) in self.office.ask("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        rows = [
            sorted(map(repr, self.office.ask(f"SELECT * FROM {name}"))) for name in _TABLES if name in known
        ]
        return sha256(repr(rows).encode()).hexdigest()

    def honest_calls(self) -> list[tuple[str, int]]:
        """A sign of life, a receipt and a look-up, each a path and the status it must have."""
        self._asked += 1
        sig = signature(SECRET, "kannel", self.message)
        receipt = urlencode({"id": self.message, "sig": sig, "status": "8"})
        asked = {"from": f"84911{self._asked:06d}", "text": "MCKH alpha-1", "token": SECRET}
        return [
            ("/healthz", 200),
            (f"/receipts/kannel?{receipt}", 200),
            (f"/lookups?{urlencode(asked)}", 200),
        ]

    def asked(self, path: str) -> tuple[int, float]:
        """Status of a call and how long it took."""
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status, time.monotonic() - began

    def slowest_of_honest(self, rounds: int) -> float:
        """Make honest calls; the slowest. Each must have its status."""
        slowest = 0.0
        for _ in range(rounds):
            for path, expected in self.honest_calls():
                status, seconds = self.asked(path)
                assert status == expected, path
                slowest = max(slowest, seconds)
        return slowest

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def counted(self, outcome: str) -> float:
        """Refused calls of an outcome, of whatever path."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if f'outcome="{outcome}"' in line and "_total" in line
        )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, folder = free_port(), Path(tmp_path_factory.mktemp("listener"))
    with HttpGateway() as gateway:
        listening = {
            "listen": f"127.0.0.1:{port}",
            "public_url": f"http://127.0.0.1:{port}",
            "secret": SECRET,
        }
        sending = {"type": "kannel", "url": gateway.url, "username": "smsd", "password": "sesame"}
        office = Office(folder / "etc", gateway=sending, inbound=listening)
        database = office.add("alpha")
        with Daemon(office) as daemon:
            baselined(daemon, "alpha")
            database.update("alpha-0", step=READY)
            wait_until(lambda: office.ask("SELECT count(*) FROM messages WHERE state = 'accepted'") == [(1,)])
            [(message,)] = office.ask("SELECT id FROM messages")
            yield Target(office, daemon, port, str(message))
            log = "".join(daemon.raw)
            assert daemon.stop() == 0
        office.close()
    assert "Traceback" not in log and "inbound_call_failed" not in log
    assert SECRET not in log and "84911" not in log and "evil" not in log


@contextmanager
def crowd(target: Target, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    """So many connections at once, each of which says the same and then nothing."""
    with ExitStack() as stack:
        sockets = []
        for _ in range(count):
            one = stack.enter_context(closing(socket.socket()))
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", target.port))
            sockets.append(one)
        waiting = selectors.DefaultSelector()
        stack.callback(waiting.close)
        for one in sockets:
            waiting.register(one, selectors.EVENT_WRITE)
        until = time.monotonic() + 20
        while waiting.get_map() and time.monotonic() < until:
            for key, _ in waiting.select(0.5):
                waiting.unregister(key.fileobj)
                _say(key.fileobj, said)  # type: ignore[arg-type]
        yield sockets


def _say(one: socket.socket, said: bytes) -> bool:
    try:
        return one.send(said) > 0 if said else True
    except OSError:
        return False


@contextmanager
def meanwhile(what: Callable[[], None]) -> Iterator[None]:
    """Do something over and over in a thread."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            what()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"", "say nothing"),
        (b"GET /healthz HTTP/1.1\r\nX-Slow: ", "stop in the middle of a header"),
        (b"POST /lookups HTTP/1.1\r\nContent-Length: 9999\r\n\r\nx", "stop in the middle of a body"),
    ],
)
def test_two_thousand_connections_keep_nobody_out(
    target: Target, said: bytes, what: str, reliability: Record
) -> None:
    slowest = 0.0
    rounds = reliability.times(1, 5)
    for _ in range(rounds):
        with crowd(target, 2_000, said):
            slowest = max(slowest, target.slowest_of_honest(5))
    assert slowest < IN_TIME
    reliability.row(
        GROUP,
        f"2,000 connections at once that {what}",
        tried=2_000 * rounds,
        recovered=f"honest calls go on: the slowest of {15 * rounds} took {slowest:.2f} s",
    )


def test_senders_that_dribble_are_cut_off_and_keep_nobody_out(target: Target, reliability: Record) -> None:
    """An octet now and then is never silent: what counts is how long one request takes."""
    seconds = reliability.times(2, 40)
    before = target.counted("slow")
    with crowd(target, 150, b"GET /healthz HTTP/1.1\r\nX-Slow: ") as sockets:
        until, slowest = time.monotonic() + seconds, 0.0
        while time.monotonic() < until:
            for one in sockets:
                _say(one, b"x")
            slowest = max(slowest, target.slowest_of_honest(1))
            time.sleep(0.3)
    cut = target.counted("slow") - before
    assert slowest < IN_TIME
    assert not reliability.thorough or cut >= 100
    reliability.row(
        GROUP,
        "150 senders that dribble a header, an octet at a time (slow loris)",
        tried=150,
        recovered=f"cut off 30 s after the request began ({cut:.0f} of 150); "
        f"the slowest honest call took {slowest:.2f} s meanwhile",
    )


def test_callers_that_ask_too_much_at_once_keep_nobody_out(target: Target, reliability: Record) -> None:
    """Pipelined requests for the dearest page, more than 200 connections of them, answers never read."""
    tried = 0
    rounds = reliability.times(1, 5)
    slowest = 0.0
    for _ in range(rounds):
        with crowd(target, 300, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200):
            tried += 300 * 200
            slowest = max(slowest, target.slowest_of_honest(3))
    assert slowest < IN_TIME
    reliability.row(
        GROUP,
        "pages of metrics asked for 200 at a time by 300 connections that read no answer",
        tried=tried,
        recovered=f"eight are answered, then the connection ends; the slowest honest call took {slowest:.2f} s",
    )


SMUGGLED = b"GET /receipts/evil?id=smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
SHAPES = [
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello" + SMUGGLED,
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"POST /lookups HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello",
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n",
    b"GET /healthz HTTP/1.1\nHost: x\n\n",
    b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"GET  /healthz  HTTP/1.1\r\n\r\n",
    b"\r\n\r\n\r\n\x00\xff\xfe",
    b"GET http://evil/receipts/../lookups HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //evil/%2e%2e/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /receipts/%2e%2e%2flookups?token=x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /lookups?text=\xff\x80\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /lookups?" + b"a=1&" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"e" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nX-Big: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 12_000 + b"\r\n",
    b"POST /receipts/kannel HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    b"POST /receipts/kannel HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"z" * 70_000,
    b"POST /lookups HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n",
    b"CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE /receipts/kannel HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
]  # fmt: skip


def exchange(target: Target, request: bytes) -> bytes:
    """Everything that comes back until the server closes, or says no more for a moment."""
    received = b""
    with closing(target.connection()) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1.0)
            while part := connection.recv(65536):
                received += part
        except OSError:
            pass  # closed in the middle, as it may be
    return received


def test_smuggled_and_broken_requests_are_refused_and_change_nothing(
    target: Target, reliability: Record
) -> None:
    before = target.digest()
    statuses: Counter[str] = Counter()
    rounds = reliability.times(1, 14)
    for _ in range(rounds):
        for shape in SHAPES:
            answer = exchange(target, shape)
            head, _, body = answer.partition(b"\r\n\r\n")
            statuses[head[9:12].decode("latin-1") or "closed"] += 1
            assert b"Traceback" not in answer and b"waitress" not in answer.lower()
            assert b" 500 " not in head and b" 503 " not in head, shape[:80]
            assert body.count(b"HTTP/1.1 200") == 0, shape[:80]
    assert target.digest() == before
    assert target.slowest_of_honest(1) < IN_TIME
    told = ", ".join(f"{status}: {count}" for status, count in statuses.most_common())
    reliability.row(
        GROUP,
        "request smuggling (two lengths, length and chunks, spaces before colons), paths, and what is not HTTP, "
        "on the daemon's socket",
        tried=len(SHAPES) * rounds,
        recovered=f"refused or closed ({told}); the store stayed as it was",
    )


def test_honest_calls_go_on_while_everything_comes_at_once(target: Target, reliability: Record) -> None:
    """Broken requests without pause over the sockets, between them receipts and look-ups that are proven."""
    sent = Counter[str]()

    def attack() -> None:
        for shape in SHAPES[:20]:
            with closing(target.connection()) as connection:
                sent["tried"] += _say(connection, shape)

    with meanwhile(attack), meanwhile(attack):
        slowest = target.slowest_of_honest(reliability.times(10, 60))
    assert slowest < IN_TIME
    reliability.row(
        GROUP,
        "broken requests without pause from two callers",
        tried=sent["tried"],
        recovered=f"the slowest of {3 * reliability.times(10, 60)} honest calls took {slowest:.2f} s",
    )
