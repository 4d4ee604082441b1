"""The listener as it is served: real sockets, slow and hostile callers, a prompt stop, and a gateway's receipts."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from flask import Flask

from smsd.adapters.gateways.kannel import KannelGateway
from smsd.adapters.web.server import InboundServer, ListenError
from smsd.core.model import ReceiptVerdict
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Outgoing
from tests.support.postgres import wait_until
from tests.web.conftest import SECRET, Desk

LOOKUP = "/lookups?" + urlencode({"from": "84905123456", "text": "MCKH 1", "token": SECRET})


def get(server: InboundServer, path: str, timeout: float = 5.0) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def exchange(server: InboundServer, request: bytes) -> bytes:
    """Send bytes and read until the server closes or says no more for a moment."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1.5) as connection:
        connection.sendall(request)
        received = b""
        try:
            while part := connection.recv(65536):
                received += part
        except (TimeoutError, ConnectionResetError):
            pass
        return received


def test_calls_are_served_on_any_free_port(server: InboundServer) -> None:
    assert server.port > 0
    assert get(server, "/healthz") == (200, "ok")
    assert get(server, LOOKUP) == (200, "Hồ sơ MCKH 1: Đúng hạn")


def test_a_connection_serves_many_calls(server: InboundServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    for _ in range(20):
        connection.request("GET", LOOKUP)
        assert connection.getresponse().read()
    connection.close()


def test_a_port_already_taken_is_said_with_what_to_do(server: InboundServer, app: Flask) -> None:
    second = InboundServer(f"127.0.0.1:{server.port}", app)
    with pytest.raises(ListenError) as caught:
        second.start()
    assert str(server.port) in caught.value.message
    assert "ss -ltnp" in caught.value.hint
    second.close()


def test_an_address_that_is_none_of_ours_is_said(app: Flask) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.1"):
        InboundServer("192.0.2.1:8029", app).start()


def test_it_stops_promptly_with_connections_open_and_frees_the_port(
    server: InboundServer, app: Flask
) -> None:
    port = server.port
    with ExitStack() as stack:
        for _ in range(10):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            idle.sendall(b"GET /healthz HT")
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 3
        server.close()
    again = InboundServer(f"127.0.0.1:{port}", app)
    again.start()
    assert get(again, "/healthz")[0] == 200
    again.close()


def test_a_call_under_way_is_answered_before_it_stops(server: InboundServer, desk: Desk) -> None:
    desk.gate.clear()
    answers: list[tuple[int, str]] = []
    caller = threading.Thread(target=lambda: answers.append(get(server, LOOKUP)))
    caller.start()
    assert desk.entered.wait(10)
    threading.Timer(0.7, desk.gate.set).start()
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 3
    caller.join(5)
    assert [status for status, _ in answers] == [200]


def test_it_stops_in_time_even_if_a_call_hangs(server: InboundServer, desk: Desk) -> None:
    desk.gate.clear()
    with socket.create_connection(("127.0.0.1", server.port)) as caller:
        caller.sendall(f"GET {LOOKUP} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert desk.entered.wait(10)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 3
    desk.gate.set()


@pytest.mark.parametrize(
    "said",
    [b"", b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"POST /lookups HTTP/1.1\r\nContent-Length: 99\r\n\r\nx"],
)
def test_any_number_of_slow_callers_keep_nobody_out(server: InboundServer, said: bytes) -> None:
    with ExitStack() as stack:
        for _ in range(400):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            slow.sendall(said)
        for _ in range(5):
            began = time.monotonic()
            assert get(server, LOOKUP)[0] == 200
            assert time.monotonic() - began < 2


def test_callers_that_never_read_keep_nobody_out(server: InboundServer) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            deaf = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        assert get(server, LOOKUP)[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", b"431"),
        (b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", b"413"),
        (b"POST /lookups HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 0xFFFF + b"\r\nffff\r\n"
         + b"x" * 0xFFFF + b"\r\n0\r\n\r\n", b"413"),
        (b"POST /lookups HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", b"501"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"414"),
    ],
)  # fmt: skip
def test_what_is_too_large_or_not_http_is_refused_plainly_and_counted(
    server: InboundServer, desk: Desk, request_: bytes, status: bytes
) -> None:
    head, _, body = exchange(server, request_).partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert b"waitress" not in (head + body).lower()
    assert b"Traceback" not in body
    assert 'path="other"} 1.0' in get(server, "/metrics")[1]
    assert desk.asked == []


@pytest.fixture
def peer() -> Iterator[int]:
    """A gateway in a process of its own that reports each message as taken and then delivered."""
    command = [
        sys.executable,
        "-m",
        "tests.support.httpgateway",
        "--receipts",
        "8,1",
        "--replies",
        "unavailable*2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield int(process.stdout.readline().rpartition(":")[2])
    process.terminate()
    assert process.wait(10) == 0


def test_a_gateways_receipts_come_back_here(server: InboundServer, desk: Desk, peer: int) -> None:
    ids = [f"m{number}" for number in range(20)]
    desk.known = set(ids)
    gateway = KannelGateway(
        f"http://127.0.0.1:{peer}/cgi-bin/sendsms",
        "smsd",
        "sesame",
        sender="MotcuaSMS",
        encoding=Encoding.UNICODE,
        number_format="84",
        callback=Callback(f"http://127.0.0.1:{server.port}", SECRET),
    )
    answers: list[str] = []
    at = datetime(2026, 8, 3, tzinfo=UTC)
    messages = [Outgoing(id_, "84905123456", "Hồ sơ", "result_ready", "a", "c", at, 1) for id_ in ids]
    gateway.submit(messages, lambda id_, outcome: answers.append(outcome.verdict))
    wait_until(lambda: len(answers) == 20)
    assert sorted(answers) == ["accepted"] * 18 + ["retry"] * 2
    wait_until(lambda: len(desk.receipts) == 36)
    told: dict[str, list[ReceiptVerdict]] = {}
    for receipt in desk.receipts:
        told.setdefault(receipt.message_id, []).append(receipt.verdict)
    assert list(told.values()) == [[ReceiptVerdict.ON_ITS_WAY, ReceiptVerdict.DELIVERED]] * 18
    gateway.close()
